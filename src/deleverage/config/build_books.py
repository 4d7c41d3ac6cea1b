"""Books of a config as balance sheets: own funds and leverage in, positions and cash out.

All money is USD millions at starting prices. Arrays: `[slot, book]`, `[book]`, `[book, bucket]`.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from deleverage.config.books import BookSpec, BucketLeverage, HedgedBook, LoanBook, PerpBook
from deleverage.config.build_layout import slots
from deleverage.config.models import Config
from deleverage.config.names import Names
from deleverage.config.quantities import MATCH, NEVER
from deleverage.config.resolve import Rules
from deleverage.world import Layout


@dataclass(frozen=True)
class Portfolios:
    """Compositions, and who holds them under the baseline."""

    perp_weight: np.ndarray  # [Jp, B] signed shares of notional
    collateral_weight: np.ndarray  # [Jc, B] shares of own funds (loans: of assets)
    cash_weight: np.ndarray  # [B]
    entry: np.ndarray  # [Jp, B]
    loan: np.ndarray  # [B] bool
    hedged: np.ndarray  # [B] bool
    loop: np.ndarray  # [B] bool
    promoted: np.ndarray  # [B] bool
    budget_share: np.ndarray  # [B] of own funds
    own_funds: np.ndarray  # [B, K]
    leverage: np.ndarray  # [B, K]; 1 where a bucket is empty
    accounts: np.ndarray  # [B, K]


@dataclass(frozen=True)
class Sheets:
    """Balance sheets of all cohorts."""

    position: np.ndarray  # [Jp, B, K]
    collateral: np.ndarray  # [Jc, B, K]
    cash: np.ndarray  # [B, K]


def balance_sheets(books: Portfolios, own_funds: np.ndarray, leverage: np.ndarray) -> Sheets:
    r"""Positions, collateral and cash of own funds $W$ at leverage $L$, each `[book, bucket]`.

    Perps $x = W L w$, $q = W c$, $b = W (1 - \sum c)$; loans $q = W L c$, $b = -W (L - 1)$; hedged
    $q = W L$, $x = -W L$, $b = W (1 - L)$. Unrealised profit $x (1 - entry)$ is part of own funds,
    so it is taken off cash.
    """
    size = own_funds * leverage
    on_loan, is_hedged = books.loan[:, None], books.hedged[:, None]
    position = books.perp_weight[..., None] * size
    held = np.where(on_loan | is_hedged, size, own_funds)
    collateral = books.collateral_weight[..., None] * held
    lent = np.where(on_loan, size * books.cash_weight[:, None] - own_funds * (leverage - 1), 0.0)
    carried = np.where(is_hedged, own_funds - size, own_funds * books.cash_weight[:, None])
    profit = (position * (1 - books.entry[..., None])).sum(axis=0)
    return Sheets(position, collateral, np.where(on_loan, lent, carried) - profit)


def portfolios(config: Config, names: Names, layout: Layout, rules: Rules) -> Portfolios:
    """All books, sized under the baseline's leverage caps.

    Raises:
        ConfigError: positions of a perp cannot balance, or a book has more buckets than there are.
    """
    specs = list(config.scenario.held.items())
    count, buckets = len(specs), layout.buckets
    perps = max([1, *(len(book.perps) for book in layout.books)])
    assets = max([1, *(len(book.collateral) for book in layout.books)])
    perp_weight, entry = np.zeros((perps, count)), np.ones((perps, count))
    collateral_weight, cash_weight = np.zeros((assets, count)), np.zeros(count)
    leverage, weights = np.ones((count, buckets)), np.zeros((count, buckets))
    for row, (name, spec) in enumerate(specs):
        on_perps, on_collateral = slots(spec, names.numeraire)
        perp_weight[: len(on_perps), row] = list(on_perps.values())
        collateral_weight[: len(on_collateral), row] = list(on_collateral.values())
        if not isinstance(spec, HedgedBook):
            cash_weight[row] = 1.0 - sum(on_collateral.values())
        if not isinstance(spec, LoanBook):
            entry[:, row] = spec.entry
        values, shares = _buckets(config, name, spec, buckets)
        cap = rules.loop_cap[spec.venue] if isinstance(spec, LoanBook) and spec.loop else NEVER
        cap = min(cap, _perp_cap(on_perps, spec.venue, rules))
        leverage[row, : len(values)] = np.minimum(values, cap)
        weights[row, : len(values)] = shares
    size = np.zeros(count)  # notional of perps, own funds or assets of loans
    for row, (name, spec) in enumerate(specs):
        size[row] = _size(config, names, name, spec) / 1e6
    by_own_funds = np.array([isinstance(s, LoanBook) and s.own_funds is not None for _, s in specs])
    traded = size[:, None] * weights * np.where(by_own_funds[:, None], leverage, 1.0)
    per_account = np.array([spec.position_size for _, spec in specs]) / 1e6
    books = Portfolios(
        perp_weight=perp_weight,
        collateral_weight=collateral_weight,
        cash_weight=cash_weight,
        entry=entry,
        loan=np.array([isinstance(spec, LoanBook) for _, spec in specs]),
        hedged=np.array([isinstance(spec, HedgedBook) for _, spec in specs]),
        loop=np.array([isinstance(spec, LoanBook) and spec.loop for _, spec in specs]),
        promoted=np.array([isinstance(spec, LoanBook) and spec.promoted for _, spec in specs]),
        budget_share=np.array([spec.top_up_budget for _, spec in specs]),
        own_funds=traded / leverage,
        leverage=leverage,
        accounts=traded / per_account[:, None],
    )
    _balance(config, names, layout, books)
    return books


def _perp_cap(weights: dict[str, float], venue: str, rules: Rules) -> float:
    """Leverage at which the own funds just cover every perp at its cap."""
    needed = sum(abs(weight) / rules.leverage_cap[venue, a] for a, weight in weights.items())
    return 1 / needed if needed > 0 else NEVER


def leverage_caps(config: Config, names: Names, rules: Rules) -> np.ndarray:
    """Caps on the leverage of each book, [B, 1]."""
    caps = []
    for spec in config.scenario.held.values():
        looped = isinstance(spec, LoanBook) and spec.loop
        perps, _ = slots(spec, names.numeraire)
        loop_cap = rules.loop_cap[spec.venue] if looped else NEVER
        caps.append(min(loop_cap, _perp_cap(perps, spec.venue, rules)))
    return np.array(caps)[:, None]


def _buckets(
    config: Config, name: str, spec: BookSpec, buckets: int
) -> tuple[np.ndarray, np.ndarray]:
    """Leverage of a book's buckets and their shares of its size."""
    law = spec.leverage
    key = ("scenario", "books", name, "leverage")
    if isinstance(law, BucketLeverage):
        values = np.array(law.values, dtype=np.float64)
        weights = np.array(law.weights or [1.0] * len(values), dtype=np.float64)
        if len(values) > buckets or weights.sum() <= 0:
            config.source.refuse(
                key,
                f"{len(values)} buckets with weights {weights.tolist()}",
                f"at most {buckets} (scenario.buckets), with a positive weight",
                "raise scenario.buckets or give fewer values",
            )
    else:
        quantiles = [NormalDist().inv_cdf((k + 0.5) / buckets) for k in range(buckets)]
        values = law.median * np.exp(law.sigma * np.array(quantiles))
        values = np.clip(values, max(law.min, 1.0 if isinstance(spec, LoanBook) else 0.0), law.max)
        weights = np.ones(buckets)
    if isinstance(spec, LoanBook) and values.min() < 1:
        config.source.refuse(
            key,
            f"a loan at leverage {values.min():g}",
            "leverage of loans of at least 1",
            "raise it",
        )
    return values, weights / weights.sum()


def _size(config: Config, names: Names, name: str, spec: BookSpec) -> float:
    """USD of a book: notional of its perps, or own funds or assets of a loan."""
    if isinstance(spec, LoanBook):
        return (spec.own_funds if spec.own_funds is not None else spec.assets) or 0.0
    if spec.open_interest != MATCH:
        return spec.open_interest
    assert isinstance(spec, PerpBook)
    key = ("scenario", "books", name)
    if len(spec.perps) != 1:
        config.source.refuse(
            (*key, "open_interest"),
            f"`match` for {len(spec.perps)} perps",
            "`match` for a book of one perp",
            "split the book",
        )
    asset, sign = next(iter(slots(spec, names.numeraire)[0].items()))
    others = 0.0
    for other in config.scenario.held.values():
        if other.venue != spec.venue or isinstance(other, LoanBook):
            continue
        if other.open_interest != MATCH:
            others += other.open_interest * slots(other, names.numeraire)[0].get(asset, 0.0)
    size = -others * sign * spec.match_share
    if size <= 0:
        config.source.refuse(
            (*key, "open_interest"),
            f"nothing to match: the others of {spec.venue}/{asset}/perp hold {others / 1e6:g}M",
            "`match` on the side that the others lack",
            "give an amount, or the other side",
        )
    return size


def _balance(config: Config, names: Names, layout: Layout, books: Portfolios) -> None:
    """Refuse positions that leave market makers with more than their share."""
    sheets = balance_sheets(books, books.own_funds, books.leverage)
    sides = market_sides(layout, sheets.position)
    limit = config.scenario.makers.max_share
    for label, number in names.markets.items():
        long, short = sides[number]
        if abs(long - short) > limit * max(long, short) * (1 + 1e-9):
            config.source.refuse(
                ("scenario", "books"),
                f"positions of {label} do not balance: {long:.6g}M long against {short:.6g}M short "
                f"leaves market makers {abs(long - short) / max(long, short):.1%}",
                f"at most {limit:.1%} of the larger side (scenario.makers.max_share)",
                "add a book with `open_interest: match` on the other side, or raise the share",
            )


def market_sides(layout: Layout, position: np.ndarray) -> np.ndarray:
    """Long and short positions of each market, [M, 2], from positions [Jp, B, K]."""
    sides = np.zeros((len(layout.markets), 2))
    for row, book in enumerate(layout.books):
        for slot, market in enumerate(book.perps):
            held = position[slot, row]
            sides[market] += np.maximum(held, 0).sum(), np.maximum(-held, 0).sum()
    return sides
