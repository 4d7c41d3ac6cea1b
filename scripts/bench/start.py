"""Seconds from the command to the first stored unit: `python scripts/bench/start.py CONFIG`.

The first start may compile; the later ones find the programs in the cache. Each run is stopped at
its first unit and its folder removed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

POLL_SECONDS = 0.01


def seconds_to_first_unit(words: list[str]) -> tuple[float, float]:
    """Seconds until the run directory stands, and until the first marker does."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "deleverage", "run", *words, "--out", out]
        began, planned = time.perf_counter(), None
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as run:
            while not any(Path(out).glob("*/done/*/p*.json")):
                if planned is None and any(Path(out).glob("*/plan.json")):
                    planned = time.perf_counter() - began
                if run.poll() is not None:
                    raise SystemExit(f"the run ended with {run.returncode} before a unit was done")
                time.sleep(POLL_SECONDS)
            found = time.perf_counter() - began
            run.terminate()
        return planned or found, found


def main() -> None:
    """Print one line a start."""
    parser = argparse.ArgumentParser(description=__doc__, prog="start.py")
    parser.add_argument("config")
    parser.add_argument("--starts", type=int, default=3)
    parser.add_argument("options", nargs="*", help="of `deleverage run`, after --")
    given = parser.parse_args()
    for number in range(given.starts):
        planned, found = seconds_to_first_unit([given.config, *given.options])
        print(f"start {number + 1}: planned after {planned:.1f} s, first unit after {found:.1f} s")


if __name__ == "__main__":
    main()
