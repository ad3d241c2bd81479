"""The bounds of classes of algorithms, against such algorithms in NumPy, every operation in the type of the sums."""

import itertools
import math
import random
from fractions import Fraction
from functools import reduce

import numpy as np
import pytest
import scipy.fft

from clconv.oracle import reference
from clconv.oracle.bounds import bound, unit_roundoff, worst_ratio
from clconv.oracle.bounds.algorithms import parsed
from clconv.oracle.bounds.transforms import FFT_STAGE
from clconv.oracle.bounds.winograd import LARGEST_KERNEL, TILES, transform
from tests import right_implementations
from tests.test_bounds import F16, F32, F64, MACHINES, Terms, keywords_of, layer

SIZES = [(m, r) for m in TILES for r in range(2, LARGEST_KERNEL + 1)]
MODES = ("zeros", "reflect", "replicate", "circular", "symmetric")


def of_many_magnitudes(rng, shape, spread=20):
    return (rng.standard_normal(shape) * 2.0 ** rng.uniform(-spread, spread, shape)).astype(F32)


def with_a_spike(rng, shape):
    values = rng.standard_normal(shape)
    values.flat[rng.integers(values.size)] *= 1e4
    return values.astype(F32)


def plain(rng, shape):
    return rng.standard_normal(shape).astype(F32)


DATA = (plain, with_a_spike, of_many_magnitudes)


# --- the matrices


def times(matrix, vector):
    return [sum(a * b for a, b in zip(row, vector, strict=True)) for row in matrix]


@pytest.mark.parametrize(("m", "r"), [*SIZES, *((r, m) for m, r in SIZES), (1, 1)])
def test_the_matrices_give_the_correlation_exactly(m, r):
    A, G, B = transform(m, r)
    for tap, pixel in np.ndindex(r, m + r - 1):
        w, d = [Fraction(i == tap) for i in range(r)], [Fraction(i == pixel) for i in range(m + r - 1)]
        products = [a * b for a, b in zip(times(G, w), times(B, d), strict=True)]
        assert times(A, products) == [Fraction(pixel == i + tap) for i in range(m)]


F23 = (
    [[1, 1, 1, 0], [0, 1, -1, -1]],
    [[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]],
    [[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]],
)
F43 = tuple(m[3] for m in (right_implementations.OUTPUT, right_implementations.WEIGHT, right_implementations.INPUT))
F63 = (  # with the points 1/2 and -1/2 scaled by 32
    [
        [1, 1, 1, 1, 1, 32, 32, 0],
        [0, 1, -1, 2, -2, 16, -16, 0],
        [0, 1, 1, 4, 4, 8, 8, 0],
        [0, 1, -1, 8, -8, 4, -4, 0],
        [0, 1, 1, 16, 16, 2, 2, 0],
        [0, 1, -1, 32, -32, 1, -1, 1],
    ],
    [
        [1, 0, 0],
        [-2 / 9, -2 / 9, -2 / 9],
        [-2 / 9, 2 / 9, -2 / 9],
        [1 / 90, 1 / 45, 2 / 45],
        [1 / 90, -1 / 45, 2 / 45],
        [1 / 45, 1 / 90, 1 / 180],
        [1 / 45, -1 / 90, 1 / 180],
        [0, 0, 1],
    ],
    [
        [1, 0, -21 / 4, 0, 21 / 4, 0, -1, 0],
        [0, 1, 1, -17 / 4, -17 / 4, 1, 1, 0],
        [0, -1, 1, 17 / 4, -17 / 4, -1, 1, 0],
        [0, 1 / 2, 1 / 4, -5 / 2, -5 / 4, 2, 1, 0],
        [0, -1 / 2, 1 / 4, 5 / 2, -5 / 4, -2, 1, 0],
        [0, 2, 4, -5 / 2, -5, 1 / 2, 1, 0],
        [0, -2, 4, 5 / 2, -5, -1 / 2, 1, 0],
        [0, -1, 0, 21 / 4, 0, -21 / 4, 0, 1],
    ],
)


@pytest.mark.parametrize(("m", "usual"), [(2, F23), (4, F43), (6, F63)])
def test_the_matrices_are_those_in_general_use_up_to_the_scale_of_rows(m, usual):
    ours = [np.array(matrix, dtype=float) for matrix in transform(m, 3)]
    left, right = (np.einsum("ys,sw,sd->yswd", *matrices) for matrices in (ours, [np.array(a) for a in usual]))
    assert np.allclose(left, right, rtol=1e-12, atol=0)


# --- Winograd's algorithm in any type, with tiles anywhere


def summed(terms, dtype):
    total = reduce(np.add, terms)
    assert total.dtype == dtype
    return total


def transformed(a, matrix, axis):
    """Multiply along an axis, every operation in the array's type."""
    a = np.moveaxis(a, axis, 0)
    rows = [[(c, v) for c, v in zip(row, a, strict=True) if c] for row in matrix]
    return np.moveaxis(np.stack([summed([a.dtype.type(c) * v for c, v in row], a.dtype) for row in rows]), 0, axis)


class Tiles:
    """F(m, r) along every axis, with the first tile beginning `offset` pixels before the first output."""

    def __init__(self, m, kernel, offset, of_weights=False, change=lambda name, axis, matrix: matrix):
        self.m = [m if r > 1 else 1 for r in kernel]
        self.offset = [o % m for o, m in zip(offset, self.m, strict=True)]
        pairs = zip(kernel, self.m, strict=True) if of_weights else zip(self.m, kernel, strict=True)
        transforms = [transform(*pair) for pair in pairs]
        self.A, self.G, self.B = (
            [change(name, i, [[float(v) for v in row] for row in getattr(t, name)]) for i, t in enumerate(transforms)]
            for name in ("output", "weight", "input")
        )

    def all_along(self, a, matrices, first):
        for axis, matrix in enumerate(matrices, first):
            a = transformed(a, matrix, axis)
        return a

    def cut(self, a, lengths, beyond):
        """Cut (N, C, *extent) into (N, C, *tiles, *lengths), with what lies `beyond` the array at the border."""
        margins = [(o, m + n) for o, m, n in zip(self.offset, self.m, lengths, strict=True)]
        a = np.pad(a, [(0, 0), (0, 0), *margins], mode=beyond)
        axes = tuple(range(2, a.ndim))
        windows = np.lib.stride_tricks.sliding_window_view(a, lengths, axis=axes)
        return windows[(slice(None), slice(None), *(slice(None, None, m) for m in self.m))]

    def values(self, x, w, beyond="constant"):
        """The correlation of (N, C, *extent) with (O, C, *kernel)."""
        rank = len(self.m)
        positions = [e - k + 1 for e, k in zip(x.shape[2:], w.shape[2:], strict=True)]
        d = self.all_along(self.cut(x, [len(b) for b in self.B], beyond), self.B, 2 + rank)
        u = self.all_along(w, self.G, 2)
        channels = range(x.shape[1])
        ones = (np.newaxis,) * rank
        y = summed(
            [d[:, np.newaxis, c] * u[np.newaxis, :, c][(..., *ones, *(slice(None),) * rank)] for c in channels], x.dtype
        )
        y = self.all_along(y, self.A, 2 + rank)
        order = [0, 1, *itertools.chain(*((2 + i, 2 + rank + i) for i in range(rank)))]
        y = y.transpose(order).reshape(*y.shape[:2], *(t * m for t, m in zip(y.shape[2:], self.m, strict=False)))
        return y[(..., *(slice(o, o + p) for o, p in zip(self.offset, positions, strict=True)))]

    def gradient_of_weights(self, x, g):
        """The correlation of (N, C, *extent) with (N, O, *positions), by F(r, m)."""
        rank = len(self.m)
        d = self.all_along(self.cut(x, [len(b) for b in self.B], "constant"), self.B, 2 + rank)
        u = self.all_along(self.cut(g, self.m, "constant"), self.G, 2 + rank)
        images, tiles = (
            range(len(x)),
            np.ndindex(*(min(a, b) for a, b in zip(d.shape[2 : 2 + rank], u.shape[2 : 2 + rank], strict=True))),
        )
        dw = summed(
            [d[(n, np.newaxis, slice(None), *t)] * u[(n, slice(None), np.newaxis, *t)] for t in tiles for n in images],
            x.dtype,
        )
        return self.all_along(dw, self.A, 2)


def offsets(m, rank):
    return [(i,) * rank for i in range(m)] if rank > 1 else [(i,) for i in range(m)]


CASES = [
    (2, (3,)),
    (4, (3,)),
    (6, (3,)),
    (6, (2,)),
    (4, (7,)),
    (2, (3, 3)),
    (4, (3, 3)),
    (6, (3, 3)),
    (4, (5, 2)),
    (6, (1, 3)),
    (4, (3, 2, 3)),
    (2, (3, 1, 4)),
]


def problem(rng, draw, kernel, C=3):
    extent = [9 + 2 * i for i in range(len(kernel))] if len(kernel) < 3 else [5, 6, 7]
    return draw(rng, (2, C, *extent)), plain(rng, (2, C, *kernel))


@pytest.mark.parametrize("draw", DATA)
@pytest.mark.parametrize(("m", "kernel"), CASES)
def test_winograd_stays_within_its_class(m, kernel, draw):
    rng, rank, worst = np.random.default_rng(m), len(kernel), 0.0
    x, w = problem(rng, draw, kernel)
    operation = f"conv{rank}d"
    expected = getattr(reference, operation)(x, w)
    limit = bound(operation, x, w, dtype=F32, algorithm=f"winograd({m})")
    assert (limit >= bound(operation, x, w, dtype=F32)).all()
    for offset in offsets(m, rank):
        for beyond in ("constant", "edge"):
            worst = max(worst, worst_ratio(Tiles(m, kernel, offset).values(x, w, beyond), expected, limit))
    assert 1e-4 < worst <= 1


@pytest.mark.parametrize("m", TILES)
def test_winograd_in_float16_sums_stays_within_its_class(m):
    rng, worst = np.random.default_rng(m), 0.0
    for _ in range(30):
        x, w = (rng.uniform(-0.5, 0.5, shape).astype(F16) for shape in ((1, 2, 12), (3, 2, 3)))
        limit = bound("conv1d", x, w, dtype=F16, accumulate=F16, algorithm=f"winograd({m})")
        assert np.isfinite(limit).all()
        for offset in range(m):
            worst = max(worst, worst_ratio(Tiles(m, (3,), (offset,)).values(x, w), reference.conv1d(x, w), limit))
    assert 0.02 < worst <= 1


def test_winograd_on_an_image_with_a_spike_exceeds_the_direct_bound():
    # One entry is 1e4 times as large as the others, and spoils what shares a tile with it.
    rng, ratios = np.random.default_rng(5), dict.fromkeys(TILES, 0.0)
    for _ in range(10):
        x, w = with_a_spike(rng, (1, 4, 16, 16)), plain(rng, (2, 4, 3, 3))
        expected, direct = reference.conv2d(x, w), bound("conv2d", x, w, dtype=F32)
        assert worst_ratio(right_implementations.conv2d_shuffled(x, w), expected, direct) <= 1
        for m in TILES:
            got, limit = (
                Tiles(m, (3, 3), (0, 0)).values(x, w),
                bound("conv2d", x, w, dtype=F32, algorithm=f"winograd({m})"),
            )
            assert worst_ratio(got, expected, limit) <= 1
            ratios[m] = max(ratios[m], worst_ratio(got, expected, direct))
    assert min(ratios[4], ratios[6]) > 100


@pytest.mark.parametrize("kernel", [(3,), (3, 3)])
@pytest.mark.parametrize("m", TILES)
def test_an_error_in_any_entry_of_a_matrix_exceeds_the_class(m, kernel):
    rng = np.random.default_rng(7)
    x, w = problem(rng, plain, kernel)
    operation = f"conv{len(kernel)}d"
    expected = getattr(reference, operation)(x, w)
    limit = bound(operation, x, w, dtype=F32, algorithm=f"winograd({m})")
    for name in ("output", "weight", "input"):
        matrix = getattr(transform(m, 3), name)
        for row, column in np.ndindex(len(matrix), len(matrix[0])):

            def changed(which, axis, entries, name=name, row=row, column=column):
                if which == name and axis == 0:
                    entries[row][column] = entries[row][column] * (1 + 2**-4) or 2**-4
                return entries

            assert worst_ratio(Tiles(m, kernel, (0,) * len(kernel), change=changed).values(x, w), expected, limit) > 1


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("m", "kernel"), [(2, (3,)), (4, (3, 3)), (6, (3, 2)), (4, (1, 5))])
def test_gradients_by_winograd_stay_within_their_class(m, kernel, mode):
    rng, rank, P = np.random.default_rng(m), len(kernel), 2
    x, w = problem(rng, with_a_spike, kernel)
    b, keywords = plain(rng, 2), {"padding": P, "padding_mode": mode}
    operation = f"conv{rank}d"
    g = with_a_spike(rng, getattr(reference, operation)(x, w, **keywords).shape)
    expected = getattr(reference, operation + "_backward")(g, x, w, b, **keywords)
    limits = bound(operation + "_backward", g, x, w, b, **keywords, dtype=F32, algorithm=f"winograd({m})")
    numpy_mode = {"zeros": "constant", "replicate": "edge", "circular": "wrap"}.get(mode, mode)
    margins, axes = [(P, P)] * rank, tuple(range(2, 2 + rank))
    xp = np.pad(x, [(0, 0), (0, 0), *margins], mode=numpy_mode)
    sources = np.pad(np.arange(1, 1 + math.prod(x.shape[2:])).reshape(x.shape[2:]), margins, mode=numpy_mode)
    around = np.pad(g, [(0, 0), (0, 0), *((k - 1, k - 1) for k in kernel)])
    turned = np.flip(w.swapaxes(0, 1), axes)
    worst = [0.0, 0.0]
    for offset in offsets(m, rank):
        dxp = Tiles(m, kernel, offset).values(around, turned)
        dx = np.zeros((*x.shape[:2], 1 + math.prod(x.shape[2:])), F32)
        np.add.at(dx, (slice(None), slice(None), sources), dxp)
        dw = Tiles(m, kernel, offset, of_weights=True).gradient_of_weights(xp, g)
        dx = dx[..., 1:].reshape(x.shape)
        ratios = [worst_ratio(*three) for three in zip((dx, dw), expected[:2], limits[:2], strict=True)]
        worst = np.maximum(worst, ratios)
    assert (worst > 1e-4).all()
    assert (worst <= 1).all()
    direct = bound(operation + "_backward", g, x, w, b, **keywords, dtype=F32)
    assert np.array_equal(limits.bias, direct.bias)
    transposed = bound(f"conv_transpose{rank}d", g, w, **keywords, dtype=F32, algorithm=f"winograd({m})")
    assert np.array_equal(transposed, limits.input)


def test_an_error_in_the_gradient_of_the_weights_exceeds_the_class():
    rng = np.random.default_rng(8)
    x, w = problem(rng, plain, (3,))
    g = plain(rng, (2, 2, 7))
    expected = reference.conv1d_backward(g, x, w)
    limit = bound("conv1d_backward", g, x, w, dtype=F32, algorithm="winograd(4)").weight
    tiles = Tiles(4, (3,), (0,), of_weights=True)
    assert worst_ratio(tiles.gradient_of_weights(x, g), expected.weight, limit) <= 1
    for matrices in (tiles.A, tiles.G, tiles.B):
        for row, column in np.ndindex(len(matrices[0]), len(matrices[0][0])):
            right = matrices[0][row][column]
            matrices[0][row][column] = right * (1 + 2**-4) or 2**-4
            assert worst_ratio(tiles.gradient_of_weights(x, g), expected.weight, limit) > 1
            matrices[0][row][column] = right


NOT_WINOGRAD = [
    ((3,), {"stride": 2}),
    ((3,), {"dilation": 2}),
    ((1,), {}),
    ((8,), {}),
    ((3, 3), {"stride": (1, 2)}),
    ((2, 8), {}),
]


@pytest.mark.parametrize(("kernel", "arguments"), NOT_WINOGRAD)
def test_where_winograd_does_not_apply_the_bound_is_the_direct_one(kernel, arguments):
    rng, operation = np.random.default_rng(9), f"conv{len(kernel)}d"
    x, w = problem(rng, plain, kernel)
    for call, name in (((x, w), operation), ((x, np.swapaxes(w, 0, 1)), operation.replace("v", "v_transpose"))):
        direct = bound(name, *call, **arguments, dtype=F32)
        assert np.array_equal(bound(name, *call, **arguments, dtype=F32, algorithm="winograd(4)"), direct)
        assert (bound(name, *call, **arguments, dtype=F32, algorithm="fft") > direct).all()


@pytest.mark.parametrize("algorithm", ["split(2)", "pairwise", "winograd(4)", "fft"])
def test_empty_batches_and_no_channels(algorithm):
    keywords = {"dtype": F32, "algorithm": algorithm}
    x, w, b = np.ones((0, 4, 5, 6), F32), np.ones((6, 2, 3, 2), F32), np.ones(6, F32)
    assert bound("conv2d", x, w, b, groups=2, **keywords).shape == (0, 6, 3, 5)
    gradients = bound("conv2d_backward", np.ones((0, 6, 3, 5), F32), x, w, b, groups=2, **keywords)
    assert [g.shape for g in gradients] == [x.shape, w.shape, b.shape]
    assert max(gradients.weight.max(), gradients.bias.max()) < 1e-30
    none = bound("conv2d", np.ones((1, 0, 5, 6), F32), np.ones((6, 0, 3, 2), F32), b, **keywords)
    assert none.shape == (1, 6, 3, 5)
    assert none.max() < 1e-6


@pytest.mark.parametrize("algorithm", ["split(2)", "pairwise", "winograd(4)", "fft"])
def test_batches_flips_groups_and_masks(algorithm):
    rng, keywords = np.random.default_rng(2), {"dtype": F32, "algorithm": algorithm}
    x, w, b = (plain(rng, shape) for shape in ((4, 6, 7), (6, 2, 3, 3), (6,)))
    limit = bound("conv2d", x, w, b, padding=1, groups=2, **keywords)
    parts = [
        bound("conv2d", x[i : i + 2], w[o : o + 3], b[o : o + 3], padding=1, **keywords) for i, o in ((0, 0), (2, 3))
    ]
    assert np.allclose(limit, np.concatenate(parts), rtol=1e-12, atol=0)
    g = plain(rng, (6, 6, 7))
    for operation, call in (
        ("conv2d_backward", (g, x, w, b)),
        ("conv_transpose2d_backward", (plain(rng, (6, 6, 7)), x, plain(rng, (4, 3, 3, 3)), b)),
    ):
        forward = {"padding": 1, "groups": 2, **keywords}
        limits = bound(operation, *call, **forward)
        batched = bound(operation, call[0][np.newaxis], call[1][np.newaxis], *call[2:], **forward)
        for one, with_batch in zip(limits, (batched.input[0], *batched[1:]), strict=True):
            assert np.array_equal(one, with_batch)
        turned = (*call[:2], np.flip(call[2], (2, 3)), call[3])
        flipped = bound(operation, *turned, **forward, flip=True)
        assert np.array_equal(flipped.input, limits.input)
        assert np.array_equal(np.flip(flipped.weight, (2, 3)), limits.weight)
        masked = bound(operation, *call, **forward, output_mask=(False, True, False))
        assert masked.input is masked.bias is None
        assert np.array_equal(masked.weight, limits.weight)


# --- the FFT


@pytest.mark.parametrize("dtype", [F16, F32, F64])
@pytest.mark.parametrize("radix", range(2, 14))
def test_no_stage_of_an_fft_is_off_by_more_than_its_share(radix, dtype):
    u = unit_roundoff(dtype)
    for roundoff in (u, 2.0**-8):  # bfloat16's
        gamma = 2 * roundoff / (1 - 2 * roundoff)
        factors = [8 * roundoff, roundoff, *[math.sqrt(2) * gamma] * 2, *[roundoff] * (radix - 1)]
        error = math.expm1(sum(math.log1p(f) for f in factors))
        assert math.sqrt(radix) * error <= FFT_STAGE * roundoff * math.log2(radix)
        assert math.sqrt(2) * gamma <= math.expm1(3 * math.log1p(roundoff))


def by_fft(x, w, length=scipy.fft.next_fast_len, conjugate=np.conj):
    """The correlation of (N, C, *extent) with (O, C, *kernel) in float32."""
    axes = tuple(range(2, x.ndim))
    lengths = [length(e + k - 1) for e, k in zip(x.shape[2:], w.shape[2:], strict=True)]
    X, W = (scipy.fft.rfftn(a, lengths, axes=axes) for a in (x, w))
    assert X.dtype == np.complex64
    y = scipy.fft.irfftn((X[:, np.newaxis] * conjugate(W)).sum(axis=2), lengths, axes=axes)
    assert y.dtype == F32
    return y[(..., *(slice(0, e - k + 1) for e, k in zip(x.shape[2:], w.shape[2:], strict=True)))]


def next_power_of_two(n):
    return 1 << (n - 1).bit_length()


@pytest.mark.parametrize("draw", DATA)
@pytest.mark.parametrize("kernel", [(3,), (4, 3), (3, 2, 3)])
@pytest.mark.parametrize("length", [scipy.fft.next_fast_len, next_power_of_two])
def test_the_fft_stays_within_its_class(length, kernel, draw):
    rng, operation = np.random.default_rng(3), f"conv{len(kernel)}d"
    x, w = problem(rng, draw, kernel)
    expected, limit = getattr(reference, operation)(x, w), bound(operation, x, w, dtype=F32, algorithm="fft")
    ratio = worst_ratio(by_fft(x, w, length), expected, limit)
    assert 1e-5 < ratio <= 1
    if draw is with_a_spike:
        assert worst_ratio(by_fft(x, w, length), expected, bound(operation, x, w, dtype=F32)) > 1


def test_wrong_transforms_exceed_the_class():
    rng = np.random.default_rng(4)
    x, w = plain(rng, (2, 3, 21)), plain(rng, (2, 3, 4))
    expected, limit = reference.conv1d(x, w), bound("conv1d", x, w, dtype=F32, algorithm="fft")
    assert worst_ratio(by_fft(x, w), expected, limit) <= 1
    assert worst_ratio(by_fft(x, w, conjugate=np.asarray), expected, limit) > 1
    wrapped = by_fft(x, w, length=lambda n: n - 4)  # one less than the image
    assert worst_ratio(wrapped, expected, limit) > 1
    half = by_fft(x.astype(F16).astype(F32), w)
    assert worst_ratio(half, expected, limit) > 0.1


@pytest.mark.parametrize("mode", ["zeros", "circular"])
def test_gradients_by_fft_stay_within_their_class(mode):
    rng, S, D, P = np.random.default_rng(6), 2, 3, 3
    x, w, keywords = with_a_spike(rng, (2, 3, 20)), plain(rng, (2, 3, 3)), {"padding": 3, "padding_mode": mode}
    g = with_a_spike(rng, reference.conv1d(x, w, None, S, dilation=D, **keywords).shape)
    expected = reference.conv1d_backward(g, x, w, None, S, dilation=D, **keywords)
    limits = bound("conv1d_backward", g, x, w, None, S, dilation=D, **keywords, dtype=F32, algorithm="fft")
    xp = np.pad(x, [(0, 0), (0, 0), (P, P)], mode="constant" if mode == "zeros" else "wrap")
    gs, wd = np.zeros((2, 2, xp.shape[2] - 2 * D), F32), np.zeros((2, 3, 2 * D + 1), F32)
    gs[..., : S * g.shape[2] : S], wd[..., ::D] = g, w
    dxp = by_fft(np.pad(gs, [(0, 0), (0, 0), (2 * D, 2 * D)]), wd.swapaxes(0, 1)[..., ::-1])
    dx = dxp[..., P:-P].copy()
    if mode == "circular":
        dx[..., -P:] += dxp[..., :P]
        dx[..., :P] += dxp[..., -P:]
    dw = by_fft(xp.swapaxes(0, 1), gs.swapaxes(0, 1))[..., ::D].swapaxes(0, 1)
    ratios = [worst_ratio(*three) for three in zip((dx, dw), expected[:2], limits[:2], strict=True)]
    assert 1e-5 < min(ratios) <= max(ratios) <= 1


# --- trees


def sequential(terms):
    return np.cumsum(terms, dtype=F32)[-1]


def pairwise(terms):
    while len(terms) > 1:
        terms = np.append(terms, np.zeros(len(terms) % 2, F32))
        terms = terms[::2] + terms[1::2]
    return terms[0]


def blocks(terms, b):
    return np.array([sequential(terms[i : i + b]) for i in range(0, len(terms), b)])


def test_trees_stay_within_their_bounds():
    n = 20000
    x = (1 + np.random.default_rng(0).random((1, 1, n))).astype(F32)
    w = np.ones((1, 1, n), F32)

    def ratio(total, algorithm):
        limit = bound("conv1d", x, w, dtype=F32, algorithm=algorithm)
        return worst_ratio(np.array([[[total]]]), reference.conv1d(x, w), limit)

    x1 = x.ravel()
    assert ratio(sequential(x1), "direct") < 0.01
    assert 0.01 < ratio(pairwise(x1), "pairwise") <= 1
    for b in (32, 141, 1000):
        assert 1e-3 < ratio(sequential(blocks(x1, b)), f"split({b})") <= 1
        assert 1e-3 < ratio(pairwise(blocks(x1, b)), f"pairwise({b})") <= 1


def test_a_long_sequential_sum_of_small_terms_exceeds_every_tree():
    # One, and terms of half its last digit, each of which is lost.
    n = 20000
    x = np.full((1, 1, n), 2.0**-24, F32)
    x[0, 0, 0] = 1
    w = np.ones((1, 1, n), F32)
    got, expected = np.array([[[sequential(x.ravel())]]]), reference.conv1d(x, w)
    assert got == 1
    for algorithm in ("split(100)", "split(1000)", "pairwise", "pairwise(128)"):
        assert worst_ratio(got, expected, bound("conv1d", x, w, dtype=F32, algorithm=algorithm)) > 1
    assert worst_ratio(got, expected, bound("conv1d", x, w, dtype=F32)) <= 1


@pytest.mark.parametrize("algorithm", ["pairwise", "split(3)", "pairwise(3)"])
@pytest.mark.parametrize("machine", [m._replace(order="pairwise") for m in MACHINES], ids=str)
@pytest.mark.parametrize("mode", ["zeros", "replicate"])
def test_every_result_in_a_tree_stays_under_its_bound(mode, machine, algorithm):
    x, w, b, g, S, P, D, G, mode = problem = layer(mode, machine.stored)
    terms, keywords = Terms(*problem), {"padding_mode": mode, "algorithm": algorithm}
    keywords |= keywords_of(machine)
    call, backward = (x, w, b, S, P, D, G), (g, x, w, b, S, P, D, G)
    every = [
        (terms.y, reference.conv1d(*call, padding_mode=mode), bound("conv1d", *call, **keywords)),
        *zip(
            (terms.dx, terms.dw, terms.db),
            reference.conv1d_backward(*backward, padding_mode=mode),
            bound("conv1d_backward", *backward, **keywords),
            strict=True,
        ),
    ]
    columns = np.random.default_rng(2).standard_normal((2, 12, 6)).astype(machine.stored)
    folded = {i: [(columns[j],) for j in js] for i, js in terms.image.items()}
    window = ((3,), D, P, S)
    of_fold = (
        reference.fold(columns, (9,), *window, padding_mode=mode),
        bound("fold", columns, (9,), *window, **keywords),
    )
    every.append((folded, *of_fold))
    unfolded = bound("unfold_backward", columns, x, *window, **keywords).input
    assert np.array_equal(unfolded, of_fold[1])
    for wanted, expected, limit in every:
        got = {i: tree(factors, machine, algorithm) for i, factors in wanted.items()}
        got = np.array([got[i] for i in np.ndindex(expected.shape)]).reshape(expected.shape)
        assert worst_ratio(got, expected, limit) <= 1


def tree(terms, machine, algorithm):
    """Add up the terms in blocks, and the blocks in pairs or one after the other."""
    b = {"pairwise": 1}.get(algorithm, 3)
    total = machine._replace(stored=machine.summed, order="sequential").total
    sums = [(total(terms[i : i + b], None),) for i in range(0, len(terms), b)] if b > 1 else terms
    order = "sequential" if algorithm.startswith("split") else "pairwise"
    return machine._replace(order=order).total(sums, random.Random(0))


HEIGHTS = [
    # 20 products and a bias
    ("pairwise", 1 + 5 + 1),
    ("pairwise(4)", 4 + 3 + 1),
    ("pairwise(8)", 8 + 2 + 1),
    ("split(4)", 4 + 4 + 1),
    ("split(5)", 5 + 3 + 1),
    ("split(100)", 21),
    ("split(1)", 21),
    ("direct", 21),
]


@pytest.mark.parametrize(("algorithm", "h"), HEIGHTS)
def test_the_bound_of_a_tree_is_the_formula_in_the_docstring(algorithm, h):
    x, w, b = np.full((1, 4, 5), 0.5), np.full((1, 4, 5), -1.0), np.full(1, 2.0)
    A, u = 12.0, 2.0**-24
    limit = bound("conv1d", x, w, b, dtype=F32, algorithm=algorithm).item()
    expected = (h * u if h == 21 else (1 + u) ** h - 1) * A + 20 * 2.0**-53 * A
    assert expected <= limit <= expected * (1 + 1e-6)
    # Products of float16 are exact in float32.
    limit = bound("conv1d", x, w, b, dtype=F16, algorithm=algorithm).item()
    error = (20 * u if h == 21 else (1 + u) ** (h - 1) - 1) * A + 20 * 2.0**-53 * A
    stored = error + 2.0**-11 * (8 + error) + 2.0**-25
    assert stored <= limit <= stored * (1 + 1e-6)


def test_zeros_in_the_padding_count_as_leaves_of_a_tree():
    x, w = np.ones((1, 1, 3), F32), np.ones((1, 1, 64), F32)
    limit = bound("conv1d", x, w, padding=31, dtype=F32, algorithm="pairwise(1)")
    # Of 64 terms at most three are not zero, and for these three roundings are less than those of 7 levels.
    assert np.array_equal(limit, bound("conv1d", x, w, padding=31, dtype=F32))
    x = np.ones((1, 1, 16), F32)
    limit = bound("conv1d", x, w, padding=31, dtype=F32, algorithm="pairwise")
    assert limit.max() == pytest.approx((1 + 6) * 2.0**-24 * 16, rel=1e-6)


# --- range


def test_transforms_of_subnormal_numbers():
    rng = np.random.default_rng(11)
    for exponent in (-130, -100, -60):
        x, w = (plain(rng, s) * F32(2.0**exponent) for s in ((1, 3, 20), (2, 3, 3)))
        w = w if exponent == -60 else plain(rng, (2, 3, 3))
        expected = reference.conv1d(x, w)
        for m in TILES:
            limit = bound("conv1d", x, w, dtype=F32, algorithm=f"winograd({m})")
            assert worst_ratio(Tiles(m, (3,), (0,)).values(x, w), expected, limit) <= 1
        limit = bound("conv1d", x, w, dtype=F32, algorithm="fft")
        assert worst_ratio(by_fft(x, w), expected, limit) <= 1
        flushed = bound("conv1d", x, w, dtype=F32, algorithm="winograd(2)", flushes_subnormals=True)
        assert (flushed > 2.0**-126).all()


@pytest.mark.parametrize("algorithm", ["winograd(2)", "winograd(6)", "fft"])
def test_where_a_transform_may_overflow_there_is_no_bound(algorithm):
    x, w = np.zeros((1, 1, 30), F32), np.ones((1, 1, 3), F32)
    x[..., 2] = 2.0**126
    limit = bound("conv1d", x, w, dtype=F32, algorithm=algorithm)
    assert np.isfinite(bound("conv1d", x, w, dtype=F32)).all()
    assert np.isinf(limit[..., :3]).all()
    assert np.isinf(limit[..., 15:]).all() == (algorithm == "fft")
    x[..., 2] = 2.0**100
    assert np.isfinite(bound("conv1d", x, w, dtype=F32, algorithm=algorithm)).all()
    with np.errstate(all="raise"):
        x, w = np.full((1, 1, 5), 1e300), np.full((1, 1, 3), 1e300)
        assert np.isinf(bound("conv1d", x, w, dtype=F64, algorithm=algorithm)).all()


def test_bfloat16_that_is_summed_in_float32_may_be_flushed():
    pytest.importorskip("ml_dtypes")
    x, w = np.full((1, 1, 1), 2.0**-130), np.full((1, 1, 1), 2.0**100)
    keywords = {"dtype": "bfloat16", "flushes_subnormals": True}
    assert worst_ratio(np.zeros((1, 1, 1)), reference.conv1d(x, w), bound("conv1d", x, w, **keywords)) <= 1


# --- right implementations


RIGHT = [("conv2d_numpy_float32", "direct"), ("conv2d_shuffled", "direct"), ("conv2d_winograd", "winograd(4)")]


@pytest.mark.parametrize("draw", DATA)
@pytest.mark.parametrize(("name", "algorithm"), RIGHT)
def test_right_implementations_stay_within_their_class(name, algorithm, draw):
    rng, implementation = np.random.default_rng(12), getattr(right_implementations, name)
    for kernel, arguments in [
        ((3, 3), {"padding": 1}),
        ((3, 3), {"padding": "same", "groups": 2}),
        ((1, 3), {"padding": (0, 2)}),
        ((3, 3), {"stride": 2}),
        ((2, 4), {"dilation": (2, 1)}),
    ]:
        G = arguments.get("groups", 1)
        x, w, b = draw(rng, (2, 4, 13, 10)), plain(rng, (6, 4 // G, *kernel)), plain(rng, 6)
        expected = reference.conv2d(x, w, b, **arguments)
        limit = bound("conv2d", x, w, b, **arguments, dtype=F32, algorithm=algorithm)
        assert worst_ratio(implementation(x, w, b, **arguments), expected, limit) <= 1
        g = plain(rng, expected.shape)
        got = right_implementations.conv2d_backward(g, x, w, b, **arguments)
        exact = reference.conv2d_backward(g, x, w, b, **arguments)
        limits = bound("conv2d_backward", g, x, w, b, **arguments, dtype=F32)
        assert max(worst_ratio(*three) for three in zip(got, exact, limits, strict=True)) <= 1


# --- refusals


UNKNOWN = ["", "Direct", "split", "split()", "split(0)", "split(-1)", "split(1.5)", "pairwise(0)", "winograd"]
UNKNOWN += ["winograd(3)", "winograd(44)", "winograd(4, 3)", "fft(8)", "direct(1)", "split(4) ", "strassen"]


@pytest.mark.parametrize("algorithm", [*UNKNOWN, f"split({'9' * 5000})"])
def test_unknown_classes_are_refused(algorithm):
    with pytest.raises(ValueError, match=r"algorithm must be 'direct', 'split\(b\)', .* got algorithm="):
        bound("conv1d", np.ones((1, 1, 4)), np.ones((1, 1, 2)), dtype=F32, algorithm=algorithm)


def test_a_class_is_named_by_a_string():
    with pytest.raises(TypeError, match="algorithm must be a string, got algorithm=4"):
        parsed(4)
