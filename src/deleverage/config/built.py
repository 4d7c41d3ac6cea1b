"""A config as the arrays of the kernel: `World`, `Policy` and the labels of their axes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np

from deleverage.config.account import account
from deleverage.config.build_books import Portfolios, leverage_caps, market_sides, portfolios
from deleverage.config.build_layout import build_layout
from deleverage.config.build_margin import Margin, build_margin, tier_counts
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
class Built:
    """What `build` makes of a config.

    `groups` lists one (world, policy, positions) per static layout: policies of one group share a
    program, `positions` are their places in the policy axis. `world` is that of the first policy,
    `policy` holds all of them in config order.
    """

    world: World
    policy: Policy
    groups: list[tuple[World, Policy, list[int]]]
    labels: dict[str, list]
    policy_variables: dict[str, np.ndarray]  # [policy]
    policy_coords: dict[str, np.ndarray]  # [policy], levers that vary; NaN: as in the scenario
    account: dict[str, Any]
    config: Config
    start: datetime

    @property
    def seed(self) -> int:
        """Seed of the draws."""
        return self.config.seed

    @property
    def dtype(self) -> str:
        """Float type of the kernel."""
        return self.config.dtype

    @property
    def tile_paths(self) -> int:
        """Paths of a compiled tile."""
        return self.config.engine.tile_paths


def build(config: Config) -> Built:
    """The arrays of a config.

    Raises:
        ConfigError: positions cannot balance, tiers are missing, or an index rests on no price.
    """
    names = Names(config)
    entries = config.entries
    rules = {label: resolve(config, names, entry) for label, entry in entries.items()}
    layouts = {
        label: build_layout(config, names, one, rules.values()) for label, one in rules.items()
    }
    baseline = layouts["baseline"]
    books = portfolios(config, names, baseline, rules["baseline"])
    responses = _responses(config, names, baseline, books, rules)
    built = [
        Entry(layouts[label], rules[label], margin, response, base)
        for label, (margin, response, base) in responses.items()
    ]
    policy = build_policy(config, names, books, built)
    groups = []
    for layout in dict.fromkeys(layouts.values()):
        places = [number for number, one in enumerate(layouts.values()) if one == layout]
        groups.append((build_world(config, names, layout), take(policy, places), places))
    forgone = _forgone(baseline, responses)
    funds = np.array([sum(one.fund.values()) for one in rules.values()]) / 1e6
    return Built(
        world=groups[0][0],
        policy=policy,
        groups=groups,
        labels=_labels(names, baseline, list(entries)),
        policy_variables={**forgone, "fund_size": funds},
        policy_coords=_coordinates(config),
        account=account(config, names, baseline, books, responses["baseline"][1], len(groups)),
        config=config,
        start=config.time.start,
    )


def take(policy: Policy, places: list[int]) -> Policy:
    """The policies at some places of the policy axis."""
    import jax

    return jax.tree.map(lambda leaf: leaf[..., places], policy)


def _responses(
    config: Config, names: Names, layout: Layout, books: Portfolios, rules: Mapping[str, Rules]
) -> dict[str, tuple[Margin, Response, Margin]]:
    """Per policy: its margin tables, the positions under it, the baseline's tables on them."""
    shape = (books.perp_weight.shape[0], books.collateral_weight.shape[0])
    tiers = tier_counts(config, names, rules.values())
    first = rules["baseline"]
    tables = build_margin(config, names, first, shape, tiers)
    pledges = _pledges(names, layout, shape[1], first)
    caps = leverage_caps(config, names, first)
    unbound = np.full_like(books.leverage, np.inf)
    base = respond(books, tables, pledges, caps, unbound, first.uptake, rescales=False)
    use = margin_use(books, tables, base.granted, base.own_funds, base.leverage)
    made = {}
    for label, one in rules.items():
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
        made[label] = (
            _capped(margin, response.granted),
            response,
            _capped(tables, counted),
        )
    return made


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


def _forgone(
    layout: Layout, responses: Mapping[str, tuple[Margin, Response, Margin]]
) -> dict[str, np.ndarray]:
    """Long positions and debt given up against the baseline, USD millions, [policy]."""

    def sizes(response: Response) -> tuple[float, float]:
        longs = market_sides(layout, response.sheets.position)[:, 0].sum()
        return longs, np.maximum(-response.sheets.cash, 0).sum()

    base = sizes(responses["baseline"][1])
    given = np.array([sizes(response) for _, response, _ in responses.values()])
    return {
        "open_interest_forgone": base[0] - given[:, 0],
        "credit_forgone": base[1] - given[:, 1],
    }


def _labels(names: Names, layout: Layout, entries: list[str]) -> dict[str, list]:
    return {
        "policy": entries,
        "asset": list(names.assets),
        "venue": list(names.venues),
        "market": list(names.markets),
        "index": [f"{venue}/{asset}" for venue, asset in names.indices],
        "peg": [f"{layout.venues[v]}/{layout.assets[a]}" for v, a in layout.pegs],
        "threshold": list(layout.thresholds),
        "cause": ["index", "margin"],
    }


def _coordinates(config: Config) -> dict[str, np.ndarray]:
    """Numeric levers that differ between policies."""
    levers = [entry.levers() for entry in config.entries.values()]
    coordinates = {}
    for name in dict.fromkeys(name for one in levers for name in one):
        values = [one.get(name) for one in levers]
        if any(isinstance(value, str | tuple | list) for value in values):
            continue
        numbers = np.array([np.nan if value is None else float(value) for value in values])
        if not np.array_equal(numbers, np.full_like(numbers, numbers[0]), equal_nan=True):
            coordinates[name] = numbers
    return coordinates
