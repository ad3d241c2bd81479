"""Calls that launch the kernels of activations, softmax, losses, linear and dropout."""

from __future__ import annotations

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


CALLS = {
    "activation": activation,
    "activation_flat": activation_flat,
    "activation_backward": activation_backward,
    "activation_backward_flat": activation_backward_flat,
}
