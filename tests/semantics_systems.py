"""The names that the calls on docs/semantics.md are made of, one set for each system."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["SYSTEMS", "installed", "shown"]

Names = dict[str, Any]


def torch_names(arrays: Names) -> Names:
    import torch

    tensors = {name: torch.tensor(array) for name, array in arrays.items()}
    return {**tensors, "torch": torch, "F": torch.nn.functional}


def jax_names(arrays: Names) -> Names:
    import jax
    import jax.image
    import jax.numpy as jnp

    converted = {name: jnp.asarray(array, dtype="float32") for name, array in arrays.items()}
    return {**converted, "jax": jax, "jnp": jnp, "lax": jax.lax}


def tinygrad_names(arrays: Names) -> Names:
    from tinygrad import Tensor

    return {name: Tensor(array.astype("float32")) for name, array in arrays.items()}


def scipy_names(arrays: Names) -> Names:
    import scipy.ndimage
    import scipy.signal

    return {**arrays, "scipy": scipy, "np": np}


def openvino_names(arrays: Names) -> Names:
    from openvino import Core, Model
    from openvino import opset14 as operators

    core = Core()

    def named(name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **attributes: Any) -> Any:
            data = [a for a in arguments if isinstance(a, np.ndarray) and a.ndim > 1]
            parameters = [operators.parameter(a.shape, a.dtype) for a in data]
            inputs = iter(parameters)
            given = [next(inputs) if isinstance(a, np.ndarray) and a.ndim > 1 else a for a in arguments]
            model = Model(getattr(operators, name)(*given, **attributes).outputs(), parameters)
            compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
            results = list(compiled(data).values())
            return results[0] if len(results) == 1 else results

        return call

    names = ("max_pool", "avg_pool", "convolution", "convolution_backprop_data", "lrn")
    return {"np": np, **{n: a.astype("float32") for n, a in arrays.items()}, **{name: named(name) for name in names}}


def onnx_names(arrays: Names, run: Callable[[Any, Names], Any]) -> Names:
    from onnx import helper

    def named(operator: str) -> Callable[..., Any]:
        def call(*inputs: Any, opset: int = 22, outputs: int = 1, **attributes: Any) -> Any:
            names = ["" if a is None else f"x{place}" for place, a in enumerate(inputs)]
            data = {name: array for name, array in zip(names, inputs, strict=True) if name}
            results = [f"y{place}" for place in range(outputs)]
            graph = helper.make_graph(
                [helper.make_node(operator, names, results, **attributes)],
                operator,
                [
                    helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
                    for name, a in data.items()
                ],
                [helper.make_empty_tensor_value_info(name) for name in results],
            )
            found = run(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10), data)
            return found[0] if outputs == 1 else found

        return call

    def resize(x: Any, scales: float | None = None, sizes: Any = None, **attributes: Any) -> Any:
        """Call Resize, with what it takes for all axes given for the last ones."""
        if sizes is None:
            factors = np.array([1] * (x.ndim - 1) + [scales], dtype="float32")
            return named("Resize")(x, None, factors, **attributes)
        extents = np.array([*x.shape[: x.ndim - np.size(sizes)], *np.atleast_1d(sizes)], dtype="int64")
        return named("Resize")(x, None, None, extents, **attributes)

    operators = ("AveragePool", "BatchNormalization", "Conv", "ConvTranspose", "LRN", "MaxPool")
    converted = {name: array.astype("float32") for name, array in arrays.items()}
    return {**converted, "Resize": resize, **{operator: named(operator) for operator in operators}}


def onnxruntime_names(arrays: Names) -> Names:
    import onnxruntime

    def run(model: Any, data: Names) -> Any:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # that a model is refused, the exception says
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return session.run(None, data)

    return onnx_names(arrays, run)


def evaluator_names(arrays: Names) -> Names:
    from onnx.reference import ReferenceEvaluator

    return onnx_names(arrays, lambda model, data: ReferenceEvaluator(model).run(None, data))


SYSTEMS: dict[str, tuple[str, Callable[[Names], Names]]] = {
    "torch": ("torch", torch_names),
    "onnxruntime": ("onnxruntime", onnxruntime_names),
    "onnx": ("onnx", evaluator_names),
    "OpenVINO": ("openvino", openvino_names),
    "JAX": ("jax", jax_names),
    "tinygrad": ("tinygrad", tinygrad_names),
    "SciPy": ("scipy", scipy_names),
    "NumPy": ("numpy", scipy_names),
}


def installed(system: str) -> str | None:
    """Return the installed version of a system, None if there is none."""
    try:
        return importlib.metadata.version(SYSTEMS[system][0]).partition("+")[0]
    except importlib.metadata.PackageNotFoundError:
        return None


def shown(result: Any) -> str:
    """Write a result as the page does: all its numbers, or a shape."""
    if isinstance(result, tuple) and all(isinstance(entry, int) for entry in result):
        return str(tuple(result))
    arrays = result if isinstance(result, (tuple, list)) else [result]
    numbers = (float(value) for array in arrays for value in as_numpy(array).ravel())
    return " ".join("NaN" if np.isnan(value) else f"{value:.6g}" for value in numbers)


def as_numpy(array: Any) -> Any:
    return np.asarray(array.numpy() if hasattr(array, "numpy") else array, dtype=float)
