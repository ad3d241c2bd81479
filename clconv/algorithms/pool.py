"""The algorithms of pooling and unpooling."""

from __future__ import annotations

from clconv.algorithms import pool_portable, pool_rows
from clconv.algorithms.algorithm import Algorithm, portable

__all__ = ["ALGORITHMS"]

ALGORITHMS: dict[str, tuple[Algorithm, ...]] = {
    "max_pool_fwd": (pool_rows.MAX_FWD, portable(pool_portable.plan_max_fwd)),
    "max_pool_bwd": (pool_rows.MAX_BWD_KEPT, pool_rows.MAX_BWD, portable(pool_portable.plan_max_bwd)),
    "avg_pool_fwd": (pool_rows.AVG_FWD, portable(pool_portable.plan_avg_fwd)),
    "avg_pool_bwd": (pool_rows.AVG_BWD, portable(pool_portable.plan_avg_bwd)),
    "lp_pool_fwd": (pool_rows.LP_FWD, portable(pool_portable.plan_lp_fwd)),
    "lp_pool_bwd": (pool_rows.LP_BWD, portable(pool_portable.plan_lp_bwd)),
    "max_unpool_fwd": (portable(pool_portable.plan_unpool_fwd),),
    "max_unpool_bwd": (portable(pool_portable.plan_unpool_bwd),),
}
