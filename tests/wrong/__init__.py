"""Wrong implementations, each a small mutation of a right one: the oracle must find every one of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class WrongImplementation:
    """One of them.

    Attributes
    ----------
    name : what is wrong with it
    op : operation that it claims to be
    impl : the implementation
    cause : what the cause of a finding must contain; empty if none can be expected
    line : number of the classic bug that it has, 0 if it is none of the list's
    features, semantics, dtype, algorithm : its claims
    isolate : whether it takes its process with it
    """

    name: str
    op: str
    impl: Callable[..., Any]
    cause: str = ""
    line: int = 0
    features: tuple[str, ...] = ()
    semantics: str = "torch"
    dtype: str = "float32"
    algorithm: str = "direct"
    isolate: bool = False
