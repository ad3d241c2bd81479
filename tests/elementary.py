"""The functions of kernels/math.h, compiled alone: for each level of this processor, and for each OpenCL device."""

from __future__ import annotations

import ctypes
import functools
import os
import shlex
import subprocess
import sysconfig
import tempfile
from pathlib import Path

import numpy as np

from clconv import kernel_source
from clconv.devices import executor_for
from clconv.native import executor as native_executor
from clconv.native import table

FUNCTIONS = {
    "square_root": 1,
    "exponential": 1,
    "logarithm": 1,
    "power": 2,
    "hyperbolic_tangent": 1,
    "error_function": 1,
}

#: Numbers that a work-item handles, so that loops over the functions become vectors as they do in the kernels.
RUN = 64

_KERNEL = """
kernel void test_{name}(
    WORK_ITEM
    global const element *x, global const element *y, global element *result, const index64 COUNT)
{{
    const index64 first = WORK_ITEM_INDEX * {run};
    const int run = COUNT - first < {run} ? COUNT - first : {run};
    for (int i = 0; i < run; i++) store(result, first + i, {name}({arguments}));
}}
"""
_ENTRY = """
void run_{name}(const element *x, const element *y, element *result, int64_t count)
{{
    for (int64_t item = 0; item * {run} < count; item++) test_{name}(item, x, y, result, count);
}}
"""
_ARGUMENTS = {1: "load(x, first + i)", 2: "load(x, first + i), load(y, first + i)"}


def _text(template):
    return "".join(
        template.format(name=name, run=RUN, arguments=_ARGUMENTS[count]) for name, count in FUNCTIONS.items()
    )


@functools.cache
def _library(level, bits):
    """Return math.h compiled with the options of a level of the native extension."""
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder) / "elementary.c", Path(folder) / "elementary.so"
        source.write_text(kernel_source.expanded("math.h") + _text(_KERNEL) + _text(_ENTRY), encoding="utf-8")
        compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC"))
        options = [*(o for o in table.OPTIONS if o != "-fvisibility=hidden"), *table.LEVELS[level]]
        command = [*compiler, *options, f"-DELEMENT={bits}", "-shared", "-fPIC", str(source), "-o", str(library)]
        subprocess.run(command, check=True, capture_output=True, text=True)
        return ctypes.CDLL(str(library))


def _on_processor(level, name, x, y, result):
    function = getattr(_library(level, 8 * x.itemsize), f"run_{name}")
    function(*(ctypes.c_void_p(array.ctypes.data) for array in (x, y, result)), ctypes.c_int64(x.size))


@functools.cache
def _program(device, bits):
    import pyopencl as cl

    from clconv.opencl.programs import build

    executor = executor_for(device, np.zeros(1, f"float{bits}"), f"float{bits}")
    context = executor._programs.context
    program = cl.Program(context, kernel_source.expanded("math.h") + _text(_KERNEL))
    return cl.CommandQueue(context), build(program, ["-cl-std=CL1.2", f"-DELEMENT={bits}"], executor.device)


def _on_device(device, name, x, y, result):
    import pyopencl as cl
    import pyopencl.array

    queue, program = _program(device, 8 * x.itemsize)
    arrays = [cl.array.to_device(queue, array) for array in (x, y, result)]
    kernel = cl.Kernel(program, f"test_{name}")
    kernel(queue, (-(-x.size // RUN),), None, *(array.data for array in arrays), np.int64(x.size))
    result[...] = arrays[2].get()


def places(devices):
    """Return where the functions run: the levels of the native device that this processor has, and OpenCL devices."""
    levels = native_executor._levels_that_run() if "native" in devices else []
    return [*(f"native {level}" for level in levels), *(device for device in devices if device != "native")]


def evaluate(place, name, x, y=None):
    """Return a function's values on a level of the processor or on a device."""
    x = np.ascontiguousarray(x)
    y = x if y is None else np.ascontiguousarray(np.broadcast_to(y, x.shape))
    result = np.full_like(x, 12345)
    if x.size:
        run = _on_processor if place.startswith("native ") else _on_device
        run(place.removeprefix("native "), name, x, y, result)
    return result
