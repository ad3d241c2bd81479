"""Calls that launch the kernels of convolution."""

from __future__ import annotations

import itertools

from clconv.problem import ConvProblem
from clconv.problem.window import PADDING_MODES
from tests.kernel_calls.call import Call
from tests.kernel_calls.epilogue import whole

ONLY_WEIGHTS = {"output_mask": (False, True, False)}
WINDOW = {"stride": (2, 1), "padding": ((1, 2), (2, 0)), "dilation": (1, 2)}


def forward(draw):
    for padding_mode in PADDING_MODES:
        arrays = draw(2, 2, 4, 5), draw(2, 2, 3, 2), draw(2)
        yield Call("conv2d", arrays, {**WINDOW, "padding_mode": padding_mode})
    for epilogue in whole(draw, (2, 2, 3, 5)):
        yield Call("conv2d", arrays, {**WINDOW, "epilogue": epilogue})


def forward_in_vectors(draw):
    """As many output channels as fill one, two, three and four vectors of any type and width."""
    yield from forward(draw)
    for OC in (8, 16, 24, 32, 48, 64):
        yield Call("conv2d", (draw(2, 2, 4, 5), draw(OC, 2, 3, 2), draw(OC)), WINDOW)
        yield Call("conv2d", (draw(1, 2, 6, 5), draw(OC, 2, 3, 2), draw(OC)), {})
    arrays = draw(1, 2, 200, 3), draw(4, 2, 3, 2), draw(4)  # rows that fill no vector, enough to pack weights for
    yield Call("conv2d", arrays, {"padding": (1, 0)})
    for stride, OC in itertools.product((1, 2), (16, 32, 48)):  # weights whose channels trade places
        arrays = draw(1, 2, 6 - 2 * stride, 6 - 2 * stride), draw(2, OC, 2, 3)
        yield Call("conv_transpose2d", arrays, {"stride": stride})


#: Planes that fill few vectors of any type and width, and many.
ROWS = (3, 25, 120)


def forward_in_rows(draw):
    for padding_mode in PADDING_MODES:
        arrays = draw(2, 3, 4, 6), draw(3, 1, 3, 2), draw(3)
        yield Call("conv2d", arrays, {**WINDOW, "groups": 3, "padding_mode": padding_mode})
    for extent in (8, 16, 32, 64, 128):  # four and eight vectors of 2, 4, 8 and 16 lanes
        yield Call("conv1d", (draw(1, 4, extent), draw(1, 4, 9)), {"padding": 4})


#: Output channels, and vectors of outputs, in tiles of rows.
TILES = ((2, 4), (2, 8), (3, 3), (3, 6), (4, 3), (4, 5), (6, 2), (6, 4), (8, 3), (12, 2))


def forward_in_tiles(draw):
    """As many outputs as fill the vectors of each tile, at any number of lanes."""
    yield from forward_in_rows(draw)
    for channels, vectors in TILES:
        for lanes in (2, 4, 8, 16):
            arrays = draw(1, 6, vectors * lanes), draw(channels, 6, 3), draw(channels)
            yield Call("conv1d", arrays, {"padding": 1})
    for channels, extent in ((12, 64), (8, 24)):
        yield Call("conv1d", (draw(1, 6, extent), draw(channels, 6, 1)), {})


def forward_in_lines(draw):
    """Two vectors of a row at any width, the second one not whole, and a block of channels that is not."""
    for channels in (1, 2, 3, 4):  # of the tiles for few
        yield Call("conv2d", (draw(2, 2, 8, 28), draw(channels, 2, 5, 5)), {"padding": 2})
    for epilogue in whole(draw, (2, 31, 7, 28)):
        arrays = draw(2, 2, 7, 28), draw(31, 2, 3, 3), draw(31)
        yield Call("conv2d", arrays, {"padding": 1, "epilogue": epilogue})
    yield Call("conv2d", (draw(2, 3, 9, 60), draw(9, 3, 10, 9)), {"padding": 5, "stride": (1, 2)})


def forward_in_lanes(draw):
    """More groups than there are lanes, in one band and in several."""
    for input_shape in ((2, 19, 6, 7), (1, 17, 40, 40)):
        groups = {"groups": input_shape[1]}
        yield Call("conv2d", (draw(*input_shape), draw(input_shape[1], 1, 3, 2)), {**WINDOW, **groups})
    for epilogue in whole(draw, (2, 19, 5, 8)):
        arrays = draw(2, 19, 5, 8), draw(19, 1, 3, 3), draw(19)
        yield Call("conv2d", arrays, {"groups": 19, "padding": 1, "epilogue": epilogue})


def by_winograd(draw):
    """As many tiles and channels as it takes to pay, at any width: tiles of 4x4, 2x2, 1x4 and 4x1 outputs."""
    layers = (
        ((4, 32, 16, 16), (32, 32, 3, 3), 4, 1),
        ((4, 32, 16, 16), (32, 32, 3, 3), 4, 2),
        ((64, 64, 2, 2), (64, 64, 3, 3), 2, 1),
        ((4, 64, 8, 32), (64, 64, 1, 3), 4, 1),
        ((4, 64, 32, 8), (64, 64, 3, 1), 4, 1),
    )
    return of_tiles(draw, layers)


def by_winograd_of_many_channels(draw):
    """The same where products are summed point by point."""
    layers = (
        ((2, 112, 16, 16), (32, 112, 3, 3), 4, 1),
        ((32, 112, 2, 2), (64, 112, 3, 3), 2, 1),
        ((2, 112, 8, 32), (64, 112, 1, 3), 4, 1),
        ((2, 112, 32, 8), (64, 112, 3, 1), 4, 1),
    )
    return of_tiles(draw, layers)


def of_tiles(draw, layers):
    for input_shape, weight_shape, tile, dilation in layers:
        KH, KW = weight_shape[2:]
        arrays, defines = (draw(*input_shape), draw(*weight_shape)), {"KH": KH, "KW": KW, "TILE": tile}
        window = {"padding": (KH // 2 * dilation, KW // 2 * dilation), "dilation": dilation}
        yield Call("conv2d", arrays, window, accuracy="default", defines=defines)


def backward_data(draw):
    for padding_mode in PADDING_MODES:
        arrays = draw(2, 2, 3, 5), draw(2, 2, 3, 2), draw(2)
        yield Call("conv_transpose2d", arrays, {**WINDOW, "padding_mode": padding_mode})
    for epilogue in whole(draw, (2, 2, 4, 5)):
        yield Call("conv_transpose2d", arrays, {**WINDOW, "epilogue": epilogue})


def backward(draw):
    for padding_mode in PADDING_MODES:
        arrays = draw(2, 2, 3, 5), draw(2, 2, 4, 5), draw(2, 2, 3, 2), draw(2)
        yield Call("conv2d_backward", arrays, {**WINDOW, "padding_mode": padding_mode})


def backward_in_rows(draw):
    for padding_mode in PADDING_MODES:
        arrays = draw(2, 3, 3, 6), draw(2, 3, 4, 6), draw(3, 1, 3, 2), draw(3)
        yield Call("conv2d_backward", arrays, {**WINDOW, "groups": 3, "padding_mode": padding_mode})
    arrays = draw(1, 2, 9, 10), draw(1, 2, 9, 10), draw(2, 1, 3, 3), draw(2)
    yield Call("conv2d_backward", arrays, {"groups": 2, "padding": 1})
    for extent in ROWS:
        arrays = draw(1, 2, extent), draw(1, 2, extent), draw(2, 1, 3), draw(2)
        yield Call("conv1d_backward", arrays, {"groups": 2, "padding": 1})


def backward_in_lanes(draw):
    """More groups than there are lanes: with two output channels each, and in two strips of a row."""
    arrays = draw(2, 38, 8, 8), draw(2, 19, 6, 7), draw(38, 1, 3, 4), draw(38)
    yield Call("conv2d_backward", arrays, {"groups": 19, "padding": 2})
    arrays = draw(1, 31, 598), draw(1, 31, 600), draw(31, 1, 3), draw(31)
    yield Call("conv1d_backward", arrays, {"groups": 31})


def backward_in_channels(draw):
    """Windows whose rows are tiles of one column to four."""
    for padding_mode in PADDING_MODES:
        arrays = draw(2, 8, 3, 5), draw(2, 16, 4, 5), draw(8, 16, 3, 2)
        yield Call("conv2d_backward", arrays, {**WINDOW, "padding_mode": padding_mode, **ONLY_WEIGHTS})
    for OC, IC in ((12, 8), (12, 16), (8, 32), (6, 64)):
        arrays = draw(1, OC, 5), draw(1, IC, 5), draw(OC, IC, 3)
        yield Call("conv1d_backward", arrays, {"padding": 1, **ONLY_WEIGHTS})
        arrays = draw(1, OC, 5), draw(1, IC, 6), draw(OC, IC, 2)
        yield Call("conv1d_backward", arrays, ONLY_WEIGHTS)


def backward_of_one_tap(draw):
    """As many channels as take tiles of one column to four, and parts of them; strides, groups, and terms for parts."""
    for IC, OC, extent in ((16, 6, 5), (64, 16, 5), (96, 16, 5), (256, 4, 5), (19, 30, 9), (6, 64, 300)):
        arrays = draw(1, OC, extent), draw(1, IC, extent), draw(OC, IC, 1)
        yield Call("conv1d_backward", arrays, ONLY_WEIGHTS)
    arrays = draw(2, 40, 3, 5), draw(2, 36, 5, 9), draw(40, 18, 1, 1)
    yield Call("conv2d_backward", arrays, {"stride": 2, "groups": 2, **ONLY_WEIGHTS})


def backward_in_parts(draw):
    """Terms for two parts, and sums that fill a vector and part of one."""
    arrays = draw(1, 5, 2100), draw(1, 5, 2101), draw(5, 5, 2)
    yield Call("conv1d_backward", arrays, ONLY_WEIGHTS)


def weights_by_winograd(draw):
    """As many tiles and channels as it takes to pay, at any width."""
    arrays = draw(4, 24, 8, 8), draw(4, 32, 8, 8), draw(24, 32, 3, 3)
    for dilation in (1, 2):
        window = {"padding": dilation, "dilation": dilation}
        yield Call("conv2d_backward", arrays, {**window, **ONLY_WEIGHTS}, accuracy="default")


def forward_of_many_channels(draw):
    """A whole vector of channels and a part of one, in rows that are shorter and longer than a vector."""
    for padding_mode in PADDING_MODES:
        for extent in ((3, 5), (3, 37)):
            arrays = draw(8, 20, *extent), draw(16, 20, 3, 2)
            yield Call("conv2d", arrays, {"stride": (1, 2), "padding": ((2, 1), (1, 0)), "padding_mode": padding_mode})


CALLS = {
    "pack_weights": forward_in_vectors,
    "conv_direct": forward_in_vectors,
    "copy_input": forward_in_tiles,
    "copy_channels_last": forward_of_many_channels,
    "conv_rows": forward_in_tiles,
    "conv_lines": forward_in_lines,
    "conv_depthwise": forward_in_lanes,
    "transform_weights": by_winograd,
    "transform_data": by_winograd,
    "multiply_points": by_winograd_of_many_channels,
    "multiply_tiles": by_winograd,
    "conv_depthwise_weights": backward_in_lanes,
    "transform_gradient": weights_by_winograd,
    "multiply_transformed": weights_by_winograd,
    "conv_rows_weights": backward_in_rows,
    "conv_pointwise_weights": backward_of_one_tap,
    "pack_channels": backward_in_channels,
    "conv_weights": backward_in_channels,
    "conv_fwd": forward,
    "conv_bwd_data": backward_data,
    "conv_bwd_weights": backward,
    "channel_sums": backward,
    "sum_parts": backward,
    "sum_runs_of_parts": backward_in_parts,
}


def layers(dtype):
    """Yield sizes on both sides of where sums are cut, every rank, groups or none."""
    for batch in (1, 64):
        for rank in (1, 2, 3):
            for extent, kernel in ((5, 1), (12, 3)):
                for groups in (1, 4):
                    shapes = (batch, 4, *[extent] * rank), (8, 4 // groups, *[kernel] * rank)
                    yield ConvProblem.from_shapes(*shapes, bias=True, groups=groups, dtype=dtype)


PROBLEMS = dict.fromkeys(("conv_fwd", "conv_bwd_data", "conv_bwd_weights", "conv_bwd_bias"), layers)
