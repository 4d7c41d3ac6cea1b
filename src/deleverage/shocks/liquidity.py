"""The drop of depth at the macro shock, whose rank follows the severity's."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array
from jax.scipy.special import ndtr, ndtri

from deleverage.shocks.macro import arrival
from deleverage.world import Liquidity


def worst_drop(liquidity: Liquidity, severity_uniform: Array, normals: Array) -> Array:
    r"""Share of depth that goes at the worst, its normal score correlated with the severity's.

    $$\ell + (h - \ell)\,\Phi\bigl(-\rho\,\Phi^{-1}(u) + \sqrt{1 - \rho^2}\,Z\bigr)$$

    Args:
        liquidity: Lowest $\ell$ and highest $h$ drop, correlation $\rho$.
        severity_uniform: $u$, which also gave the severity, `[path]`.
        normals: $Z$, `[path]`.

    Returns:
        The drop, `[path]`.

    Source: MODEL.md section 2.1.
    """
    rho = liquidity.correlation
    score = jnp.sqrt((1 - rho) * (1 + rho)) * normals - rho * ndtri(severity_uniform)
    return liquidity.lowest + (liquidity.highest - liquidity.lowest) * ndtr(score)


def drop(liquidity: Liquidity, worst: Array, since: Array) -> Array:
    """Share of depth that is gone some time after the shock.

    Args:
        liquidity: Onset, hold and half-life of the recovery, minutes.
        worst: Share gone at the worst, `[path]`.
        since: Minutes since the shock, `[time, path]`.

    Returns:
        The drop, 0 before the shock, `[time, path]`.
    """
    recovering = jnp.maximum(0, since - liquidity.onset - liquidity.hold)
    gone = worst * arrival(since, liquidity.onset) * jnp.exp2(-recovering / liquidity.half_life)
    return jnp.where(since > 0, gone, 0)
