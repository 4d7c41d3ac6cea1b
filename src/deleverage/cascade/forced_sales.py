"""Stage 10, forced sales: who was sold, how much, and was it right? MODEL.md 2.10."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from deleverage.cascade.books import BOOKS, BookRules, Facts, sale_routes
from deleverage.cascade.index import Published
from deleverage.cascade.margin import DUST, assess
from deleverage.cascade.margin_call import Masks, fair_prices, slot_haircuts
from deleverage.cascade.primitives import (
    add_cohorts,
    add_slots,
    sum_cohorts,
    to_slot,
    to_slots,
    total,
)
from deleverage.cascade.sales import SaleTerms, filled_sales, offered_prices
from deleverage.cascade.trading import sale_prices
from deleverage.state import Accounts, Orders


class Seized(NamedTuple):
    """What of some cohorts' orders counts as forced, `[book, bucket, column]` units."""

    perps: list[Array]  # of each slot
    loans: list[Array]  # collateral of loan books


class Judged(NamedTuple):
    """Forced sales of some cohorts, USD millions `[book, bucket, column]` unless said."""

    is_liquidated: Array  # bool: more than dust was sold by force
    perp_notional: list[Array]  # of each slot
    loan_notional: list[list[Array]]  # of each slot, by the book that it is sold on
    off_book: Array | None  # loans' collateral sold on no book, at the venue's own prices
    long_notional: Array
    proceeds: list[Array]  # of each slot, of all collateral sold
    wrongful_index: Array
    wrongful_margin: Array
    compensation: Array
    selling: Array


class ForcedSales(NamedTuple):
    """Forced sales of one step, USD millions `[column]` unless said."""

    units: Array  # at starting prices
    notional_by_market: Array  # [M, column]
    long_notional: Array
    collateral_sold: Array  # [A, column] proceeds
    wrongful_index: Array
    wrongful_margin: Array
    compensation: Array
    selling: Array  # positive where a due cohort sold more than dust
    off_book: Array  # notional that went to no market
    by_venue: Array | None = None  # [V, column] notional by who was sold out; None: nobody reads it


def no_sales(
    markets: int, assets: int, nothing: Array, by_venue: Array | None = None
) -> ForcedSales:
    """A step without sales; `nothing` is a column of zeros, `by_venue` a row of them a venue."""

    def rows(count: int) -> Array:
        return jnp.zeros((count, *nothing.shape), nothing.dtype)

    return ForcedSales(nothing, rows(markets), nothing, rows(assets), *[nothing] * 5, by_venue)


def seized(facts: Facts, is_due: Array, orders: Orders) -> Seized:
    """Units that count as liquidated: of a loan its collateral, of any other book its perps."""
    by_force = facts.loan & is_due
    return Seized(
        [jnp.abs(closed) for closed in orders.closed],
        [jnp.where(by_force, sold, 0) for sold in orders.sold],
    )


def judge(
    book: BookRules,
    accounts: Accounts,
    masks: Masks,
    orders: Orders,
    published: Published,
    price: Array,
    average_price: Array,
    filled: Array | None = None,
    terms: SaleTerms | None = None,
) -> Judged:
    """Value the forced sales of some cohorts, and say which were wrongful.

    Args:
        book: Facts and rules of their books.
        accounts: At the start of the step, top-ups included.
        masks: Stage-4 due set, and who fails the baseline's requirement.
        orders: What was sold.
        published: Fair prices.
        price: Stage-2 prices, `[market, column]`.
        average_price: Of the step's orders.
        filled: Share of the collateral orders that each book took; None: all of them.
        terms: Of collateral sold off the books; None: none is.

    Source: MODEL.md section 2.10; A20 (sales of `targeting` books).
    """
    facts, is_due = book.facts, masks.is_due
    units = seized(facts, is_due, orders)
    at_market = to_slots(price, facts.market)
    perps = [closed * at for closed, at in zip(units.perps, at_market, strict=True)]
    loans = [
        [sold * share * to_slot(price, market) for market, share in shares]
        for sold, shares in zip(units.loans, filled_sales(facts, filled), strict=True)
    ]
    loan_notional = total([total(slot) for slot in loans])
    off_book = None
    if book.any_off_book:
        own = sale_prices(facts, price)
        slots = zip(units.loans, facts.sale_kind, own, strict=True)
        off_book = total([jnp.where(kind == BOOKS, 0, sold * at) for sold, kind, at in slots])
        loan_notional = loan_notional + off_book
    forced = total(perps) + loan_notional
    sides = zip(book.start.position, perps, strict=True)
    longs = total([jnp.where(position > 0, notional, 0) for position, notional in sides])

    fair = fair_prices(facts, published)
    under_policy = fair._replace(haircuts=slot_haircuts(facts, published))
    fails_policy = assess(book.margin, book.start, accounts, under_policy).is_short_of_margin
    wrongful = is_due & ~accounts.taken_over & ~masks.fails_baseline
    if book.any_targeting:
        wrongful &= ~facts.targeting
    wrongly_forced = jnp.where(wrongful, forced, 0)
    average = offered_prices(facts, average_price, terms, filled)
    sales = list(zip(orders.sold, average, fair.collateral, facts.pegged, strict=True))
    owed = [
        jnp.where(pegged, sold * jnp.maximum(worth - received, 0), 0)
        for sold, received, worth, pegged in sales
    ]
    traded = total([jnp.abs(closed) for closed in orders.closed]) + total(orders.sold)
    held = total([jnp.abs(position) for position in book.start.position])
    held = held + total(book.start.collateral)
    return Judged(
        is_liquidated=total(units.perps) + total(units.loans) > DUST * _starting_units(book),
        perp_notional=perps,
        loan_notional=loans,
        off_book=off_book,
        long_notional=longs + loan_notional,
        proceeds=[sold * received for sold, received, _, _ in sales],
        wrongful_index=jnp.where(fails_policy, 0, wrongly_forced),
        wrongful_margin=jnp.where(fails_policy, wrongly_forced, 0),
        compensation=jnp.where(wrongful, total(owed), 0),
        selling=jnp.where(is_due & (traded > DUST * held), traded, 0),
    )


def _starting_units(book: BookRules) -> Array:
    """Contracts at the start, or a loan's collateral, `[book, bucket, column]`."""
    contracts = total([jnp.abs(position) for position in book.start.position])
    return jnp.where(book.facts.loan, total(book.start.collateral), contracts)


def add_units(sales: ForcedSales, units: Seized) -> ForcedSales:
    """Add units: all that is recorded of the paired run."""
    counted = sum_cohorts(total(units.perps) + total(units.loans))
    return sales._replace(units=sales.units + counted)


def add_judged(sales: ForcedSales, facts: Facts, judged: Judged) -> ForcedSales:
    """Add what was judged of some cohorts."""
    by_market = add_slots(sales.notional_by_market, facts.market, judged.perp_notional)
    for shares, notional in zip(sale_routes(facts), judged.loan_notional, strict=True):
        by_market = add_slots(by_market, [market for market, _ in shares], notional)
    sums = {
        name: getattr(sales, name) + sum_cohorts(getattr(judged, name))
        for name in (
            "long_notional",
            "wrongful_index",
            "wrongful_margin",
            "compensation",
            "selling",
        )
    }
    if judged.off_book is not None:
        sums["off_book"] = sales.off_book + sum_cohorts(judged.off_book)
    if sales.by_venue is not None:
        forced = total(judged.perp_notional) + total([total(of) for of in judged.loan_notional])
        if judged.off_book is not None:
            forced = forced + judged.off_book
        sums["by_venue"] = add_cohorts(sales.by_venue, facts.venue, forced)
    collateral_sold = add_slots(sales.collateral_sold, facts.asset, judged.proceeds)
    return sales._replace(notional_by_market=by_market, collateral_sold=collateral_sold, **sums)
