"""A sweep from a config to an open run."""

from __future__ import annotations

import os
import re
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from deleverage.errors import ConfigError, RunError
from deleverage.results.checks import finalize, has_root, set_complete, status
from deleverage.results.claims import Claims, live_claims
from deleverage.results.markers import done_units
from deleverage.results.opening import Run, open_run
from deleverage.results.plan import PLAN_FILE, STORE_FOLDER, Plan, load_plan
from deleverage.results.template import METADATA, create_run, metadata_checksums, write_template
from deleverage.sweep.adaptive import forget_partial, go_on
from deleverage.sweep.execute import RETRIES, execute
from deleverage.sweep.interruption import interruptible
from deleverage.sweep.levels import simulator_of, with_levels
from deleverage.sweep.log import log_event
from deleverage.sweep.plan import continue_plan, grows, plan_run
from deleverage.sweep.pool import DEADLINE_SECONDS, WorkerProcess, early_worker
from deleverage.sweep.worker import ENGINE, Factory, Prepared, resolve

if TYPE_CHECKING:
    from deleverage.config import Config

FINALIZE_WAIT_SECONDS = 60.0

#: With one slash too, which is what a `Path` leaves of two.
URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")


def run(
    config: Config,
    out: str | Path = "runs",
    workers: int | None = None,
    resume: bool = False,
    progress: bool = True,
    *,
    simulator_factory: str | Factory = ENGINE,
    retries: int = RETRIES,
    deadline: float = DEADLINE_SECONDS,
    started: list[WorkerProcess] | None = None,
) -> Run:
    """Run a config's sweep, or continue it, and open the result.

    Args:
        config: The config.
        out: Folder of run directories.
        workers: Worker processes; 0 runs in this process, None takes one a core.
        resume: Insist that there is a run to continue.
        progress: Show a bar or lines on standard error.
        simulator_factory: What makes the simulator, by default the package's engine.
        retries: How often a failed unit is tried again.
        deadline: Seconds after which a worker process is killed for its unit.
        started: What `early_worker` yields, where one was started before the config was loaded.

    Returns:
        The finished run.

    Raises:
        ConfigError: The folder cannot be written or belongs to another config.
        RunError: Units failed, or the run was begun on another backend.
        InterruptedRunError: Stopped by a signal; the same call continues it.
    """
    early = workers != 0 and isinstance(simulator_factory, str)
    with ExitStack() as held:
        if started is None:
            started = held.enter_context(early_worker(early, str(simulator_factory), deadline))
        for worker in started:
            worker.prepare(config)
        prepared = resolve(simulator_factory)(config)
        run_dir = prepare_run(prepared, out, resume)
        held.enter_context(interruptible(run_dir))  # the look at a checkpoint too
        execute(
            run_dir,
            workers,
            simulator_factory=simulator_factory,
            prepared=prepared,
            retries=retries,
            deadline=deadline,
            progress=progress,
            go_on=lambda: go_on(run_dir, prepared),
            started=started,
        )
    with interruptible(run_dir):
        _finish(run_dir)
    return open_run(run_dir)


def prepare_run(prepared: Prepared, out: str | Path = "runs", resume: bool = False) -> Path:
    """Make the run directory of a config, or make ready the one that is there.

    Args:
        prepared: Config, what it builds, and the simulator.
        out: Folder of run directories.
        resume: Insist that there is a run to continue.

    Raises:
        ConfigError: The folder cannot be written, belongs to another config, or there is nothing
            to resume.
        RunError: The run was begun on another backend, another driver works in it, or an outcome
            has fewer levels than splitting is to have.
    """
    if URL.match(str(out)):
        raise ConfigError(
            f"out: '{out}' is a URL, but run directories are local folders; name a folder on a "
            "disk and copy the finished run."
        )
    plan = plan_run(prepared.config, prepared.built, prepared.simulator.fingerprint())
    run_dir = Path(out) / plan.directory_name
    text = prepared.config.resolved_yaml()
    if not run_dir.exists():
        if resume:
            raise ConfigError(
                f"there is no run to resume at {run_dir}; leave `--resume` out to begin one."
            )
        plan = with_levels(plan, prepared)
        made = create_run(
            run_dir,
            plan,
            text,
            prepared.built.policy_variables,
            prepared.built.policy_coords,
        )
        if made is not None:
            log_event(
                run_dir, "planned", units=len(plan.units), paths=plan.paths, **plan.splitting
            )
            return run_dir
    if not (run_dir / PLAN_FILE).exists():
        raise ConfigError(
            f"{run_dir} exists but is not a run directory (it has no {PLAN_FILE}); move it away "
            "or name another folder with `--out`."
        )
    if not os.access(run_dir, os.W_OK):
        raise ConfigError(
            f"the run directory {run_dir} cannot be written; make it writable or name another "
            "folder with `--out`."
        )
    old = load_plan(run_dir)
    # the tile is the old one's, however many policies there are now
    plan = replace(plan, fingerprint=simulator_of(old, prepared).fingerprint())
    _continue(run_dir, old, plan, prepared, text)
    return run_dir


def _continue(run_dir: Path, old: Plan, new: Plan, prepared: Prepared, text: str) -> None:
    """Grow the directory to a larger plan, or leave it as it is."""
    complete = old.decided and len(done_units(run_dir, old)) == len(old.units)
    plan = continue_plan(old, new, run_dir, complete=complete)
    damaged, whole = _damaged_metadata(run_dir, old), has_root(run_dir)
    if not grows(old, plan) and not damaged and whole:
        return
    with Claims(run_dir) as claims:
        claims.acquire_all()
        if whole:
            set_complete(run_dir, False)
        else:
            (run_dir / STORE_FOLDER / METADATA).unlink(missing_ok=True)  # to be written anew
        forget_partial(run_dir, plan)
        for name in damaged:
            (run_dir / STORE_FOLDER / name / METADATA).unlink(missing_ok=True)
        write_template(
            run_dir, plan, text, prepared.built.policy_variables, prepared.built.policy_coords
        )
        log_event(run_dir, "grown" if grows(old, plan) else "repaired", units=len(plan.units))


def _damaged_metadata(run_dir: Path, plan: Plan) -> list[str]:
    found = metadata_checksums(run_dir, plan)
    return [v.name for v in plan.written if found[v.name] != plan.metadata.get(v.name)]


def _finish(run_dir: Path) -> None:
    """Finalize, unless another driver of the same run is doing that or has done it."""
    until = time.monotonic() + FINALIZE_WAIT_SECONDS
    while not status(run_dir).complete:
        try:
            finalize(run_dir)
            log_event(run_dir, "finalized")
        except RunError:
            if status(run_dir).complete:
                return  # whoever held it has ended meanwhile
            if not live_claims(run_dir) or time.monotonic() > until:
                raise
            time.sleep(0.2)
