"""Stage 3: lower weighted medians of book prices. MODEL.md 2.3."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from deleverage.cascade.primitives import least, total

HALF = 0.5 - 1e-6
"""A cumulative weight that counts as half: float sums of shares may fall a rounding short."""


def lower_weighted_median(candidates: Array, share: Array) -> Array:
    r"""The least price whose cumulative weight reaches half, by pairwise comparison.

    $$\min\{P_n : \textstyle\sum_{P_r \le P_n} w_r \ge 1/2\}$$

    Args:
        candidates: Prices $P$, `[N, I, column]`.
        share: Their weights $w$, which sum to 1, `[N, I, ...]`; 0 of what has no say.

    Returns:
        `[I, column]`; infinite where all weights are 0.

    Source: MODEL.md section 2.3.
    """
    chosen = []
    for candidate in candidates:
        weight = total(list(jnp.where(candidates <= candidate, share, 0)))
        chosen.append(jnp.where(weight >= HALF, candidate, jnp.inf))
    return least(chosen)
