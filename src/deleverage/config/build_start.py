"""Whether a cohort is due before anything has happened: stage 4 at starting prices."""

from __future__ import annotations

import numpy as np

from deleverage.config.build_books import Portfolios
from deleverage.config.build_margin import Margin, equity_and_maintenance
from deleverage.config.participation import Response
from deleverage.policy import ImpactRules, IndexRules
from deleverage.world import Layout


def starting_prices(layout: Layout, displacement: np.ndarray) -> np.ndarray:
    """Prices in USD of all markets before the first draw, [M]."""
    log_price = -displacement.copy()
    for number, market in enumerate(layout.markets):
        if market.quote >= 0:
            log_price[number] -= displacement[market.quote]
    return np.exp(log_price)


def starting_index(
    layout: Layout, rules: IndexRules, prices: np.ndarray, policy: int
) -> np.ndarray:
    """Published index prices before the first draw, MODEL.md 2.3, [I]."""
    published = np.zeros(len(layout.indices))
    for row, entry in enumerate(layout.indices):
        used = len(entry.sources)
        components, reference = prices[list(entry.sources)], 0.0
        if entry.references:
            reference = lower_median(prices[list(entry.references)], entry.reference_shares)
            if rules.component_clamp is not None:
                wide = rules.component_clamp[row, policy] * reference
                components = np.clip(components, reference - wide, reference + wide)
        raw = rules.weight[:used, row, policy] @ components
        raw += rules.redemption_weight[row, policy]
        if rules.median_weight is not None and rules.median_weight[row, policy] > 0:
            shares = tuple(rules.median_share[:used, row, policy])
            median = lower_median(prices[list(entry.sources)], shares)
            raw += rules.median_weight[row, policy] * median
        clamped = raw
        if entry.references:
            raw += rules.reference_weight[row, policy] * reference
            band = rules.clamp[row, policy]
            clamped = np.clip(raw, reference * (1 - band), reference * (1 + band))
        smoothed = raw + rules.smoothing[row, policy] * (clamped - raw)
        published[row] = max(smoothed, rules.floor[row, policy])
    return published


def lower_median(prices: np.ndarray, shares: tuple[float, ...]) -> float:
    """The least price with a cumulative share of at least half."""
    order = np.argsort(prices, kind="stable")
    reached = np.cumsum(np.array(shares)[order]) >= 0.5 - 1e-6
    return float(prices[order][np.argmax(reached)])


def starting_marks(
    layout: Layout, rules: IndexRules, prices: np.ndarray, index: np.ndarray, policy: int
) -> np.ndarray:
    """Mark prices of all markets before the first draw, [M]; NaN for spot."""
    marks = np.full(len(layout.markets), np.nan)
    for number, kind in enumerate(layout.mark_kinds):
        if not kind:
            continue
        fair, last = index[layout.perp_index[number]], prices[number]
        basis = rules.basis_smoothing[number, policy] * (last - fair)
        median = np.median([fair + basis, last, fair])
        marks[number] = {"index": fair, "last": last, "median": median}[kind]
    return marks


def due_at_start(
    layout: Layout,
    books: Portfolios,
    margin: Margin,
    response: Response,
    index_rules: IndexRules,
    impact: ImpactRules,
    policy: int,
) -> bool:
    """Whether any cohort with something left is below maintenance at starting prices."""
    prices = starting_prices(layout, impact.displacement[:, policy])
    index = starting_index(layout, index_rules, prices, policy)
    marks = starting_marks(layout, index_rules, prices, index, policy)
    mark = np.ones_like(books.perp_weight)
    value = np.ones_like(books.collateral_weight)
    for row, book in enumerate(layout.books):
        mark[: len(book.perps), row] = marks[list(book.perps)]
        value[: len(book.collateral), row] = index[list(book.collateral)]
    grown = np.where(books.own_funds > 0, response.own_funds, 0.0) / np.where(
        books.own_funds > 0, books.own_funds, 1.0
    )
    sheets = response.sheets
    equity, maintenance = equity_and_maintenance(
        margin,
        np.ones_like(books.collateral_weight),  # the cap is in the tables already
        books.accounts * grown,
        (sheets.position, sheets.collateral, sheets.cash),
        (mark, value),
        books.entry,
    )
    return bool((equity < maintenance).any())
