"""The three passes of a convolution as one: which axes of which arrays play which part in one kernel.

Every pass is ``y[n, g, oc, o] = sum over ic, k of w[g, oc, ic, k] * x[n, g, ic, source(o*S - P + k*D)]``, and walks
its arrays in these letters by a :class:`clconv.plan.Walk` for each.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from clconv.plan import Walk
from clconv.problem import ConvProblem, EpilogueProblem
from clconv.problem.epilogue import NO_EPILOGUE
from clconv.problem.window import Window

__all__ = [
    "LARGEST_COPY",
    "NEAR_BYTES",
    "OPERATIONS_OF_A_COPY",
    "PAGE",
    "Frame",
    "Pass",
    "activation_walk",
    "bwd_data",
    "bwd_weights",
    "by_axis",
    "fwd",
    "is_product",
    "split_refusal",
    "weights_walk",
]

#: How many elements of data may be copied with their padding: a view of little memory may stand for many.
LARGEST_COPY = 2**29
#: How many arithmetic operations take as long as copying an element.
OPERATIONS_OF_A_COPY = 16
#: Bytes that stay in the cache next to a processor while all blocks of a result's channels read them.
NEAR_BYTES = 2**20
#: Bytes of a page: what lies whole ones apart takes each other's place in the nearest cache.
PAGE = 4096
#: The strided gradient of the data takes a pass for each remainder: at most so many, as patches of 32x32 have.
_MOST_PASSES = 1024

_SPATIAL = ((2, 1), (3, 1), (4, 1))
_NOWHERE = (0,) * 5


class Frame(NamedTuple):
    """The positions of an axis that are copied with their padding: ``reach`` of them, from ``-low`` on."""

    low: int
    reach: int


class Pass(NamedTuple):
    """The sizes of a pass in the kernel's own letters, the frame of the data, and the walks over its three arrays.

    ``data_shape`` has the extents of the data's first two axes, in the order of the array.
    ``is_dense`` says that each channel of the data is known to lie in memory without gaps, and may be read there.
    """

    N: int
    OC: int
    IC: int
    windows: Sequence[Window]
    padding_mode: str
    frame: tuple[Frame, ...]
    arrays: tuple[str, str, str]
    walks: tuple[Walk, Walk, Walk]
    data_shape: tuple[int, int]
    is_dense: bool = False
    has_bias: bool = False
    epilogue: EpilogueProblem = NO_EPILOGUE
    name: str = ""

    @property
    def outputs(self) -> int:
        """Outputs of a channel, over all samples."""
        return self.N * math.prod(window.output for window in self.windows)

    def sizes(self, G: int) -> dict[str, int]:
        """Return the kernels' size arguments by their names."""
        return {
            "N": self.N,
            "G": G,
            "OC": self.OC,
            "IC": self.IC,
            **by_axis("O", [window.output for window in self.windows]),
            **by_axis("K", [window.kernel for window in self.windows]),
            **by_axis("S", [window.stride for window in self.windows]),
            **by_axis("D", [window.dilation for window in self.windows]),
            **by_axis("I", [window.extent for window in self.windows]),
            **by_axis("P", [window.low for window in self.windows]),
        }

    @property
    def copy(self) -> str:
        """The name of the copy of the data, which no other pass over the same arrays gives its own."""
        return f"{self.arrays[0]}_copied_for_{self.arrays[2]}"

    def walk_of_copy(self, start: int, strides: Sequence[int]) -> dict[str, int]:
        """Return the arguments by which a kernel walks the copy, which has these strides along the canonical axes."""
        axes = zip("gncdhw", self.walks[0].axes, strict=True)
        return {"x_start": start, **{f"x_{letter}": factor * strides[axis] for letter, (axis, factor) in axes}}

    @property
    def blocks_first(self) -> bool:
        """Whether work-items that follow each other should take all blocks of channels of a run, not a block's runs.

        Each thread then reads all weights and its share of the data, else all data and its share of the weights: the
        smaller array should be the one that comes to every thread's caches.
        """
        return self.OC * self.terms < self.N * self.IC * math.prod(axis.reach for axis in self.frame)

    @property
    def is_padded(self) -> bool:
        """Whether positions beyond the data are read."""
        axes = zip(self.frame, self.windows, strict=True)
        return any(frame.low > 0 or frame.reach > frame.low + window.extent for frame, window in axes)

    @property
    def has_zero_padding(self) -> bool:
        """Whether taps beside the data contribute no product."""
        return self.padding_mode == "zeros" and self.is_padded

    @property
    def rows(self) -> int:
        """Rows of taps that each output sums over."""
        return self.IC * math.prod(window.kernel for window in self.windows[:-1])

    @property
    def terms(self) -> int:
        """Taps that each output sums over."""
        return self.rows * self.windows[-1].kernel


def by_axis(letter: str, values: Sequence[int]) -> dict[str, int]:
    """Return a kernel's arguments along depth, height and width by their names."""
    return {f"{letter}{axis}": value for axis, value in zip("DHW", values, strict=True)}


def split_refusal(problem: ConvProblem) -> str | None:
    """Return why the gradient of the data is not made of few passes, None if it is."""
    if is_product(problem):
        return None
    if problem.padding_mode != "zeros":
        return f"padding_mode={problem.padding_mode!r} is not 'zeros'"
    passes = math.prod(window.stride for window in problem.windows)
    return f"the strides make {passes} passes, more than {_MOST_PASSES}" if passes > _MOST_PASSES else None


def fwd(problem: ConvProblem) -> Pass:
    """Return the forward pass."""
    return Pass(
        N=problem.N,
        OC=problem.OCG,
        IC=problem.ICG,
        windows=problem.windows,
        frame=_frame(problem.windows),
        padding_mode=problem.padding_mode,
        arrays=("x", "w", "y"),
        walks=(activation_walk(problem.ICG), weights_walk(problem.OCG, (0, 1), (1, 1)), activation_walk(problem.OCG)),
        data_shape=(problem.N, problem.G * problem.ICG),
        is_dense="x" in problem.dense,
        has_bias=problem.bias and not problem.transposed,
        epilogue=problem.epilogue,
    )


def bwd_data(problem: ConvProblem) -> list[Pass]:
    """Return a pass for each choice of a remainder along each axis, reading one frame of dy that is enough for all."""
    if is_product(problem):
        return [_data_as_product(problem)]
    axes = [window.of_data_gradient for window in problem.windows]
    frame = tuple(_frame_of_all([part.window for part in parts]) for parts in axes)
    return [
        Pass(
            N=problem.N,
            OC=problem.ICG,
            IC=problem.OCG if all(part.window.kernel for part in parts) else 0,  # where no tap reads, no sum
            windows=[replace(part.window, kernel=max(part.window.kernel, 1)) for part in parts],
            frame=frame,
            padding_mode="zeros",
            arrays=("dy", "w", "dx"),
            walks=(
                activation_walk(problem.OCG),
                Walk(
                    (0, 0, *(part.first_tap for part in parts)),
                    ((0, problem.OCG), (1, 1), (0, 1), *_steps(part.tap_step for part in parts)),
                ),
                Walk(
                    (0, 0, *(part.first for part in parts)),
                    ((1, problem.ICG), (0, 1), (1, 1), *_steps(window.stride for window in problem.windows)),
                ),
            ),
            data_shape=(problem.N, problem.G * problem.OCG),
            is_dense="dy" in problem.dense and math.prod(map(len, axes)) == 1,  # others share a copy
            has_bias=problem.bias and problem.transposed,
            epilogue=problem.epilogue,
            name="_".join(str(part.first) for part in parts),
        )
        for parts in itertools.product(*axes)
    ]


def is_product(problem: ConvProblem) -> bool:
    """Return whether the gradient of the data is a matrix product: every position is read once, by the only output."""
    added = problem.bias or problem.epilogue != NO_EPILOGUE
    return all(window.is_all for window in problem.windows) and not (problem.transposed and added)


def _data_as_product(problem: ConvProblem) -> Pass:
    """Return ``dx[n, ic, k] = sum over oc of dy[n, oc] * w[oc, ic, k]`` as a pass over the positions of the weights.

    Their input channels are its batch, and dy plays weights of a single tap, with a channel for each sample.
    """
    windows = [Window(window.extent, 1, 1, 1, 0, 0, window.extent) for window in problem.windows]
    return Pass(
        N=problem.ICG,
        OC=problem.N,
        IC=problem.OCG,
        windows=windows,
        frame=_frame(windows),
        padding_mode="zeros",
        arrays=("w", "dy", "dx"),
        walks=(
            weights_walk(problem.OCG, (1, 1), (0, 1)),
            activation_walk(problem.OCG),
            _exchanged_walk(problem.ICG),
        ),
        data_shape=(problem.G * problem.OCG, problem.ICG),
        is_dense="w" in problem.dense,
    )


def bwd_weights(problem: ConvProblem) -> Pass:
    """Return the pass of the weight's gradient, which sums over the batch: dy plays the weights."""
    windows = [window.of_weight_gradient for window in problem.windows]
    return Pass(
        N=problem.ICG,
        OC=problem.OCG,
        IC=problem.N,
        windows=windows,
        frame=_frame(windows),
        padding_mode=problem.padding_mode,
        arrays=("x", "dy", "dw"),
        walks=(
            _exchanged_walk(problem.ICG),
            _exchanged_walk(problem.OCG),
            weights_walk(problem.OCG, (1, 1), (0, 1)),
        ),
        data_shape=(problem.N, problem.G * problem.ICG),
    )


def _frame(windows: Sequence[Window]) -> tuple[Frame, ...]:
    return tuple(Frame(window.low, window.reach) for window in windows)


def _frame_of_all(windows: Sequence[Window]) -> Frame:
    """Return the least frame with what all windows over an axis read, and a place for each of their outputs."""
    reading = [window for window in windows if window.kernel]
    low = max((window.low for window in reading), default=0)
    return Frame(low, max(low - window.low + window.reach if window.kernel else window.output for window in windows))


def _steps(factors: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """Return the spatial axes of a walk that takes so many steps at once."""
    return tuple(zip((2, 3, 4), factors, strict=True))


def activation_walk(channels: int) -> Walk:
    """Return the walk over an array of batch and channels, with this many channels in a group."""
    return Walk(_NOWHERE, ((1, channels), (0, 1), (1, 1), *_SPATIAL))


def _exchanged_walk(channels: int) -> Walk:
    """Return the walk over the same array whose channels are taken as batch, and its batch as channels."""
    return Walk(_NOWHERE, ((1, channels), (1, 1), (0, 1), *_SPATIAL))


def weights_walk(OCG: int, n: tuple[int, int], c: tuple[int, int]) -> Walk:
    """Return the walk over a weight array whose axes ``n`` and ``c`` are taken as batch and channels."""
    return Walk(_NOWHERE, ((0, OCG), n, c, *_SPATIAL))
