"""Calls that launch the kernels of unfold and fold."""

from __future__ import annotations

from clconv.problem import WindowProblem
from clconv.problem.window import PADDING_MODES
from tests.kernel_calls.call import Call
from tests.kernel_calls.conv import WINDOW


def unfold(draw):
    for padding_mode in PADDING_MODES:
        yield Call("unfold", (draw(2, 2, 4, 5), (3, 2)), {**WINDOW, "padding_mode": padding_mode})


def fold(draw):
    for padding_mode in PADDING_MODES:
        yield Call("fold", (draw(2, 2 * 6, 3 * 5), (4, 5), (3, 2)), {**WINDOW, "padding_mode": padding_mode})


CALLS = {"unfold": unfold, "fold": fold}


def windows(dtype):
    yield WindowProblem.for_unfold((2, 4, 9, 9), (3, 3), 1, 0, 1, padding_mode="zeros", dtype=dtype)


PROBLEMS = {"unfold": windows, "fold": windows}
