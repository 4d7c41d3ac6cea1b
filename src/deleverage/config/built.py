"""A config as the arrays of the kernel: `World`, `Policy` and the labels of their axes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from math import gcd
from typing import Any

import numpy as np

from deleverage.config.account import account
from deleverage.config.build_margin import tier_counts
from deleverage.config.build_shocks import build_world
from deleverage.config.groups import group, stacked
from deleverage.config.models import Config
from deleverage.config.names import Names
from deleverage.config.parts import baseline_response, holders, parts_of, resolved, take
from deleverage.config.sampling import SplittingSampling
from deleverage.config.scenario import Scenario
from deleverage.config.timeline import build_timeline
from deleverage.engine import LANES
from deleverage.engine.block import LEAST_PATHS, block_paths
from deleverage.engine.program import PAIRED
from deleverage.engine.timeline import Timeline
from deleverage.policy import Policy
from deleverage.world import Layout, World


@dataclass(frozen=True)
class Built:
    """What `build` makes of a config.

    `groups` lists one (world, policy, positions, own worlds) a program: policies of one group
    share a layout, `positions` are their places in the policy axis. `world` always has the
    config's own shocks; entries that override them have worlds of their own beside it, leaves
    `[..., policy]`.
    """

    groups: list[tuple[World, Policy, list[int], World | None]]
    labels: dict[str, list]
    policy_variables: dict[str, np.ndarray]  # [policy]
    policy_coords: dict[str, np.ndarray]  # [policy], levers that vary; NaN: as in the scenario
    account: dict[str, Any]
    config: Config
    start: datetime
    timeline: Timeline | None = None  # histograms to make

    @property
    def world(self) -> World:
        """The world of the first policy's program."""
        return self.groups[0][0]

    @property
    def policy(self) -> Policy:
        """All policies in config order, where their books have one shape."""
        order = np.argsort(np.concatenate([places for _, _, places, _ in self.groups]))
        every = stacked([policy for _, policy, _, _ in self.groups], np.concatenate)
        return take(every, order.tolist())

    @property
    def seed(self) -> int:
        """Seed of the draws."""
        return self.config.seed

    @property
    def dtype(self) -> str:
        """Float type of the kernel."""
        return self.config.dtype

    @property
    def driver(self) -> str:
        """What takes the steps: "auto", "scan" or "fused"."""
        return self.config.engine.driver

    @property
    def paired(self) -> bool:
        """Whether an outcome that the run without feedback is for is kept, or paths split on it."""
        kept, sampling = self.config.results.variables, self.config.sampling
        split_on = sampling.variable if isinstance(sampling, SplittingSampling) else None
        return isinstance(kept, str) or not set(PAIRED).isdisjoint({*kept, split_on})

    @property
    def tile_paths(self) -> int:
        """Paths of a compiled tile."""
        given, unit = self.config.engine.tile_paths, self.config.engine.unit_paths
        if given is not None:
            return given
        tile = block_paths(self.groups, LANES, self.dtype)
        # a unit that was asked for and holds no large tile gets smaller ones
        return tile if unit is None else max(gcd(tile, unit), LEAST_PATHS)


def build(config: Config) -> Built:
    """The arrays of a config.

    Raises:
        ConfigError: positions cannot balance, tiers are missing, or an index rests on no price.
    """
    parts = parts_of(config)
    rules = {label: one for part in parts for label, one in part.rules.items()}
    every = [rules[label] for label in config.entries]
    counts = [tier_counts(part.config, part.names, [*every, part.baseline]) for part in parts]
    tiers = (max(count[0] for count in counts), max(count[1] for count in counts))
    found = {}
    for part in parts:
        found |= resolved(part, every, tiers, config)
    entries = [found[label] for label in config.entries]
    own = parts[0]
    layout, books = holders(own, every)
    groups = group(entries, build_world(config, own.names, layout))
    forgone = np.array([entry.forgone for entry in entries])
    return Built(
        groups=groups,
        labels=_labels(own.names, layout, list(config.entries)),
        policy_variables={
            "open_interest": np.array([entry.open_interest for entry in entries]),
            "open_interest_forgone": forgone[:, 0],
            "credit_forgone": forgone[:, 1],
            "fund_size": np.array([sum(one.fund.values()) for one in every]) / 1e6,
            "vault_size": np.array(
                [sum(vault.capacity for vault in one.vault.values()) for one in every]
            )
            / 1e6,
        },
        policy_coords=_coordinates(config),
        account=account(
            config,
            own.names,
            layout,
            books,
            baseline_response(own, layout, books, tiers),
            len(groups),
        ),
        config=config,
        start=config.time.start,
        timeline=build_timeline(spec, config.time) if (spec := config.results.timeline) else None,
    )


def _labels(names: Names, layout: Layout, entries: list[str]) -> dict[str, list]:
    return {
        "policy": entries,
        "asset": list(names.assets),
        "venue": list(names.venues),
        "market": list(names.markets),
        "index": [key.label for key in names.indices],
        "peg": [f"{layout.venues[v]}/{layout.assets[a]}" for v, a in layout.pegs],
        "threshold": list(layout.thresholds),
        "cause": ["index", "margin"],
    }


def _coordinates(config: Config) -> dict[str, np.ndarray]:
    """Numeric levers that differ between policies; of the scenario, every policy's own value."""
    levers = [entry.levers() for entry in config.entries.values()]
    scenarios = [config.under(label).scenario for label in config.entries]
    coordinates = {}
    for name in dict.fromkeys(name for one in levers for name in one):
        values = [one.get(name) for one in levers]
        folder, *path = name.split(".")
        if folder == "scenario" and path[0] in Scenario.model_fields:
            values = [_value_at(scenario, path) for scenario in scenarios]
        if any(not isinstance(value, int | float | None) for value in values):
            continue
        numbers = np.array([np.nan if value is None else float(value) for value in values])
        if not np.array_equal(numbers, np.full_like(numbers, numbers[0]), equal_nan=True):
            coordinates[name] = numbers
    return coordinates


def _value_at(scenario: Scenario, path: list[str]) -> Any:
    """What a scenario says at a key path; None where it has no such key."""
    value: Any = scenario
    for part in path:
        value = value.get(part) if isinstance(value, dict) else getattr(value, part, None)
    return value
