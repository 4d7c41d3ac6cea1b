"""Runs the lanes of a tile in batches, on the same series."""

from __future__ import annotations

from collections.abc import Callable
from math import gcd

import jax
import jax.numpy as jnp
from jax import Array
from jax.extend.core import jaxpr_as_fun

from deleverage.policy import Policy
from deleverage.state import Inputs

MOST_AT_ONCE = 4
"""On a CPU: few, so that a stage's arrays stay in the cache, and cohorts are visited for few
columns that have no work there."""

COLUMNS_AT_ONCE = 512
"""Lanes of a batch times paths: enough that loops over them fill wide registers."""

Found = tuple[dict[str, Array], dict[str, Array], dict[str, Array]]
"""Outcomes `[..., lane, path]`, one column's record, histograms `[time, row, lane, bin]`."""


def lanes_at_once(lanes: int, paths: int, one_by_one: bool) -> int:
    """Lanes of a batch: all of them, unless cohorts are visited one by one.

    Args:
        lanes: Of the tile.
        paths: Of the tile; `tile_of` says how many there should be.
        one_by_one: Whether they are.
    """
    if not one_by_one:
        return lanes
    return gcd(lanes, min(max(COLUMNS_AT_ONCE // paths, 1), MOST_AT_ONCE))


def tile_of(policies: int) -> int:
    """Paths of a tile whose batches have no lane without a policy: 128, of few policies more.

    A program of 1 policy is so three times as fast as one of 4 lanes, and no slower with more.

    Args:
        policies: That share a program.
    """
    lanes = min(1 << (policies - 1).bit_length(), MOST_AT_ONCE)
    return COLUMNS_AT_ONCE // lanes


def run_lanes(
    run: Callable[[Policy, Inputs, Array], Found],
    policy: Policy,
    inputs: Inputs,
    watched: Array,
    at_once: int,
    used: Array,
) -> Found:
    """`run` for all lanes, some of them at once.

    Args:
        run: Takes rules, series, and the lane and path whose steps are recorded.
        policy: Leaves `[..., lane]`.
        inputs: Series, ending in path, or in lane and path where lanes differ in them.
        watched: Lane and path.
        at_once: Lanes of a batch; their number is a multiple of it.
        used: How many lanes are wanted, at least 1; a batch without any is left out (zeros).
    """
    lanes = policy.reporting.due_at_start.shape[-1]
    rules = jax.tree.map(lambda leaf: _apart(leaf, -1, at_once), policy)
    own = None
    if inputs.liquidity_drop.ndim == 3:  # [step, lane, path]
        own = jax.tree.map(lambda series: _apart(series, -2, at_once), inputs)
    mine = jnp.stack([watched[0] % at_once, watched[1]])

    def some(rules: Policy, own: Inputs | None) -> Found:
        return run(rules, inputs if own is None else own, mine)

    first = jax.tree.map(lambda leaf: leaf[0], (rules, own))
    closed, shapes = jax.make_jaxpr(some, return_shape=True)(*first)  # traced once, for both uses
    structure = jax.tree.structure(shapes)

    def batch(given: tuple[Array, tuple[Policy, Inputs | None]]) -> Found:
        start, mine = given

        def work(leaves: list[Array]) -> list[Array]:
            return jaxpr_as_fun(closed)(*leaves)

        def idle(_: list[Array]) -> list[Array]:
            return [jnp.zeros(shape.shape, shape.dtype) for shape in jax.tree.leaves(shapes)]

        found = jax.lax.cond(start < used, work, idle, jax.tree.leaves(mine))
        return jax.tree.unflatten(structure, found)

    starts = jnp.arange(0, lanes, at_once)
    outcomes, record, histograms = jax.lax.map(batch, (starts, (rules, own)))
    return (
        {name: _together(values, -2) for name, values in outcomes.items()},
        {name: values[watched[0] // at_once] for name, values in record.items()},
        {name: _together(values, 2) for name, values in histograms.items()},
    )


def _apart(leaf: Array, axis: int, size: int) -> Array:
    """An axis in pieces, the pieces in front."""
    shape = jnp.shape(leaf)
    axis %= len(shape)
    # no -1: a world without pegs has axes of no length, from which nothing can be inferred
    pieces = jnp.reshape(leaf, (*shape[:axis], shape[axis] // size, size, *shape[axis + 1 :]))
    return jnp.moveaxis(pieces, axis, 0)


def _together(pieces: Array, axis: int) -> Array:
    """The pieces of an axis in front, joined again."""
    axis %= pieces.ndim - 1
    moved = jnp.moveaxis(pieces, 0, axis)
    whole = moved.shape[axis] * moved.shape[axis + 1]
    return jnp.reshape(moved, (*moved.shape[:axis], whole, *moved.shape[axis + 2 :]))
