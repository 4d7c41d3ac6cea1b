"""Stage 7: exogenous sellers, whose orders trade beside those of due cohorts. MODEL.md 2.7."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from deleverage.cascade.maps import Maps
from deleverage.cascade.margin_call import MarginCall


class Sellers(NamedTuple):
    """Units that exogenous sellers sell in a step, `[market, column]`, and whether anybody does."""

    perps: Array  # 0 for spot
    spot: Array  # 0 for perps
    any: Array  # scalar bool: sellers or cohorts


def sellers_of(maps: Maps, sales: Array | None, price: Array, call: MarginCall) -> Sellers:
    """Orders of exogenous sellers by kind of book; none of them are liquidations.

    Args:
        maps: Relations of the layout.
        sales: Units in this step, `[market, 1, path]`, None without sellers.
        price: Of the shape of a column's markets.
        call: Whether any cohort sells.

    Source: MODEL.md section 2.7.
    """
    nothing = jnp.zeros_like(price)
    if sales is None:
        return Sellers(nothing, nothing, call.sellers.any)
    sold = nothing + sales
    return Sellers(
        jnp.where(maps.is_perp, sold, 0),
        jnp.where(maps.is_perp, 0, sold),
        call.sellers.any | jnp.any(sales != 0),
    )
