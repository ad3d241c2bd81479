"""The OpenCL executor. pyopencl is imported by this package only, and not before somebody asks for a device."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from clconv.errors import Unsupported

if TYPE_CHECKING:
    from clconv.opencl.executor import OpenCLExecutor

__all__ = ["best_gpu", "executor_for_array", "executor_named", "listing"]


def listing() -> list[tuple[Any, ...]]:
    """Return the fields of DeviceInfo for every OpenCL device, and an unusable one for what is not there and why."""
    try:
        devices = _devices()
        rows = [device.facts() for device in devices.found()]
    except Unsupported as error:
        return [_absent("no OpenCL device", str(error))]
    hidden = devices.hidden_runtime()
    return [*rows, _absent("Intel's CPU runtime", hidden)] if hidden else rows


def _absent(description: str, problem: str) -> tuple[Any, ...]:
    return ("opencl", "opencl", description, "", 0, False, False, problem)


def best_gpu() -> tuple[OpenCLExecutor | None, str]:
    """Return the executor of the best usable GPU, or None and why there is none."""
    try:
        gpu = next((device for device in _devices().ranked() if device.kind == "gpu" and device.problem is None), None)
    except Unsupported as error:
        return None, str(error)
    return (gpu.executor, "") if gpu else (None, "no usable OpenCL GPU")


def executor_named(device: Any) -> OpenCLExecutor:
    """Return the executor of the device that a name, or an object of pyopencl, stands for."""
    try:
        choose = _devices().choose
    except Unsupported as error:
        raise Unsupported(f"device={device!r} needs OpenCL, but {error}") from error
    executor: OpenCLExecutor = choose(device)
    return executor


def executor_for_array(array: Any, device: Any) -> OpenCLExecutor:
    """Return the executor of a pyopencl array's queue, which must belong to ``device`` if that is given."""
    executor: OpenCLExecutor = _devices().of_array(array, device)
    return executor


@functools.cache
def _devices() -> Any:
    """Return the module that needs pyopencl: asked for by every call."""
    try:
        from clconv.opencl import devices
    except ModuleNotFoundError as error:
        if error.name == "pyopencl":
            raise Unsupported('pyopencl is not installed (pip install "clconv[opencl]")') from error
        raise Unsupported(f"pyopencl cannot be imported ({error})") from error
    except Exception as error:  # one that was built for another NumPy, or finds no loader, fails in many ways
        raise Unsupported(f"pyopencl cannot be imported ({error})") from error
    return devices
