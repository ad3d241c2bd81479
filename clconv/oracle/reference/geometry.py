"""Sizes, padding and the checks of arguments that all reference operations share."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, SupportsIndex, cast

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "FloatArray",
    "Padding",
    "Size",
    "Window",
    "batched",
    "real_array",
    "requested",
    "require_output_shape",
    "scatter",
    "sizes",
    "switch",
]

FloatArray = NDArray[np.float64]
Size = SupportsIndex | Sequence[SupportsIndex]
Padding = str | SupportsIndex | Sequence[SupportsIndex] | Sequence[Sequence[SupportsIndex]]
Sizes = tuple[int, ...]
Pairs = tuple[tuple[int, int], ...]

NUMPY_MODE = {
    "zeros": "constant",
    "reflect": "reflect",
    "replicate": "edge",
    "circular": "wrap",
    "symmetric": "symmetric",
}
PADDING_NAMES = ("valid", "same", "same_upper", "same_lower", "full")
SAME = ("same", "same_upper", "same_lower")


def real_array(name: str, value: NDArray[Any]) -> FloatArray:
    """Convert an argument to float64, refusing what is not an array of real numbers."""
    if not isinstance(value, np.ndarray) or isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name} must be a plain NumPy array, got {type(value).__name__}")
    if value.dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold real numbers, got {name}.dtype={value.dtype}")
    return np.asarray(value, dtype=np.float64)


def batched(name: str, value: NDArray[Any], axes: int) -> tuple[FloatArray, bool]:
    """Return the array with a batch axis in front, and whether it came with one (`axes` axes in all)."""
    array = real_array(name, value)
    if array.ndim not in (axes - 1, axes):
        raise ValueError(f"{name} must have {axes} axes, or {axes - 1} without a batch, got {name}.shape={array.shape}")
    has_batch = array.ndim == axes
    return (array if has_batch else array[np.newaxis]), has_batch


def _are_integers(values: Sequence[Any]) -> bool:
    """Tell whether all are integers in Python's sense (`__index__`), where a bool does not count as one."""
    try:
        return all(not isinstance(v, (bool, np.bool_)) and operator.index(v) is not None for v in values)
    except TypeError:
        return False


def sizes(name: str, value: Size, rank: int, least: int) -> Sizes:
    """Return one integer per spatial axis, each at least `least`, from an integer or a tuple of integers."""
    entries: Sequence[Any] = value if isinstance(value, (tuple, list)) else (value,) * rank
    if not _are_integers(entries):
        raise TypeError(f"{name} must be an integer or a tuple of integers, got {name}={value!r}")
    if len(entries) != rank:
        raise ValueError(f"{name} takes one integer for each of {rank} spatial axes, got {name}={value!r}")
    if any(operator.index(v) < least for v in entries):
        raise ValueError(f"{name} must be at least {least} in every axis, got {name}={value!r}")
    return tuple(operator.index(v) for v in entries)


def switch(name: str, value: bool) -> bool:
    """Return a bool argument, refusing anything else."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {name}={value!r}")
    return bool(value)


def requested(output_mask: Sequence[bool] | None, names: Sequence[str]) -> tuple[bool, ...]:
    """Return which gradients are wanted: all, or what `output_mask` says."""
    if output_mask is None:
        return (True,) * len(names)
    if not isinstance(output_mask, (tuple, list)):
        raise TypeError(f"output_mask must be a tuple of bools, got output_mask={output_mask!r}")
    if len(output_mask) != len(names):
        raise ValueError(f"output_mask takes one bool for each of {names}, got output_mask={output_mask!r}")
    return tuple(switch("output_mask", flag) for flag in output_mask)


def require_output_shape(grad_output: NDArray[Any], shape: Sizes, has_batch: bool) -> FloatArray:
    """Return the gradient with a batch axis; it must have the output's own shape."""
    array = real_array("grad_output", grad_output)
    expected = shape if has_batch else shape[1:]
    if array.shape != expected:
        raise ValueError(f"grad_output must have the output's shape {expected}, got grad_output.shape={array.shape}")
    return array.reshape(shape)


def padding_pairs(padding: Padding, extent: Sizes, kernel: Sizes, stride: Sizes, dilation: Sizes) -> Pairs:
    """Return (low, high) padding for each axis, whichever way it was given."""
    if isinstance(padding, str):
        return _named_padding(padding, extent, kernel, stride, dilation)
    rank = len(extent)
    entries: Sequence[Any] = padding if isinstance(padding, (tuple, list)) else ()
    nested = [isinstance(entry, (tuple, list)) for entry in entries]
    if not any(nested):
        if rank == 1 and len(entries) == 2:
            raise ValueError(f"padding of one axis is an integer or ((low, high),), got padding={padding!r}")
        return tuple((p, p) for p in sizes("padding", cast(Size, padding), rank, 0))
    if not all(nested):
        raise TypeError(f"padding must be all integers or all (low, high) pairs, got padding={padding!r}")
    if len(entries) != rank or any(len(pair) != 2 for pair in entries):
        raise ValueError(f"padding takes one (low, high) pair for each of {rank} spatial axes, got padding={padding!r}")
    lows = sizes("padding", [low for low, _ in entries], rank, 0)
    highs = sizes("padding", [high for _, high in entries], rank, 0)
    return tuple(zip(lows, highs, strict=True))


def _named_padding(name: str, extent: Sizes, kernel: Sizes, stride: Sizes, dilation: Sizes) -> Pairs:
    """Return the padding that a word stands for."""
    reach = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    if name == "valid":
        return ((0, 0),) * len(extent)
    if name == "full":
        return tuple((r, r) for r in reach)
    if name == "same":
        if any(s != 1 for s in stride):
            raise ValueError(
                f"padding='same' needs stride 1, got stride={stride}; 'same_upper' and 'same_lower' take any"
            )
        totals = reach
    elif name in SAME:
        # ceil(X/S) windows reach pixel (ceil(X/S) - 1)*S + D*(K-1); what lies beyond X is padding.
        axes = zip(extent, stride, reach, strict=True)
        totals = [max((-(-x // s) - 1) * s + r + 1 - x, 0) for x, s, r in axes]
    else:
        raise ValueError(f"padding must be integers, pairs or one of {PADDING_NAMES}, got padding={name!r}")
    lows = [(t + 1) // 2 if name == "same_lower" else t // 2 for t in totals]
    return tuple((low, t - low) for low, t in zip(lows, totals, strict=True))


@dataclass(frozen=True)
class Window:
    """A sliding window over a padded image: `positions` places of `kernel` taps on `extent` pixels.

    Per axis, tap k at position o reads the padded pixel ``o*S + k*D``, the unpadded one ``o*S + k*D - low``.
    """

    extent: Sizes
    kernel: Sizes
    stride: Sizes
    dilation: Sizes
    padding: Pairs
    positions: Sizes
    padding_mode: str

    @classmethod
    def over(
        cls,
        name: str,
        extent: Sizes,
        kernel: Sizes,
        stride: Size,
        padding: Padding,
        dilation: Size,
        padding_mode: str,
    ) -> Window:
        """All windows on an image of known extent, which is the argument called `name`."""
        rank = len(extent)
        steps, gaps = sizes("stride", stride, rank, 1), sizes("dilation", dilation, rank, 1)
        _check_extents(name, extent, kernel)
        pairs = padding_pairs(padding, extent, kernel, steps, gaps)
        window = cls(extent, kernel, steps, gaps, pairs, (), _known_mode(padding_mode))
        _check_padding(window)
        if any(s > p for s, p in zip(window.span, window.padded, strict=True)):
            raise ValueError(
                f"the window spans {window.span} pixels but the padded {name} has only {window.padded}: "
                f"kernel={kernel}, dilation={gaps}, extent={extent}, padding={pairs}"
            )
        axes = zip(window.padded, window.span, steps, strict=True)
        return replace(window, positions=tuple((p - span) // s + 1 for p, span, s in axes))

    @classmethod
    def behind(
        cls,
        positions: Sizes,
        kernel: Sizes,
        stride: Size,
        padding: Padding,
        output_padding: Size,
        dilation: Size,
        padding_mode: str,
    ) -> Window:
        """Return the windows of the convolution whose adjoint turns `positions` pixels into `extent` of them."""
        rank = len(positions)
        steps, gaps = sizes("stride", stride, rank, 1), sizes("dilation", dilation, rank, 1)
        extra = sizes("output_padding", output_padding, rank, 0)
        _check_extents("input", positions, kernel)
        if any(e >= max(s, d) for e, s, d in zip(extra, steps, gaps, strict=True)):
            raise ValueError(
                "output_padding must be less than stride or less than dilation in every axis, "
                f"got output_padding={extra}, stride={steps}, dilation={gaps}"
            )
        if isinstance(padding, str) and padding in SAME and any(extra):
            raise ValueError(f"padding={padding!r} fixes the output's extent; output_padding={extra} must be 0")
        whole = tuple(i * s for i, s in zip(positions, steps, strict=True))
        pairs = padding_pairs(padding, whole, kernel, steps, gaps)
        if isinstance(padding, str) and padding in SAME:
            extent = whole
        else:
            axes = zip(positions, steps, pairs, gaps, kernel, extra, strict=True)
            extent = tuple((i - 1) * s - sum(pair) + d * (k - 1) + 1 + e for i, s, pair, d, k, e in axes)
        if any(e < 1 for e in extent):
            raise ValueError(
                f"the output would have extent {extent}, every axis needs at least 1: "
                f"input extent={positions}, stride={steps}, padding={pairs}, kernel={kernel}, dilation={gaps}"
            )
        window = cls(extent, kernel, steps, gaps, pairs, positions, _known_mode(padding_mode))
        _check_padding(window)
        return window

    @property
    def span(self) -> Sizes:
        """Pixels from the first tap to the last, both included."""
        return tuple(d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel, strict=True))

    @property
    def padded(self) -> Sizes:
        """Extent of the padded image."""
        return tuple(e + low + high for e, (low, high) in zip(self.extent, self.padding, strict=True))

    def pad(self, x: FloatArray) -> FloatArray:
        """Pad the spatial axes of an array of shape (N, C, *extent)."""
        padded: FloatArray = _numpy_pad(x, ((0, 0), (0, 0), *self.padding), self.padding_mode)
        return padded

    def sources(self) -> NDArray[np.intp]:
        """For each padded pixel, the flat index of the pixel that it copies; -1 where it is zero."""
        # Index 0 is kept for the zeros that padding_mode="zeros" brings in.
        index = np.arange(1, 1 + math.prod(self.extent)).reshape(self.extent)
        sources: NDArray[np.intp] = _numpy_pad(index, self.padding, self.padding_mode) - 1
        return sources

    def unpad(self, xp: FloatArray) -> FloatArray:
        """Apply the adjoint of `pad`: each padded pixel is added to the pixel that it copies."""
        return scatter(xp, self.sources(), self.extent)


def scatter(values: FloatArray, sources: NDArray[np.intp], extent: Sizes) -> FloatArray:
    """Add up, in each image of (N, C, ...), the values with equal source; those of source -1 are dropped.

    The trailing axes of `values` hold as many elements as `sources`, in the same order.
    """
    N, C = values.shape[:2]
    slots = math.prod(extent) + 1
    index = np.arange(N * C)[:, np.newaxis] * slots + sources.reshape(1, -1) + 1
    counts = np.bincount(index.ravel(), weights=values.ravel(), minlength=N * C * slots)
    # bincount counts in integers where there is nothing to count
    sums = np.asarray(counts, dtype=np.float64)
    return sums.reshape(N, C, slots)[:, :, 1:].reshape(N, C, *extent)


def _numpy_pad(a: NDArray[Any], pairs: Pairs, padding_mode: str) -> Any:
    pad: Any = np.pad  # its annotations want the mode as a literal
    return pad(a, pairs, NUMPY_MODE[padding_mode])


def _check_extents(name: str, extent: Sizes, kernel: Sizes) -> None:
    if any(e < 1 for e in extent):
        raise ValueError(f"{name} must have at least 1 pixel in every spatial axis, got extent {extent}")
    if any(k < 1 for k in kernel):
        raise ValueError(f"the kernel must have at least 1 tap in every spatial axis, got kernel {kernel}")


def _known_mode(padding_mode: str) -> str:
    if not isinstance(padding_mode, str):
        raise TypeError(f"padding_mode must be a string, got padding_mode={padding_mode!r}")
    if padding_mode not in NUMPY_MODE:
        raise ValueError(f"padding_mode must be one of {tuple(NUMPY_MODE)}, got padding_mode={padding_mode!r}")
    return padding_mode


def _check_padding(window: Window) -> None:
    """Refuse padding that would need the image more than once (reflect does not repeat the edge)."""
    mode = window.padding_mode
    spare = {"reflect": 1, "circular": 0, "symmetric": 0}.get(mode)
    if spare is None:
        return
    if any(max(pair) + spare > e for pair, e in zip(window.padding, window.extent, strict=True)):
        rule = "less than" if spare else "at most"
        raise ValueError(
            f"padding_mode={mode!r} needs padding {rule} the extent in every axis, "
            f"got padding={window.padding}, extent={window.extent}"
        )
