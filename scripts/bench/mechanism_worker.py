"""Compiles and times rows of the table of mechanisms: `mechanism_worker.py CONFIG CORE PATHS`.

A process on one core, which answers each line of JSON on standard input with one on standard
output. `{"compile": ROW}` makes a row's program and leaves it in the cache; `{"time": ROW,
"repeats": N}` runs it in turns with the baseline's. Where something goes wrong it answers
`{"error": ...}`.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

config, core, paths = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
os.sched_setaffinity(0, {core})
for variable in ("NPROC", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"  # before JAX and NumPy are imported

import numpy as np  # noqa: E402
from mechanism_rows import BASELINE, paths_changed, row_lanes, same_program  # noqa: E402

from deleverage.engine import LANES, Simulator  # noqa: E402


class Timed:
    """A row in all lanes of a tile, compiled and run once."""

    def __init__(self, name: str) -> None:
        self.lanes = row_lanes(config, name, paths)
        self._simulator = Simulator(self.lanes)
        self.outcomes = self._run()

    def seconds(self) -> float:
        """Processor seconds of a run."""
        started = time.process_time()
        self._run()
        return time.process_time() - started

    def _run(self) -> dict[str, np.ndarray]:
        return self._simulator.simulate(range(LANES), range(paths))


class Rows:
    """Answers tasks."""

    def __init__(self) -> None:
        self._baseline: Timed | None = None

    def answer(self, task: dict[str, Any]) -> dict[str, Any]:
        """What a task asks for."""
        if "compile" in task:
            started = time.perf_counter()
            Simulator(row_lanes(config, task["compile"], paths)).load()
            return {"seconds": time.perf_counter() - started}
        if self._baseline is None:
            self._baseline = Timed(BASELINE)
        return beside(self._baseline, Timed(task["time"]), task["repeats"])


def beside(baseline: Timed, row: Timed, repeats: int) -> dict[str, Any]:
    """Runs in turns, each over that of the baseline before it; the spread is over the repeats."""
    pairs = [(baseline.seconds(), row.seconds()) for _ in range(repeats)]
    ratios = [with_it / without for without, with_it in pairs]
    return {
        "over_baseline": statistics.median(ratios),
        "spread": max(ratios) / min(ratios),
        "seconds": statistics.median(with_it for _, with_it in pairs),
        "baseline_seconds": statistics.median(without for without, _ in pairs),
        "own_program": not same_program(baseline.lanes, row.lanes),
        "paths_changed": paths_changed(baseline.outcomes, row.outcomes),
        "load": os.getloadavg()[0],
    }


def main() -> None:
    """Serve until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever else is printed goes to standard error
    rows = Rows()
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        try:
            answer = rows.answer(json.loads(line))
        except Exception as error:  # of one row, whatever it is: the others go on
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):  # who asked was killed
        main()
