"""Stages 5 to 7: owners add cash, due cohorts sell, order books move. MODEL.md 2.5 to 2.7.

Perps trade first and their cash settles; then collateral is sold for the cash that is missing. Both
visit only cohorts that have anything to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from deleverage.cascade.books import BookRules, Facts, own_shares, sale_routes
from deleverage.cascade.breaker import is_suspended
from deleverage.cascade.exogenous_sales import Sellers
from deleverage.cascade.impact import OrderBooks
from deleverage.cascade.index import Published
from deleverage.cascade.liquidation import (
    collateral_to_sell,
    perps_to_close,
    share_to_shed,
)
from deleverage.cascade.margin import assess, worth
from deleverage.cascade.margin_call import MarginCall, marked_prices, masks_of
from deleverage.cascade.once import once
from deleverage.cascade.parts import Part
from deleverage.cascade.primitives import (
    add_cohorts,
    add_slots,
    sum_cohorts,
    to_slot,
    to_slots,
    total,
)
from deleverage.cascade.sales import SaleTerms, is_sellable, offered_prices
from deleverage.cascade.top_up import top_up_cash
from deleverage.cascade.worklist import Drive, visit, where_needed
from deleverage.state import Accounts, Orders


class PerpOrders(NamedTuple):
    """Stages 5 and 6, first half."""

    accounts: Accounts  # topped up; positions as before
    closed: Array  # [Jp, book, bucket, column] contracts, signed; old where nobody acts
    units: Array  # [market, column] net units sold
    topped_up: Array  # [venue, column]
    missed_notional: Array  # [column] of cohorts first missed in this step


class _Decided(NamedTuple):
    """What some cohorts do in stages 5 and 6, `[book, bucket, column]`."""

    closed: list[Array]  # of each perp slot
    added: Array  # cash
    cash: Array  # after it
    budget: Array
    missed: Array
    exposed: Array  # notional of those first missed


class CollateralOrders(NamedTuple):
    """Stage 6, second half."""

    sold: Array  # [Jc, book, bucket, column] units; old where nobody sells
    units: Array  # [market, column]


def place_perp_orders(
    rules: BookRules,
    accounts: Accounts,
    orders: Orders,
    call: MarginCall,
    published: Published,
    price: Array,
    gate_open: Array,
    minutes: float,
    drive: Drive,
    beside: Array,
    halted: Array | None = None,
) -> PerpOrders:
    """Let owners top up, and due cohorts close perps.

    Args:
        rules: Of all books.
        accounts: At the start of the step.
        orders: Written over where a cohort has work.
        call: Stage-4 findings.
        published: Index and mark prices.
        price: Stage-2 prices, `[market, column]`.
        gate_open: `[venue, column]`.
        minutes: Length of the step.
        drive: How cohorts are visited.
        beside: Units that others sell, `[market, column]`.
        halted: Index entries whose breaker has tripped, `[I, column]` bool; None: no breakers.

    Source: MODEL.md sections 2.5 and 2.6.
    """

    def decide(part: Part, accounts: Accounts, rules: BookRules, marks: Array) -> _Decided:
        book, mine, marks = part.take((rules, accounts, marks))
        masks = masks_of(marks)
        prices = marked_prices(book.facts, published)
        margin = assess(book.margin, book.start, mine, prices)
        shed = share_to_shed(book, mine, prices) if book.any_targeting else None
        gate = to_slot(gate_open, book.facts.venue)
        added = top_up_cash(book.top_up, mine, margin, masks.is_due, gate, minutes)
        # by stage 4's own word, not by another rounding of it: what a column does is to depend on
        # that column alone, not on whether a neighbour has this cohort visited
        added = jnp.where(masks.acts, added, 0)
        sells = masks.is_forced
        if halted is not None:
            sells &= ~is_suspended(book, halted)
        first = masks.fails_baseline & ~masks.is_due & ~mine.missed
        return _Decided(
            closed=perps_to_close(book, mine, margin, sells, minutes, shed),
            added=added,
            cash=mine.cash + added,
            budget=mine.budget - added,
            missed=mine.missed | first,
            exposed=jnp.where(first, exposure(book.facts, mine, price), 0),
        )

    def place(part: Part, so_far: PerpOrders) -> PerpOrders:
        decided = once(decide, part, so_far.accounts, rules, call.marks)
        facts = part.take(rules.facts)
        return PerpOrders(
            accounts=part.put_fields(so_far.accounts, decided, "cash", "budget", "missed"),
            closed=part.put(so_far.closed, decided.closed),
            units=add_slots(so_far.units, facts.market, decided.closed),
            topped_up=add_cohorts(so_far.topped_up, facts.venue, decided.added),
            missed_notional=so_far.missed_notional + sum_cohorts(decided.exposed),
        )

    by_venue = jnp.zeros((gate_open.shape[0], *price.shape[1:]), price.dtype)
    nothing = PerpOrders(accounts, orders.closed, beside, by_venue, by_venue[0])
    return visit(drive, call.active, place, nothing)


def place_collateral_orders(
    rules: BookRules,
    accounts: Accounts,
    orders: Orders,
    call: MarginCall,
    published: Published,
    price: Array,
    perp_average: Array,
    minutes: float,
    drive: Drive,
    beside: Array,
    terms: SaleTerms | None = None,
    halted: Array | None = None,
) -> CollateralOrders:
    """Sell collateral for the cash that is missing once the perps have settled.

    Args: as in `place_perp_orders`; `orders` hold the perps closed, `perp_average` is the average
        price of their orders, `[market, column]`; `terms` those of sales off the books, None: none.

    Source: MODEL.md section 2.6.
    """

    def decide(
        part: Part, accounts: Accounts, rules: BookRules, marks: Array, closed: Array
    ) -> list[Array]:
        book, mine, marks, closed = part.take((rules, accounts, marks, closed))
        masks = masks_of(marks)
        prices = marked_prices(book.facts, published)
        margin = assess(book.margin, book.start, mine, prices)
        shed = share_to_shed(book, mine, prices) if book.any_targeting else None
        cash = mine.cash + perp_proceeds(book, closed, perp_average)[0]
        at = offered_prices(book.facts, price, terms)
        sellable, sells = is_sellable(book.facts, terms, halted), masks.is_due
        if halted is not None:
            sells &= ~is_suspended(book, halted)
        sold = collateral_to_sell(
            book, mine, margin, sells, closed, cash, at, minutes, shed, sellable
        )
        return [jnp.where(masks.sells, units, 0) for units in sold]

    def place(part: Part, so_far: CollateralOrders) -> CollateralOrders:
        sold = once(decide, part, accounts, rules, call.marks, orders.closed)
        facts, units = part.take(rules.facts), so_far.units
        for slot, shares in zip(sold, sale_routes(facts), strict=True):
            for market, share in shares:
                units = add_cohorts(units, market, slot * share)
        return CollateralOrders(part.put(so_far.sold, sold), units)

    nothing = CollateralOrders(orders.sold, beside)
    return visit(drive, call.pledgers, place, nothing)


def perp_proceeds(
    book: BookRules, closed: Sequence[Array], average_price: Array
) -> tuple[Array | float, Array | float]:
    """Profit of closed contracts less the fee, and the fee, `[book, bucket, column]`."""
    average = to_slots(average_price, book.facts.market)
    orders = list(zip(closed, average, book.start.entry, strict=True))
    fee = book.liquidation.fee * total([jnp.abs(units) * price for units, price, _ in orders])
    return total([units * (price - entry) for units, price, entry in orders]) - fee, fee


def sale_prices(facts: Facts, price: Array) -> list[Array]:
    """What each collateral slot is worth on its venue's own books."""
    return [
        total([to_slot(price, market) * share for market, share in shares])
        for shares in own_shares(facts)
    ]


def exposure(facts: Facts, accounts: Accounts, price: Array) -> Array:
    """Notional of the perps, or of a loan's collateral, `[book, bucket, column]`."""
    pledged = worth(accounts.collateral, sale_prices(facts, price))
    size = [jnp.abs(contracts) for contracts in accounts.contracts]
    return jnp.where(facts.loan, pledged, worth(size, to_slots(price, facts.market)))


def executed(
    drive: Drive, sellers: Sellers, books: OrderBooks, price: Array, units: Array
) -> tuple[Array, Array]:
    """Rise of the displacement and average price of the step's orders, `[market, column]`.

    In the paired run orders move nothing and get the price of stage 2.
    """
    unmoved = (jnp.zeros_like(price), price)
    if not drive.feedback:
        return unmoved
    return where_needed(
        drive, sellers.any, lambda: books.execute(price, units), lambda: unmoved
    )
