"""The compiled program: one tile of paths under one batch of policies, start to end.

A column is a lane (one policy) and a path, in this order the last two axes: each path's draws and
exogenous prices are computed once and read by every lane, each policy's numbers by every path. The
tile runs twice, with feedback and then, where an outcome compares the two, without it, paired on
the same draws.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from deleverage.cascade.flows import Flows
from deleverage.cascade.load import LoadOutages, outages_seen
from deleverage.cascade.maps import Maps, maps_of
from deleverage.cascade.outcome import conclude
from deleverage.cascade.parts import by_slots
from deleverage.cascade.step import StepInputs, step_inputs
from deleverage.engine.lanes import lanes_at_once, run_lanes
from deleverage.engine.loops import Coupled, Fixed, Paired, fuse
from deleverage.engine.timeline import Timeline, histograms_of, scan_stretches, seen
from deleverage.policy import Policy
from deleverage.shocks.draws import draw
from deleverage.shocks.exogenous import exogenous
from deleverage.shocks.lineage import Lineage, inherited
from deleverage.state import Draws, Inputs, PathCoordinates, State
from deleverage.world import Layout, World

LEAST_DRAWDOWN = 1e-4
"""Exogenous drawdowns below this leave the amplification undefined."""

LAST_PATH = np.uint32(2**32 - 1)
"""No path has this id."""

PAIRED = ("amplification", "reproduction_number", "exogenous_liquidations")
"""Outcomes that the run without feedback is for, a quarter of the work."""


@eqx.filter_jit
def simulate_tile(
    world: World,
    policy: Policy,
    seed: Array,
    first_path: Array,
    watched: Array,
    paths: int,
    dtype: Any,
    own: World | None = None,
    timeline: Timeline | None = None,
    stop: Array | np.uint32 = LAST_PATH,
    one_by_one: bool | None = None,
    driver: str = "scan",
    lineage: Lineage | None = None,
    used: Array | int | None = None,
    paired: bool = True,
) -> tuple[dict[str, Array], PathCoordinates, dict[str, Array], dict[str, Array]]:
    """Simulate `paths` consecutive path ids under all lanes of `policy`.

    Args:
        world: Layout (static) and shocks of the run, which the path coordinates are of (A35).
        policy: Leaves `[..., lane]`.
        seed: uint32.
        first_path: Global id of the first path, uint32.
        watched: Lane and path of the tile whose steps are recorded, with feedback.
        paths: Paths of the tile (static).
        dtype: Kernel float type (static).
        own: Worlds of the lanes, leaves `[..., lane]`, where they override the run's; the draws
            are the run's all the same.
        timeline: Histograms to make (static).
        stop: Id of the first path that they leave out, uint32.
        one_by_one: Whether cohorts are visited in a loop (static); None: on a CPU.
        driver: "scan", "fused" (no record, no histograms), or "interpreted": the fused kernel as
            operations of XLA on any backend (static).
        lineage: Of the paths, where they inherit draws; their ids are then those it names.
        used: How many lanes are wanted; those behind them may be left out (zeros). None: all.
        paired: Whether the outcomes `PAIRED` are wanted (static); the others do not depend on it.

    Returns:
        Outcomes by name `[..., lane, path]`; path coordinates; the watched column's record by
        name, `[step, ...]`, what accounts hold also at the end; histograms by quantity, paths in
        each bin, `[time, row, lane, bin]`.
    """
    inputs, coordinates = series_of_tile(world, seed, first_path, paths, dtype, own, lineage)
    if one_by_one is None:
        one_by_one = visits_cohorts()
    counted = first_path + jnp.arange(paths, dtype=jnp.uint32) < stop
    run = partial(
        run_paths,
        world.layout,
        dtype=dtype,
        one_by_one=one_by_one,
        timeline=timeline,
        counted=counted,
        driver=driver,
        paired=paired,
    )
    lanes = policy.reporting.due_at_start.shape[-1]
    at_once = lanes_at_once(lanes, paths, one_by_one and driver == "scan")
    if at_once < lanes:
        wanted = jnp.asarray(lanes if used is None else used)
        found = run_lanes(run, policy, inputs, watched, at_once, wanted)
    else:
        found = run(policy, inputs, watched)
    outcomes, record, histograms = found
    return outcomes, coordinates, record, histograms


def series_of_tile(
    world: World,
    seed: Array,
    first_path: Array,
    paths: int,
    dtype: Any,
    own: World | None = None,
    lineage: Lineage | None = None,
) -> tuple[Inputs, PathCoordinates]:
    """Exogenous series of a tile's paths, once for all lanes; arguments as of `simulate_tile`.

    Returns:
        Series `[step, ..., path]`, or `[step, ..., lane, path]` where lanes have worlds of their
        own; path coordinates of the run's.
    """
    def drawn(world: World) -> Draws:
        if lineage is not None:
            return inherited(world, seed, lineage, dtype)
        return draw(world, seed, first_path, paths, dtype)

    inputs, coordinates = exogenous(world, drawn(world), dtype)
    if own is not None:
        # streams of the run's, and further ones
        common = drawn(replace(own, sampling=world.sampling))
        by_lane = jax.vmap(lambda one: exogenous(one, common, dtype)[0], in_axes=-1, out_axes=-2)
        inputs = by_lane(own)
    return inputs, coordinates


def visits_cohorts() -> bool:
    """Whether this backend visits cohorts one by one: elsewhere each pass would be a round trip."""
    return jax.default_backend() == "cpu"


def run_paths(
    layout: Layout,
    policy: Policy,
    inputs: Inputs,
    watched: Array,
    dtype: Any,
    one_by_one: bool = True,
    timeline: Timeline | None = None,
    counted: Array | bool = True,
    driver: str = "scan",
    paired: bool = True,
) -> tuple[dict[str, Array], dict[str, Array], dict[str, Array]]:
    """Every lane over given exogenous series, `paired` also without feedback; see `simulate_tile`.

    Series end in the path axis, or in lane and path where lanes differ in them.
    """
    one_by_one = one_by_one and driver == "scan"
    order = by_slots(layout)
    layout, policy = _with_books(order, layout, policy)
    policy = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype)[..., None], policy)
    maps, back = maps_of(layout), np.argsort(order).astype(np.int32)
    paths = inputs.liquidity_drop.shape[-1]
    columns = (policy.reporting.due_at_start.shape[-2], paths)
    if inputs.liquidity_drop.ndim == 2:  # [step, path]
        inputs = jax.tree.map(lambda series: series[..., None, :], inputs)
    series = step_inputs(layout, inputs)
    load = None if inputs.load is None else LoadOutages(inputs.load, inputs.load_venues)

    coupled, fixed = Coupled(layout, one_by_one), Fixed(policy, load)
    started = coupled.begin(fixed, columns)

    def advance(carry: tuple, given: StepInputs) -> tuple[tuple, Any]:
        given = replace(given, watched=watched)
        (following, tally), flows = coupled.advance(fixed, carry, given)
        record = _record(following, flows, given, back)
        return (following, tally), record if timeline is None else (record, seen(flows))

    if driver != "scan":
        end, tally = fuse(coupled, fixed, series, interpret=driver == "interpreted")
        record, histograms = {}, {}
    elif timeline is None:
        (end, tally), record = jax.lax.scan(advance, started, series)
        histograms = {}
    else:
        moment = partial(histograms_of, timeline, layout, maps, policy, counted)
        (end, tally), (record, histograms) = scan_stretches(
            advance, started, series, timeline.every, lambda carry, seen: moment(carry[0], seen)
        )
    outcomes = conclude(layout, maps, policy, end, tally)
    outcomes |= outages_seen(layout, inputs, load, end.load)
    if record:
        record = _with_end(record, end, watched, back)

    if paired:
        alone = Paired(layout, one_by_one)
        if driver != "scan":
            _, units, lowest = fuse(alone, fixed, series, interpret=driver == "interpreted")
        else:
            begun = alone.begin(fixed, columns)
            (_, units, lowest), _ = jax.lax.scan(partial(alone.advance, fixed), begun, series)
        trough = jnp.min(series.fundamental, axis=0) if lowest is None else lowest
        outcomes |= _paired(maps, outcomes, units, trough)
    outcomes = {name: _whole(values, columns) for name, values in outcomes.items()}
    return outcomes, record, histograms


def _with_books(order: list[int], layout: Layout, policy: Policy) -> tuple[Layout, Policy]:
    """The same world with its books in another order, on which no outcome depends."""

    def turned(rules: Any) -> Any:
        return jax.tree.map(lambda leaf: leaf[..., order, :, :], rules)

    policy = replace(
        policy,
        books=turned(policy.books),
        margin=turned(policy.margin),
        baseline_margin=turned(policy.baseline_margin),
        top_up=turned(policy.top_up),
        liquidation=turned(policy.liquidation),
    )
    return replace(layout, books=tuple(layout.books[place] for place in order)), policy


def _paired(
    maps: Maps, outcomes: dict[str, Array], exogenous_units: Array, lowest: Array
) -> dict[str, Array]:
    """Outcomes that compare the run with its pair, in which prices are the fundamentals.

    Args:
        maps: Relations of the layout.
        outcomes: Of the run.
        exogenous_units: Liquidated in the pair.
        lowest: Lowest fundamental, `[asset, column]`.
    """
    trough = lowest[maps.market_asset]
    fall, exogenous_fall = 1 - outcomes["trough_price"], 1 - trough
    tiny = exogenous_fall < LEAST_DRAWDOWN
    units = outcomes["liquidated_units"]
    # A product with the inverse, which XLA makes of a division where lanes share their series: so
    # an entry has the same bytes whether the others of its program do or not.
    inverse = 1 / jnp.where(tiny, 1, exogenous_fall)
    return {
        "amplification": jnp.where(tiny, jnp.nan, fall * inverse),
        "reproduction_number": jnp.where(
            units == 0, 0, 1 - exogenous_units / jnp.where(units == 0, 1, units)
        ),
        "exogenous_liquidations": exogenous_units,
    }


def _whole(values: Array, columns: tuple[int, int]) -> Array:
    """`[..., lane, path]` also where a lane or a path makes no difference."""
    return jnp.broadcast_to(values, (*values.shape[: values.ndim - 2], *columns))


def _record(after: State, flows: Flows, given: StepInputs, back: np.ndarray) -> dict[str, Array]:
    """One column's step, for replay: accounts at its start, books `back` in the layout's order."""
    lane, path = given.watched
    seen = flows.watched
    prices = {
        "price": flows.price,
        "index_price": flows.index_price,
        "mark_price": flows.mark_price,
        "traded_price": flows.traded_price,
        "closing_price": flows.closing_price,
        "units_sold": flows.perp_units_sold + flows.spot_units_sold,
        "displacement": after.markets.displacement,
        "fund": after.fund,
    }
    accounts = {
        "equity": seen.equity,
        "maintenance_margin": seen.maintenance_margin,
        "is_due": flows.is_due[..., lane, path],
        "cash": seen.accounts.cash,
        "contracts": seen.accounts.contracts,
        "collateral": seen.accounts.collateral,
    }
    common = {"fundamental": given.fundamental, "gate_open": flows.gate_open}

    def own(rows: Array) -> Array:
        # series that all lanes share have one row for them
        return rows[..., jnp.minimum(lane, rows.shape[-2] - 1), path]

    return (
        {name: rows[..., lane, path] for name, rows in prices.items()}
        | {name: own(rows) for name, rows in common.items()}
        | {name: values[..., back, :] for name, values in accounts.items()}
    )


def _with_end(
    record: dict[str, Array], end: State, watched: Array, back: np.ndarray
) -> dict[str, Array]:
    """What accounts hold after the last step, behind what they held at the start of each."""
    lane, path = watched
    last = {
        name: getattr(end.accounts, name)[None, ..., lane, path][..., back, :]
        for name in ("cash", "contracts", "collateral")
    }
    return record | {name: jnp.concatenate([record[name], value]) for name, value in last.items()}
