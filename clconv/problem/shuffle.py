"""Moving elements between channels and pixels, as copies over six axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from clconv.arguments import LARGEST, integer
from clconv.problem.shapes import check_elements, element_defines

__all__ = ["ShuffleProblem"]

Strides = tuple[int, ...]


@dataclass(frozen=True)
class ShuffleProblem:
    """A shuffle as a copy over six axes, into which the axes of either array are split.

    Attributes
    ----------
    input_shape, output_shape : tuple of int
        The user's shapes.
    kind : str
        "pixel_shuffle", "pixel_unshuffle" or "channel_shuffle".
    factor : int
        The factor r of pixels, or the number G of groups.
    dtype : str
        "float16", "float32" or "float64".
    """

    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    kind: str
    factor: int
    dtype: str

    @classmethod
    def for_pixel_shuffle(cls, input_shape: Sequence[int], upscale_factor: Any, *, dtype: str) -> ShuffleProblem:
        """Make the problem of ``pixel_shuffle`` from its arguments."""
        *lead, channels, H, W = _image(input_shape)
        r = integer(upscale_factor, "upscale_factor", least=1)
        if channels % (r * r):
            raise ValueError(
                f"the square of upscale_factor={r} must divide the {channels} channels: "
                f"input.shape={tuple(input_shape)}"
            )
        return cls._checked(input_shape, (*lead, channels // (r * r), H * r, W * r), "pixel_shuffle", r, dtype)

    @classmethod
    def for_pixel_unshuffle(cls, input_shape: Sequence[int], downscale_factor: Any, *, dtype: str) -> ShuffleProblem:
        """Make the problem of ``pixel_unshuffle`` from its arguments."""
        *lead, channels, height, width = _image(input_shape)
        r = integer(downscale_factor, "downscale_factor", least=1)
        if height % r or width % r:
            raise ValueError(
                f"downscale_factor={r} must divide the height {height} and the width {width}: "
                f"input.shape={tuple(input_shape)}"
            )
        shape = (*lead, channels * r * r, height // r, width // r)
        return cls._checked(input_shape, shape, "pixel_unshuffle", r, dtype)

    @classmethod
    def for_channel_shuffle(cls, input_shape: Sequence[int], groups: Any, *, dtype: str) -> ShuffleProblem:
        """Make the problem of ``channel_shuffle`` from its arguments."""
        shape = _image(input_shape)
        G = integer(groups, "groups", least=1)
        if shape[1] % G:
            raise ValueError(f"groups={G} must divide the {shape[1]} channels: input.shape={shape}")
        return cls._checked(shape, shape, "channel_shuffle", G, dtype)

    @classmethod
    def _checked(
        cls, input_shape: Sequence[int], output_shape: tuple[int, ...], kind: str, factor: int, dtype: str
    ) -> ShuffleProblem:
        if max(*input_shape[-2:], *output_shape[-2:]) > LARGEST:
            raise ValueError(
                f"height and width must be at most 2**30 - 1: input.shape={tuple(input_shape)}, "
                f"output.shape={output_shape}"
            )
        problem = cls(tuple(input_shape), output_shape, kind, factor, dtype)
        check_elements({"input": problem.input_shape, "output": problem.output_shape})
        return problem

    @property
    def defines(self) -> tuple[tuple[str, int], ...]:
        """What kernels are compiled with for arrays of this type."""
        return element_defines(self.dtype)

    @property
    def merged(self) -> slice:
        """The axes of either array that are walked as one: all before the channels, or between channels and rows."""
        axes = len(self.input_shape)
        return slice(2, max(axes - 2, 2)) if self.kind == "channel_shuffle" else slice(0, axes - 3)

    @property
    def extents(self) -> tuple[int, ...]:
        """Extents of the six axes: n, c, h, i, w, j for pixels (r*r channels or pixels i, j), else n, c, g, d, h, w."""
        shape, r = self.input_shape, self.factor
        merged = math.prod(shape[self.merged])
        if self.kind == "channel_shuffle":
            H, W = (1, *shape[2:])[-2:]
            return (shape[0], shape[1] // r, r, merged, H, W)
        channels, H, W = self.output_shape[-3:] if self.kind == "pixel_unshuffle" else shape[-3:]
        return (merged, channels // (r * r), H, r, W, r)

    def input_strides(self, strides: Sequence[int], merged: int) -> Strides:
        """Return the strides of the input along the six axes, from the user's and that of the merged axes."""
        if self.kind == "channel_shuffle":
            return self._group_strides(strides, merged, group=self.input_shape[1] // self.factor, channel=1)
        return self._pixel_strides(strides, merged, many=self.kind == "pixel_shuffle")

    def output_strides(self, strides: Sequence[int], merged: int) -> Strides:
        """Return the strides of the output along the six axes, from the user's and that of the merged axes."""
        if self.kind == "channel_shuffle":
            return self._group_strides(strides, merged, group=1, channel=self.factor)
        return self._pixel_strides(strides, merged, many=self.kind == "pixel_unshuffle")

    def _group_strides(self, strides: Sequence[int], merged: int, *, group: int, channel: int) -> Strides:
        n, c = strides[:2]
        h, w = (0, *strides[2:])[-2:]
        return (n, channel * c, group * c, merged, h, w)

    def _pixel_strides(self, strides: Sequence[int], merged: int, *, many: bool) -> Strides:
        """Return the strides of the array that has many channels, or of the one that has many pixels."""
        (c, h, w), r = strides[-3:], self.factor
        return (merged, r * r * c, h, r * c, w, c) if many else (merged, c, r * h, h, r * w, w)


def _image(shape: Sequence[int]) -> tuple[int, ...]:
    if len(shape) < 3:
        raise ValueError(f"input takes 3 axes or more: input.shape={tuple(shape)} has {len(shape)}")
    return tuple(shape)
