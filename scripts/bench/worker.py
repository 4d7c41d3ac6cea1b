"""One process of the benchmark, pinned to cores: `worker.py PROGRAM CONFIG CORES STARTED`.

It answers each line of JSON on standard input with one on standard output. `{"policies", "first",
"paths"}` is a run: seconds of wall and processor time, and the peak memory meanwhile; with `save`
its outcomes are written there. `"peaks"` measures the core, `"cost"` asks the engine's compiler.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

name, config, listed, started = sys.argv[1:]
cores = [int(core) for core in listed.split(",")]
os.sched_setaffinity(0, cores[:1])  # what is made ready takes one core
for variable in ("NPROC", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"  # before JAX and NumPy are imported

import numpy as np  # noqa: E402
from programs import prepared  # noqa: E402


def peak_memory() -> float:
    """Most resident memory since the last reset, MB."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1e3


def peaks() -> dict[str, float]:
    """What this core does at most: a matrix product, and a copy of 256 MB (read and written)."""
    matrix = np.ones((1024, 1024), np.float32)
    source, copy = np.ones(2**26, np.float32), np.ones(2**26, np.float32)
    product = min(_seconds(lambda: matrix @ matrix) for _ in range(5))
    copied = min(_seconds(lambda: np.copyto(copy, source)) for _ in range(5))
    return {"operations": 2 * 1024**3 / product, "bytes": 2 * source.nbytes / copied}


def _seconds(body: Callable[[], object]) -> float:
    start = time.perf_counter()
    body()
    return time.perf_counter() - start


def timed(program: Any, task: dict[str, Any]) -> dict[str, float]:
    """Run a task; the seconds do not include making or loading the draws."""
    policies, first, paths = (task[name] for name in ("policies", "first", "paths"))
    program.draw(first, paths)
    Path("/proc/self/clear_refs").write_text("5")
    wall, processor = time.perf_counter(), time.process_time()
    outcomes = program.run(policies, first, paths)
    answer = {
        "seconds": time.perf_counter() - wall,
        "processor": time.process_time() - processor,
        "peak_memory_mb": peak_memory(),
    }
    if "save" in task:
        np.savez(task["save"], **outcomes)
    return answer


def main() -> None:
    """Serve until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever else is printed goes to standard error
    program, answer = prepared(name, config, float(started))
    os.sched_setaffinity(0, cores)
    print(json.dumps(answer), file=answers, flush=True)
    for line in sys.stdin:
        task = json.loads(line)
        if task == "peaks":
            answer = peaks()
        elif task == "cost":
            answer = program.cost()
        else:
            answer = timed(program, task)
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
