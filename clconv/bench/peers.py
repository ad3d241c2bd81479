"""Whom clconv is measured beside: PyTorch in all passes, ONNX Runtime forward; each is imported only when asked for."""

from __future__ import annotations

import functools
import importlib.util
from typing import Any, Protocol

from clconv.bench.calls import Array, Arrays, Call
from clconv.bench.layers import Case

__all__ = ["PEERS", "OnnxRuntime", "Peer", "Torch", "is_installed"]


class Peer(Protocol):
    """Somebody else who computes convolutions."""

    name: str
    version: str

    def call(self, case: Case, arrays: Arrays) -> Call | None:
        """Return the call that computes a case, or None if there is none."""


class Torch:
    """PyTorch: ``torch.nn.functional`` forward, and the operator below its autograd for each gradient alone."""

    name = "torch"

    def __init__(self, threads: int, planned: bool = False) -> None:
        import torch

        torch.set_num_threads(threads)
        self._torch = torch
        self.version = str(torch.__version__)

    def call(self, case: Case, arrays: Arrays) -> Call:
        """Return the call; its tensors share the arrays' memory."""
        torch, layer = self._torch, case.layer
        x, w, dy = map(torch.from_numpy, arrays)
        if case.direction == "fwd":
            function = getattr(torch.nn.functional, layer.operation)
            return Call(functools.partial(function, x, w, **layer.arguments), lambda result: result.numpy())
        wanted = ("bwd_data", "bwd_weights").index(case.direction)
        mask = [place == wanted for place in range(3)]
        no_output_padding = [0] * len(layer.window)
        call = functools.partial(
            torch.ops.aten.convolution_backward,
            *(dy, x, w, None, layer.stride, layer.padding, layer.dilation),
            *(layer.transposed, no_output_padding, layer.groups, mask),
        )
        return Call(call, lambda gradients: gradients[wanted].numpy())

    def exact(self, case: Case, arrays: Arrays) -> Array:
        """Return the result in float64."""
        call = self.call(case._replace(dtype="float64"), Arrays(*(array.astype("float64") for array in arrays)))
        return call.result(call.run())


class OnnxRuntime:
    """ONNX Runtime: a model of one node, forward only. The weight is an input of it, or, if planned, a constant."""

    name = "onnxruntime"

    def __init__(self, threads: int, planned: bool = False) -> None:
        import onnx.numpy_helper
        import onnxruntime

        self._onnx, self._runtime, self._planned = onnx, onnxruntime, planned
        self.version = str(onnxruntime.__version__)
        self._options = onnxruntime.SessionOptions()
        self._options.intra_op_num_threads = threads
        # Its threads would else spin on after a call, and take processors from whoever is timed next.
        self._options.add_session_config_entry("session.force_spinning_stop", "1")

    def call(self, case: Case, arrays: Arrays) -> Call | None:
        """Return the call that runs a session; None for gradients, and for types that it does not compute in."""
        if case.direction != "fwd":
            return None
        try:
            session = self._runtime.InferenceSession(
                self._model(case, arrays), self._options, providers=["CPUExecutionProvider"]
            )
        except self._runtime.capi.onnxruntime_pybind11_state.NotImplemented:
            return None
        feeds = {"x": arrays.x} if self._planned else {"x": arrays.x, "w": arrays.w}
        return Call(lambda: session.run(None, feeds), lambda results: results[0])

    def _model(self, case: Case, arrays: Arrays) -> bytes:
        helper, layer = self._onnx.helper, case.layer
        element = helper.np_dtype_to_tensor_dtype(arrays.x.dtype)
        node = helper.make_node(
            "ConvTranspose" if layer.transposed else "Conv",
            ["x", "w"],
            ["y"],
            strides=layer.stride,
            pads=[*layer.padding, *layer.padding],
            dilations=layer.dilation,
            group=layer.groups,
        )
        values = {"x": arrays.x, "w": arrays.w, "y": arrays.dy}
        x, w, y = (helper.make_tensor_value_info(name, element, value.shape) for name, value in values.items())
        if self._planned:
            graph = helper.make_graph([node], "layer", [x], [y], [self._onnx.numpy_helper.from_array(arrays.w, "w")])
        else:
            graph = helper.make_graph([node], "layer", [x, w], [y])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        content: bytes = model.SerializeToString()
        return content


#: Peers by the names that the command takes, each with the modules that it needs.
PEERS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "torch": (Torch, ("torch",)),
    "onnxruntime": (OnnxRuntime, ("onnxruntime", "onnx")),
}


def is_installed(name: str) -> bool:
    """Return whether everything is there that a peer needs.

    Examples
    --------
    >>> isinstance(is_installed("torch"), bool)
    True
    """
    return all(importlib.util.find_spec(module) is not None for module in PEERS[name][1])
