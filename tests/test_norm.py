"""Normalisations on every device, judged by the oracle."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import clconv
from clconv import algorithms
from clconv.algorithms import norm as plans
from clconv.algorithms.algorithm import Algorithm, everywhere
from clconv.oracle import reference
from tests.calls import assert_exact, assert_within_bound, reals, run_twice
from tests.strategies import DTYPES, laid_out, layouts

EXAMPLES = settings(max_examples=30)
EXTENTS = st.sampled_from(((4,), (3, 5), (2, 3, 4), (1, 7), (40,)))


@st.composite
def normalisations(draw):
    """Draw an operation of rows: input, gradient of the output, what goes between them and the weights, the rest."""
    operation = draw(st.sampled_from(("batch_norm", "instance_norm", "group_norm", "layer_norm", "rms_norm")))
    N, extents = draw(st.integers(1, 3)), draw(EXTENTS)
    C = draw(st.sampled_from((1, 2, 6)))
    dtype, random = draw(st.sampled_from(DTYPES)), np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape, count = (N, C, *extents), (C,)
    between, keywords = (), {}
    if operation == "group_norm":
        between = (draw(st.sampled_from([g for g in (1, 2, 3, 6) if C % g == 0])),)
    elif operation in ("layer_norm", "rms_norm"):
        count = shape[draw(st.integers(1, len(shape) - 1)) :]
        between = (count,)
    else:
        switch = "training" if operation == "batch_norm" else "use_input_stats"
        running = (reals(random, C, dtype, 1), abs(reals(random, C, dtype, 1)) + dtype_one(dtype))
        keywords = {switch: draw(st.booleans()), "momentum": draw(st.sampled_from((0.1, 1.0)))}
        between = running if draw(st.booleans()) or not keywords[switch] else (None, None)

    def drawn(shape):
        return laid_out(reals(random, shape, dtype, 1) + dtype_one(dtype), draw(layouts))

    x, g = drawn(shape), drawn(shape)
    names = ("weight",) if operation == "rms_norm" else ("weight", "bias")
    weights = {name: drawn(count) for name in names if draw(st.booleans())}
    return operation, x, g, between, {**keywords, **weights}


def dtype_one(dtype):
    return np.ones((), dtype)


@EXAMPLES
@given(case=normalisations())
def test_outputs_are_within_their_bounds(device, record, case):
    operation, x, _, between, keywords = case
    assert_within_bound(operation, device, record, x, *between, **native_order(keywords))


@EXAMPLES
@given(case=normalisations())
def test_gradients_are_within_their_bounds(device, record, case):
    operation, x, g, between, keywords = case
    assert_within_bound(f"{operation}_backward", device, record, g, x, *between, **native_order(keywords))


def native_order(keywords):
    """Leave byte-swapped arrays to the positional ones, which the oracle's helper converts."""
    return {
        name: value.astype(value.dtype.newbyteorder("=")) if isinstance(value, np.ndarray) else value
        for name, value in keywords.items()
    }


@st.composite
def two_valued(draw):
    """Draw values m - 1 and m + 1, equally many in each row of a power of two: with eps 3, the deviation is 2."""
    dtype, random = draw(st.sampled_from(DTYPES)), np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    signs = np.tile([1.0, -1.0], 32)
    rows = np.array([random.permutation(signs) for _ in range(12)]).reshape(2, 6, 8, 8)
    x = (rows + random.integers(-8, 8, (1, 6, 1, 1))).astype(dtype)
    g, w, b = (random.integers(-4, 4, shape).astype(dtype) for shape in ((2, 6, 8, 8), 6, 6))
    return laid_out(x, draw(st.sampled_from(("contiguous", "fortran", "channels_last", "inside")))), g, w, b


@EXAMPLES
@given(case=two_valued())
def test_rows_of_two_values_are_exact(device, record, case):
    x, g, w, b = case
    assert_exact("instance_norm", device, record, x, None, None, w, b, eps=3.0)
    assert_exact("instance_norm_backward", device, record, g, x, None, None, w, b, eps=3.0)
    assert_exact("batch_norm", device, record, x, None, None, w, b, training=True, eps=3.0)
    assert_exact("layer_norm", device, record, x, (8, 8), x[0, 0], g[0, 0], eps=3.0)


@EXAMPLES
@given(
    size=st.sampled_from((1, 2, 3, 4, 5, 9, 2**30 - 1)),
    beta=st.sampled_from((0.5, 0.75, 1.0, 2.0, 1.25, 0.0, -1.0)),
    C=st.sampled_from((1, 2, 7)),
    extents=EXTENTS,
    layout=layouts,
    dtype=st.sampled_from(DTYPES),
    seed=st.integers(0, 2**32 - 1),
)
def test_responses_are_within_their_bounds(device, record, size, beta, C, extents, layout, dtype, seed):
    random = np.random.default_rng(seed)
    x, g = (laid_out(reals(random, (2, C, *extents), dtype, 1), layout) for _ in range(2))
    arguments = {"size": size, "alpha": 0.5, "beta": beta, "k": 0.75}
    assert_within_bound("local_response_norm", device, record, x, **arguments)
    assert_within_bound("local_response_norm_backward", device, record, g, x, **arguments)


def test_whole_exponents_take_negative_bases(device):
    x = np.array([[[1.0], [2.0]]])
    for beta in (1.0, 2.0, 3.0):
        y = clconv.local_response_norm(x, 1, alpha=1.0, beta=beta, k=-9.0, device=device)
        np.testing.assert_allclose(y, x * (x**2 - 9) ** -beta, rtol=1e-14)
    assert np.isnan(clconv.local_response_norm(x, 1, beta=0.75, k=-9.0, device=device)).all()


# Statistics


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("operation", ["batch_norm", "group_norm", "layer_norm"])
def test_a_mean_of_ten_thousand_costs_no_digits_of_the_variance(device, operation, dtype):
    """One pass over squares would leave of float32's 24 bits less than none: x**2 is 1e8, its error more than 1."""
    x = (np.random.default_rng(1).standard_normal((4, 2, 64, 63)) + 1e4).astype(dtype)
    arguments = {
        "batch_norm": (None, None),
        "group_norm": (1,),
        "layer_norm": ((64, 63),),
    }[operation]
    keywords = {"training": True} if operation == "batch_norm" else {}
    y = getattr(clconv, operation)(x, *arguments, **keywords, device=device)
    exact = getattr(reference, operation)(x, *arguments, **keywords)
    exact = exact.output if operation == "batch_norm" else exact
    # x itself is given to u * 1e4, and so is the mean that is subtracted.
    assert np.abs(y - exact).max() <= 4 * np.finfo(dtype).eps * 1e4


@pytest.mark.parametrize("first", [1e4, -1e4, 0.0, np.nan])
@pytest.mark.parametrize("operation", ["layer_norm", "batch_norm"])
def test_a_row_whose_first_values_say_nothing_of_its_mean(device, record, operation, first):
    """Where the guess of the mean is wrong by far, the second sweep is about the mean itself."""
    x = np.random.default_rng(4).standard_normal((3, 2, 700)).astype("float32")
    x[..., 16:] += 3e3
    x[..., :16] = first
    arguments = {"normalized_shape": (700,)} if operation == "layer_norm" else {"training": True}
    statistics = () if operation == "layer_norm" else (None, None)
    if np.isnan(first):
        got = getattr(clconv, operation)(x, *statistics, **arguments, device=device)
        assert np.isnan(got).all()
    else:
        assert_within_bound(operation, device, record, x, *statistics, **arguments)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_responses_of_bases_that_are_no_normal_numbers(device, dtype):
    """Zero, subnormal, infinite, NaN and negative bases among others, in runs long enough for vectors."""
    least = np.finfo(dtype).tiny
    x = np.ones((1, 1, 150), dtype)
    x[..., 70:75] = 0, np.sqrt(least) / 4, np.inf, np.nan, 1e-3
    for k in (0.0, -1e-4):
        got = clconv.local_response_norm(x, 1, alpha=1.0, beta=0.75, k=k, device=device)
        with np.errstate(all="ignore"):
            wide = x.astype("float64")
            expected = wide * (k + wide**2) ** -0.75
        expected[..., 71] = got[..., 71]  # a device may take subnormal numbers for zero
        np.testing.assert_allclose(got, expected, rtol=2e-6 if dtype == "float32" else 1e-14)


@pytest.mark.parametrize("shape", [(2, 3, 100, 101), (1, 1, 3, 20000)])
def test_rows_of_many_slices(device, record, shape):
    x, g = (reals(np.random.default_rng(seed), shape, "float32", 1) for seed in range(2))
    w = np.linspace(-2, 2, shape[1], dtype="float32")
    for arguments in ((None, None, w, w), (np.zeros_like(w), np.ones_like(w))):
        assert_within_bound("batch_norm", device, record, x, *arguments, training=True)
    assert_within_bound("batch_norm_backward", device, record, g, x, None, None, w, w, training=True)
    assert_within_bound("group_norm_backward", device, record, g, x, 1, w, w)
    assert_within_bound("layer_norm_backward", device, record, g, x, shape[1:], x[0], g[0])


def test_rows_in_cache_and_slices_of_rows_give_the_same_bits(monkeypatch):
    x, g = (reals(np.random.default_rng(seed), (4, 6, 90, 100), "float32", 1) for seed in range(2))
    w = np.linspace(-2, 2, 6, dtype="float32")

    def results():
        yield clconv.group_norm(x, 3, w, w, device="native")
        yield from clconv.group_norm_backward(g, x, 3, w, w, device="native")
        yield from clconv.layer_norm_backward(g, x, (90, 100), x[0, 0], g[0, 0], device="native")

    in_cache = [result.tobytes() for result in results()]
    steps = {"norm": plans.plan_fwd, "norm_bwd": plans.plan_bwd}
    for name, plan in steps.items():
        monkeypatch.setitem(algorithms.ALGORITHMS, name, (Algorithm("steps", everywhere, plan),))
    algorithms.forget()
    try:
        assert [result.tobytes() for result in results()] == in_cache
    finally:
        algorithms.forget()


def test_results_do_not_depend_on_the_number_of_threads():
    x, g = (reals(np.random.default_rng(seed), (2, 3, 200, 200), "float32", 1) for seed in range(2))
    before = clconv.get_num_threads()
    bits = []
    try:
        for threads in (1, 2, 3):
            clconv.set_num_threads(threads)
            results = [clconv.batch_norm(x, None, None, training=True, device="native")]
            results += clconv.batch_norm_backward(g, x, None, None, x[0, :, 0, 0], training=True, device="native")[:2]
            bits.append([result.tobytes() for result in results])
    finally:
        clconv.set_num_threads(before)
    assert bits[0] == bits[1] == bits[2]


# Memory


def test_arrays_of_more_axes_than_kernels_know(device, record):
    wide = reals(np.random.default_rng(1), (3,) * 8, "float32", 1)
    x = wide[:2, :2, :2, :2, :2, :2, :2, :2]
    w = wide[0, 0, 0, :2, :2, :2, :2, :2]
    for operation in ("layer_norm", "rms_norm"):
        y = run_twice(operation, device, record, x, (2,) * 5, w)
        assert y.tobytes() == getattr(clconv, operation)(x.copy(), (2,) * 5, w.copy(), device=device).tobytes()
    out = np.full_like(wide, 7)
    view = out[:2, :2, :2, :2, :2, :2, :2, :2]
    assert clconv.layer_norm(x, (2,) * 5, w, out=view, device=device) is view
    np.testing.assert_array_equal(view, clconv.layer_norm(x, (2,) * 5, w, device=device))
    assert (out[2] == 7).all()
    gradients = clconv.layer_norm_backward(x[::-1], x, (2,) * 5, w, device=device)
    same = clconv.layer_norm_backward(x[::-1].copy(), x.copy(), (2,) * 5, w.copy(), device=device)
    assert [a.tobytes() for a in gradients[:2]] == [a.tobytes() for a in same[:2]]


@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "sliced"])
def test_a_given_output_is_filled_and_returned(device, layout):
    x = reals(np.random.default_rng(1), (2, 4, 5, 6), "float32", 1)
    calls = {
        "batch_norm": (x, x[0, :, 0, 0].copy(), abs(x[1, :, 0, 0]) + 1),
        "instance_norm": (x,),
        "group_norm": (x, 2),
        "layer_norm": (x, (5, 6)),
        "rms_norm": (x, (6,)),
        "local_response_norm": (x, 3),
    }
    for operation, arguments in calls.items():
        out = laid_out(np.full(x.shape, np.nan, "float32"), layout)
        assert getattr(clconv, operation)(*arguments, out=out, device=device) is out
        # How axes merge, and with it the order of summation, depends on all arrays' strides.
        np.testing.assert_allclose(out, getattr(clconv, operation)(*arguments, device=device), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("axes", [(0, 1, 2, 3), (0, 2, 3, 1), (3, 2, 1, 0), (1, 0, 3, 2)])
def test_results_lie_in_memory_as_the_input_does(device, axes):
    """Channels that come last go on coming last, through a network of them."""
    x = np.ones((2, 3, 4, 5), "float32").transpose(axes)
    y = clconv.group_norm(x, 1, device=device)
    dx = clconv.group_norm_backward(y, x[..., ::-1], 1, device=device).input
    assert y.strides == dx.strides == x.strides
    repeated = np.broadcast_to(x[:, :, :1], x.shape)
    assert clconv.instance_norm(repeated, device=device).flags.c_contiguous


@pytest.mark.parametrize("shape", [(300, 70), (129, 5), (2, 3, 17, 130), (40, 64, 3)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_channels_side_by_side(device, record, shape, dtype):
    x, g = (reals(np.random.default_rng(seed), shape, dtype, 1) + dtype_one(dtype) for seed in range(2))
    x, g = (np.moveaxis(np.ascontiguousarray(np.moveaxis(array, 1, -1)), -1, 1) for array in (x, g))
    C = shape[1]
    w, running = reals(np.random.default_rng(3), C, dtype, 1), (np.zeros(C, dtype), np.ones(C, dtype))
    for training in (True, False):
        assert_within_bound("batch_norm", device, record, x, *running, w, w, training=training)
        assert_within_bound("batch_norm_backward", device, record, g, x, *running, w, w, training=training)
    if len(shape) > 2:
        assert_within_bound("instance_norm", device, record, x[:, :, ::-1], None, None, w)
        assert_within_bound("instance_norm_backward", device, record, g, x, None, None, w, w)


def test_masked_gradients_are_none(device):
    x, w = np.ones((2, 4, 3), "float32"), np.ones(4, "float32")
    for position in range(3):
        mask = tuple(i == position for i in range(3))
        gradients = clconv.group_norm_backward(x, x, 2, w, w, output_mask=mask, device=device)
        assert tuple(gradient is not None for gradient in gradients) == mask
    assert clconv.rms_norm_backward(x, x, (3,), output_mask=(True, True), device=device).weight is None
    assert clconv.local_response_norm_backward(x, x, 3, output_mask=(False,), device=device).input is None
    assert clconv.layer_norm_backward(x, x, (3,), output_mask=(False,) * 3, device=device) == (None, None, None)


@pytest.mark.parametrize("shape", [(0, 3, 4), (2, 3, 0)])
def test_without_values_gradients_of_weights_are_zero(device, shape):
    x, w = np.zeros(shape, "float32"), np.ones(3, "float32")
    for gradients in (
        clconv.batch_norm_backward(x, x, None, None, w, w, training=True, device=device),
        clconv.group_norm_backward(x, x, 3, w, w, device=device),
    ):
        assert gradients.input.shape == shape
        np.testing.assert_array_equal(gradients[1:], np.zeros((2, 3)))
    rows = np.zeros((0, 3), "float32")
    gradients = clconv.layer_norm_backward(rows, rows, (3,), w, w, device=device)
    np.testing.assert_array_equal(gradients[1:], np.zeros((2, 3)))


@pytest.mark.parametrize("operation", ["batch_norm", "instance_norm", "group_norm", "layer_norm", "rms_norm"])
@pytest.mark.parametrize("layout", ["interleaved", "channels_last"])
def test_arrays_whose_axes_do_not_merge_are_walked_or_copied(device, record, operation, layout):
    """Kernels know six axes; where the gradient's and the input's lie in different orders, there may be more."""
    random = np.random.default_rng(8)
    shape = (2, 4, 3, 2, 3, 2)
    g, x = reals(random, shape, "float32", 1), laid_out(reals(random, shape, "float32", 1), layout)
    count = shape[-1:] if operation in ("layer_norm", "rms_norm") else shape[1:2]
    names = ("weight",) if operation == "rms_norm" else ("weight", "bias")
    keywords = {name: reals(random, count, "float32", 1) for name in names}
    if operation == "batch_norm":
        keywords["training"] = True
    others = {"batch_norm": (None, None), "instance_norm": (), "group_norm": (2,)}.get(operation, (count,))
    assert_within_bound(operation, device, record, x, *others, **keywords)
    assert_within_bound(f"{operation}_backward", device, record, g, x, *others, **keywords)


def test_empty_views_whose_axes_do_not_merge_have_empty_results(device):
    x = np.ones((4, 6, 8, 5), "float32")[::2, ::3, :0, ::2]
    w = np.ones(3, "float32")
    assert clconv.layer_norm(x, (3,), w, device=device).shape == x.shape
    assert clconv.rms_norm(x, (3,), w, device=device).shape == x.shape
    gradients = clconv.layer_norm_backward(x, x, (3,), w, device=device)
    assert gradients.input.shape == x.shape
    np.testing.assert_array_equal(gradients.weight, np.zeros_like(w))
