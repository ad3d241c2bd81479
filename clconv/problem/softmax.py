"""softmax and its logarithm: one axis that is summed over, and the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from clconv.arguments import LARGEST
from clconv.problem.elementwise import AXES, CommonWalk
from clconv.problem.shapes import element_defines

__all__ = ["SoftmaxProblem", "axis_of"]


def axis_of(dim: int, name: str, shape: Sequence[int]) -> int:
    """Return an axis counted from the front; an array without axes has one axis here, as in torch."""
    rank = max(len(shape), 1)
    if not -rank <= dim < rank:
        raise ValueError(f"{name} must be between {-rank} and {rank - 1}: {name}={dim}, input.shape={tuple(shape)}")
    return dim % rank


@dataclass(frozen=True)
class SoftmaxProblem:
    """softmax or log_softmax, forward or backward.

    Attributes
    ----------
    is_log : bool
        Whether it is the logarithm.
    extents : tuple of int
        Of the walk; the axis that is summed over is the last but three.
    in_rows : bool
        Whether that axis lies side by side in every array, and the last one does not.
    dtype : str
        "float16", "float32" or "float64".
    """

    is_log: bool
    extents: tuple[int, ...]
    in_rows: bool
    dtype: str

    @property
    def defines(self) -> tuple[tuple[str, int], ...]:
        """What kernels are compiled with for arrays of this type."""
        return element_defines(self.dtype)

    @classmethod
    def over(
        cls, shape: Sequence[int], axis: int, strides: Sequence[Sequence[int]], *, is_log: bool, dtype: str
    ) -> tuple[SoftmaxProblem, tuple[tuple[int, ...], ...]]:
        """Return the problem for arrays of a shape and these strides, and the arrays' steps along its extents.

        Examples
        --------
        >>> problem, steps = SoftmaxProblem.over((8, 64, 7, 7), 1, [(3136, 49, 7, 1)], is_log=False, dtype="float32")
        >>> problem.extents, steps
        ((1, 64, 1, 8, 49), ((0, 49, 0, 3136, 1),))
        """
        if shape[axis] > LARGEST:
            raise ValueError(f"input takes at most 2**30 - 1 elements along dim: input.shape={tuple(shape)}")
        others = [[*steps[:axis], *steps[axis + 1 :]] for steps in strides]
        walk = CommonWalk.over([*shape[:axis], *shape[axis + 1 :]], *others, least=AXES - 1)
        split = len(walk.extents) - AXES + 2

        def with_axis(values: tuple[int, ...], own: int) -> tuple[int, ...]:
            return (*values[:split], own, *values[split:])

        steps = tuple(with_axis(walked, own[axis]) for walked, own in zip(walk.strides, strides, strict=True))
        in_rows = all(own[axis] == 1 for own in strides) and any(walked[-1] != 1 for walked in walk.strides)
        return cls(is_log, with_axis(walk.extents, shape[axis]), in_rows, dtype), steps
