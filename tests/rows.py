"""Convolution in rows, whatever it costs, for tests of its kernels."""

from __future__ import annotations

import contextlib

from clconv.algorithms import ALGORITHMS, forget
from clconv.algorithms.algorithm import no_vectors

__all__ = ["rows_everywhere"]


@contextlib.contextmanager
def rows_everywhere(monkeypatch):
    """Leave convolution in rows, and the portable one for devices without vectors; then undo all that was patched."""
    for operation in ("conv_fwd", "conv_bwd_data"):
        rows = next(algorithm for algorithm in ALGORITHMS[operation] if algorithm.name == "rows")
        everywhere = rows._replace(refusal=lambda problem, traits: no_vectors(traits))
        monkeypatch.setitem(ALGORITHMS, operation, (everywhere, ALGORITHMS[operation][-1]))
    forget()
    yield
    monkeypatch.undo()
    forget()
