"""Pooling and unpooling on every device, judged by the oracle: drawn windows, layouts, and every algorithm."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from clconv.oracle import reference
from clconv.oracle.reference.pool_windows import sliding_pool
from tests.calls import assert_exact, assert_within_bound, reals
from tests.strategies import DTYPES, laid_out, layouts

EXAMPLES = settings(max_examples=20)


@dataclass(frozen=True)
class Pooling:
    """Shapes and arguments of a pooling, and what its arrays are made from."""

    rank: int
    shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    arguments: dict[str, Any]
    dtype: str
    layouts: tuple[str, str]
    seed: int

    def input(self, values):
        return self._array(self.shape, values, 0)

    def gradient(self, values):
        return self._array(self.output_shape, values, 1)

    def _array(self, shape, values, number):
        random = np.random.default_rng((self.seed, number))
        return laid_out(values(random, shape).astype(self.dtype), self.layouts[number])


def coarse(random, shape):
    """Draw numbers so few that there are ties, NaN and infinities among them."""
    values = random.integers(-4, 5, shape) / 2
    return np.where(random.random(shape) < 0.05, random.choice([np.nan, np.inf, -np.inf], shape), values)


def small_integers(random, shape):
    return random.integers(-9, 10, shape)


def normal(random, shape):
    return reals(random, shape, "float64", 1)


@st.composite
def poolings(draw, dilated=False, padded=True):
    """Draw windows that slide, over one to three axes, and also over rows longer than a vector."""
    rank = draw(st.sampled_from((1, 2, 2, 3)))
    lead = (draw(st.sampled_from((1, 2, 3))),) * draw(st.booleans()) + (draw(st.sampled_from((1, 2, 3))),)
    longest = draw(st.sampled_from((7, 7, 40, 150))) if rank < 3 else 7
    extents = (*(draw(st.integers(1, 7)) for _ in range(rank - 1)), draw(st.integers(1, longest)))
    sizes = st.sampled_from((2, 1, 3, 4, 5)), st.sampled_from((1, 2, 3, 5))
    kernel, stride = (tuple(draw(size) for _ in range(rank)) for size in sizes)
    arguments: dict[str, Any] = {"kernel_size": kernel, "ceil_mode": draw(st.booleans())}
    if draw(st.booleans()):
        arguments["stride"] = stride
    if padded:
        arguments["padding"] = tuple((draw(st.integers(0, k - 1)), draw(st.integers(0, k - 1))) for k in kernel)
    if dilated:
        arguments["dilation"] = tuple(draw(st.sampled_from((1, 1, 2, 3))) for _ in range(rank))
    defaults = {"stride": None, "padding": 0, "dilation": 1}
    try:
        pool = sliding_pool(rank, np.zeros((*lead, *extents)), **{**defaults, **arguments})
    except ValueError:  # too large for the image, or a window in the padding
        assume(False)
    return _drawn(draw, rank, (*lead, *extents), (*lead, *pool.windows.positions), arguments)


@st.composite
def shares(draw):
    """Draw an image and how many outputs share it out, more or fewer than there are pixels."""
    rank = draw(st.sampled_from((1, 2, 2, 3)))
    lead = (draw(st.sampled_from((1, 2))),) * draw(st.booleans()) + (draw(st.sampled_from((1, 2, 3))),)
    longest = draw(st.sampled_from((8, 8, 70))) if rank < 3 else 8
    extents = (*(draw(st.integers(1, 8)) for _ in range(rank - 1)), draw(st.integers(1, longest)))
    outputs = tuple(draw(st.integers(0, 9)) or 1 for _ in range(rank))
    return _drawn(draw, rank, (*lead, *extents), (*lead, *outputs), {"output_size": outputs})


def _drawn(draw, rank, shape, output_shape, arguments):
    memory = draw(layouts), draw(layouts)
    return Pooling(
        rank, shape, output_shape, arguments, draw(st.sampled_from(DTYPES)), memory, draw(st.integers(0, 2**32 - 1))
    )


@EXAMPLES
@given(case=poolings(dilated=True), return_indices=st.booleans())
def test_maxima_and_their_places_are_exact(device, record, case, return_indices):
    name, arguments = f"max_pool{case.rank}d", {**case.arguments, "return_indices": return_indices}
    assert_exact(name, device, record, case.input(coarse), **arguments)


@EXAMPLES
@given(case=poolings(dilated=True), ties=st.sampled_from(("first", "first", "all")))
def test_the_gradient_goes_to_the_maxima(device, record, case, ties):
    arrays = case.gradient(small_integers), case.input(coarse)
    assert_exact(f"max_pool{case.rank}d_backward", device, record, *arrays, **case.arguments, ties=ties)


@settings(max_examples=10)
@given(case=poolings(dilated=True))
def test_maxima_share_the_gradient(device, record, case):
    arrays = case.gradient(normal), case.input(lambda random, shape: random.integers(-2, 3, shape))
    assert_within_bound(f"max_pool{case.rank}d_backward", device, record, *arrays, **case.arguments, ties="share")


@EXAMPLES
@given(case=poolings(), count_include_pad=st.booleans(), divisor=st.sampled_from((None, None, 5, -3)))
def test_means_and_their_gradients_stay_within_their_bounds(device, record, case, count_include_pad, divisor):
    name, arguments = f"avg_pool{case.rank}d", {**case.arguments, "count_include_pad": count_include_pad}
    if case.rank > 1:
        arguments["divisor_override"] = divisor
    x, g = case.input(normal), case.gradient(normal)
    assert_within_bound(name, device, record, x, **arguments)
    assert_within_bound(f"{name}_backward", device, record, g, x, **arguments)


@settings(max_examples=10)
@given(case=poolings(), divisor=st.sampled_from((1, -2, 16)))
def test_sums_of_integers_divided_by_powers_of_two_are_exact(device, record, case, divisor):
    if case.rank == 1:
        return  # torch's avg_pool1d has no divisor_override
    name, arguments = f"avg_pool{case.rank}d", {**case.arguments, "divisor_override": divisor}
    x, g = case.input(small_integers), case.gradient(small_integers)
    assert_exact(name, device, record, x, **arguments)
    assert_exact(f"{name}_backward", device, record, g, x, **arguments)


@settings(max_examples=10)
@given(case=poolings(padded=False), order=st.sampled_from((1, 2, 3, 0.5, 1.5, 7, 40.0)))
def test_norms_and_their_gradients_stay_within_their_bounds(device, record, case, order):
    x, g = case.input(normal), case.gradient(normal)
    assert_within_bound(f"lp_pool{case.rank}d", device, record, x, order, **case.arguments)
    assert_within_bound(f"lp_pool{case.rank}d_backward", device, record, g, x, order, **case.arguments)


@settings(max_examples=10)
@given(case=poolings(padded=False))
def test_the_norm_of_infinite_order_is_exact(device, record, case):
    x, g = case.input(lambda random, shape: random.integers(-3, 4, shape)), case.gradient(small_integers)
    assert_exact(f"lp_pool{case.rank}d", device, record, x, math.inf, **case.arguments)
    assert_exact(f"lp_pool{case.rank}d_backward", device, record, g, x, math.inf, **case.arguments)


@EXAMPLES
@given(case=shares())
def test_adaptive_maxima_are_exact(device, record, case):
    name, (size,) = f"adaptive_max_pool{case.rank}d", case.arguments.values()
    x = case.input(coarse)
    assert_exact(name, device, record, x, size, return_indices=True)
    assert_exact(f"{name}_backward", device, record, case.gradient(small_integers), x, size)


@EXAMPLES
@given(case=shares())
def test_adaptive_means_stay_within_their_bounds(device, record, case):
    name, (size,) = f"adaptive_avg_pool{case.rank}d", case.arguments.values()
    x = case.input(normal)
    assert_within_bound(name, device, record, x, size)
    assert_within_bound(f"{name}_backward", device, record, case.gradient(normal), x, size)


@settings(max_examples=10)
@given(case=shares())
def test_global_pooling(device, record, case):
    if len(case.shape) != case.rank + 2:
        return
    x, real = case.input(coarse), case.input(normal)
    g = np.arange(math.prod(case.shape[:2]), dtype=case.dtype).reshape(*case.shape[:2], *(1,) * case.rank)
    assert_exact("global_max_pool", device, record, x)
    assert_exact("global_max_pool_backward", device, record, g, x)
    assert_within_bound("global_avg_pool", device, record, real)
    assert_within_bound("global_avg_pool_backward", device, record, g, real)


@st.composite
def unpoolings(draw):
    """Draw values, places for them in larger planes, the kernel and stride that make these, and maybe their size."""
    rank = draw(st.sampled_from((1, 2, 3)))
    lead = (draw(st.integers(1, 2)),) * draw(st.booleans()) + (draw(st.integers(1, 3)),)
    extents = tuple(draw(st.integers(1, 4)) for _ in range(rank))
    stride = tuple(draw(st.integers(2, 3)) for _ in range(rank))
    size = tuple((e - 1) * s + 2 + draw(st.integers(0, s - 1)) for e, s in zip(extents, stride, strict=True))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    planes = [random.permutation(math.prod(size))[: math.prod(extents)] for _ in range(math.prod(lead))]
    indices = np.array(planes, np.int64).reshape(*lead, *extents)
    # Layouts of integers: the others put NaN between elements.
    indices = laid_out(indices, draw(st.sampled_from(("contiguous", "fortran", "reversed", "swapped", "misaligned"))))
    arguments = {"kernel_size": 2, "stride": stride, "output_size": size}
    return _drawn(draw, rank, (*lead, *extents), (*lead, *size), arguments), indices


@EXAMPLES
@given(case=unpoolings())
def test_unpooling_copies_exactly(device, record, case):
    pooling, indices = case
    name, x = f"max_unpool{pooling.rank}d", pooling.input(normal)
    assert_exact(name, device, record, x, indices, **pooling.arguments)
    gradient = pooling.gradient(normal)
    assert_exact(f"{name}_backward", device, record, gradient, x, indices, **pooling.arguments)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("kernel_size", "stride", "padding"),
    [(3, 2, 1), (2, 2, 0), (3, 1, 1), (5, 3, 2), ((2, 3), (1, 2), ((1, 0), (2, 1)))],
)
def test_rows_longer_than_a_run(device, record, dtype, kernel_size, stride, padding):
    """150 outputs of a row are several runs, the last one not full, and enough rows for several threads."""
    random = np.random.default_rng(11)
    x = random.integers(-50, 51, (3, 2, 11, 150 * (stride if isinstance(stride, int) else 2))).astype(dtype)
    window = {"kernel_size": kernel_size, "stride": stride, "padding": padding}
    assert_exact("max_pool2d", device, record, x, **window, return_indices=True)
    assert_exact("avg_pool2d", device, record, x, **window, divisor_override=4)
    g = random.integers(-9, 10, reference.max_pool2d(x, **window).shape).astype(dtype)
    assert_exact("max_pool2d_backward", device, record, g, x, **window)
    assert_exact("avg_pool2d_backward", device, record, g, x, **window, divisor_override=4)
    assert_within_bound("avg_pool2d_backward", device, record, g, x, **window, count_include_pad=False)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("ties", ["first", "all", "share"])
@pytest.mark.parametrize(
    ("kernel_size", "stride", "dilation"),
    [(2, 2, 1), (3, 2, 1), (3, 1, 1), ((3, 4), (2, 3), 1), ((2, 3), (1, 2), (2, 3)), (1, 2, 1), (16, 16, 1)],
)
def test_gradients_of_maxima_over_large_planes(device, record, dtype, ties, kernel_size, stride, dilation):
    """Rows of several runs, of which some begin between windows, and bands of rows that windows reach over."""
    random = np.random.default_rng(13)
    x = random.integers(-3, 4, (2, 1, 37, 513)).astype(dtype)
    window = {"kernel_size": kernel_size, "stride": stride, "dilation": dilation}
    g = random.integers(-9, 10, reference.max_pool2d(x, **window).shape).astype(dtype)
    judged = assert_within_bound if ties == "share" else assert_exact
    judged("max_pool2d_backward", device, record, g, x, **window, ties=ties)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("kernel_size", "stride"), [(1, 2), (2, 2), (3, 2), (3, 1), (4, 3)])
@pytest.mark.parametrize("order", [1, 2, 3, 2.5, math.inf])
def test_norms_and_means_over_long_rows(device, record, dtype, kernel_size, stride, order):
    random = np.random.default_rng(14)
    x = normal(random, (2, 1, 9, 513)).astype(dtype)
    x[0, 0, :4] *= 0
    x[1, 0, 4:6] *= {"float16": 2.0**-12, "float32": 2.0**-110, "float64": 2.0**-900}[dtype]
    window = {"kernel_size": kernel_size, "stride": stride}
    g = normal(random, reference.lp_pool2d(x, order, **window).shape).astype(dtype)
    judged = assert_exact if order == math.inf and stride >= kernel_size else assert_within_bound
    judged("lp_pool2d", device, record, x, order, **window)
    judged("lp_pool2d_backward", device, record, g, x, order, **window)
    assert_within_bound("avg_pool2d_backward", device, record, g, x, **window)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [1, 7, (5, 3), (2, 40)])
def test_large_shares(device, record, dtype, size):
    random = np.random.default_rng(12)
    x = random.integers(-3, 4, (2, 3, 35, 84)).astype(dtype)
    assert_exact("adaptive_max_pool2d", device, record, x, size, return_indices=True)
    assert_within_bound("adaptive_avg_pool2d", device, record, x, size)
    g = random.integers(-9, 10, reference.adaptive_max_pool2d(x, size).shape).astype(dtype)
    assert_exact("adaptive_max_pool2d_backward", device, record, g, x, size)
    assert_within_bound("adaptive_avg_pool2d_backward", device, record, g, x, size)
