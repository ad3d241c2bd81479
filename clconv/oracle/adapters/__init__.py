"""Functions of other systems as implementations that `clconv.oracle.check` can judge.

A target is one of

========================================  ============================================================================
``package.module:function``               a Python function; its name says which operation it is, unless `op` does
``path/to/file.py:function``              the same, in a file
``torch:conv2d``                          an operation of another system's, under the name that the checker has for it:
                                          torch, jax, onnxruntime, openvino, tinygrad, scipy.ndimage, scipy.signal
``c:./library.so:symbol``                 a C function, by pointers and extents: see the text of `c_functions`
``opencl:file.cl:kernel``                 an OpenCL kernel, by the same: see the text of `opencl_kernels`
========================================  ============================================================================

Another system's operation is called as directly as its own arguments allow: an adapter converts arrays, gives arguments
their other names and forms, and leaves it to the system to refuse what is wrong with them. Where the system lacks an
argument, so does the implementation, and a check reports it as not tested; a value for which the system has no words,
such as a mode of interpolation, raises `NotOffered`. Each package is imported when an adapter needs it.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from . import _python, c_functions, opencl_kernels
from ._loaded import Loaded, NotOffered
from ._offer import Offer

__all__ = ["SYSTEMS", "Loaded", "NotOffered", "load", "names"]

SYSTEMS = {
    "torch": "_torch",
    "jax": "_jax",
    "onnxruntime": "_onnxruntime",
    "openvino": "_openvino",
    "tinygrad": "_tinygrad",
    "scipy.ndimage": "_scipy_ndimage",
    "scipy.signal": "_scipy_signal",
}


def load(target: str, op: str | None = None) -> Loaded:
    """Load an implementation by its name.

    Parameters
    ----------
    target : str
        See the module's table.
    op : str, optional
        The operation that it is one of. A C function and an OpenCL kernel need it; another system's operation is
        named by the target.

    Returns
    -------
    Loaded

    Raises
    ------
    ValueError
        If the target has none of these forms, or there is no such file, function or operation.
    ImportError
        If a package is missing; the message says how to install it.

    Examples
    --------
    >>> load("scipy.signal:conv1d").operation
    'conv1d'
    >>> load("math:sqrt", op="conv2d").operation
    'conv2d'
    """
    if not isinstance(target, str):
        raise TypeError(f"target must be a string, got target={target!r}")
    source, _, name = target.rpartition(":")
    if not source or not name:
        raise ValueError(f"target must be module:function or system:operation, got target={target!r}")
    language, _, path = source.partition(":")
    if path and language == "c":
        return c_functions.load(path, name, op)
    if path and language == "opencl":
        return opencl_kernels.load(path, name, op)
    if source not in SYSTEMS:
        return _python.load(source, name, op)
    if op not in (None, name):
        raise ValueError(f"target={target!r} says which operation it is, got op={op!r}")
    return _of_system(source, name)


def names(system: str) -> tuple[str, ...]:
    """Return the operations that a system has an adapter for, whether it is installed or not.

    Examples
    --------
    >>> names("scipy.signal")
    ('conv1d', 'conv2d', 'conv3d')
    """
    return tuple(_module(system).offers())


def _of_system(system: str, name: str) -> Loaded:
    module = _module(system)
    offers: Mapping[str, Offer] = module.offers()
    if name not in offers:
        raise ValueError(f"{system} has no {name!r} here; there are {', '.join(offers)}")
    return offers[name].loaded(name, *module.LIBRARIES)


def _module(system: str) -> Any:
    if system not in SYSTEMS:
        raise ValueError(f"system must be one of {', '.join(SYSTEMS)}; got system={system!r}")
    return importlib.import_module(f".{SYSTEMS[system]}", __package__)
