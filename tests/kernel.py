"""The kernel as tests call it: one compiled program per layout, shape and float type."""

from __future__ import annotations

import dataclasses
from typing import Any

import equinox as eqx
import jax
import numpy as np

from deleverage.cascade.books import rules_of
from deleverage.cascade.flows import Flows
from deleverage.cascade.haircuts import Scaling
from deleverage.cascade.index import Published
from deleverage.cascade.load import LoadOutages, no_load
from deleverage.cascade.maps import maps_of
from deleverage.cascade.margin import Assessment, assess
from deleverage.cascade.margin_call import marked_prices
from deleverage.cascade.parts import Part
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
        watched = np.zeros(2, np.int32)
        return _by_policy(_run(layout, cast(policy, dtype), given, dtype, one_by_one, watched)[0])


def shocks(world: World, draws: Draws, dtype: str = "float64") -> dict[str, np.ndarray]:
    """Exogenous series and coordinates of paths by name, the path axis last."""
    with _precision(dtype):
        inputs, coordinates = _exogenous(cast(world, dtype), cast(draws, dtype), dtype)
        return jax.tree.map(np.asarray, {**vars(inputs), **vars(coordinates)})


def watch(
    layout: Layout, policy: Policy, inputs: Any, lane: int, path: int, dtype: str = "float64"
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """As `simulate`, and the record of one column, `[step, ...]`."""
    watched = np.array([lane, path], np.int32)
    with _precision(dtype):
        given = as_inputs(inputs, dtype)
        outcomes, record = _run(layout, cast(policy, dtype), given, dtype, True, watched)
        return _by_policy(outcomes), jax.tree.map(np.asarray, record)


def trajectories(
    layout: Layout, policy: Policy, inputs: Any, feedback: bool = True, dtype: str = "float64"
) -> tuple[State, State, Flows]:
    """States before and after, and flows, of every step: a leading axis of steps.

    Leaves end in the axes of lanes and paths, of size 1 where all lanes have the same. Orders of
    cohorts that sell nothing, which the kernel leaves as they were, are 0 here.
    """
    with _precision(dtype):
        found = _trajectories(layout, cast(policy, dtype), as_inputs(inputs, dtype), feedback)
        before, after, flows = jax.tree.map(np.asarray, found)
    sells = flows.sells[:, None, :, :, None, None]
    orders = jax.tree.map(lambda orders: np.where(sells, orders, 0), flows.orders)
    return before, after, dataclasses.replace(flows, orders=orders)


def trajectory(
    layout: Layout, policy: Policy, inputs: Any, feedback: bool = True, dtype: str = "float64"
) -> tuple[State, State, Flows]:
    """The same of a policy with one entry, without the axis of lanes."""
    found = trajectories(layout, policy, inputs, feedback, dtype)
    paths = as_inputs(inputs, dtype).liquidity_drop.shape[-1]
    # masks of cohorts and scalars have no columns
    return jax.tree.map(
        lambda leaf: leaf[..., 0, :] if leaf.shape[-2:] == (1, paths) else leaf, found
    )


def assessments(
    layout: Layout, policy: Policy, before: State, flows: Flows, scaling: Any, dtype: str
) -> Assessment:
    """Stage 4 of every step of `trajectories`, all cohorts at once, by the rules of the policy.

    Args:
        layout: Static world.
        policy: Rules, leaves `[..., lane]`.
        before: Accounts at the start of each step.
        flows: Index and marks of each step.
        scaling: Multipliers of haircuts, `[step, I, lane, path]`; None: all are as written.
        dtype: Float type of the kernel.
    """
    with _precision(dtype):
        prices = (flows.index_price, flows.mark_price)
        found = _assessments(
            layout, cast(policy, dtype), before.accounts, *cast(prices, dtype), scaling
        )
        return jax.tree.map(np.asarray, found)


def _precision(dtype: str) -> Any:
    """Switches 64-bit types."""
    return jax.enable_x64(dtype == "float64")


def _by_policy(outcomes: dict[str, Any]) -> dict[str, np.ndarray]:
    """`(policy, path, extra...)`."""
    return {name: np.moveaxis(np.asarray(v), (-2, -1), (0, 1)) for name, v in outcomes.items()}


@eqx.filter_jit
def _run(
    layout: Layout, policy: Policy, inputs: Inputs, dtype: str, one_by_one: bool, watched: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    return run_paths(layout, policy, inputs, watched, np.dtype(dtype), one_by_one)[:2]


@eqx.filter_jit
def _exogenous(world: World, draws: Draws, dtype: str) -> Any:
    return exogenous(world, draws, np.dtype(dtype))


@eqx.filter_jit
def _trajectories(layout: Layout, policy: Policy, inputs: Inputs, feedback: bool) -> Any:
    policy = jax.tree.map(lambda leaf: leaf[..., None], policy)
    drive = Drive(feedback=feedback)

    lanes, paths = policy.reporting.due_at_start.shape[-2], inputs.liquidity_drop.shape[-1]
    inputs = jax.tree.map(lambda leaf: leaf[..., None, :], inputs)
    load = None if inputs.load is None else LoadOutages(inputs.load, inputs.load_venues)

    def advance(before: State, given: StepInputs) -> tuple[State, tuple]:
        given = dataclasses.replace(given, load=load if feedback else None)
        after, flows = step(layout, policy, before, given, drive)
        return after, (before, after, flows)

    series = step_inputs(layout, inputs)
    start = initial_state(layout, policy, paths, drive)
    if load is not None and feedback:
        no_outages = no_load(load, len(layout.venues), (lanes, paths))
        start = dataclasses.replace(start, load=no_outages)
    return jax.lax.scan(advance, start, series)[1]


@eqx.filter_jit
def _assessments(
    layout: Layout, policy: Policy, accounts: Any, index: Any, mark: Any, multiplier: Any
) -> Assessment:
    policy = jax.tree.map(lambda leaf: leaf[..., None], policy)
    maps = maps_of(layout)

    def of_step(given: tuple) -> Assessment:
        accounts, index, mark, multiplier = given
        book, mine = Part().take((rules_of(layout, maps.facts, policy), accounts))
        haircuts = None if multiplier is None else Scaling(multiplier, policy.haircuts.cap)
        nobody = Published(index, mark, index, index, index, haircuts=haircuts)
        return assess(book.margin, book.start, mine, marked_prices(book.facts, nobody))

    return jax.lax.map(of_step, (accounts, index, mark, multiplier))
