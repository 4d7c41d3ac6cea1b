"""Stages 9 and 10, first halves: orders are paid, deficits are found, forced sales are judged.

One visit to each cohort that sells. Who pays for the deficits is `backstop.py`.
"""

from __future__ import annotations

from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jax import Array

from deleverage.cascade.books import BookRules, Facts
from deleverage.cascade.forced_sales import (
    ForcedSales,
    Judged,
    Seized,
    add_judged,
    add_units,
    judge,
    no_sales,
    seized,
)
from deleverage.cascade.index import Published
from deleverage.cascade.maps import Maps
from deleverage.cascade.margin import SlotPrices, has_positions, worth
from deleverage.cascade.margin_call import MarginCall, masks_of
from deleverage.cascade.once import once
from deleverage.cascade.parts import Part
from deleverage.cascade.primitives import add_cohorts, to_slots, total
from deleverage.cascade.sales import SaleTerms, offered_prices
from deleverage.cascade.trading import perp_proceeds, sale_prices
from deleverage.cascade.worklist import Drive, visit
from deleverage.policy import Books
from deleverage.state import Accounts, Orders

CHANGED = ("cash", "contracts", "collateral", "taken_over", "liquidated")
"""Fields of accounts that orders and deficits change."""


class Settled(NamedTuple):
    """Accounts after their orders, with deficits made good, and what that took."""

    accounts: Accounts
    deficit: Array  # [book, bucket, column]; only of sellers
    bad_debt: Array  # [venue, column] their sum
    fees: Array  # [venue, column] to the funds
    swept: Array  # [venue, column] leftovers of wiped-out accounts, to the funds
    sales: ForcedSales


class Paid(NamedTuple):
    """Some cohorts after their orders, `[book, bucket, column]`."""

    accounts: Accounts
    deficit: Array
    fee: Array
    leftover: Array
    units: Seized
    judged: Judged | None  # None in the paired run


def bankruptcy_equity(
    start: Books, accounts: Accounts, prices: SlotPrices
) -> tuple[Array, list[Array]]:
    """Equity at own-venue prices without haircuts, and the unrealised profit of each perp slot.

    Source: MODEL.md section 2.9, A32.
    """
    slots = zip(accounts.contracts, prices.perp, start.entry, strict=True)
    profit = [contracts * (price - entry) for contracts, price, entry in slots]
    return accounts.cash + worth(accounts.collateral, prices.collateral) + total(profit), profit


def own_prices(facts: Facts, price: Array) -> SlotPrices:
    """Prices of slots on their venue's own books, from `[market, column]`."""
    return SlotPrices(sale_prices(facts, price), to_slots(price, facts.market))


def sweep(accounts: Accounts) -> tuple[Accounts, Array]:
    """Take what is left of accounts that are the venue's and hold nothing more (A32)."""
    empty = accounts.taken_over & ~has_positions(accounts)
    leftover = jnp.where(empty, jnp.maximum(accounts.cash, 0), 0)
    return eqx.tree_at(lambda a: a.cash, accounts, accounts.cash - leftover), leftover


def settle(
    maps: Maps,
    rules: BookRules,
    accounts: Accounts,
    orders: Orders,
    deficit: Array,
    call: MarginCall,
    published: Published,
    price: Array,
    average_price: Array,
    closing_price: Array,
    drive: Drive,
    filled: Array | None = None,
    terms: SaleTerms | None = None,
    load_matters: bool = False,
) -> Settled:
    """Pay the orders at average prices, then credit every due account below zero.

    Args:
        maps: Relations of the layout.
        rules: Of all books.
        accounts: Topped up; positions as at the start of the step.
        orders: What they sold.
        deficit: Written over where a cohort sells.
        call: Stage-4 findings.
        published: Fair prices, for the judgement.
        price: Stage-2 prices, `[market, column]`.
        average_price: Of the step's orders.
        closing_price: After stage 8.
        drive: The paired run counts units alone.
        filled: Share of the collateral orders that each book took; None: all of them.
        terms: Of collateral sold off the books; None: none is.
        load_matters: Whether forced sales are also summed by the venue that makes them.

    Source: MODEL.md sections 2.6, 2.9 (deficits, sweep) and 2.10 (forced sales).
    """

    def pay(
        part: Part, accounts: Accounts, rules: BookRules, marks: Array, orders: Orders
    ) -> Paid:
        book, mine, marks, own = part.take((rules, accounts, marks, orders))
        masks = masks_of(marks)
        facts = book.facts
        paid, fee = perp_proceeds(book, own.closed, average_price)
        received = worth(own.sold, offered_prices(facts, average_price, terms, filled))
        collateral_fee = jnp.where(masks.is_due, book.liquidation.collateral_fee * received, 0)
        after = eqx.tree_at(
            lambda a: (a.cash, a.contracts, a.collateral),
            mine,
            (
                mine.cash + paid + received - collateral_fee,
                [held - closed for held, closed in zip(mine.contracts, own.closed, strict=True)],
                [held - sold for held, sold in zip(mine.collateral, own.sold, strict=True)],
            ),
        )
        equity, _ = bankruptcy_equity(book.start, after, own_prices(facts, closing_price))
        deficit = jnp.where(masks.is_forced, jnp.maximum(-equity, 0), 0)
        after = eqx.tree_at(
            lambda a: (a.cash, a.taken_over),
            after,
            (after.cash + deficit, after.taken_over | (deficit > 0)),
        )
        after, leftover = sweep(after)
        judged = None
        if drive.feedback:
            judged = judge(
                book, mine, masks, own, published, price, average_price, filled, terms
            )
            liquidated = after.liquidated | judged.is_liquidated
            after = eqx.tree_at(lambda a: a.liquidated, after, liquidated)
        units = seized(facts, masks.is_due, own)
        return Paid(after, deficit, fee + collateral_fee, leftover, units, judged)

    def settle_cohort(part: Part, so_far: Settled) -> Settled:
        paid = once(pay, part, so_far.accounts, rules, call.marks, orders)
        facts = part.take(rules.facts)
        sales = add_units(so_far.sales, paid.units)
        if drive.feedback:
            sales = add_judged(sales, facts, paid.judged)
        return Settled(
            accounts=part.put_fields(so_far.accounts, paid.accounts, *CHANGED),
            deficit=part.put(so_far.deficit, paid.deficit),
            bad_debt=add_cohorts(so_far.bad_debt, facts.venue, paid.deficit),
            fees=add_cohorts(so_far.fees, facts.venue, paid.fee),
            swept=add_cohorts(so_far.swept, facts.venue, paid.leftover),
            sales=sales,
        )

    by_venue = jnp.zeros((maps.venues, *price.shape[1:]), price.dtype)
    load = by_venue if load_matters else None
    none = no_sales(price.shape[0], maps.assets, by_venue[0], load)
    nothing = Settled(accounts, deficit, by_venue, by_venue, by_venue, none)
    return visit(drive, call.sellers, settle_cohort, nothing)
