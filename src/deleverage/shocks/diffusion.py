"""The factor diffusion of log fundamentals, with a burst of volatility at the macro shock."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from deleverage.world import Macro


def volatility_multiplier(macro: Macro, since: Array) -> Array:
    r"""Multiplier of volatility: $1 + (m - 1)\,2^{-\tau/\eta}$ from the shock on, 1 before.

    Args:
        macro: Multiplier $m$ at the shock and half-life $\eta$, minutes.
        since: $\tau$, minutes from the shock to the start of the interval, `[time, path]`.

    Returns:
        The multiplier, `[time, path]`.
    """
    burst = (macro.volatility_multiplier - 1) * jnp.exp2(
        -jnp.maximum(0, since) / macro.volatility_half_life
    )
    return 1 + jnp.where(since >= 0, burst, 0)


def log_change(
    loading: Array, variance: Array, multiplier: Array, normals: Array, interval: float
) -> Array:
    r"""Change of log price over one interval; the price stays a martingale.

    $$\nu\sqrt g \sum_f L_{af} Z_f - \nu^2 g / 2\;\sigma^2_a$$

    Args:
        loading: $L$, per square root of a minute, `[asset, factor]`.
        variance: $\sigma^2$ of the asset the price follows, per minute, `[asset]`.
        multiplier: $\nu$, `[path]`.
        normals: $Z$, `[factor, path]`.
        interval: $g$, minutes.

    Returns:
        `[asset, path]`.

    Source: MODEL.md section 2.1.
    """
    scaled = loading * interval**0.5
    shocks = multiplier * normals
    change = (-interval / 2) * variance[:, None] * (multiplier * multiplier)
    # Multiply-adds, one a factor: cheaper than einsum, and the same rounding in every row.
    for factor in range(loading.shape[1]):
        change = change + scaled[:, factor, None] * shocks[factor]
    return change
