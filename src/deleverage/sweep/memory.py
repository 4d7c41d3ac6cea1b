"""A sweep in memory: the same variables as a run, without a run directory."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from deleverage.results.description import (
    Described,
    coordinate_names,
    dataset_attributes,
    known_before,
    outcome_attributes,
)
from deleverage.results.plan import Plan, Unit
from deleverage.results.schema import VARIABLES
from deleverage.sweep.adaptive import require_number
from deleverage.sweep.levels import simulator_of, with_levels
from deleverage.sweep.places import worker_count
from deleverage.sweep.plan import plan_run
from deleverage.sweep.worker import ENGINE, Factory, Simulator, resolve

if TYPE_CHECKING:
    import xarray as xr

    from deleverage.config import Config


def simulate(
    config: Config,
    paths: int | None = None,
    *,
    simulator_factory: str | Factory = ENGINE,
) -> xr.Dataset:
    """Simulate a config in this process, with one thread a core (an accelerator's units in turn).

    The arrays are those of `run`, byte by byte. All of them are held in memory and nothing is kept
    if the process ends, so for many paths take `run(config, workers=N)`.

    Args:
        config: The config.
        paths: Number of paths, default the config's.
        simulator_factory: What makes the simulator, by default the package's engine.

    Returns:
        Outcomes `(policy, path, ...)`, the variables that a run would store; no timeline.

    Raises:
        ConfigError: The config has a rule in place of a number of paths.
        RunError: An outcome has fewer levels than splitting is to have.
    """
    import xarray as xr

    if config.results.timeline is not None:
        results = config.results.model_copy(update={"timeline": None})
        config = config.model_copy(update={"results": results})
    if paths is not None and paths != config.paths:
        config = config.model_copy(update={"paths": paths})
    require_number(config)
    prepared = resolve(simulator_factory)(config)
    plan = plan_run(config, prepared.built, prepared.simulator.fingerprint())
    plan = with_levels(plan, prepared)
    arrays = _simulated(plan, simulator_of(plan, prepared))
    built = prepared.built
    known = known_before(plan, built.policy_variables, built.policy_coords)
    written = {
        name: Described(VARIABLES[name].dims, array, outcome_attributes(VARIABLES[name]))
        for name, array in arrays.items()
    }
    found = known | written
    data = set(plan.variables) - set(coordinate_names(plan, built.policy_coords))
    return xr.Dataset(
        {name: found[name] for name in plan.variables if name in data},
        coords={name: array for name, array in found.items() if name not in data},
        attrs=dataset_attributes(plan, config.resolved_yaml()),
    )


def _simulated(plan: Plan, simulator: Simulator) -> dict[str, np.ndarray]:
    """The arrays that units write, by name."""
    arrays = {v.name: np.full(plan.shape(v), v.fill, dtype=v.dtype) for v in plan.written}

    def fill(unit: Unit) -> None:
        outcomes = simulator.simulate(unit.policies, unit.paths)
        for variable in plan.written_by(unit):
            values = np.asarray(outcomes[variable.name])
            region = plan.region(variable, unit)
            arrays[variable.name][region] = plan.kept(values, variable.dims)

    first, *others = plan.units
    fill(first)  # alone, so that no two threads compile the same program
    threads = worker_count(len(others)) if plan.fingerprint.get("backend") == "cpu" else 1
    # compiled code lets go of the interpreter, and each unit fills its own part of the arrays
    with ThreadPoolExecutor(max(threads, 1)) as pool:
        for _ in pool.map(fill, others):
            pass
    return arrays
