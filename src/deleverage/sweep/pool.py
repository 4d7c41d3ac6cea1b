"""Worker processes of this machine, one a core or a GPU, and the units that they have."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Iterator
from functools import partial
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from typing import Any

from deleverage.errors import RunError
from deleverage.results.markers import is_done
from deleverage.results.plan import Unit
from deleverage.sweep.places import environment, leave_memory
from deleverage.sweep.process import Prepare, Ready, Task
from deleverage.sweep.storing import Ended, Tries
from deleverage.sweep.worker import ENGINE, record_failure

WAIT_SECONDS = 0.5
DEADLINE_SECONDS = 900.0
LOG_TAIL = 4000


class WorkerProcess:
    """A process that simulates one unit and stores the one before it.

    Args:
        factory: Dotted name of what makes the simulator.
        deadline: Seconds that a unit may take before the process dies.
        place: Its number among the workers, which says what it runs on.

    Attributes:
        connection: To it; readable when it has said something, or has died.
        ready: Whether it has imported what it needs.
        simulating: The unit that it was given last, until it is simulated.
        storing: Units that it has simulated and not stored.
    """

    def __init__(self, factory: str, deadline: float, place: int = 0) -> None:
        """Start it in a session of its own, so that Ctrl-C reaches only us."""
        self.connection, theirs = Pipe()
        self.place = place
        self.ready = False
        self.simulating: Unit | None = None
        self.storing: list[Unit] = []
        self._sending = threading.Lock()
        self._log = tempfile.TemporaryFile()
        words = [str(theirs.fileno()), factory, str(deadline)]
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "deleverage.sweep.process", *words],
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                env=environment(place),
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )

    def send(self, message: Any) -> bool:
        """Say something to it; returns whether it could be said."""
        try:
            with self._sending:
                self.connection.send(message)
        except OSError:  # it has died, which reading from it will tell
            return False
        return True

    def prepare(self, config: Any) -> None:
        """Have it make ready for a config; a large one fills the pipe until it reads."""
        threading.Thread(target=self.send, args=(Prepare(config),), daemon=True).start()

    def end(self) -> str:
        """Kill it, and return the end of what it printed, with its exit code."""
        self._process.kill()
        code = self._process.wait()
        self.connection.close()
        with self._log as log:
            log.seek(max(log.seek(0, os.SEEK_END) - LOG_TAIL, 0))
            said = log.read().decode(errors="replace")
        return f"{said}\nexit code {code}"


@contextlib.contextmanager
def early_worker(
    wanted: bool = True, factory: str = ENGINE, deadline: float = DEADLINE_SECONDS
) -> Iterator[list[WorkerProcess]]:
    """A worker that imports while the driver loads a config, and builds while it plans.

    Args:
        wanted: Whether to start one.
        factory: Dotted name of what makes the simulator.
        deadline: Seconds that a unit may take.

    Yields:
        The worker in a list, or none; whoever needs it takes it out, else it is ended.
    """
    if wanted:
        leave_memory()
    workers = [WorkerProcess(factory, deadline)] if wanted else []
    try:
        yield workers
    finally:
        for worker in workers:
            worker.end()


class Pool:
    """Runs units on worker processes; those that die are replaced.

    Each worker has one unit to simulate and the rest wait here, so that the death of a worker is
    blamed on that one.

    Args:
        run_dir: The run directory.
        workers: Worker processes.
        factory: Dotted name of what makes the simulator.
        retries: How often a unit is tried again that failed or killed its worker.
        deadline: Seconds that a unit may take.
        started: A worker that runs already.
    """

    def __init__(
        self,
        run_dir: Path,
        workers: int,
        factory: str,
        retries: int,
        deadline: float,
        started: list[WorkerProcess],
    ) -> None:
        """Start the workers."""
        self._run_dir, self._tries = run_dir, Tries(retries)
        self._start = partial(WorkerProcess, factory, deadline)
        self._most_deaths = (retries + 2) * max(workers, 2)
        self._deaths = 0  # since a unit was done
        self._waiting: deque[Unit] = deque()
        self._ended: list[tuple[str, str | None]] = []
        self._workers: list[WorkerProcess] = []
        while started and len(self._workers) < workers:
            self._workers.append(started.pop())
        while len(self._workers) < workers:
            self._workers.append(self._start(place=len(self._workers)))

    @property
    def slots(self) -> int:
        """One unit a worker, one that waits, and those that are being stored."""
        return len(self._workers) + 1 + sum(len(worker.storing) for worker in self._workers)

    def submit(self, unit: Unit) -> None:
        """Give a unit to a worker when one is free."""
        self._waiting.append(unit)
        self._hand_out()

    def reopen(self) -> None:
        """Workers look at the plan before each unit."""

    def finished(self) -> list[tuple[str, str | None]]:
        """Units that ended; workers that died meanwhile are replaced.

        Raises:
            RunError: Workers keep dying while no unit is done.
        """
        by_connection = {worker.connection: worker for worker in self._workers}
        for connection in wait(list(by_connection), timeout=WAIT_SECONDS):
            assert isinstance(connection, Connection)
            worker = by_connection[connection]
            try:
                self._hear(worker, connection.recv())
            except (EOFError, OSError):
                self._replace(worker)
        self._hand_out()
        ended, self._ended = self._ended, []
        return ended

    def close(self) -> None:
        """Kill the workers; units they were in stay undone."""
        for worker in self._workers:
            worker.end()

    def _hand_out(self) -> None:
        for worker in self._workers:
            if self._waiting and worker.ready and worker.simulating is None:
                unit = self._waiting[0]
                if worker.send(Task(self._run_dir, unit.id)):
                    worker.simulating = self._waiting.popleft()

    def _hear(self, worker: WorkerProcess, message: Any) -> None:
        """Take note of what a worker says; see `deleverage.sweep.process`."""
        if isinstance(message, Ready):
            worker.ready = True
        elif isinstance(message, Ended):
            self._end(worker, message)
        else:
            assert worker.simulating is not None
            worker.storing.append(worker.simulating)
            worker.simulating = None

    def _end(self, worker: WorkerProcess, ended: Ended) -> None:
        held = [*worker.storing, *([worker.simulating] if worker.simulating else [])]
        (unit,) = (unit for unit in held if unit.id == ended.unit)
        if unit is worker.simulating:
            worker.simulating = None
        else:
            worker.storing.remove(unit)
        if ended.reason is None:
            self._deaths = 0
        elif ended.again and self._try_again(unit):
            return
        self._ended.append((unit.id, ended.reason))

    def _try_again(self, unit: Unit) -> bool:
        """Have a unit wait for another try, if it has one."""
        again = self._tries.again(unit.id)
        if again:
            self._waiting.append(unit)
        return again

    def _replace(self, worker: WorkerProcess) -> None:
        """Start a worker in place of one that has died, and blame the unit it died of."""
        said = worker.end()
        self._deaths += 1
        if self._deaths > self._most_deaths:
            last = [line for line in said.splitlines() if line.strip()]
            raise RunError(
                f"worker processes keep dying; the last one said: {'; '.join(last[-2:])}"
            )
        self._workers[worker.place] = self._start(place=worker.place)
        for unit in worker.storing:
            if is_done(self._run_dir, unit):
                self._ended.append((unit.id, None))
            elif worker.simulating is not None:  # more likely the culprit
                self._waiting.append(unit)
            else:
                self._blame(unit, said)
        if worker.simulating is not None:
            self._blame(worker.simulating, said)

    def _blame(self, unit: Unit, said: str) -> None:
        if self._try_again(unit):
            return
        reason = "its worker process died each time, out of time or of memory"
        record_failure(self._run_dir, unit.id, f"{reason}\n\nThe last one said:\n{said}")
        self._ended.append((unit.id, reason))
