"""Stage 10: collateral that is segregated from perps, in its owners' hands. MODEL.md section 3.

No account holds any of it, so that no other stage sees it.
"""

from __future__ import annotations

from jax import Array

from deleverage.cascade.maps import Maps
from deleverage.cascade.primitives import total
from deleverage.policy import KeptApart
from deleverage.world import Layout


def lost_apart(
    layout: Layout, maps: Maps, kept: KeptApart | None, price: Array, lost: Array
) -> Array:
    r"""Add what segregated collateral lost in value to what account holders lost.

    $$\sum_i u_i (1 - B'_i), \quad B'_i = \sum_m \text{share}_{im} P'_m$$

    Args:
        layout: Static world.
        maps: Its relations.
        kept: Units by index entry; None: nothing is segregated in any policy.
        price: Of markets at the end, `[market, column]`.
        lost: By venue, `[venue, column]`.

    Source: MODEL.md section 3, A24.
    """
    if kept is None:
        return lost
    worth = [
        total([share * price[market] for market, share in sales]) if sales else 1.0
        for sales in layout.sales
    ]
    for entry, value in enumerate(worth):
        lost = lost.at[int(maps.index_venue[entry])].add(kept.units[entry] * (1 - value))
    return lost
