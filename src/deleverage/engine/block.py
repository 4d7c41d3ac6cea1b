"""How many paths a program takes at once: what a core's cache or a GPU's memory holds."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from deleverage.cascade.maps import maps_of
from deleverage.cascade.outcome import empty_tally
from deleverage.cascade.start import initial_state
from deleverage.cascade.worklist import Drive
from deleverage.engine.lanes import tile_of
from deleverage.policy import Policy
from deleverage.shocks.draws import draw
from deleverage.shocks.exogenous import exogenous
from deleverage.world import World

LEAST_PATHS = 128
"""Of a device with memory of its own: fewer leave it idle."""

MOST_PATHS = 2**15
"""Half a million columns: more threads than any device runs at once."""

MEMORY_SHARE = 0.5
"""Of a device's memory that a program may take: outcomes and the runtime need some too."""

SERIES_COPIES, STATE_COPIES = 3, 4
"""How often a program holds series and states: in, out, and between the stages of a step."""


def block_paths(groups: Sequence[Any], lanes: int, dtype: Any) -> int:
    """Paths of a tile on this process's device, a power of two, the same for every program.

    On a CPU what a core's cache holds, see `lanes`; else what the memory holds.

    Args:
        groups: `simulator.Group`s, or tuples of the same order; leaves NumPy.
        lanes: Lanes of a tile.
        dtype: Float type of the kernel.
    """
    device = jax.local_devices()[0]
    limit = None if device.platform == "cpu" else (device.memory_stats() or {}).get("bytes_limit")
    if limit is None:
        return tile_of(max(len(members) for _, _, members, _ in groups))
    most = max(path_bytes(world, policy, lanes, dtype, own) for world, policy, _, own in groups)
    return paths_within(int(limit), most)


def paths_within(memory: int, bytes_per_path: float) -> int:
    """The largest power of two of paths that a memory holds, within what is of use."""
    fitting = int(memory * MEMORY_SHARE / bytes_per_path)
    return min(max(2 ** (max(fitting, 1).bit_length() - 1), LEAST_PATHS), MOST_PATHS)


def path_bytes(
    world: World, policy: Policy, lanes: int, dtype: Any, own: World | None = None
) -> float:
    """About how much memory a program takes for each path, under all lanes.

    Counted from shapes, so that nothing is compiled and every process finds the same.

    Args:
        world: Leaves NumPy.
        policy: Rules; any number of policies.
        lanes: Lanes of a tile.
        dtype: Float type of the kernel.
        own: Where lanes have worlds of their own, and so series.
    """
    layout, some = world.layout, LEAST_PATHS
    with jax.enable_x64(np.dtype(dtype) == np.float64):
        draws = jax.eval_shape(lambda: draw(world, 0, 0, some, dtype))
        series = jax.eval_shape(lambda given: exogenous(world, given, dtype)[0], draws)
        rules = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct((*np.shape(leaf)[:-1], lanes, 1), dtype), policy
        )
        drive = Drive(one_by_one=False)
        state = jax.eval_shape(partial(_started, layout, paths=some, drive=drive), rules)
    many = 1 if own is None else lanes
    held = SERIES_COPIES * (_size(draws) + many * _size(series)) + STATE_COPIES * _size(state)
    return held / some


def _started(layout: Any, policy: Policy, paths: int, drive: Drive) -> Any:
    columns = (policy.reporting.due_at_start.shape[-2], paths)
    state = initial_state(layout, policy, paths, drive)
    return state, empty_tally(layout, maps_of(layout), policy, columns, state.fund.dtype)


def _size(tree: Any) -> int:
    return sum(leaf.size * jnp.dtype(leaf.dtype).itemsize for leaf in jax.tree.leaves(tree))
