"""An OpenCL kernel file as an implementation: "opencl:file.cl:kernel".

A convolution, transposed or not, is a kernel ::

    __kernel void forward(__global const T *input, __global const T *weight, __global const T *bias,
                          __global T *output, __global const long *sizes)

which runs with one work-item for each element of the output, in one dimension: get_global_id(0) is the element's
place in the dense array. Gradients are three kernels, or two where there is no bias, named with commas between them,
"opencl:file.cl:grad_input,grad_weight,grad_bias", each ::

    __kernel void grad_input(__global const T *grad_output, __global const T *input, __global const T *weight,
                             __global T *result, __global const long *sizes)

and run with one work-item for each element of its own result. `bias` is null where there is none; `result` holds NaN
before the call; `sizes` and the shapes of the arrays are those that `c_functions` describes. The file is built with
``-cl-std=CL1.2 -D T=float`` (or double, or half), by the driver of the device that PYOPENCL_CTX chooses, by default
the first one.

A kernel cannot refuse a call: **what must be refused, the adapter refuses**, by the rules of the reference, and a
check reports all such calls as not tested. A kernel that writes behind the end of its result is found out; one
that reads there is not: run it under oclgrind.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clconv.oracle import reference
from clconv.oracle.operations import OPERATIONS

from ._extents import Extents, Kind, kind
from ._loaded import Library, Loaded, NotOffered
from ._offer import Offer

__all__ = ["load"]

Array = NDArray[Any]

cl = Library("pyopencl")
TYPES = {"float16": "half", "float32": "float", "float64": "double"}
FENCE = 64  # elements behind a result that a kernel must leave alone


def load(file: str, kernels: str, op: str | None) -> Loaded:
    """Load the kernels of one convolution, forward or backward."""
    described = kind(op, f"the OpenCL kernel {kernels}")
    path = Path(file)
    if not path.is_file():
        raise ValueError(f"there is no file {path.resolve()}")
    wanted = kernels.split(",")
    allowed = (2, 3) if described.is_backward else (1,)
    if len(wanted) not in allowed:
        count = "2 or 3 kernels" if described.is_backward else "1 kernel"
        raise ValueError(f"{described.name} takes {count}, got {kernels!r}")
    settings = OPERATIONS[described.name].settings
    if len(wanted) == 2:
        settings = tuple(name for name in settings if name != "bias")
    program = _Program(path.read_text(), wanted)
    call = functools.partial(_backward if described.is_backward else _forward, program, described)
    notes = ("refusals are the adapter's, not the kernel's", f"runs on {program.device}")
    offer = Offer(call, settings, ("padding_pairs",), dtypes=tuple(TYPES), notes=notes)
    return offer.loaded(described.name, cl)


class _Program:
    """Kernels of one file, built for a type when it is first met."""

    def __init__(self, source: str, kernels: Sequence[str]) -> None:
        self._source = source
        self._kernels = kernels
        try:
            self._context = cl.create_some_context(interactive=False)
        except cl.Error as error:
            raise RuntimeError(f"there is no OpenCL device: {error}") from None
        self._queue = cl.CommandQueue(self._context)
        self._build("float32")

    @property
    def device(self) -> str:
        """Name of the device."""
        return str(self._queue.device.name).strip()

    @functools.cache  # noqa: B019 (as long as the program)
    def _build(self, dtype: str) -> Any:
        if dtype not in TYPES:
            raise ValueError(f"OpenCL kernels take arrays of {tuple(TYPES)}, got {dtype}")
        try:
            built = cl.Program(self._context, self._source).build(["-cl-std=CL1.2", f"-DT={TYPES[dtype]}"])
        except cl.Error as error:
            raise ValueError(f"the file does not build: {error}") from None
        missing = [name for name in self._kernels if name not in {k.function_name for k in built.all_kernels()}]
        if missing:
            raise ValueError(f"the file has no kernel {', '.join(missing)}")
        return built

    def run(self, place: int, inputs: Sequence[Array | None], shape: tuple[int, ...], row: NDArray[np.int64]) -> Array:
        """Run one of the kernels with a work-item for each element of its result, and return that."""
        leader = next(array for array in inputs if array is not None)
        result = np.full(int(np.prod(shape)) + FENCE, np.nan, leader.dtype)
        size = result.size - FENCE
        if size == 0:
            return result[:0].reshape(shape)
        # A kernel object keeps its arguments, so each call, maybe from another thread, makes its own.
        kernel = cl.Kernel(self._build(leader.dtype.name), self._kernels[place])
        buffers = [None if array is None else self._buffer(array) for array in (*inputs, result, row)]
        kernel(self._queue, (size,), None, *buffers)
        cl.enqueue_copy(self._queue, result, buffers[-2])
        if not np.isnan(result[size:]).all():
            raise RuntimeError(f"the kernel {self._kernels[place]} wrote behind the end of its result")
        return result[:size].reshape(shape)

    def _buffer(self, array: Array) -> Any:
        flags = cl.mem_flags.READ_WRITE | cl.mem_flags.COPY_HOST_PTR
        # No buffer may be empty.
        dense = np.ascontiguousarray(array) if array.size else np.zeros(1, array.dtype)
        return cl.Buffer(self._context, flags, hostbuf=dense)


def _forward(program: _Program, kind: Kind, *, input: Array, weight: Array, bias: Array | None, **window: Any) -> Array:
    _require_lawful(kind, {"input": input, "weight": weight, "bias": bias}, window)
    extents = Extents.of(kind, input, weight, bias, **window)
    return program.run(0, (input, weight, bias), extents.output, extents.row(kind.is_transposed))


def _backward(
    program: _Program,
    kind: Kind,
    *,
    grad_output: Array,
    input: Array,
    weight: Array,
    bias: Array | None = None,
    **window: Any,
) -> tuple[Array | None, ...]:
    _require_lawful(kind, {"input": input, "weight": weight, "bias": bias}, window)
    extents = Extents.of(kind, input, weight, bias, **window)
    extents.require_output_shape(grad_output)
    row = extents.row(kind.is_transposed)
    return tuple(
        None if array is None else program.run(place, (grad_output, input, weight), array.shape, row)
        for place, array in enumerate((input, weight, bias))
    )


def _require_lawful(kind: Kind, arrays: Mapping[str, Array | None], window: Mapping[str, Any]) -> None:
    """Let the reference refuse what no convolution may answer."""
    zeros = {name: None if array is None else np.zeros(array.shape) for name, array in arrays.items()}
    try:
        getattr(reference, kind.forward)(**zeros, **window)
    except (TypeError, ValueError) as error:
        raise NotOffered(str(error)) from None
