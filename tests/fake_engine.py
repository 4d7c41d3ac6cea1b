"""A simulator of nothing: values depend on variable, policy label and global path id only."""

from __future__ import annotations

import json
import os
import time
import zlib
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from deleverage.config.paths import AdaptivePaths
from deleverage.config.source import Place, Source
from deleverage.results.schema import VARIABLES
from deleverage.sweep.worker import Prepared

FACTORY = "fake_engine:prepare"


@dataclass(frozen=True)
class FakeConfig:
    """The part of a config that a sweep reads, and what should go wrong in it."""

    name: str = "fake"
    seed: int = 1
    paths: int = 200
    policies: dict[str, int] = field(default_factory=lambda: {"baseline": 0, "floor": 1})
    variables: list[str] | None = None
    markets: list[str] | None = None
    tile_paths: int = 8
    unit_paths: int | None = 64
    scenario: str = "calm"
    backend: str = "cpu"
    seconds: float = 0.0
    fault: str = ""
    search: Any = None
    rule: dict[str, Any] | None = None

    @property
    def adaptive(self) -> AdaptivePaths | None:
        return None if self.rule is None else AdaptivePaths.model_validate(self.rule)

    @property
    def most_paths(self) -> int:
        return self.paths if self.rule is None else self.rule["at_most"]

    @property
    def source(self) -> Source:
        return Source({}, {(): Place("fake.yaml")})

    @property
    def results(self) -> Any:
        return SimpleNamespace(variables=self.variables, markets=self.markets, timeline=None)

    @property
    def sampling(self) -> Any:
        return SimpleNamespace(kind="plain")

    @property
    def engine(self) -> Any:
        return SimpleNamespace(tile_paths=self.tile_paths, unit_paths=self.unit_paths)

    def resolved_yaml(self) -> str:
        return json.dumps(asdict(self))

    def identity(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "seed": self.seed,
            "scenario": {"kind": self.scenario},
            "variables": self.variables,
            "markets": self.markets,
        }

    def policy_hashes(self) -> dict[str, str]:
        return {label: str(value) for label, value in self.policies.items()}

    def model_copy(self, update: dict[str, Any]) -> FakeConfig:
        return replace(self, **update)


class FakeSimulator:
    def __init__(self, config: FakeConfig, labels: dict[str, list[str]]) -> None:
        self.config = config
        self.labels = labels
        self.tile_paths = config.tile_paths

    def fingerprint(self) -> dict[str, Any]:
        return {"backend": self.config.backend, "tile": self.tile_paths}

    def with_tile(self, paths: int) -> FakeSimulator:
        other = FakeSimulator(self.config, self.labels)
        other.tile_paths = paths
        return other

    def simulate(self, policies: range, paths: range) -> dict[str, np.ndarray]:
        self._go_wrong(paths)
        time.sleep(self.config.seconds)
        outcomes = {}
        for variable in VARIABLES.values():
            if not variable.by_path:
                continue
            axes = {
                "policy": [zlib.crc32(self.labels["policy"][i].encode()) % 997 for i in policies],
                "path": list(paths),
            }
            value: Any = float(zlib.crc32(variable.name.encode()) % 101)
            for dim in variable.dims:
                numbers = np.asarray(
                    axes[dim] if dim in axes else range(len(self.labels[dim])), dtype=float
                )
                value = np.sin(np.multiply.outer(value, numbers + 1.5)) * 1e3
            if variable.name == "log_weight":
                value *= 0
            dtype = variable.dtype
            outcomes[variable.name] = (np.abs(value) % 3 if dtype == "uint8" else value).astype(
                dtype
            )
        return outcomes

    def _go_wrong(self, paths: range) -> None:
        """Faults are `kind@path`; with a file after a colon they happen once."""
        kind, _, rest = self.config.fault.partition("@")
        where, _, once = rest.partition(":")
        if not kind or int(where) not in paths:
            return
        if once:
            try:
                os.close(os.open(once, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                return
        if kind == "raise":
            raise ValueError("the number is not one")
        if kind == "die":
            os._exit(9)
        if kind == "hang":
            time.sleep(1000)


def labels_of(config: FakeConfig) -> dict[str, list[str]]:
    """Labels of every dimension."""
    return {
        "policy": list(config.policies),
        "asset": ["BTC", "USDe"],
        "venue": ["exchange", "others"],
        "market": ["exchange/BTC/spot", "exchange/BTC/perp", "others/BTC/spot"],
        "index": ["exchange/BTC", "exchange/USDe"],
        "peg": ["exchange/USDe"],
        "threshold": ["0.99", "0.95"],
        "cause": ["index", "margin"],
    }


def prepare(config: FakeConfig | Path) -> Prepared:
    """The factory, for this process and for workers."""
    if isinstance(config, Path):
        config = FakeConfig(**json.loads(config.read_text()))
    labels = labels_of(config)
    count = len(config.policies)
    built = SimpleNamespace(
        labels=labels,
        policy_variables={
            name: np.arange(count, dtype=float)
            for name in (
                *("open_interest", "open_interest_forgone", "credit_forgone"),
                *("fund_size", "vault_size"),
            )
        },
        policy_coords={"liquidation.pace": [0.1 * i for i in range(count)]},
        timeline=None,
    )
    return Prepared(config, built, FakeSimulator(config, labels))
