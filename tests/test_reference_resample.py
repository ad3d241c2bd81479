"""interpolate against loops over pixels that share nothing with it, SciPy, torch, literal numbers, and its refusals."""

import inspect
import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import ndimage

from clconv.oracle.bounds import worst_ratio
from clconv.oracle.bounds.linear import BOUNDS
from clconv.oracle.bounds.rounding import Rounding
from clconv.oracle.reference.resample import interpolate, interpolate_backward

TRIES = settings(max_examples=80, deadline=None)
DOUBLE = Rounding(np.dtype(np.float64), np.dtype(np.float64), flushes=False)
LINEAR = ("linear", "bilinear", "trilinear")
ONE, HALF = Fraction(1), Fraction(1, 2)


def ratio(got, x, **arguments):
    """The error of a result in float64, in units of what float64 may be off."""
    given = inspect.signature(interpolate).bind(x.astype(np.float64), **arguments)
    given.apply_defaults()
    limit = BOUNDS["interpolate"](dict(given.arguments), DOUBLE)
    return worst_ratio(got, interpolate(x, **arguments), limit)


# --- the same operation, written as loops over the pixels of torch's, ONNX's and TensorFlow's definitions


def keys(s, a):
    s = abs(s)
    if s < 1:
        return (a + 2) * s**3 - (a + 3) * s**2 + 1
    return a * s**3 - 5 * a * s**2 + 8 * a * s - 4 * a if s < 2 else 0


def torch_row(o, X, Y, step, mode, align, antialias):
    """{pixel: weight} of one position."""
    if mode == "nearest":
        return {min(math.floor(o * step), X - 1): ONE}
    if mode == "nearest-exact":
        return {min(math.floor((o + HALF) * step), X - 1): ONE}
    if mode == "area":
        window = [i for i in range(X) if i * Y < (o + 1) * X and (i + 1) * Y > o * X]
        return {i: Fraction(1, len(window)) for i in window}
    if align:
        step = Fraction(X - 1, Y - 1) if Y > 1 else Fraction(0)
    if antialias:
        centre, wide = step * (o + HALF), max(step, ONE)
        kernel = (lambda s: max(1 - abs(s), 0)) if mode in LINEAR else (lambda s: keys(s, Fraction(-1, 2)))
        row = {i: kernel((i + HALF - centre) / wide) for i in range(X)}
        return {i: w / sum(row.values()) for i, w in row.items()}
    p = o * step if align else (o + HALF) * step - HALF
    if mode in LINEAR:
        p = max(p, 0)
        low = min(math.floor(p), X - 1)
        high, t = min(low + 1, X - 1), p - low
        return {low: 1 - t + (t if high == low else 0), **({high: t} if high != low else {})}
    row = {}
    for i in range(math.floor(p) - 1, math.floor(p) + 3):
        inside = min(max(i, 0), X - 1)
        row[inside] = row.get(inside, 0) + keys(p - i, Fraction(-3, 4))
    return row


def loops(x, rows):
    """Sum over all pixels, in integers and fractions: rows[axis][o] holds the weights of a position."""
    shape = tuple(len(axis) for axis in rows)
    y = np.zeros((*x.shape[:2], *shape))
    for n, c, *o in itertools.product(*map(range, y.shape)):
        total = Fraction(0)
        for taps in itertools.product(*(rows[a][i].items() for a, i in enumerate(o))):
            total += math.prod((w for _, w in taps), start=Fraction(int(x[(n, c, *(k for k, _ in taps))])))
        y[(n, c, *o)] = float(total)
    return y


def integers(shape, seed=0):
    return np.random.default_rng(seed).permutation(math.prod(shape)).reshape(shape) * 16 - 40


@st.composite
def torch_problems(draw):
    rank = draw(st.integers(1, 3))
    extent = tuple(draw(st.integers(1, 4 if rank == 3 else 6)) for _ in range(rank))
    modes = ["nearest", "nearest-exact", "area", LINEAR[rank - 1], *(["bicubic"] if rank == 2 else [])]
    arguments = {"mode": draw(st.sampled_from(modes))}
    if draw(st.booleans()):
        arguments["size"] = tuple(draw(st.integers(1, 7 if rank < 3 else 4)) for _ in extent)
    else:
        factors = [0.25, 0.5, 1.0, 2.0, 4.0, 0.3, 0.7, 1.25, 1.5, 7 / 3, 10 / 3]
        fits = [st.sampled_from([f for f in factors if 1 <= f * e <= 12]) for e in extent]
        arguments["scale_factor"] = tuple(draw(f) for f in fits)
        if draw(st.booleans()):
            arguments["recompute_scale_factor"] = draw(st.booleans())
    if arguments["mode"] in (*LINEAR, "bicubic") and draw(st.booleans()):
        arguments["align_corners"] = draw(st.booleans())
    if arguments["mode"] in ("bilinear", "bicubic") and draw(st.booleans()):
        arguments["antialias"] = draw(st.booleans())
    return extent, arguments


@TRIES
@given(torch_problems())
def test_loops_over_pixels_agree(problem):
    extent, arguments = problem
    x = integers((2, 1, *extent))
    y = interpolate(x, **arguments)
    uses_scale = "scale_factor" in arguments and not arguments.get("recompute_scale_factor")
    rows = []
    for a, X in enumerate(extent):
        Y = arguments["size"][a] if "size" in arguments else math.floor(X * arguments["scale_factor"][a])
        # The factors drawn are fractions of small denominators.
        scale = Fraction(arguments["scale_factor"][a]).limit_denominator(100) if uses_scale else Fraction(Y, X)
        switches = arguments.get("align_corners"), arguments.get("antialias")
        rows.append([torch_row(o, X, Y, 1 / scale, arguments["mode"], *switches) for o in range(Y)])
    assert ratio(loops(x, rows), x, **arguments) <= 1
    # Weights with few binary digits sum exactly.
    if all((w.denominator & -w.denominator) == w.denominator for axis in rows for row in axis for w in row.values()):
        np.testing.assert_array_equal(y, loops(x, rows))


@TRIES
@given(torch_problems(), st.integers(0, 99))
def test_the_gradient_is_the_adjoint(problem, seed):
    """Exactly, on integers, where weights have few binary digits."""
    extent, arguments = problem
    arguments = {k: v for k, v in arguments.items() if k not in ("size", "scale_factor", "antialias")}
    arguments |= {"scale_factor": 2, "align_corners": None}
    x = integers((2, 3, *extent), seed)
    y = interpolate(x, **arguments)
    g = integers(y.shape, seed + 1)
    dx = interpolate_backward(g, x, **arguments).input
    assert dx.shape == x.shape
    assert np.sum(dx * x) == np.sum(g * y)


@pytest.mark.torch
@settings(max_examples=150, deadline=None)
@given(torch_problems())
def test_torch_agrees(problem):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    extent, arguments = problem
    if arguments["mode"] == "nearest" and "scale_factor" in arguments:
        # torch 2.13 then ignores the factor where it leaves the extent or doubles it, but not with one axis.
        products = [(e, e * s) for e, s in zip(extent, arguments["scale_factor"], strict=True)]
        assume(not any(math.floor(p) in (e, 2 * e) and p != math.floor(p) for e, p in products))
    # Antialiased to one column, torch 2.13 repeats the first row.
    assume(not arguments.get("antialias") or interpolate(np.zeros((1, 1, *extent)), **arguments).shape[-1] > 1)
    x = np.random.default_rng(3).standard_normal((2, 3, *extent))
    tensor = torch.tensor(x, requires_grad=True)
    theirs = torch.nn.functional.interpolate(tensor, **arguments)
    assert theirs.shape == interpolate(x, **arguments).shape
    assert ratio(theirs.detach().numpy(), x, **arguments) <= 1
    g = np.random.default_rng(4).standard_normal(theirs.shape)
    theirs.backward(torch.tensor(g))
    given = inspect.signature(interpolate_backward).bind(g, x, **arguments)
    given.apply_defaults()
    limit = BOUNDS["interpolate_backward"](dict(given.arguments), DOUBLE).input
    assert worst_ratio(tensor.grad.numpy(), interpolate_backward(g, x, **arguments).input, limit) <= 1


@pytest.mark.torch
def test_positional_arguments_are_torchs():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    theirs = inspect.signature(torch.nn.functional.interpolate).parameters.values()
    ours = [p for p in inspect.signature(interpolate).parameters.values() if p.kind is not p.KEYWORD_ONLY]
    assert [(p.name, p.default) for p in ours] == [(p.name, p.default) for p in theirs]


# --- other systems


@TRIES
@given(
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.tuples(*[st.sampled_from([0.5, 0.7, 1.0, 1.2, 1.5, 2.0, 2.5, 3.0])] * 2),
    st.sampled_from([("nearest", 0), ("bilinear", 1)]),
    st.booleans(),
)
def test_scipy_agrees(extent, zoom, mode, grid_mode):
    assume(all(round(e * z) >= 1 for e, z in zip(extent, zoom, strict=True)))
    x = np.random.default_rng(5).standard_normal((1, 1, *extent))
    theirs = ndimage.zoom(x[0, 0], zoom, order=mode[1], mode="nearest", grid_mode=grid_mode)
    arguments = {"scale_factor": zoom, "mode": mode[0], "semantics": "scipy", "grid_mode": grid_mode}
    assert ratio(theirs[np.newaxis, np.newaxis], x, **arguments) <= 1


@TRIES
@given(st.integers(1, 7), st.integers(1, 9), st.sampled_from(["nearest", "linear"]))
def test_tensorflow_has_torchs_half_pixel_modes(X, Y, mode):
    x = integers((1, 2, X))
    same = {"nearest": "nearest-exact", "linear": "linear"}[mode]
    np.testing.assert_array_equal(interpolate(x, Y, mode=mode, semantics="tf"), interpolate(x, Y, mode=same))


def test_tensorflows_antialiased_modes_are_torchs():
    x = integers((1, 2, 7, 5))
    for mode in ("bilinear", "bicubic"):
        theirs = interpolate(x, (3, 8), mode=mode, antialias=True, semantics="tf")
        np.testing.assert_array_equal(theirs, interpolate(x, (3, 8), mode=mode, antialias=True))


ONNX_COORDINATES = {
    "half_pixel": lambda o, X, Y, scale: (o + HALF) / scale - HALF,
    "pytorch_half_pixel": lambda o, X, Y, scale: (o + HALF) / scale - HALF if Y > 1 else Fraction(0),
    "align_corners": lambda o, X, Y, scale: Fraction(o * (X - 1), Y - 1) if Y > 1 else Fraction(0),
    "asymmetric": lambda o, X, Y, scale: o / scale,
    "half_pixel_symmetric": lambda o, X, Y, scale: (
        Fraction(X, 2) * (1 - Fraction(Y) / (scale * X)) + (o + HALF) / scale - HALF
    ),
}
ONNX_NEAREST = {
    "round_prefer_floor": lambda p: math.floor(p) + (p - math.floor(p) > HALF),
    "round_prefer_ceil": lambda p: math.floor(p) + (p - math.floor(p) >= HALF),
    "floor": math.floor,
    "ceil": math.ceil,
}


def onnx_row(p, X, scale, arguments):
    if arguments["mode"] == "nearest":
        return {min(max(ONNX_NEAREST[arguments.get("nearest_mode", "round_prefer_floor")](p), 0), X - 1): ONE}
    wide = max(ONE, 1 / scale) if arguments.get("antialias") else ONE
    a = Fraction(arguments.get("cubic_coefficient", -0.75))
    kernel = (lambda s: max(1 - abs(s), 0)) if arguments["mode"] == "linear" else (lambda s: keys(s, a))
    taps = [(i, kernel((i - p) / wide)) for i in range(math.floor(p - 2 * wide), math.ceil(p + 2 * wide) + 1)]
    if arguments.get("exclude_outside"):
        taps = [(i, w) for i, w in taps if 0 <= i < X]
    total, row = sum(w for _, w in taps), {}
    for i, w in taps:
        inside = min(max(i, 0), X - 1)
        row[inside] = row.get(inside, 0) + w / total
    return row


@st.composite
def onnx_problems(draw):
    X = draw(st.integers(1, 6))
    arguments = {"mode": draw(st.sampled_from(["nearest", "linear", "cubic"])), "semantics": "onnx"}
    if draw(st.booleans()):
        arguments["size"] = draw(st.integers(1, 9))
    else:
        arguments["scale_factor"] = draw(st.sampled_from([f for f in (0.5, 0.75, 1.0, 1.3, 1.5, 2.0) if f * X >= 1]))
    arguments["coordinate_mode"] = draw(st.sampled_from(list(ONNX_COORDINATES)))
    if arguments["mode"] == "nearest":
        arguments["nearest_mode"] = draw(st.sampled_from(list(ONNX_NEAREST)))
    else:
        arguments["antialias"] = draw(st.booleans())
        arguments["exclude_outside"] = draw(st.booleans())
    if arguments["mode"] == "cubic":
        arguments["cubic_coefficient"] = draw(st.sampled_from([-0.75, -0.5, -1.0, 0.0]))
    return X, arguments


@settings(max_examples=200, deadline=None)
@given(onnx_problems())
def test_onnxs_text_agrees(problem):
    X, arguments = problem
    x = integers((1, 2, X))
    Y = arguments.get("size") or math.floor(X * arguments["scale_factor"])
    scale = Fraction(Y, X) if "size" in arguments else Fraction(arguments["scale_factor"]).limit_denominator(100)
    places = [ONNX_COORDINATES[arguments["coordinate_mode"]](o, X, Y, scale) for o in range(Y)]
    rows = [[onnx_row(p, X, scale, arguments) for p in places]]
    assert ratio(loops(x, rows), x, **arguments) <= 1


# --- literal numbers


def line(values, *arguments, **keywords):
    return interpolate(np.array([[values]]), *arguments, **keywords)[0, 0].tolist()


def test_nearest_takes_the_pixel_at_or_before_its_left_edge():
    assert line([1, 2, 3], 4) == [1, 1, 2, 3]
    assert line([1, 2, 3], 4, mode="nearest-exact") == [1, 2, 2, 3]
    assert line([1, 2, 3, 4, 5], 2) == [1, 3]
    assert line([1, 2, 3, 4, 5], 2, mode="nearest-exact") == [2, 4]


def test_the_scale_is_used_and_not_the_ratio_of_the_extents():
    """5 * 1.5 = 7.5 gives 7 positions, 2/3 of a pixel apart and not 5/7."""
    assert line([0, 9, 18, 27, 36], scale_factor=1.5) == [0, 0, 9, 18, 18, 27, 36]
    assert line([0, 9, 18, 27, 36], scale_factor=1.5, recompute_scale_factor=True) == line([0, 9, 18, 27, 36], 7)
    assert line([0, 9, 18, 27, 36], scale_factor=1.5, mode="linear")[1:3] == [4.5, 10.5]


def test_factors_mean_the_simplest_fraction():
    """1/0.1 is 10 and 3/0.3 is 10, though the floats 0.1 and 0.3 are neither 1/10 nor 3/10."""
    assert line(list(range(20)), scale_factor=0.1) == [0, 10]
    assert line(list(range(40)), scale_factor=0.3)[::3] == [0, 10, 20, 30]


def test_one_position():
    assert line([1, 2, 6], 1, mode="linear") == [2]
    assert line([1, 2, 6], 1, mode="linear", align_corners=True) == [1]
    assert line([1, 2, 6], 1, mode="area") == [3]


def test_area_windows_overlap():
    assert line([1, 2, 6, 8, 10], 3, mode="area") == [1.5, 16 / 3, 9]


def test_cubic_weights():
    """Half a pixel to the right, Keys's weights are a/8, 1/2 - a/8, 1/2 - a/8, a/8."""
    x = np.zeros((1, 1, 1, 8))
    x[..., 3] = 32
    for a in (-0.75, -0.5):
        arguments = {"mode": "cubic", "cubic_coefficient": a, "semantics": "onnx", "coordinate_mode": "asymmetric"}
        y = interpolate(x, scale_factor=(1, 2), **arguments)[0, 0, 0]
        assert y.tolist() == [0, 0, 0, 4 * a, 0, 16 - 4 * a, 32, 16 - 4 * a, 0, 4 * a, *[0] * 6]


def test_a_widened_triangle_averages():
    """Twice as wide: (1/4, 3/4, 3/4, 1/4) over their sum, and at the edge without the pixel outside."""
    x = np.array([[[[0, 0, 56, 0, 0, 0, 0, 0]]]])
    y = interpolate(x, (1, 4), mode="bilinear", antialias=True)[0, 0, 0]
    np.testing.assert_allclose(y, [56 * (1 / 4) / (7 / 4), 56 * (3 / 4) / 2, 0, 0], rtol=1e-15)


def test_constants_stay():
    for mode in ("nearest", "bilinear", "bicubic", "area"):
        np.testing.assert_allclose(interpolate(np.full((1, 1, 5, 4), 3.0), (7, 3), mode=mode), 3, rtol=1e-15)


def test_infinity_and_nan_reach_only_those_who_give_them_a_weight():
    x = np.array([[[1.0, np.nan, 3.0, np.inf, 5.0, 6.0]]])
    y = interpolate(x, 12, mode="linear")[0, 0]
    np.testing.assert_array_equal(np.isnan(y), [i in (1, 2, 3, 4) for i in range(12)])
    np.testing.assert_array_equal(np.isinf(y), [i in (5, 6, 7, 8) for i in range(12)])


def test_an_empty_batch_gives_an_empty_result():
    x = np.zeros((0, 2, 3, 4))
    assert interpolate(x, (5, 6), mode="bicubic").shape == (0, 2, 5, 6)
    assert interpolate_backward(np.zeros((0, 2, 5, 6)), x, (5, 6), mode="bicubic").input.shape == x.shape


def test_masked_gradients_are_none():
    assert interpolate_backward(np.zeros((1, 1, 4)), np.zeros((1, 1, 2)), 4, output_mask=(False,)).input is None


# --- refusals

IMAGE, LINE = np.zeros((1, 2, 4, 5)), np.zeros((1, 2, 4))
REFUSALS = [
    (LINE[0], {"size": 3}, "3 to 5 axes"),
    (LINE, {}, "one of size and scale_factor must be given"),
    (LINE, {"size": 3, "scale_factor": 2}, "one of size and scale_factor must be given"),
    (LINE, {"size": 0}, "size must be at least 1"),
    (LINE, {"size": (3, 3)}, "one integer for each of 1"),
    (LINE, {"scale_factor": (2, 2)}, "one number for each of 1"),
    (LINE, {"scale_factor": 0.2}, "at least 1 pixel"),
    (LINE, {"scale_factor": -1}, "positive and finite"),
    (LINE, {"scale_factor": math.inf}, "positive and finite"),
    (LINE, {"scale_factor": math.nan}, "positive and finite"),
    (LINE, {"scale_factor": 1e308}, "finitely many"),
    (LINE[..., :0], {"size": 3}, "at least 1 pixel"),
    (LINE, {"size": 3, "mode": "closest"}, "mode must be one of .*'nearest-exact'"),
    (LINE, {"size": 3, "mode": "bilinear"}, "'bilinear' resizes .* 'linear'"),
    (IMAGE, {"size": 3, "mode": "linear"}, "'linear' resizes .* 'bilinear'"),
    (LINE, {"size": 3, "align_corners": False}, "align_corners must be None with mode='nearest'"),
    (LINE, {"size": 3, "mode": "linear", "antialias": True}, "antialias goes with"),
    (LINE, {"size": 3, "recompute_scale_factor": True}, "needs scale_factor"),
    (LINE, {"size": 3, "semantics": "caffe"}, "semantics must be one of .*'scipy'"),
    (LINE, {"size": 3, "coordinate_mode": "asymmetric"}, "belongs to semantics='onnx'"),
    (LINE, {"size": 3, "semantics": "onnx", "coordinate_mode": "centre"}, "coordinate_mode must be one of"),
    (LINE, {"size": 3, "semantics": "onnx", "nearest_mode": "up"}, "nearest_mode must be one of"),
    (LINE, {"size": 3, "semantics": "onnx", "mode": "linear", "nearest_mode": "ceil"}, "nearest_mode goes with"),
    (LINE, {"size": 3, "semantics": "onnx", "cubic_coefficient": -0.5}, "cubic_coefficient goes with"),
    (LINE, {"size": 3, "semantics": "onnx", "mode": "cubic", "cubic_coefficient": 1.0}, "between -1 and 0"),
    (LINE, {"size": 3, "semantics": "onnx", "antialias": True}, "has no antialias"),
    (LINE, {"scale_factor": 2, "semantics": "tf"}, "takes size only"),
    (LINE, {"size": 3, "grid_mode": True}, "belongs to semantics='scipy'"),
]
WRONG_TYPES = [
    (LINE.tolist(), {"size": 3}, "plain NumPy array"),
    (LINE, {"size": 2.0}, "size must be an integer"),
    (LINE, {"size": True}, "size must be an integer"),
    (LINE, {"scale_factor": True}, "scale_factor must hold real numbers"),
    (LINE, {"scale_factor": "2"}, "scale_factor must hold real numbers"),
    (LINE, {"size": 3, "mode": None}, "mode must be a string"),
    (LINE, {"size": 3, "mode": "linear", "align_corners": 1}, "align_corners must be True or False"),
    (IMAGE, {"size": 3, "mode": "bilinear", "antialias": 1}, "antialias must be True or False"),
]


@pytest.mark.parametrize(("x", "arguments", "text"), REFUSALS)
def test_wrong_values_are_refused(x, arguments, text):
    with pytest.raises(ValueError, match=text):
        interpolate(x, **arguments)
    with pytest.raises(ValueError, match=text):
        interpolate_backward(x, x, **arguments)


@pytest.mark.parametrize(("x", "arguments", "text"), WRONG_TYPES)
def test_wrong_types_are_refused(x, arguments, text):
    with pytest.raises(TypeError, match=text):
        interpolate(x, **arguments)


def test_gradients_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"output's shape \(1, 2, 8\)"):
        interpolate_backward(LINE, LINE, scale_factor=2)
