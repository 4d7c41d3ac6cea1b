"""SIGINT and SIGTERM: whatever is being done is left so that the same command continues it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deleverage.errors import RunError
from deleverage.results.markers import done_units
from deleverage.results.plan import load_plan
from deleverage.sweep.log import log_event


class InterruptedRunError(RunError):
    """The run was stopped by the user or the system; it can be resumed."""

    exit_code = 130


@contextmanager
def interruptible(run_dir: Path) -> Iterator[None]:
    """Work on a run directory that a signal ends by an error, once what was begun is cleared away.

    Raises:
        InterruptedRunError: SIGINT or SIGTERM came; finished units are kept.
    """
    with _signals_interrupt():
        try:
            yield
        except KeyboardInterrupt:
            plan = load_plan(run_dir)
            left = len(plan.units) - len(done_units(run_dir, plan))
            log_event(run_dir, "interrupted", missing=left)
            state = f"{left} of {len(plan.units)} units missing" if left else "all units done"
            raise InterruptedRunError(
                f"{run_dir} was interrupted with {state}; run the same command again to continue "
                "it."
            ) from None


@contextmanager
def _signals_interrupt() -> Iterator[None]:
    """Turn SIGTERM into KeyboardInterrupt, as SIGINT is."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    old = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
