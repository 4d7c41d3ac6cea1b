"""What a run will take, measured on a few tiles of it."""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import dataclass

from deleverage.results.plan import Plan
from deleverage.sweep.execute import worker_count
from deleverage.sweep.worker import Simulator

TILES = 8


@dataclass(frozen=True)
class Estimate:
    """What a run is expected to take.

    Attributes:
        workers: Worker processes; 0 is this process alone.
        rate: Path-policies a second of this process.
        compile_seconds: Time of the first tile, compilation included.
        seconds: The whole run.
        memory_bytes: All processes together.
    """

    workers: int
    rate: float
    compile_seconds: float
    seconds: float
    memory_bytes: int


def estimate(plan: Plan, simulator: Simulator, workers: int | None = None) -> Estimate:
    """Time a few tiles under every policy, and extend that to the plan.

    Args:
        plan: The plan of the run.
        simulator: What will run it.
        workers: Worker processes, None takes one a core.
    """
    policies = range(len(plan.policies))
    began = time.perf_counter()
    simulator.simulate(policies, range(plan.tile_paths))
    compiled = time.perf_counter()
    paths = range(TILES * plan.tile_paths)
    simulator.simulate(policies, paths)
    rate = len(policies) * len(paths) / (time.perf_counter() - compiled)
    if workers is None:
        workers = worker_count(len(plan.units))
    size = len(policies) * plan.paths
    processes = workers + 1  # the driver too
    return Estimate(
        workers=workers,
        rate=rate,
        compile_seconds=compiled - began,
        seconds=compiled - began + size / rate / max(workers, 1),
        memory_bytes=processes * (_peak_bytes() + plan.nbytes // len(plan.units)),
    )


def _peak_bytes() -> int:
    """The most memory that this process has held."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
