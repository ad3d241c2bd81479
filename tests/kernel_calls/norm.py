"""Calls that launch the kernels of normalisation."""

from __future__ import annotations

import itertools

from clconv.problem import NormProblem, ResponseProblem
from tests.kernel_calls.call import Call

SHAPE = (2, 4, 3, 5)


def positive(array):
    """Make variances of drawn integers."""
    return abs(array) + 1


def training(draw):
    running = draw(4), positive(draw(4))
    for parameters in ((), (draw(4),), (draw(4), draw(4))):
        yield Call("batch_norm", (draw(*SHAPE), *running, *parameters), {"training": True}, exact=False)
    yield Call("instance_norm", (draw(*SHAPE), *running), {"momentum": 0.5}, exact=False)


def evaluation(draw):
    yield Call("batch_norm", (draw(*SHAPE), draw(4), positive(draw(4)), draw(4), draw(4)), {}, exact=False)


def last_axes(draw):
    yield Call("layer_norm", (draw(3, 4, 5), (4, 5), draw(4, 5), draw(4, 5)), {}, exact=False)
    yield Call("rms_norm", (draw(3, 4, 5), (5,), draw(5)), {}, exact=False)


def side_by_side(draw):
    """Channels without pixels, more than a work-item takes, and channels that come last."""
    running = draw(70), positive(draw(70))
    yield Call("batch_norm", (draw(5, 70), *running, draw(70), draw(70)), {"training": True}, exact=False)
    yield Call("batch_norm", (channels_last(draw), draw(4), positive(draw(4))), {}, exact=False)


def gradients_side_by_side(draw):
    weights = draw(70), draw(70)
    arguments = (draw(300, 70), draw(300, 70), None, None, *weights)
    yield Call("batch_norm_backward", arguments, {"training": True}, exact=False)
    running = draw(4), positive(draw(4))
    yield Call("batch_norm_backward", (channels_last(draw), channels_last(draw), *running, draw(4)), {}, exact=False)


def channels_last(draw):
    return draw(2, 3, 5, 4).transpose(0, 3, 1, 2)


def forward(draw):
    yield from training(draw)
    yield from evaluation(draw)
    yield Call("group_norm", (draw(*SHAPE), 2, draw(4), draw(4)), {}, exact=False)
    yield from last_axes(draw)


def backward(draw):
    running = draw(4), positive(draw(4))
    arrays = draw(*SHAPE), draw(*SHAPE)
    for is_training in (True, False):
        arguments = (*arrays, *running, draw(4), draw(4))
        yield Call("batch_norm_backward", arguments, {"training": is_training}, exact=False)
    yield Call("group_norm_backward", (*arrays, 2, draw(4), draw(4)), {}, exact=False)
    for mask in ((True, True, True), (False, True, False), (False, False, True)):
        arguments = (draw(3, 4, 5), draw(3, 4, 5), (4, 5), draw(4, 5), draw(4, 5))
        yield Call("layer_norm_backward", arguments, {"output_mask": mask}, exact=False)
    yield Call("rms_norm_backward", (draw(3, 4, 5), draw(3, 4, 5), (5,), draw(5)), {}, exact=False)


def many_rows(draw):
    arguments = (draw(40, 6), draw(40, 6), (6,), draw(6), draw(6))
    yield Call("layer_norm_backward", arguments, {}, exact=False)


def response(draw):
    for size, beta in ((2, 0.75), (3, 0.5), (5, 1.0), (9, 1.25)):
        yield Call("local_response_norm", (draw(*SHAPE), size), {"alpha": 1.0, "beta": beta}, exact=False)


def response_backward(draw):
    for size, beta in ((2, 0.75), (3, 0.5), (5, 1.0), (9, 1.25)):
        arguments = (draw(*SHAPE), draw(*SHAPE), size)
        yield Call("local_response_norm_backward", arguments, {"alpha": 1.0, "beta": beta}, exact=False)


CALLS = {
    "norm_rows": forward,
    "norm_moments": training,
    "norm_statistics": training,
    "norm_given": evaluation,
    "norm_apply": forward,
    "norm_running": training,
    "norm_bwd_rows": backward,
    "norm_bwd_sums": backward,
    "norm_bwd_means": backward,
    "norm_bwd_input": backward,
    "norm_bwd_channels": backward,
    "norm_bwd_elements": backward,
    "norm_bwd_parts": backward,
    "norm_bwd_row_slices": many_rows,
    "columns_moments": side_by_side,
    "columns_apply": side_by_side,
    "columns_sums": gradients_side_by_side,
    "columns_input": gradients_side_by_side,
    "response_norm": response,
    "response_slopes": response_backward,
    "response_norm_bwd": response_backward,
}


def row_problems(dtype):
    """Return problems of few rows and many, short and long, of every kind of weights, forward and backward."""
    kinds = itertools.product(
        ((1, 1), (2, 40)), ((1, 1, 1, 9), (4, 1, 1, 9000)), (0, 1), (False, True), ((False,) * 3, (True,) * 3)
    )
    return [
        NormProblem(
            rows,
            elements,
            planes,
            False,
            True,
            True,
            True,
            given,
            1e-5,
            None if any(gradients) else 0.1,
            gradients,
            dtype,
        )
        for rows, elements, planes, given, gradients in kinds
    ]


def response_problems(dtype):
    """Return problems of every kind of exponent."""
    return [ResponseProblem.from_shape((2, 3, 4), 3, 1.0, beta, 1.0, dtype) for beta in (0.5, 0.75, 0.6, 1.0, 2.0)]


#: Operations to functions that return problems of theirs, of a type.
PROBLEMS = {
    "norm": row_problems,
    "norm_bwd": row_problems,
    "response_norm": response_problems,
    "response_norm_bwd": response_problems,
}
