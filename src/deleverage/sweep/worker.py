"""What runs one unit, in this process or in a worker process of its own.

`python -m deleverage.sweep.worker ADDRESS NAME` is a Dask worker: a fresh process, never a fork,
which ends with its driver.
"""

from __future__ import annotations

import faulthandler
import os
import platform
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from deleverage.errors import RunError
from deleverage.results.checks import FAILED_FOLDER
from deleverage.results.files import crc, replace_text
from deleverage.results.markers import is_done, write_marker
from deleverage.results.plan import CONFIG_FILE, PLAN_FILE, Plan, Unit, load_plan
from deleverage.results.store import UnitWriter
from deleverage.sweep.levels import simulator_of

ENGINE = "deleverage.sweep.worker:engine"


class Simulator(Protocol):
    """What computes outcomes; the values depend on policies and global path ids only."""

    tile_paths: int

    def fingerprint(self) -> dict[str, Any]:
        """What fixes the bytes: backend, device kind, versions, instruction set, tile."""
        ...

    def simulate(self, policies: range, paths: range) -> Mapping[str, Any]:
        """Outcomes of a block by variable, with the dims of the schema; threads may share it."""
        ...


@dataclass(frozen=True)
class Prepared:
    """A config, what it builds, and the simulator over that."""

    config: Any
    built: Any
    simulator: Simulator


#: Makes the simulator of a config, given as an object or as the path of a `config.yaml`.
Factory = Callable[[Any], Prepared]


def engine(config: Any) -> Prepared:
    """The package's own engine."""
    from deleverage.config import build, load_config
    from deleverage.engine import Simulator as Engine

    if isinstance(config, Path):
        config = load_config(config)
    built = build(config)
    return Prepared(config, built, Engine(built))


def resolve(factory: str | Factory) -> Factory:
    """A factory by its dotted name, `module:name`."""
    if not isinstance(factory, str):
        return factory
    module, _, name = factory.partition(":")
    return getattr(import_module(module), name)


class UnitRunner:
    """Runs units of one run directory with one simulator."""

    def __init__(self, run_dir: Path, prepared: Prepared) -> None:
        """Open the run for writing.

        Raises:
            RunError: The simulator would give other bytes than the plan promises.
        """
        self.plan: Plan = load_plan(run_dir)
        self._run_dir = run_dir
        self._simulator = simulator_of(self.plan, prepared)
        here = self._simulator.fingerprint()
        if here != self.plan.fingerprint or self._simulator.tile_paths != self.plan.tile_paths:
            raise RunError(
                f"{run_dir} was planned for {self.plan.fingerprint}, this worker is {here}; "
                "continue the run where it was begun."
            )
        self._writer = UnitWriter(run_dir, self.plan)

    def warm(self) -> None:
        """Compile what units need, where the simulator can do that alone."""
        warm: Any = getattr(self._simulator, "warm", None)
        if warm is not None:
            warm()

    def run(self, unit: Unit) -> None:
        """Simulate, store and mark a unit; nothing happens if it is marked already."""
        if is_done(self._run_dir, unit):
            return
        began = time.perf_counter()
        outcomes = self._simulator.simulate(unit.policies, unit.paths)
        objects = self._writer.write(unit, outcomes)
        details = {
            "seed": self.plan.seed,
            "fingerprint": self.plan.fingerprint,
            "versions": self.plan.provenance.get("versions", {}),
            "host": platform.node(),
        }
        write_marker(self._run_dir, unit, objects, time.perf_counter() - began, details)


def record_failure(run_dir: Path, unit_id: str, text: str) -> None:
    """Keep the traceback of a unit that failed."""
    replace_text(run_dir / FAILED_FOLDER / f"{unit_id}.txt", text)


_runners: dict[tuple[str, int], UnitRunner] = {}
_prepared: dict[tuple[str, int], Prepared] = {}


def _runner(run_dir: str, factory: str) -> UnitRunner:
    """The runner of this process; made again when the run has grown.

    What is compiled stays as long as the config does, since a run that follows an error bar grows
    under one config.
    """
    path = Path(run_dir)
    key = (run_dir, crc((path / PLAN_FILE).read_bytes()))
    if key not in _runners:
        of_config = (run_dir, crc((path / CONFIG_FILE).read_bytes()))
        if of_config not in _prepared:
            _prepared.clear()
            _prepared[of_config] = resolve(factory)(path / CONFIG_FILE)
        _runners.clear()
        _runners[key] = UnitRunner(path, _prepared[of_config])
    return _runners[key]


def warm_worker(run_dir: str, factory: str) -> None:
    """Compile on this worker, so that the others find the programs in the cache."""
    _runner(run_dir, factory).warm()


def run_unit(run_dir: str, unit_id: str, factory: str, deadline: float) -> None:
    """Run one unit in a worker process, which dies if it takes longer than the deadline.

    Args:
        run_dir: The run directory.
        unit_id: Name of the unit.
        factory: Dotted name of what makes the simulator.
        deadline: Seconds; a hang in compiled code cannot be interrupted, only killed.
    """
    faulthandler.dump_traceback_later(deadline, exit=True, file=sys.stderr)
    try:
        runner = _runner(run_dir, factory)
        runner.run(runner.plan.unit_by_id[unit_id])
    except Exception:
        record_failure(Path(run_dir), unit_id, traceback.format_exc())
        raise
    finally:
        faulthandler.cancel_dump_traceback_later()


def _end_with_driver() -> None:
    """End this process when the driver closes its end of our standard input, however it died."""
    while sys.stdin.buffer.read(1):
        continue
    os._exit(1)


async def _serve(address: str, name: str) -> None:
    import tempfile

    import dask.config
    from distributed import Worker

    with tempfile.TemporaryDirectory(prefix="deleverage-worker-") as folder:
        # Memory is not watched: Dask cannot spill a compiled program's buffers.
        with dask.config.set({"distributed.worker.memory.monitor-interval": "1h"}):
            worker = await Worker(
                address,
                name=name,
                nthreads=1,
                memory_limit=0,
                local_directory=folder,
                dashboard=False,
            )
            await worker.finished()


def main() -> None:
    """Serve as a Dask worker until the driver is gone."""
    import asyncio

    threading.Thread(target=_end_with_driver, daemon=True).start()
    asyncio.run(_serve(sys.argv[1], sys.argv[2]))


if __name__ == "__main__":
    # The functions above must be those of the importable module, not of `__main__`.
    from deleverage.sweep.worker import main as serve

    serve()
