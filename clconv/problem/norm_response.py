"""Local response normalisation: windows over the channels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from clconv.arguments import integer, real
from clconv.problem.epilogue import NO_EPILOGUE, EpilogueProblem
from clconv.problem.shapes import check_elements, element_defines, real_bytes

__all__ = ["ResponseProblem"]

#: How many axes of pixels kernels know.
_PIXEL_AXES = 3


@dataclass(frozen=True)
class ResponseProblem:
    """Channels that are divided by a power of their neighbours' mean square.

    Attributes
    ----------
    N, C : int
        Batch and channels.
    pixels : (D, H, W)
        Extents of the pixels' axes.
    size : int
        Channels of a window, those beyond the ends included: ``size // 2`` before a channel, the rest after it.
    alpha, beta, k : float
        The base is ``k + alpha * mean square``, its exponent ``-beta``.
    dtype : str
    epilogue : EpilogueProblem
    """

    N: int
    C: int
    pixels: tuple[int, int, int]
    size: int
    alpha: float
    beta: float
    k: float
    dtype: str
    epilogue: EpilogueProblem = NO_EPILOGUE

    @classmethod
    def from_shape(
        cls, input_shape: Sequence[int], size: Any, alpha: Any, beta: Any, k: Any, dtype: str
    ) -> ResponseProblem:
        """Make the problem from the arguments of ``local_response_norm``."""
        shape = tuple(input_shape)
        if not 3 <= len(shape) <= 2 + _PIXEL_AXES:
            raise ValueError(
                f"input takes 3 to 5 axes (batch, channels and 1 to 3 spatial): input.shape={shape} has {len(shape)}"
            )
        check_elements({"input": shape})
        pixels = (1,) * (2 + _PIXEL_AXES - len(shape)) + shape[2:]
        whole = integer(size, "size", least=1)
        numbers = real(alpha, "alpha"), real(beta, "beta"), real(k, "k")
        return cls(shape[0], shape[1], pixels, whole, *numbers, dtype)  # type: ignore[arg-type]

    @property
    def defines(self) -> tuple[tuple[str, int], ...]:
        """What kernels are compiled with for arrays of this type."""
        return element_defines(self.dtype)

    @property
    def real_bytes(self) -> int:
        """Bytes of a number in the type that kernels compute in."""
        return real_bytes(self.dtype)

    @property
    def share(self) -> float:
        """What a window's sum of squares is multiplied with."""
        return self.alpha / self.size

    def merged(self, strides: Sequence[Sequence[int]]) -> ResponseProblem:
        """Return the problem with one axis of pixels, if the operands' strides along the five axes allow."""
        _, H, W = self.pixels
        if any((d, h) != (H * W * w, W * w) for _, _, d, h, w in strides):
            return self
        return replace(self, pixels=(1, 1, math.prod(self.pixels)))

    def sizes(self) -> dict[str, int]:
        """Return the kernels' size arguments by their names."""
        windows = {"BEFORE": self.size // 2, "AFTER": (self.size - 1) // 2}
        return {"N": self.N, "C": self.C, **dict(zip("DHW", self.pixels, strict=True)), **windows}
