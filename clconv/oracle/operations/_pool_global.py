"""Global average and max pooling, as the checker sees them: one share for each plane, over any number of axes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from hypothesis import strategies as st

from ._base import Claims, Problem, Refusal
from ._pool_cases import MANY
from ._pool_max import AdaptiveMaxPool
from ._pool_mean import AdaptiveAvgPool
from ._pooling import Pooling

__all__ = ["GlobalAvgPool", "GlobalMaxPool"]

#: The first ones have powers of two as numbers of pixels.
PLANES = ((2,), (1,), (4,), (2, 2), (4, 1), (2, 8), (1, 4, 2), (2, 2, 2))
OTHER_PLANES = ((3,), (7,), (3, 2), (5, 3), (3, 1, 2), (2, 3, 5))


class _Global(Pooling):
    """What is different where windows are no argument, and the number of axes is the input's."""

    positional: tuple[str, ...] = ()
    features: tuple[str, ...] = ("out",)

    def __init__(self) -> None:
        self.name = self.family
        self.settings = ()

    def explicit(self, shape: tuple[int, ...], arguments: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        """Return the number of spatial axes, and the arguments of adaptive pooling."""
        return len(shape) - 2, {**arguments, "output_size": 1}

    def lawful_gradient(self) -> Problem:
        """Return a problem of which any other gradient has the wrong shape."""
        return Problem({"input": (2, 3, 5, 5)})

    def problems(self, claims: Claims) -> st.SearchStrategy[Problem]:
        """Draw planes of any size."""
        return _over(PLANES + OTHER_PLANES)

    def exact_problems(self, claims: Claims) -> st.SearchStrategy[Problem]:
        """Draw planes whose means are exact."""
        return _over(PLANES)

    def edges(self, claims: Claims) -> Iterable[Problem]:
        """List shapes that are often got wrong."""
        for name, shape in (
            ("an empty batch", (0, 3, 4, 4)),
            ("one pixel", (2, 3, 1)),
            ("a long row", (1, 1, 1, 512)),
            ("a large plane", (1, 2, 64, 128)),
            (f"{MANY} images", (MANY, 1, 2)),
            (f"{MANY} channels", (1, MANY, 2)),
        ):
            yield Problem({"input": shape}, {}, name)

    def refusals(self, claims: Claims) -> Iterable[Refusal]:
        """List inputs that have no pixels, or another number of axes."""
        yield Refusal("input has a pixel", Problem({"input": (2, 3, 4, 0)}, {}, "no pixels"))
        rule = "input has a batch axis, channels and 1 to 3 spatial axes"
        yield Refusal(rule, Problem({"input": (2, 3)}, {}, "no spatial axis"))
        yield Refusal(rule, Problem({"input": (2, 3, 2, 2, 2, 2)}, {}, "four spatial axes"))


class GlobalAvgPool(_Global, AdaptiveAvgPool):
    """global_avg_pool."""

    family = "global_avg_pool"


class GlobalMaxPool(_Global, AdaptiveMaxPool):
    """global_max_pool."""

    family = "global_max_pool"
    results: tuple[str, ...] = ("output",)

    def refusals(self, claims: Claims) -> Iterable[Refusal]:
        """List calls without a meaning."""
        yield from super().refusals(claims)
        yield Refusal("input has a channel", Problem({"input": (2, 0, 4, 4)}, {}, "no channels"))


def _over(planes: tuple[tuple[int, ...], ...]) -> st.SearchStrategy[Problem]:
    leads = st.sampled_from(((1, 1), (1, 2), (2, 1), (2, 3)))
    return st.builds(lambda lead, plane: Problem({"input": (*lead, *plane)}), leads, st.sampled_from(planes))
