"""Stage 4: haircuts that rise with realised volatility. MODEL.md 2.4.

A run without them traces nothing of this.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from deleverage.cascade.primitives import smoothed_variance
from deleverage.policy import HaircutRules
from deleverage.state import HaircutState

MOST = 1e9
"""A multiplier is at most this, so that nothing cut off stays nothing."""


class Scaling(NamedTuple):
    """What haircuts are multiplied by, and what they are at most after that."""

    multiplier: Array  # [I, column], or of a slot [book, 1, column]
    cap: Array  # the same shapes


def base_haircuts(rules: HaircutRules | None) -> HaircutState | None:
    """Before the first step: volatility at its reference, haircuts as they are written."""
    if rules is None:
        return None
    ones = jnp.ones_like(rules.reference)
    return HaircutState(variance=rules.reference, last_index=ones, multiplier=ones)


def review(
    rules: HaircutRules, before: HaircutState, index_price: Array, t: Array, minutes: float
) -> HaircutState:
    r"""Average the squared log return of the index; at a review, set the multiplier by it.

    $$v \leftarrow v + \alpha (\log^2(I_t / I_{t-1}) / h - v), \quad
      m = \max(1, (v / v_0)^{p/2})$$

    Args:
        rules: Reference variance $v_0$, power $p$, smoothing $\alpha$, steps between reviews.
        before: What the step before left.
        index_price: Published, `[I, column]`.
        t: Number of the step; the first one has no return.
        minutes: Length of the step, $h$.

    Source: MODEL.md section 2.4, A23.
    """
    moved = jnp.log(index_price / before.last_index)
    averaged = smoothed_variance(before.variance, moved, rules.smoothing, minutes)
    variance = jnp.where(t == 0, before.variance, averaged)
    excess = jnp.maximum(1, variance / rules.reference)
    reviewed = jnp.minimum(jnp.power(excess, rules.power / 2), MOST)
    is_due = (t > 0) & (jnp.mod(t.astype(rules.review.dtype), rules.review) == 0)
    return HaircutState(variance, index_price, jnp.where(is_due, reviewed, before.multiplier))


def scaled_credit(credit: Array, value: Array, granted: Array, scaling: Scaling) -> Array:
    r"""Credit of a slot when the part that is cut off grows, `[book, bucket, column]`.

    $$\min(C_0, \max((1 - \text{cap}) g V, C_0 - (m - 1)(g V - C_0)))$$

    Args:
        credit: $C_0$, at the haircuts that are written.
        value: $V$, at index prices.
        granted: Share $g$ of it that the venue's cap grants.
        scaling: Of its index entry.
    """
    counted = granted * value
    cut = credit - (scaling.multiplier - 1) * (counted - credit)
    return jnp.minimum(credit, jnp.maximum((1 - scaling.cap) * counted, cut))
