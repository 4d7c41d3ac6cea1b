"""What each mechanism costs in time: entries of a config, each beside the baseline.

    python scripts/bench/mechanisms.py [--only NAME ...] [--json FILE]

Each entry of `configs/bench/mechanisms.yaml` is compiled by itself, as a mechanism that is off
costs nothing in a program, and run as 16 lanes beside 16 of the baseline, in turns, in one process
on one core. Numbers are processor seconds, medians over the repeats, of the entry over the
baseline's run just before.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
os.environ["NPROC"] = "1"  # before JAX is imported
ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "src"))

from machine import described  # noqa: E402
from ruamel.yaml import YAML  # noqa: E402

CONFIG = ROOT / "configs/bench/mechanisms.yaml"
PATHS, REPEATS = 64, 5


def main() -> None:
    """Measure, print, write."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--only", nargs="+", metavar="NAME", help="entries of the config")
    arguments.add_argument("--json", type=Path, help="also write everything here")
    options = arguments.parse_args()
    values = YAML(typ="safe", pure=True).load(CONFIG)
    values["scenario"] = {"include": str((CONFIG.parent / values["scenario"]["include"]).resolve())}
    entries = values.pop("policies")
    unknown = sorted(set(options.only or ()) - set(entries))
    if unknown:
        sys.exit(f"error: {unknown[0]} is no entry of {CONFIG}; there are {', '.join(entries)}.")
    print(f"{'mechanism':24}{'over baseline':>15}{'spread':>8}{'compile, s':>12}", flush=True)
    baseline, rows = Timed(values, {}), []
    for name, entry in entries.items():
        if name in (options.only or entries):
            timed = Timed(values, {} if name == "baseline" else {name: entry})
            rows.append({"mechanism": name, **beside(baseline, timed)})
            print("{:24}{:>15.3f}{:>8.2f}{:>12.1f}".format(*rows[-1].values()), flush=True)
    report = described() | {"paths": PATHS, "policies": 16, "repeats": REPEATS, "rows": rows}
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")


class Timed:
    """An entry's own program, run on a batch that holds nothing else."""

    def __init__(self, values: dict[str, Any], entry: dict[str, Any]) -> None:
        from deleverage.config import build, load_config
        from deleverage.engine import Simulator

        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            YAML().dump(values | {"policies": {"baseline": {}} | entry}, file)
            file.flush()
            self._simulator = Simulator(build(load_config(file.name)))
        self._last = range(len(entry), len(entry) + 1)  # padded to a batch of 16 like itself
        started = time.perf_counter()
        self._simulator.simulate(self._last, range(PATHS))
        self.compile_seconds = time.perf_counter() - started

    def seconds(self) -> float:
        """Processor seconds of a run."""
        started = time.process_time()
        self._simulator.simulate(self._last, range(PATHS))
        return time.process_time() - started


def beside(baseline: Timed, entry: Timed) -> dict[str, float]:
    """Runs in turns, each over that of the baseline before it; the spread is over the repeats."""
    pairs = [(baseline.seconds(), entry.seconds()) for _ in range(REPEATS)]
    ratios = [with_it / without for without, with_it in pairs]
    return {
        "over_baseline": statistics.median(ratios),
        "spread": max(ratios) / min(ratios),
        "compile_seconds": entry.compile_seconds,
    }


if __name__ == "__main__":
    main()
