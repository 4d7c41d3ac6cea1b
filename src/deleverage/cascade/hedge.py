"""Stage 9: what issuers' hedges have gained and lost belongs to their backing. MODEL.md 2.9."""

from __future__ import annotations

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
from jax import Array

from deleverage.cascade.books import BookRules
from deleverage.cascade.parts import Stretch
from deleverage.cascade.primitives import sum_cohorts, total
from deleverage.cascade.settlement import bankruptcy_equity, own_prices
from deleverage.state import Accounts, IssuerState
from deleverage.world import Layout


def hedges_of(layout: Layout) -> list[list[Stretch]]:
    """Books of each issuer, in the order of the pegged assets."""
    return [
        [
            Stretch(place, place + 1, len(book.perps), len(book.collateral))
            for place, book in enumerate(layout.books)
            if book.issuer == issuer
        ]
        for issuer in range(len(layout.pegged))
    ]


def hedge_worth(layout: Layout, rules: BookRules, accounts: Accounts, price: Array) -> Array:
    """Equity of each issuer's hedges, USD millions `[pegged, column]`: at least 0, 0 once lost.

    Args:
        layout: Static world.
        rules: Of all books.
        accounts: After stage 9.
        price: After stage 8, `[market, column]`.

    Source: MODEL.md section 2.9 (hedges).
    """

    def worth(book: Stretch) -> Array:
        own, mine = book.take((rules, accounts))
        equity, _ = bankruptcy_equity(own.start, mine, own_prices(own.facts, price))
        return sum_cohorts(jnp.where(mine.taken_over, 0, jnp.maximum(equity, 0)))

    nothing = jnp.zeros(price.shape[1:], price.dtype)
    return jnp.stack([total([nothing, *map(worth, books)]) for books in hedges_of(layout)])


def added_to_hedges(layout: Layout, before: Accounts, after: Accounts) -> Array:
    """Cash that issuers have topped their hedges up with, `[pegged, column]`."""

    def added(book: Stretch) -> Array:
        had, left = book.take((before.budget, after.budget))
        return sum_cohorts(had - left)

    nothing = jnp.zeros(after.budget.shape[-2:], after.budget.dtype)
    return jnp.stack([total([nothing, *map(added, books)]) for books in hedges_of(layout)])


def after_hedging(
    layout: Layout,
    rules: BookRules,
    issuer: IssuerState,
    before: Accounts,
    after: Accounts,
    price: Array,
    fundamental: Array,
) -> IssuerState:
    r"""Backing after the profit of the step's hedges, at the anchor's price.

    $$G \leftarrow \max(0, G + (W' - W - added) / F_{anchor})$$

    Args:
        layout: Static world.
        rules: Of all books.
        issuer: After redemptions.
        before: Accounts at the start of the step.
        after: After stage 9.
        price: After stage 8, `[market, column]`.
        fundamental: With pegged assets at their anchor's price, `[asset, column]`.

    Source: MODEL.md section 2.9 (hedges), A31.
    """
    worth = hedge_worth(layout, rules, after, price)
    profit = worth - issuer.hedge - added_to_hedges(layout, before, after)
    anchor = fundamental[np.array(layout.pegged, np.int32)]
    backing = jnp.maximum(issuer.backing + profit / anchor, 0)
    return replace(issuer, backing=backing, hedge=worth)
