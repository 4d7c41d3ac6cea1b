"""The embedded Dask cluster: a scheduler in this process and one fresh process a worker."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dask.config
from distributed import Client, Future, LocalCluster

from deleverage.errors import RunError
from deleverage.results.markers import is_done
from deleverage.results.plan import Unit
from deleverage.sweep.worker import record_failure, run_unit, warm_worker

WAIT_SECONDS = 0.5
START_SECONDS = 120.0
LOG_TAIL = 4000

#: Not ended, or ended on a worker that has died since: its exception would be waited for.
UNSETTLED = ("pending", "lost")

#: A worker holds one unit; the rest wait in the scheduler, so that a dying worker is blamed for
#: its own unit only.
_SETTINGS: Mapping[str, Any] = {
    "distributed.scheduler.worker-saturation": 1.0,
    "distributed.comm.timeouts.connect": "60s",
    "distributed.admin.low-level-log-length": 100,
    "distributed.scheduler.http.routes": [],
}


class DaskCluster:
    """Runs units as plain futures on worker processes of our own module."""

    def __init__(
        self, run_dir: Path, workers: int, factory: str, retries: int, deadline: float
    ) -> None:
        """Start the scheduler and the workers; the first one compiles before the rest begin."""
        self._run_dir = run_dir
        self._factory = factory
        self._retries = retries
        self._deadline = deadline
        self._workers = workers
        self._warm = False
        self._deaths = 0
        self._events: queue.SimpleQueue[tuple[str, Future]] = queue.SimpleQueue()
        self._units: dict[str, Unit] = {}
        self._futures: dict[str, Future] = {}
        self._logs = tempfile.TemporaryDirectory(prefix="deleverage-logs-")
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._settings = dask.config.set(
            {**_SETTINGS, "distributed.scheduler.allowed-failures": retries}
        )
        self._cluster = LocalCluster(
            n_workers=0,
            protocol="tcp://",
            # No dashboard, and no fixed port that two sweeps would fight for.
            dashboard_address="127.0.0.1:0",
            scheduler_kwargs={"dashboard": False},
            silence_logs=50,
        )
        self._client = Client(self._cluster)
        for i in range(workers):
            self._start(f"worker-{i}")
        warm = self._client.submit(warm_worker, str(run_dir), factory, pure=False, retries=retries)
        self._watch("", warm)

    @property
    def slots(self) -> int:
        """One unit until the programs are compiled, then one a worker and one waiting."""
        return self._workers + 1 if self._warm else 1

    def _start(self, name: str) -> None:
        """Start a worker process in a session of its own, so that Ctrl-C reaches only us."""
        environment = {
            **os.environ,
            # XLA reads it when it starts, and ignores OMP_NUM_THREADS: one core a process.
            "NPROC": "1",
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join(_import_path()),
        }
        with open(self._log(name), "ab") as log:
            self._processes[name] = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "deleverage.sweep.worker",
                    self._cluster.scheduler_address,
                    f"{name}-{self._deaths}",
                ],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
            )

    def _log(self, name: str) -> Path:
        return Path(self._logs.name) / f"{name}.log"

    def _tail(self) -> str:
        texts = [
            f"{path.name}:\n{path.read_text(errors='replace')[-LOG_TAIL:]}"
            for path in sorted(Path(self._logs.name).glob("*.log"))
        ]
        return "\n".join(texts)

    def _watch(self, name: str, future: Future) -> None:
        self._futures[name] = future
        future.add_done_callback(lambda ended: self._events.put((name, ended)))

    def submit(self, unit: Unit) -> None:
        """Give a unit to the scheduler."""
        self._units[unit.id] = unit
        future = self._client.submit(
            run_unit,
            str(self._run_dir),
            unit.id,
            self._factory,
            self._deadline,
            key=f"{unit.id}",
            pure=False,
            retries=self._retries,
        )
        self._watch(unit.id, future)

    def reopen(self) -> None:
        """Workers look at the plan before each unit."""

    def finished(self) -> list[tuple[str, str | None]]:
        """Units that ended; workers that died meanwhile are replaced."""
        ended: list[tuple[str, str | None]] = []
        try:
            events = [self._events.get(timeout=WAIT_SECONDS)]
            while not self._events.empty():
                events.append(self._events.get_nowait())
        except queue.Empty:
            events = []
        for name, future in events:
            if future.status in UNSETTLED and not self._marked(name):
                # Its worker died after it ended, so it runs again; never block on that, since a
                # dead worker is replaced below.
                self._watch(name, future)
                continue
            reason = self._reason(name, future)
            self._futures.pop(name, None)
            if name == "":
                # The units will meet the same fault and report it.
                self._warm = True
                continue
            ended.append((name, reason))
            if reason is None:
                self._deaths = 0
                self._warm = True
        self._replace_dead()
        return ended

    def _marked(self, name: str) -> bool:
        return name != "" and is_done(self._run_dir, self._units[name])

    def _reason(self, name: str, future: Future) -> str | None:
        if future.status == "finished" or future.status in UNSETTLED:
            return None
        if future.status == "cancelled":
            return "it was cancelled"
        error = future.exception()
        if name and type(error).__name__ == "KilledWorker":
            record_failure(self._run_dir, name, f"{error}\n\n{self._tail()}")
            return "its worker process died each time, out of time or of memory"
        return f"{type(error).__name__}: {error}"

    def _replace_dead(self) -> None:
        """Start a worker again that has died.

        Raises:
            RunError: Workers keep dying while no unit is finished.
        """
        for name, process in list(self._processes.items()):
            if process.poll() is None:
                continue
            self._deaths += 1
            if self._deaths > (self._retries + 2) * max(self._workers, 2):
                tail = self._tail().strip().splitlines() or ["nothing"]
                raise RunError(
                    f"worker processes keep dying (exit code {process.returncode}); the last one "
                    f"said: {tail[-1]}"
                )
            if process.stdin is not None:
                process.stdin.close()
            self._start(name)

    def close(self) -> None:
        """Kill the workers and stop the scheduler; units they were in stay undone."""
        for process in self._processes.values():
            if process.stdin is not None:
                process.stdin.close()
            if process.poll() is None:
                process.kill()
        for process in self._processes.values():
            process.wait()
        self._client.close(timeout=5)
        self._cluster.close(timeout=5)
        self._settings.__exit__(None, None, None)
        self._logs.cleanup()


def _import_path() -> list[str]:
    """Where this process finds modules, for workers that start elsewhere."""
    return [path or os.getcwd() for path in sys.path]
