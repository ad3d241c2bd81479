"""A convolution layer as it is measured: sizes and arguments, and what follows from them."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

from clconv.problem import ConvProblem

__all__ = ["PASSES", "WINOGRAD_KIND", "Case", "Layer", "layer"]

#: The passes by the names that the command takes.
PASSES = ("fwd", "bwd_data", "bwd_weights")

#: The layers on which other algorithms than direct sums pay most, and that are summed up apart from all others.
WINOGRAD_KIND = "3x3 stride 1, 64 channels or more"
_OTHER_KIND = "other"


class Layer(NamedTuple):
    """A convolution, or a transposed one, without a bias; padding, stride and dilation have one value for each axis.

    Attributes
    ----------
    channels, outputs : int
        Channels of the input and of the output.
    extents, window, stride, padding, dilation : tuple of int
        One for each spatial axis.
    groups : int
        Groups of channels.
    transposed : bool
        Whether the convolution is transposed.
    """

    channels: int
    extents: tuple[int, ...]
    outputs: int
    window: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    transposed: bool

    @property
    def name(self) -> str:
        """The window, input channels and extents, output channels, and whatever else is not 1 or as usual.

        Examples
        --------
        >>> layer(128, 56, 128, (3, 3), stride=2).name
        '3x3: 128x56x56 to 128, stride 2'
        """
        parts = [f"{_crossed(self.window)}: {self.channels}x{_crossed(self.extents)} to {self.outputs}"]
        for word in ("stride", "dilation"):
            values = getattr(self, word)
            if set(values) != {1}:
                parts.append(f"{word} {_briefly(values)}")
        if self.groups != 1:
            parts.append(f"{self.groups} groups")
        if self.transposed:
            parts.append("transposed")
        elif self.padding != _same(self.window, self.dilation):
            parts.append(f"padding {_briefly(self.padding)}")
        return ", ".join(parts)

    @property
    def operation(self) -> str:
        """The name of the function that computes it, clconv's as well as torch.nn.functional's."""
        return f"conv{'_transpose' if self.transposed else ''}{len(self.window)}d"

    @property
    def arguments(self) -> dict[str, Any]:
        """What that function takes besides arrays."""
        return {name: getattr(self, name) for name in ("stride", "padding", "dilation", "groups")}

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """Shape of the weight as that function takes it."""
        first, second = (self.channels, self.outputs) if self.transposed else (self.outputs, self.channels)
        return (first, second // self.groups, *self.window)

    @property
    def kind(self) -> str:
        """The layers that it is summed up with."""
        is_plain = self.window == (3, 3) and self.stride == self.dilation == (1, 1) and self.groups == 1
        wide = min(self.channels, self.outputs) >= 64
        return WINOGRAD_KIND if is_plain and wide and not self.transposed else _OTHER_KIND


class Case(NamedTuple):
    """One pass over a layer.

    Attributes
    ----------
    suite : str
        What it was measured for.
    layer : Layer
    batch : int
    dtype : str
    direction : {"fwd", "bwd_data", "bwd_weights"}
        The pass.
    """

    suite: str
    layer: Layer
    batch: int
    dtype: str
    direction: str

    @property
    def problem(self) -> ConvProblem:
        """The problem that clconv makes of it."""
        return _problem(self.layer, self.batch, self.dtype)

    @property
    def operations(self) -> int:
        """Floating-point operations: two for every product with a weight, those with padding counted."""
        return 2 * self.problem.macs

    @property
    def moved(self) -> int:
        """Bytes that must be read or written at least: every pass reads two of the three arrays and writes one."""
        return self.problem.bytes

    @property
    def operation(self) -> str:
        """The name of the pass in clconv's plans: those of a transposed convolution are the plain one's."""
        if self.direction == "bwd_weights":
            return "conv_bwd_weights"
        return "conv_bwd_data" if self.layer.transposed == (self.direction == "fwd") else "conv_fwd"

    @property
    def title(self) -> str:
        """Everything that tells it from the other cases of a suite."""
        return f"{self.layer.name}, batch {self.batch}, {self.dtype}, {self.direction}"


@functools.lru_cache(maxsize=1024)
def _problem(this: Layer, batch: int, dtype: str) -> ConvProblem:
    make = ConvProblem.from_transposed_shapes if this.transposed else ConvProblem.from_shapes
    problem = make((batch, this.channels, *this.extents), this.weight_shape, **this.arguments, dtype=dtype)
    return problem.without_gaps()


def layer(
    channels: int,
    extents: int | tuple[int, ...],
    outputs: int,
    window: tuple[int, ...],
    stride: int = 1,
    padding: int | tuple[int, ...] | None = None,
    dilation: int = 1,
    groups: int = 1,
    transposed: bool = False,
) -> Layer:
    """Return a layer; a single extent, stride, padding or dilation is that of all axes.

    Parameters
    ----------
    channels, outputs : int
        Channels of the input and of the output.
    extents : int or tuple of int
        Extents of the input.
    window : tuple of int
        Extents of the window; its length is the number of spatial axes.
    padding : int or tuple of int, optional
        By default half of the window, which keeps the extents at stride 1; none for a transposed convolution.

    Examples
    --------
    >>> layer(3, 224, 64, (7, 7), stride=2).padding
    (3, 3)
    """
    rank = len(window)
    strides, dilations = (stride,) * rank, (dilation,) * rank
    if padding is None:
        paddings = (0,) * rank if transposed else _same(window, dilations)
    else:
        paddings = (padding,) * rank if isinstance(padding, int) else padding
    sizes = (extents,) * rank if isinstance(extents, int) else extents
    return Layer(channels, sizes, outputs, window, strides, paddings, dilations, groups, transposed)


def _same(window: tuple[int, ...], dilation: tuple[int, ...]) -> tuple[int, ...]:
    return tuple((taps - 1) * step // 2 for taps, step in zip(window, dilation, strict=True))


def _crossed(sizes: tuple[int, ...]) -> str:
    return "x".join(map(str, sizes))


def _briefly(values: tuple[int, ...]) -> str:
    return str(values[0]) if len(set(values)) == 1 else _crossed(values)
