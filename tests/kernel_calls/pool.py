"""Calls that launch the kernels of pooling."""

from __future__ import annotations

import numpy as np

from clconv.problem import AvgPoolProblem, LpPoolProblem, MaxPoolProblem, UnpoolProblem
from tests.kernel_calls.call import Call
from tests.kernel_calls.epilogue import whole

SLIDING = {"stride": (2, 1), "padding": ((1, 0), (1, 2)), "ceil_mode": True}
DILATED = {**SLIDING, "dilation": (1, 2)}
OUTPUT = (2, 2, 3, 6)  # of windows of 3x2 over 5x5


def max_fwd(draw):
    for return_indices in (False, True):
        yield Call("max_pool2d", (draw(2, 2, 5, 5), (3, 2)), {**DILATED, "return_indices": return_indices})
    yield Call("adaptive_max_pool2d", (draw(2, 2, 5, 7), (3, 9), True), {})
    yield Call("lp_pool2d", (draw(2, 2, 5, 7), np.inf, 2), {})


def max_bwd(draw):
    yield Call("max_pool2d_backward", (draw(*OUTPUT), draw(2, 2, 5, 5), (3, 2)), DILATED)
    yield Call("max_pool2d_backward", (draw(2, 2, 2, 20), draw(2, 2, 5, 40), 2), {})
    yield Call("adaptive_max_pool2d_backward", (draw(2, 2, 3, 9), draw(2, 2, 5, 7), (3, 9)), {})
    yield Call("lp_pool2d_backward", (draw(2, 2, 2, 3), draw(2, 2, 5, 7), np.inf, 2), {})


def max_bwd_ties(draw):
    for ties in ("all", "share"):
        arguments = {**DILATED, "ties": ties}
        yield Call("max_pool2d_backward", (draw(*OUTPUT), draw(2, 2, 5, 5), (3, 2)), arguments, exact=ties == "all")


def avg_fwd(draw):
    for count_include_pad in (False, True):
        arguments = {**SLIDING, "count_include_pad": count_include_pad}
        yield Call("avg_pool2d", (draw(2, 2, 5, 5), (3, 2)), arguments, exact=False)
    yield Call("avg_pool2d", (draw(2, 2, 5, 5), (3, 2)), {**SLIDING, "divisor_override": -4})
    for epilogue in whole(draw, OUTPUT):
        yield Call("avg_pool2d", (draw(2, 2, 5, 5), (3, 2)), {**SLIDING, "divisor_override": 4, "epilogue": epilogue})
    yield Call("adaptive_avg_pool2d", (draw(2, 2, 5, 7), (3, 9)), {}, exact=False)


def avg_bwd(draw):
    arrays = draw(*OUTPUT), draw(2, 2, 5, 5)
    for count_include_pad in (False, True):
        arguments = {**SLIDING, "count_include_pad": count_include_pad}
        yield Call("avg_pool2d_backward", (*arrays, (3, 2)), arguments, exact=False)
    yield Call("avg_pool2d_backward", (*arrays, (3, 2)), {**SLIDING, "divisor_override": -4})
    yield Call("adaptive_avg_pool2d_backward", (draw(2, 2, 3, 9), draw(2, 2, 5, 7), (3, 9)), {}, exact=False)


def lp_fwd(draw):
    for order in (1, 2, 3.5):
        yield Call("lp_pool2d", (draw(2, 2, 5, 5), order, (3, 2)), {"ceil_mode": True}, exact=False)


def lp_bwd(draw):
    for order in (1, 2, 3.5):
        arrays = draw(2, 2, 2, 3), draw(2, 2, 5, 5)
        yield Call("lp_pool2d_backward", (*arrays, order, (3, 2)), {"ceil_mode": True}, exact=False)


def indices():
    planes = [np.random.default_rng(5).permutation(5 * 6)[:6].reshape(2, 3) for _ in range(4)]
    return np.array(planes).reshape(2, 2, 2, 3)


def unpool_fwd(draw):
    yield Call("max_unpool2d", (draw(2, 2, 2, 3), indices(), 2), {"output_size": (5, 6)})


def unpool_bwd(draw):
    arrays = draw(2, 2, 5, 6), draw(2, 2, 2, 3)
    yield Call("max_unpool2d_backward", (*arrays, indices(), 2), {"output_size": (5, 6)})


CALLS = {
    "max_pool_fwd": max_fwd,
    "max_pool_rows": max_fwd,
    "max_pool_rows_placed": max_fwd,
    "max_pool_rows_winners": max_bwd,
    "max_pool_rows_gather": max_bwd,
    "max_pool_rows_bwd": max_bwd,
    "max_pool_winners": max_bwd,
    "max_pool_bwd": max_bwd,
    "max_pool_parts": max_bwd_ties,
    "max_pool_bwd_ties": max_bwd_ties,
    "avg_pool_fwd": avg_fwd,
    "avg_pool_rows": avg_fwd,
    "avg_pool_rows_bwd": avg_bwd,
    "avg_pool_bwd": avg_bwd,
    "lp_pool_rows": lp_fwd,
    "lp_pool_rows_norms": lp_bwd,
    "lp_pool_rows_bwd": lp_bwd,
    "lp_pool_fwd": lp_fwd,
    "lp_pool_norms": lp_bwd,
    "lp_pool_bwd": lp_bwd,
    "max_unpool_fwd": unpool_fwd,
    "max_unpool_bwd": unpool_bwd,
}


def _sliding(kind, **rule):
    """Return a function that yields pools of every rank and of two sizes, whose windows meet, overlap or leave gaps."""

    def problems(dtype):
        for rank in (1, 2, 3):
            for extent in (5, 40):
                for kernel, stride, dilation in ((2, 2, 1), (3, 1, 1), (2, 3, 2)):
                    shape = (2, 3, *[extent] * rank)
                    yield kind.sliding(rank, shape, kernel, stride, 0, dilation, dtype=dtype, **rule)
            yield kind.sharing(rank, (2, 3, *[40] * rank), 7, dtype=dtype, **rule)

    return problems


def _unpools(dtype):
    for rank in (1, 2, 3):
        yield UnpoolProblem.from_shape(rank, (2, 3, *[4] * rank), 2, None, 0, None, dtype=dtype)


PROBLEMS = {
    **dict.fromkeys(("max_pool_fwd", "max_pool_bwd"), _sliding(MaxPoolProblem)),
    **dict.fromkeys(("avg_pool_fwd", "avg_pool_bwd"), _sliding(AvgPoolProblem)),
    **dict.fromkeys(("lp_pool_fwd", "lp_pool_bwd"), _sliding(LpPoolProblem, norm_type=3.0)),
    **dict.fromkeys(("max_unpool_fwd", "max_unpool_bwd"), _unpools),
}
