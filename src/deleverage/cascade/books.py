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

BOOKS, REDEEM, BACKSTOP, HOLD = range(4)
SALE_KINDS = {
    "market": BOOKS,
    "spread": BOOKS,
    "redeem": REDEEM,
    "backstop": BACKSTOP,
    "hold": HOLD,
}
"""What becomes of collateral that is to be sold."""


class Facts(eqx.Module):
    """What the books are, shaped like everything of books: `[..., book, 1, 1, 1]`.

    A book with fewer slots than others has empty ones: positions of 0 in row 0.
    """

    market: Any  # [Jp, B] row of a perp slot's market
    underlying: Any  # [Jp, B] index entry of its underlying
    collateral: Any  # [Jc, B] index entry of a collateral slot
    sale_market: Any  # [Jc, Q, B] the venue's own books of a collateral slot
    sale_share: Any  # [Jc, Q, B] what it is worth on each, 0 where there are fewer
    route_market: Any  # [Jc, Q, B] books that it is sold on, if not these; else None
    route_share: Any  # [Jc, Q, B] what goes to each; 0: none does
    sale_kind: Any  # [Jc, B] `BOOKS`, `REDEEM`, `BACKSTOP` or `HOLD`
    asset: Any  # [Jc, B]
    pegged: Any  # [Jc, B] bool
    venue: Any  # [B]
    loan: Any  # [B] bool: holds no perp, so that its collateral is what is liquidated
    hedged: Any  # [B] bool
    target: Any  # [B] bool: liquidation kind
    targeting: Any  # [B] bool: the same


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
    any_targeting: bool = eqx.field(static=True)
    any_off_book: bool = eqx.field(static=True)


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
        any_targeting=any(book.targeting for book in layout.books),
        any_off_book=any({"redeem", "backstop"} & set(book.sales) for book in layout.books),
    )


def facts_of(layout: Layout) -> Facts:
    """What the books of a layout are, static."""
    books = layout.books
    underlying = [tuple(layout.perp_index[market] for market in book.perps) for book in books]
    held = padded([book.collateral for book in books])
    assets = np.array([index.asset for index in layout.indices], np.int32)[held]
    sales = [[layout.sales[entry] for entry in book.collateral] for book in books]
    kinds = [book.sales or ("market",) * len(book.collateral) for book in books]
    sale_kind = np.zeros((len(held), len(books)), np.int32)
    for b, slots in enumerate(kinds):
        sale_kind[: len(slots), b] = [SALE_KINDS[kind] for kind in slots]
    routes = [
        [_route(layout, entry, kind) for entry, kind in zip(book.collateral, slots, strict=True)]
        for book, slots in zip(books, kinds, strict=True)
    ]
    sale_market, sale_share = _sales_table(sales, len(held))
    route_market, route_share = None, None
    if routes != sales:
        route_market, route_share = _sales_table(routes, len(held))
    facts = Facts(
        market=padded([book.perps for book in books]),
        underlying=padded(underlying),
        collateral=held,
        sale_market=sale_market,
        sale_share=sale_share,
        route_market=route_market,
        route_share=route_share,
        sale_kind=sale_kind,
        asset=assets,
        pegged=np.isin(assets, layout.pegged),
        venue=np.array([book.venue for book in books], np.int32),
        loan=np.array([book.is_loan for book in books]),
        hedged=np.array([book.hedged for book in books]),
        target=np.array([book.target for book in books]),
        targeting=np.array([book.targeting for book in books]),
    )
    columns = (
        None if fact is None else column_wise(fact[..., None]) for fact in vars(facts).values()
    )
    return Facts(*columns)


def _route(layout: Layout, entry: int, kind: str) -> tuple[tuple[int, float], ...]:
    """Books that collateral of a kind is sold on, while all gates are open."""
    if SALE_KINDS[kind] != BOOKS:
        return ()
    return layout.spread_sales[entry] if kind == "spread" else layout.sales[entry]


def _sales_table(
    sales: list[list[tuple[tuple[int, float], ...]]], slots: int
) -> tuple[np.ndarray, np.ndarray]:
    """Markets and shares, `[slot, book on the market, book]`."""
    most = max((len(sale) for row in sales for sale in row), default=1)
    market = np.zeros((slots, most, len(sales)), np.int32)
    share = np.zeros(market.shape)
    for b, row in enumerate(sales):
        for j, sale in enumerate(row):
            for q, (place, part) in enumerate(sale):
                market[j, q, b], share[j, q, b] = place, part
    return market, share


def own_shares(facts: Facts) -> list[list[tuple[Any, Any]]]:
    """Of each collateral slot, its venue's books and the share of each in what it is worth."""
    slots = zip(facts.sale_market, facts.sale_share, strict=True)
    return [list(zip(*slot, strict=True)) for slot in slots]


def sale_routes(facts: Facts) -> list[list[tuple[Any, Any]]]:
    """Of each collateral slot, the books that a sale goes to and the share of each."""
    if facts.route_market is None:
        return own_shares(facts)
    slots = zip(facts.route_market, facts.route_share, strict=True)
    return [list(zip(*slot, strict=True)) for slot in slots]


def _with_slots_of(books: Books, facts: Facts) -> Facts:
    """Facts with as many slots, and of the same float type, as the positions."""
    counts = dict.fromkeys(("market", "underlying"), books.position.shape[0])
    pledged = ("collateral", "asset", "pegged", "sale_market", "sale_share", "sale_kind")
    if facts.route_market is not None:
        pledged += ("route_market", "route_share")
    counts |= dict.fromkeys(pledged, books.collateral.shape[0])
    slots = {name: _lengthened(getattr(facts, name), count) for name, count in counts.items()}
    for name in {"sale_share", "route_share"} & slots.keys():
        slots[name] = jnp.asarray(slots[name], books.cash.dtype)
    return replace(facts, **slots)


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
