"""The errors that are clconv's own; wrong values are ValueErrors and wrong types TypeErrors."""

from __future__ import annotations

__all__ = ["BuildError", "DeviceMemoryError", "Unsupported"]


class Unsupported(RuntimeError):
    """A device that cannot do what is asked of it, or is not there."""


class BuildError(RuntimeError):
    """A kernel that a device's compiler refused; the message ends with the compiler's log."""


class DeviceMemoryError(MemoryError):
    """Memory that a device or the host could not give; the message says how much was asked for."""
