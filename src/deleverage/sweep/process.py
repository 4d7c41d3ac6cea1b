"""A worker process: `python -m deleverage.sweep.process DESCRIPTOR FACTORY DEADLINE`.

A fresh process, never a fork, which ends with its driver. It takes messages from the descriptor's
connection and answers there; `deleverage.sweep.pool` is the other end. The factory makes simulators
and is named as `module:name`; the deadline is in seconds, for each unit: a hang in compiled code
cannot be interrupted, only killed.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import queue
import sys
import threading
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from deleverage.results.files import crc
from deleverage.results.plan import CONFIG_FILE, PLAN_FILE
from deleverage.sweep.storing import Ended, Storer, failed
from deleverage.sweep.worker import ENGINE, Prepared, UnitRunner, resolve


class Prepare(NamedTuple):
    """To a worker: the config of the run that its units will be of."""

    config: Any


class Task(NamedTuple):
    """To a worker: a unit to simulate and store, by its name."""

    run_dir: Path
    unit: str


class Ready(NamedTuple):
    """From a worker: it has imported what it needs."""


class Simulated(NamedTuple):
    """From a worker: a unit is being stored, and the next may come; `Ended` follows."""

    unit: str


class Runners:
    """The runner of a run directory, made again when the run has grown.

    What is compiled stays as long as the config does, since a run that follows an error bar grows
    under one config.

    Args:
        factory: Dotted name of what makes the simulator.
    """

    def __init__(self, factory: str) -> None:
        """Nothing is prepared."""
        self._factory = factory
        self._runner: tuple[Any, UnitRunner] | None = None
        self._prepared: tuple[Any, Prepared] | None = None
        self._given: Prepared | None = None

    def prepare(self, config: Any) -> None:
        """Make the simulator of a config whose run directory is not there yet."""
        self._given = resolve(self._factory)(config)
        load: Any = getattr(self._given.simulator, "load", None)
        if load is None or config.sampling.kind == "splitting":  # which has programs of its own
            return
        load()

    def of(self, run_dir: Path) -> UnitRunner:
        """The runner of a run directory as it is now."""
        key = (run_dir, crc((run_dir / PLAN_FILE).read_bytes()))
        if self._runner is None or self._runner[0] != key:
            self._runner = (key, UnitRunner(run_dir, self._prepared_for(run_dir)))
        return self._runner[1]

    def _prepared_for(self, run_dir: Path) -> Prepared:
        key = (run_dir, crc((run_dir / CONFIG_FILE).read_bytes()))
        given, self._given = self._given, None  # the first run directory is the config's own
        if given is not None:
            self._prepared = (key, given)
        if self._prepared is None or self._prepared[0] != key:
            self._prepared = (key, resolve(self._factory)(run_dir / CONFIG_FILE))
        return self._prepared[1]


class Worker:
    """Simulates units in this thread and stores them in another.

    Args:
        connection: To the driver.
        factory: Dotted name of what makes the simulator.
        deadline: Seconds that a unit may take before this process dies.
    """

    def __init__(self, connection: Connection, factory: str, deadline: float) -> None:
        """Begin to listen."""
        self._connection = connection
        self._deadline = deadline
        self._saying = threading.Lock()
        self._inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._runners = Runners(factory)
        self._storer = Storer(self._end)
        self._open = 0  # units that have begun and not ended
        threading.Thread(target=self._listen, daemon=True).start()

    def serve(self) -> None:
        """Answer messages until the driver is gone."""
        self._say(Ready())
        while True:
            message = self._inbox.get()
            if isinstance(message, Prepare):
                self._prepare(message)
            elif isinstance(message, Task):
                self._run(message)
            else:
                self._open -= 1
                if not self._open:
                    faulthandler.cancel_dump_traceback_later()

    def _listen(self) -> None:
        """Pass on what the driver says, and end this process with it, however it died."""
        try:
            while True:
                self._inbox.put(self._connection.recv())
        except (EOFError, OSError):
            os._exit(1)

    def _say(self, message: Any) -> None:
        with self._saying:
            self._connection.send(message)

    def _end(self, ended: Ended) -> None:
        """Tell the driver how a unit ended, and this process's main thread that it has."""
        self._say(ended)
        self._inbox.put(ended)

    def _prepare(self, message: Prepare) -> None:
        # What goes wrong here does so again with the first unit, which reports it.
        with contextlib.suppress(Exception):
            self._runners.prepare(message.config)

    def _run(self, task: Task) -> None:
        """Simulate a unit and have it stored."""
        self._open += 1
        faulthandler.dump_traceback_later(self._deadline, exit=True, file=sys.stderr)
        try:
            runner = self._runners.of(task.run_dir)
            outcomes = runner.simulate(runner.plan.unit_by_id[task.unit])
        except Exception as error:
            self._end(failed(task.run_dir, task.unit, error))
            return
        if outcomes is None:
            self._end(Ended(task.unit))
            return
        self._storer.wait()
        self._say(Simulated(task.unit))
        self._storer.put(runner, outcomes)


def main() -> None:
    """Serve the driver at the other end of a descriptor."""
    descriptor, factory, deadline = sys.argv[1:]
    worker = Worker(Connection(int(descriptor)), factory, float(deadline))
    if factory == ENGINE:
        _import_engine()
    worker.serve()


def _import_engine() -> None:
    """Import what the package's engine needs, while there is no run yet."""
    import deleverage.config.built
    import deleverage.config.load
    import deleverage.engine  # noqa: F401


if __name__ == "__main__":
    # What is sent must be of the importable module, not of `__main__`.
    from deleverage.sweep.process import main as serve

    serve()
