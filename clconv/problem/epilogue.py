"""Which parts an epilogue has, that is done to results on their way to memory, and its gradients."""

from __future__ import annotations

import math
from dataclasses import dataclass

from clconv.problem.elementwise import ACTIVATIONS
from clconv.problem.shapes import element_defines, real_bytes

__all__ = ["NO_EPILOGUE", "EpilogueBackwardProblem", "EpilogueProblem"]

#: The number of no activation in kernels/epilogue.h.
_NO_ACTIVATION = -1


@dataclass(frozen=True)
class EpilogueProblem:
    """The parts of ``y = activation(scale * value + shift + residual)``.

    Attributes
    ----------
    scale, shift, residual : bool
        Whether there is such an array.
    activation : str or None
        One of :data:`clconv.problem.elementwise.ACTIVATIONS`, if any.
    slope : float
        Of leaky_relu below zero.
    """

    scale: bool = False
    shift: bool = False
    residual: bool = False
    activation: str | None = None
    slope: float = 0.0

    @property
    def arrays(self) -> tuple[str, ...]:
        """The names of the arrays that there are, in kernels and as operands."""
        return tuple(name for name in ("scale", "shift", "residual") if getattr(self, name))

    def numbers(self) -> dict[str, float]:
        """Return the kernels' arguments by their names."""
        return {
            "has_scale": int(self.scale),
            "has_shift": int(self.shift),
            "has_residual": int(self.residual),
            "activation": _NO_ACTIVATION if self.activation is None else ACTIVATIONS.index(self.activation),
            "slope": self.slope,
        }


NO_EPILOGUE = EpilogueProblem()


@dataclass(frozen=True)
class EpilogueBackwardProblem:
    """The gradients of an epilogue.

    Attributes
    ----------
    epilogue : EpilogueProblem
        Its parts.
    by_output : bool
        Whether slopes are computed from the output, which is given instead of the value.
    gradients : (bool, bool, bool, bool)
        Whether those of value, scale, shift and residual are wanted.
    channels : int
    extents : tuple of int
        Of the common walk over all positions of a channel, the axis with the smallest steps last.
    across : bool
        Whether neighbouring channels lie side by side in memory, rather than neighbouring positions.
    dtype : str
        "float16", "float32" or "float64".
    """

    epilogue: EpilogueProblem
    by_output: bool
    gradients: tuple[bool, bool, bool, bool]
    channels: int
    extents: tuple[int, int, int, int]
    across: bool
    dtype: str

    @property
    def positions(self) -> int:
        """Number of elements of a channel."""
        return math.prod(self.extents)

    @property
    def real_bytes(self) -> int:
        """Bytes of the type that sums are held in: float for half."""
        return real_bytes(self.dtype)

    @property
    def defines(self) -> tuple[tuple[str, int], ...]:
        """What kernels are compiled with for arrays of this type."""
        return element_defines(self.dtype)
