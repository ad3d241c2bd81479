"""Resizing problems: drawn at random, at the limits, and those that must be refused."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

from hypothesis import strategies as st

from clconv.oracle._floats import DType, digits, storage_and_sum
from clconv.oracle.bounds.linear import copied
from clconv.oracle.reference.geometry import Sizes
from clconv.oracle.reference.resample_arguments import EXTENSIONS as OWNERS
from clconv.oracle.reference.resample_arguments import MODES, Resizing
from clconv.oracle.reference.resample_coordinates import (
    COORDINATE_MODES,
    NEAREST_MODES,
    Axis,
    Filtered,
    Nearest,
    is_binary,
    matrix,
)

from ._base import Claims, Problem, Refusal, exact_limit

__all__ = [
    "EXTENSIONS",
    "SETTINGS",
    "axes_of",
    "edges",
    "exact_integer",
    "exact_integers",
    "refusals",
    "resizings",
    "supposed_output",
]

SETTINGS = ("size", "scale_factor", "mode", "align_corners", "recompute_scale_factor", "antialias")
EXTENSIONS = ("coordinate_mode", "nearest_mode", "cubic_coefficient", "exclude_outside", "grid_mode")

FACTORS = (2.0, 0.5, 1.5, 3.0, 1.0, 0.75, 1.3, 0.4, 7 / 3)
BINARY_FACTORS = (2.0, 0.5, 4.0, 1.0, 0.25)
MANY = 65537  # more than an axis of a grid, or a 16-bit index, can hold


# --- exact data


class _Sums(NamedTuple):
    """What sums over one axis need: bits behind the binary point, and the largest sum of weights' magnitudes."""

    bits: int
    gain: float


def axes_of(problem: Problem, claims: Claims) -> tuple[Axis, ...]:
    """Return how each axis of a problem is resized."""
    arguments = {k: v for k, v in problem.arguments.items() if k != "output_mask"}
    return Resizing(**arguments, semantics=claims.semantics).axes(problem.shapes["input"][2:])


def exact_integer(problem: Problem, claims: Claims) -> int:
    """Return the largest integer for which every way to resize gives the same bits; 0 where there is none.

    Coordinates and weights must be binary numbers that the type holds, and no weight be divided by a sum other
    than 1, so that nothing is rounded on the way to them. Sums are then exact while the integers times the sum
    of weights, in units of the last bit, stay within 2**p; twice as much leaves room for x0 + t (x1 - x0).
    """
    summed = storage_and_sum(claims.dtype, claims.accumulate)[1]
    limit = exact_limit(claims.dtype)
    for axis in axes_of(problem, claims):
        sums = _exact_sums(axis, summed, "grad_output" in problem.shapes)
        if sums is None:
            return 0
        limit /= 2.0**sums.bits * sums.gain
    largest = int(limit / 2)
    return largest if largest >= 4 else 0


def exact_integers(problem: Problem, claims: Claims) -> list[int]:
    """Return the largest integers for the problem and for each one that lacks an argument of it but has a meaning."""
    found = [exact_integer(problem, claims)]
    for name in problem.arguments:
        kept = {k: v for k, v in problem.arguments.items() if k != name}
        try:
            other = exact_integer(replace(problem, arguments=kept), claims)
        except ValueError:
            continue
        found.append(0 if _ignores_the_factor(kept, problem.shapes["input"][2:], claims) else other)
    return found


@lru_cache(maxsize=1024)
def _exact_sums(axis: Axis, summed: DType, transposed: bool) -> _Sums | None:
    """Return what exact sums need; None where an implementation may round before."""
    rows = range(axis.positions)
    if isinstance(axis, Nearest) and any(len(copied(axis, o, summed)) > 1 for o in rows):
        return None
    if isinstance(axis, Filtered):
        if not all(axis.place.is_held(o, digits(summed)) for o in rows):
            return None
        if axis.normalises and any(sum(axis.kernel(s) for _, s in axis.near(axis.place(o))) != 1 for o in rows):
            return None
    taps = [(o, k, w) for o in rows for k, w in axis.taps(o)]
    if not all(is_binary(w) for _, _, w in taps):
        return None
    magnitudes = matrix(((o, k, float(abs(w))) for o, k, w in taps), (axis.positions, axis.extent))
    bits = max(w.denominator for _, _, w in taps).bit_length() - 1
    return _Sums(bits, float(magnitudes.sum(axis=0 if transposed else 1).max()))


# --- problems drawn


@st.composite
def resizings(draw: st.DrawFn, claims: Claims, exact: bool = False) -> Problem:
    """Draw a resizing, the simplest being one pixel copied; with `exact` most of them have exact data."""
    modes = MODES[claims.semantics]
    mode = draw(st.sampled_from(tuple(modes))) if claims.takes("mode") else "nearest"
    # ONNX has cubic weights for any number of axes, but not all that read it do.
    rank = 2 if Resizing(mode=mode).kind == "cubic" else draw(st.sampled_from(modes[mode]))
    extent = tuple(draw(st.lists(st.integers(1, (8, 6, 4)[rank - 1]), min_size=rank, max_size=rank)))
    options = {} if mode == "nearest" else {"mode": mode}
    options |= draw(_options(claims, Resizing(mode=mode).kind, mode, exact))
    options |= draw(_outputs(claims, extent, options, exact))
    return Problem({"input": (draw(st.integers(1, 2)), draw(st.integers(1, 3)), *extent)}, options)


@st.composite
def _options(draw: st.DrawFn, claims: Claims, kind: str, mode: str, exact: bool) -> dict[str, Any]:
    """Draw what goes with a mode, defaults left out."""
    choices: dict[str, Any] = {}
    filters = kind in ("linear", "cubic")
    if claims.semantics == "torch" and filters:
        choices["align_corners"] = (None, False) if exact else (None, False, True)
    if filters and claims.semantics != "scipy" and (claims.semantics != "torch" or mode in ("bilinear", "bicubic")):
        choices["antialias"] = (False,) if exact else (False, True)
    choices = {name: values for name, values in choices.items() if claims.takes(name)}
    if _offers(claims, "coordinate_mode"):
        choices["coordinate_mode"] = (None, *COORDINATE_MODES)
    if _offers(claims, "nearest_mode") and kind == "nearest":
        choices["nearest_mode"] = (None, *NEAREST_MODES)
    if _offers(claims, "cubic_coefficient") and kind == "cubic":
        choices["cubic_coefficient"] = (None, -0.5)
    if _offers(claims, "exclude_outside") and kind == "cubic":
        choices["exclude_outside"] = (False, True)
    if _offers(claims, "grid_mode"):
        choices["grid_mode"] = (False, True)
    drawn = {name: draw(st.sampled_from(values)) for name, values in choices.items()}
    return {name: value for name, value in drawn.items() if value is not choices[name][0]}


def _offers(claims: Claims, extension: str) -> bool:
    """Tell whether an implementation has an extension under the rules that it is judged by."""
    return claims.offers(extension) and OWNERS[extension] == claims.semantics


@st.composite
def _outputs(draw: st.DrawFn, claims: Claims, extent: Sizes, options: dict[str, Any], exact: bool) -> dict[str, Any]:
    """Draw the size of the output, or what to multiply the input's with."""
    kind = Resizing(mode=options.get("mode", "nearest")).kind
    aligned = bool(options.get("align_corners")) or options.get("coordinate_mode") == "align_corners"
    aligned |= claims.semantics == "scipy" and not options.get("grid_mode")
    binary = exact and kind in ("linear", "cubic")
    by_size = claims.semantics == "tf" or not claims.takes("scale_factor")
    if by_size or (claims.takes("size") and (draw(st.booleans()) or (binary and aligned))):
        size = tuple(draw(_binary_size(X, aligned) if binary else st.integers(1, X + 4)) for X in extent)
        return {"size": size[0] if len(set(size)) == 1 and draw(st.booleans()) else size}
    if binary and aligned:
        return {"scale_factor": tuple(draw(_binary_size(X, aligned)) / X for X in extent)}
    rounding = round if claims.semantics == "scipy" else math.floor
    factors = BINARY_FACTORS if binary else FACTORS
    useful = [[f for f in factors if rounding(f * X) >= 1 and not _ignored(f * X, X, options, claims)] for X in extent]
    scale = tuple(draw(st.sampled_from(choices)) for choices in useful)
    outputs: dict[str, Any] = {"scale_factor": scale[0] if len(set(scale)) == 1 and draw(st.booleans()) else scale}
    if claims.semantics == "torch" and claims.takes("recompute_scale_factor"):
        recompute = draw(st.sampled_from((None, True, False)))
        outputs |= {} if recompute is None else {"recompute_scale_factor": recompute}
    return outputs


def _ignores_the_factor(arguments: Mapping[str, Any], extent: Sizes, claims: Claims) -> bool:
    """Tell whether some systems take the ratio of the extents, although there is a factor."""
    scale = arguments.get("scale_factor")
    if scale is None:
        return False
    factors = scale if isinstance(scale, tuple) else (scale,) * len(extent)
    return any(_ignored(f * X, X, arguments, claims) for f, X in zip(factors, extent, strict=True))


def _ignored(product: float, X: int, arguments: Mapping[str, Any], claims: Claims) -> bool:
    """Tell that for one axis: where nothing but the fraction of a pixel is added to X, or in torch to 2 X.

    onnxruntime copies then; torch does for nearest neighbours, but not with a single axis.
    """
    if product == math.floor(product):
        return False
    if claims.semantics == "onnx":
        return math.floor(product) == X
    is_nearest = arguments.get("mode", "nearest") == "nearest"
    return claims.semantics == "torch" and is_nearest and math.floor(product) in (X, 2 * X)


def _binary_size(X: int, aligned: bool) -> st.SearchStrategy[int]:
    """Draw an extent for which steps are powers of two."""
    if aligned:
        gaps = [X - 1, 2 * (X - 1), *([(X - 1) // 2] if X % 2 else [])]
        return st.sampled_from(sorted({1, *(1 + gap for gap in gaps)}))
    return st.sampled_from([2 * X, X, 4 * X, *(X // n for n in (2, 4) if X % n == 0)])


# --- the limits


def edges(claims: Claims) -> Iterator[Problem]:
    """List lawful resizings that are often got wrong, without unclaimed arguments."""
    listed = {"torch": _torch_edges, "onnx": _onnx_edges, "tf": _tf_edges, "scipy": _scipy_edges}[claims.semantics]
    for problem in (*listed(), *_common_edges(claims)):
        unclaimed = any(
            not (claims.offers(name) if name in EXTENSIONS else claims.takes(name)) for name in problem.arguments
        )
        if not unclaimed and exact_integer(problem, claims):
            yield problem


def _resizing(name: str, shape: Sizes, disputed: str = "", **arguments: Any) -> Problem:
    return Problem({"input": shape}, arguments, name, disputed)


def _common_edges(claims: Claims) -> Iterator[Problem]:
    yield _resizing("an empty batch", (0, 2, 3, 4), size=(6, 5))
    yield _resizing("one pixel", (2, 3, 1), size=1)
    yield _resizing("one pixel made four", (1, 2, 1, 1), size=4)
    yield _resizing("nearest of another ratio on every axis", (2, 3, 2, 4, 3), size=(3, 2, 5))
    yield _resizing("a long row", (1, 1, 517), size=1034)
    yield _resizing(f"{MANY} images", (MANY, 1, 2), size=4)
    yield _resizing(f"{MANY} channels", (1, MANY, 2), size=1)
    yield _resizing("no channels", (2, 0, 3), size=6, disputed="zero channels")


def _torch_edges() -> Iterator[Problem]:
    yield _resizing("nearest of 3 pixels in 5", (1, 2, 3), size=5)
    yield _resizing("nearest of 5 pixels in 3", (1, 2, 5), size=3)
    yield _resizing("nearest-exact at half pixels", (1, 2, 6), size=3, mode="nearest-exact")
    yield _resizing("nearest-exact of 3 pixels in 5", (1, 2, 3), size=5, mode="nearest-exact")
    yield _resizing("a scale factor whose product is no integer, nearest", (1, 2, 5), scale_factor=0.75)
    yield _resizing("a scale factor whose product is no integer, linear", (1, 2, 5), scale_factor=0.5, mode="linear")
    yield _resizing(
        "a scale factor whose product is no integer, bilinear", (1, 2, 5, 9), scale_factor=(0.5, 0.25), mode="bilinear"
    )
    yield _resizing(
        "a scale factor that is recomputed", (1, 2, 5), scale_factor=0.5, mode="linear", recompute_scale_factor=True
    )
    yield _resizing("another factor on every axis", (1, 2, 3, 4), scale_factor=(2, 0.5), mode="bilinear")
    yield _resizing("align_corners with one position", (1, 2, 4, 5), size=1, mode="bilinear", align_corners=True)
    yield _resizing("one position in the middle of an even extent", (1, 2, 4), size=1, mode="linear")
    yield _resizing("align_corners of 3 pixels in 5", (1, 2, 3), size=5, mode="linear", align_corners=True)
    yield _resizing("align_corners of 9 pixels in 5", (1, 2, 9, 9), size=5, mode="bicubic", align_corners=True)
    yield _resizing("cubic weights at the border", (1, 2, 3, 4), size=(6, 8), mode="bicubic")
    yield _resizing("cubic weights of two pixels", (1, 2, 2, 2), size=4, mode="bicubic")
    yield _resizing("trilinear with another factor on every axis", (1, 2, 2, 3, 4), size=(4, 3, 8), mode="trilinear")
    yield _resizing("windows that overlap", (1, 2, 6), size=4, mode="area")
    yield _resizing("windows of one pixel, some shown twice", (1, 2, 2, 4), size=(4, 8), mode="area")
    yield _resizing(
        "a scale factor that leaves the extent",
        (1, 2, 2, 3),
        "the factor of nearest neighbours where the extent stays the same",
        scale_factor=1.25,
    )


def _onnx_edges() -> Iterator[Problem]:
    yield _resizing("ties between two pixels", (1, 2, 6), size=3)
    yield _resizing("ties that go up", (1, 2, 6), size=3, nearest_mode="round_prefer_ceil")
    yield _resizing(
        "asymmetric with floor", (1, 2, 3), scale_factor=2.0, coordinate_mode="asymmetric", nearest_mode="floor"
    )
    yield _resizing("asymmetric", (1, 2, 3), scale_factor=2.0, mode="linear", coordinate_mode="asymmetric")
    yield _resizing("align_corners of 3 pixels in 5", (1, 2, 3), size=5, mode="linear", coordinate_mode="align_corners")
    yield _resizing(
        "pytorch_half_pixel with one position", (1, 2, 4), size=1, mode="linear", coordinate_mode="pytorch_half_pixel"
    )
    yield _resizing(
        "half_pixel_symmetric where the product is no integer",
        (1, 2, 5),
        scale_factor=0.5,
        mode="linear",
        coordinate_mode="half_pixel_symmetric",
    )
    yield _resizing(
        "a scale factor that leaves the extent",
        (1, 2, 5),
        "the factor where the extent stays the same",
        scale_factor=1.125,
        coordinate_mode="asymmetric",
        nearest_mode="floor",
    )
    yield _resizing("cubic with a = -0.75", (1, 2, 3, 4), size=(6, 8), mode="cubic")
    yield _resizing("cubic with a = -0.5", (1, 2, 3, 4), size=(6, 8), mode="cubic", cubic_coefficient=-0.5)


def _tf_edges() -> Iterator[Problem]:
    yield _resizing("nearest at half pixels", (1, 2, 6), size=3)
    yield _resizing("bilinear at half pixels", (1, 2, 6, 4), size=(3, 2), mode="bilinear")


def _scipy_edges() -> Iterator[Problem]:
    yield _resizing("linear of 3 pixels in 5", (1, 2, 3), size=5, mode="linear")
    yield _resizing("an extent that is rounded, not cut", (1, 2, 3), scale_factor=1.6, mode="linear")
    yield _resizing("grid_mode", (1, 2, 3), scale_factor=2.0, mode="linear", grid_mode=True)


# --- refusals


def refusals(claims: Claims) -> Iterator[Refusal]:
    """List calls that break a rule of torch's, without unclaimed arguments."""
    if claims.semantics != "torch":
        return
    for refusal in _refusals():
        if all(claims.takes(name) for name in refusal.problem.arguments):
            yield refusal


def supposed_output(problem: Problem) -> Sizes:
    """Return the shape that an implementation may suppose for the output of a call that it should refuse."""
    shape, size = problem.shapes["input"], problem.arguments.get("size")
    rank = len(shape) - 2
    sizes: tuple[Any, ...] = size if isinstance(size, tuple) else (size,) * rank
    is_shape = all(isinstance(n, int) and n >= 0 for n in sizes)
    return (*shape[:2], *sizes) if is_shape else shape


def _refusals() -> Iterator[Refusal]:
    line, image, volume = (1, 2, 5), (1, 2, 4, 5), (1, 2, 3, 4, 5)
    for size in (0, -1):
        yield Refusal("size is at least 1", _resizing(f"size={size}", image, size=size))
    for factor in (0.0, -2.0):
        yield Refusal("scale_factor is positive", _resizing(f"scale_factor={factor}", image, scale_factor=factor))
    yield Refusal("the output has a pixel", _resizing("a factor that leaves no output", line, scale_factor=0.1))
    yield Refusal("size is an integer", _resizing("size=2.5", line, size=2.5))
    yield Refusal("size has one entry for each axis", _resizing("size=(3, 3) for one axis", line, size=(3, 3)))
    yield Refusal(
        "scale_factor has one entry for each axis", _resizing("two factors for one axis", line, scale_factor=(2.0, 2.0))
    )
    both = "one of size and scale_factor is given"
    yield Refusal(both, _resizing("size and scale_factor", line, size=3, scale_factor=2.0))
    yield Refusal(both, _resizing("neither size nor scale_factor", line))
    yield Refusal("the input has a pixel", _resizing("an empty axis", (1, 2, 0), size=3))
    yield Refusal("the input has 3 to 5 axes", _resizing("an input of two axes", (2, 5), size=3))
    yield Refusal("the input has 3 to 5 axes", _resizing("an input of six axes", (1, 1, 2, 2, 2, 2), size=3))
    yield Refusal("mode is a known word", _resizing("mode='closest'", line, size=3, mode="closest"))
    for mode, shape in (("bilinear", line), ("linear", image), ("trilinear", image), ("bicubic", volume)):
        yield Refusal(
            "mode goes with the number of axes",
            _resizing(f"mode={mode!r} for {len(shape) - 2} axes", shape, size=3, mode=mode),
        )
    for mode in ("nearest", "area"):
        named = {} if mode == "nearest" else {"mode": mode}
        yield Refusal(
            "align_corners goes with linear and cubic modes",
            _resizing(f"align_corners with mode={mode!r}", line, size=3, align_corners=True, **named),
        )
    yield Refusal(
        "antialias goes with bilinear and bicubic",
        _resizing("antialias of a line", line, size=3, mode="linear", antialias=True),
    )
    yield Refusal(
        "recompute_scale_factor needs scale_factor",
        _resizing("recompute_scale_factor with size", line, size=3, recompute_scale_factor=True),
    )
