"""Storing a unit while the next one is simulated."""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from deleverage.errors import DeleverageError
from deleverage.sweep.worker import Outcomes, UnitRunner, record_failure


class Ended(NamedTuple):
    """How a unit ended in the process that had it.

    Attributes:
        unit: Its name.
        reason: What went wrong; None: it is stored and marked.
        again: Whether it may do better when it is tried again.
    """

    unit: str
    reason: str | None = None
    again: bool = False


def failed(run_dir: Path, unit_id: str, error: Exception) -> Ended:
    """Keep the traceback of an error that is being handled."""
    record_failure(run_dir, unit_id, traceback.format_exc())
    # What is refused on purpose is refused again.
    again = not isinstance(error, DeleverageError)
    return Ended(unit_id, f"{type(error).__name__}: {error}", again)


class Tries:
    """How often units have failed.

    Args:
        retries: How often each may be tried again.
    """

    def __init__(self, retries: int) -> None:
        """None has failed."""
        self._retries = retries
        self._failures: Counter[str] = Counter()

    def again(self, unit: str) -> bool:
        """Count a failure of a unit; returns whether it has another try."""
        self._failures[unit] += 1
        return self._failures[unit] <= self._retries


class Storer:
    """A thread that stores units, one at a time and in the order they come.

    Compiled code lets go of the interpreter, so the next unit is simulated meanwhile. A unit is
    marked by the thread when all of it is on disk, as it would be without one.

    Args:
        ended: Called by the thread with each unit that has ended.
    """

    def __init__(self, ended: Callable[[Ended], None]) -> None:
        """Nothing is stored yet."""
        self._ended = ended
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._last: Future[None] | None = None

    def put(self, runner: UnitRunner, outcomes: Outcomes) -> None:
        """Have a unit stored, once the one before is: of two, outcomes are held in memory."""
        self.wait()
        self._last = self._thread.submit(self._store, runner, outcomes)

    def wait(self) -> None:
        """Wait until what has come is stored, or has failed."""
        if self._last is not None:
            self._last.result()
            self._last = None

    def close(self) -> None:
        """End the thread when what has come is stored."""
        self._thread.shutdown()

    def _store(self, runner: UnitRunner, outcomes: Outcomes) -> None:
        name = outcomes.unit.id
        try:
            runner.store(outcomes)
        except Exception as error:
            self._ended(failed(runner.run_dir, name, error))
        else:
            self._ended(Ended(name))
