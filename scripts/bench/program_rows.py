"""Rows of the benchmark's table: one program, so many policies and paths."""

from __future__ import annotations

import statistics
from typing import Any

from pool import Pool

LEAST = {"engine": 128, "sole": 512, "numpy": 128, "numba": 1, "c": 32, "oct10": 128}
"""Paths that a core runs at least: a tile of the engine, a block of NumPy."""

ENGINES = ("engine", "sole", "oct10")
"""Programs that are the engine: of 64 policies, of one alone, and on the day."""


class Rows:
    """Runs programs and sums their runs up.

    Args:
        pool: The workers.
        work: Cohorts times steps of each program's config.
        patience: Times the seconds of a run that one row may take.
    """

    def __init__(self, pool: Pool, work: dict[str, int], patience: float) -> None:
        self._pool, self._work, self._patience = pool, work, patience

    def interleaved(
        self, names: list[str], policies: int, seconds: float, repeats: int
    ) -> list[dict[str, Any]]:
        """One row a program, the repeats taken in turns, each of about some seconds.

        A program whose least run takes long is repeated no more once its runs have taken
        `patience` times those seconds.
        """
        sizes, runs = {}, {name: [] for name in names}
        for name in names:
            least = LEAST[name] * self._pool.cores
            run = self._pool.run(name, policies, least)
            sizes[name] = least * max(1, round(seconds / run["seconds"]))
            if sizes[name] == least:
                runs[name].append(run)
        for repeat in range(repeats):
            for name in names:
                spent = sum(run["seconds"] for run in runs[name])
                done = len(runs[name]) > repeat or spent > self._patience * seconds
                if not done:
                    runs[name].append(self._pool.run(name, policies, sizes[name]))
        return [self._row(name, policies, sizes[name], runs[name]) for name in names]

    def of_paths(self, name: str, policies: int, paths: int) -> dict[str, Any]:
        """A row of one run of a given number of paths, rounded up to whole steps of the cores."""
        least = LEAST[name] * self._pool.cores
        paths = -(-paths // least) * least
        return self._row(name, policies, paths, [self._pool.run(name, policies, paths)])

    def _row(
        self, name: str, policies: int, paths: int, runs: list[dict[str, float]]
    ) -> dict[str, Any]:
        """Medians over the repeats; the spread is the slowest over the fastest."""
        seconds = [run["seconds"] for run in runs]
        rate = policies * paths / statistics.median(seconds)
        return {
            "program": "engine" if name in ENGINES else name,
            "config": "oct10" if name == "oct10" else "bench-core",
            "policies": policies,
            "paths": paths,
            "repeats": len(runs),
            "seconds": statistics.median(seconds),
            "spread": max(seconds) / min(seconds),
            "path_policies_per_second": rate,
            "cohort_steps_per_second": rate * self._work[name],
            "busy_cores": statistics.median(run["processor"] / run["seconds"] for run in runs),
            "peak_memory_mb": max(run["peak_memory_mb"] for run in runs),
        }
