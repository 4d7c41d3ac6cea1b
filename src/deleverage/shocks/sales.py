"""Exogenous sellers. MODEL.md 2.1 and 2.7."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from deleverage.world import World


def units_sold(world: World, time: Array, paths: int) -> Array | None:
    r"""Units that exogenous sellers sell in each step, `[time, market, path]`.

    $$q\,(c(t) - c(t - h)), \quad c(t) = \operatorname{clip}((t - s)/d,\,0,\,1)$$

    Args:
        world: Sellers, each with units $q$, start $s$ and duration $d$; the step $h$.
        time: Ends of steps $t$, minutes, `[time, 1]`.
        paths: How many; all are alike.

    Returns:
        None where there is no seller.

    Source: MODEL.md section 2.1, A8.
    """
    if not world.sales:
        return None
    rows = [jnp.zeros_like(time) for _ in world.layout.markets]
    for sale in world.sales:
        done = jnp.clip((time - sale.start) / sale.duration, 0, 1)
        # the share done by the step before, so that all shares sum to 1 but for rounding
        before = jnp.clip((time - world.layout.step - sale.start) / sale.duration, 0, 1)
        rows[sale.market] = rows[sale.market] + sale.units * (done - before)
    sold = jnp.stack(rows, axis=1)
    return jnp.broadcast_to(sold, (*sold.shape[:2], paths))
