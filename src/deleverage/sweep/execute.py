"""Driving a sweep: units that have no marker yet are given to workers until none is left."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple, Protocol

from deleverage.errors import RunError
from deleverage.results.checks import FAILED_FOLDER
from deleverage.results.claims import PLAN_CLAIM, Claims
from deleverage.results.markers import done_units, is_done
from deleverage.results.plan import CONFIG_FILE, Plan, Unit, load_plan, plan_stamp
from deleverage.sweep.interruption import interruptible
from deleverage.sweep.log import log_event
from deleverage.sweep.places import check_workers, worker_count
from deleverage.sweep.pool import DEADLINE_SECONDS, Pool, WorkerProcess
from deleverage.sweep.progress import Progress
from deleverage.sweep.storing import Ended, Storer, Tries, failed
from deleverage.sweep.worker import ENGINE, Factory, Prepared, UnitRunner, resolve

RETRIES = 2
#: After this many failed units without one success between them the fault is not in a unit.
FAILURES_IN_A_ROW = 5
WAIT_FOR_OTHERS_SECONDS = 1.0


class Backend(Protocol):
    """Runs units somewhere; `finished` returns those that ended, with what went wrong."""

    @property
    def slots(self) -> int:
        """Units it wants to hold now."""
        ...

    def submit(self, unit: Unit) -> None:
        """Take a unit."""
        ...

    def finished(self) -> list[tuple[str, str | None]]:
        """Units that ended since the last call, each with None or a reason; waits a little."""
        ...

    def reopen(self) -> None:
        """Follow a plan that has grown; nothing runs meanwhile."""
        ...

    def close(self) -> None:
        """Stop what runs."""
        ...


class InProcess:
    """Simulates one unit at a time in this process, and stores the one before it meanwhile."""

    slots = 2

    def __init__(self, run_dir: Path, prepared: Prepared, retries: int) -> None:
        """Open the run for writing in this process."""
        self._run_dir = run_dir
        self._prepared = prepared
        self._runner = UnitRunner(run_dir, prepared)
        self._tries = Tries(retries)
        self._units: dict[str, Unit] = {}
        self._waiting: deque[Unit] = deque()
        self._ended: queue.SimpleQueue[Ended] = queue.SimpleQueue()
        self._storer = Storer(self._ended.put)

    def submit(self, unit: Unit) -> None:
        """Take a unit; it runs when one waits for it."""
        self._units[unit.id] = unit
        self._waiting.append(unit)

    def finished(self) -> list[tuple[str, str | None]]:
        """Simulate a unit; of the last ones wait until they are stored."""
        if self._waiting:
            self._simulate(self._waiting.popleft())
        else:
            self._storer.wait()
        ended: list[tuple[str, str | None]] = []
        while not self._ended.empty():
            name, reason, again = self._ended.get()
            if again and self._tries.again(name):
                self._waiting.appendleft(self._units[name])
            else:
                ended.append((name, reason))
        return ended

    def _simulate(self, unit: Unit) -> None:
        try:
            outcomes = self._runner.simulate(unit)
        except Exception as error:
            self._ended.put(failed(self._run_dir, unit.id, error))
            return
        if outcomes is None:
            self._ended.put(Ended(unit.id))
        else:
            self._storer.put(self._runner, outcomes)

    def reopen(self) -> None:
        """Open the arrays in their new shapes."""
        self._runner = UnitRunner(self._run_dir, self._prepared)

    def close(self) -> None:
        """Let the unit that is being stored be stored."""
        self._storer.close()


def execute(
    run_dir: str | Path,
    workers: int | None = None,
    *,
    simulator_factory: str | Factory = ENGINE,
    prepared: Prepared | None = None,
    retries: int = RETRIES,
    deadline: float = DEADLINE_SECONDS,
    progress: bool = True,
    order: Sequence[str] | None = None,
    go_on: Callable[[], bool] = lambda: False,
    started: list[WorkerProcess] | None = None,
) -> None:
    """Run every unit of a run directory that has no marker.

    Args:
        run_dir: A run directory with its template.
        workers: Worker processes; 0 runs units in this process, None takes one a core or a GPU.
        simulator_factory: What makes the simulator; workers need its dotted name.
        prepared: The simulator of this process, if the caller has made one.
        retries: How often a failed unit is tried again.
        deadline: Seconds after which a worker process is killed for its unit.
        progress: Show a bar or lines on standard error.
        order: Names of units in the order to run them, default that of the plan.
        go_on: Called when all units are done; returns whether the plan has grown by then.
        started: Worker processes that run already; those that are needed are taken out.

    Raises:
        RunError: Units failed; the others are done. Or there are fewer GPUs than workers.
        InterruptedRunError: Stopped by SIGINT or SIGTERM; finished units are kept.
    """
    run_dir = Path(run_dir)
    plan, pending, stamp = _pending(run_dir, order)
    while not pending:
        if not go_on():
            return
        plan, pending, stamp = _pending(run_dir)
    if workers is None:
        left = len(pending) + len(plan.largest.units) - len(plan.units)
        workers = worker_count(left, plan.fingerprint["backend"])
    check_workers(workers, plan.fingerprint["backend"])
    if workers and not isinstance(simulator_factory, str):
        raise RunError(
            f"the simulator factory {simulator_factory!r} cannot be sent to worker processes; "
            "give its dotted name, or workers=0."
        )
    done = len(plan.units) - len(pending)
    log_event(run_dir, "started", workers=workers, pending=len(pending), done=done)
    total = sum(unit.size for unit in plan.units)
    finished = total - sum(unit.size for unit in pending)
    with (
        interruptible(run_dir),
        Claims(run_dir) as claims,
        Progress(plan.name, total, finished, progress) as bar,
    ):
        if workers:
            factory = str(simulator_factory)
            backend = Pool(run_dir, workers, factory, retries, deadline, started or [])
        else:
            if prepared is None:
                prepared = resolve(simulator_factory)(run_dir / CONFIG_FILE)
            backend = InProcess(run_dir, prepared, retries)
        try:
            failed = _drive(run_dir, stamp, pending, backend, claims, bar)
            while not failed and (pending or go_on()):  # pending still: another driver grew it
                policies = plan.policies
                plan, pending, stamp = _pending(run_dir)
                if plan.policies != policies:
                    raise RunError(
                        f"another driver has added policies to {run_dir} since this one began; "
                        "run the config that lists them all to continue it."
                    )
                backend.reopen()
                bar.extend(sum(unit.size for unit in plan.units))
                failed = _drive(run_dir, stamp, pending, backend, claims, bar)
        finally:
            backend.close()
    if failed:
        name, reason = next(iter(failed.items()))
        kept = run_dir / FAILED_FOLDER / f"{name}.txt"
        raise RunError(
            f"{len(failed)} of {len(plan.units)} units failed, first {name} ({reason}); "
            f"{f'see {kept} and ' if kept.exists() else ''}run the same command again."
        )


class Work(NamedTuple):
    """What is to be done under a plan.

    Attributes:
        plan: The plan.
        pending: Its units without a marker.
        stamp: Of the plan; another driver may replace it while this one holds no claim.
    """

    plan: Plan
    pending: deque[Unit]
    stamp: tuple[int, int, int]


def _pending(run_dir: Path, order: Sequence[str] | None = None) -> Work:
    """What is to be done in a run directory."""
    stamp = plan_stamp(run_dir)  # before: if it is replaced in between, that is seen
    plan = load_plan(run_dir)
    done = done_units(run_dir, plan)
    names = [unit.id for unit in plan.units] if order is None else order
    return Work(plan, deque(plan.unit_by_id[name] for name in names if name not in done), stamp)


@cache
def _import_readers() -> threading.Thread:
    """Import what opens a run and sums it up, while its last units leave a core idle."""

    def load() -> None:
        import xarray

        import deleverage.analysis.summary
        import deleverage.results.opening  # noqa: F401

        xarray.DataArray([0.0])  # it looks for Dask with its first array

    thread = threading.Thread(target=load, daemon=True)
    thread.start()
    return thread


def _drive(
    run_dir: Path,
    stamp: tuple[int, int, int],
    pending: deque[Unit],
    backend: Backend,
    claims: Claims,
    bar: Progress,
) -> dict[str, str]:
    """Keep the backend's slots full until nothing is left; returns units that failed, and why.

    Units stay pending where another driver has replaced the plan.
    """
    running: dict[str, Unit] = {}
    failed: dict[str, str] = {}
    in_a_row, readers = 0, None
    while pending or running:
        if not pending:
            readers = _import_readers()
        others = _fill(run_dir, stamp, pending, running, backend, claims, bar)
        if not running and others:
            if plan_stamp(run_dir) != stamp:
                break
            time.sleep(WAIT_FOR_OTHERS_SECONDS)
        for name, reason in backend.finished() if running else ():
            unit = running.pop(name)
            # The marker is the truth, not what the worker said.
            if is_done(run_dir, unit):
                log_event(run_dir, "unit_done", unit=name)
                bar.advance(unit.size)
                in_a_row = 0
            else:
                failed[name] = reason or "it left no marker"
                log_event(run_dir, "unit_failed", unit=name, reason=failed[name])
                in_a_row += 1
            claims.release(name)
        if in_a_row >= FAILURES_IN_A_ROW:
            break
        bar.tick()
    if readers is not None:
        readers.join()  # of a module that two threads import at once, one may see half
    return failed


def _fill(
    run_dir: Path,
    stamp: tuple[int, int, int],
    pending: deque[Unit],
    running: dict[str, Unit],
    backend: Backend,
    claims: Claims,
    bar: Progress,
) -> bool:
    """Hand out units; returns whether all that are left belong to another live driver.

    Whoever grows a run holds its plan and looks for claims on units first. So once a unit is
    claimed, and the plan is nobody's and still the one it was, it stays so until the unit ends.
    """
    for _ in range(len(pending)):
        if len(running) >= backend.slots:
            return False
        unit = pending.popleft()
        if not claims.acquire(unit.id):
            pending.append(unit)
        elif is_done(run_dir, unit):  # by another driver, since we looked
            claims.release(unit.id)
            bar.advance(unit.size)
        elif not claims.is_free(PLAN_CLAIM) or plan_stamp(run_dir) != stamp:
            claims.release(unit.id)
            pending.appendleft(unit)
            return True
        else:
            running[unit.id] = unit
            backend.submit(unit)
    return bool(pending)
