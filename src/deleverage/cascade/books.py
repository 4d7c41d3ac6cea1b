"""What a stage needs to know of the books it works on: facts and rules."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from deleverage.cascade.primitives import column_wise
from deleverage.policy import Books, LiquidationRules, MarginRules, Policy, TopUpRules
from deleverage.world import Layout


class Facts(eqx.Module):
    """What the books are, shaped like everything of books: `[..., book, 1, 1, 1]`.

    A book with fewer slots than others has empty ones: positions of 0 in row 0.
    """

    market: Any  # [Jp, B] row of a perp slot's market
    underlying: Any  # [Jp, B] index entry of its underlying
    collateral: Any  # [Jc, B] index entry of a collateral slot
    sale_market: Any  # [Jc, Q, B] books that a sale is shared over
    sale_share: Any  # [Jc, Q, B] their shares, 0 where there are fewer
    asset: Any  # [Jc, B]
    pegged: Any  # [Jc, B] bool
    venue: Any  # [B]
    loan: Any  # [B] bool: holds no perp, so that its collateral is what is liquidated
    hedged: Any  # [B] bool
    target: Any  # [B] bool: liquidation kind


class BookRules(eqx.Module):
    """Facts and rules of some books; slots, and tiers of slots, are sequences."""

    facts: Facts
    start: Books  # starting balance sheets
    margin: MarginRules
    baseline_margin: MarginRules
    top_up: TopUpRules
    liquidation: LiquidationRules
    any_hedged: bool = eqx.field(static=True)
    any_target: bool = eqx.field(static=True)


def rules_of(layout: Layout, facts: Facts, policy: Policy) -> BookRules:
    """The rules of all books of a policy; slots are still axes, cut by `parts`."""
    return BookRules(
        facts=_with_slots_of(policy.books, facts),
        start=policy.books,
        margin=policy.margin,
        baseline_margin=policy.baseline_margin,
        top_up=policy.top_up,
        liquidation=policy.liquidation,
        any_hedged=any(book.hedged for book in layout.books),
        any_target=any(book.target for book in layout.books),
    )


def facts_of(layout: Layout) -> Facts:
    """What the books of a layout are, static."""
    books = layout.books
    underlying = [tuple(layout.perp_index[market] for market in book.perps) for book in books]
    held = padded([book.collateral for book in books])
    assets = np.array([index.asset for index in layout.indices], np.int32)[held]
    sales = [[layout.sales[entry] for entry in book.collateral] for book in books]
    most = max((len(sale) for slots in sales for sale in slots), default=1)
    sale_market = np.zeros((len(held), most, len(books)), np.int32)
    sale_share = np.zeros(sale_market.shape)
    for b, slots in enumerate(sales):
        for j, sale in enumerate(slots):
            for q, (market, share) in enumerate(sale):
                sale_market[j, q, b], sale_share[j, q, b] = market, share
    facts = Facts(
        market=padded([book.perps for book in books]),
        underlying=padded(underlying),
        collateral=held,
        sale_market=sale_market,
        sale_share=sale_share,
        asset=assets,
        pegged=np.isin(assets, layout.pegged),
        venue=np.array([book.venue for book in books], np.int32),
        loan=np.array([book.is_loan for book in books]),
        hedged=np.array([book.hedged for book in books]),
        target=np.array([book.target for book in books]),
    )
    return Facts(*(column_wise(fact[..., None]) for fact in vars(facts).values()))


def shared_sales(facts: Facts) -> list[list[tuple[Any, Any]]]:
    """Of each collateral slot, the books that a sale goes to and the share of each."""
    slots = zip(facts.sale_market, facts.sale_share, strict=True)
    return [list(zip(*slot, strict=True)) for slot in slots]


def _with_slots_of(books: Books, facts: Facts) -> Facts:
    """Facts with as many slots, and of the same float type, as the positions."""
    counts = dict.fromkeys(("market", "underlying"), books.position.shape[0])
    counts |= dict.fromkeys(
        ("collateral", "asset", "pegged", "sale_market", "sale_share"), books.collateral.shape[0]
    )
    slots = {name: _lengthened(getattr(facts, name), count) for name, count in counts.items()}
    shares = jnp.asarray(slots.pop("sale_share"), books.cash.dtype)
    return replace(facts, sale_share=shares, **slots)


def _lengthened(table: np.ndarray, count: int) -> np.ndarray:
    """The same with rows of 0 below."""
    return np.pad(table, [(0, count - len(table)), *[(0, 0)] * (table.ndim - 1)])


def padded(rows: list[tuple], kind: type = np.int32) -> np.ndarray:
    """`[longest, row]`, short rows filled with 0."""
    longest = max((len(row) for row in rows), default=0)
    table = np.zeros((longest, len(rows)), kind)
    for place, row in enumerate(rows):
        table[: len(row), place] = row
    return table
