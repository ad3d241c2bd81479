"""The algebra of a window that slides along an axis: outputs, padding, receptive field.

The letters are those of ``docs/conventions.md``: output ``o`` and tap ``k`` read padded position ``o*S - P + k*D``,
counted from the first real position.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from clconv.arguments import LARGEST, Pair, choice, padding_pairs, per_axis

__all__ = [
    "AXES",
    "PADDING_MODES",
    "ReceptiveField",
    "Window",
    "receptive_field",
    "resolved_padding",
    "transposed_windows",
    "windows_over",
]

#: In the order of the constants in kernels/window.h.
PADDING_MODES = ("zeros", "reflect", "replicate", "circular", "symmetric")

#: Spatial axes of the canonical form.
AXES = 3

_PADDING_WORDS = ("valid", "same", "same_upper", "same_lower", "full")


@dataclass(frozen=True)
class Window:
    """A window sliding along one axis.

    Attributes
    ----------
    extent : int
        Positions along the axis, without padding.
    kernel, stride, dilation : int
        Taps, step between outputs, step between taps (1 means none are skipped).
    low, high : int
        Padding before the first and after the last position.
    output : int
        How many outputs there are.
    """

    extent: int = 1
    kernel: int = 1
    stride: int = 1
    dilation: int = 1
    low: int = 0
    high: int = 0
    output: int = 1

    @property
    def span(self) -> int:
        """Positions from the first tap to the last, both included: ``D*(K-1) + 1``."""
        return self.dilation * (self.kernel - 1) + 1

    @property
    def padded(self) -> int:
        """The extent with its padding."""
        return self.low + self.extent + self.high

    @property
    def reach(self) -> int:
        """Padded positions from the first that an output reads to the last: ``(O-1)*S + span``."""
        return (self.output - 1) * self.stride + self.span

    @property
    def is_all(self) -> bool:
        """Whether the only window reads every position once, and nothing else."""
        return self.output == 1 and self.low == 0 and self.kernel == self.span == self.extent

    @property
    def of_data_gradient(self) -> tuple[GradientWindow, ...]:
        """The windows at stride 1 over the output's gradient whose outputs make up the data's gradient.

        Position i is read by output o through tap k where ``i + P = o*S + k*D``. So the positions with one remainder
        ``(i + P) % S`` are read through the same taps, every ``S / gcd(S, D)``-th: they are the outputs of one window.
        """
        return tuple(self._gradient_window(first) for first in range(min(self.stride, self.extent)))

    def _gradient_window(self, first: int) -> GradientWindow:
        """Return the window of the positions ``first``, ``first + S``, ..."""
        common = math.gcd(self.stride, self.dilation)
        tap_step, dilation = self.stride // common, self.dilation // common
        position = first + self.low
        fitting = [k for k in range(min(tap_step, self.kernel)) if (position - k * self.dilation) % self.stride == 0]
        first_tap = fitting[0] if fitting else 0
        taps = len(range(first_tap, self.kernel, tap_step)) if fitting else 0
        low = max(taps - 1, 0) * dilation - (position - first_tap * self.dilation) // self.stride
        positions = len(range(first, self.extent, self.stride))
        window = Window(self.output, taps, 1, dilation, low, 0, positions)
        return GradientWindow(window, first, first_tap + max(taps - 1, 0) * tap_step, -tap_step)

    @property
    def of_weight_gradient(self) -> Window:
        """The window over the data whose taps are outputs and whose outputs are taps: S and D trade places."""
        return Window(self.extent, self.output, self.dilation, self.stride, self.low, self.high, self.kernel)

    @property
    def largest_output(self) -> int:
        """How many outputs fit: ``floor((padded - span) / S) + 1``, at most 0 if the span does not fit once."""
        return (self.padded - self.span) // self.stride + 1

    @property
    def smallest_extent(self) -> int:
        """The least extent that has this many outputs: ``(O-1)*S + span - low - high``."""
        return self.reach - self.low - self.high


class GradientWindow(NamedTuple):
    """A window over an output's gradient, and where its outputs and taps lie in the data and in the kernel.

    It has no taps where no output reads these positions.

    Attributes
    ----------
    window : Window
        Its outputs are the gradients of the positions ``first``, ``first + S``, ... of the data.
    first : int
        That position.
    first_tap, tap_step : int
        Its tap k is tap ``first_tap + k * tap_step`` of the kernel.
    """

    window: Window
    first: int
    first_tap: int
    tap_step: int


def windows_over(
    extents: Sequence[int],
    kernels: Sequence[int],
    stride: Any,
    padding: Any,
    dilation: Any,
    padding_mode: str,
    *,
    extent_name: str = "input",
) -> tuple[Window, Window, Window]:
    """Return the three canonical windows of a convolution over axes of these extents."""
    rank = len(extents)
    strides = per_axis(stride, "stride", rank, least=1)
    dilations = per_axis(dilation, "dilation", rank, least=1)
    pairs = resolved_padding(padding, extents, kernels, strides, dilations)
    windows = [
        _with_all_outputs(Window(extent, kernel, stride, dilation, low, high))
        for extent, kernel, stride, dilation, (low, high) in zip(
            extents, kernels, strides, dilations, pairs, strict=True
        )
    ]
    return _checked(windows, padding_mode, extent_name)


def transposed_windows(
    extents: Sequence[int],
    kernels: Sequence[int],
    stride: Any,
    padding: Any,
    output_padding: Any,
    dilation: Any,
    padding_mode: str,
) -> tuple[Window, Window, Window]:
    """Return the windows of the convolution whose adjoint maps axes of these extents.

    The adjoint's output is that convolution's data: ``(I-1)*S + span - low - high + output_padding`` positions.
    """
    rank = len(extents)
    strides = per_axis(stride, "stride", rank, least=1)
    dilations = per_axis(dilation, "dilation", rank, least=1)
    additions = per_axis(output_padding, "output_padding", rank, least=0)
    for addition, step, dilation in zip(additions, strides, dilations, strict=True):
        if addition >= max(step, dilation):
            raise ValueError(
                "output_padding must be smaller than stride or dilation on its axis: "
                f"output_padding={additions}, stride={strides}, dilation={dilations}"
            )
    # "same" keeps the extents of input and output in the ratio of the strides, so the output's are known beforehand.
    stretched = tuple(extent * step for extent, step in zip(extents, strides, strict=True))
    pairs = resolved_padding(padding, stretched, kernels, strides, dilations)
    if isinstance(padding, str) and padding.startswith("same") and any(additions):
        raise ValueError(
            f"padding={padding!r} determines the output's extents and takes no output_padding: "
            f"output_padding={additions}"
        )
    windows = []
    for axis, (low, high) in enumerate(pairs):
        window = Window(0, kernels[axis], strides[axis], dilations[axis], low, high, output=extents[axis])
        extent = (
            stretched[axis]
            if isinstance(padding, str) and padding.startswith("same")
            else window.smallest_extent + additions[axis]
        )
        if extent < 1:
            raise ValueError(
                f"the output would have {extent} positions on spatial axis {axis}: (input - 1) * stride + "
                "dilation * (kernel - 1) + 1 - padding + output_padding must be at least 1: "
                f"input={extents[axis]}, stride={strides[axis]}, dilation={dilations[axis]}, kernel={kernels[axis]}, "
                f"padding={(low, high)}, output_padding={additions[axis]}"
            )
        windows.append(Window(extent, kernels[axis], strides[axis], dilations[axis], low, high, extents[axis]))
    return _checked(windows, padding_mode, "output")


def _with_all_outputs(window: Window) -> Window:
    return Window(
        window.extent, window.kernel, window.stride, window.dilation, window.low, window.high, window.largest_output
    )


def resolved_padding(
    padding: Any, extents: Sequence[int], kernels: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> tuple[Pair, ...]:
    """Resolve the user's padding to a (low, high) pair per axis."""
    if not isinstance(padding, str):
        return padding_pairs(padding, "padding", len(extents))
    word = choice(padding, "padding", _PADDING_WORDS)
    reach = [dilation * (kernel - 1) for kernel, dilation in zip(kernels, dilations, strict=True)]
    if word == "valid":
        return ((0, 0),) * len(extents)
    if word == "full":
        return tuple((total, total) for total in reach)
    if word == "same":
        if any(step != 1 for step in strides):
            raise ValueError(
                f'padding="same" takes stride 1 (use "same_upper" or "same_lower" for others): stride={tuple(strides)}'
            )
        return tuple((total // 2, total - total // 2) for total in reach)
    pairs = []
    for extent, step, total in zip(extents, strides, reach, strict=True):
        outputs = -(-extent // step)
        missing = max((outputs - 1) * step + total + 1 - extent, 0)
        small, large = missing // 2, missing - missing // 2
        pairs.append((small, large) if word == "same_upper" else (large, small))
    return tuple(pairs)


def _checked(windows: Sequence[Window], padding_mode: str, extent_name: str) -> tuple[Window, Window, Window]:
    """Refuse windows that do not fit, and pad their list with unit axes in front."""
    choice(padding_mode, "padding_mode", PADDING_MODES)
    for axis, window in enumerate(windows):
        where = f"spatial axis {axis} of {extent_name}, {window.extent} positions padded by {(window.low, window.high)}"
        if window.padded > LARGEST or window.span > LARGEST:
            raise ValueError(
                f"an axis takes at most 2**30 - 1 positions, padding and window included: {where}, window {window.span}"
            )
        if window.extent < 1:
            raise ValueError(f"{extent_name} must have at least 1 position along each spatial axis: {where}")
        if window.largest_output < 1:
            raise ValueError(
                f"the window is larger than the padded input: dilation * (kernel - 1) + 1 = {window.dilation} * "
                f"({window.kernel} - 1) + 1 = {window.span}, but {where}, makes {window.padded}"
            )
        _check_padding_depth(window, padding_mode, where)
    first, second, third = (*(Window(),) * (AXES - len(windows)), *windows)
    return first, second, third


def _check_padding_depth(window: Window, padding_mode: str, where: str) -> None:
    deepest = {
        "zeros": None,
        "reflect": window.extent - 1,
        "replicate": None,
        "circular": window.extent,
        "symmetric": window.extent,
    }[padding_mode]
    if deepest is not None and max(window.low, window.high) > deepest:
        raise ValueError(f"padding_mode={padding_mode!r} takes padding of at most {deepest} here: {where}")


class ReceptiveField(NamedTuple):
    """Which inputs an output of a stack depends on, along one axis: ``offset + o*stride`` to ``+ size - 1``."""

    size: int
    stride: int
    offset: int


def receptive_field(layers: Iterable[Sequence[Any]]) -> tuple[ReceptiveField, ...]:
    """Return the receptive field of a stack of windowed layers, per spatial axis.

    Output ``o`` of the last layer depends on the ``size`` inputs from ``offset + o*stride`` on; positions below 0 are
    padding. With the jump ``J`` between neighbours of a layer's input, each layer adds ``(K-1)*D*J`` to the size,
    ``-P*J`` to the offset, and multiplies the jump by its stride.

    Parameters
    ----------
    layers : iterable of (kernel, stride, padding, dilation)
        From first to last; each value an integer, or one per axis (padding also pairs).

    Returns
    -------
    tuple of ReceptiveField
        One ``(size, stride, offset)`` per axis; a single one if every value is an integer.

    Raises
    ------
    ValueError
        If a value is out of range, or the layers differ in their number of axes.

    Examples
    --------
    >>> receptive_field([(7, 2, 3, 1), (3, 2, 1, 1), (3, 1, 1, 1)])
    (ReceptiveField(size=19, stride=4, offset=-9),)
    """
    stack = [tuple(layer) for layer in layers]
    for layer in stack:
        if len(layer) != 4:
            raise ValueError(f"layers takes (kernel, stride, padding, dilation) for each layer: {layer!r}")
    ranks = {len(value) for layer in stack for value in layer if isinstance(value, Sequence) and len(value) > 1}
    if len(ranks) > 1:
        raise ValueError(f"layers must agree in their number of spatial axes, but have {sorted(ranks)}")
    rank = ranks.pop() if ranks else 1
    fields = [ReceptiveField(1, 1, 0)] * rank
    for kernel, stride, padding, dilation in stack:
        kernels = per_axis(kernel, "kernel", rank, least=1)
        strides = per_axis(stride, "stride", rank, least=1)
        dilations = per_axis(dilation, "dilation", rank, least=1)
        for axis, (low, _) in enumerate(padding_pairs(padding, "padding", rank)):
            size, jump, offset = fields[axis]
            fields[axis] = ReceptiveField(
                size + (kernels[axis] - 1) * dilations[axis] * jump, jump * strides[axis], offset - low * jump
            )
    return tuple(fields)
