"""Finding OpenCL's platforms, with Intel's CPU runtime from PyPI among them.

That package's own registration names a path of the machine that it was built on. So its libraries are loaded from where
pip put them, and the loader is shown a folder that registers the runtime beside the system's platforms while it starts.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import site
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyopencl as cl

from clconv.errors import Unsupported

__all__ = ["POCL", "check_process", "platforms", "why_hidden"]

#: The name of PoCL's platform.
POCL = "Portable Computing Language"

#: Nothing imports this module before somebody asks for OpenCL: a fork after that is one of a process that uses it.
_process = os.getpid()

#: PoCL reads this when its threads start: with 1, each stays on the processor of its number.
_POCL_AFFINITY = "POCL_AFFINITY"

#: What libintelocl.so needs, in the order in which they can be loaded.
_INTEL_LIBRARIES = ("libimf.so", "libintlc.so.5", "libirng.so", "libsvml.so", "libtbb.so.12", "libcommon_clang.so")

#: Where drivers register.
_VENDORS = (Path("/etc/OpenCL/vendors"), Path(sys.prefix, "etc/OpenCL/vendors"))

#: With one of these the user has said where the loader is to look.
_LOADER_VARIABLES = ("OCL_ICD_VENDORS", "OCL_ICD_FILENAMES", "OPENCL_VENDOR_PATH")


def check_process() -> None:
    """Refuse to go on in a forked child: drivers do not survive a fork, and some hang."""
    if os.getpid() != _process:
        raise Unsupported(
            "OpenCL was in use when this process was forked, and its drivers do not survive that: start processes with "
            'the methods "spawn" or "forkserver", or use device="native" here'
        )


def platforms() -> list[Any]:
    """Return all platforms, an empty list if there are none."""
    runtime = None if any(name in os.environ for name in _LOADER_VARIABLES) else _intel_runtime()
    try:
        with _spread_pocl(), contextlib.nullcontext() if runtime is None else _registered(runtime):
            return list(cl.get_platforms())
    except cl.Error as error:
        if getattr(error, "code", None) == -1001:  # PLATFORM_NOT_FOUND_KHR, the loader's word for none
            return []
        raise Unsupported(f"OpenCL's loader fails: {error}") from error


def why_hidden(names: list[str]) -> str | None:
    """Return why Intel's runtime is installed but not among the platforms of these names, or None."""
    if _intel_library() is None or any("Intel" in name for name in names):
        return None
    said = [name for name in _LOADER_VARIABLES if name in os.environ]
    if said:
        return f"{said[0]} is set and says where OpenCL looks for drivers"
    return "its libraries cannot be loaded, or OpenCL was started before clconv could register it: call clconv first"


def _spread_pocl() -> contextlib.AbstractContextManager[None]:
    """Ask PoCL to give each of its threads a processor while it starts them, which it does when it is first found.

    A launch ends within a millisecond, sooner than Linux moves threads that it woke on one processor apart. Nothing is
    asked where the user has chosen, or keeps this process off some processors, which PoCL does not heed.
    """
    if _POCL_AFFINITY in os.environ or not _may_use_all_processors():
        return contextlib.nullcontext()
    return _set(_POCL_AFFINITY, "1")


def _may_use_all_processors() -> bool:
    """Return whether this process may run on every processor, as far as the system tells."""
    if not hasattr(os, "sched_getaffinity"):
        return False
    return os.sched_getaffinity(0) == set(range(os.sysconf("SC_NPROCESSORS_CONF")))


def _intel_library() -> Path | None:
    """Return Intel's driver library as pip installs it, or None."""
    if not sys.platform.startswith("linux"):
        return None
    candidates = [Path(prefix, "lib", "libintelocl.so") for prefix in (sys.prefix, site.getuserbase())]
    return next((library for library in candidates if library.is_file()), None)


def _intel_runtime() -> Path | None:
    """Return Intel's driver library with what it needs loaded, or None."""
    runtime = _intel_library()
    if runtime is not None:
        try:
            for library in _INTEL_LIBRARIES:
                if (runtime.parent / library).is_file():
                    ctypes.CDLL(str(runtime.parent / library), mode=ctypes.RTLD_GLOBAL)
        except OSError:
            return None
    return runtime


@contextlib.contextmanager
def _registered(runtime: Path) -> Iterator[None]:
    """Show the loader a folder with the runtime and every other registration, for as long as it starts."""
    try:
        folder = tempfile.TemporaryDirectory(prefix="clconv-icd-")
    except OSError:  # nowhere to write: the system's own platforms remain
        yield
        return
    with folder as name:
        _register_all(runtime, Path(name))
        with _set("OCL_ICD_VENDORS", name):
            yield


@contextlib.contextmanager
def _set(variable: str, value: str) -> Iterator[None]:
    """Set a variable of the environment that is not there, for the length of a block."""
    os.environ[variable] = value
    try:
        yield
    finally:
        del os.environ[variable]


def _register_all(runtime: Path, folder: Path) -> None:
    """Write into a folder the registration of the runtime, and the system's that name a library that is there."""
    (folder / "clconv-intel.icd").write_text(f"{runtime}\n", encoding="utf-8")
    for vendors in _VENDORS:
        for entry in sorted(vendors.glob("*.icd")):
            with contextlib.suppress(OSError, UnicodeDecodeError):
                library = entry.read_text(encoding="utf-8").strip()
                if not os.path.isabs(library) or os.path.exists(library):
                    (folder / entry.name).write_text(f"{library}\n", encoding="utf-8")
