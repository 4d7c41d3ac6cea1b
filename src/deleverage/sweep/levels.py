"""The levels of splitting in a plan, and the simulator of such a plan."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from deleverage.sweep.response import response_of

if TYPE_CHECKING:
    from deleverage.results.plan import Plan
    from deleverage.sweep.splitting import Populations
    from deleverage.sweep.worker import Prepared, Simulator


def with_levels(plan: Plan, prepared: Prepared) -> Plan:
    """The plan with the levels that a pilot finds, where it asks for them.

    Raises:
        RunError: The outcome has fewer levels than are asked for.
    """
    if plan.sampling != "splitting" or plan.splitting:
        return plan
    from deleverage.sweep.pilot import find_levels

    levels = find_levels(populations(plan, prepared))
    found = {
        "thresholds": [level.threshold for level in levels],
        "spreads": [level.spread for level in levels],
    }
    return replace(plan, splitting=found)


def simulator_of(plan: Plan, prepared: Prepared) -> Simulator:
    """The simulator of a plan's paths: the engine's, or one that splits them.

    Its tile is the plan's: how many policies there are chooses one, and a run may have grown.
    """
    if plan.sampling != "splitting":
        return _engine(plan, prepared)
    from deleverage.sweep.splitting import Level, Splitting

    levels = map(Level, plan.splitting["thresholds"], plan.splitting["spreads"])
    return Splitting(populations(plan, prepared), list(levels))


def populations(plan: Plan, prepared: Prepared) -> Populations:
    """What makes the populations of a plan of splitting."""
    from deleverage.sweep.splitting import Populations

    config = prepared.config
    response = response_of(config, prepared.built.labels)
    return Populations(_engine(plan, prepared), config.sampling, response, plan.seed)


def _engine(plan: Plan, prepared: Prepared) -> Simulator:
    simulator = prepared.simulator
    if simulator.tile_paths == plan.tile_paths:
        return simulator
    return simulator.with_tile(plan.tile_paths)
