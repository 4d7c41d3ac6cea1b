"""A problem of two objectives with a known front, as a simulator that a search can run.

The levers `reach` and `fit` lie in [0, 1]. A policy costs `reach`; its mean bad debt is
g - sqrt(g reach) with g = 1 + 4 (fit - 0.3)^2, which is least at fit = 0.3: the front is
1 - sqrt(cost) (the first problem of Zitzler, Deb and Thiele 2000, with one lever in g).
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fake_engine
import numpy as np

from deleverage.config.search import Search
from deleverage.sweep.worker import Prepared

FACTORY = "fake_search:prepare"
BEST_FIT = 0.3


def truth(reach: Any, fit: Any) -> Any:
    """The mean bad debt of a policy."""
    g = 1.0 + 4.0 * (np.asarray(fit) - BEST_FIT) ** 2
    return g - np.sqrt(g * np.asarray(reach))


def asked(**changes: Any) -> Search:
    """The search of this problem: 48 policies on 50 paths, the first 16 a sweep."""
    values = {
        "levers": {"reach": [0, 1], "fit": [0, 1]},
        "risk": {"variable": "bad_debt"},
        "costs": ["open_interest_forgone"],
        "budget": {"policies": 48, "paths": 50},
        "sweep": 16,
    }
    return Search.model_validate(values | changes)


@dataclass(frozen=True)
class SearchConfig(fake_engine.FakeConfig):
    """A config whose policies are points of the problem; `baseline` costs nothing."""

    policies: dict[str, Any] = field(default_factory=lambda: {"baseline": {"reach": 0, "fit": 1}})
    variables: list[str] | None = field(
        default_factory=lambda: ["bad_debt", "open_interest_forgone"]
    )
    noise: float = 0.0

    def trying(
        self, points: Mapping[str, Mapping[str, Any]], name: str, paths: int, seed: int
    ) -> SearchConfig:
        policies = self.policies | dict(points)
        return replace(self, policies=policies, name=name, paths=paths, seed=seed, search=None)

    def identity(self) -> dict[str, Any]:
        return super().identity() | {"noise": self.noise}


class Problem:
    """Bad debt with noise of each policy's own, by seed and path."""

    def __init__(self, config: SearchConfig) -> None:
        self.config = config
        self.tile_paths = config.tile_paths

    def fingerprint(self) -> dict[str, Any]:
        return {"backend": "problem"}

    def simulate(self, policies: range, paths: range) -> dict[str, np.ndarray]:
        labels = list(self.config.policies)
        rows = [self._row(labels[i], paths) for i in policies]
        status = np.zeros((len(policies), len(paths)), np.uint8)
        path_only = {
            name: np.zeros(len(paths), np.float32)
            for name in ("severity", "shock_time", "log_weight")
        }
        return {"bad_debt": np.stack(rows).astype(np.float32), "status": status, **path_only}

    def _row(self, label: str, paths: range) -> np.ndarray:
        point = self.config.policies[label]
        key = [self.config.seed, zlib.crc32(label.encode())]
        noise = np.random.default_rng(key).standard_normal(paths.stop)[paths.start :]
        return truth(point["reach"], point["fit"]) + self.config.noise * noise


def prepare(config: SearchConfig | Path) -> Prepared:
    """The factory, for this process and for workers."""
    if isinstance(config, Path):
        config = SearchConfig(**json.loads(config.read_text()))
    points = list(config.policies.values())
    zeros = np.zeros(len(points))
    cost = np.array([float(point["reach"]) for point in points])
    built = SimpleNamespace(
        labels=fake_engine.labels_of(config),
        policy_variables={
            **dict.fromkeys(("open_interest", "credit_forgone", "fund_size"), zeros),
            "open_interest_forgone": cost,
        },
        policy_coords={name: np.array([p[name] for p in points], float) for name in points[0]},
        timeline=None,
    )
    return Prepared(config, built, Problem(config))
