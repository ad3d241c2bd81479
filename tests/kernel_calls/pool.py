"""Calls that launch the kernels of pooling."""

from __future__ import annotations

import numpy as np

from tests.kernel_calls.call import Call

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
    "max_pool_rows_bwd": max_bwd,
    "max_pool_winners": max_bwd,
    "max_pool_bwd": max_bwd,
    "max_pool_parts": max_bwd_ties,
    "max_pool_bwd_ties": max_bwd_ties,
    "avg_pool_fwd": avg_fwd,
    "avg_pool_rows": avg_fwd,
    "avg_pool_rows_bwd": avg_bwd,
    "avg_pool_bwd": avg_bwd,
    "lp_pool_fwd": lp_fwd,
    "lp_pool_norms": lp_bwd,
    "lp_pool_bwd": lp_bwd,
    "max_unpool_fwd": unpool_fwd,
    "max_unpool_bwd": unpool_bwd,
}
