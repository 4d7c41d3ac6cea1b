"""News of issuers: shares of what backs a pegged asset that are lost. MODEL.md 2.1."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from deleverage.world import BackingLoss


def backing_kept(
    losses: tuple[BackingLoss, ...], pegged: int, time: Array, shock_time: Array
) -> Array:
    r"""Share of the backing that the news of each step leaves.

    $$K(t) = \prod (1 - share\, g(t - start)), \quad kept = K(t) / K(t - h)$$

    Args:
        losses: Of all issuers, each linear over its duration.
        pegged: Number of pegged assets.
        time: Ends of steps, minutes, `[step, 1]`.
        shock_time: Of the macro shock, `[path]`.

    Returns:
        `[step, pegged, path]`.

    Source: MODEL.md section 2.1 (backing).
    """
    none = jnp.ones((time.shape[0], shock_time.shape[0]), time.dtype)
    kept = [none] * pegged
    for loss in losses:
        start = loss.start + shock_time if loss.with_macro else loss.start
        left = 1 - loss.share * _arrived(time - start, loss.duration)
        before = jnp.concatenate([jnp.ones_like(left[:1]), left[:-1]])
        kept[loss.asset] = kept[loss.asset] * (left / before)
    return jnp.stack(kept, axis=1)


def _arrived(since: Array, duration: Array) -> Array:
    """Share of the news that has come, 0 until after its start."""
    safe = jnp.where(duration == 0, 1, duration)
    share = jnp.where(duration == 0, 1, jnp.clip(since / safe, 0, 1))
    return jnp.where(since > 0, share, 0)
