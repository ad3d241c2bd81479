"""Kernels built for one device, kept in the process and on disk.

An entry on disk is the device's own binary behind a header: a magic word, the hash of everything that it was built
from, and the hash of the binary. It is written to a temporary file and renamed, so there is no lock and no half entry;
one that is damaged, foreign or refused by the driver is built again and replaced. Of a driver that keeps what it has
built itself nothing is stored.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import tempfile
import threading
import warnings
from pathlib import Path
from typing import Any

import platformdirs
import pyopencl as cl

from clconv import kernel_source
from clconv.errors import BuildError
from clconv.opencl.runtimes import POCL

__all__ = ["Programs", "build", "cache_folder"]

_log = logging.getLogger("clconv")
_build_lock = threading.Lock()
_MAGIC = b"clconv program 1\n"
_HASH_SIZE = hashlib.sha256().digest_size

Defines = tuple[tuple[str, int], ...]


def cache_folder() -> Path:
    """Return the folder of the built programs: in CLCONV_CACHE_DIR, or the user's cache folder."""
    return Path(os.environ.get("CLCONV_CACHE_DIR") or platformdirs.user_cache_dir("clconv")) / "programs"


class Programs:
    """The built programs of a device in a context."""

    def __init__(self, context: Any, device: Any) -> None:
        self.context = context
        self.device = device
        self._lock = threading.Lock()
        self._programs: dict[tuple[str, Defines], Any] = {}

    def kernel(self, file: str, name: str, defines: Defines) -> Any:
        """Return a new kernel object, which is the caller's alone: its arguments are state."""
        return cl.Kernel(self._program(file, defines), name)

    def _program(self, file: str, defines: Defines) -> Any:
        with self._lock:
            key = file, defines
            if key not in self._programs:
                options = ["-cl-std=CL1.2", *(f"-D{name}={value}" for name, value in defines)]
                self._programs[key] = self._cached(file, options)
            return self._programs[key]

    def _cached(self, file: str, options: list[str]) -> Any:
        """Load a program from disk, or build it and store it there unless its driver keeps it."""
        source = kernel_source.expanded(file)
        key = self._key(source, options)
        path = cache_folder() / f"{key.hex()}.bin"
        binary = _read_entry(path, key)
        if binary is not None:
            try:
                return build(cl.Program(self.context, [self.device], [binary]), options, self.device)
            except (cl.Error, ValueError) as error:
                _log.info("%s: the driver refuses the stored program %s (%s), building it again", file, path, error)
        try:
            program = build(cl.Program(self.context, source), options, self.device)
        except cl.Error as error:
            raise BuildError(
                f"{self.device.name.strip()} cannot build {file} with {' '.join(options)}:\n{error}"
            ) from error
        if not keeps_its_own(self.device):
            _write_entry(path, key, _binary_of(program, self.device))
        return program

    def _key(self, source: str, options: list[str]) -> bytes:
        device, platform = self.device, self.device.platform
        parts = [source, options, platform.name, platform.version, device.name, device.version, device.driver_version]
        # Processors of one name may have other vectors: a home folder may be shared by many machines.
        parts += [device.extensions, device.native_vector_width_float]
        parts += [os.environ.get("PYOPENCL_BUILD_OPTIONS", "")]  # which pyopencl adds
        return hashlib.sha256(json.dumps(parts).encode()).digest()


def build(program: Any, options: list[str], device: Any) -> Any:
    """Build a program, past pyopencl's own cache, which turns a damaged entry into an error."""
    # pyopencl warns whenever a compiler prints anything at all; what is done about warnings is shared by all threads.
    with _build_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore", cl.CompilerWarning)
        return program.build(options, devices=[device], cache_dir=False)


def keeps_its_own(device: Any) -> bool:
    """Return whether a device's driver keeps what it has built, and would build everything once more to hand it out.

    PoCL compiles a kernel when it is first launched with a local size. To hand out a binary it compiles all kernels of
    the file for any local size, which nothing runs: the first call would take two to four times as long.
    """
    return bool(device.platform.name == POCL)


def _binary_of(program: Any, device: Any) -> bytes:
    """Return the binary of a built program, empty where the driver gives none."""
    try:
        return bytes(program.binaries[program.devices.index(device)])
    except (cl.Error, ValueError, IndexError):
        return b""


def _read_entry(path: Path, key: bytes) -> bytes | None:
    """Return the binary of an entry if it is whole and has this key."""
    try:
        entry = path.read_bytes()
    except OSError:
        return None
    head = len(_MAGIC) + len(key) + _HASH_SIZE
    binary = entry[head:]
    if entry[:head] != _MAGIC + key + hashlib.sha256(binary).digest():
        _log.info("%s is damaged or foreign, building the program again", path)
        return None
    return binary


def _write_entry(path: Path, key: bytes, binary: bytes) -> None:
    """Store an entry; a cache that cannot be written is no error."""
    if not binary:
        return
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".tmp", delete=False) as file:
            temporary = file.name
            file.write(_MAGIC + key + hashlib.sha256(binary).digest() + binary)
        os.replace(temporary, path)
    except OSError as error:
        _log.info("the built program is not kept in %s: %s", path.parent, error)
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
