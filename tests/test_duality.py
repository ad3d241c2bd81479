"""The statements of docs/duality.md, S1 to S20, each as a property of the public operations.

All data are small integers, so both sides of every equation are exact in float32 and compared without tolerance.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import clconv

#: np.pad's name for each padding mode.
PAD = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap", "symmetric": "symmetric"}
#: The largest extent drawn, by rank: matrices are built entry by entry.
LARGEST = {1: 7, 2: 7, 3: 4}
TRIES = settings(max_examples=settings.default.max_examples * 2 // 5)

same = np.testing.assert_array_equal


# --- problems


class Axis(NamedTuple):
    """I, K, S, D of one axis, and its padding (low, high)."""

    extent: int
    kernel: int
    stride: int
    dilation: int
    pair: tuple[int, int]

    @property
    def reach(self):
        return self.dilation * (self.kernel - 1)

    @property
    def slack(self):
        """Padded positions from the first tap of the first window to that of the last that would fit at stride 1."""
        return sum(self.pair) + self.extent - self.reach - 1

    @property
    def outputs(self):
        return self.slack // self.stride + 1

    @property
    def rest(self):
        """Padded positions after the last window."""
        return self.slack % self.stride


class Case(NamedTuple):
    """A convolution problem, and a seed for its data."""

    N: int
    G: int
    ICG: int
    OCG: int
    axes: tuple[Axis, ...]
    mode: str
    flip: bool
    seed: int

    @property
    def rank(self):
        return len(self.axes)

    def of(self, field):
        """The values of one field of the axes, a tuple."""
        return tuple(getattr(axis, field) for axis in self.axes)

    def geometry(self, **changes):
        """The arguments of a convolution that are no arrays."""
        given = {
            "stride": self.of("stride"),
            "padding": self.of("pair"),
            "dilation": self.of("dilation"),
            "groups": self.G,
            "padding_mode": self.mode,
            "flip": self.flip,
        }
        return given | changes

    def transposed_geometry(self, **changes):
        return self.geometry(output_padding=self.of("rest"), **changes)

    def windows(self):
        """The arguments of unfold and fold after kernel_size."""
        given = self.geometry(kernel_size=self.of("kernel"))
        return {name: given[name] for name in ("kernel_size", "stride", "padding", "dilation", "padding_mode")}

    def arrays(self):
        """Return x, w, b and dy."""
        random = np.random.default_rng(self.seed)
        IC, OC = self.G * self.ICG, self.G * self.OCG
        x, w = (self.N, IC, *self.of("extent")), (OC, self.ICG, *self.of("kernel"))
        dy = (self.N, OC, *self.of("outputs"))
        return tuple(integers(random, shape) for shape in (x, w, (OC,), dy))


def integers(random, shape):
    return random.integers(-4, 5, shape).astype("float32")


def deepest(mode, extent):
    return {"reflect": min(extent - 1, 3), "circular": min(extent, 3), "symmetric": min(extent, 3)}.get(mode, 3)


@st.composite
def axis_of(draw, rank, mode):
    extent = draw(st.integers(1, LARGEST[rank]))
    pads = st.integers(0, deepest(mode, extent))
    pair = draw(st.tuples(pads, pads))
    padded = sum(pair) + extent
    kernel = min(padded, draw(st.sampled_from((1, 2, 3, 2, 3))))  # one tap is drawn less often
    dilation = draw(st.integers(1, 3 if kernel == 1 else min(3, (padded - 1) // (kernel - 1))))
    return Axis(extent, kernel, draw(st.integers(1, 3)), dilation, pair)


@st.composite
def problems(draw):
    rank, mode = draw(st.integers(1, 3)), draw(st.sampled_from(list(PAD)))
    axes = tuple(draw(axis_of(rank, mode)) for _ in range(rank))
    small = st.integers(1, 3)
    return Case(draw(small), draw(small), draw(small), draw(small), axes, mode, draw(st.booleans()), draw(seeds))


seeds = st.integers(0, 2**32 - 1)
ranks = st.integers(1, 3)


# --- the operations, for any rank


def conv(rank, *args, **kwargs):
    return getattr(clconv, f"conv{rank}d")(*args, **kwargs)


def conv_backward(rank, *args, **kwargs):
    return getattr(clconv, f"conv{rank}d_backward")(*args, **kwargs)


def transpose(rank, *args, **kwargs):
    return getattr(clconv, f"conv_transpose{rank}d")(*args, **kwargs)


def transpose_backward(rank, *args, **kwargs):
    return getattr(clconv, f"conv_transpose{rank}d_backward")(*args, **kwargs)


# --- what the statements are made of, in NumPy


def rot180(w):
    return np.flip(w, tuple(range(2, w.ndim)))


def stretch(array, steps):
    """Put zeros between the elements of the spatial axes: element o goes to o*step."""
    extents = ((extent - 1) * step + 1 for extent, step in zip(array.shape[2:], steps, strict=True))
    stretched = np.zeros((*array.shape[:2], *extents), array.dtype)
    every(stretched, steps)[...] = array
    return stretched


def every(array, steps):
    """Return a view of each step-th element of the spatial axes."""
    return array[(..., *(slice(None, None, step) for step in steps))]


def corner(array, extents):
    """Return a view of the first elements of the spatial axes."""
    return array[(..., *map(slice, extents))]


def lengthen(array, rests):
    """Put zeros after the last element of the spatial axes."""
    return np.pad(array, [(0, 0), (0, 0), *((0, rest) for rest in rests)])


def sources(axis, mode):
    """Return which real position each padded position shows, -1 where it shows a zero."""
    fill = {"constant_values": -1} if mode == "zeros" else {}
    return np.pad(np.arange(axis.extent), axis.pair, mode=PAD[mode], **fill)


def padding_matrix(axis, mode):
    """P[p, i] = 1 where padded position p shows real position i."""
    return (sources(axis, mode)[:, None] == np.arange(axis.extent)).astype("float32")


def along_axes(matrices, array):
    """Apply one matrix along each spatial axis."""
    for axis, matrix in enumerate(matrices, start=2):
        array = np.moveaxis(np.tensordot(matrix, array, (1, axis)), 0, axis)
    return array


def tap_matrix(axis, mode, k):
    """T[o, i] = 1 where output o and tap k meet at real position i."""
    met = sources(axis, mode)[np.arange(axis.outputs) * axis.stride + k * axis.dilation]
    return (met[:, None] == np.arange(axis.extent)).astype("float32")


def block_diagonal(w, G):
    """Return the weight of one group that does what w does in G groups."""
    OC, ICG = w.shape[:2]
    whole = np.zeros((OC, G * ICG, *w.shape[2:]), w.dtype)
    for oc in range(OC):
        first = oc * G // OC * ICG
        whole[oc, first : first + ICG] = w[oc]
    return whole


def matrix(case, w):
    """Return the matrix of x -> y for one batch element, entry by entry as in S1, from w as it is applied."""
    whole = block_diagonal(w, case.G)
    total = 0
    for tap in np.ndindex(*case.of("kernel")):
        term = whole[(..., *tap)]
        for axis, k in zip(case.axes, tap, strict=True):
            term = np.kron(term, tap_matrix(axis, case.mode, k))
        total = total + term
    return total


def applied(case, w):
    """Return the weight that the formula of a correlation takes."""
    return rot180(w) if case.flip else w


def swap_channels(w, G):
    """Exchange input and output channels in every group."""
    OC, ICG, *K = w.shape
    return w.reshape(G, OC // G, ICG, *K).swapaxes(1, 2).reshape(G * ICG, OC // G, *K)


def inner(one, other):
    return np.vdot(one.astype("float64"), other.astype("float64"))


def in_rows(array):
    return array.reshape(len(array), -1)


# --- the statements


@given(problems())
@TRIES
def test_s1_correlation_is_a_matrix(device, case):
    x, w, _, _ = case.arrays()
    y = conv(case.rank, x, w, **case.geometry(flip=False), device=device)
    same(in_rows(y), in_rows(x) @ matrix(case, w).T)


@given(problems())
@TRIES
def test_s2_groups_are_diagonal_blocks(device, case):
    x, w, b, dy = case.arrays()
    whole = block_diagonal(w, case.G)
    y = conv(case.rank, x, w, b, **case.geometry(), device=device)
    same(y, conv(case.rank, x, whole, b, **case.geometry(groups=1), device=device))
    grouped = conv_backward(case.rank, dy, x, w, **case.geometry(), device=device)
    single = conv_backward(case.rank, dy, x, whole, **case.geometry(groups=1), device=device)
    same(grouped.input, single.input)
    inside = block_diagonal(np.ones_like(w), case.G)
    same(block_diagonal(grouped.weight, case.G), single.weight * inside)


@given(problems())
@TRIES
def test_s3_padding_is_a_matrix_of_zeros_and_ones(device, case):
    x, w, _, dy = case.arrays()
    P = [padding_matrix(axis, case.mode) for axis in case.axes]
    padded = along_axes(P, x)
    same(padded, np.pad(x, [(0, 0), (0, 0), *case.of("pair")], mode=PAD[case.mode]))
    unpadded = case.geometry(padding=0, padding_mode="zeros")
    y = conv(case.rank, x, w, **case.geometry(), device=device)
    same(y, conv(case.rank, padded, w, **unpadded, device=device))
    dx = conv_backward(case.rank, dy, x, w, **case.geometry(), device=device).input
    dpadded = conv_backward(case.rank, dy, padded, w, **unpadded, device=device).input
    same(dx, along_axes([p.T for p in P], dpadded))


@given(problems())
@TRIES
def test_s4_stride_skips_outputs_and_dilation_stretches_the_kernel(device, case):
    x, w, _, _ = case.arrays()
    y = conv(case.rank, x, w, **case.geometry(), device=device)
    same(y, every(conv(case.rank, x, w, **case.geometry(stride=1), device=device), case.of("stride")))
    stretched = stretch(w, case.of("dilation"))
    same(y, conv(case.rank, x, stretched, **case.geometry(dilation=1), device=device))


@given(problems())
@TRIES
def test_s5_one_trilinear_form(device, case):
    x, w, _, dy = case.arrays()
    y = conv(case.rank, x, w, **case.geometry(), device=device)
    gradients = conv_backward(case.rank, dy, x, w, **case.geometry(), device=device)
    assert inner(dy, y) == inner(gradients.input, x) == inner(gradients.weight, w)


@given(problems())
@TRIES
def test_s6_adjoint_is_the_transposed_convolution(device, case):
    x, w, _, dy = case.arrays()
    adjoint = transpose(case.rank, dy, w, **case.transposed_geometry(), device=device)
    same(in_rows(adjoint), in_rows(dy) @ matrix(case, applied(case, w)))
    same(adjoint, conv_backward(case.rank, dy, x, w, **case.geometry(), device=device).input)


@given(problems())
@TRIES
def test_s7_adjoint_of_the_transposed_convolution_is_the_correlation(device, case):
    x, w, _, dy = case.arrays()
    # x has the shape of the transposed convolution's output, dy that of its input.
    gradient = transpose_backward(case.rank, x, dy, w, **case.transposed_geometry(), device=device).input
    same(gradient, conv(case.rank, x, w, **case.geometry(), device=device))


@given(problems())
@TRIES
def test_s8_flip_is_rotation_by_180_degrees(device, case):
    x, w, _, _ = case.arrays()
    flipped = conv(case.rank, x, w, **case.geometry(flip=True), device=device)
    same(flipped, conv(case.rank, x, rot180(w), **case.geometry(flip=False), device=device))
    same(in_rows(flipped), in_rows(x) @ matrix(case, rot180(w)).T)


@given(problems())
@TRIES
def test_s9_flip_commutes_with_the_adjoint(device, case):
    x, w, _, dy = case.arrays()
    flipped = transpose(case.rank, dy, w, **case.transposed_geometry(flip=True), device=device)
    same(flipped, transpose(case.rank, dy, rot180(w), **case.transposed_geometry(flip=False), device=device))
    of_flipped = conv_backward(case.rank, dy, x, w, **case.geometry(flip=True), device=device)
    of_rotated = conv_backward(case.rank, dy, x, rot180(w), **case.geometry(flip=False), device=device)
    same(of_flipped.input, of_rotated.input)
    same(of_flipped.weight, rot180(of_rotated.weight))


def unpad_full(case, device, dy, w, flip):
    """Stretch dy, convolve it fully with w's channels exchanged, and undo the padding: the right side of S10 to S12."""
    stretched = lengthen(stretch(dy, case.of("stride")), case.of("rest"))
    swapped = swap_channels(w, case.G)
    geometry = {"padding": "full", "dilation": case.of("dilation"), "groups": case.G, "flip": flip}
    full = conv(case.rank, stretched, swapped, **geometry, device=device)
    return along_axes([padding_matrix(axis, case.mode).T for axis in case.axes], full)


@given(problems())
@TRIES
def test_s10_transposed_convolution_is_stretch_then_full_convolution(device, case):
    _, w, _, a = case.arrays()
    y = transpose(case.rank, a, w, **case.transposed_geometry(), device=device)
    same(y, unpad_full(case, device, a, w, flip=not case.flip))


@given(problems())
@TRIES
def test_s11_data_gradient_of_a_correlation_is_a_convolution(device, case):
    x, w, _, dy = case.arrays()
    dx = conv_backward(case.rank, dy, x, w, **case.geometry(flip=False), device=device).input
    same(dx, unpad_full(case, device, dy, w, flip=True))


@given(problems())
@TRIES
def test_s12_data_gradient_of_a_convolution_is_a_correlation(device, case):
    x, w, _, dy = case.arrays()
    dx = conv_backward(case.rank, dy, x, w, **case.geometry(flip=True), device=device).input
    same(dx, unpad_full(case, device, dy, w, flip=False))


@given(problems())
@TRIES
def test_s13_weight_gradient_is_a_correlation_with_stride_and_dilation_exchanged(device, case):
    x, w, _, dy = case.arrays()
    G, N = case.G, case.N
    dw = conv_backward(case.rank, dy, x, w, **case.geometry(), device=device).weight
    # Each group's channels become the batch; the batch becomes the channels that are summed over.
    data = x.reshape(N, G, case.ICG, *x.shape[2:]).swapaxes(0, 2).reshape(case.ICG, G * N, *x.shape[2:])
    window = dy.swapaxes(0, 1)
    exchanged = case.geometry(stride=case.of("dilation"), dilation=case.of("stride"), flip=False)
    correlation = conv(case.rank, data, window, **exchanged, device=device)
    correlation = corner(correlation, case.of("kernel")).swapaxes(0, 1)
    same(dw, rot180(correlation) if case.flip else correlation)


@given(problems())
@TRIES
def test_s14_weight_gradient_of_the_transposed_convolution(device, case):
    x, w, _, dy = case.arrays()
    transposed = transpose_backward(case.rank, x, dy, w, **case.transposed_geometry(), device=device).weight
    same(transposed, conv_backward(case.rank, dy, x, w, **case.geometry(), device=device).weight)


@given(problems())
@TRIES
def test_s15_bias_gradient_is_a_sum(device, case):
    x, w, b, dy = case.arrays()
    others = (0, *range(2, dy.ndim))
    spread = b.reshape(-1, *(1,) * case.rank)
    y = conv(case.rank, x, w, b, **case.geometry(), device=device)
    same(y, conv(case.rank, x, w, **case.geometry(), device=device) + spread)
    same(conv_backward(case.rank, dy, x, w, b, **case.geometry(), device=device).bias, dy.sum(others))
    c = integers(np.random.default_rng(case.seed), x.shape[1])
    bias = transpose_backward(case.rank, x, dy, w, c, **case.transposed_geometry(), device=device).bias
    same(bias, x.sum(others))


@given(ranks, st.data(), seeds)
@TRIES
def test_s16_full_convolution_is_commutative(device, rank, data, seed):
    random = np.random.default_rng(seed)
    extents = st.tuples(*(st.integers(1, LARGEST[rank]),) * rank)
    x, w = (integers(random, (1, 1, *data.draw(extents))) for _ in range(2))
    full = {"padding": "full", "device": device}
    same(conv(rank, x, w, flip=True, **full), conv(rank, w, x, flip=True, **full))
    same(conv(rank, x, w, **full), rot180(conv(rank, w, x, **full)))


def kernel_product(rank, device, first, second):
    """Return the kernel of two stacked layers: their full convolution, summed over the channels between them."""
    return conv(rank, first.swapaxes(0, 1), second, padding="full", flip=True, device=device).swapaxes(0, 1)


@st.composite
def stacks(draw):
    """Two layers' (K, S, D), extents that they fit on, channels before, between and after them, and a seed."""
    rank = draw(ranks)
    values = st.tuples(*(st.integers(1, 2 if rank == 3 else 3),) * rank)
    first, second = ([draw(values) for _ in range(3)] for _ in range(2))
    (K1, S1, D1), (K2, _, D2) = first, second
    size = [(k1 - 1) * d1 + (k2 - 1) * d2 * s1 + 1 for k1, s1, d1, k2, d2 in zip(K1, S1, D1, K2, D2, strict=True)]
    extents = [least + draw(st.integers(0, 4)) for least in size]
    return first, second, extents, draw(st.tuples(*(st.integers(1, 3),) * 3)), draw(seeds)


def stack_arrays(first, second, extents, channels, seed):
    random = np.random.default_rng(seed)
    IC, MC, OC = channels
    return (integers(random, shape) for shape in ((2, IC, *extents), (MC, IC, *first[0]), (OC, MC, *second[0])))


@given(stacks(), st.booleans(), st.sampled_from(["full", "valid"]))
@TRIES
def test_s17_stacked_convolutions_are_one(device, stack, flip, padding):
    rank = len(stack[2])
    x, w1, w2 = stack_arrays(*stack)
    how = {"padding": padding, "flip": flip, "device": device}
    two = conv(rank, conv(rank, x, w1, **how), w2, **how)
    same(two, conv(rank, x, kernel_product(rank, device, w1, w2), **how))


@given(stacks(), st.booleans())
@TRIES
def test_s18_strided_layers_stack_to_one(device, stack, flip):
    (K1, S1, D1), (K2, S2, D2), extents, *_ = stack
    rank = len(extents)
    x, w1, w2 = stack_arrays(*stack)
    hidden = conv(rank, x, w1, stride=S1, dilation=D1, flip=flip, device=device)
    two = conv(rank, hidden, w2, stride=S2, dilation=D2, flip=flip, device=device)
    product = kernel_product(rank, device, stretch(w1, D1), stretch(w2, np.multiply(S1, D2)))
    strides = tuple(int(stride) for stride in np.multiply(S1, S2))
    same(two, conv(rank, x, product, stride=strides, flip=flip, device=device))
    fields = clconv.receptive_field([(K1, S1, 0, D1), (K2, S2, 0, D2)])
    assert tuple((field.size, field.stride) for field in fields) == tuple(zip(product.shape[2:], strides, strict=True))


@given(problems())
@TRIES
def test_s19_unfold_turns_the_passes_into_matrix_products(device, case):
    x, w, _, dy = case.arrays()
    rows = in_rows(block_diagonal(applied(case, w), case.G))
    columns = clconv.unfold(x, **case.windows(), device=device)
    dy_rows = dy.reshape(*dy.shape[:2], -1)
    y = conv(case.rank, x, w, **case.geometry(), device=device)
    same(y.reshape(dy_rows.shape), rows @ columns)
    gradients = conv_backward(case.rank, dy, x, w, **case.geometry(), device=device)
    same(gradients.input, clconv.fold(rows.T @ dy_rows, case.of("extent"), **case.windows(), device=device))
    products = (dy_rows @ columns.swapaxes(1, 2)).sum(0).reshape(block_diagonal(w, case.G).shape)
    inside = block_diagonal(np.ones_like(w), case.G)
    same(block_diagonal(applied(case, gradients.weight), case.G), products * inside)


@given(problems())
@TRIES
def test_s20_fold_is_the_transpose_of_unfold(device, case):
    elements = math.prod(case.of("extent"))
    units = np.eye(elements, dtype="float32").reshape(elements, 1, *case.of("extent"))
    matrix_of_unfold = in_rows(clconv.unfold(units, **case.windows(), device=device))  # transposed: one row per element
    shape = math.prod(case.of("kernel")), math.prod(case.of("outputs"))
    columns = integers(np.random.default_rng(case.seed), (case.N, *shape))
    folded = clconv.fold(columns, case.of("extent"), **case.windows(), device=device)
    same(in_rows(folded), in_rows(columns) @ matrix_of_unfold.T)
    x, *_ = case.arrays()
    there_and_back = clconv.fold(
        clconv.unfold(x, **case.windows(), device=device), case.of("extent"), **case.windows(), device=device
    )
    copies = matrix_of_unfold.sum(1).reshape(case.of("extent"))
    same(there_and_back, x * copies)
