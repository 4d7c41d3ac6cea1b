"""The leaves of `Policy`, stacked along the policy axis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from deleverage.config.base import lookup
from deleverage.config.build_books import Portfolios
from deleverage.config.build_issuers import build_issuers
from deleverage.config.build_layout import arbitrage_groups, breaker_window
from deleverage.config.build_margin import Margin
from deleverage.config.build_shocks import MINUTES_PER_YEAR
from deleverage.config.build_start import due_at_start
from deleverage.config.haircuts import review_steps
from deleverage.config.models import Config
from deleverage.config.names import Names
from deleverage.config.order_books import Thinning
from deleverage.config.participation import Response
from deleverage.config.quantities import NEVER
from deleverage.config.resolve import Rules
from deleverage.config.scenario import Pegged
from deleverage.policy import (
    BackstopRules,
    Books,
    BreakerRules,
    HaircutRules,
    HealingRules,
    ImpactRules,
    IndexRules,
    KeptApart,
    LiquidationRules,
    MarginRules,
    Policy,
    Reporting,
    SaleRules,
    ThinningRules,
    TopUpRules,
    VaultRules,
)
from deleverage.world import INFINITE_DEPTH, Layout


@dataclass(frozen=True)
class Entry:
    """One entry of the policy axis, ready to be stacked."""

    layout: Layout
    rules: Rules
    margin: Margin  # with the venue cap
    response: Response
    baseline_margin: Margin


def smoothing_weight(half_life: float, step: float) -> float:
    """EMA weight of the newest value, 1 - 2^(-step / half-life)."""
    return 1.0 if half_life == 0 else float(-np.expm1(-np.log(2) * step / half_life))


def build_policy(
    config: Config, names: Names, books: Portfolios, entries: Sequence[Entry]
) -> Policy:
    """All leaves, each ending in the policy axis."""
    index = _index(config, names, entries)
    haircuts = _haircuts(config, entries)
    impact = _impact(config, names, entries)
    due = [
        due_at_start(entry.layout, books, entry.margin, entry.response, index, impact, number)
        for number, entry in enumerate(entries)
    ]
    feed = _per_market(config, names, lambda venue: venue.feed_cap)
    return Policy(
        books=_books(books, entries),
        index=index,
        margin=_margin([entry.margin for entry in entries], haircuts is not None),
        baseline_margin=_margin([entry.baseline_margin for entry in entries]),
        top_up=TopUpRules(
            rate=_per_book(config, entries, lambda venue, _: venue.top_up.rate),
            warn=_per_book(config, entries, lambda venue, _: venue.top_up.warn),
        ),
        liquidation=LiquidationRules(
            pace=_per_book(config, entries, lambda _, rule: rule.pace),
            target=_per_book(config, entries, lambda _, rule: rule.target),
            fee=_per_book(config, entries, lambda _, rule: rule.fee),
            collateral_fee=_per_book(config, entries, lambda _, rule: rule.collateral_fee),
        ),
        impact=impact,
        thinning=_thinning(config, entries),
        healing=_healing(config, names, entries),
        backstop=_backstop(names, entries),
        reporting=Reporting(
            feed_cap=_same(np.minimum(feed / 1e6, NEVER), entries),
            due_at_start=np.array(due, dtype=np.float64),
        ),
        breakers=_breakers(config, entries),
        haircuts=haircuts,
        sales=_sales(entries),
        issuer=build_issuers(
            [a.issuer for a in config.scenario.assets.values() if isinstance(a, Pegged)],
            [entry.rules.redemptions for entry in entries],
        ),
        kept_apart=_kept_apart(entries),
        vault=_vaults(names, entries),
    )


def _breakers(config: Config, entries: Sequence[Entry]) -> BreakerRules | None:
    """Circuit breakers; None where no policy has any."""
    if not any(entry.layout.breaker_steps for entry in entries):
        return None
    step = config.time.step

    def breaker(entry: Entry, venue: str, asset: str) -> tuple[float, ...] | None:
        rule = lookup(entry.rules.liquidation[venue].circuit_breaker, asset, venue)
        if rule is None:
            return None
        halt = max(1.0, np.ceil(rule.halt / step - 1e-9))
        return rule.trigger, breaker_window(rule, step), halt

    never = (2.0, 0.0, 0.0)
    return BreakerRules(*_per_index(entries, breaker, never))


def _haircuts(config: Config, entries: Sequence[Entry]) -> HaircutRules | None:
    """Dynamic haircuts; None where no policy has any."""
    step = config.time.step

    def dynamic(entry: Entry, venue: str, asset: str) -> tuple[float, ...] | None:
        credit = entry.rules.credit.get((venue, asset))
        if credit is None or credit.dynamic is None:
            return None
        rule = credit.dynamic
        variance = rule.reference**2 / MINUTES_PER_YEAR
        smoothing = smoothing_weight(rule.half_life, step)
        return variance, rule.power, rule.cap, smoothing, review_steps(rule, step)

    never_rises = (1.0, 0.0, 1.0, 1.0, 1.0)
    rules = HaircutRules(*_per_index(entries, dynamic, never_rises))
    return rules if rules.power.any() else None


def _sales(entries: Sequence[Entry]) -> SaleRules | None:
    """What is sold elsewhere than on order books; None where nothing is."""
    if all(sale.is_plain for entry in entries for sale in entry.rules.sales.values()):
        return None

    def terms(entry: Entry, venue: str, asset: str) -> tuple[float, ...] | None:
        sale = entry.rules.sales.get((venue, asset))
        if sale is None:
            return None
        return sale.discount, min(sale.capacity / 1e6, NEVER), sale.pauses

    return SaleRules(*_per_index(entries, terms, (0.0, 0.0, 0.0)))


def _kept_apart(entries: Sequence[Entry]) -> KeptApart | None:
    """Segregated collateral by index entry; None where no policy has any."""
    if not any(entry.response.apart.any() for entry in entries):
        return None
    units = np.zeros((len(entries[0].layout.indices), len(entries)))
    for number, entry in enumerate(entries):
        for row, book in enumerate(entry.layout.books):
            for slot, index in enumerate(book.collateral):
                units[index, number] += entry.response.apart[slot, row].sum()
    return KeptApart(units)


def _stack(values: Sequence) -> np.ndarray:
    return np.stack([np.asarray(value, dtype=np.float64) for value in values], axis=-1)


def _same(value: np.ndarray, entries: Sequence[Entry]) -> np.ndarray:
    return _stack([value] * len(entries))


def _per_book(config: Config, entries: Sequence[Entry], of: Callable) -> np.ndarray:
    """[B, 1, policy] of a venue's rule."""
    venues = [spec.venue for spec in config.scenario.held.values()]
    return _stack(
        [
            [
                [of(config.scenario.venues[venue], entry.rules.liquidation[venue])]
                for venue in venues
            ]
            for entry in entries
        ]
    )


def _per_index(
    entries: Sequence[Entry],
    of: Callable[[Entry, str, str], tuple[float, ...] | None],
    none: tuple[float, ...],
) -> np.ndarray:
    """[number, I, policy] of a rule of each index entry's venue and asset; `none` without one."""
    indices = entries[0].layout.indices
    table = np.empty((len(none), len(indices), len(entries)))
    for place, entry in enumerate(entries):
        layout = entry.layout
        for row, index in enumerate(layout.indices):
            given = of(entry, layout.venues[index.venue], layout.assets[index.asset])
            table[:, row, place] = none if given is None else given
    return table


def _per_market(config: Config, names: Names, of: Callable) -> np.ndarray:
    venues = (config.scenario.venues[part[0]] for part in names.parts.values())
    return np.array([of(venue) for venue in venues], dtype=np.float64)


def _books(books: Portfolios, entries: Sequence[Entry]) -> Books:
    responses = [entry.response for entry in entries]
    held = books.own_funds > 0
    whole = np.where(held, books.own_funds, 1.0)
    return Books(
        position=_stack([one.sheets.position for one in responses]),
        entry=_same(books.entry[..., None], entries),
        collateral=_stack([one.sheets.collateral for one in responses]),
        cash=_stack([one.sheets.cash for one in responses]),
        accounts=_stack(
            [books.accounts * np.where(held, one.own_funds / whole, 1.0) for one in responses]
        ),
        budget=_stack([one.own_funds * books.budget_share[:, None] for one in responses]),
    )


def _index(config: Config, names: Names, entries: Sequence[Entry]) -> IndexRules:
    layout = entries[0].layout
    step = config.time.step
    sources = max([1, *(len(entry.sources) for entry in layout.indices)])
    weight = np.zeros((sources, len(layout.indices), len(entries)))
    median = np.zeros_like(weight)
    rows = {name: np.zeros((len(layout.indices), len(entries))) for name in _ROWS}
    markets = list(names.markets)
    for number, entry in enumerate(entries):
        for key, row in names.indices.items():
            rule = entry.rules.index[key]
            index = layout.indices[row]
            elsewhere = dict(zip(index.references, index.reference_shares, strict=True))
            for slot, market in enumerate(index.sources):
                place, pair, _ = names.parts[markets[market]]
                own = rule.own.get(pair, 0.0) if place == key.venue else 0.0
                read = rule.read.get(markets[market], 0.0)
                weight[slot, row, number] = own + read + rule.others * elsewhere.get(market, 0.0)
                median[slot, row, number] = rule.median_of.get(markets[market], 0.0)
            for name in _ROWS:
                rows[name][row, number] = getattr(rule, name)
    basis = [
        [
            smoothing_weight(entry.rules.mark[venue].basis_half_life, step)
            for venue, _, _ in names.parts.values()
        ]
        for entry in entries
    ]
    smoothing = np.vectorize(lambda half_life: smoothing_weight(half_life, step))
    return IndexRules(
        weight=weight,
        reference_weight=rows["reference"],
        redemption_weight=rows["redemption"],
        clamp=rows["clamp"],
        smoothing=smoothing(rows["smoothing"]) if rows["smoothing"].size else rows["smoothing"],
        floor=rows["floor"],
        basis_smoothing=np.array(basis, dtype=np.float64).T,
        move_limit=rows["move_limit"] if (rows["move_limit"] < NEVER).any() else None,
        component_clamp=rows["component_clamp"]
        if (rows["component_clamp"] < NEVER).any()
        else None,
        delay=rows["delay"] if rows["delay"].any() else None,
        median_weight=rows["median"] if median.any() else None,
        median_share=median if median.any() else None,
    )


_ROWS = (
    *("median", "reference", "redemption", "clamp", "component_clamp", "smoothing", "floor"),
    *("move_limit", "delay"),
)


def _margin(tables: Sequence[Margin], dynamic: bool = False) -> MarginRules:
    def stacked(name: str) -> np.ndarray:
        return _stack([getattr(table, name)[..., None] for table in tables])

    return MarginRules(
        rate=stacked("rate"),
        deduction=stacked("deduction"),
        ratio=stacked("ratio"),
        addition=stacked("addition"),
        loan_rate=stacked("loan_rate"),
        granted=stacked("granted") if dynamic else None,
    )


def _impact(config: Config, names: Names, entries: Sequence[Entry]) -> ImpactRules:
    specs, books = config.scenario.markets.values(), names.order_books
    depth = np.array([book.depth for book in books.values()]) / 1e6
    kinds = {book.kind for book in books.values()}
    levels = max(len(book.distance) for book in books.values())
    return ImpactRules(
        depth=_same(np.minimum(depth, INFINITE_DEPTH), entries),
        sensitivity=_same(np.array([spec.sensitivity for spec in specs]), entries),
        displacement=_same(np.array([spec.displacement for spec in specs]), entries),
        reach=_same(np.array([book.reach for book in books.values()]), entries)
        if "sqrt" in kinds
        else None,
        distance=_same(_nodes([book.distance for book in books.values()], levels), entries)
        if "profile" in kinds
        else None,
        units=_same(_nodes([book.units for book in books.values()], levels) / 1e6, entries)
        if "profile" in kinds
        else None,
    )


def _thinning(config: Config, entries: Sequence[Entry]) -> ThinningRules | None:
    """Books without it have strength 0; None where no book has it."""
    given = [spec.thinning for spec in config.scenario.markets.values()]
    if not any(given):
        return None

    def rows(of: Callable[[Thinning], float], none: float) -> np.ndarray:
        return _same(np.array([none if one is None else of(one) for one in given]), entries)

    step = config.time.step
    return ThinningRules(
        strength=rows(lambda one: one.strength, 0.0),
        normal=rows(lambda one: one.volatility**2 / MINUTES_PER_YEAR, 1.0),
        smoothing=rows(lambda one: smoothing_weight(one.half_life, step), 1.0),
        least=rows(lambda one: one.least, 1.0),
    )


def _nodes(rows: Sequence[tuple[float, ...]], levels: int) -> np.ndarray:
    """[N, M]: short rows go on with their last number, rows of other kinds are 1."""
    return np.array([list(row) + [row[-1] if row else 1.0] * (levels - len(row)) for row in rows]).T


def _backstop(names: Names, entries: Sequence[Entry]) -> BackstopRules:
    def per_venue(of: Callable[[Rules, str], float]) -> np.ndarray:
        return _stack([[of(entry.rules, venue) for venue in names.venues] for entry in entries])

    queue = per_venue(lambda rules, venue: float(rules.adl[venue] == "queue"))
    return BackstopRules(
        fund=per_venue(lambda rules, venue: rules.fund[venue] / 1e6),
        adl=per_venue(lambda rules, venue: float(bool(rules.adl[venue]))),
        queue=queue if queue.any() else None,
    )


def _vaults(names: Names, entries: Sequence[Entry]) -> VaultRules | None:
    """Venues without one have a capacity of 0; None where no policy has any."""
    given = [[entry.rules.vault[venue] for venue in names.venues] for entry in entries]
    capacity = _stack([[vault.capacity / 1e6 for vault in row] for row in given])
    half_life = _stack([[vault.half_life for vault in row] for row in given])
    return VaultRules(capacity, half_life) if capacity.any() else None


def _healing(config: Config, names: Names, entries: Sequence[Entry]) -> HealingRules:
    scenario = config.scenario
    layout = entries[0].layout
    venues = list(scenario.venues.values())
    basis = [venues[layout.markets[perp].venue].basis_half_life for _, perp in layout.basis_pairs]
    groups = [rule for _, rule in arbitrage_groups(config, names).values()]
    resilience = [spec.resilience_half_life for spec in scenario.markets.values()]
    return HealingRules(
        resilience_half_life=_same(np.array(resilience), entries),
        basis_half_life=_same(np.array(basis), entries),
        arbitrage_half_life=_same(np.array([group.half_life for group in groups]), entries),
        arbitrage_capital=_same(np.array([group.capital / 1e6 for group in groups]), entries),
        redemption_capacity=_stack(
            [[one.capacity / 1e6 for one in e.rules.redemptions.values()] for e in entries]
        ),
    )
