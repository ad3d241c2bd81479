"""Which parts an epilogue has: what is done to results on their way to memory."""

from __future__ import annotations

from dataclasses import dataclass

from clconv.problem.elementwise import ACTIVATIONS

__all__ = ["NO_EPILOGUE", "EpilogueProblem"]

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
