"""Calls that launch the kernels of resampling, and the problems that they are planned for."""

from __future__ import annotations

from clconv.problem import GridSampleProblem, PadProblem, ResizeProblem, ShuffleProblem
from clconv.problem.pad import MODES
from clconv.problem.resize import Resizing
from tests.kernel_calls.call import Call


def interpolate(draw):
    yield Call("interpolate", (draw(2, 2, 3, 4),), {"scale_factor": 2, "mode": "bilinear"})
    yield Call("interpolate", (draw(2, 2, 8, 8),), {"scale_factor": 0.5, "mode": "area"})
    yield Call("interpolate", (draw(1, 2, 2, 3, 4),), {"size": (3, 5, 6)})
    yield Call("interpolate", (draw(1, 2, 5, 7),), {"size": (9, 4), "mode": "bicubic", "antialias": True}, exact=False)
    yield Call("interpolate_backward", (draw(2, 2, 6, 8), draw(2, 2, 3, 4)), {"scale_factor": 2, "mode": "bicubic"})
    yield Call("interpolate_backward", (draw(1, 2, 3), draw(1, 2, 7)), {"size": 3})


def interpolate_by_two(draw):
    yield Call("interpolate", (draw(2, 2, 3, 37),), {"scale_factor": 2, "mode": "nearest"})
    yield Call("interpolate", (draw(2, 2, 3, 37),), {"scale_factor": 2, "mode": "bilinear"})
    yield Call("interpolate", (draw(1, 2, 6, 74),), {"scale_factor": 0.5, "mode": "area"})
    yield Call("interpolate_backward", (draw(2, 1, 6, 74), draw(2, 1, 3, 37)), {"scale_factor": 2})
    up = {"scale_factor": 2, "mode": "bicubic"}
    yield Call("interpolate", (draw(1, 2, 5, 41),), up, exact=False)
    yield Call("interpolate_backward", (draw(1, 1, 10, 82), draw(1, 1, 5, 41)), up, exact=False)
    yield Call("interpolate", (draw(1, 2, 5, 80),), {"scale_factor": 0.5, "mode": "nearest"})


def pad(draw):
    for mode in MODES:
        yield Call("pad", (draw(2, 2, 3, 4, 5), (1, 2, 0, 1, 2, 1)), {"mode": mode})
    yield Call("pad", (draw(2, 3, 4), (-1, 2, 1, -1, 0, 3)), {"value": -2.5})


def pad_backward(draw):
    for mode in MODES:
        yield Call("pad_backward", (draw(2, 2, 6, 5, 8), draw(2, 2, 3, 4, 5), (1, 2, 0, 1, 2, 1)), {"mode": mode})


def shuffle(draw):
    for factor in (1, 2, 3):
        yield Call("pixel_shuffle", (draw(2, 2 * factor**2, 3, 2), factor), {})
        yield Call("pixel_unshuffle", (draw(2, 2, 3 * factor, 2 * factor), factor), {})
        yield Call("channel_shuffle", (draw(2, 2 * factor, 2, 3), factor), {})


def halves(draw, *shape):
    """Draw coordinates that lie at pixels, and halfway between them, of axes of 4."""
    return (2 * draw(*shape) + 1) / 4


def grid_sample(draw):
    for padding_mode in ("zeros", "border", "reflection"):
        for mode in ("bilinear", "nearest"):
            options = {"mode": mode, "padding_mode": padding_mode}
            yield Call("grid_sample", (draw(2, 3, 4, 4), halves(draw, 2, 3, 5, 2)), options)
            yield Call("grid_sample", (draw(1, 3, 4, 4, 4), halves(draw, 1, 2, 3, 2, 3)), options)
        bicubic = {"mode": "bicubic", "padding_mode": padding_mode}
        yield Call("grid_sample", (draw(1, 2, 4, 4), halves(draw, 1, 3, 2, 2)), bicubic, exact=False)


def grid_sample_backward(draw):
    for padding_mode in ("zeros", "border", "reflection"):
        arrays = draw(2, 3, 3, 5), draw(2, 3, 4, 4), halves(draw, 2, 3, 5, 2)
        yield Call("grid_sample_backward", arrays, {"padding_mode": padding_mode})
        arrays = draw(1, 3, 2, 3, 2), draw(1, 3, 4, 4, 4), halves(draw, 1, 2, 3, 2, 3)
        yield Call("grid_sample_backward", arrays, {"padding_mode": padding_mode})
        bicubic = {"mode": "bicubic", "padding_mode": padding_mode}
        arrays = draw(1, 2, 3, 2), draw(1, 2, 4, 4), halves(draw, 1, 3, 2, 2)
        yield Call("grid_sample_backward", arrays, bicubic, exact=False)


CALLS = {
    "resize": interpolate,
    "resize_by_two": interpolate_by_two,
    "resize_lanes": interpolate,
    "pad": pad,
    "pad_bwd": pad_backward,
    "rearrange": shuffle,
    "grid_sample": grid_sample,
    "grid_sample_bwd_input": grid_sample_backward,
    "grid_sample_bwd_grid": grid_sample_backward,
    "grid_sample_rows": grid_sample,
    "grid_sample_rows_bwd_input": grid_sample_backward,
    "grid_sample_rows_bwd_grid": grid_sample_backward,
}


def resize_problems(dtype):
    for rank, mode in ((1, "linear"), (2, "bicubic"), (3, "trilinear")):
        for size in (1, 3, 24, 25):
            resizing = Resizing(size=size, mode=mode)
            yield ResizeProblem.for_interpolate((2, 3, *[12] * rank), resizing, dtype=dtype)
    yield ResizeProblem.for_interpolate((1, 1, 5000), Resizing(size=2, mode="area"), dtype=dtype)


def pad_problems(dtype):
    for mode in MODES:
        for rank in (1, 2, 3):
            yield PadProblem.for_pad((2, 3, *[5] * rank), (2, 1) * rank, mode, None, dtype=dtype)


def shuffle_problems(dtype):
    yield ShuffleProblem.for_pixel_shuffle((2, 8, 3, 4), 2, dtype=dtype)
    yield ShuffleProblem.for_pixel_unshuffle((2, 3, 6, 9), 3, dtype=dtype)
    yield ShuffleProblem.for_channel_shuffle((2, 6, 5), 2, dtype=dtype)


def grid_sample_problems(dtype):
    for C in (3, 40):
        shapes = (2, C, 3, 4), (2, 5, 6, 2)
        yield GridSampleProblem.for_grid_sample(*shapes, "bilinear", "zeros", None, dtype=dtype)


PROBLEMS = {
    "grid_sample": grid_sample_problems,
    "grid_sample_bwd_input": grid_sample_problems,
    "grid_sample_bwd_grid": grid_sample_problems,
    "resize": resize_problems,
    "resize_bwd": resize_problems,
    "pad": pad_problems,
    "pad_bwd": pad_problems,
    "shuffle": shuffle_problems,
}
