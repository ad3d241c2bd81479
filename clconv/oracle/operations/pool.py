"""All poolings, forward and backward, as the checker sees them."""

from __future__ import annotations

from ._base import Operation
from ._pool_global import GlobalAvgPool, GlobalMaxPool
from ._pool_max import AdaptiveMaxPool, MaxPool, MaxUnpool
from ._pool_mean import AdaptiveAvgPool, AvgPool, LpPool
from ._pooling import Pooling, PoolingBackward

__all__ = ["POOLS"]

FAMILIES = (MaxPool, AvgPool, LpPool, AdaptiveAvgPool, AdaptiveMaxPool, MaxUnpool)
FORWARD: tuple[Pooling, ...] = (
    *(family(rank) for family in FAMILIES for rank in (1, 2, 3)),
    GlobalAvgPool(),
    GlobalMaxPool(),
)
POOLS: tuple[Operation, ...] = (*FORWARD, *(PoolingBackward(forward) for forward in FORWARD))
