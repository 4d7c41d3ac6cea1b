"""Stage 2: market prices from fundamentals and displacements. MODEL.md 2.2."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from deleverage.cascade.maps import Maps
from deleverage.cascade.primitives import contract


def market_prices(maps: Maps, log_fundamental: Array, displacement: Array) -> Array:
    r"""USD price ratio of every order book.

    $$P_m = F_a \exp(-y_m - y_{q(m)})$$

    Args:
        maps: Relations of the layout.
        log_fundamental: `[asset, path]`.
        displacement: $y$, `[market, path]`, positive = below the fundamental.

    Returns:
        `[market, path]`; a cross pair includes its quote asset's spot book $q(m)$.

    Source: MODEL.md section 2.2.
    """
    fair = contract(maps.market_asset, log_fundamental)
    return jnp.exp(fair - displacement - contract(maps.quote, displacement))
