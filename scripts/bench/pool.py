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


class Worker:
    """A process pinned to a core; see `worker.py` for what it answers."""

    def __init__(self, program: str, config: str, core: int, cache: str) -> None:
        environment = os.environ | {"DELEVERAGE_CACHE": cache, "NPROC": "1"}
        environment["JAX_PLATFORMS"] = "cpu"
        self._process = subprocess.Popen(
            [sys.executable, str(WORKER), program, config, str(core), str(time.time())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )
        self.seconds: dict[str, float] = self._answer()

    def ask(self, task: Any) -> dict[str, float]:
        """Send a task and wait for its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(task) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """Let the process end."""
        self._process.communicate()

    def _answer(self) -> dict[str, float]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"A worker ended with code {self._process.wait()}; see above.")
        return json.loads(line)


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
        names = list(programs)

        def started(place: int) -> dict[str, Worker]:
            turned = names[place % len(names) :] + names[: place % len(names)]
            return {name: Worker(*programs[name], cores[place], cache) for name in turned}

        by_core = list(self._threads.map(started, range(len(cores))))
        self.workers = {name: [core[name] for core in by_core] for name in names}

    def ask(self, name: str, tasks: list[Any]) -> tuple[float, list[dict[str, float]]]:
        """One task a core at the same time: wall seconds of all, and the answers."""
        start = time.perf_counter()
        pairs = zip(self.workers[name], tasks, strict=True)
        answers = list(self._threads.map(lambda pair: pair[0].ask(pair[1]), pairs))
        return time.perf_counter() - start, answers

    def run(self, name: str, policies: int, paths: int) -> dict[str, float]:
        """The paths split evenly over the cores; the slowest core sets the time."""
        each = paths // self.cores
        tasks = [
            {"policies": policies, "first": n * each, "paths": each} for n in range(self.cores)
        ]
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
