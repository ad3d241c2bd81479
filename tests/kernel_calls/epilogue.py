"""Calls that launch kernels with an epilogue, and the kernel of its gradients."""

from __future__ import annotations

from clconv import Epilogue
from clconv.problem.epilogue import EpilogueBackwardProblem, EpilogueProblem
from tests.kernel_calls.call import Call


def parts(draw, shape, **settings):
    """Draw all arrays of an epilogue for an output of this shape."""
    return Epilogue(draw(shape[1]), draw(shape[1]), draw(*shape), **settings)


def whole(draw, shape):
    """Yield an epilogue of everything, and activations alone, that are exact on integers."""
    yield parts(draw, shape, activation="relu")
    yield Epilogue(activation="leaky_relu", negative_slope=-2)


def backward(draw):
    for shape in ((2, 3, 70), (3, 20), (2, 2, 3, 5)):
        for epilogue in whole(draw, shape):
            yield Call("epilogue_backward", (draw(*shape), draw(*shape), epilogue), {})
    for activation in ("sigmoid", "tanh", "silu", "gelu", "gelu_tanh", "hardswish"):
        arrays = draw(2, 3, 20), draw(2, 3, 20)
        yield Call("epilogue_backward", (*arrays, parts(draw, (2, 3, 20), activation=activation)), {}, exact=False)


CALLS = {"epilogue_backward": backward}


def _problems(dtype):
    """Yield channels and positions on both sides of where shares are cut, side by side or not."""
    every = EpilogueProblem(True, True, True, "relu")
    for channels in (0, 1, 7, 3000):
        for extents in ((1, 1, 1, 0), (1, 1, 1, 1), (1, 1, 8, 49), (1, 1, 8, 50_000)):
            for across in (False, True):
                yield EpilogueBackwardProblem(every, False, (True,) * 4, channels, extents, across, dtype)


PROBLEMS = {"epilogue_backward": _problems}
