"""A C function as an implementation: "c:./libmine.so:symbol".

A convolution, transposed or not, is a function ::

    int forward(const T *input, const T *weight, const T *bias, T *output, const int64_t *sizes);

and its gradients are one ::

    int backward(const T *grad_output, const T *input, const T *weight,
                 T *grad_input, T *grad_weight, T *grad_bias, const int64_t *sizes);

T is the type that `check` is told as its dtype; a library has a function for each. Arrays are dense, the last axis
fastest, in torch's shapes: input (N, IC, I..), weight (OC, IC/G, K..) or, transposed, (IC, OC/G, K..), output
(N, OC, O..). `bias` and `grad_bias` are null where there is no bias. Results hold NaN before the call. `sizes` are ::

    N, IC, I.., OC, K.., S.., P.., Q.., D.., G, O..        and, transposed, E.. at the end

where `..` stands for one number for each spatial axis: stride S, padding P in front and Q behind the input, dilation
D (1 for none), output padding E. Output o of a convolution is the sum over taps k of ``input[o*S - P + k*D]`` times
``weight[k]``, as far as there is such a pixel; a transposed one adds ``input[i] * weight[k]`` to output
``i*S - P + k*D``. The output needs no other count of its extents than O.

A function that returns anything but 0 has refused the call, and **whether a call is lawful is for it to say**: it also
gets strides and groups of 0, negative padding, and O of 0 or less where the window does not fit. Then no result has an
element that it may write. What the row of numbers cannot say, the adapter refuses in its own name, so that a check
says nothing of the function there: arrays with an axis too many or too few, channels of input, weight, bias and
grad_output that contradict each other, a grad_output of another extent than the arguments give, arguments that are no
integers or not one for each axis, and unknown words for padding.

The function runs in this process and may be called from several threads at once; one that does not divide by zero
only because it was never asked to takes the process with it. `isolate=True` guards against that.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clconv.oracle.operations import OPERATIONS

from ._extents import Extents, Kind, kind
from ._loaded import Loaded
from ._offer import Offer

__all__ = ["load"]

Array = NDArray[Any]
Function = Callable[..., int]

DTYPES = ("float16", "bfloat16", "float32", "float64")


def load(library: str, symbol: str, op: str | None) -> Loaded:
    """Load a C function that is one of the convolutions."""
    described = kind(op, f"the C function {symbol}")
    path = Path(library).resolve()
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    try:
        function = getattr(ctypes.CDLL(str(path)), symbol)
    except AttributeError:
        raise ValueError(f"{library} has no symbol {symbol!r}") from None
    except OSError as error:
        raise ValueError(f"{library} is no library that can be loaded: {error}") from None
    function.restype = ctypes.c_int
    function.argtypes = (ctypes.c_void_p,) * (7 if described.is_backward else 5)
    call = functools.partial(_backward if described.is_backward else _forward, function, described)
    features = ("padding_pairs",) if described.is_backward else ("padding_pairs", "out")
    notes = ("calls that cannot be put into numbers are refused by the adapter, not by the function",)
    settings = OPERATIONS[described.name].settings
    return Offer(call, settings, features, dtypes=DTYPES, notes=notes).loaded(described.name)


def _forward(
    function: Function, kind: Kind, *, input: Array, weight: Array, bias: Array | None, out: Array | None, **window: Any
) -> Array:
    extents = Extents.of(kind, input, weight, bias, **window)
    output = _unwritten(extents.output, input.dtype) if out is None else out
    if output.shape != extents.output or output.dtype != input.dtype or not output.flags.c_contiguous:
        raise ValueError(f"out must be a dense array of {extents.output} {input.dtype}, got {output.shape}")
    _call(function, (input, weight, bias), (output,), extents.row(kind.is_transposed))
    return output


def _backward(
    function: Function,
    kind: Kind,
    *,
    grad_output: Array,
    input: Array,
    weight: Array,
    bias: Array | None,
    **window: Any,
) -> tuple[Array | None, ...]:
    extents = Extents.of(kind, input, weight, bias, **window)
    extents.require_output_shape(grad_output)
    gradients = tuple(None if a is None else _unwritten(a.shape, a.dtype) for a in (input, weight, bias))
    _call(function, (grad_output, input, weight), gradients, extents.row(kind.is_transposed))
    return gradients


def _unwritten(shape: tuple[int, ...], dtype: Any) -> Array:
    return np.full(shape, np.nan, dtype)


def _call(
    function: Function, inputs: tuple[Array | None, ...], results: tuple[Array | None, ...], row: NDArray[np.int64]
) -> None:
    """Call with dense arrays; what is not dense is copied."""
    dense = [None if array is None else np.ascontiguousarray(array) for array in inputs]
    status = function(*(None if array is None else array.ctypes.data for array in (*dense, *results, row)))
    if status:
        raise ValueError(f"the function refused the call with status {status}")
