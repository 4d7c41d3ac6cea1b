"""Workers of the benchmark: each program one process a core, started and driven together."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

WORKER = Path(__file__).parent / "worker.py"


THREADED = "numba"
"""This program takes minutes to compile and has no cache: one process, which runs on all cores."""


class Served:
    """A process that answers lines of JSON, the first of them once it is ready.

    Args:
        script: What it runs, and the words behind.
        environment: Beside this process's own.
    """

    def __init__(self, script: list[str], environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, *script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | environment | {"NPROC": "1", "JAX_PLATFORMS": "cpu"},
            text=True,
        )
        self.ready: dict[str, Any] = self._answer()

    def ask(self, task: Any) -> dict[str, Any]:
        """Send a task and wait for its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(task) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """Let the process end."""
        self._process.communicate()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"A worker ended with code {self._process.wait()}; see above.")
        return json.loads(line)


class Worker(Served):
    """A process pinned to cores, made ready on the first; see `worker.py` for what it answers."""

    def __init__(self, program: str, config: str, cores: list[int], cache: str) -> None:
        words = [program, config, ",".join(map(str, cores)), str(time.time())]
        super().__init__([str(WORKER), *words], {"DELEVERAGE_CACHE": cache})
        self.seconds: dict[str, float] = self.ready


class Pool:
    """All programs on all cores.

    Args:
        programs: Name and config of each, by a key of its own.
        cores: To pin to.
        cache: Folder of compiled programs, empty at first: the second core's start is a warm one.
    """

    def __init__(self, programs: dict[str, tuple[str, str]], cores: list[int], cache: str) -> None:
        self.cores = len(cores)
        self._threads = ThreadPoolExecutor(len(cores))
        self.workers: dict[str, list[Worker]]
        alone = {name: what for name, what in programs.items() if what[0] == THREADED}
        threaded = {
            name: self._threads.submit(Worker, *what, cores, cache) for name, what in alone.items()
        }
        self.workers = {name: [] for name in programs if name not in alone}
        for core in reversed(cores):  # on the first one the other is being compiled
            for name, workers in self.workers.items():
                workers.insert(0, Worker(*programs[name], [core], cache))
        self.workers |= {name: [future.result()] for name, future in threaded.items()}
        self.workers = {name: self.workers[name] for name in programs}

    def ask(self, name: str, tasks: list[Any]) -> tuple[float, list[dict[str, float]]]:
        """One task a worker at the same time: wall seconds of all, and the answers."""
        start = time.perf_counter()
        pairs = zip(self.workers[name], tasks, strict=True)
        answers = list(self._threads.map(lambda pair: pair[0].ask(pair[1]), pairs))
        return time.perf_counter() - start, answers

    def run(self, name: str, policies: int, paths: int) -> dict[str, float]:
        """The paths split evenly over the workers; the slowest sets the time."""
        workers = len(self.workers[name])
        each = paths // workers
        tasks = [{"policies": policies, "first": n * each, "paths": each} for n in range(workers)]
        _, answers = self.ask(name, tasks)
        return {
            "seconds": max(answer["seconds"] for answer in answers),
            "processor": sum(answer["processor"] for answer in answers),
            "peak_memory_mb": max(answer["peak_memory_mb"] for answer in answers),
        }

    def close(self) -> None:
        """End all workers."""
        for workers in self.workers.values():
            for worker in workers:
                worker.close()
        self._threads.shutdown()
