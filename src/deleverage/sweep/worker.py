"""What runs one unit, in this process or in a worker process (`deleverage.sweep.process`)."""

from __future__ import annotations

import contextlib
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from deleverage.errors import RunError
from deleverage.results.checks import FAILED_FOLDER
from deleverage.results.files import replace_text
from deleverage.results.markers import is_done, write_marker
from deleverage.results.plan import Plan, Unit, load_plan
from deleverage.results.store import UnitWriter
from deleverage.sweep.levels import simulator_of

ENGINE = "deleverage.sweep.worker:engine"


class Simulator(Protocol):
    """What computes outcomes; the values depend on policies and global path ids only."""

    tile_paths: int

    def fingerprint(self) -> dict[str, Any]:
        """What fixes the bytes: backend, device kind, versions, instruction set, tile."""
        ...

    def with_tile(self, paths: int) -> Simulator:
        """The same with another tile."""
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


class Outcomes(NamedTuple):
    """Of a unit that is simulated and not stored: by variable, and the seconds it took."""

    unit: Unit
    values: Mapping[str, Any]
    seconds: float


class UnitRunner:
    """Runs units of one run directory with one simulator."""

    def __init__(self, run_dir: Path, prepared: Prepared) -> None:
        """Open the run for writing.

        Raises:
            RunError: The simulator would give other bytes than the plan promises.
        """
        self.plan: Plan = load_plan(run_dir)
        self.run_dir = run_dir
        self._simulator = simulator_of(self.plan, prepared)
        here = self._simulator.fingerprint()
        if here != self.plan.fingerprint:
            raise RunError(
                f"{run_dir} was planned for {self.plan.fingerprint}, this worker is {here}; "
                "continue the run where it was begun."
            )
        self._writer = UnitWriter(run_dir, self.plan)

    def simulate(self, unit: Unit) -> Outcomes | None:
        """Outcomes of a unit; None if it is marked already."""
        if is_done(self.run_dir, unit):
            return None
        began = time.perf_counter()
        values = self._simulator.simulate(unit.policies, unit.paths)
        return Outcomes(unit, values, time.perf_counter() - began)

    def store(self, outcomes: Outcomes) -> None:
        """Store and mark a unit; another one may be simulated meanwhile."""
        began = time.perf_counter()
        unit, values, seconds = outcomes
        objects = self._writer.write(unit, values)
        details = {
            "seed": self.plan.seed,
            "fingerprint": self.plan.fingerprint,
            "versions": self.plan.provenance.get("versions", {}),
            "host": platform.node(),
        }
        seconds += time.perf_counter() - began
        write_marker(self.run_dir, unit, objects, seconds, details)


def record_failure(run_dir: Path, unit_id: str, text: str) -> None:
    """Keep the traceback of a unit that failed, if it can be: the driver is told in any case."""
    with contextlib.suppress(OSError):  # often what the unit failed of, such as a full disk
        replace_text(run_dir / FAILED_FOLDER / f"{unit_id}.txt", text)
