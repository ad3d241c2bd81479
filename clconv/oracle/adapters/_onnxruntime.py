"""onnxruntime on the CPU, by models of one node: "onnxruntime:conv2d".

Weights are constants of the model, as they are in practice: that is what the optimisations before a run look for. So
a model belongs to the values of its weights, and the last ones are kept.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._arguments import LEAST, Pairs, batched, each, integers, pairs
from ._loaded import Library, NotOffered
from ._offer import Offer

__all__ = ["LIBRARIES", "offers"]

Array = NDArray[Any]

onnx = Library("onnx")
onnxruntime = Library("onnxruntime")
LIBRARIES = (onnxruntime, onnx)
OPSET = 23
IR = 11
QUIET = 4  # of log levels, the one of what is fatal: that a model is refused, the exception says
RANKS = (1, 2, 3)
AUTO_PAD = {"valid": "VALID", "same_upper": "SAME_UPPER", "same_lower": "SAME_LOWER"}
PAD_MODES = {"replicate": "edge", "circular": "wrap"}
NAMED = ("padding_pairs", "padding_names")
RESIZE = ("coordinate_mode", "nearest_mode", "cubic_coefficient", "exclude_outside")
NUMBERS = "auto_pad is given as numbers with dilation, which onnxruntime does not have it for"


def offers() -> Mapping[str, Offer]:
    """Return what ONNX has of the operations."""
    scaled = ("weight", "bias")
    found = {
        "batch_norm": Offer(_batch_norm, (*scaled, "training", "momentum", "eps"), semantics="onnx"),
        "instance_norm": Offer(partial(_scaled, "InstanceNormalization"), (*scaled, "eps")),
        "group_norm": Offer(partial(_scaled, "GroupNormalization"), (*scaled, "eps")),
        "layer_norm": Offer(_layer_norm, (*scaled, "eps")),
        "rms_norm": Offer(_rms_norm, ("weight", "eps")),
        "local_response_norm": Offer(_response_norm, ("alpha", "beta", "k"), semantics="onnx"),
        "interpolate": Offer(_resize, ("size", "scale_factor", "mode", "antialias"), RESIZE, "onnx"),
        "pad": Offer(_pad, ("mode", "value")),
        "fold": Offer(_fold, ("dilation", "padding", "stride"), ("padding_pairs",)),
    }
    for rank in RANKS:
        convolution = ("bias", "stride", "padding", "dilation", "groups")
        window = ("stride", "padding", "ceil_mode")
        found |= {
            f"conv{rank}d": Offer(partial(_conv, rank), convolution, NAMED, notes=(NUMBERS,)),
            f"conv_transpose{rank}d": Offer(
                partial(_conv_transpose, rank), (*convolution, "output_padding"), ("padding_pairs",)
            ),
            f"max_pool{rank}d": Offer(
                partial(_max_pool, rank), (*window, "dilation", "return_indices"), NAMED, "onnx", notes=(NUMBERS,)
            ),
            f"avg_pool{rank}d": Offer(partial(_avg_pool, rank), (*window, "count_include_pad"), NAMED, "onnx"),
            f"lp_pool{rank}d": Offer(partial(_lp_pool, rank), ("stride", "ceil_mode")),
        }
    return found


# --- windows


def _conv(
    rank: int,
    *,
    input: Array,
    weight: Array,
    bias: Array | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
) -> Array:
    x, lacks_batch = batched(input, rank)
    steps, gaps = each(stride, rank), each(dilation, rank)
    around = _around(padding, x.shape[2:], weight.shape[2:], steps, gaps)
    (y,) = _run("Conv", x, (weight, bias), strides=steps, dilations=gaps, group=groups, **around)
    return y[0] if lacks_batch else y


def _conv_transpose(
    rank: int,
    *,
    input: Array,
    weight: Array,
    bias: Array | None,
    stride: Any,
    padding: Any,
    output_padding: Any,
    dilation: Any,
    groups: int,
) -> Array:
    x, lacks_batch = batched(input, rank)
    (y,) = _run(
        "ConvTranspose",
        x,
        (weight, bias),
        strides=each(stride, rank),
        pads=_pads(pairs(padding, x.shape[2:], weight.shape[2:])),
        output_padding=each(output_padding, rank),
        dilations=each(dilation, rank),
        group=groups,
    )
    return y[0] if lacks_batch else y


def _max_pool(rank: int, *, return_indices: bool, **arguments: Any) -> Any:
    y, *indices = _pool("MaxPool", rank, outputs=1 + return_indices, **arguments)
    return (y, *indices) if return_indices else y


def _avg_pool(rank: int, *, count_include_pad: bool, **arguments: Any) -> Array:
    (y,) = _pool("AveragePool", rank, count_include_pad=int(count_include_pad), **arguments)
    return y


def _lp_pool(rank: int, *, norm_type: float, **arguments: Any) -> Array:
    if norm_type % 1:  # infinity as well
        raise NotOffered(f"onnx has no norm_type={norm_type!r}: p is an integer")
    (y,) = _pool("LpPool", rank, p=int(norm_type), **arguments)
    return y


def _pool(
    operator: str,
    rank: int,
    *,
    input: Array,
    kernel_size: Any,
    stride: Any,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool,
    outputs: int = 1,
    **attributes: Any,
) -> list[Array]:
    x, lacks_batch = batched(input, rank)
    kernel, gaps = each(kernel_size, rank), each(dilation, rank)
    steps = kernel if stride is None else each(stride, rank)
    window: dict[str, Any] = {"kernel_shape": kernel, "strides": steps, "dilations": gaps, "ceil_mode": int(ceil_mode)}
    if padding == "full" and set(gaps) != {1}:
        raise NotOffered("onnxruntime's padding is less than the kernel, not counting dilation")
    around = _around(padding, x.shape[2:], kernel, steps, gaps)
    results = _run(operator, x, (), outputs, **window, **around, **attributes)
    return [result[0] if lacks_batch else result for result in results]


def _fold(*, input: Array, output_size: Any, kernel_size: Any, dilation: Any, padding: Any, stride: Any) -> Array:
    x, lacks_batch = batched(input, 1)
    extent, kernel = each(output_size, 2), each(kernel_size, 2)
    (y,) = _run(
        "Col2Im",
        x,
        (np.array(extent, np.int64), np.array(kernel, np.int64)),
        strides=each(stride, 2),
        dilations=each(dilation, 2),
        pads=_pads(pairs(padding, extent, kernel, stride, dilation)),
    )
    return y[0] if lacks_batch else y


def _around(
    padding: Any, extent: tuple[int, ...], kernel: tuple[int, ...], stride: tuple[Any, ...], dilation: tuple[Any, ...]
) -> dict[str, Any]:
    """Return padding as one of the words that ONNX has, or as numbers."""
    if isinstance(padding, str) and padding in AUTO_PAD and set(dilation) == {1}:
        return {"auto_pad": AUTO_PAD[padding]}
    return {"pads": _pads(pairs(padding, extent, kernel, stride, dilation))}


def _pads(padding: Pairs) -> list[Any]:
    """Return all paddings in front, and then all behind."""
    return [low for low, _ in padding] + [high for _, high in padding]


# --- normalisations


def _batch_norm(
    *,
    input: Array,
    running_mean: Array | None,
    running_var: Array | None,
    weight: Array | None,
    bias: Array | None,
    training: bool,
    momentum: float,
    eps: float,
) -> Any:
    statistics = (running_mean, running_var)
    settings = {"training_mode": int(training), "epsilon": eps, "momentum": momentum}
    parameters = _parameters(input.shape[1:2], input.dtype, weight, bias)
    results = _run("BatchNormalization", input, (*parameters, *statistics), 3 if training else 1, **settings)
    return tuple(results) if training else results[0]


def _scaled(
    operator: str, *, input: Array, weight: Array | None, bias: Array | None, eps: float, **groups: int
) -> Array:
    parameters = _parameters(input.shape[1:2], input.dtype, weight, bias)
    (y,) = _run(operator, input, parameters, epsilon=eps, **groups)
    return y


def _layer_norm(
    *, input: Array, normalized_shape: Sequence[int], weight: Array | None, bias: Array | None, eps: float
) -> Array:
    scale, _ = _parameters(tuple(normalized_shape), input.dtype, weight, None)
    (y,) = _run("LayerNormalization", input, (scale, bias), axis=-len(normalized_shape), epsilon=eps)
    return y


def _rms_norm(*, input: Array, normalized_shape: Sequence[int], weight: Array | None, eps: float | None) -> Array:
    scale, _ = _parameters(tuple(normalized_shape), input.dtype, weight, None)
    epsilon = float(np.finfo(input.dtype).eps) if eps is None else eps
    (y,) = _run("RMSNormalization", input, (scale,), axis=-len(normalized_shape), epsilon=epsilon)
    return y


def _response_norm(*, input: Array, size: int, alpha: float, beta: float, k: float) -> Array:
    if input.ndim != 4 or size % 2 == 0:
        raise NotOffered(f"onnxruntime's LRN takes images and odd sizes, got input.shape={input.shape}, size={size}")
    (y,) = _run("LRN", input, (), size=size, alpha=alpha, beta=beta, bias=k)
    return y


def _parameters(shape: tuple[int, ...], dtype: Any, weight: Array | None, bias: Array | None) -> tuple[Array, Array]:
    """Return ones and zeros where there is no weight and no bias, which ONNX asks for."""
    scale = np.ones(shape, dtype) if weight is None else weight
    return scale, np.zeros(shape, dtype) if bias is None else bias


# --- extents


def _resize(
    *,
    input: Array,
    size: Any,
    scale_factor: Any,
    mode: str,
    antialias: bool,
    coordinate_mode: str | None,
    nearest_mode: str | None,
    cubic_coefficient: float | None,
    exclude_outside: bool,
) -> Array:
    rank = input.ndim - 2
    if mode == "cubic" and rank != 2:
        raise NotOffered(f"onnxruntime resizes images only with mode='cubic', not {rank} axes")
    if mode == "linear" and exclude_outside and not antialias:
        raise NotOffered("onnxruntime has no exclude_outside with mode='linear' without antialias")
    sizes = None if size is None else np.array((*input.shape[:2], *each(size, rank)), np.int64)
    scales = None if scale_factor is None else np.array((1.0, 1.0, *each(scale_factor, rank)), np.float32)
    attributes: dict[str, Any] = {
        "coordinate_transformation_mode": coordinate_mode,
        "nearest_mode": nearest_mode,
        "cubic_coeff_a": cubic_coefficient,
        "exclude_outside": int(exclude_outside),
        "antialias": int(antialias),
    }
    given = {name: value for name, value in attributes.items() if value is not None}
    (y,) = _run("Resize", input, (None, scales, sizes), mode=mode, **given)
    return y


def _pad(*, input: Array, pad: Sequence[int], mode: str, value: float | None) -> Array:
    entries = integers("pad", tuple(pad), len(pad), LEAST)
    last = list(zip(entries[::2], entries[1::2], strict=True))[::-1]
    around = [(0, 0)] * (input.ndim - len(last)) + last
    filler = None if value is None else np.array(value, input.dtype)
    (y,) = _run("Pad", input, (np.array(_pads(tuple(around)), np.int64), filler), mode=PAD_MODES.get(mode, mode))
    return y


# --- models


def _run(
    operator: str, data: Array, constants: Sequence[Array | None], outputs: int = 1, **attributes: Any
) -> list[Array]:
    """Run a model of one node, whose first input is the data and whose others are constants, None where left out."""
    names = ["data", *("" if array is None else f"c{place}" for place, array in enumerate(constants))]
    while not names[-1]:  # what is left out in the end is not mentioned
        names.pop()
    results = [f"y{place}" for place in range(outputs)]
    make, kinds = onnx.helper, onnx.helper.np_dtype_to_tensor_dtype
    graph = make.make_graph(
        [make.make_node(operator, names, results, **attributes)],
        operator,
        [make.make_tensor_value_info("data", kinds(data.dtype), data.shape)],
        [make.make_empty_tensor_value_info(name) for name in results],
        [
            onnx.numpy_helper.from_array(np.ascontiguousarray(array), name)
            for name, array in zip(names[1:], constants, strict=False)
            if array is not None
        ],
    )
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", OPSET)], ir_version=IR)
    found: list[Array] = _session(model.SerializeToString()).run(None, {"data": np.ascontiguousarray(data)})
    return found


@functools.lru_cache(maxsize=64)
def _session(model: bytes) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = QUIET
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
