"""Calls that launch the kernels of activations, softmax, losses, linear and dropout."""

from __future__ import annotations

import numpy as np

from clconv.problem.cross_entropy import REDUCTIONS, CrossEntropyProblem
from clconv.problem.elementwise import ACTIVATIONS, ActivationProblem, DropoutProblem
from clconv.problem.softmax import SoftmaxProblem
from tests.kernel_calls.call import Call

FUNCTIONS = ("relu", "leaky_relu", "sigmoid", "tanh", "silu", "hardswish")


def activation_of(operation, *arrays):
    for function in FUNCTIONS:
        yield Call(f"{function}{operation}", arrays, {}, exact=False)
    for approximate in ("none", "tanh"):
        yield Call(f"gelu{operation}", arrays, {"approximate": approximate}, exact=False)


def activation(draw):
    yield from activation_of("", draw(3, 4, 50)[..., ::-2])


def activation_flat(draw):
    yield from activation_of("", draw(3, 50))


def activation_backward(draw):
    yield from activation_of("_backward", draw(3, 4, 25), draw(3, 4, 50)[..., ::-2])


def activation_backward_flat(draw):
    yield from activation_of("_backward", draw(3, 50), draw(3, 50))


def softmax(draw):
    for name in ("softmax", "log_softmax"):
        yield Call(name, (draw(2, 5, 70),), {"dim": 1}, exact=False)
        yield Call(name, (draw(3, 4, 5)[..., ::-1],), {"dim": 0}, exact=False)


def softmax_rows(draw):
    for name in ("softmax", "log_softmax"):
        yield Call(name, (draw(3, 37),), {"dim": -1}, exact=False)


def softmax_backward(draw):
    for name in ("softmax_backward", "log_softmax_backward"):
        yield Call(name, (draw(2, 5, 70), draw(2, 5, 70)), {"dim": 1}, exact=False)
        yield Call(name, (draw(3, 4, 5), draw(3, 4, 5)[..., ::-1]), {"dim": 0}, exact=False)


def softmax_backward_rows(draw):
    for name in ("softmax_backward", "log_softmax_backward"):
        yield Call(name, (draw(3, 37), draw(3, 37)), {"dim": -1}, exact=False)


def losses(operation, draw, *incoming):
    classes = np.array([[0, 2, -100], [1, 1, 0]])
    weight = np.abs(draw(3)) + 1
    for reduction in ("none",) if incoming else REDUCTIONS:
        arguments = {"reduction": reduction, "label_smoothing": 0.25}
        yield Call(operation, (*incoming, draw(2, 3, 3), classes, weight), arguments, exact=False)
        yield Call(operation, (*incoming, draw(2, 3, 3), np.abs(draw(2, 3, 3))), arguments, exact=False)


def cross_entropy(draw):
    yield from losses("cross_entropy", draw)


def cross_entropy_backward(draw):
    yield from losses("cross_entropy_backward", draw, draw(2, 3))


def cross_entropy_norms(draw):
    classes = np.array([0, 2, -100, 1])
    arguments = draw(1)[:1].reshape(()), draw(4, 3), classes, np.abs(draw(3)) + 1
    yield Call("cross_entropy_backward", arguments, {}, exact=False)


def dropout(draw):
    for keywords in ({"p": 0.5}, {"p": 0.25, "offset": 3}, {"p": 1.0}, {"training": False}):
        yield Call("dropout", (draw(3, 4, 50)[..., ::-1],), {"seed": 2**63 + 5, **keywords}, exact=False)


def activation_problems(dtype):
    for function in ACTIVATIONS:
        for extents in ((1, 1, 1, 1, 70), (2, 3, 2, 1, 2, 3, 70)):
            for dense in (False, True):
                yield ActivationProblem(function, 0.5, extents, dense, dtype)


def softmax_problems(dtype):
    for is_log in (False, True):
        for in_rows in (False, True):
            yield SoftmaxProblem(is_log, (1, 5, 2, 3, 70), in_rows, dtype)


def cross_entropy_problems(dtype):
    for reduction in REDUCTIONS:
        for has_classes in (False, True):
            yield CrossEntropyProblem((1, 5, 2, 3, 700), reduction, has_classes, True, -100, 0.1, True, True, dtype)


def dropout_problems(dtype):
    yield DropoutProblem(2**31, 2.0, 1, 0, (1, 1, 1, 1, 70), (0, 0, 0, 0, 1), dtype)


PROBLEMS = {
    "activation": activation_problems,
    "activation_backward": activation_problems,
    "softmax": softmax_problems,
    "softmax_backward": softmax_problems,
    "cross_entropy": cross_entropy_problems,
    "cross_entropy_backward": cross_entropy_problems,
    "dropout": dropout_problems,
}

CALLS = {
    "activation": activation,
    "activation_flat": activation_flat,
    "activation_backward": activation_backward,
    "activation_backward_flat": activation_backward_flat,
    "cross_entropy": cross_entropy,
    "cross_entropy_each": cross_entropy,
    "cross_entropy_parts": cross_entropy,
    "cross_entropy_total": cross_entropy,
    "cross_entropy_norms": cross_entropy_norms,
    "cross_entropy_backward": cross_entropy_backward,
    "dropout": dropout,
    "softmax": softmax,
    "softmax_rows": softmax_rows,
    "softmax_backward": softmax_backward,
    "softmax_backward_rows": softmax_backward_rows,
}
