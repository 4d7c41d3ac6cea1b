"""A simulator of normals alone: what splitting does can be checked in seconds."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import ndtri

from deleverage.config.sampling import SplittingSampling
from deleverage.results.schema import VARIABLES
from deleverage.shocks.lineage import Lineage
from deleverage.sweep.response import Response
from deleverage.sweep.splitting import Level, Populations, Splitting

DIMENSIONS = 3


def normals(ids: np.ndarray) -> np.ndarray:
    """Standard normals of ids, `[dimension, path]`: splitmix64 of id and dimension."""
    numbers = np.arange(1, DIMENSIONS + 1, dtype=np.uint64)[:, None] * np.uint64(2**40)
    x = (numbers + ids.astype(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        x = (x ^ (x >> np.uint64(shift))) * np.uint64(factor)
    x = x ^ (x >> np.uint64(31))
    return ndtri(((x >> np.uint64(12)).astype(float) + 0.5) / 2.0**52)


class Normals:
    """Under policy p `bad_debt` is the first normal plus p times the second."""

    tile_paths = 4

    def __init__(self, cap: float = np.inf) -> None:
        self.cap = cap
        self.least_id = 2**32

    def fingerprint(self) -> dict[str, Any]:
        return {"backend": "fake"}

    def simulate(self, policies: range, paths: range, lineage: Lineage) -> dict[str, np.ndarray]:
        z = np.zeros((DIMENSIONS, len(paths)))
        self.least_id = min(self.least_id, int(lineage.ids[0].min()))
        generations = int(np.count_nonzero(lineage.spread, axis=0).max())
        for ids, spread in zip(lineage.ids[:generations], lineage.spread, strict=False):
            z = np.sqrt(1 - spread**2) * z + spread * normals(ids)
        debt = np.stack([np.minimum(z[0] + p * z[1], self.cap) for p in policies])
        return {
            "bad_debt": debt,
            "severity": z[2],
            "log_weight": np.zeros(len(paths), np.float32),
        }

    def watch(self, policy: int, path: int, lineage: Lineage) -> tuple[dict, dict]:
        found = self.simulate(range(policy, policy + 1), range(lineage.ids.shape[1]), lineage)
        return {"bad_debt": found["bad_debt"][0, path]}, {"column": np.array(path)}


def populations(
    levels: int, share: float, paths: int, policy: int = 0, simulator: Normals | None = None
) -> Populations:
    scheme = SplittingSampling(
        kind="splitting",
        variable="bad_debt",
        levels=levels,
        share=share,
        paths_per_level=paths,
    )
    response = Response(VARIABLES["bad_debt"], policy, (), 1.0)
    return Populations(simulator or Normals(), scheme, response, 7)


def splitting(thresholds: tuple[float, ...], spread: float, *sizes: Any, **more: Any) -> Splitting:
    levels = [Level(threshold, spread) for threshold in thresholds]
    return Splitting(populations(len(levels), *sizes, **more), levels)
