"""What the checker must know of an operation: its problems, its data, its results, and its usual faults."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from clconv.oracle import bounds, reference
from clconv.oracle._floats import digits, float_type, largest

__all__ = [
    "Arrays",
    "Call",
    "Case",
    "Claims",
    "Disagreement",
    "Identity",
    "Operation",
    "Problem",
    "Refusal",
    "Results",
    "Suspect",
]

Array = NDArray[Any]
Arrays = dict[str, Array | None]
Results = dict[str, Array | None]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Claims:
    """What an implementation says of itself, and is judged by.

    Attributes
    ----------
    dtype : type of its arrays
    accumulate : type of its sums; None is float32 for 16-bit types, else `dtype`
    semantics : whose rules it follows where systems differ
    algorithm : class of its error bound
    features : names of what it takes beyond torch's arguments
    parameters : names of the optional arguments that it takes; None if it takes all
    """

    dtype: str = "float32"
    accumulate: str | None = None
    semantics: str = "torch"
    algorithm: str = "direct"
    features: frozenset[str] = frozenset()
    parameters: frozenset[str] | None = None

    def takes(self, name: str) -> bool:
        """Tell whether the implementation has an argument of torch's of that name."""
        return self.parameters is None or name in self.parameters

    @property
    def sums_terms(self) -> bool:
        """Whether results are sums of the definition's terms: exact on integers, and local."""
        return not self.algorithm.startswith(("winograd", "fft"))

    def offers(self, feature: str) -> bool:
        """Tell whether the implementation claims an extension."""
        return feature in self.features


@dataclass(frozen=True)
class Problem:
    """A call without values: the shapes of its arrays and its other arguments, defaults left out.

    Attributes
    ----------
    shapes : shape of each array argument, in the order of the signature; absent arrays are left out
    arguments : the other arguments
    name : what is special about it, if anything
    disputed : on what systems disagree here, if they do; then nothing is held against an implementation
    """

    shapes: Mapping[str, Shape]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""
    disputed: str = ""

    def having(self, **arguments: Any) -> Problem:
        """Return the same problem with other arguments."""
        return replace(self, arguments={**self.arguments, **arguments})


@dataclass(frozen=True)
class Case:
    """A call: a problem with values.

    Attributes
    ----------
    problem : shapes and other arguments
    arrays : values, in the implementation's type
    layouts : memory layout of the arrays that are not contiguous
    shared : for an array that lies in another one's memory, at its beginning, the other one's name
    out : shape of the array that is passed as ``out=``, if one is
    """

    problem: Problem
    arrays: Mapping[str, Array]
    layouts: Mapping[str, str] = field(default_factory=dict)
    shared: Mapping[str, str] = field(default_factory=dict)
    out: Shape | None = None

    @property
    def size(self) -> int:
        """Number of elements, by which cases are called small."""
        return sum(array.size for array in self.arrays.values())

    def holding(self, **arrays: Array) -> Case:
        """Return the same call with other values."""
        return replace(self, arrays={**self.arrays, **arrays})


@dataclass(frozen=True)
class Refusal:
    """A call that must be refused, and the rule that it breaks."""

    rule: str
    problem: Problem
    arrays: Mapping[str, Array] = field(default_factory=dict)


@dataclass(frozen=True)
class Suspect:
    """A usual fault: the results that an implementation with it has.

    `results` gets the arrays in float64 and the arguments; any exception means that the fault does not apply.
    """

    cause: str
    results: Callable[[Arrays, dict[str, Any]], Results]


@dataclass(frozen=True)
class Disagreement:
    """Two results that should have been equal, or within `bound`."""

    message: str
    got: Array
    expected: Array
    name: str = "output"
    bound: Array | None = None


Call = Callable[[Case], Results]


@dataclass(frozen=True)
class Identity:
    """A law that needs no reference. `check` may call the implementation as often as it likes.

    It returns None also where the law does not apply to the case. Values are integers that every order of
    summation adds up exactly, at a quarter of the size that fits, so that sums of two arrays do as well.
    """

    name: str
    check: Callable[[Call, Case], Disagreement | None]


class Operation(ABC):
    """An operation as the checker sees it.

    Attributes
    ----------
    name : as in `reference`
    required : names of the arrays that are passed by position, in order
    optional : names of the arrays that are passed by keyword, if at all
    results : names of the results: ("output",), or the fields of the named tuple of gradients
    updates : names of the arrays that the implementation changes in place, each a result as well
    features : what an implementation may claim beyond torch's arguments
    positional : names of other arguments without a default, passed by keyword
    settings : names of the optional arguments of torch's, arrays among them
    semantics : whose rules the reference knows
    rounds : whether right implementations differ by rounding on any data, so that results are always held to bounds
    """

    name: str
    required: tuple[str, ...]
    optional: tuple[str, ...] = ()
    results: tuple[str, ...] = ("output",)
    updates: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    positional: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    semantics: tuple[str, ...] = ("torch",)
    rounds: bool = False

    @abstractmethod
    def problems(self, claims: Claims) -> st.SearchStrategy[Problem]:
        """Draw lawful problems, the simplest first, with no argument that is not claimed."""

    def exact_problems(self, claims: Claims) -> st.SearchStrategy[Problem]:
        """Draw lawful problems for which there are exact data."""
        return self.problems(claims)

    def edges(self, claims: Claims) -> Iterable[Problem]:
        """List lawful problems at the limits, each with a name that says what would be wrong."""
        return ()

    def refusals(self, claims: Claims) -> Iterable[Refusal]:
        """List calls that must be refused."""
        return ()

    def identities(self, claims: Claims) -> Iterable[Identity]:
        """List laws that hold without a reference."""
        return ()

    def suspects(self) -> Iterable[Suspect]:
        """List usual faults, the likelier first."""
        return ()

    def expected(self, case: Case, claims: Claims) -> Results:
        """Evaluate the reference."""
        return self.evaluate(as_float64(case.arrays), dict(case.problem.arguments), claims)

    def evaluate(self, arrays: Mapping[str, Array | None], arguments: dict[str, Any], claims: Claims) -> Results:
        """Call the reference and name its results."""
        translated = self.translated(arguments, claims)
        return self.named(getattr(reference, self.name)(**arrays, **translated))

    def translated(self, arguments: Mapping[str, Any], claims: Claims) -> dict[str, Any]:
        """Return the arguments as the reference takes them under the claimed semantics."""
        if len(self.semantics) > 1:
            return {**arguments, "semantics": claims.semantics}
        return dict(arguments)

    def bounds(self, case: Case, claims: Claims, flushes_subnormals: bool = False) -> Results:
        """Return the largest error of each element of each result."""
        arguments = self.translated(case.problem.arguments, claims)
        given: dict[str, Any] = {**as_float64(case.arrays), **arguments}
        limits = bounds.bound(
            self.name,
            **given,
            dtype=claims.dtype,
            accumulate=claims.accumulate,
            flushes_subnormals=flushes_subnormals,
            algorithm=claims.algorithm,
        )
        return self.named(limits)

    def named(self, returned: Any) -> Results:
        """Give the results of a call their names."""
        values = returned if isinstance(returned, (tuple, list)) else (returned,)
        if len(values) != len(self.results):
            raise ValueError(
                f"{self.name} returns {len(self.results)} arrays {self.results}, this call returned {len(values)}"
            )
        return dict(zip(self.results, values, strict=True))

    def named_by_call(self, returned: Any, arrays: Mapping[str, Array]) -> Results:
        """Give the results of an implementation's call their names; gradients that it left out are None."""
        names = [name for name in self.results if name not in self.updates]
        # One output is an array; gradients come in a tuple, even a single one.
        several = isinstance(returned, (tuple, list)) and names != ["output"]
        values = list(returned) if several else [returned]
        if len(values) > len(names):
            raise ValueError(f"{self.name} returns {names}, the call returned {len(values)} values")
        values += [None] * (len(names) - len(values))
        updated = {name: arrays[name].copy() if name in arrays else None for name in self.updates}
        return {**dict(zip(names, values, strict=True)), **updated}

    def exact_arrays(self, problem: Problem, random: np.random.Generator, claims: Claims) -> dict[str, Array]:
        """Draw values for which every order of summation gives the same bits in `claims.dtype`.

        Integers whose products' magnitudes add up to at most 2**p in every sum, p the digits of the type:
        first drawn as large as the number of terms allows, then thinned out until that holds.
        """
        limit = exact_limit(claims.dtype)
        ones = {name: np.ones(shape) for name, shape in problem.shapes.items()}
        terms = self.magnitude(ones, problem, claims)
        largest_integer = int(min(max((limit / max(terms, 1.0)) ** 0.5, 3), 1000))
        density = 1.0
        while True:
            arrays = {
                name: sparse_integers(random, shape, largest_integer, density) for name, shape in problem.shapes.items()
            }
            sizes = {name: np.abs(array) for name, array in arrays.items()}
            # No product is larger than the largest integer's square.
            if terms * largest_integer**2 <= limit or self.magnitude(sizes, problem, claims) <= limit:
                return {name: array.astype(float_type("dtype", claims.dtype)) for name, array in arrays.items()}
            if largest_integer > 3:
                largest_integer //= 2
            else:
                density /= 2

    def quartered(self, case: Case) -> Case:
        """Return a case of exact data at a quarter of their size, of which sums of two are exact as well."""
        drawn = {name: array for name, array in case.arrays.items() if array.dtype.kind not in "iu"}
        return case.holding(**{name: np.trunc(array / 4).astype(array.dtype) for name, array in drawn.items()})

    def magnitude(self, arrays: Mapping[str, Array | None], problem: Problem, claims: Claims) -> float:
        """Return the largest magnitude among the results."""
        results = self.evaluate(arrays, dict(problem.arguments), claims)
        return max((float(np.abs(r).max(initial=0)) for r in results.values() if r is not None), default=0.0)

    def real_arrays(self, problem: Problem, random: np.random.Generator, claims: Claims) -> dict[str, Array]:
        """Draw normal numbers, a third of them scaled by powers of two, so that sums cancel and magnitudes differ."""
        dtype = float_type("dtype", claims.dtype)

        def draw(shape: Shape) -> Array:
            powers = np.where(random.random(shape) < 1 / 3, random.integers(-8, 9, shape), 0)
            return (random.standard_normal(shape) * 2.0**powers).astype(dtype)

        return {name: draw(shape) for name, shape in problem.shapes.items()}

    def special_cases(
        self, problem: Problem, random: np.random.Generator, claims: Claims
    ) -> Iterable[tuple[str, Case, Results, str]]:
        """Draw cases with NaN and infinities: what was planted, the case, the exact results, and any dispute.

        A disputed case is not held against an implementation that has NaN where a number was expected.
        """
        return ()


def as_float64(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Convert floating-point arrays to what the reference takes; integers stay."""
    return {k: a if a.dtype.kind in "iub" else a.astype(np.float64) for k, a in arrays.items()}


def exact_limit(dtype: str) -> float:
    """Largest sum that is still exact in the type, whatever it is accumulated in."""
    plain = float_type("dtype", dtype)
    return min(2.0 ** digits(plain), largest(plain))


def sparse_integers(random: np.random.Generator, shape: Shape, largest_integer: int, density: float = 1.0) -> Array:
    """Draw integers between plus and minus the largest one, zeros only where `density` leaves a gap."""
    values = random.integers(1, largest_integer, shape, endpoint=True)
    signs = random.choice((-1, 1), shape)
    drawn: Array = (values * signs * (random.random(shape) < density)).astype(np.float64)
    return drawn
