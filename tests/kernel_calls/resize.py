"""Calls that launch the kernels of resampling, and the problems that they are planned for."""

from __future__ import annotations

from clconv.problem import PadProblem, ResizeProblem, ShuffleProblem
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


CALLS = {"resize": interpolate, "resize_rows": interpolate, "pad": pad, "pad_bwd": pad_backward, "rearrange": shuffle}


def resize_problems(dtype):
    for rank, mode in ((1, "linear"), (2, "bicubic"), (3, "trilinear")):
        for size in (1, 3, 24):
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


PROBLEMS = {
    "resize": resize_problems,
    "resize_bwd": resize_problems,
    "pad": pad_problems,
    "pad_bwd": pad_problems,
    "shuffle": shuffle_problems,
}
