"""Entries of the policy axis that share a scenario, and what each amounts to in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from deleverage.config.build_books import Portfolios, market_sides, portfolios
from deleverage.config.build_layout import build_layout
from deleverage.config.build_policy import Entry, build_policy
from deleverage.config.build_shocks import build_world
from deleverage.config.models import Config
from deleverage.config.names import Names
from deleverage.config.participation import Response
from deleverage.config.resolve import Rules, resolve
from deleverage.config.responses import Part, responses
from deleverage.policy import Policy
from deleverage.world import Layout, World


@dataclass(frozen=True)
class Resolved:
    """One entry as arrays."""

    layout: Layout
    world: World
    policy: Policy  # leaves [..., 1]
    open_interest: float  # long positions at the start, USD millions
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
    base_response, found = responses(part, layout, books, tiers)
    entries = [
        Entry(one, rules, margin, response, fair)
        for one, rules, (margin, response, fair) in zip(
            layouts, part.rules.values(), found, strict=True
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
            sizes(layout, found[place][1])[0],
            tuple(np.subtract(before, sizes(layout, found[place][1]))),
        )
        for place, label in enumerate(part.rules)
    }


def baseline_response(
    part: Part, layout: Layout, books: Portfolios, tiers: tuple[int, int]
) -> Response:
    """Positions under the baseline, which are what the scenario says."""
    return responses(replace(part, rules={}), layout, books, tiers)[0]


def take(policy: Policy, places: Sequence[int]) -> Policy:
    """The policies at some places of the policy axis."""
    import jax

    return jax.tree.map(lambda leaf: leaf[..., places], policy)


def sizes(layout: Layout, response: Response) -> tuple[float, float]:
    """Long positions and debt of all cohorts, USD millions."""
    longs = market_sides(layout, response.sheets.position)[:, 0].sum()
    return float(longs), float(np.maximum(-response.sheets.cash, 0).sum())
