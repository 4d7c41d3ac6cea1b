"""This engine beside the same step in NumPy, in Numba and in C, on the same draws.

    python scripts/bench/compare.py [--quick] [--json FILE]

Needs the `bench` extra (numba); the program in C is built if there is a compiler. Every program
runs on all cores, one pinned process a core (Numba: threads of one process, as it compiles for
minutes); runs are interleaved, numbers are medians. README.md tells more.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from agreement import MOST_APART, compare
from counted import of_path_policy
from machine import NO_COMPILER, compiler, cores, described
from pool import Pool
from program_rows import ENGINES, Rows
from table import table

ROOT = Path(__file__).parents[2]
CORE, DAY = ROOT / "configs/bench/core.yaml", ROOT / "configs/oct10.yaml"
REPEATS = 5
FEW = 4
"""Policies under which more and more paths are run: with 16, a million take forty minutes."""

STEPS = 240
"""Of both configs."""


def main() -> None:
    """Measure, print, write."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--quick", action="store_true", help="under four minutes")
    arguments.add_argument("--json", type=Path, help="also write everything here")
    options = arguments.parse_args()

    started = time.perf_counter()
    programs = {name: (name, str(CORE)) for name in ("engine", "numpy", "numba", "c")}
    programs |= {"sole": ("sole", str(CORE)), "oct10": ("engine", str(DAY))}
    if compiler() is None:
        print(NO_COMPILER)
        del programs["c"]
    with tempfile.TemporaryDirectory() as scratch:
        pool = Pool(programs, cores(), f"{scratch}/cache")
        try:
            report = described() | measured(pool, options.quick, Path(scratch))
        finally:
            pool.close()
    report["seconds"] = time.perf_counter() - started
    print(table(report))
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    wrong = [one for one in report["agreement"] if one["apart"] > MOST_APART]
    if wrong:
        sys.exit(f"error: {wrong[0]['program']} does not give the outcomes of {wrong[0]['with']}.")


def measured(pool: Pool, quick: bool, scratch: Path) -> dict[str, Any]:
    """All that is asked of the workers."""
    startup = [
        {"program": name, "core": core, **worker.seconds}
        for name, workers in pool.workers.items()
        for core, worker in enumerate(workers)
    ]
    agreement = agreements(pool, scratch, quick)
    peaks = [pool.ask("numpy", ["peaks"] * pool.cores)[1] for _ in range(2)]
    peak = {
        what: max(sum(core[what] for core in one) for one in peaks)
        for what in ("operations", "bytes")
    }
    cost = pool.workers["engine"][0].ask("cost")
    rows = rows_of(pool, quick)
    return {
        "startup": startup,
        "agreement": agreement,
        "peak": peak,
        "cost": cost | shares(cost, peak, rows[0]),
        "rows": rows,
    }


def rows_of(pool: Pool, quick: bool) -> list[dict[str, Any]]:
    """All programs at 16 policies; at 1 and 64 those that are quick; then more and more paths."""
    work = {name: cohort_steps(DAY if name == "oct10" else CORE) for name in pool.workers}
    made, names = Rows(pool, work, patience=4 if quick else 12), list(pool.workers)
    seconds = 1.0 if quick else 5.0
    rows = made.interleaved([name for name in names if name != "sole"], 16, seconds, REPEATS)
    others = [name for name in names if name not in ENGINES and (name == "c" or not quick)]
    for policies, engine in ((1, "sole"), (64, "engine")):
        repeats = 2 if quick else REPEATS
        rows += made.interleaved([engine, *others], policies, seconds, repeats)
    for paths in (1_000, 2_000) if quick else (1_000, 10_000, 100_000, 1_000_000):
        rows.append(made.of_paths("engine", FEW, paths))
    return rows


def cohort_steps(config: Path) -> int:
    """Cohorts times steps of a config."""
    from deleverage.config import build, load_config

    layout = build(load_config(config)).world.layout
    return len(layout.books) * layout.buckets * layout.steps


def agreements(pool: Pool, scratch: Path, quick: bool) -> list[dict[str, Any]]:
    """Each program against the reference on few columns, against C (or NumPy) on more."""
    names = [name for name in ("engine", "numpy", "c", "numba") if name in pool.workers]
    many = "c" if "c" in names else "numpy"
    found = []
    for other, policies, paths in (
        ("numba", 4, 2 if quick else 16),
        (many, 4 if quick else 16, 64 if quick else 512),
    ):
        outcomes = {}
        for name in names if other == "numba" else names[:-1]:
            file = scratch / f"{name}.npz"
            task = {"policies": policies, "first": 0, "paths": paths, "save": str(file)}
            pool.workers[name][0].ask(task)
            outcomes[name] = dict(np.load(file))
        found += [
            {"program": name, "with": other, **compare(outcomes[name], outcomes[other])}
            for name in outcomes
            if name != other
        ]
    first, file = {name: rows[:1] for name, rows in outcomes[many].items()}, scratch / "sole.npz"
    pool.workers["sole"][0].ask({"policies": 1, "first": 0, "paths": paths, "save": str(file)})
    found.append({"program": "sole", "with": many, **compare(dict(np.load(file)), first)})
    return found


def shares(
    cost: dict[str, float], peak: dict[str, float], engine: dict[str, Any]
) -> dict[str, float]:
    """Operations and bytes a second of the engine's run, over what the machine does at most."""
    from deleverage.engine import LANES

    rate, policies = engine["path_policies_per_second"], engine["policies"]
    return {
        f"share_of_peak_{what}": rate
        * of_path_policy(cost, what, STEPS, policies, LANES)
        / peak[what]
        for what in ("operations", "bytes")
    }


if __name__ == "__main__":
    main()
