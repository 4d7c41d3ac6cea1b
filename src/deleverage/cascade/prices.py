"""Stage 2: market prices from fundamentals and displacements. MODEL.md 2.2."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from deleverage.cascade.maps import Maps
from deleverage.cascade.once import once


def log_prices(maps: Maps, log_fundamental: Array, displacement: Array) -> Array:
    """Logarithm of the same, finite also where the price is too small for a float."""
    log_price = log_fundamental[maps.market_asset] - displacement
    if (maps.quote == len(maps.quote)).all():
        return log_price
    usd = jnp.zeros((1, *displacement.shape[1:]), displacement.dtype)
    return log_price - jnp.concatenate([displacement, usd])[maps.quote]


def market_prices(maps: Maps, fundamental: Array, displacement: Array) -> Array:
    r"""USD price ratio of every order book.

    $$P_m = F_a \exp(-y_m - y_{q(m)})$$

    Args:
        maps: Relations of the layout.
        fundamental: $F$, `[asset, column]`.
        displacement: $y$, `[market, column]`, positive = below the fundamental.

    Returns:
        `[market, column]`; a cross pair includes its quote asset's spot book $q(m)$.

    Source: MODEL.md section 2.2, A3.
    """
    discount = once(lambda y: jnp.exp(-y), displacement)
    price = fundamental[maps.market_asset] * discount
    if (maps.quote == len(maps.quote)).all():
        return price
    usd = jnp.ones((1, *discount.shape[1:]), discount.dtype)
    return price * jnp.concatenate([discount, usd])[maps.quote]
