"""Calls that launch the kernels of deformable convolution."""

from __future__ import annotations

from clconv.algorithms import deform
from clconv.problem import DeformProblem
from tests.kernel_calls.call import Call

LAYER = {"stride": (2, 1), "padding": ((1, 2), (2, 0)), "dilation": (1, 2)}


def arrays(draw):
    """Return input, offset (whole and half pixels), weight, bias and mask of a layer with two groups of each."""
    return draw(2, 4, 5, 6), draw(2, 2 * 2 * 6, 3, 6) / 2, draw(2, 2, 3, 2), draw(2), draw(2, 2 * 6, 3, 6)


def forward(draw):
    x, offset, w, b, mask = arrays(draw)
    yield Call("deform_conv2d", (x, offset, w, b), {**LAYER, "mask": mask})
    yield Call("deform_conv2d", (x, offset, w), LAYER)


def backward(draw):
    x, offset, w, b, mask = arrays(draw)
    gradient = draw(2, 2, 3, 6)
    yield Call("deform_conv2d_backward", (gradient, x, offset, w, b), {**LAYER, "mask": mask})
    for wanted in ((True, False, False, False, False), (False, True, False, True, False)):
        yield Call("deform_conv2d_backward", (gradient, x, offset, w), {**LAYER, "output_mask": wanted})


CALLS = {"deform_columns": forward, "deform_bwd_offset": backward, "deform_bwd_data": backward}


def layers(dtype):
    for mask in (False, True):
        shapes = (2, 4, 5, 6), (2, 24, 3, 6), (2, 2, 3, 2)
        arguments = tuple(LAYER.values())
        yield DeformProblem.from_shapes(*shapes, *arguments, bias=True, mask=mask, dtype=dtype)


PROBLEMS = dict.fromkeys(deform.ALGORITHMS, layers)
