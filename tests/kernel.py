"""The kernel as tests call it: one compiled program per layout, shape and float type."""

from __future__ import annotations

import dataclasses
from typing import Any

import equinox as eqx
import jax
import numpy as np

from deleverage.cascade.flows import Flows
from deleverage.cascade.load import LoadOutages, no_load
from deleverage.cascade.start import initial_state
from deleverage.cascade.step import StepInputs, step, step_inputs
from deleverage.cascade.worklist import Drive
from deleverage.engine.device import enable_compile_cache
from deleverage.engine.program import run_paths
from deleverage.policy import Policy
from deleverage.shocks.exogenous import exogenous
from deleverage.state import Draws, Inputs, State
from deleverage.world import Layout, World

enable_compile_cache()  # test files that share a program compile it once

ROUNDINGS = 64
"""Roundings that one step adds to a balance: ten stages of about six operations each."""

SERIES = tuple(f.name for f in dataclasses.fields(Inputs) if f.name != "load_venues")


def rounding(layout: Layout, dtype: str = "float64") -> float:
    """Relative error that the roundings of all steps add up to at most."""
    return layout.steps * ROUNDINGS * float(np.finfo(dtype).eps)


def gross_exposure(policy: Policy) -> np.ndarray:
    """What balances of a policy are made of, USD millions: the scale of their rounding."""
    books = policy.books
    parts = (books.position, books.collateral, books.cash, books.budget, policy.backstop.fund)
    return sum(np.abs(part).reshape(-1, part.shape[-1]).sum(axis=0) for part in parts)


def single(policy: Policy, place: int = 0) -> Policy:
    """One entry of the policy axis, which stays."""
    return jax.tree.map(lambda leaf: leaf[..., place : place + 1], policy)


def cast(tree: Any, dtype: str) -> Any:
    """Every leaf as an array of the float type."""
    return jax.tree.map(lambda leaf: np.asarray(leaf, dtype), tree)


def as_inputs(inputs: Any, dtype: str) -> Inputs:
    """`state.Inputs` from one, or from the oracle's mapping."""
    if not isinstance(inputs, dict):
        inputs = vars(inputs)
    given = {name: inputs.get(name) for name in SERIES}
    return Inputs(
        **{name: np.asarray(v, dtype) for name, v in given.items() if v is not None},
        load_venues=tuple(int(venue) for venue in inputs.get("load_venues", ())),
    )


def simulate(
    layout: Layout, policy: Policy, inputs: Any, dtype: str = "float64", one_by_one: bool = True
) -> dict[str, np.ndarray]:
    """Outcomes by name, `(policy, path, extra...)`, of policies on given exogenous series."""
    with _precision(dtype):
        given = as_inputs(inputs, dtype)
        outcomes = _run(layout, cast(policy, dtype), given, dtype, one_by_one)
        return {name: np.moveaxis(np.asarray(v), (-2, -1), (0, 1)) for name, v in outcomes.items()}


def shocks(world: World, draws: Draws, dtype: str = "float64") -> dict[str, np.ndarray]:
    """Exogenous series and coordinates of paths by name, the path axis last."""
    with _precision(dtype):
        inputs, coordinates = _exogenous(cast(world, dtype), cast(draws, dtype), dtype)
        return jax.tree.map(np.asarray, {**vars(inputs), **vars(coordinates)})


def trajectory(
    layout: Layout, policy: Policy, inputs: Any, feedback: bool = True, dtype: str = "float64"
) -> tuple[State, State, Flows]:
    """States before and after, and flows, of every step: a leading axis of steps.

    Leaves end in the path axis; `policy` has one entry. Orders of cohorts that sell nothing,
    which the kernel leaves as they were, are 0 here.
    """
    with _precision(dtype):
        found = _trajectory(layout, cast(policy, dtype), as_inputs(inputs, dtype), feedback)
        before, after, flows = jax.tree.map(np.asarray, found)
    sells = flows.sells[..., None]

    def placed(orders: np.ndarray) -> np.ndarray:
        return np.where(sells[:, None], orders, 0)

    orders = jax.tree.map(placed, flows.orders)
    return before, after, dataclasses.replace(flows, orders=orders)


def _precision(dtype: str) -> Any:
    """Switches 64-bit types."""
    return jax.enable_x64(dtype == "float64")


@eqx.filter_jit
def _run(
    layout: Layout, policy: Policy, inputs: Inputs, dtype: str, one_by_one: bool
) -> dict[str, Any]:
    watched = np.zeros(2, np.int32)
    return run_paths(layout, policy, inputs, watched, np.dtype(dtype), one_by_one)[0]


@eqx.filter_jit
def _exogenous(world: World, draws: Draws, dtype: str) -> Any:
    return exogenous(world, draws, np.dtype(dtype))


@eqx.filter_jit
def _trajectory(layout: Layout, policy: Policy, inputs: Inputs, feedback: bool) -> Any:
    policy = jax.tree.map(lambda leaf: leaf[..., None], policy)
    drive = Drive(feedback=feedback)

    paths = inputs.liquidity_drop.shape[-1]
    inputs = jax.tree.map(lambda leaf: leaf[..., None, :], inputs)
    load = None if inputs.load is None else LoadOutages(inputs.load, inputs.load_venues)

    def advance(before: State, given: StepInputs) -> tuple[State, tuple]:
        given = dataclasses.replace(given, load=load if feedback else None)
        after, flows = step(layout, policy, before, given, drive)
        return after, (before, after, flows)

    series = step_inputs(layout, inputs)
    start = initial_state(layout, policy, paths, drive)
    if load is not None and feedback:
        no_outages = no_load(load, len(layout.venues), (1, paths))
        start = dataclasses.replace(start, load=no_outages)
    found = jax.lax.scan(advance, start, series)[1]
    # the one lane of every column; masks of cohorts and scalars have no columns
    return jax.tree.map(
        lambda leaf: leaf[..., 0, :] if leaf.shape[-2:] == (1, paths) else leaf, found
    )
