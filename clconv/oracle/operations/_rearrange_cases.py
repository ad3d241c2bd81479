"""Paddings and shuffles: drawn at random, at the limits, and those that must be refused."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

from clconv.oracle.reference.geometry import Sizes

from ._base import Claims, Problem, Refusal

__all__ = [
    "flatten_edges",
    "flatten_refusals",
    "flattenings",
    "pad_edges",
    "pad_refusals",
    "paddings",
    "shuffle_edges",
    "shuffle_refusals",
    "shuffles",
    "supposed_output",
]

MANY = 65537  # more than an axis of a grid, or a 16-bit index, can hold


def _problem(name: str, shape: Sizes, **arguments: Any) -> Problem:
    return Problem({"input": shape}, arguments, name)


def supposed_output(problem: Problem) -> Sizes:
    """Return the shape that an implementation may suppose for the output of a call that it should refuse."""
    shape, arguments = problem.shapes["input"], problem.arguments
    pad = arguments.get("pad", ())
    if len(pad) % 2 or len(pad) > 2 * len(shape):
        return shape
    added = [int(low + high) for low, high in zip(pad[::2], pad[1::2], strict=True)][::-1]
    kept = len(shape) - len(added)
    supposed = (*shape[:kept], *(max(n + a, 0) for n, a in zip(shape[kept:], added, strict=True)))
    up, down = int(arguments.get("upscale_factor", 1)), int(arguments.get("downscale_factor", 1))
    if len(shape) < 3 or up < 1 or down < 1:
        return supposed
    *lead, channels, H, W = supposed
    return (*lead, channels * down**2 // up**2, H * up // down, W * up // down)


# --- padding


@st.composite
def paddings(draw: st.DrawFn, claims: Claims) -> Problem:
    """Draw a padding, the simplest being none."""
    modes = ("constant", "replicate", "reflect", "circular", *(("symmetric",) if claims.offers("symmetric") else ()))
    mode = draw(st.sampled_from(modes)) if claims.takes("mode") else "constant"
    rank = draw(st.integers(1, 3))
    lead = draw(st.lists(st.integers(1, 2), min_size=1, max_size=2))
    extent = draw(st.lists(st.integers(1, 5), min_size=rank, max_size=rank))
    pairs = [draw(_pair(X, mode)) for X in extent]
    arguments: dict[str, Any] = {"pad": tuple(itertools.chain.from_iterable(reversed(pairs)))}
    if mode != "constant":
        arguments["mode"] = mode
    elif claims.takes("value"):
        value = draw(st.sampled_from((None, 1.0, -2.5)))
        arguments |= {} if value is None else {"value": value}
    return Problem({"input": (*lead, *extent)}, arguments)


def _pair(X: int, mode: str) -> st.SearchStrategy[tuple[int, int]]:
    """Draw what to add to one axis, or in mode "constant" to take from it."""
    most = {"constant": 3, "replicate": 3, "reflect": X - 1}.get(mode, X)
    grown = st.tuples(st.integers(0, most), st.integers(0, most))
    if mode != "constant":
        return grown
    cropped = st.tuples(st.integers(-(X // 2), 3), st.integers(-((X - 1) // 2), 3))
    return st.one_of(grown, cropped)


def pad_edges(claims: Claims) -> Iterator[Problem]:
    """List lawful paddings that are often got wrong, without unclaimed arguments."""
    for problem in _pad_edges():
        symmetric = problem.arguments.get("mode") == "symmetric"
        names = [name for name in problem.arguments if name != "pad"]
        if all(claims.takes(name) for name in names) and (claims.offers("symmetric") or not symmetric):
            yield problem


def _pad_edges() -> Iterator[Problem]:
    yield _problem("the last axis first", (2, 3, 4, 5), pad=(1, 0, 0, 2))
    yield _problem("another padding on every side", (1, 2, 2, 3, 4), pad=(1, 2, 3, 0, 0, 1))
    yield _problem("no padding at all", (2, 3), pad=())
    yield _problem("an empty batch", (0, 2, 3), pad=(1, 1))
    yield _problem("an empty axis that is padded", (1, 2, 0), pad=(1, 2))
    yield _problem("negative padding crops", (1, 2, 4, 5), pad=(-1, 2, 1, -2))
    yield _problem("negative padding that leaves nothing", (1, 2, 5), pad=(-2, -3))
    yield _problem("a value", (1, 2, 3), pad=(2, 1), value=-1.5)
    yield _problem("all axes", (2, 1, 3), pad=(1, 0, 0, 1, 1, 1))
    for mode, pair in (("reflect", (3, 3)), ("circular", (4, 4)), ("symmetric", (4, 4)), ("replicate", (6, 9))):
        yield _problem(f"as much as mode={mode!r} allows", (1, 2, 4), pad=pair, mode=mode)
        yield _problem(f"mode={mode!r}, another padding on every side", (2, 1, 3, 4), pad=(1, 2, 0, 2), mode=mode)
        yield _problem(f"mode={mode!r} without a batch axis", (2, 4), pad=(2, 1), mode=mode)
    yield _problem("mode='replicate' of one pixel", (1, 1, 1, 1), pad=(2, 1, 1, 3), mode="replicate")
    yield _problem("a long row", (1, 1, 517), pad=(1, 2))
    yield _problem(f"{MANY} rows", (1, MANY, 1), pad=(1, 0))


def pad_refusals(claims: Claims) -> Iterator[Refusal]:
    """List paddings that break a rule of torch's, without unclaimed arguments."""
    for refusal in _pad_refusals():
        if all(claims.takes(name) for name in refusal.problem.arguments if name != "pad"):
            yield refusal


def _pad_refusals() -> Iterator[Refusal]:
    line, image = (1, 2, 4), (1, 2, 3, 4)
    yield Refusal("pad has an even number of entries", _problem("pad=(1,)", line, pad=(1,)))
    yield Refusal("pad has two entries for each axis at most", _problem("pad of four axes", line, pad=(1,) * 8))
    yield Refusal("pad holds integers", _problem("pad=(1.5, 1)", line, pad=(1.5, 1)))
    yield Refusal("pad leaves no negative extent", _problem("pad=(-2, -3) of 4 pixels", line, pad=(-2, -3)))
    yield Refusal("mode is a known word", _problem("mode='mirrored'", line, pad=(1, 1), mode="mirrored"))
    for mode, most in (("reflect", 3), ("circular", 4)):
        rule = f"mode={mode!r} shows the image once at most"
        for pair in ((most + 1, 0), (0, most + 1)):
            yield Refusal(rule, _problem(f"pad={pair} of 4 pixels, {mode}", line, pad=pair, mode=mode))
        tall = (0, 0, 3 if mode == "reflect" else 4, 0)
        yield Refusal(rule, _problem(f"pad={tall} of 3 by 4 pixels, {mode}", image, pad=tall, mode=mode))
    yield Refusal("there is a pixel to copy", _problem("replicate of nothing", (1, 2, 0), pad=(1, 1), mode="replicate"))
    yield Refusal(
        "value goes with mode='constant'", _problem("a value to reflect", line, pad=(1, 1), mode="reflect", value=1.0)
    )
    yield Refusal(
        "one or two axes are in front of the padded ones",
        _problem("reflect of one axis of four", image, pad=(1, 1), mode="reflect"),
    )


# --- shuffles


@st.composite
def shuffles(draw: st.DrawFn, operation: str, argument: str) -> Problem:
    """Draw a shuffle, the simplest by a factor of 1."""
    factor, C = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    H, W = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    if operation == "channel_shuffle":
        extent = draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))
        return Problem({"input": (draw(st.integers(1, 2)), C * factor, *extent)}, {argument: factor})
    lead = draw(st.lists(st.integers(1, 2), max_size=2))
    return Problem({"input": (*lead, *_image(operation, C, H, W, factor))}, {argument: factor})


def _image(operation: str, C: int, H: int, W: int, factor: int) -> Sizes:
    return (C * factor**2, H, W) if operation == "pixel_shuffle" else (C, H * factor, W * factor)


def shuffle_edges(operation: str, argument: str) -> Iterator[Problem]:
    """List lawful shuffles that are often got wrong."""
    if operation == "channel_shuffle":
        yield _problem("2 groups of 3 channels", (2, 6, 2, 3), groups=2)
        yield _problem("3 groups of 2 channels", (2, 6, 2, 3), groups=3)
        yield _problem("one group", (1, 4, 3), groups=1)
        yield _problem("a group for each channel", (1, 4, 3), groups=4)
        yield _problem("an empty batch", (0, 4, 2, 2), groups=2)
        yield _problem("three spatial axes", (1, 4, 2, 3, 2), groups=2)
        yield _problem(f"{MANY} images", (MANY, 4, 1), groups=2)
        return

    def shuffle(name: str, lead: Sizes, C: int, H: int, W: int, factor: int) -> Problem:
        return _problem(name, (*lead, *_image(operation, C, H, W, factor)), **{argument: factor})

    yield shuffle("several channels, another height than width", (2,), 2, 2, 3, 2)
    yield shuffle("a factor of 3", (1,), 2, 1, 2, 3)
    yield shuffle("a factor of 1", (1,), 3, 2, 4, 1)
    yield shuffle("an empty batch", (0,), 2, 2, 3, 2)
    yield shuffle("no batch axis", (), 2, 2, 3, 2)
    yield shuffle("two axes in front of the channels", (2, 3), 1, 2, 1, 2)
    yield shuffle("17 channels", (1,), 17, 1, 2, 2)
    yield shuffle(f"{MANY} images", (MANY,), 1, 1, 1, 2)


def shuffle_refusals(operation: str, argument: str) -> Iterator[Refusal]:
    """List shuffles that break a rule of torch's."""
    for factor in (0, -2):
        yield Refusal(f"{argument} is positive", _problem(f"{argument}={factor}", (1, 4, 4, 4), **{argument: factor}))
    yield Refusal(f"{argument} is an integer", _problem(f"{argument}=2.0", (1, 4, 4, 4), **{argument: 2.0}))
    yield Refusal("the input has three axes at least", _problem("an input of two axes", (4, 4), **{argument: 2}))
    if operation == "channel_shuffle":
        yield Refusal("groups divides the channels", _problem("3 groups of 4 channels", (1, 4, 2), groups=3))
    elif operation == "pixel_shuffle":
        rule = "the square of the factor divides the channels"
        yield Refusal(rule, _problem("a factor of 2 for 6 channels", (1, 6, 2, 2), **{argument: 2}))
        yield Refusal(rule, _problem("a factor of 3 for 3 channels", (1, 3, 2, 2), **{argument: 3}))
    else:
        rule = "the factor divides height and width"
        yield Refusal(rule, _problem("a factor of 2 for 5 columns", (1, 1, 4, 5), **{argument: 2}))
        yield Refusal(rule, _problem("a factor of 2 for 3 rows", (1, 1, 3, 4), **{argument: 2}))


# --- flatten


@st.composite
def flattenings(draw: st.DrawFn) -> Problem:
    """Draw axes to join, counted from either end, the simplest being all."""
    shape = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=4)))
    first = draw(st.integers(0, len(shape) - 1))
    last = draw(st.integers(first, len(shape) - 1))
    arguments = {}
    for name, axis, usual in (("start_dim", first, 0), ("end_dim", last, len(shape) - 1)):
        counted = axis - len(shape) if draw(st.booleans()) else axis
        if axis != usual or draw(st.booleans()):
            arguments[name] = counted
    return Problem({"input": shape}, arguments)


def flatten_edges() -> Iterator[Problem]:
    """List lawful joins that are often got wrong."""
    yield _problem("all axes behind the batch", (2, 3, 4), start_dim=1)
    yield _problem("the first of three axes", (2, 3, 4), end_dim=-2)
    yield _problem("one axis", (2, 3, 4), start_dim=1, end_dim=1)
    yield _problem("an empty batch", (0, 3, 2), start_dim=1)
    yield _problem(f"{MANY} images", (MANY, 1, 2), start_dim=1)


def flatten_refusals() -> Iterator[Refusal]:
    """List joins without a meaning."""
    yield Refusal("start_dim is an axis", _problem("start_dim=3", (2, 3, 4), start_dim=3))
    yield Refusal("end_dim is an axis", _problem("end_dim=-4", (2, 3, 4), end_dim=-4))
    yield Refusal("start_dim is not behind end_dim", _problem("from 2 to 1", (2, 3, 4), start_dim=2, end_dim=1))
    yield Refusal("start_dim is an integer", _problem("start_dim=1.0", (2, 3, 4), start_dim=1.0))
