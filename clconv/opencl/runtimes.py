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

__all__ = ["platforms"]

#: What libintelocl.so needs, in the order in which they can be loaded.
_INTEL_LIBRARIES = ("libimf.so", "libintlc.so.5", "libirng.so", "libsvml.so", "libtbb.so.12", "libcommon_clang.so")

#: With one of these the user has said where the loader is to look.
_LOADER_VARIABLES = ("OCL_ICD_VENDORS", "OCL_ICD_FILENAMES", "OPENCL_VENDOR_PATH")


def platforms() -> list[Any]:
    """Return all platforms, an empty list if there are none."""
    runtime = _intel_runtime()
    try:
        if runtime is None or any(os.environ.get(name) for name in _LOADER_VARIABLES):
            return list(cl.get_platforms())
        with _registered(runtime):
            return list(cl.get_platforms())
    except cl.LogicError as error:  # PLATFORM_NOT_FOUND_KHR, the loader's word for none
        if error.code == -1001:
            return []
        raise


def _intel_runtime() -> Path | None:
    """Return Intel's driver library as pip installs it, with what it needs loaded, or None."""
    if not sys.platform.startswith("linux"):
        return None
    prefixes = [Path(sys.prefix), Path(site.getuserbase())]
    for folder in (prefix / "lib" for prefix in prefixes):
        if (folder / "libintelocl.so").is_file():
            try:
                for library in _INTEL_LIBRARIES:
                    if (folder / library).is_file():
                        ctypes.CDLL(str(folder / library), mode=ctypes.RTLD_GLOBAL)
            except OSError:
                return None
            return folder / "libintelocl.so"
    return None


@contextlib.contextmanager
def _registered(runtime: Path) -> Iterator[None]:
    """Show the loader a folder with the runtime and every other registration, for as long as it starts."""
    with tempfile.TemporaryDirectory(prefix="clconv-icd-") as folder:
        Path(folder, "clconv-intel.icd").write_text(f"{runtime}\n", encoding="utf-8")
        for vendors in (Path("/etc/OpenCL/vendors"), Path(sys.prefix, "etc/OpenCL/vendors")):
            for entry in sorted(vendors.glob("*.icd")):
                library = entry.read_text(encoding="utf-8").strip()
                if os.path.isabs(library) and not os.path.exists(library):
                    continue
                Path(folder, entry.name).write_text(f"{library}\n", encoding="utf-8")
        os.environ["OCL_ICD_VENDORS"] = folder
        try:
            yield
        finally:
            del os.environ["OCL_ICD_VENDORS"]
