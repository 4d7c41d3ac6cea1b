"""Stage 7: orders beyond the end of a measured book stay with who placed them. MODEL.md 2.7.

They are no orders of the next step, which decides anew (A13).

A layout without books of kind `profile` places no such orders: nothing of this is traced.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from deleverage.cascade.books import BookRules, sale_routes
from deleverage.cascade.exogenous_sales import Sellers
from deleverage.cascade.impact import OrderBooks
from deleverage.cascade.margin_call import MarginCall
from deleverage.cascade.once import once
from deleverage.cascade.parts import Part
from deleverage.cascade.primitives import (
    add_cohorts,
    add_slots,
    to_slot,
    total,
)
from deleverage.cascade.room import fill_shares
from deleverage.cascade.sales import filled_sales
from deleverage.cascade.trading import CollateralOrders, PerpOrders
from deleverage.cascade.worklist import Drive, visit, where_needed


def fill_perp_orders(
    rules: BookRules,
    orders: PerpOrders,
    others: Sellers,
    books: OrderBooks,
    call: MarginCall,
    drive: Drive,
) -> tuple[PerpOrders, Array | None, Array | None]:
    """Perp orders as far as the books take them, those of vaults, and who lacks something.

    Source: MODEL.md section 2.7.
    """
    perps = books.maps.is_perp[books.maps.profile_books]
    if not drive.feedback or not perps.any():
        return orders, others.vaults, None

    def add_sold(part: Part, sold: Array) -> Array:
        closed, facts = part.take(orders.closed), part.take(rules.facts)
        return add_slots(sold, facts.market, [jnp.maximum(units, 0) for units in closed])

    sold = visit(drive, call.sellers, add_sold, others.all_perps)
    # no less than none: two sums of the same orders differ by a rounding
    bought = jnp.maximum(sold - orders.units, 0)
    fills = fill_shares(books, sold, bought)

    vaults = others.vaults
    if vaults is not None:
        vaults = vaults * jnp.where(vaults > 0, fills.sells, fills.buys)

    def fill(part: Part, closed: Array) -> list[Array]:
        facts = part.take(rules.facts)
        return [
            units * jnp.where(units > 0, to_slot(fills.sells, at), to_slot(fills.buys, at))
            for units, at in zip(part.take(closed), facts.market, strict=True)
        ]

    def fill_part(part: Part, so_far: tuple[Array, Array]) -> tuple[Array, Array]:
        filled, facts = once(fill, part, so_far[0]), part.take(rules.facts)
        return part.put(so_far[0], filled), add_slots(so_far[1], facts.market, filled)

    def refill() -> tuple[Array, Array]:
        beside = others.perps * fills.sells
        nothing = (orders.closed, beside if vaults is None else beside + vaults)
        return visit(drive, call.sellers, fill_part, nothing)

    closed, units = where_needed(
        drive, jnp.any(fills.unfilled), refill, lambda: (orders.closed, orders.units)
    )
    return orders._replace(closed=closed, units=units), vaults, fills.unfilled


def fill_collateral_orders(
    rules: BookRules,
    orders: CollateralOrders,
    others: Sellers,
    books: OrderBooks,
    call: MarginCall,
    drive: Drive,
) -> tuple[CollateralOrders, Array | None, Array | None]:
    """Collateral orders as far as the books take them, the shares taken, and who lacks something.

    Source: MODEL.md section 2.7.
    """
    perps = books.maps.is_perp[books.maps.profile_books]
    if not drive.feedback or perps.all():
        return orders, None, None
    fills = fill_shares(books, orders.units, jnp.zeros_like(orders.units))
    filled = fills.sells

    def fill(part: Part, sold: Array) -> list[Array]:
        slots = zip(part.take(sold), sale_routes(part.take(rules.facts)), strict=True)
        # less what is not taken: shares that sum to 1 but for rounding must leave nothing behind
        return [
            units * (1 - total([share * (1 - to_slot(filled, at)) for at, share in shares]))
            for units, shares in slots
        ]

    def fill_part(part: Part, so_far: tuple[Array, Array]) -> tuple[Array, Array]:
        sold, facts, units = once(fill, part, so_far[0]), part.take(rules.facts), so_far[1]
        for slot, shares in zip(sold, filled_sales(facts, filled), strict=True):
            for market, share in shares:
                units = add_cohorts(units, market, slot * share)
        return part.put(so_far[0], sold), units

    def refill() -> tuple[Array, Array]:
        nothing = (orders.sold, others.spot * filled)
        return visit(drive, call.pledgers, fill_part, nothing)

    sold, units = where_needed(
        drive, jnp.any(fills.unfilled), refill, lambda: (orders.sold, orders.units)
    )
    return CollateralOrders(sold, units), filled, fills.unfilled
