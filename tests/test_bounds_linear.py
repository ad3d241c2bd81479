"""The bounds of resizing, padding and shuffling against float32 that keeps inside them, and faults that do not."""

import functools
import inspect
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clconv.oracle.bounds import worst_ratio
from clconv.oracle.bounds.linear import BOUNDS
from clconv.oracle.bounds.rounding import Rounding
from clconv.oracle.reference import padding, rearrange, resample
from clconv.oracle.reference.resample import interpolate, interpolate_backward

F = np.float32
SINGLE = Rounding(np.dtype(np.float32), np.dtype(np.float32), flushes=False)
HALF = Rounding(np.dtype(np.float16), np.dtype(np.float32), flushes=False)
FUNCTIONS = {name: getattr(m, name) for m in (padding, rearrange, resample) for name in m.__all__ if name in BOUNDS}
LINEAR = ("linear", "bilinear", "trilinear")


def bound(name, *arguments, rounding=SINGLE, **keywords):
    given = inspect.signature(FUNCTIONS[name]).bind(*arguments, **keywords)
    given.apply_defaults()
    arrays = {k: v.astype(np.float64) for k, v in given.arguments.items() if isinstance(v, np.ndarray)}
    return BOUNDS[name]({**given.arguments, **arrays}, rounding)


def ratio(got, name, *arguments, rounding=SINGLE, **keywords):
    expected = FUNCTIONS[name](*arguments, **keywords)
    limit = bound(name, *arguments, rounding=rounding, **keywords)
    if name.endswith("_backward"):
        expected, limit = expected.input, limit.input
    return worst_ratio(got, expected, limit)


def reals(shape, seed=0, dtype=F):
    """Normal numbers, some of them scaled, so that sums cancel and magnitudes differ."""
    random = np.random.default_rng(seed)
    powers = np.where(random.random(shape) < 1 / 3, random.integers(-8, 9, shape), 0)
    return (random.standard_normal(shape) * 2.0**powers).astype(dtype)


# --- resizing in float32, coordinates and weights included


def keys(s, a):
    s, a = np.abs(s), F(a)
    inner = ((a + F(2)) * s - (a + F(3))) * s * s + F(1)
    outer = ((a * s - F(5) * a) * s + F(8) * a) * s - F(4) * a
    return np.where(s < 1, inner, np.where(s < 2, outer, F(0)))


def taps(X, Y, scale, mode, align, antialias):
    """Pixels and float32 weights, (Y, taps) each, as torch's kernels find them."""
    o = np.arange(Y, dtype=F)
    step = F(1.0 / scale) if scale else F(X) / F(Y)
    if align:
        step = F(X - 1) / F(Y - 1) if Y > 1 else F(0)
    if mode in ("nearest", "nearest-exact"):
        p = np.floor((o + F(0 if mode == "nearest" else 0.5)) * step)
        return np.minimum(p, X - 1).astype(int)[:, np.newaxis], np.ones((Y, 1), F)
    if antialias:
        centre, wide = step * (o + F(0.5)), max(step, F(1))
        inverse, pixels = F(1) / wide, np.arange(X)
        s = (pixels.astype(F) - centre[:, np.newaxis] + F(0.5)) * inverse
        w = np.maximum(F(1) - np.abs(s), F(0)) if mode in LINEAR else keys(s, -0.5)
        return np.broadcast_to(pixels, w.shape), w / w.sum(axis=1, keepdims=True, dtype=F)
    p = o * step if align else (o + F(0.5)) * step - F(0.5)
    if mode in LINEAR:
        p = np.maximum(p, F(0))
        low = np.minimum(np.floor(p).astype(int), X - 1)
        t = p - low.astype(F)
        return np.stack([low, np.minimum(low + 1, X - 1)], 1), np.stack([F(1) - t, t], 1)
    low = np.floor(p).astype(int)
    t = p - low.astype(F)
    pixels = np.clip(low[:, np.newaxis] + np.arange(-1, 3), 0, X - 1)
    return pixels, np.stack([keys(s, -0.75) for s in (t + F(1), t, F(1) - t, F(2) - t)], 1)


def by_axes(x, axes):
    """One pass after the other."""
    for a, (pixels, w) in enumerate(axes, start=2):
        x = np.moveaxis(x, a, -1)
        y = np.zeros((*x.shape[:-1], len(w)), x.dtype)
        for t in range(w.shape[1]):
            y += w[:, t] * x[..., pixels[:, t]]
        x = np.moveaxis(y, -1, a)
    return x


def by_lerps(x, axes):
    """Linear axes as x0 + t (x1 - x0)."""
    for a, (pixels, w) in enumerate(axes, start=2):
        x = np.moveaxis(x, a, -1)
        low, high = x[..., pixels[:, 0]], x[..., pixels[:, 1]]
        x = np.moveaxis(low + w[:, 1] * (high - low), -1, a)
    return x


def at_once(x, axes, adds_to=None):
    """Weights multiplied first, and taps added up in a shuffled order; or the gradient, scattered."""
    y = np.zeros((*x.shape[:2], *(len(w) for _, w in axes)) if adds_to is None else adds_to, F)
    choices = list(itertools.product(*(range(w.shape[1]) for _, w in axes)))
    np.random.default_rng(9).shuffle(choices)
    for chosen in choices:
        columns = [(p[:, t], w[:, t]) for (p, w), t in zip(axes, chosen, strict=True)]
        where = (slice(None), slice(None), *np.ix_(*(p for p, _ in columns)))
        weight = functools.reduce(np.multiply.outer, [w for _, w in columns])
        if adds_to is None:
            y += weight * x[where]
        else:
            np.add.at(y, where, weight * x)
    return y


@st.composite
def problems(draw):
    rank = draw(st.integers(1, 3))
    extent = tuple(draw(st.integers(1, 40 if rank == 1 else 9 if rank == 2 else 4)) for _ in range(rank))
    mode = draw(st.sampled_from(["nearest", "nearest-exact", LINEAR[rank - 1], *(["bicubic"] if rank == 2 else [])]))
    arguments = {"mode": mode}
    if draw(st.booleans()):
        arguments["size"] = tuple(draw(st.integers(1, 60 if rank == 1 else 9 if rank == 2 else 5)) for _ in extent)
    else:
        factors = (0.3, 0.5, 0.7, 1.1, 1.25, 1.5, 2.0, 7 / 3, 10 / 3)
        arguments["scale_factor"] = tuple(draw(st.sampled_from([f for f in factors if f * e >= 1])) for e in extent)
    if not mode.startswith("nearest"):
        arguments["align_corners"] = draw(st.booleans())
        arguments["antialias"] = rank == 2 and not arguments["align_corners"] and draw(st.booleans())
    return extent, arguments


def axes_of(extent, positions, arguments):
    scales = arguments.get("scale_factor", (None,) * len(extent))
    switches = arguments["mode"], arguments.get("align_corners"), arguments.get("antialias")
    return [taps(*axis, *switches) for axis in zip(extent, positions, scales, strict=True)]


@settings(max_examples=200, deadline=None)
@given(problems(), st.integers(0, 99))
def test_float32_keeps_inside(problem, seed):
    extent, arguments = problem
    x = reals((2, 2, *extent), seed)
    g = reals(interpolate(x, **arguments).shape, seed + 1)
    axes = axes_of(extent, g.shape[2:], arguments)
    for result in (by_axes(x, axes), at_once(x, axes)):
        assert result.dtype == F
        assert ratio(result, "interpolate", x, **arguments) <= 1
    if arguments["mode"] in LINEAR and not arguments["antialias"]:
        assert ratio(by_lerps(x, axes), "interpolate", x, **arguments) <= 1
    assert ratio(at_once(g, axes, x.shape), "interpolate_backward", g, x, **arguments) <= 1


@settings(max_examples=60, deadline=None)
@given(problems(), st.integers(0, 99))
def test_float16_summed_in_float32_keeps_inside(problem, seed):
    extent, arguments = problem
    x = reals((1, 2, *extent), seed, np.float16)
    y = interpolate(x, **arguments)
    got = by_axes(x.astype(F), axes_of(extent, y.shape[2:], arguments)).astype(np.float16)
    assert ratio(got, "interpolate", x, rounding=HALF, **arguments) <= 1


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_bounds_are_not_far_away(mode):
    """Three thousandths of the bound are used at least: an error in the fifth digit of a weight is noticed."""
    x, arguments = reals((4, 8, 6, 7)), {"size": (11, 13), "mode": mode}
    assert ratio(by_axes(x, axes_of((6, 7), (11, 13), arguments)), "interpolate", x, **arguments) > 0.003


def test_exact_coordinates_leave_no_choice():
    x = reals((2, 3, 8, 5))
    for mode in ("nearest", "nearest-exact"):
        for arguments in ({"scale_factor": 2}, {"size": (16, 10)}, {"scale_factor": (0.5, 4)}, {"size": (2, 5)}):
            assert not bound("interpolate", x, mode=mode, **arguments).any()


def test_where_rounding_decides_both_neighbours_pass():
    """Position 6 of 9 lies at pixel 2 of 3 exactly, and float32's 6 * (1/3) may fall short of it."""
    x = np.array([[[1.0, 20.0, 300.0]]])
    limit = bound("interpolate", x, 9)
    assert limit[0, 0].nonzero()[0].tolist() == [3, 6]
    y = interpolate(x, 9)
    for choice in (20.0, 300.0):
        y[0, 0, 6] = choice
        assert ratio(y, "interpolate", x, 9) <= 1
    y[0, 0, 7] = 20.0
    assert ratio(y, "interpolate", x, 9) == math.inf


def test_nearest_neighbours_of_float64_may_be_found_in_float32():
    double = Rounding(np.dtype(np.float64), np.dtype(np.float64), flushes=False)
    assert bound("interpolate", np.ones((1, 1, 3)), 9, rounding=double).any()


# --- faults

X = reals((2, 3, 6, 7), 7)
FAULTS = {
    "a = -0.5 for -0.75": (
        {"scale_factor": 2, "mode": "bicubic"},
        lambda x: interpolate(x, scale_factor=2, mode="cubic", cubic_coefficient=-0.5, semantics="onnx"),
    ),
    "align_corners ignored": (
        {"size": (9, 10), "mode": "bilinear", "align_corners": True},
        lambda x: interpolate(x, (9, 10), mode="bilinear"),
    ),
    "align_corners assumed": (
        {"size": (9, 10), "mode": "bicubic"},
        lambda x: interpolate(x, (9, 10), mode="bicubic", align_corners=True),
    ),
    "in/out for 1/scale": (
        {"scale_factor": 1.3, "mode": "bilinear"},
        lambda x: interpolate(x, scale_factor=1.3, mode="bilinear", recompute_scale_factor=True),
    ),
    "in/out for 1/scale, nearest": (
        {"scale_factor": 1.3},
        lambda x: interpolate(x, scale_factor=1.3, recompute_scale_factor=True),
    ),
    "no half pixel": (
        {"size": (9, 10), "mode": "bilinear"},
        lambda x: interpolate(x, (9, 10), mode="linear", semantics="onnx", coordinate_mode="asymmetric"),
    ),
    "nearest-exact for nearest": ({"size": (4, 5)}, lambda x: interpolate(x, (4, 5), mode="nearest-exact")),
    "antialias ignored": (
        {"size": (3, 3), "mode": "bilinear", "antialias": True},
        lambda x: interpolate(x, (3, 3), mode="bilinear"),
    ),
    "edge pixels weigh nothing": (
        {"size": (9, 10), "mode": "bicubic"},
        lambda x: interpolate(x, (9, 10), mode="cubic", semantics="onnx", exclude_outside=True),
    ),
    "windows end early": (
        {"size": (4, 5), "mode": "area"},
        lambda x: interpolate(x[..., :-1, :-1], (4, 5), mode="area"),
    ),
    "a pixel lost": (
        {"size": (9, 10), "mode": "bilinear"},
        lambda x: interpolate(x * (x != x.max()), (9, 10), mode="bilinear"),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_exceed(fault):
    arguments, wrong = FAULTS[fault]
    assert ratio(wrong(X).astype(F), "interpolate", X, **arguments) > 100
    assert ratio(interpolate(X, **arguments).astype(F), "interpolate", X, **arguments) <= 1


def test_gradients_of_faults_exceed():
    arguments = {"scale_factor": 1.3, "mode": "bilinear"}
    g = reals(interpolate(X, **arguments).shape)
    wrong = interpolate_backward(g, X, recompute_scale_factor=True, **arguments).input
    assert ratio(wrong.astype(F), "interpolate_backward", g, X, **arguments) > 100


# --- padding and shuffling


def test_copies_are_exact():
    x = reals((2, 4, 4, 6))
    assert not bound("pad", x, (1, -1), value=0.5).any()
    assert not bound("pad", x[0], (2, 2), "reflect").any()
    for name, factor in (("pixel_shuffle", 2), ("pixel_unshuffle", 2), ("channel_shuffle", 2)):
        limit = bound(name, x, factor)
        assert limit.shape == FUNCTIONS[name](x, factor).shape
        assert not limit.any()
        assert not bound(f"{name}_backward", limit, x, factor).input.any()


def test_a_padding_value_is_rounded_to_the_arrays_type():
    x = reals((1, 1, 2))
    limit = bound("pad", x, (1, 0), value=0.1, rounding=HALF)
    assert limit[0, 0].tolist() == [abs(float(np.float16(0.1)) - 0.1), 0, 0]
    assert bound("pad", x, (1, 0), value=1e6, rounding=HALF)[0, 0, 0] == math.inf
    assert not bound("pad", x, (1, 0), value=-math.inf, rounding=HALF).any()


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 7),
    st.tuples(st.integers(0, 9), st.integers(0, 9)),
    st.sampled_from(["replicate", "reflect", "symmetric"]),
)
def test_gradients_of_padding_keep_inside(extent, pair, mode):
    most = {"reflect": extent - 1, "symmetric": extent}.get(mode, 9)
    pair = tuple(min(p, most) for p in pair)
    x = reals((2, 1, extent))
    sources = padding.pad(np.broadcast_to(np.arange(float(extent)), (1, 1, extent)), pair, mode)[0, 0].astype(int)
    g = reals((2, 1, len(sources)), 1)
    order = np.random.default_rng(2).permutation(len(sources))
    dx = np.zeros_like(x)
    for o in order:
        dx[..., sources[o]] += g[..., o]
    assert ratio(dx, "pad_backward", g, x, pair, mode) <= 1
    limit = bound("pad_backward", g, x, pair, mode).input
    counts = np.bincount(sources, minlength=extent)
    assert not limit[..., counts == 1].any()
    if counts.max() > 1:
        dx[..., counts.argmax()] += 1
        assert ratio(dx, "pad_backward", g, x, pair, mode) > 100


def test_masked_gradients_have_no_bound():
    x = reals((1, 4, 2, 2))
    for name, argument in (("pad", ()), ("interpolate", 2), ("pixel_shuffle", 1), ("channel_shuffle", 2)):
        assert bound(f"{name}_backward", x, x, argument, output_mask=(False,)).input is None


def test_sums_that_may_overflow_have_no_bound():
    x = np.full((1, 1, 4), 60000.0, np.float16)
    assert np.isinf(bound("interpolate", x, 9, mode="linear", rounding=HALF)).sum() == 0
    y = bound("interpolate_backward", np.full((1, 1, 9), 60000.0), x, 9, mode="linear", rounding=HALF).input
    assert np.isinf(y).all()
