"""The compiled program: one tile of paths under one batch of policies, start to end.

Columns are `lane x path`, the path running fastest: each path's draws and exogenous prices are
computed once and read by every policy lane. The tile runs twice, with feedback and then, paired on
the same draws, without.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array

from deleverage.cascade.blocks import split_by_block
from deleverage.cascade.maps import maps_of
from deleverage.cascade.outcome import Flows, conclude, empty_tally, observe
from deleverage.cascade.step import StepInputs, initial_state, step
from deleverage.policy import Policy
from deleverage.shocks.draws import draw
from deleverage.shocks.exogenous import exogenous
from deleverage.state import Inputs, PathCoordinates, State
from deleverage.world import Layout, World

LEAST_DRAWDOWN = 1e-4
"""Exogenous drawdowns below this leave the amplification undefined."""


@eqx.filter_jit
def simulate_tile(
    world: World,
    policy: Policy,
    seed: Array,
    first_path: Array,
    watched: Array,
    paths: int,
    dtype: Any,
) -> tuple[dict[str, Array], PathCoordinates, dict[str, Array]]:
    """Simulate `paths` consecutive path ids under all lanes of `policy`.

    Args:
        world: Layout (static) and shocks.
        policy: Leaves `[..., lane]`.
        seed: uint32.
        first_path: Global id of the first path, uint32.
        watched: Column (`lane * paths + path`) whose steps are recorded, with feedback.
        paths: Paths of the tile (static).
        dtype: Kernel float type (static).

    Returns:
        Outcomes by name `[..., lane, path]`; path coordinates; the watched column's record by
        name, `[step, ...]`.
    """
    draws = draw(world, seed, first_path, paths, dtype)
    inputs, coordinates = exogenous(world, draws, dtype)
    outcomes, record = run_paths(world.layout, policy, inputs, watched, dtype)
    return outcomes, coordinates, record


def run_paths(
    layout: Layout, policy: Policy, inputs: Inputs, watched: Array, dtype: Any
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Every lane with and without feedback over given exogenous series; see `simulate_tile`."""
    paths = inputs.liquidity_drop.shape[-1]
    policy = jax.tree.map(partial(_lanes_to_columns, paths=paths, dtype=dtype), policy)
    columns = policy.reporting.due_at_start.shape[-1]
    lanes = columns // paths
    maps = maps_of(layout)
    blocks = split_by_block(policy, maps)
    steps = jnp.arange(layout.steps, dtype=jnp.int32)
    series = (steps, inputs.log_fundamental, inputs.liquidity_drop, inputs.gate_open)

    def run_side(feedback: Array) -> tuple[dict[str, Array], dict[str, Array]]:
        switch = jnp.full(columns, feedback, dtype)

        def advance(carry: tuple, given: tuple) -> tuple[tuple, dict[str, Array]]:
            state, tally = carry
            t, fundamental, drop, gate = given
            exogenous_now = StepInputs(
                log_fundamental=_paths_to_columns(fundamental, lanes),
                liquidity_drop=_paths_to_columns(drop, lanes),
                gate_open=_paths_to_columns(gate, lanes),
                feedback=switch,
                t=t,
            )
            following, flows = step(layout, policy, blocks, state, exogenous_now)
            redemption_price = jnp.exp(exogenous_now.log_fundamental)
            tally = observe(
                layout, maps, policy, blocks, tally, state, flows, redemption_price, t
            )
            return (following, tally), _record(following, flows, watched)

        start = (
            initial_state(layout, policy, blocks, switch),
            empty_tally(layout, blocks, columns, dtype),
        )
        (end, tally), record = jax.lax.scan(advance, start, series)
        outcomes = conclude(layout, maps, policy, blocks, end, tally)
        return _by_lane(outcomes, lanes, paths), record

    # one after the other: half the columns stay in the cache, and one body is compiled
    both, records = jax.lax.map(run_side, jnp.array([1, 0], dtype))
    return _pair(both), jax.tree.map(lambda series: series[0], records)


def _by_lane(outcomes: dict[str, Array], lanes: int, paths: int) -> dict[str, Array]:
    return {
        name: values.reshape(*values.shape[:-1], lanes, paths)
        for name, values in outcomes.items()
    }


def _pair(sides: dict[str, Array]) -> dict[str, Array]:
    """Outcomes of the feedback side, and those that compare it with the paired run."""
    outcomes = {name: values[0] for name, values in sides.items()}
    fall, exogenous_fall = 1 - sides["trough_price"]
    tiny = exogenous_fall < LEAST_DRAWDOWN
    outcomes["amplification"] = jnp.where(
        tiny, jnp.nan, fall / jnp.where(tiny, 1, exogenous_fall)
    )
    units, exogenous_units = sides["liquidated_units"]
    none = units == 0
    outcomes["reproduction_number"] = jnp.where(
        none, 0, 1 - exogenous_units / jnp.where(none, 1, units)
    )
    outcomes["exogenous_liquidations"] = exogenous_units
    return outcomes


def _lanes_to_columns(leaf: Array, paths: int, dtype: Any) -> Array:
    """`[..., lane] -> [..., lane x path]`."""
    leaf = jnp.asarray(leaf, dtype)
    column = jnp.broadcast_to(leaf[..., None], (*leaf.shape, paths))
    return column.reshape(*leaf.shape[:-1], leaf.shape[-1] * paths)


def _paths_to_columns(series: Array, lanes: int) -> Array:
    """`[..., path] -> [..., lane x path]`."""
    return jnp.tile(series, lanes)


def _record(state: State, flows: Flows, watched: Array) -> dict[str, Array]:
    """One column's prices, orders and accounts, for replay."""
    seen = {
        "price": flows.price,
        "index_price": flows.index_price,
        "mark_price": flows.mark_price,
        "traded_price": flows.traded_price,
        "closing_price": flows.closing_price,
        "units_sold": flows.perp_units_sold + flows.spot_units_sold,
        "displacement": state.markets.displacement,
        "fund": state.fund,
        "equity": [margin.equity for margin in flows.margins],
        "maintenance_margin": [margin.maintenance_margin for margin in flows.margins],
        "is_due": flows.is_due,
        "cash": [accounts.cash for accounts in state.accounts],
        "contracts": [accounts.contracts for accounts in state.accounts],
        "collateral": [accounts.collateral for accounts in state.accounts],
    }
    return jax.tree.map(
        lambda values: jax.lax.dynamic_index_in_dim(values, watched, axis=-1, keepdims=False), seen
    )
