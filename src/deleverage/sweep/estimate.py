"""What a run will take, measured on a few tiles of it."""

from __future__ import annotations

import math
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from deleverage.results.plan import Plan
from deleverage.sweep.levels import populations
from deleverage.sweep.places import worker_count
from deleverage.sweep.worker import Prepared

if TYPE_CHECKING:
    from deleverage.sweep.splitting import Population, Populations

TILES = 8


@dataclass(frozen=True)
class Estimate:
    """What a run is expected to take.

    Attributes:
        workers: Worker processes; 0 is this process alone.
        rate: Path-policies a second of this process.
        compile_seconds: Time of the first tile, compilation included.
        seconds: The whole run, the pilot included.
        memory_bytes: All processes together.
        pilot_paths: Paths that set the levels of splitting before the first unit, under one policy;
            no part of the run's paths.
        pilot_seconds: Their time, in one process.
    """

    workers: int
    rate: float
    compile_seconds: float
    seconds: float
    memory_bytes: int
    pilot_paths: int = 0
    pilot_seconds: float = 0.0


def estimate(plan: Plan, prepared: Prepared, workers: int | None = None) -> Estimate:
    """Time a few tiles under every policy, or the populations of splitting, and extend that.

    Args:
        plan: The plan of the run.
        prepared: What will run it.
        workers: Worker processes, None takes one a core or a GPU.
    """
    if workers is None:
        workers = worker_count(len(plan.units), plan.fingerprint["backend"])
    if plan.sampling == "splitting":
        return _of_splitting(plan, populations(plan, prepared), workers)
    policies = range(len(plan.policies))
    paths = range(TILES * plan.tile_paths)
    compiled = _seconds(lambda: prepared.simulator.simulate(policies, range(plan.tile_paths)))
    rate = len(policies) * len(paths) / _seconds(
        lambda: prepared.simulator.simulate(policies, paths)
    )
    size = len(policies) * plan.paths
    return Estimate(
        workers=workers,
        rate=rate,
        compile_seconds=compiled,
        seconds=compiled + size / rate / max(workers, 1),
        memory_bytes=_memory(plan, workers, 0),
    )


def _of_splitting(plan: Plan, make: Populations, workers: int) -> Estimate:
    """A replicate is a plain population, and moves of a few chains at a time up to each level.

    Policies come in blocks, and every block moves through the same levels; where the outcome that
    sets them is that of a policy of another block, it is simulated beside.
    """
    count, response = len(plan.policies), make.response.policy
    blocks = [
        range(first, min(first + plan.policy_block, count))
        for first in range(0, count, plan.policy_block)
    ]
    alone = range(response, response + 1)
    compiled = _seconds(lambda: [_replicate_seconds(make, block) for block in (blocks[0], alone)])
    pilot, people = _replicate_seconds(make, alone)
    whole, _ = _replicate_seconds(make, blocks[0])
    # that of the first block holds the looking on where the policy is of another
    own = whole if response in blocks[0] else whole - pilot
    replicate = own * count / len(blocks[0])
    replicate += pilot * sum(response not in block for block in blocks)
    block = make.scheme.block
    lineage = (1 + make.scheme.levels) * (people.lineage.ids.nbytes + people.lineage.spread.nbytes)
    outcomes = plan.policy_block * (1 + make.scheme.levels) * _bytes(people)
    return Estimate(
        workers=workers,
        rate=count * block / replicate,
        compile_seconds=compiled,
        seconds=compiled + pilot + plan.paths / block * replicate / max(workers, 1),
        memory_bytes=_memory(plan, workers, lineage + outcomes),
        pilot_paths=block,
        pilot_seconds=pilot,
    )


def _replicate_seconds(make: Populations, policies: range) -> tuple[float, Population]:
    """Time of a replicate, from its plain population and one move, and that population."""
    from deleverage.sweep.pilot import PILOT, SPREAD
    from deleverage.sweep.splitting import Level

    scheme, found = make.scheme, []
    plain = _seconds(lambda: found.append(make.plain(policies, PILOT)))
    parents = found[0].on(np.arange(scheme.chains))
    level = Level(-math.inf, SPREAD)
    first = PILOT + scheme.paths_per_level
    move = _seconds(lambda: make.moved(policies, parents, first, level))
    return plain + scheme.levels * scheme.moves * move, found[0]


def _seconds(do: Callable[[], object]) -> float:
    began = time.perf_counter()
    do()
    return time.perf_counter() - began


def _bytes(people: Population) -> int:
    """Of the outcomes of a population."""
    return sum(x.nbytes for x in people.outcomes.values())


def _memory(plan: Plan, workers: int, populations: int) -> int:
    """Of all processes, the driver too: the most that this one held, a unit, and populations."""
    return (workers + 1) * (_peak_bytes() + plan.nbytes // len(plan.units) + populations)


def _peak_bytes() -> int:
    """The most memory that this process has held."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
