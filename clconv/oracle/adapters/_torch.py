"""torch.nn.functional, and its gradients by autograd: "torch:conv2d", "torch:conv2d_backward"."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clconv.oracle.operations import OPERATIONS
from clconv.oracle.operations._base import Operation

from ._loaded import Library
from ._offer import Offer

__all__ = ["LIBRARIES", "offers"]

Array = NDArray[Any]

torch = Library("torch")
LIBRARIES = (torch,)
DTYPES = ("float16", "bfloat16", "float32", "float64")


def offers() -> Mapping[str, Offer]:
    """Return every operation that the checker knows: they all are torch's, but for ONNX's global poolings."""
    return {
        name: Offer(
            partial(_backward if name.endswith("_backward") else _forward, operation), operation.settings, dtypes=DTYPES
        )
        for name, operation in OPERATIONS.items()
        if not name.startswith("global_")
    }


def _forward(operation: Operation, **arguments: Any) -> Any:
    tensors = {name: _tensor(value) for name, value in arguments.items()}
    with torch.no_grad():
        return _arrays(_called(operation.name, operation.required, tensors))


def _backward(operation: Operation, *, grad_output: Array, **arguments: Any) -> tuple[Array | None, ...]:
    # Statistics are copied: the forward pass, which is only means here, would update them.
    tensors = {
        name: _tensor(value).requires_grad_() if name in operation.results and value is not None else _copied(value)
        for name, value in arguments.items()
    }
    output = _called(operation.name.removesuffix("_backward"), operation.required[1:], tensors)
    output = output[0] if isinstance(output, tuple) else output
    wanted = [name for name in operation.results if tensors.get(name) is not None]
    gradients = torch.autograd.grad(output, [tensors[name] for name in wanted], _tensor(grad_output))
    found = dict(zip(wanted, gradients, strict=True))
    return tuple(_arrays(found[name]) if name in found else None for name in operation.results)


def _called(name: str, required: tuple[str, ...], tensors: Mapping[str, Any]) -> Any:
    function = getattr(torch.nn.functional, name)
    others = {key: value for key, value in tensors.items() if key not in required}
    return function(*(tensors[key] for key in required), **others)


def _tensor(value: Any) -> Any:
    """Turn an array into a tensor in the same memory, as far as torch can have it; leave the rest as it is."""
    if not isinstance(value, np.ndarray):
        return value
    if not value.flags.writeable or any(stride < 0 for stride in value.strides):
        value = value.copy()
    if value.dtype.name == "bfloat16":
        return torch.from_numpy(value.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(value)


def _copied(value: Any) -> Any:
    return _tensor(value.copy() if isinstance(value, np.ndarray) else value)


def _arrays(returned: Any) -> Any:
    """Turn what a function returned into arrays."""
    if isinstance(returned, (tuple, list)):
        return tuple(_arrays(tensor) for tensor in returned)
    plain = returned.detach()
    if plain.dtype == torch.bfloat16:
        return plain.view(torch.int16).numpy().view(sys.modules["ml_dtypes"].bfloat16)
    return plain.numpy()
