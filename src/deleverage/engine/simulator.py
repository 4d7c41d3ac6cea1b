"""Runs blocks of paths under blocks of policies, tile by tile, and hands back NumPy arrays."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from copy import copy
from typing import Any, NamedTuple, Protocol

import equinox as eqx
import jax
import numpy as np

from deleverage.engine.compile_once import program_name
from deleverage.engine.device import enable_compile_cache, fingerprint
from deleverage.engine.lanes import lanes_at_once
from deleverage.engine.program import series_of_tile, simulate_tile, visits_cohorts
from deleverage.engine.programs import arrays_of, compiled
from deleverage.engine.rows import Unlowered
from deleverage.engine.timeline import Timeline
from deleverage.errors import RunError
from deleverage.policy import Policy
from deleverage.shocks.draws import SEEDS
from deleverage.shocks.lineage import Lineage
from deleverage.world import World

LANES = 16
"""Policy lanes of a tile; a batch with fewer policies is padded."""


TIMELINE = "timeline_units"
"""Where the histograms of units are stored."""


class Group(NamedTuple):
    """Policies that share a layout, and so a program."""

    world: World  # the run's own: what path coordinates tell of
    policy: Policy  # leaves [..., policy], NumPy
    members: Sequence[int]  # places on the policy axis
    own: World | None = None  # leaves [..., policy], where these policies override the shocks


class Tile(NamedTuple):
    """What is asked of a program beside its group and lanes."""

    first: int  # id of its first path
    watched: tuple[int, int] = (0, 0)  # lane and path whose steps are recorded
    stop: int = SEEDS - 1  # first path that histograms leave out
    lineage: Lineage | None = None  # of the block's paths, where they inherit draws
    used: int | None = None  # lanes that are wanted; None: all that are there


class Plan(Protocol):
    """What the simulator needs to know; `config.build` returns more."""

    groups: Sequence[Any]
    timeline: Any
    seed: int
    dtype: str
    tile_paths: int
    driver: str  # "auto", "scan" or "fused"
    paired: bool  # whether outcomes that need the run without feedback are wanted


class Simulator:
    """All policies of a config on one device; tiles are compiled once per group.

    Args:
        built: The groups of policies, the seed, the float type and the paths of a tile.
    """

    def __init__(self, built: Plan) -> None:
        self._cache = enable_compile_cache()
        self._programs: dict[tuple[int, int | None], Callable] = {}  # by group and generations
        self.tile_paths = int(built.tile_paths)
        self._seed = int(built.seed)
        self._dtype = str(built.dtype)
        self._timeline: Timeline | None = built.timeline
        self._paired = bool(built.paired)
        self._groups = [Group(*group) for group in built.groups]
        self.driver = "scan"  # also for "auto", until a GPU has been measured
        if built.driver == "fused":
            self._fuse()

    def fingerprint(self) -> dict[str, Any]:
        """What the bytes of a result depend on besides config and path ids."""
        return fingerprint(self.tile_paths, LANES, self._dtype) | {"driver": self.driver}

    def load(self) -> None:
        """Load every program of paths that draw for themselves, or compile it, ahead of its use."""
        with jax.enable_x64(self._dtype == "float64"):
            for group in self._groups:
                arguments = self._arguments(group, list(group.members)[:1], Tile(0))
                self._program(group, arguments)

    def with_tile(self, paths: int) -> Simulator:
        """The same with another tile, whose programs are its own.

        Args:
            paths: Of a tile.
        """
        other = copy(self)
        other.tile_paths, other._programs = paths, {}
        return other

    def simulate(
        self, policies: range, paths: range, lineage: Lineage | None = None
    ) -> dict[str, np.ndarray]:
        """Outcomes of a block.

        Args:
            policies: Places on the policy axis.
            paths: Global path ids; the start is a multiple of the tile's paths.
            lineage: Of paths that inherit draws, NumPy, `[generation, path]`; `paths` then counts
                them, from 0.

        Returns:
            By name, `(policy, path, ...)`; path coordinates `(path, ...)`; of a timeline, the
            number of paths in each bin, `(policy, time, row, bin)` int64.

        Raises:
            ValueError: If the block does not start on a tile.
        """
        if paths.start % self.tile_paths:
            raise ValueError(
                f"A block of paths starts at {paths.start}, which is no multiple of the tile's "
                f"{self.tile_paths} paths; plan units of whole tiles."
            )
        blocks: dict[str, np.ndarray] = {}
        for group in self._groups:
            for start in range(policies.start - policies.start % LANES, policies.stop, LANES):
                # lanes follow the policy axis, so policies appended later move none
                lanes = [p for p in group.members if p in range(start, start + LANES)]
                if any(p in policies for p in lanes):
                    # the coordinates of the first program: policies added later change no byte
                    self._fill(blocks, group, lanes, policies, paths, not blocks, lineage)
        return blocks

    def watch(
        self, policy: int, path: int, lineage: Lineage | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """One path again, by the same program: its outcomes and its record step by step.

        Args:
            policy: Place on the policy axis.
            path: Global id, or with a lineage the place among its paths.
            lineage: Of paths that inherit draws, as in `simulate`.

        Raises:
            RunError: The program is a fused one, which keeps no record.
            ValueError: There is no such policy.
        """
        if self.driver != "scan":
            raise RunError(
                "A run made with `engine.driver: fused` keeps no record of steps, and `scan` gives "
                "its outcomes but for rounding; replay a run made with `engine.driver: scan`."
            )
        first = path - path % self.tile_paths
        block = range(policy - policy % LANES, policy - policy % LANES + LANES)
        for group in self._groups:
            lanes = [p for p in group.members if p in block]
            if policy in lanes:
                lane = lanes.index(policy)
                tile = Tile(first, watched=(lane, path - first), lineage=lineage)
                outcomes, _, record, _ = jax.device_get(self._start(group, lanes, tile))
                mine = {name: values[..., lane, path - first] for name, values in outcomes.items()}
                return mine, record
        count = sum(len(group.members) for group in self._groups)
        raise ValueError(f"There is no policy number {policy}; there are {count}.")

    def on_device(self, first: int) -> list[tuple[list[int], dict[str, jax.Array]]]:
        """Outcomes of one tile under all policies, left on the device, perhaps yet to be computed.

        Args:
            first: Id of its first path, a multiple of the tile's paths.

        Returns:
            For each program: places of its lanes on the policy axis (lanes behind them are padding)
            and outcomes by name, `[..., lane, path]`.
        """
        found = []
        for group in self._groups:
            for start in range(0, max(group.members) + 1, LANES):
                lanes = [p for p in group.members if p in range(start, start + LANES)]
                if lanes:
                    found.append((lanes, self._start(group, lanes, Tile(first))[0]))
        return found

    def cost(self) -> dict[str, float]:
        """What XLA counts in the first program: of a step, and of the draws and series.

        XLA counts the body of each loop once, and what no loop holds in full. Steps and batches of
        lanes are loops. Draws and exogenous series of all steps are not: they are counted in a
        program of their own and taken off.

        Returns:
            `operations` and `bytes` of one step with feedback and one without (of a run that has
            it) for a batch of `columns` path-policies; `series_operations` and `series_bytes` of
            all series of a tile's `paths`, made once for all its lanes; `temporary_mb`.

        Approximate: visits to cohorts are a loop, of which one round is counted; of each branch
        both sides are counted, and one is run; how a batch begins and ends is counted with the
        step; of the walk over draw steps one is counted with the series. `bytes` are too many: a
        step reads and writes its row of what all steps have, and the whole is counted.
        """
        group = self._groups[0]
        lanes = lanes_at_once(LANES, self.tile_paths, visits_cohorts() and self.driver == "scan")
        with jax.enable_x64(self._dtype == "float64"):
            arguments = self._arguments(group, list(group.members)[:1], Tile(0))
            program = self._program(group, arguments)
            world, _, seed, first, _, paths, dtype, own, *_ = arguments
            given = (world, seed, first, paths, dtype, own)
            name = program_name(self.fingerprint(), given)
            series = compiled(name, _series_in_tuples, given, self._cache).cost_analysis()
        counted, memory = program.cost_analysis(), program.memory_analysis()
        return {
            "operations": float(counted["flops"] - series["flops"]),
            "bytes": float(counted["bytes accessed"] - series["bytes accessed"]),
            "columns": float(lanes * self.tile_paths),
            "series_operations": float(series["flops"]),
            "series_bytes": float(series["bytes accessed"]),
            "paths": float(self.tile_paths),
            "temporary_mb": memory.temp_size_in_bytes / 1e6,
        }

    def _fill(
        self,
        blocks: dict[str, np.ndarray],
        group: Group,
        lanes: list[int],
        policies: range,
        paths: range,
        leads: bool,
        lineage: Lineage | None = None,
    ) -> None:
        wanted = [lane for lane, p in enumerate(lanes) if p in policies]
        rows = [lanes[lane] - policies.start for lane in wanted]
        counted: dict[str, np.ndarray] = {}
        for first in range(paths.start, paths.stop, self.tile_paths):
            tile = Tile(first, stop=paths.stop, lineage=lineage, used=max(wanted) + 1)
            started = self._start(group, lanes, tile)
            outcomes, coordinates, _, histograms = jax.device_get(started)
            for name, values in histograms.items():
                total = counted.setdefault(name, np.zeros(values.shape, np.int32))
                np.add(total, values, out=total)
            count = min(self.tile_paths, paths.stop - first)
            here = slice(first - paths.start, first - paths.start + count)
            for name, values in outcomes.items():
                # [extra..., lane, path] -> (policy, path, extra...)
                part = np.moveaxis(values, (-2, -1), (0, 1))[wanted, :count]
                block = blocks.setdefault(
                    name, np.empty((len(policies), len(paths), *part.shape[2:]), part.dtype)
                )
                block[rows, here] = part
            for name, values in coordinates.items() if leads else ():
                part = np.moveaxis(values, -1, 0)[:count]
                block = blocks.setdefault(name, np.empty((len(paths), *part.shape[1:]), part.dtype))
                block[here] = part

        for name, values in counted.items():
            # [time, row, lane, bin] -> (policy, time, row, bin)
            part = np.moveaxis(values, 2, 0)[wanted]
            key = f"{TIMELINE}/{name}"
            block = blocks.setdefault(key, np.empty((len(policies), *part.shape[1:]), np.int64))
            block[rows] = part

    def _start(
        self, group: Group, lanes: list[int], tile: Tile
    ) -> tuple[dict[str, jax.Array], ...]:
        with jax.enable_x64(self._dtype == "float64"):
            arguments = self._arguments(group, lanes, tile)
            return self._program(group, arguments, tile.lineage)(*arrays_of(arguments))

    def _program(self, group: Group, arguments: tuple, lineage: Lineage | None = None) -> Any:
        """The compiled program of a group, made for its first arguments."""
        key = (id(group), None if lineage is None else lineage.ids.shape[0])
        if key not in self._programs:
            name = program_name(self.fingerprint(), arguments)
            self._programs[key] = compiled(name, _tile_in_dicts, arguments, self._cache)
        return self._programs[key]

    def _arguments(self, group: Group, lanes: list[int], tile: Tile) -> tuple:
        lineage = tile.lineage
        place = [list(group.members).index(p) for p in lanes]
        padded = place + [place[0]] * (LANES - len(place))
        return (
            # arrays, not Python floats: those would be compiled in, and every new value again
            jax.tree.map(np.asarray, group.world),
            jax.tree.map(lambda leaf: np.asarray(leaf)[..., padded], group.policy),
            np.uint32(self._seed),
            np.uint32(tile.first),
            np.array(tile.watched, np.int32),
            self.tile_paths,
            np.dtype(self._dtype),
            jax.tree.map(lambda leaf: np.asarray(leaf)[..., padded], group.own),
            self._timeline,
            np.uint32(tile.stop),
            None,
            self.driver,
            None if lineage is None else _of_tile(lineage, tile.first, self.tile_paths),
            np.int32(len(lanes) if tile.used is None else tile.used),
            self._paired,
        )

    def _fuse(self) -> None:
        """Take the fused driver if every program can; else say once why not."""
        reason = None
        if jax.default_backend() != "gpu":
            reason = f"it needs a GPU, and this is {jax.default_backend()}"
        elif self._timeline is not None:
            reason = "it makes no histograms (results.timeline)"
        else:
            self.driver = "fused"
            reason = self._unlowered()
        if reason is not None:
            self.driver = "scan"
            sentence = f"engine.driver: fused cannot run here: {reason}; scan runs."
            warnings.warn(sentence, stacklevel=3)

    def _unlowered(self) -> str | None:
        """Why a program fits no kernel, found by tracing it."""
        with jax.enable_x64(self._dtype == "float64"):
            for group in self._groups:
                arguments = self._arguments(group, list(group.members)[:1], Tile(0))
                try:
                    eqx.filter_eval_shape(simulate_tile, *arguments)
                except Unlowered as found:
                    return str(found)
        return None


def _of_tile(lineage: Lineage, first: int, paths: int) -> Lineage:
    """The paths of a tile, its last one repeated where there are fewer."""
    columns = np.minimum(first + np.arange(paths), lineage.ids.shape[1] - 1)
    return Lineage(lineage.ids[:, columns], lineage.spread[:, columns])


def _tile_in_dicts(*arguments: Any) -> tuple[dict[str, jax.Array], ...]:
    """`simulate_tile` in tuples and dicts alone, which can be stored without their classes."""
    outcomes, coordinates, record, histograms = simulate_tile(*arguments)
    return outcomes, vars(coordinates), record, histograms


def _series_in_tuples(*arguments: Any) -> tuple[jax.Array, ...]:
    """`series_of_tile` likewise."""
    return tuple(jax.tree.leaves(series_of_tile(*arguments)))
