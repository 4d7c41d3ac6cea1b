"""Stage 7: price impact, the same however an order is sliced. MODEL.md 2.7."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from deleverage.cascade.primitives import ratio_or_zero
from deleverage.policy import ImpactRules


class Depth(NamedTuple):
    """Order books' depth in this step, `[market, column]`."""

    multiplier: Array  # liquidity l in (0, 1]
    local: Array  # USD millions per unit of log price
    inverse: Array  # its inverse


def local_depth(rules: ImpactRules, liquidity_drop: Array) -> Depth:
    """Depth after the liquidity drop."""
    multiplier = 1 - rules.sensitivity * liquidity_drop
    local = rules.depth * multiplier
    return Depth(multiplier, local, 1 / local)


def execute(depth: Depth, price: Array, units_sold: Array) -> tuple[Array, Array]:
    r"""Move linear books and find the average price of the step's orders.

    $$dy = Q / D, \qquad A = P\,(1 - e^{-dy}) / dy$$

    Args:
        depth: Of this step.
        price: Stage-2 prices, `[market, column]`.
        units_sold: $Q$, net units sold, `[market, column]`.

    Returns:
        The rise of the displacement and the average price, both `[market, column]`.

    Source: MODEL.md section 2.7.
    """
    rise = units_sold * depth.inverse
    slip = jnp.where(rise == 0, 1, ratio_or_zero(-jnp.expm1(-rise), rise))
    return rise, price * slip
