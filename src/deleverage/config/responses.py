"""How the positions of a scenario answer to each of its policies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from deleverage.config.books import BookSpec, HedgedBook, LoanBook
from deleverage.config.build_books import Portfolios, leverage_caps
from deleverage.config.build_layout import slots
from deleverage.config.build_margin import Margin, build_margin
from deleverage.config.models import Config
from deleverage.config.names import Names
from deleverage.config.participation import (
    Pledges,
    Response,
    Terms,
    asked_sizes,
    forgone_by,
    margin_use,
    migrated,
    respond,
    size_of,
)
from deleverage.config.quantities import NEVER
from deleverage.config.resolve import Rules
from deleverage.world import Layout


@dataclass(frozen=True)
class Part:
    """The entries of one scenario: the config's own, or one that they override it to."""

    config: Config
    names: Names
    baseline: Rules  # the baseline's levers in this scenario
    rules: Mapping[str, Rules]  # by entry


def responses(
    part: Part, layout: Layout, books: Portfolios, tiers: tuple[int, int]
) -> tuple[Response, list[tuple[Margin, Response, Margin]]]:
    """Positions under the baseline; per entry its tables, its positions, the baseline's tables."""
    first = part.baseline
    terms = _terms(part, layout, books, tiers, first)
    unbound = np.full_like(books.leverage, np.inf)
    base = respond(books, replace(terms, rescales=False), unbound)
    use = margin_use(books, terms.margin, base.granted, base.own_funds, base.leverage)
    made = []
    for label, one in part.rules.items():
        asked = _terms(part, layout, books, tiers, one)
        response = base if label == "baseline" else respond(books, asked, use)
        if one.migrates > 0 and label != "baseline":
            where = _takers(part, label, books, response, asked)
            response = migrated(books, response, asked, use, where)
        counted = terms.pledges.granted(response.sheets.collateral)
        made.append(
            (_capped(asked.margin, response.granted), response, _capped(terms.margin, counted))
        )
    return base, made


def _terms(
    part: Part, layout: Layout, books: Portfolios, tiers: tuple[int, int], rules: Rules
) -> Terms:
    shape = (books.perp_weight.shape[0], books.collateral_weight.shape[0])
    pledges = _pledges(part.names, layout, shape[1], rules)
    credits = [rules.credit.get((key.venue, key.asset)) for key in part.names.indices]
    admits = [one is None or one.admitted for one in credits]
    segregates = np.array([one is not None and one.segregated for one in credits])
    return Terms(
        margin=build_margin(part.config, part.names, rules, shape, tiers),
        pledges=pledges,
        caps=leverage_caps(part.config, part.names, rules),
        admitted=np.where(pledges.pool >= 0, np.array(admits, dtype=np.float64)[pledges.pool], 1.0),
        segregated=(pledges.pool >= 0) & segregates[pledges.pool] & ~books.loan,
        uptake=rules.uptake,
        hedges=_hedges(part, books, rules),
        rescales=rules.rescales,
        upward=rules.upward,
        migrates=rules.migrates,
    )


def _hedges(part: Part, books: Portfolios, rules: Rules) -> np.ndarray:
    """Sizes of issuers' hedges relative to the scenario's, as a policy shares them out, [B, 1]."""
    specs = part.config.scenario.held.values()
    factor = np.ones((len(specs), 1))
    size = size_of(books, books.own_funds, books.leverage)
    for asset, mix in rules.hedges.items():
        own = np.array([isinstance(s, HedgedBook) and s.issuer == asset for s in specs])
        for venue, share in mix.items():
            there = own & np.array([spec.venue == venue for spec in specs])
            factor[there] = share * size[own].sum() / size[there].sum()
        factor[own & np.array([spec.venue not in mix for spec in specs])] = 0.0
    return factor


def _takers(
    part: Part, label: str, books: Portfolios, response: Response, terms: Terms
) -> np.ndarray:
    """Where each book would go: matching books that give up nothing, by size, [giver, taker].

    Raises:
        ConfigError: No other venue has such a book.
    """
    given_up = forgone_by(books, response, asked_sizes(books, terms))
    kept = size_of(books, response.own_funds, response.leverage)
    specs = part.config.scenario.held
    where = np.zeros((len(specs), len(specs)))
    for giver, (name, spec) in enumerate(specs.items()):
        if given_up[giver] == 0:
            continue
        for taker, other in enumerate(specs.values()):
            if other.venue != spec.venue and given_up[taker] == 0:
                where[giver, taker] = kept[taker] * (
                    _exposure(part, other) == _exposure(part, spec)
                )
        if not where[giver].any():
            part.config.source.refuse(
                (*part.config.key_of(label), "participation"),
                f"nowhere to migrate to for '{name}', which gives up {given_up[giver]:.6g}M",
                "`migrate` where another venue has a book of the same positions that keeps its own",
                "add such a book, or use `rescale`",
            )
    return where / np.maximum(where.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)


def _exposure(part: Part, spec: BookSpec) -> tuple:
    """What a book is held for: perps and their signs, or the collateral of a loan."""
    perps, collateral = slots(spec, part.names.numeraire)
    return (spec.kind, perps, collateral if isinstance(spec, LoanBook) else {})


def _capped(margin: Margin, granted: np.ndarray) -> Margin:
    return replace(
        margin,
        ratio=margin.ratio * granted[:, None],
        addition=margin.addition * granted[:, None],
        granted=margin.granted * granted,
    )


def _pledges(names: Names, layout: Layout, slots: int, rules: Rules) -> Pledges:
    pool = np.full((slots, len(layout.books)), -1)
    for row, book in enumerate(layout.books):
        pool[: len(book.collateral), row] = book.collateral
    # one pool of an asset on a venue, however many products have an index of their own
    first: dict[tuple[str, str], int] = {}
    for key, number in names.indices.items():
        first.setdefault((key.venue, key.asset), number)
    pools = np.array([first[key.venue, key.asset] for key in names.indices], dtype=int)
    pool[pool >= 0] = pools[pool[pool >= 0]]
    credits = [rules.credit.get((key.venue, key.asset)) for key in names.indices]
    caps = [NEVER if one is None else one.cap for one in credits]
    return Pledges(pool, np.array(caps) / 1e6)
