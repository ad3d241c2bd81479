"""openvino's operations on the CPU, by models of one operation: "openvino:conv2d".

The precision of inference is set to float32, which on some processors would otherwise be less. Weights are constants
of the model, as they are in practice; the last models are kept.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._arguments import LEAST, batched, each, integers, pairs
from ._loaded import Library, NotOffered
from ._offer import Offer

__all__ = ["LIBRARIES", "offers"]

Array = NDArray[Any]

openvino = Library("openvino")
opset = Library("openvino.opset15", "openvino")
LIBRARIES = (openvino,)
RANKS = (1, 2, 3)
AUTO_PAD = {"valid": "VALID", "same_upper": "SAME_UPPER", "same_lower": "SAME_LOWER"}
NAMED = ("padding_pairs", "padding_names")
RESIZE = ("coordinate_mode", "nearest_mode", "cubic_coefficient")


def offers() -> Mapping[str, Offer]:
    """Return what openvino has of the operations."""
    found = {
        "batch_norm": Offer(_batch_norm, ("weight", "bias", "eps")),
        "group_norm": Offer(_group_norm, ("weight", "bias", "eps")),
        "interpolate": Offer(_interpolate, ("size", "scale_factor", "mode", "antialias"), RESIZE, "onnx"),
    }
    for rank in RANKS:
        convolution = ("stride", "padding", "dilation", "groups")
        window = ("stride", "padding", "ceil_mode")
        transposed = (*convolution, "output_padding")
        found |= {
            f"conv{rank}d": Offer(partial(_conv, rank), convolution, NAMED),
            f"conv_transpose{rank}d": Offer(partial(_conv_transpose, rank), transposed, ("padding_pairs",)),
            f"max_pool{rank}d": Offer(partial(_max_pool, rank), (*window, "dilation", "return_indices"), NAMED, "onnx"),
            f"avg_pool{rank}d": Offer(partial(_avg_pool, rank), (*window, "count_include_pad"), NAMED, "onnx"),
            f"adaptive_avg_pool{rank}d": Offer(partial(_adaptive_avg_pool, rank)),
            f"adaptive_max_pool{rank}d": Offer(partial(_adaptive_max_pool, rank), ("return_indices",)),
        }
    return found


def _conv(rank: int, *, input: Array, weight: Array, stride: Any, padding: Any, dilation: Any, groups: int) -> Array:
    x, lacks_batch = batched(input, rank)
    y, *_ = _run(
        "convolution" if groups == 1 else "group_convolution",
        x,
        [weight if groups == 1 else _grouped(weight, groups)],
        strides=each(stride, rank),
        dilations=each(dilation, rank),
        **_around(padding, x.shape[2:], weight.shape[2:], stride, dilation),
    )
    return y[0] if lacks_batch else y


def _conv_transpose(
    rank: int,
    *,
    input: Array,
    weight: Array,
    stride: Any,
    padding: Any,
    output_padding: Any,
    dilation: Any,
    groups: int,
) -> Array:
    x, lacks_batch = batched(input, rank)
    y, *_ = _run(
        "convolution_backprop_data" if groups == 1 else "group_convolution_backprop_data",
        x,
        [weight if groups == 1 else _grouped(weight, groups)],
        strides=each(stride, rank),
        dilations=each(dilation, rank),
        output_padding=each(output_padding, rank),
        **_around(padding, x.shape[2:], weight.shape[2:], stride, dilation),
    )
    return y[0] if lacks_batch else y


def _grouped(weight: Array, groups: int) -> Array:
    """Give the weight the axis of groups that openvino wants."""
    if groups < 1 or weight.shape[0] % groups:
        raise NotOffered(f"there is no weight of {groups} groups with shape {weight.shape}")
    return weight.reshape(groups, weight.shape[0] // groups, *weight.shape[1:])


def _max_pool(rank: int, *, return_indices: bool, dilation: Any, **arguments: Any) -> Any:
    y, indices = _pool("max_pool", rank, dilation=dilation, dilations=each(dilation, rank), **arguments)
    return (y, indices) if return_indices else y


def _avg_pool(rank: int, *, count_include_pad: bool, **arguments: Any) -> Array:
    (y,) = _pool("avg_pool", rank, exclude_pad=not count_include_pad, **arguments)
    return y


def _pool(
    operator: str,
    rank: int,
    *,
    input: Array,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    ceil_mode: bool,
    dilation: Any = 1,
    **attributes: Any,
) -> list[Array]:
    x, lacks_batch = batched(input, rank)
    kernel = each(kernel_size, rank)
    steps = kernel if stride is None else each(stride, rank)
    around = _around(padding, x.shape[2:], kernel, steps, dilation)
    # "ceil" alone keeps windows that start in the padding on the high side.
    rounding = "ceil_torch" if ceil_mode else "floor"
    results = _run(operator, x, (), strides=steps, kernel_shape=kernel, rounding_type=rounding, **around, **attributes)
    return [result[0] if lacks_batch else result for result in results]


def _adaptive_avg_pool(rank: int, *, input: Array, output_size: Any) -> Array:
    (y,) = _adaptive_pool("adaptive_avg_pool", rank, input, output_size)
    return y


def _adaptive_max_pool(rank: int, *, input: Array, output_size: Any, return_indices: bool) -> Any:
    y, indices = _adaptive_pool("adaptive_max_pool", rank, input, output_size, index_element_type="i32")
    return (y, indices) if return_indices else y


def _adaptive_pool(operator: str, rank: int, input: Array, output_size: Any, **attributes: Any) -> list[Array]:
    x, lacks_batch = batched(input, rank)
    wanted = each(output_size, rank)
    if len(wanted) == rank:
        wanted = tuple(e if o is None else o for e, o in zip(x.shape[2:], wanted, strict=True))
    sizes = np.array(integers("output_size", wanted, len(wanted), LEAST))
    results = _run(operator, x, (sizes,), **attributes)
    return [result[0] if lacks_batch else result for result in results]


def _around(padding: Any, extent: tuple[int, ...], kernel: tuple[int, ...], stride: Any, dilation: Any) -> Any:
    """Return padding as one of the words that openvino has, or as numbers."""
    if isinstance(padding, str) and padding in AUTO_PAD:
        nothing = [0] * len(extent)
        return {"pads_begin": nothing, "pads_end": nothing, "auto_pad": AUTO_PAD[padding]}
    around = pairs(padding, extent, kernel, stride, dilation)
    lows, highs = [low for low, _ in around], [high for _, high in around]
    return {"pads_begin": lows, "pads_end": highs, "auto_pad": "EXPLICIT"}


def _batch_norm(
    *,
    input: Array,
    running_mean: Array | None,
    running_var: Array | None,
    weight: Array | None,
    bias: Array | None,
    eps: float,
) -> Array:
    if running_mean is None or running_var is None:
        raise NotOffered("openvino normalises by statistics that are given")
    scale, shift = _parameters(input, weight, bias)
    (y,) = _run("batch_norm_inference", input, (scale, shift, running_mean, running_var), epsilon=eps)
    return y


def _group_norm(*, input: Array, num_groups: int, weight: Array | None, bias: Array | None, eps: float) -> Array:
    (y,) = _run("group_normalization", input, _parameters(input, weight, bias), num_groups=num_groups, epsilon=eps)
    return y


def _parameters(input: Array, weight: Array | None, bias: Array | None) -> tuple[Array, Array]:
    """Return ones and zeros where there is no weight and no bias, which openvino asks for."""
    scale = np.ones(input.shape[1:2], input.dtype) if weight is None else weight
    return scale, np.zeros(input.shape[1:2], input.dtype) if bias is None else bias


def _interpolate(
    *,
    input: Array,
    size: Any,
    scale_factor: Any,
    mode: str,
    antialias: bool,
    coordinate_mode: str | None,
    nearest_mode: str | None,
    cubic_coefficient: float | None,
) -> Array:
    rank = input.ndim - 2
    if size is not None and scale_factor is not None:
        raise NotOffered(f"openvino takes one of size and scale_factor, got {size!r} and {scale_factor!r}")
    if coordinate_mode == "half_pixel_symmetric":
        raise NotOffered("openvino has no half_pixel_symmetric")
    wanted = np.array(each(size, rank)) if scale_factor is None else np.array(each(scale_factor, rank), np.float32)
    given = {
        "coordinate_transformation_mode": coordinate_mode,
        "nearest_mode": nearest_mode,
        "cube_coeff": cubic_coefficient,
    }
    (y,) = _run(
        "interpolate",
        input,
        (wanted,),
        mode="linear_onnx" if mode == "linear" and not antialias else mode,
        shape_calculation_mode="sizes" if scale_factor is None else "scales",
        antialias=antialias,
        axes=tuple(range(2, input.ndim)),
        **{name: value for name, value in given.items() if value is not None},
    )
    return y


def _run(operator: str, data: Array, constants: Sequence[Array], **attributes: Any) -> list[Array]:
    """Run a model of one operation, on the data and on constants, and return its results."""
    frozen = tuple((array.shape, array.dtype.str, array.tobytes()) for array in constants)
    settings = tuple((name, tuple(v) if isinstance(v, list) else v) for name, v in attributes.items())
    model = _compiled(operator, data.shape, data.dtype, frozen, settings)
    # A request of its own for each call, which may come from several threads.
    results = model.create_infer_request().infer([np.ascontiguousarray(data)])
    return [np.array(results[place]) for place in range(len(model.outputs))]


@functools.lru_cache(maxsize=64)
def _compiled(
    operator: str,
    shape: tuple[int, ...],
    dtype: Any,
    constants: tuple[tuple[tuple[int, ...], str, bytes], ...],
    settings: tuple[tuple[str, Any], ...],
) -> Any:
    data = opset.parameter(list(shape), openvino.Type(dtype))
    fixed = [opset.constant(np.frombuffer(held, kind).reshape(extents)) for extents, kind, held in constants]
    attributes = {name: list(value) if isinstance(value, tuple) else value for name, value in settings}
    model = openvino.Model(getattr(opset, operator)(data, *fixed, **attributes).outputs(), [data])
    return openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
