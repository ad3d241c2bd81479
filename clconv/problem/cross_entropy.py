"""Cross entropy of softmax and a target of classes or probabilities."""

from __future__ import annotations

import math
from dataclasses import dataclass

from clconv.problem.shapes import element_defines, real_bytes

__all__ = ["REDUCTIONS", "CrossEntropyProblem"]

REDUCTIONS = ("none", "mean", "sum")


@dataclass(frozen=True)
class CrossEntropyProblem:
    """Cross entropy, or its gradients.

    Attributes
    ----------
    extents : tuple of int
        Of the walk over input and target: four axes of positions, and the classes as the second.
    reduction : str
        One of :data:`REDUCTIONS`.
    has_classes, has_weight : bool
        Whether the target holds classes, not probabilities; whether classes have weights.
    ignore_index : int
        The class that stands for no target.
    label_smoothing : float
        How much of the target is spread over all classes.
    wants_input, wants_target : bool
        Which gradients are computed.
    dtype : str
        "float16", "float32" or "float64".
    """

    extents: tuple[int, int, int, int, int]
    reduction: str
    has_classes: bool
    has_weight: bool
    ignore_index: int
    label_smoothing: float
    wants_input: bool
    wants_target: bool
    dtype: str

    @property
    def positions(self) -> int:
        """Number of positions, each with a loss."""
        return math.prod(self.extents) // self.extents[1] if self.extents[1] else 0

    @property
    def real_bytes(self) -> int:
        """Bytes of the type that losses are held in: float for half."""
        return real_bytes(self.dtype)

    @property
    def defines(self) -> tuple[tuple[str, int], ...]:
        """What kernels are compiled with for arrays of this type."""
        return element_defines(self.dtype)
