"""Entries of the policy axis that share a scenario, and what each amounts to in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from deleverage.config.build_books import Portfolios, leverage_caps, market_sides, portfolios
from deleverage.config.build_layout import build_layout
from deleverage.config.build_margin import Margin, build_margin
from deleverage.config.build_policy import Entry, build_policy
from deleverage.config.build_shocks import build_world
from deleverage.config.models import Config
from deleverage.config.names import Names
from deleverage.config.participation import Pledges, Response, margin_use, respond
from deleverage.config.quantities import NEVER
from deleverage.config.resolve import Rules, resolve
from deleverage.policy import Policy
from deleverage.world import Layout, World


@dataclass(frozen=True)
class Part:
    """The entries of one scenario: the config's own, or one that they override it to."""

    config: Config
    names: Names
    baseline: Rules  # the baseline's levers in this scenario
    rules: Mapping[str, Rules]  # by entry


@dataclass(frozen=True)
class Resolved:
    """One entry as arrays."""

    layout: Layout
    world: World
    policy: Policy  # leaves [..., 1]
    forgone: tuple[float, float]  # long positions and debt, against the baseline there


def parts_of(config: Config) -> list[Part]:
    """The scenarios of a config's entries, its own first.

    Raises:
        ConfigError: an index rests on no price.
    """
    configs, members = [config], [[]]
    for label in config.entries:
        variant = config.under(label)
        known = [one.scenario == variant.scenario for one in configs]
        if not any(known):
            configs, members = [*configs, variant], [*members, []]
        members[known.index(True) if any(known) else -1].append(label)
    published = Names(config).indices
    named = [(one, Names(one, published)) for one in configs]
    return [_part(*one, labels) for one, labels in zip(named, members, strict=True)]


def _part(config: Config, names: Names, labels: Sequence[str]) -> Part:
    rules = {label: resolve(config, names, config.entries[label]) for label in labels}
    baseline = rules.get("baseline") or resolve(config, names, config.entries["baseline"])
    return Part(config, names, baseline, rules)


def holders(part: Part, every: Sequence[Rules]) -> tuple[Layout, Portfolios]:
    """The layout of the baseline in a part's scenario, and the books that it sizes."""
    layout = build_layout(part.config, part.names, part.baseline, every)
    return layout, portfolios(part.config, part.names, layout, part.baseline)


def resolved(
    part: Part, every: Sequence[Rules], tiers: tuple[int, int], base: Config
) -> dict[str, Resolved]:
    """The entries of a part as arrays.

    Args:
        part: The entries and their scenario.
        every: Rules of all entries of the run, which decide what all have in common.
        tiers: Rows of the maintenance and of the credit tables.
        base: The config whose scenario the part overrides, or its own.

    Raises:
        ConfigError: positions cannot balance, or tiers are missing.
    """
    layout, books = holders(part, every)
    layouts = [build_layout(part.config, part.names, one, every) for one in part.rules.values()]
    base_response, responses = _responses(part, layout, books, tiers)
    entries = [
        Entry(one, rules, margin, response, fair)
        for one, rules, (margin, response, fair) in zip(
            layouts, part.rules.values(), responses, strict=True
        )
    ]
    policy = build_policy(part.config, part.names, books, entries)
    worlds = {one: build_world(part.config, part.names, one, base) for one in set(layouts)}
    before = sizes(layout, base_response)
    return {
        label: Resolved(
            layouts[place],
            worlds[layouts[place]],
            take(policy, [place]),
            tuple(np.subtract(before, sizes(layout, responses[place][1]))),
        )
        for place, label in enumerate(part.rules)
    }


def baseline_response(
    part: Part, layout: Layout, books: Portfolios, tiers: tuple[int, int]
) -> Response:
    """Positions under the baseline, which are what the scenario says."""
    return _responses(replace(part, rules={}), layout, books, tiers)[0]


def take(policy: Policy, places: Sequence[int]) -> Policy:
    """The policies at some places of the policy axis."""
    import jax

    return jax.tree.map(lambda leaf: leaf[..., places], policy)


def _responses(
    part: Part, layout: Layout, books: Portfolios, tiers: tuple[int, int]
) -> tuple[Response, list[tuple[Margin, Response, Margin]]]:
    """Positions under the baseline; per entry its tables, its positions, the baseline's tables."""
    config, names, first = part.config, part.names, part.baseline
    shape = (books.perp_weight.shape[0], books.collateral_weight.shape[0])
    tables = build_margin(config, names, first, shape, tiers)
    pledges = _pledges(names, layout, shape[1], first)
    caps = leverage_caps(config, names, first)
    unbound = np.full_like(books.leverage, np.inf)
    base = respond(books, tables, pledges, caps, unbound, first.uptake, rescales=False)
    use = margin_use(books, tables, base.granted, base.own_funds, base.leverage)
    made = []
    for label, one in part.rules.items():
        margin = build_margin(config, names, one, shape, tiers)
        response = base
        if label != "baseline":
            response = respond(
                books,
                margin,
                _pledges(names, layout, shape[1], one),
                leverage_caps(config, names, one),
                use,
                one.uptake,
                one.rescales,
            )
        counted = pledges.granted(response.sheets.collateral)
        made.append((_capped(margin, response.granted), response, _capped(tables, counted)))
    return base, made


def _capped(margin: Margin, granted: np.ndarray) -> Margin:
    return replace(
        margin, ratio=margin.ratio * granted[:, None], addition=margin.addition * granted[:, None]
    )


def _pledges(names: Names, layout: Layout, slots: int, rules: Rules) -> Pledges:
    pool = np.full((slots, len(layout.books)), -1)
    for row, book in enumerate(layout.books):
        pool[: len(book.collateral), row] = book.collateral
    caps = [rules.credit[entry].cap if entry in rules.credit else NEVER for entry in names.indices]
    return Pledges(pool, np.array(caps) / 1e6)


def sizes(layout: Layout, response: Response) -> tuple[float, float]:
    """Long positions and debt of all cohorts, USD millions."""
    longs = market_sides(layout, response.sheets.position)[:, 0].sum()
    return float(longs), float(np.maximum(-response.sheets.cash, 0).sum())
