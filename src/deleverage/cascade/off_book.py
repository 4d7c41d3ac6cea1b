"""Stage 6: collateral that goes to the issuer or to backstop buyers, as far as they take it.

A layout whose collateral all goes to order books traces nothing of this. MODEL.md 2.6.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from deleverage.cascade.books import BACKSTOP, REDEEM, BookRules
from deleverage.cascade.maps import Maps
from deleverage.cascade.margin_call import MarginCall
from deleverage.cascade.once import once
from deleverage.cascade.parts import Part
from deleverage.cascade.primitives import add_slots, contract, share_served, to_slot
from deleverage.cascade.sales import SaleTerms
from deleverage.cascade.trading import CollateralOrders
from deleverage.cascade.worklist import Drive, visit, where_needed
from deleverage.world import Layout


class OffBook(NamedTuple):
    """Units of collateral sold off the books in a step, `[I, column]`, and what was paid."""

    redeemed: Array
    taken: Array  # by backstop buyers
    redemption_price: Array
    backstop_price: Array

    @property
    def proceeds(self) -> Array:
        """USD millions before fees, `[I, column]`."""
        return self.redeemed * self.redemption_price + self.taken * self.backstop_price

    def redeemed_by_asset(self, layout: Layout, maps: Maps) -> Array:
        """Units redeemed with each issuer, `[pegged, column]`."""
        return contract(_of_issuer(layout, maps), self.redeemed)


def fill_off_book(
    layout: Layout,
    maps: Maps,
    rules: BookRules,
    orders: CollateralOrders,
    terms: SaleTerms | None,
    redemption_capacity: Array,
    call: MarginCall,
    minutes: float,
    drive: Drive,
) -> tuple[CollateralOrders, OffBook | None]:
    r"""Orders to the issuer and to backstop buyers as far as these take them, pro rata.

    Args:
        layout: Static world.
        maps: Its relations.
        rules: Of all books.
        orders: What cohorts want to sell.
        terms: Prices and capacities.
        redemption_capacity: Units that each issuer redeems in this step, `[pegged, column]`.
        call: Stage-4 findings.
        minutes: Length of the step.
        drive: How cohorts are visited.

    Source: MODEL.md section 2.6, A21.
    """
    if not maps.any_off_book:
        return orders, None
    nothing = jnp.zeros((len(maps.index_asset), *orders.units.shape[1:]), orders.units.dtype)

    def add_wanted(part: Part, so_far: tuple[Array, Array]) -> tuple[Array, Array]:
        sold, facts = part.take(orders.sold), part.take(rules.facts)
        return tuple(
            add_slots(
                rows,
                facts.collateral,
                [
                    jnp.where(own == kind, units, 0)
                    for units, own in zip(sold, facts.sale_kind, strict=True)
                ],
            )
            for rows, kind in zip(so_far, (REDEEM, BACKSTOP), strict=True)
        )

    redeem, offer = visit(drive, call.pledgers, add_wanted, (nothing, nothing))

    issuer, same = _of_issuer(layout, maps), _of_pool(maps)
    served = share_served(redemption_capacity, contract(issuer, redeem))
    by_issuer = contract(issuer.T, served)
    bought = share_served(terms.capacity * minutes, contract(same, offer * terms.backstop))

    def fill(part: Part, sold: Array) -> list[Array]:
        facts = part.take(rules.facts)
        filled = []
        for units, kind, entry in zip(
            part.take(sold), facts.sale_kind, facts.collateral, strict=True
        ):
            share = jnp.where(kind == BACKSTOP, to_slot(bought, entry), 1)
            share = jnp.where(kind == REDEEM, to_slot(by_issuer, entry), share)
            filled.append(units * share)
        return filled

    def fill_part(part: Part, sold: Array) -> Array:
        return part.put(sold, once(fill, part, sold))

    short = jnp.any(served < 1) | jnp.any(bought < 1)
    sold = where_needed(
        drive,
        short,
        lambda: visit(drive, call.pledgers, fill_part, orders.sold),
        lambda: orders.sold,
    )
    done = OffBook(redeem * by_issuer, offer * bought, terms.redemption, terms.backstop)
    return orders._replace(sold=sold), done


def _of_issuer(layout: Layout, maps: Maps) -> np.ndarray:
    """Index entries of each pegged asset, `[pegged, I]`."""
    return (np.array(layout.pegged)[:, None] == maps.index_asset).astype(float)


def _of_pool(maps: Maps) -> np.ndarray:
    """Index entries that share a backstop: of the same asset on the same venue, `[I, I]`."""
    place = maps.index_venue * maps.assets + maps.index_asset
    return (place[:, None] == place).astype(float)
