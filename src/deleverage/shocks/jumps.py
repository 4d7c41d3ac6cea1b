"""Common jumps (Merton 1976), at most one a draw step (A2)."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from deleverage.world import Merton


def jump_size(merton: Merton, interval: float, u: Array, normals: Array) -> Array:
    """Log jump of an asset with loading 1 in each interval, 0 where there is none.

    Args:
        merton: Rate per minute, mean and deviation of the log jump.
        interval: Minutes.
        u: Uniforms that decide whether it jumps, `[time, path]`.
        normals: That decide how far, `[time, path]`.

    Returns:
        `[time, path]`.
    """
    size = merton.mean + merton.deviation * normals
    return jnp.where(u < _probability(merton, interval), size, 0)


def compensation(merton: Merton, interval: float) -> Array:
    r"""What each interval takes off log prices so that jumps leave them martingales, `[asset]`.

    $$\log\bigl(1 + p\,(e^{\lambda_a \mu + \lambda_a^2 \delta^2/2} - 1)\bigr)$$
    """
    exponent = merton.loading * merton.mean + (merton.loading * merton.deviation) ** 2 / 2
    return jnp.log1p(_probability(merton, interval) * jnp.expm1(exponent))


def _probability(merton: Merton, interval: float) -> Array:
    """Of a jump within an interval."""
    return -jnp.expm1(-merton.rate * interval)
