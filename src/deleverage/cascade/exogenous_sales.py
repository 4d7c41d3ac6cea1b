"""Stage 7: exogenous sellers and vaults, whose orders trade beside due cohorts'. MODEL.md 2.7."""

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
    any: Array  # scalar bool: sellers, vaults or cohorts
    vaults: Array | None = None  # contracts that vaults sell, bought < 0; None: there are none

    @property
    def net_perps(self) -> Array:
        """Contracts that all of them sell net."""
        return self.perps if self.vaults is None else self.perps + self.vaults

    @property
    def all_perps(self) -> Array:
        """Contracts that those sell who do not buy."""
        return self.perps if self.vaults is None else self.perps + jnp.maximum(self.vaults, 0)


def sellers_of(
    maps: Maps,
    sales: Array | None,
    price: Array,
    call: MarginCall,
    vaults: Array | None = None,
) -> Sellers:
    """Orders of exogenous sellers and vaults by kind of book; none of them are liquidations.

    Args:
        maps: Relations of the layout.
        sales: Units in this step, `[market, 1, path]`, None without sellers.
        price: Of the shape of a column's markets.
        call: Whether any cohort sells.
        vaults: Contracts that vaults work off, `[market, column]`; None without vaults.

    Source: MODEL.md section 2.7.
    """
    nothing, anybody = jnp.zeros_like(price), call.sellers.any
    if vaults is not None:
        anybody |= jnp.any(vaults != 0)
    if sales is None:
        return Sellers(nothing, nothing, anybody, vaults)
    sold = nothing + sales
    return Sellers(
        jnp.where(maps.is_perp, sold, 0),
        jnp.where(maps.is_perp, 0, sold),
        anybody | jnp.any(sales != 0),
        vaults,
    )
