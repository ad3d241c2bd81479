"""A deformable convolution: sizes of its arrays, and the plain convolution that follows once pixels have been read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from clconv.problem.conv import ConvProblem
from clconv.problem.shapes import check_elements, element_defines, window_sizes
from clconv.problem.window import Window, windows_over

__all__ = ["DeformProblem"]


@dataclass(frozen=True)
class DeformProblem:
    """A two-dimensional convolution whose taps are moved by offsets.

    Attributes
    ----------
    N, G, ICG, OCG : int
        Batch, groups of the weight, and input and output channels in each.
    OG : int
        Groups of input channels that are moved together.
    windows : tuple of Window
        The undeformed windows; three, the first one trivial.
    dtype : str
        "float16", "float32" or "float64".
    bias, mask : bool
        Whether there are these arrays.
    """

    N: int
    G: int
    ICG: int
    OCG: int
    OG: int
    windows: tuple[Window, Window, Window]
    dtype: str
    bias: bool
    mask: bool

    @classmethod
    def from_shapes(
        cls,
        input_shape: Sequence[int],
        offset_shape: Sequence[int],
        weight_shape: Sequence[int],
        stride: Any,
        padding: Any,
        dilation: Any,
        *,
        bias: bool,
        mask: bool,
        dtype: str,
    ) -> DeformProblem:
        """Make the problem from shapes and arguments, or say which of them do not fit."""
        for name, shape in (("input", input_shape), ("offset", offset_shape), ("weight", weight_shape)):
            if len(shape) != 4:
                raise ValueError(f"{name} takes 4 axes: {name}.shape={tuple(shape)} has {len(shape)}")
        N, channels, *extents = input_shape
        OC, ICG, *kernels = weight_shape
        if not all(kernels):
            raise ValueError(f"weight must have at least 1 tap along each spatial axis: weight.shape={weight_shape}")
        if not ICG or not channels or channels % ICG or OC % (channels // ICG):
            raise ValueError(
                f"weight's {ICG} channels must divide input's {channels}, and their quotient, the groups, weight's "
                f"{OC} output channels: input.shape={tuple(input_shape)}, weight.shape={tuple(weight_shape)}"
            )
        if isinstance(padding, str):
            raise TypeError(f"padding takes an integer, one for each axis, or pairs: padding={padding!r}")
        windows = windows_over(extents, kernels, stride, padding, dilation, "zeros")
        G, taps = channels // ICG, math.prod(kernels)
        OG, rest = divmod(offset_shape[1], 2 * taps)
        if rest or not OG or channels % OG:
            raise ValueError(
                f"offset takes 2 channels for each of {taps} taps in each of its groups, which divide input's "
                f"{channels} channels: offset.shape={tuple(offset_shape)}"
            )
        problem = cls(N, G, ICG, OC // G, OG, windows, dtype, bias, mask)
        if tuple(offset_shape) != problem.offset_shape:
            raise ValueError(
                f"offset must have shape {problem.offset_shape}, its extents those of the output: "
                f"offset.shape={tuple(offset_shape)}"
            )
        check_elements({"input": tuple(input_shape), "what the taps read": problem.columns_shape})
        return problem

    @property
    def channels(self) -> int:
        """Input channels."""
        return self.G * self.ICG

    @property
    def taps(self) -> int:
        """Taps of a window."""
        return math.prod(window.kernel for window in self.windows)

    @property
    def outputs(self) -> tuple[int, int]:
        """Extents of the output."""
        return self.windows[1].output, self.windows[2].output

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of the input."""
        return (self.N, self.channels, self.windows[1].extent, self.windows[2].extent)

    @property
    def offset_shape(self) -> tuple[int, ...]:
        """Shape of the offset: row and column of each tap in turn."""
        return (self.N, 2 * self.OG * self.taps, *self.outputs)

    @property
    def mask_shape(self) -> tuple[int, ...]:
        """Shape of the mask."""
        return (self.N, self.OG * self.taps, *self.outputs)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of the output."""
        return (self.N, self.G * self.OCG, *self.outputs)

    @property
    def convolution(self) -> ConvProblem:
        """The convolution, in three dimensions, of what the taps have read.

        Those values form an image of KH by KW*OH by OW pixels; a kernel of KH by KW by 1 taps at dilation OH along
        the second axis reads, for output (0, oh, ow), pixel (kh, kw*OH + oh, ow): tap (kh, kw) of that output.
        """
        _, rows, columns = self.windows
        KH, KW, (OH, OW) = rows.kernel, columns.kernel, self.outputs
        windows = (
            Window(extent=KH, kernel=KH),
            Window(extent=KW * OH, kernel=KW, dilation=OH, output=OH),
            Window(extent=OW, output=OW),
        )
        return ConvProblem(
            self.N,
            self.G,
            self.ICG,
            self.OCG,
            windows,
            "zeros",
            flip=False,
            dtype=self.dtype,
            bias=self.bias,
            rank=3,
            batched=True,
            transposed=False,
        )

    @property
    def columns_shape(self) -> tuple[int, ...]:
        """Shape of what the taps read: the data of :attr:`convolution`."""
        return self.convolution.input_shape

    @property
    def defines(self) -> tuple[tuple[str, int], ...]:
        """What kernels are compiled with for arrays of this type."""
        return element_defines(self.dtype)

    def sizes(self) -> dict[str, int]:
        """Return the kernels' size arguments by their names."""
        sizes = window_sizes(self.windows, "zeros")
        return {"N": self.N, "C": self.channels, "OG": self.OG, "has_mask": int(self.mask), **sizes}
