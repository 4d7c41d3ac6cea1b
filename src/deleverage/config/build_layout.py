"""Names and numbers of a config as the static `Layout`."""

from __future__ import annotations

from collections.abc import Iterable

from deleverage.config.books import BookSpec, HedgedBook, LoanBook
from deleverage.config.models import Config
from deleverage.config.names import IndexKey, Names, product_of
from deleverage.config.quantities import NEVER
from deleverage.config.resolve import Rules
from deleverage.config.rules import Breaker
from deleverage.config.scenario import Arbitrage, Numeraire, Pegged
from deleverage.world import Book, IndexEntry, Layout, Market


def slots(book: BookSpec, numeraire: str) -> tuple[dict[str, float], dict[str, float]]:
    """Weights of a book's perp slots (signed) and collateral slots, by asset, cash left out."""
    if isinstance(book, HedgedBook):
        return {book.asset: -1.0}, {book.asset: 1.0}
    mix = {asset: share for asset, share in (book.collateral or {}).items() if asset != numeraire}
    if isinstance(book, LoanBook):
        return {}, mix
    sign = -1.0 if book.side == "short" else 1.0
    return {asset: sign * weight for asset, weight in book.perps.items()}, mix


def build_layout(config: Config, names: Names, rules: Rules, every: Iterable[Rules]) -> Layout:
    """The layout of one policy's rules; `every` decides what all policies have in common."""
    scenario, time = config.scenario, config.time
    every = list(every)
    parts = names.parts
    pegged = [n for n, asset in scenario.assets.items() if isinstance(asset, Pegged)]
    perps = {label: part for label, part in parts.items() if part[2] == "perp"}
    pegs = [
        (venue, asset)
        for venue in scenario.venues
        for asset in pegged
        if f"{venue}/{asset}/spot" in names.markets
    ]
    books = []
    for spec in scenario.held.values():
        on_perps, on_collateral = slots(spec, names.numeraire)
        books.append(
            Book(
                venue=names.venues[spec.venue],
                perps=tuple(names.markets[f"{spec.venue}/{asset}/perp"] for asset in on_perps),
                collateral=tuple(
                    names.index_of(spec.venue, asset, product_of(spec)) for asset in on_collateral
                ),
                hedged=isinstance(spec, HedgedBook),
                issuer=_issuer(spec, pegged),
                target=rules.liquidation[spec.venue].kind == "target",
                targeting=rules.liquidation[spec.venue].kind == "targeting",
                sales=_sale_kinds(rules, spec, on_collateral),
            )
        )
    return Layout(
        venues=tuple(scenario.venues),
        assets=tuple(scenario.assets),
        pegged=tuple(names.assets[name] for name in pegged),
        markets=tuple(_market(names, label) for label in names.markets),
        indices=tuple(_index(names, entry, every) for entry in names.indices),
        books=tuple(books),
        buckets=scenario.buckets,
        perp_index=tuple(
            names.index_of(part[0], part[1], "futures") if part[2] == "perp" else -1
            for part in parts.values()
        ),
        mark_kinds=tuple(
            rules.mark[part[0]].kind if part[2] == "perp" else "" for part in parts.values()
        ),
        sales=tuple(_sales(names, entry.venue, entry.asset) for entry in names.indices),
        basis_pairs=tuple(
            (names.markets[f"{venue}/{asset}/spot"], names.markets[label])
            for label, (venue, asset, _) in perps.items()
            if f"{venue}/{asset}/spot" in names.markets
            and scenario.venues[venue].basis_half_life < NEVER
        ),
        arbitrage_groups=tuple(g for g, _ in arbitrage_groups(config, names).values()),
        pegs=tuple((names.venues[venue], names.assets[asset]) for venue, asset in pegs),
        peg_markets=tuple(names.markets[f"{venue}/{asset}/spot"] for venue, asset in pegs),
        step=time.step,
        steps=time.steps,
        draw_step=time.draw_step or time.step,
        breaker_steps=_longest_window(rules, every, time.step),
        spread_sales=tuple(
            _sales(names, entry.venue, entry.asset, everywhere=True) for entry in names.indices
        )
        if any("spread" in book.sales for book in books)
        else (),
        window_steps=max(1, round(time.window / time.step)),
        delay_steps=max(one.delay for rules in every for one in rules.index.values())
        if names.indices
        else 0,
    )


def _issuer(spec: BookSpec, pegged: list[str]) -> int:
    hedges = isinstance(spec, HedgedBook) and spec.issuer is not None
    return pegged.index(spec.issuer) if hedges else -1


def arbitrage_groups(config: Config, names: Names) -> dict[str, tuple[tuple[int, ...], Arbitrage]]:
    """USD spot markets of each asset that is traded between at least two venues, and the rules."""
    groups: dict[str, tuple[tuple[int, ...], Arbitrage]] = {}
    for name, asset in config.scenario.assets.items():
        if isinstance(asset, Numeraire) or asset.arbitrage is None:
            continue
        labels = [f"{venue}/{name}/spot" for venue in names.venues]
        group = [names.markets[label] for label in labels if label in names.markets]
        if len(group) > 1:
            groups[name] = (tuple(group), asset.arbitrage)
    return groups


def _market(names: Names, label: str) -> Market:
    venue, pair, kind = names.parts[label]
    asset, _, quote = pair.partition("-")
    settled = names.markets[f"{venue}/{quote}/spot"] if quote else -1
    impact = names.order_books[label].kind
    return Market(names.venues[venue], names.assets[asset], kind, settled, impact)


def _index(names: Names, entry: IndexKey, every: list[Rules]) -> IndexEntry:
    venue, asset, _ = entry
    elsewhere = names.usd_books_elsewhere(venue, asset)
    sources = names.own_books(venue, asset)
    if any(rules.index[entry].others > 0 for rules in every):
        sources = sources + elsewhere
    weights = [rules.index[entry] for rules in every]
    read = [label for one in weights for label in (*one.read, *one.median_of)]
    sources = list(dict.fromkeys([*sources, *read]))
    return IndexEntry(
        venue=names.venues[venue],
        asset=names.assets[asset],
        sources=tuple(names.markets[label] for label in sources),
        references=tuple(names.markets[label] for label in elsewhere),
        reference_shares=tuple(names.shares(elsewhere)),
    )


def breaker_window(breaker: Breaker, step: float) -> int:
    """Steps over which a breaker looks back."""
    return max(1, round(breaker.window / step))


def _longest_window(rules: Rules, every: Iterable[Rules], step: float) -> int:
    """Steps that breakers of any policy look back; 0 where this one has none."""

    def windows(one: Rules) -> list[int]:
        return [
            breaker_window(breaker, step)
            for venue in one.liquidation.values()
            for breaker in venue.circuit_breaker.values()
        ]

    return max((w for one in every for w in windows(one)), default=0) if windows(rules) else 0


def _sale_kinds(rules: Rules, spec: BookSpec, assets: Iterable[str]) -> tuple[str, ...]:
    """Sale kinds of a book's collateral; a spot leg goes with its short, to the venue's books."""
    if isinstance(spec, HedgedBook):
        return ()
    kinds = tuple(rules.sales[spec.venue, asset].kind for asset in assets)
    return kinds if set(kinds) - {"market"} else ()


def _sales(
    names: Names, venue: str, asset: str, everywhere: bool = False
) -> tuple[tuple[int, float], ...]:
    labels = names.own_books(venue, asset)
    if everywhere:
        labels = labels + names.usd_books_elsewhere(venue, asset)
    shares = zip(labels, names.shares(labels), strict=True)
    return tuple((names.markets[label], share) for label, share in shares)
