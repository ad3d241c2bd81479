"""The OpenCL devices of this machine: found, tried, ranked, and chosen by name."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterable
from typing import Any

import numpy as np
import pyopencl as cl

from clconv.errors import Unsupported
from clconv.opencl.executor import OpenCLExecutor, has_double
from clconv.opencl.programs import Programs, build
from clconv.opencl.runtimes import check_process, platforms, why_hidden

__all__ = ["choose", "found", "hidden_runtime", "of_array", "ranked"]

_PROBE = """
kernel void probe(global const float *x, global float *y, const int count)
{
    const int i = get_global_id(0);
    if (i < count) y[i] = 3 * x[i] + i;
}
"""

_RANKS = {"gpu": 0, "accelerator": 1, "cpu": 2}


class FoundDevice:
    """A device of a platform; it is tried when somebody first asks whether it is usable."""

    def __init__(self, name: str, platform: Any, device: Any) -> None:
        self.name = name
        self.platform = platform
        self.device = device
        types = cl.device_type
        # A device that calls itself everything at once, as oclgrind's does, runs on the host.
        self.kind = "cpu" if device.type & types.CPU else "gpu" if device.type & types.GPU else "accelerator"

    @functools.cached_property
    def problem(self) -> str | None:
        """Why the device cannot be used, or None: a small kernel is built and run, and its result checked."""
        try:
            return _probe(self.device)
        except (
            Exception
        ) as error:  # drivers fail in many ways, and none of them may reach a user who wants another device
            return f"it cannot build and run a kernel: {' '.join(str(error).split())[:300]}"

    @functools.cached_property
    def executor(self) -> OpenCLExecutor:
        """The executor on a context of its own."""
        return OpenCLExecutor(Programs(cl.Context([self.device]), self.device), self.name)

    @functools.cached_property
    def rank(self) -> tuple[int, ...]:
        """What sorts the best device first: kind, memory of its own, and rough speed."""
        device = self.device
        speed = device.max_compute_units * max(device.max_clock_frequency, 1)
        return _RANKS[self.kind], int(device.host_unified_memory), -speed, -device.global_mem_size

    def facts(self) -> tuple[Any, ...]:
        """Return the fields of clconv.DeviceInfo."""
        device = self.device
        return (
            self.name,
            self.kind,
            f"{device.name.strip()} ({self.platform.name.strip()})",
            f"{device.version.strip()}, driver {device.driver_version.strip()}",
            device.global_mem_size,
            has_double(device),
            "cl_khr_fp16" in device.extensions.split(),
            self.problem,
        )

    def matches(self, platform: str, device: str) -> bool:
        """Return whether parts of a name mean this device: a number is an index, a text a part of the name."""
        _, platform_index, device_index = self.name.split(":")
        platform_text, device_text = self._texts
        return _matches(platform, platform_index, platform_text) and _matches(device, device_index, device_text)

    @functools.cached_property
    def _texts(self) -> tuple[str, str]:
        """The names of platform and device, of which drivers are asked once."""
        return f"{self.platform.name} {self.platform.version}", self.device.name


_lock = threading.Lock()
_found: tuple[FoundDevice, ...] | None = None


def found() -> tuple[FoundDevice, ...]:
    """Return every device of every platform, in OpenCL's order; none of them is tried yet."""
    global _found
    check_process()  # before the lock, which another thread may have held when this process was forked
    if not _found:
        with _lock:
            if _found is None:
                _found = tuple(
                    FoundDevice(f"opencl:{p}:{d}", platform, device)
                    for p, platform in enumerate(platforms())
                    for d, device in enumerate(_devices_of(platform))
                )
    if not _found:
        raise Unsupported("OpenCL finds no device (is a driver installed?)")
    return _found


def hidden_runtime() -> str | None:
    """Return why Intel's runtime is installed but not found, or None."""
    return why_hidden([entry.platform.name for entry in found()])


def ranked() -> list[FoundDevice]:
    """Return all devices, the best first."""
    return _best_first(found())


def _best_first(entries: Iterable[FoundDevice]) -> list[FoundDevice]:
    return sorted(entries, key=lambda entry: entry.rank)


def choose(device: Any) -> OpenCLExecutor:
    """Return the executor of the device that a name, or an object of pyopencl, stands for."""
    check_process()
    if isinstance(device, str):
        return _named(device, found()).executor
    if isinstance(device, cl.Device):
        return _usable([entry for entry in found() if entry.device == device], device).executor
    if isinstance(device, cl.CommandQueue):
        return _on(device.context, device.device, device)
    if isinstance(device, cl.Context):
        return _on(device, device.devices[0], None)
    raise TypeError(
        "device takes a name, or a Device, Context or CommandQueue of pyopencl, "
        f"not {type(device).__module__}.{type(device).__qualname__}: device={device!r}"
    )


def of_array(array: Any, device: Any) -> OpenCLExecutor:
    """Return the executor of an array's queue, which must belong to ``device`` if one is chosen."""
    check_process()
    if array.queue is None:
        raise ValueError("a pyopencl array must have a queue: array.with_queue(queue) gives it one")
    owner = array.queue.device
    context = array.queue.context
    if device is not None and not _is_there(device, owner, context):
        raise ValueError(
            "pyopencl arrays stay on their device and in their context: "
            f"device={device!r}, but the input is on {owner.name.strip()!r}"
        )
    return _on(context, owner, array.queue)


def _is_there(device: Any, owner: Any, context: Any) -> bool:
    """Return whether a choice of device means this device of this context."""
    if isinstance(device, str) and device == "native":
        return False
    if isinstance(device, (cl.Context, cl.CommandQueue)):
        return bool(getattr(device, "context", device) == context)
    return bool(choose(device).device == owner)


@functools.lru_cache(maxsize=64)
def _named(name: str, entries: tuple[FoundDevice, ...]) -> FoundDevice:
    """Return the best of the devices that a name stands for and that work: asked for by every call."""
    platform, _, device = name.removeprefix("opencl").removeprefix(":").partition(":")
    return _usable([entry for entry in _best_first(entries) if entry.matches(platform, device)], name)


def _usable(candidates: list[FoundDevice], asked: Any) -> FoundDevice:
    """Return the first candidate that works."""
    for entry in candidates:
        if entry.problem is None:
            return entry
    if candidates:
        reasons = "; ".join(f"{entry.name} {entry.device.name.strip()!r}: {entry.problem}" for entry in candidates)
        raise Unsupported(f"device={asked!r} is not usable: {reasons}")
    names = ", ".join(
        f"{entry.name} {entry.device.name.strip()!r} of {entry.platform.name.strip()!r}" for entry in found()
    )
    raise Unsupported(f"device={asked!r} is no device of OpenCL here; there are: {names}")


@functools.lru_cache(maxsize=64)
def _programs(context: Any, device: Any) -> Programs:
    return Programs(context, device)


def _on(context: Any, device: Any, queue: Any) -> OpenCLExecutor:
    return OpenCLExecutor(_programs(context, device), device.name.strip(), queue)


def _matches(part: str, index: str, text: str) -> bool:
    return part in ("", index) if part.isdecimal() or not part else part.lower() in text.lower()


def _devices_of(platform: Any) -> list[Any]:
    try:
        return list(platform.get_devices())
    except cl.Error:  # a platform may be installed for hardware that is not there
        return []


def _probe(device: Any) -> str | None:
    """Return what is wrong with a device, after trying it."""
    if not device.available or not device.compiler_available:
        return "the driver says that the device, or its compiler, is not available"
    if not device.endian_little:
        return "its byte order is not the host's"
    count = 70
    context = cl.Context([device])
    queue = cl.CommandQueue(context)
    program = build(cl.Program(context, _PROBE), ["-cl-std=CL1.2"], device)
    x = np.arange(count, dtype=np.float32)
    y = np.full(count, np.nan, np.float32)
    flags = cl.mem_flags
    source = cl.Buffer(context, flags.READ_ONLY | flags.COPY_HOST_PTR, hostbuf=x)
    target = cl.Buffer(context, flags.READ_WRITE | flags.COPY_HOST_PTR, hostbuf=y)
    kernel = cl.Kernel(program, "probe")
    kernel.set_arg(0, source)
    kernel.set_arg(1, target)
    kernel.set_arg(2, np.int32(count))
    cl.enqueue_nd_range_kernel(queue, kernel, (count,), None)
    cl.enqueue_copy(queue, y, target)
    queue.finish()
    return None if np.array_equal(y, 4 * x) else "a small kernel gave wrong results"
