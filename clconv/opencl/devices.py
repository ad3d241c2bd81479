"""The OpenCL devices of this machine: found, tried, ranked, and chosen by name."""

from __future__ import annotations

import functools
import os
import threading
from typing import Any

import numpy as np
import pyopencl as cl

from clconv.errors import Unsupported
from clconv.opencl.executor import OpenCLExecutor
from clconv.opencl.programs import Programs
from clconv.opencl.runtimes import platforms

__all__ = ["choose", "found", "of_array", "ranked"]

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
        except Exception as error:  # drivers fail in many ways, and none of them may reach a user who wants another device
            return f"it cannot build and run a kernel: {' '.join(str(error).split())[:300]}"

    @functools.cached_property
    def executor(self) -> OpenCLExecutor:
        """The executor on a context of its own."""
        return OpenCLExecutor(Programs(cl.Context([self.device]), self.device), self.name)

    def rank(self) -> tuple[int, ...]:
        """Return what sorts the best device first: kind, memory of its own, and rough speed."""
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
        platform_index, device_index = self.name.split(":")[1:]
        return _matches(platform, platform_index, f"{self.platform.name} {self.platform.version}") and _matches(
            device, device_index, self.device.name
        )


def has_double(device: Any) -> bool:
    """Return whether a device computes in double."""
    return bool({"cl_khr_fp64", "cl_amd_fp64"} & set(device.extensions.split())) or bool(device.double_fp_config)


_lock = threading.Lock()
_found: tuple[int, list[FoundDevice]] | None = None


def found() -> list[FoundDevice]:
    """Return every device of every platform, in OpenCL's order; none of them is tried yet."""
    global _found
    with _lock:
        if _found is None:
            _found = os.getpid(), [
                FoundDevice(f"opencl:{p}:{d}", platform, device)
                for p, platform in enumerate(platforms())
                for d, device in enumerate(_devices_of(platform))
            ]
        process, devices = _found
    check_process(process)
    if not devices:
        raise Unsupported("OpenCL finds no device (is a driver installed?)")
    return devices


def check_process(process: int) -> None:
    """Refuse to go on in a forked child: drivers do not survive a fork, and some hang."""
    if os.getpid() != process:
        raise Unsupported(
            "OpenCL was in use when this process was forked, and its drivers do not survive that: start processes with the "
            'methods "spawn" or "forkserver", or use device="native" here'
        )


def ranked() -> list[FoundDevice]:
    """Return all devices, the best first."""
    return sorted(found(), key=FoundDevice.rank)


def choose(device: Any) -> OpenCLExecutor:
    """Return the executor of the device that a name, or an object of pyopencl, stands for."""
    if isinstance(device, str):
        return _choose_by_name(device)
    if isinstance(device, cl.Device):
        return _executor(cl.Context([device]), device, None) if _tried_by_hand(device) else _known(device)
    if isinstance(device, cl.CommandQueue):
        return _executor(device.context, device.device, device)
    if isinstance(device, cl.Context):
        return _executor(device, device.devices[0], None)
    raise TypeError(
        "device takes a name, or a Device, Context or CommandQueue of pyopencl, "
        f"not {type(device).__module__}.{type(device).__qualname__}"
    )


def of_array(array: Any, device: Any) -> OpenCLExecutor:
    """Return the executor of an array's queue, which must belong to ``device`` if that is given."""
    if array.queue is None:
        raise ValueError("a pyopencl array must have a queue: array.with_queue(queue) gives it one")
    if device is not None:
        wanted = choose(device) if device != "native" else None
        if wanted is None or wanted.device != array.queue.device:
            raise ValueError(
                f"pyopencl arrays stay on their device: device={device!r}, but the input's queue is on "
                f"{array.queue.device.name.strip()!r}"
            )
    return _executor(array.queue.context, array.queue.device, array.queue)
