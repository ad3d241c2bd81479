"""Drawn poolings, poolings at the limits, and calls that no pooling may answer."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from clconv.oracle.reference.pool_windows import Windows, adaptive_pool, share, sliding_pool

from ._base import Claims, Problem, Refusal

__all__ = [
    "MANY",
    "adaptive_edges",
    "adaptive_problems",
    "adaptive_refusals",
    "adaptive_windows",
    "claimed",
    "each",
    "gradient_refusals",
    "is_power_of_two",
    "refusals",
    "sliding_edges",
    "sliding_problems",
    "sliding_windows",
    "unbatched",
]

Shape = tuple[int, ...]
MANY = 65537  # more than an axis of a grid, or a 16-bit index, can hold
WINDOW = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")
WORDS = ("valid", "same_upper", "same_lower", "full")


def each(value: Any, rank: int) -> tuple[Any, ...]:
    """Return one entry for each axis, of a tuple the last ones."""
    return tuple(value[-rank:]) if isinstance(value, (tuple, list)) else (value,) * rank


def is_power_of_two(numbers: Any) -> bool:
    """Tell whether all magnitudes are powers of two: division by them is exact in whatever way it is done."""
    return bool((np.frexp(np.abs(np.asarray(numbers, dtype=np.float64)))[0] == 0.5).all())


def sliding_windows(rank: int, shape: Shape, arguments: Mapping[str, Any], semantics: str = "torch") -> Windows:
    """Return the windows of a pooling; those that the reference refuses raise."""
    given = {"stride": None, "padding": 0, "dilation": 1, "ceil_mode": False, **arguments}
    return sliding_pool(rank, np.zeros(shape), **{name: given[name] for name in WINDOW}, semantics=semantics).windows


def adaptive_windows(rank: int, shape: Shape, arguments: Mapping[str, Any]) -> Windows:
    """Return the windows of an adaptive pooling."""
    return adaptive_pool(rank, np.zeros(shape), arguments["output_size"], needs_channels=False).windows


def unbatched(problem: Problem, rank: int) -> Problem:
    """Leave out the batch axis."""
    return replace(problem, shapes={name: shape[-rank - 1 :] for name, shape in problem.shapes.items()})


def claimed(problems: Iterable[Any], settings: tuple[str, ...], claims: Claims) -> Iterator[Any]:
    """Keep the problems, or refusals, whose arguments the implementation takes."""
    for item in problems:
        arguments = getattr(item, "problem", item).arguments
        if all(claims.takes(name) for name in arguments if name in settings):
            yield item


# --- drawn problems: few draws each, from lists of whole tuples, since a draw costs more than a call


@st.composite
def sliding_problems(
    draw: st.DrawFn, rank: int, claims: Claims, settings: tuple[str, ...], kernels: tuple[int, ...] = (2, 1, 3, 4)
) -> Problem:
    """Draw windows that slide; `settings` are the optional arguments of the operation."""
    taken = draw(_subsets(tuple(name for name in WINDOW if name in settings and claims.takes(name))))
    lead, extent = draw(LEADS), draw(_tuples(range(1, (9, 7, 5)[rank - 1] + 1), rank))
    kernel = draw(_tuples([k for k in kernels if rank < 3 or k < 4], rank))
    sizes: dict[str, Any] = {"kernel_size": kernel}
    if "stride" in taken:
        sizes["stride"] = draw(_tuples((1, 2, 3), rank))
    if "padding" in taken:
        sizes["padding"] = draw(_paddings(kernel, claims))
    if "dilation" in taken:
        sizes["dilation"] = draw(_tuples((2, 1, 3), rank))
    arguments = {name: _written(draw, size) for name, size in sizes.items() if set(size) != {DEFAULTS.get(name)}}
    arguments |= {"ceil_mode": True} if "ceil_mode" in taken else {}
    try:
        # Without ceil_mode as well, which allows for windows that are wider than the input: see the edges.
        for ceil_mode in {False, "ceil_mode" in taken}:
            sliding_windows(rank, (*lead, *extent), {**arguments, "ceil_mode": ceil_mode}, claims.semantics)
    except ValueError:  # a window without a pixel: do without what lets that happen
        arguments = {k: v for k, v in arguments.items() if k not in ("padding", "dilation")}
        extent = tuple(map(max, extent, kernel))
    problem = Problem({"input": (*lead, *extent)}, arguments)
    return unbatched(problem, rank) if draw(RARELY) else problem


DEFAULTS = {"padding": 0, "dilation": 1}
LEADS = st.sampled_from([(1, 1), (1, 2), (2, 1), (1, 3), (2, 3)])
RARELY = st.sampled_from((False, False, False, True))


def _tuples(sizes: Iterable[int], rank: int) -> st.SearchStrategy[Shape]:
    return _cached_tuples(tuple(sizes), rank)


@functools.cache
def _cached_tuples(sizes: tuple[int, ...], rank: int) -> st.SearchStrategy[Shape]:
    """Draw a size for each axis; earlier sizes are simpler."""
    places = sorted(itertools.product(range(len(sizes)), repeat=rank), key=lambda place: (sum(place), place))
    return st.sampled_from([tuple(sizes[i] for i in place) for place in places])


@functools.cache
def _subsets(names: tuple[str, ...]) -> st.SearchStrategy[frozenset[str]]:
    chosen = (itertools.combinations(names, count) for count in range(len(names) + 1))
    return st.sampled_from([frozenset(subset) for subset in itertools.chain(*chosen)])


def _written(draw: st.DrawFn, sizes: Any) -> Any:
    """Write equal sizes as one integer, or as one for each axis; leave words and pairs."""
    is_plain = isinstance(sizes, tuple) and len(set(sizes)) == 1 and not isinstance(sizes[0], tuple)
    return draw(st.sampled_from((sizes[0], sizes))) if is_plain else sizes


def _paddings(kernel: Shape, claims: Claims) -> st.SearchStrategy[Any]:
    """Draw padding in a form that is claimed; in torch's, it is at most half of the kernel."""
    most = [k // 2 if claims.semantics == "torch" else k - 1 for k in kernel]
    forms: list[st.SearchStrategy[Any]] = [st.tuples(*(st.integers(0, p) for p in most))]
    if claims.offers("padding_pairs"):
        forms.append(st.tuples(*(st.tuples(st.integers(0, k - 1), st.integers(0, k - 1)) for k in kernel)))
    if claims.offers("padding_names"):
        forms.append(st.sampled_from(WORDS))
    return st.one_of(forms)


@st.composite
def adaptive_problems(draw: st.DrawFn, rank: int, halves: bool) -> Problem:
    """Draw windows that share out the input, by powers of two if `halves`."""
    axes = [draw(st.sampled_from(EVEN_SHARES if halves else ALL_SHARES)) for _ in range(rank)]
    extent, counts = tuple(e for e, _ in axes), tuple(o for _, o in axes)
    output = _written(draw, counts)
    if rank > 1 and draw(RARELY):
        output = (None, *counts[1:])
    problem = Problem({"input": (*draw(LEADS), *extent)}, {"output_size": output})
    return unbatched(problem, rank) if draw(RARELY) else problem


ALL_SHARES = [(extent, count) for extent in range(1, 8) for count in range(1, 9)]
EVEN_SHARES = [
    (extent, count) for extent, count in ALL_SHARES if is_power_of_two((share(extent, count) >= 0).sum(axis=1))
]


# --- the limits


def sliding_edges(rank: int, settings: tuple[str, ...]) -> Iterator[Problem]:
    """List windows that are often got wrong; divisors are powers of two."""

    def over(name: str, extent: Any, kernel: Any, N: int = 2, C: int = 3, **arguments: Any) -> Problem:
        arguments = {"kernel_size": each(kernel, rank), **arguments}
        return Problem({"input": (N, C, *each(extent, rank))}, arguments, name)

    yield over("an empty batch", 4, 2, N=0)
    yield over("one pixel and one tap", 1, 1)
    yield over("another size on every axis", (7, 5, 8), (2, 4, 1))
    yield over("windows that overlap", 5, 2, stride=1)
    yield over("a stride longer than the kernel", 8, 2, stride=3)
    yield over("a window that ends short of the last pixel", 7, 2)
    yield over("another stride on every axis", (8, 7, 6), 2, stride=tuple(range(1, rank + 1)))
    yield unbatched(over("an input without a batch axis", 4, 2), rank)
    if "padding" in settings:
        yield over("padding of half the kernel", 5, 2, padding=1)
        yield over("another padding on every axis", (5, 4, 6), 4, stride=2, padding=tuple(range(rank)))
    if "dilation" in settings:
        yield over("another dilation on every axis", (8, 9, 10), 2, dilation=tuple(range(1, rank + 1)))
        yield over("dilation beside padding and stride", 9, 3, stride=2, padding=1, dilation=2)
    if "ceil_mode" in settings:
        yield over("a last window beyond the input (ceil_mode)", 5, 2, ceil_mode=True)
        wider = over("a window wider than the input (ceil_mode)", 2, 4, ceil_mode=True)
        yield replace(wider, disputed="a window wider than the padded input, of which ceil_mode makes one")
        yield over("a stride past the last pixel (ceil_mode)", 4, 1, stride=3, ceil_mode=True)
        yield over("a window that would start beyond the input (ceil_mode)", 4, 1, stride=4, ceil_mode=True)
        if "padding" in settings:
            yield over("a window that would start in the padding (ceil_mode)", 3, 2, padding=1, ceil_mode=True)
            yield over("a last window beyond the padding (ceil_mode)", 4, 4, padding=1, ceil_mode=True)
    row = (1,) * (rank - 1)
    yield over("a long row", (*row, 517), (*row, 2), N=1, C=1)
    yield over(f"{MANY} images", (*row, 2), (*row, 2), N=MANY, C=1)
    yield over(f"{MANY} channels", (*row, 2), (*row, 2), N=1, C=MANY)


def adaptive_edges(rank: int) -> Iterator[Problem]:
    """List shares of the input that are often got wrong; their sizes are powers of two."""

    def shared(name: str, extent: Any, output: Any, N: int = 2, C: int = 3) -> Problem:
        return Problem({"input": (N, C, *each(extent, rank))}, {"output_size": each(output, rank)}, name)

    yield shared("an empty batch", 4, 2, N=0)
    yield shared("one output", 4, 1)
    yield shared("as many outputs as pixels", (3, 5, 4), (3, 5, 4))
    yield shared("more outputs than pixels", 3, 4)
    yield shared("shares that overlap", 3, 2)
    yield shared("another size on every axis", (2, 8, 3), (1, 4, 2))
    yield replace(shared("no output", 4, 0), disputed="an output_size of 0")
    if rank > 1:
        yield shared("None for the input's extent", (4, 3, 4), (2, None, 2))
    yield unbatched(shared("an input without a batch axis", 4, 2), rank)
    row = (1,) * (rank - 1)
    yield shared(f"{MANY} images", (*row, 2), 1, N=MANY, C=1)
    yield shared(f"{MANY} channels", (*row, 2), 1, N=1, C=MANY)


# --- refusals


def refusals(rank: int, settings: tuple[str, ...], claims: Claims, **fixed: Any) -> Iterator[Refusal]:
    """List calls of windows that slide that break a rule of torch's; `fixed` arguments are lawful."""

    def call(rule: str, name: str, extent: Any = 5, C: int = 3, **arguments: Any) -> Refusal:
        arguments = {"kernel_size": 2, **fixed, **arguments}
        return Refusal(rule, Problem({"input": (2, C, *each(extent, rank))}, arguments, name))

    for value in (0, -1):
        yield call("kernel_size is at least 1", f"kernel_size={value}", kernel_size=value)
        yield call("stride is at least 1", f"stride={value}", stride=value)
    too_many = (1,) * (rank + 1)
    yield call("kernel_size has one entry for each axis", f"kernel_size={too_many}", kernel_size=too_many)
    yield call("kernel_size is an integer", "kernel_size=1.5", kernel_size=1.5)
    yield call("the window fits into the padded input", "a kernel larger than the input", extent=2, kernel_size=4)
    # Rounded towards zero, (2 - 3)/2 + 1 is one output.
    yield call("the window fits into the padded input", "a kernel one pixel too large", 2, kernel_size=3, stride=2)
    yield call("input has a pixel", "no pixels", (3, 3, 0), kernel_size=1)
    yield call("input has a channel", "no channels", C=0)
    flat = call("", "").problem
    lead = replace(flat, shapes={"input": (1, *flat.shapes["input"])}, name="an input with an axis too many")
    yield Refusal("input has a batch axis, channels and the spatial axes", lead)
    if "padding" in settings:
        yield call("padding is at least 0", "padding=-1", padding=-1)
        rule = "each window has a pixel" if claims.semantics != "torch" else "padding is at most half of the kernel"
        yield call(rule, "padding as large as the kernel", padding=2)
        if claims.semantics == "torch":
            yield call(rule, "padding=2 with kernel_size=3", kernel_size=3, padding=2)
        if claims.offers("padding_pairs"):
            yield call("each window has a pixel", "padding of a whole kernel on one side", padding=((2, 0),) * rank)
    if "dilation" in settings:
        yield call("dilation is at least 1", "dilation=0", dilation=0)
        yield call("the window fits into the padded input", "a dilated kernel larger than the input", dilation=5)
        if "padding" in settings and claims.semantics == "torch":
            rule = "padding is at most half of the kernel, not counting dilation"
            yield call(rule, "padding=2 with a dilated kernel", kernel_size=3, padding=2, dilation=2)
            last = call("each window has a pixel", "dilation over all pixels", 3, padding=1, dilation=4)
            yield replace(last, problem=replace(last.problem, disputed="a window whose taps are all on the padding"))


def adaptive_refusals(rank: int, needs_channels: bool) -> Iterator[Refusal]:
    """List calls of adaptive pooling that break a rule of torch's."""
    image = (2, 3, *(4,) * rank)
    for value in (-1, (2,) * (rank + 1), 1.5):
        rule = "output_size is at least 0, an integer for each axis"
        yield Refusal(rule, Problem({"input": image}, {"output_size": value}, f"output_size={value}"))
    empty = Problem({"input": (2, 3, *(3,) * (rank - 1), 0)}, {"output_size": 2}, "no pixels")
    yield Refusal("input has a pixel", empty)
    deep = Problem({"input": (1, *image)}, {"output_size": 2}, "an input with an axis too many")
    yield Refusal("input has a batch axis, channels and the spatial axes", deep)
    if needs_channels:
        bare = Problem({"input": (2, 0, *(4,) * rank)}, {"output_size": 2}, "no channels")
        yield Refusal("input has a channel", bare)


def gradient_refusals(forward: Iterable[Refusal], lawful: Problem) -> Iterator[Refusal]:
    """Turn refusals of a pooling into its gradient's, and add wrong gradients of the output."""
    for refusal in forward:
        problem = refusal.problem
        # No output has a lawful shape here; one as large as the input is as good as any.
        shapes = {"grad_output": problem.shapes["input"], **problem.shapes}
        arrays = {"grad_output": np.ones(shapes["grad_output"], np.float32), **refusal.arrays} if refusal.arrays else {}
        yield replace(refusal, problem=replace(problem, shapes=shapes), arrays=arrays)
    N, C, *positions = lawful.shapes["grad_output"]
    for name, shape in (
        ("a grad_output too small", (N, C, *(o - 1 for o in positions))),
        ("a grad_output too large", (N, C, *(o + 1 for o in positions))),
        ("a grad_output of another batch", (N + 1, C, *positions)),
        ("a grad_output of other channels", (N, C + 1, *positions)),
    ):
        problem = replace(lawful, shapes={**lawful.shapes, "grad_output": shape}, name=name)
        kinds = {"indices": np.int64}
        arrays = {k: np.zeros(s, kinds.get(k, np.float32)) for k, s in problem.shapes.items()}
        yield Refusal("grad_output has the output's shape", problem, arrays if "indices" in arrays else {})
