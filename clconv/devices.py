"""Which device an operation runs on.

An argument goes before ``with use(...)``, that before the environment's CLCONV_DEVICE, then PYOPENCL_CTX, then a GPU
that OpenCL finds, then native. What somebody chose is never replaced; only the default falls back.
"""

from __future__ import annotations

import contextvars
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from clconv import opencl
from clconv.arrays import is_device_array
from clconv.errors import Unsupported
from clconv.executor import Executor
from clconv.kept_memory import physical_memory
from clconv.native import executor as native_executor

__all__ = ["DeviceInfo", "devices", "executor_for", "executor_in_force", "use"]

_log = logging.getLogger("clconv")
_chosen: contextvars.ContextVar[Any] = contextvars.ContextVar("clconv device", default=None)


class DeviceInfo(NamedTuple):
    """A device as :func:`devices` lists it.

    Attributes
    ----------
    name : str
        What ``device=`` takes to choose it.
    kind : str
        "native", "gpu", "cpu" or "accelerator".
    description : str
        The device's own name, and for native the level and the number of threads.
    version : str
        Versions of OpenCL and of the driver; empty for native.
    memory : int
        Bytes of memory, 0 if unknown.
    fp64, fp16 : bool
        Whether it computes in double, and has half arithmetic (clconv stores half on every device).
    problem : str or None
        Why it cannot be used; None if it can.
    """

    name: str
    kind: str
    description: str
    version: str
    memory: int
    fp64: bool
    fp16: bool
    problem: str | None


def devices() -> list[DeviceInfo]:
    """Return every device that clconv knows of here, the unusable ones with the reason.

    Each OpenCL device has built and run a small kernel, and its result was checked, before it is called usable.

    Examples
    --------
    >>> import clconv
    >>> clconv.devices()[0].name
    'native'
    """
    try:
        problem = native_executor.why_unusable()
        description = problem or f"level {native_executor.level()}, {native_executor.get_num_threads()} threads"
    except ValueError as error:  # CLCONV_NUM_THREADS: the list is where its user will look
        problem = description = str(error)
    native = DeviceInfo("native", "native", description, "", physical_memory(), True, True, problem)
    return [native, *(DeviceInfo(*facts) for facts in opencl.listing())]


@contextmanager
def use(device: Any) -> Iterator[None]:
    """Choose the device for the operations inside a ``with`` block.

    Parameters
    ----------
    device : str or pyopencl.Device or pyopencl.Context or pyopencl.CommandQueue
        ``"native"``, ``"opencl"``, ``"opencl:<platform>"`` or ``"opencl:<platform>:<device>"``, where platform and
        device are numbers or parts of names; or an object of pyopencl.

    Raises
    ------
    Unsupported
        If no such device is usable; the message gives each device's reason.

    Examples
    --------
    >>> import numpy, clconv
    >>> with clconv.use("native"):
    ...     clconv.conv1d(numpy.ones((1, 4), "float32"), numpy.ones((1, 1, 3), "float32"))
    array([[3., 3.]], dtype=float32)
    """
    _executor_named(device)
    token = _chosen.set(device)
    try:
        yield
    finally:
        _chosen.reset(token)


def executor_for(device: Any, array: Any, dtype: str) -> Executor:
    """Return what runs an operation on ``array``: for a pyopencl array its own queue, else the device in force."""
    if is_device_array(array):
        executor: Executor = opencl.executor_for_array(array, _chosen.get() if device is None else device)
    else:
        executor = executor_in_force(device)
    executor.check_dtype(dtype)
    return executor


def executor_in_force(device: Any) -> Executor:
    """Return what runs operations on NumPy arrays: of ``device``, or of the choice in force where that is None."""
    chosen = _chosen.get() if device is None else device
    if chosen is not None:
        return _executor_named(chosen)
    for variable, prefix in (("CLCONV_DEVICE", ""), ("PYOPENCL_CTX", "opencl:")):
        name = os.environ.get(variable)
        if name:
            try:
                return _executor_named(prefix + name)
            except (ValueError, Unsupported) as error:
                raise type(error)(f"{variable}={name!r} in the environment: {error}") from error
    return _default()


def _executor_named(device: Any) -> Executor:
    if isinstance(device, str) and device not in ("native", "opencl") and not device.startswith("opencl:"):
        raise ValueError(
            'device takes "native", "opencl", "opencl:<platform>", "opencl:<platform>:<device>" or an object of '
            f"pyopencl: device={device!r}"
        )
    native = isinstance(device, str) and device == "native"
    return native_executor.native() if native else opencl.executor_named(device)


_default_executor: Executor | None = None
_default_lock = threading.Lock()


def _forget_default() -> None:
    """Look again in a forked child, where OpenCL is gone and the thread that held the lock may be, too."""
    global _default_executor, _default_lock
    _default_executor, _default_lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_default)


def _default() -> Executor:
    """Return the best GPU's executor, or native; looked for once in a process."""
    global _default_executor
    with _default_lock:
        if _default_executor is None:
            _default_executor = _find_default()
        return _default_executor


def _find_default() -> Executor:
    gpu, reason = opencl.best_gpu()
    if gpu is not None:
        return gpu
    unusable = native_executor.why_unusable()
    if unusable is None:
        _log.info("%s: running on the native device, level %s", reason, native_executor.level())
        return native_executor.native()
    try:
        executor = opencl.executor_named("opencl")
    except Unsupported as error:
        raise Unsupported(f"the native device is not usable ({unusable}), and {error}") from error
    _log.warning("%s, and %s: running on %s", reason, unusable, executor.name)
    return executor
