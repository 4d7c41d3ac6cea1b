"""The four programs on one config, each behind the same three calls: prepare, run, outcomes.

A program is given the same draws: the engine makes them itself within its time, the others are
handed the engine's own numbers as arrays, so that drawing them costs them nothing.
"""

from __future__ import annotations

import gc
import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "src")]  # the reference is written for the tests

BLOCK = 128
"""Paths that NumPy takes at once: enough to hide its overhead, few enough for the caches."""

UNIT = 2048
"""Paths whose outcomes the engine hands back at a time, as a unit of a sweep does."""


class Program(Protocol):
    """What a worker runs."""

    def draw(self, first: int, paths: int) -> None:
        """Make ready, outside the measured time."""
        ...

    def run(self, policies: int, first: int, paths: int) -> dict[str, np.ndarray]:
        """Outcomes `(policy, path, ...)` of the first policies on the paths made ready."""
        ...


class Given:
    """A config as the programs other than the engine take it."""

    def __init__(self, built: Any) -> None:
        from reference_world import maps_of, rules_of, shocks_of

        self.world, self.seed = built.world, built.seed
        layout = built.world.layout
        self.venues, self.dtype = len(layout.venues), np.dtype(built.dtype)
        self.maps, self.shocks = maps_of(layout), shocks_of(built.world)
        count = np.shape(built.policy.books.cash)[-1]
        self.rules = [rules_of(built.policy, place) for place in range(count)]

    def draws(self, first: int, paths: int) -> Any:
        """The engine's random numbers of some paths, as NumPy arrays."""
        import jax

        from deleverage.shocks.draws import draw

        return jax.device_get(draw(self.world, self.seed, first, paths, self.dtype))


class Engine:
    """`deleverage.engine`, as a worker of a sweep runs it."""

    def __init__(self, built: Any) -> None:
        from deleverage.engine import Simulator

        self._tile = int(built.tile_paths)
        self._unit = max(self._tile, UNIT // self._tile * self._tile)
        self._simulator = Simulator(built)
        self._simulator.simulate(range(1), range(self._tile))  # compiles, for any policies

    def draw(self, first: int, paths: int) -> None:
        """Nothing: the engine draws for itself."""

    def run(self, policies: int, first: int, paths: int) -> dict[str, np.ndarray]:
        """See `Program`."""
        outcomes: dict[str, np.ndarray] = {}
        for at in range(first, first + paths, self._unit):  # as a sweep, which writes each unit
            stop = min(at + self._unit, first + paths)
            outcomes = self._simulator.simulate(range(policies), range(at, stop))
        return outcomes

    def cost(self) -> dict[str, float]:
        """What XLA counts in the program of a tile; see `Simulator.cost`."""
        return self._simulator.cost()


class SoleEngine(Engine):
    """The engine as it runs a config of one policy, here the first."""

    def __init__(self, built: Any) -> None:
        import jax

        from deleverage.engine.block import block_paths
        from deleverage.engine.simulator import LANES, Group

        world, policy, members, own = built.groups[0]
        rules, worlds = jax.tree.map(lambda leaf: np.asarray(leaf)[..., :1], (policy, own))
        groups = [Group(world, rules, members[:1], worlds)]
        super().__init__(
            SimpleNamespace(
                groups=groups,
                timeline=built.timeline,
                seed=built.seed,
                dtype=built.dtype,
                driver=built.driver,
                paired=built.paired,
                tile_paths=block_paths(groups, LANES, built.dtype),
            )
        )


class _Fed:
    """A program that is handed its draws."""

    def __init__(self, built: Any) -> None:
        self.given = Given(built)
        self._drawn: Any = None

    def draw(self, first: int, paths: int) -> None:
        """Make the draws, outside the measured time."""
        self._drawn = self.given.draws(first, paths)


class NumPy(_Fed):
    """The step as a vectorised NumPy program."""

    def run(self, policies: int, first: int, paths: int) -> dict[str, np.ndarray]:
        """See `Program`."""
        import jax
        import numpy_program
        from numpy_shocks import series_of

        given, blocks = self.given, []
        constants = [
            numpy_program.Constants(given.maps, rules, given.dtype)
            for rules in given.rules[:policies]
        ]
        for start in range(0, paths, BLOCK):
            part = slice(start, start + BLOCK)
            draws = jax.tree.map(lambda leaf, part=part: leaf[..., part], self._drawn)
            series = series_of(given.maps, given.shocks, given.venues, draws, given.dtype)
            columns = [numpy_program.simulate(one, series) for one in constants]
            blocks.append(
                {
                    name: np.stack([np.moveaxis(one[name], -1, 0) for one in columns])
                    for name in columns[0]
                }
            )
        return {name: np.concatenate([b[name] for b in blocks], axis=1) for name in blocks[0]}


class Numba(_Fed):
    """The tests' reference compiled with Numba, parallel over paths."""

    def __init__(self, built: Any) -> None:
        super().__init__(built)
        import numba_program

        self._functions = numba_program.compiled()
        self.draw(0, 1)
        gc.disable()  # collecting takes a quarter of the time that compiling does
        self.run(1, 0, 1)
        gc.enable()

    def run(self, policies: int, first: int, paths: int) -> dict[str, np.ndarray]:
        """See `Program`."""
        import jax
        import numba_program

        given = self.given
        rules = given.rules[:policies]

        def part(paths: np.ndarray) -> dict[str, np.ndarray]:
            draws = jax.tree.map(lambda leaf: leaf[..., paths], self._drawn)
            return numba_program.simulate(
                self._functions, given.maps, given.shocks, rules, given.venues, draws
            )

        threads = min(paths, len(os.sched_getaffinity(0)))
        with ThreadPoolExecutor(threads) as pool:  # what is compiled does not hold the lock
            blocks = list(pool.map(part, np.array_split(np.arange(paths), threads)))
        return {name: np.concatenate([b[name] for b in blocks], axis=1) for name in blocks[0]}


class C(_Fed):
    """The step in C."""

    def __init__(self, built: Any) -> None:
        super().__init__(built)
        from c_program import CProgram

        given, jumps = self.given, built.world.merton is not None
        with tempfile.TemporaryDirectory() as folder:
            self._program = CProgram(
                given.maps,
                given.shocks,
                given.rules,
                given.venues,
                given.dtype,
                jumps,
                Path(folder),
            )

    def run(self, policies: int, first: int, paths: int) -> dict[str, np.ndarray]:
        """See `Program`."""
        return self._program.simulate(policies, self._drawn)


PROGRAMS: dict[str, type] = {
    "engine": Engine,
    "sole": SoleEngine,
    "numpy": NumPy,
    "numba": Numba,
    "c": C,
}


def prepared(name: str, config: str, started: float) -> tuple[Any, dict[str, float]]:
    """A program ready to run, and the seconds that took: start-up, then compiling.

    Args:
        name: Of `PROGRAMS`.
        config: Path of a config.
        started: Time of the clock when the process was started.
    """
    from deleverage.config import build, load_config

    built = build(load_config(config))
    loaded = time.time()
    program = PROGRAMS[name](built)
    return program, {"start": loaded - started, "compile": time.time() - loaded}
