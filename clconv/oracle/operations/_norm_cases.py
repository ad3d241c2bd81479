"""Drawn normalisations, normalisations at the limits, their values, and calls that none may answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from clconv.oracle._floats import digits, float_type

from ._base import Claims, Problem, Refusal, sparse_integers

__all__ = ["PROBLEMS", "claimed", "edges", "gradient_refusals", "integers", "real_numbers", "refusals"]

Array = NDArray[Any]
Shape = tuple[int, ...]

MANY = 65537  # more than an axis of a grid, or a 16-bit index, can hold
RUNNING = ("running_mean", "running_var")
EXTENTS = (2, 1, 3, 4, 5)
EPS = (1e-5, 1.0, 0.25, 1e-3)
MOMENTA = (0.1, 0.5, 1.0)


# --- drawn problems


@st.composite
def _channels(draw: st.DrawFn, claims: Claims, C: int | None = None, least_rank: int = 0) -> dict[str, Shape]:
    """Draw the shapes of an input, and of a weight and a bias for each channel."""
    N = draw(st.sampled_from((2, 1, 3)))
    C = draw(st.sampled_from((1, 2, 3, 5))) if C is None else C
    extent = draw(st.lists(st.sampled_from(EXTENTS), min_size=least_rank, max_size=3))
    return {"input": (N, C, *extent), **draw(_parameters(claims, (C,), ("weight", "bias")))}


@st.composite
def _parameters(draw: st.DrawFn, claims: Claims, shape: Shape, names: tuple[str, ...]) -> dict[str, Shape]:
    return {name: shape for name in names if claims.takes(name) and draw(st.booleans())}


@st.composite
def _arguments(draw: st.DrawFn, claims: Claims, choices: dict[str, tuple[Any, ...]]) -> dict[str, Any]:
    """Draw arguments that the implementation takes, of each the default first, which is left out."""
    drawn = {name: draw(st.sampled_from(values)) for name, values in choices.items() if claims.takes(name)}
    return {name: value for name, value in drawn.items() if value != choices[name][0]}


def _in_order(shapes: dict[str, Shape]) -> dict[str, Shape]:
    names = ("input", *RUNNING, "weight", "bias")
    return {name: shapes[name] for name in names if name in shapes}


@st.composite
def _batch_norms(draw: st.DrawFn, claims: Claims) -> Problem:
    shapes = draw(_channels(claims))
    N, C, *extent = shapes["input"]
    arguments = draw(_arguments(claims, {"training": (False, True, True), "momentum": MOMENTA, "eps": EPS}))
    if arguments.get("training") and np.prod([N, *extent]) == 1 and claims.semantics == "torch":
        shapes["input"] = (2, C, *extent)
    return Problem(_in_order({**shapes, **dict.fromkeys(RUNNING, (C,))}), arguments)


@st.composite
def _instance_norms(draw: st.DrawFn, claims: Claims) -> Problem:
    shapes = draw(_channels(claims, least_rank=1))
    N, C, *extent = shapes["input"]
    has_running = all(claims.takes(name) for name in RUNNING) and draw(st.booleans())
    choices: dict[str, tuple[Any, ...]] = {"eps": EPS}
    if has_running:
        choices |= {"use_input_stats": (True, False), "momentum": MOMENTA}
        shapes |= dict.fromkeys(RUNNING, (C,))
    arguments = draw(_arguments(claims, choices))
    if arguments.get("use_input_stats", True) and np.prod(extent) == 1:
        shapes["input"] = (N, C, *extent[:-1], 2)
    return Problem(_in_order(shapes), arguments)


@st.composite
def _group_norms(draw: st.DrawFn, claims: Claims) -> Problem:
    G, CG = draw(st.sampled_from((1, 2, 3))), draw(st.sampled_from((1, 2, 3)))
    shapes = draw(_channels(claims, C=G * CG))
    if np.prod(shapes["input"]) == G:
        shapes["input"] = (2, *shapes["input"][1:])
    return Problem(shapes, {"num_groups": G, **draw(_arguments(claims, {"eps": EPS}))})


@st.composite
def _layer_norms(draw: st.DrawFn, claims: Claims, parameters: tuple[str, ...] = ("weight", "bias")) -> Problem:
    outer = draw(st.lists(st.sampled_from((2, 1, 3, 4)), max_size=3))
    inner = tuple(draw(st.lists(st.sampled_from(EXTENTS), min_size=1, max_size=3)))
    shapes = {"input": (*outer, *inner), **draw(_parameters(claims, inner, parameters))}
    eps = EPS if "bias" in parameters else (None, *EPS)
    return Problem(shapes, {"normalized_shape": inner, **draw(_arguments(claims, {"eps": eps}))})


@st.composite
def _response_norms(draw: st.DrawFn, claims: Claims) -> Problem:
    N, C = draw(st.sampled_from((1, 2, 3))), draw(st.sampled_from((1, 2, 3, 5, 8)))
    extent = draw(st.lists(st.sampled_from(EXTENTS), min_size=1, max_size=3))
    size = draw(st.sampled_from((1, 2, 3, 4, 5, 9)))
    choices = {"alpha": (1e-4, 1.0, 0.5), "beta": (0.75, 0.5, 1.0), "k": (1.0, 2.0, 0.5)}
    return Problem({"input": (N, C, *extent)}, {"size": size, **draw(_arguments(claims, choices))})


PROBLEMS: dict[str, Callable[[Claims], st.SearchStrategy[Problem]]] = {
    "batch_norm": _batch_norms,
    "instance_norm": _instance_norms,
    "group_norm": _group_norms,
    "layer_norm": _layer_norms,
    "rms_norm": lambda claims: _layer_norms(claims, ("weight",)),
    "local_response_norm": _response_norms,
}


# --- values

CONSTANT, FAR, LARGE = "a constant row", "a mean far from zero", "squares beyond float16"


def integers(problem: Problem, random: np.random.Generator, claims: Claims) -> dict[str, Array]:
    """Draw small integers, or what the name of the problem asks for; no weight is zero, variances are positive."""
    dtype = float_type("dtype", claims.dtype)
    arrays = {name: sparse_integers(random, shape, 9) for name, shape in problem.shapes.items()}
    x = arrays["input"]
    if problem.name == CONSTANT:
        x[...] = 3
    elif problem.name == FAR:
        x += 2.0 ** (digits(dtype) // 2)
    elif problem.name == LARGE:
        x *= 40
    else:
        x += random.integers(-4, 5)
    return _typed(arrays, dtype)


def real_numbers(problem: Problem, random: np.random.Generator, claims: Claims) -> dict[str, Array]:
    """Draw normal numbers, at a third of the rows' places scaled by powers of two, around means small and large."""
    dtype = float_type("dtype", claims.dtype)
    arrays: dict[str, Array] = {name: random.standard_normal(shape) for name, shape in problem.shapes.items()}
    x = arrays["input"]
    if random.random() < 0.5:
        x *= 2.0 ** np.where(random.random(x.shape) < 1 / 3, random.integers(-4, 5, x.shape), 0)
    mean = random.choice((0.0, 1.0, 30.0, 2.0 ** (digits(dtype) // 2)))
    x += mean
    if "running_mean" in arrays:
        arrays["running_mean"] += mean
    return _typed(arrays, dtype)


def _typed(arrays: dict[str, Array], dtype: Any) -> dict[str, Array]:
    if "running_var" in arrays:
        arrays["running_var"] = np.abs(arrays["running_var"]) + 0.5
    return {name: array.astype(dtype) for name, array in arrays.items()}


# --- limits


def claimed(items: Iterable[Any], optional: Iterable[str], claims: Claims) -> Iterator[Any]:
    """Keep the problems, or refusals, whose optional arguments and arrays the implementation takes."""
    names = set(optional)
    for item in items:
        problem = getattr(item, "problem", item)
        if all(claims.takes(name) for name in (*problem.arguments, *problem.shapes) if name in names):
            yield item


def edges(operation: str) -> Iterator[Problem]:
    """List lawful normalisations that are often got wrong."""
    yield from EDGES[operation]()


def _layer(name: str, shape: Shape, parameters: str = "", running: bool = False, **arguments: Any) -> Problem:
    """Return a problem with one weight for each channel; `parameters` holds "w", "b" or both."""
    shapes = {"input": shape}
    if running:
        shapes |= dict.fromkeys(RUNNING, shape[1:2])
    shapes |= {full: shape[1:2] for letter, full in (("w", "weight"), ("b", "bias")) if letter in parameters}
    return Problem(shapes, arguments, name)


def _batch_edges() -> Iterator[Problem]:
    def layer(name: str, shape: Shape, parameters: str = "", **arguments: Any) -> Problem:
        return _layer(name, shape, parameters, running=True, **arguments)

    yield layer("evaluation", (2, 3, 4), "wb")
    yield layer("evaluation of one value per channel", (1, 3), "wb")
    yield layer("evaluation of an empty batch", (0, 3, 4), "wb")
    yield layer("evaluation with eps 0", (2, 3, 2), eps=0.0)
    yield layer("training on an empty batch", (0, 3, 4), "wb", training=True)
    yield layer("training on images without pixels", (2, 3, 0), "wb", training=True)
    yield layer("training without spatial axes", (4, 3), "wb", training=True)
    yield layer("training with three spatial axes", (2, 3, 2, 3, 2), "wb", training=True)
    yield layer("one image of two pixels", (1, 3, 2), training=True)
    yield layer("two images of one pixel", (2, 3, 1), training=True)
    yield layer("a weight without a bias", (2, 3, 4), "w", training=True)
    yield layer("a bias without a weight", (2, 3, 4), "b", training=True)
    yield layer("momentum 0", (2, 3, 4), training=True, momentum=0.0)
    yield layer("momentum 1", (2, 3, 4), training=True, momentum=1.0)
    for values in (CONSTANT, FAR, LARGE):
        yield layer(values, (2, 2, 4), "wb", training=True)
    yield layer("a row of more than 4600 values", (3, 2, 1537), training=True)
    yield layer(f"{MANY} channels", (2, MANY), "wb", training=True)
    yield layer(f"{MANY} images", (MANY, 1), training=True)


def _instance_edges() -> Iterator[Problem]:
    yield _layer("images without pixels", (2, 3, 0), "wb")
    yield replace(_layer("an empty batch", (0, 3, 4), "wb"), disputed="an instance norm of no images")
    yield _layer("three spatial axes", (2, 3, 2, 3, 2), "wb")
    yield _layer("a weight without a bias", (2, 3, 4), "w")
    yield _layer("a bias without a weight", (2, 3, 4), "b")
    yield _layer("running statistics of several images", (3, 2, 4), "wb", running=True)
    yield _layer("given statistics", (3, 2, 4), "wb", running=True, use_input_stats=False)
    yield _layer("given statistics of one pixel", (2, 3, 1), running=True, use_input_stats=False)
    for values in (CONSTANT, FAR, LARGE):
        yield _layer(values, (2, 2, 8), "wb")
    yield _layer("a row of more than 4600 values", (1, 2, 4609))
    yield _layer(f"{MANY} channels", (1, MANY, 2))


def _group_edges() -> Iterator[Problem]:
    yield _layer("an empty batch", (0, 4, 3), "wb", num_groups=2)
    yield _layer("images without pixels", (2, 4, 0), "wb", num_groups=2)
    yield _layer("one group", (2, 4, 3), "wb", num_groups=1)
    yield _layer("a group for each channel", (2, 4, 3), "wb", num_groups=4)
    yield _layer("groups of one value", (2, 4), "wb", num_groups=4)
    yield _layer("no spatial axes", (2, 6), "wb", num_groups=2)
    yield _layer("three spatial axes", (2, 6, 2, 3, 2), "wb", num_groups=3)
    yield _layer("a weight without a bias", (2, 4, 3), "w", num_groups=2)
    yield _layer("a bias without a weight", (2, 4, 3), "b", num_groups=2)
    for values in (CONSTANT, FAR, LARGE):
        yield _layer(values, (2, 4, 4), "wb", num_groups=2)
    yield _layer("a row of more than 4600 values", (1, 4, 2305), num_groups=2)
    yield _layer(f"{MANY} groups", (1, MANY, 2), num_groups=MANY)


def _last(name: str, shape: Shape, axes: int, parameters: str = "", **arguments: Any) -> Problem:
    inner = shape[len(shape) - axes :]
    shapes = {full: inner for letter, full in (("w", "weight"), ("b", "bias")) if letter in parameters}
    return Problem({"input": shape, **shapes}, {"normalized_shape": inner, **arguments}, name)


def _last_edges(has_bias: bool) -> Callable[[], Iterator[Problem]]:
    both = "wb" if has_bias else "w"

    def listed() -> Iterator[Problem]:
        yield _last("an empty batch", (0, 3), 1, both)
        yield _last("rows without values", (2, 0), 1, both)
        yield _last("rows of one value", (3, 1), 1, both)
        yield _last("a single row", (5,), 1, both)
        yield _last("all axes in one row", (2, 3, 4), 3, both)
        yield _last("two of three axes", (2, 3, 4), 2, both)
        yield _last("a weight alone", (2, 3, 4), 1, "w")
        if has_bias:
            yield _last("a bias alone", (2, 3, 4), 1, "b")
        for values in (CONSTANT, FAR, LARGE):
            yield _last(values, (2, 8), 1, both)
        yield _last("a row of more than 4600 values", (2, 4609), 1)
        yield _last(f"{MANY} rows", (MANY, 2), 1, both)

    return listed


def _response_edges() -> Iterator[Problem]:
    def layer(name: str, shape: Shape, size: int, **arguments: Any) -> Problem:
        return Problem({"input": shape}, {"size": size, **arguments}, name)

    yield layer("an empty batch", (0, 3, 4), 3)
    yield layer("no channels", (2, 0, 4), 3)
    yield layer("one channel", (2, 1, 4), 3, alpha=1.0)
    yield layer("a window of one channel", (2, 5, 4), 1, alpha=1.0)
    yield layer("an even window", (2, 5, 4), 4, alpha=1.0)
    yield layer("a window wider than the channels", (2, 3, 4), 9, alpha=1.0)
    yield layer("three spatial axes", (2, 4, 2, 3, 2), 3, alpha=1.0)
    yield layer(LARGE, (2, 4, 3), 3, alpha=1.0)
    yield layer(f"{MANY} channels", (1, MANY, 1), 3)
    yield layer(f"{MANY} images", (MANY, 1, 1), 2)


EDGES: dict[str, Callable[[], Iterator[Problem]]] = {
    "batch_norm": _batch_edges,
    "instance_norm": _instance_edges,
    "group_norm": _group_edges,
    "layer_norm": _last_edges(has_bias=True),
    "rms_norm": _last_edges(has_bias=False),
    "local_response_norm": _response_edges,
}


# --- refusals


def refusals(operation: str, claims: Claims) -> Iterator[Refusal]:
    """List calls that break a rule of torch's."""
    yield from REFUSALS[operation](claims)


LAWFUL = {
    "batch_norm": _layer("", (2, 3, 4), running=True),
    "instance_norm": _layer("", (2, 3, 4)),
    "group_norm": _layer("", (2, 4, 3), num_groups=2),
    "layer_norm": _last("", (2, 3, 4), 2),
    "rms_norm": _last("", (2, 3, 4), 2),
    "local_response_norm": Problem({"input": (2, 3, 4)}, {"size": 2}),
}


def _with(problem: Problem, name: str, **shapes: Shape) -> Problem:
    """Return a problem with other shapes, in the order of the signature."""
    return replace(problem, name=name, shapes=_in_order({**problem.shapes, **shapes}))


def _of_parameters(problem: Problem, names: tuple[str, ...], shape: Shape) -> Iterator[Refusal]:
    """List arrays that are too short or too long along the last axis."""
    for name in names:
        for word, more in (("short", -1), ("long", 1)):
            wrong = (*shape[:-1], shape[-1] + more)
            text = f"a {name} too {word}"
            yield Refusal(f"{name} has shape {shape} here", _with(problem, text, **{name: wrong}))


def _batch_refusals(claims: Claims) -> Iterator[Refusal]:
    lawful = LAWFUL["batch_norm"]
    yield from _of_parameters(lawful, (*RUNNING, "weight", "bias"), (3,))
    flat = replace(lawful, name="an input without channels", shapes={**lawful.shapes, "input": (3,)})
    yield Refusal("input has a batch axis and channels", flat)
    yield Refusal("eps is not negative", replace(lawful, name="eps=-1", arguments={"eps": -1.0}))
    if claims.semantics == "torch":
        for name, shape in (("one value per channel", (1, 3)), ("one pixel of one image", (1, 3, 1, 1))):
            one = _layer(f"training on {name}", shape, running=True, training=True)
            yield Refusal("training needs more than one value per channel", one)


def _instance_refusals(claims: Claims) -> Iterator[Refusal]:
    yield from _of_parameters(LAWFUL["instance_norm"], ("weight", "bias"), (3,))
    yield from _of_parameters(_layer("", (2, 3, 4), running=True), RUNNING, (3,))
    for name, shape in (("images of one pixel", (2, 3, 1)), ("images without spatial axes", (2, 3))):
        yield Refusal("the images' own statistics need more than one pixel", _layer(name, shape))
    none = _layer("use_input_stats=False alone", (2, 3, 4), use_input_stats=False)
    yield Refusal("use_input_stats=False needs running statistics", none)


def _group_refusals(claims: Claims) -> Iterator[Refusal]:
    yield from _of_parameters(LAWFUL["group_norm"], ("weight", "bias"), (4,))
    for G in (0, -2, 3, 8):
        rule = "num_groups divides the channels" if G > 0 else "num_groups is at least 1"
        yield Refusal(rule, _layer(f"num_groups={G} of 4 channels", (2, 4, 3), num_groups=G))
    one = _layer("one image with groups of one value", (1, 4), num_groups=4)
    yield Refusal("a group of a single image needs more than one value", one)
    flat = Problem({"input": (4,)}, {"num_groups": 2}, "an input without channels")
    yield Refusal("input has a batch axis and channels", flat)


def _last_refusals(names: tuple[str, ...]) -> Callable[[Claims], Iterator[Refusal]]:
    def listed(claims: Claims) -> Iterator[Refusal]:
        lawful = LAWFUL["layer_norm"]
        yield from _of_parameters(lawful, names, (3, 4))
        for shape in ((), (3,), (2, 3), (4, 3), (1, 2, 3, 4)):
            other = replace(lawful.having(normalized_shape=shape), name=f"normalized_shape={shape}")
            yield Refusal("input ends in normalized_shape", other)

    return listed


def _response_refusals(claims: Claims) -> Iterator[Refusal]:
    for size in (0, -1):
        problem = Problem({"input": (2, 3, 4)}, {"size": size}, f"size={size}")
        yield Refusal("size is at least 1", problem)
    flat = Problem({"input": (2, 3)}, {"size": 2}, "an input without spatial axes")
    yield Refusal("input has a batch axis, channels and a spatial axis", flat)


REFUSALS: dict[str, Callable[[Claims], Iterator[Refusal]]] = {
    "batch_norm": _batch_refusals,
    "instance_norm": _instance_refusals,
    "group_norm": _group_refusals,
    "layer_norm": _last_refusals(("weight", "bias")),
    "rms_norm": _last_refusals(("weight",)),
    "local_response_norm": _response_refusals,
}


def gradient_refusals(operation: str, claims: Claims) -> Iterator[Refusal]:
    """List the forward operation's, and wrong gradients of the output."""
    for refusal in refusals(operation, claims):
        problem = refusal.problem
        shapes = {"grad_output": problem.shapes["input"], **problem.shapes}
        yield replace(refusal, problem=replace(problem, shapes=shapes))
    lawful = LAWFUL[operation]
    shape = lawful.shapes["input"]
    for name, wrong in (
        ("a grad_output of another batch", (shape[0] + 1, *shape[1:])),
        ("a grad_output of other extents", (*shape[:-1], shape[-1] + 1)),
        ("a grad_output with an axis too few", shape[:-1]),
    ):
        problem = replace(lawful, name=name, shapes={"grad_output": wrong, **lawful.shapes})
        yield Refusal("grad_output has the output's shape", problem)
