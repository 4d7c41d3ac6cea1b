"""Depth that shrinks while a market moves more than it usually does. MODEL.md 2.7."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from deleverage.cascade.impact import Depth
from deleverage.cascade.primitives import smoothed_variance
from deleverage.policy import ThinningRules
from deleverage.state import Volatility


def thin(rules: ThinningRules, depth: Depth, variance: Array) -> Depth:
    r"""Depth under the realised variance that the step before left.

    $$l \max(\ell, 1 / (1 + c \max(0, v / v_0 - 1)))$$

    Args:
        rules: Strength $c$, normal variance $v_0$ and the share $\ell$ that stays (A17).
        depth: After the liquidity drop.
        variance: $v$, of log returns per minute, `[market, column]`.

    Source: MODEL.md section 2.7.
    """
    thinner = 1 + rules.strength * jnp.maximum(0, variance / rules.normal - 1)
    thinner = jnp.minimum(thinner, 1 / rules.least)
    return Depth(depth.multiplier / thinner, depth.local / thinner, depth.inverse * thinner)


def realise(
    rules: ThinningRules, before: Volatility, log_price: Array, minutes: float
) -> Volatility:
    """Average the squared log return since the end of the step before, jumps in full (A17)."""
    moved = log_price - before.log_price
    variance = smoothed_variance(before.variance, moved, rules.smoothing, minutes)
    return Volatility(variance, log_price)
