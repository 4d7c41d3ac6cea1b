"""The oracle: the whole cascade as plain functions on float64 arrays and scalar loops.

Written from MODEL.md alone, one small function a stage, one path and one policy at a time:
`reference_shocks`, `_margin`, `_trading`, `_bankruptcies`, `_vault` and `_outcomes` hold the
stages, this file the step and the blocks of paths. Numba compiles all of it unchanged: `compiled()`
gives the public functions on top of compiled ones.
"""

from __future__ import annotations

import functools
import inspect
import types
from typing import Any

import numpy as np
import reference_bankruptcies
import reference_curves
import reference_issuer
import reference_margin
import reference_outcomes
import reference_shocks
import reference_trading
import reference_vault
from reference_bankruptcies import settle_bankruptcies
from reference_curves import depths_at
from reference_issuer import backing_left, hedge_worth, holders_run, settle_hedges, tell_news
from reference_margin import (
    book_prices,
    equity_of,
    fair_marks,
    fair_prices,
    is_due,
    maintenance_of,
    mark_prices,
    publish_indices,
    raw_indices,
    redemption_seen,
    reference_prices,
    review_haircuts,
    top_up,
)
from reference_outcomes import add_load, observe, shut_gates
from reference_shocks import exogenous_path, failures_path, load_path
from reference_trading import (
    basis_trade,
    collateral_orders,
    collateral_units,
    cross_venue_trade,
    fill_collateral,
    fill_off_book,
    fill_perps,
    is_suspended,
    perp_orders,
    prices_offered,
    realise_variance,
    redemption_trade,
    resilience,
    settle_collateral,
    settle_perps,
    starting_log_prices,
    thin_books,
    trade,
    watch_index,
)
from reference_vault import order_of_vaults, work_off
from reference_world import (
    History,
    Maps,
    Outcomes,
    Rules,
    Series,
    State,
    floats,
    integers,
    maps_of,
    rules_of,
    shocks_of,
)

STAGES = (
    reference_shocks,
    reference_margin,
    reference_curves,
    reference_issuer,
    reference_trading,
    reference_vault,
    reference_bankruptcies,
    reference_outcomes,
)
"""Modules whose every function Numba compiles."""
STEP = (
    "value_accounts",
    "top_up_accounts",
    "liquidate",
    "heal",
    "step",
    "starting_state",
    "empty_history",
    "run_path",
)
"""The functions of this module that it compiles too."""
PUBLIC = ("failures", "exogenous", "simulate", "simulate_pair", "trajectory")


# One step, and one path


def value_accounts(maps: Maps, rules: Rules, state: State, history: History, t: int) -> None:
    """Stage 4 for every cohort, under the policy and at fair prices."""
    index, mark = history.index[t], history.mark[t]
    fair, fair_mark = history.fair[t], fair_marks(maps, history.fair[t])
    own, baseline = rules.margin, rules.baseline_margin
    for b in range(maps.perps.shape[0]):
        for k in range(maps.buckets):
            equity = equity_of(maps, rules, own, state, index, mark, b, k)
            maintenance = maintenance_of(maps, rules, own, state, mark, b, k)
            history.equity[t, b, k] = equity
            history.maintenance[t, b, k] = maintenance
            history.due[t, b, k] = is_due(maps, rules, state, equity, maintenance, b, k)
            history.fair_equity[t, b, k] = equity_of(
                maps, rules, baseline, state, fair, fair_mark, b, k
            )
            history.fair_maintenance[t, b, k] = maintenance_of(
                maps, rules, baseline, state, fair_mark, b, k
            )
            history.fair_equity_own[t, b, k] = equity_of(
                maps, rules, own, state, fair, fair_mark, b, k
            )
            history.fair_maintenance_own[t, b, k] = maintenance_of(
                maps, rules, own, state, fair_mark, b, k
            )


def top_up_accounts(maps: Maps, rules: Rules, state: State, history: History, t: int) -> None:
    """Stage 5 for every cohort that is not due, at venues with open gates."""
    for b in range(maps.perps.shape[0]):
        for k in range(maps.buckets):
            if not history.due[t, b, k] and history.gate_open[t, maps.book_venue[b]] == 1.0:
                history.top_up[t, b, k] = top_up(
                    maps, rules, state, history.equity[t, b, k], history.maintenance[t, b, k], b, k
                )


def liquidate(
    maps: Maps, rules: Rules, state: State, history: History, t: int, feedback: float
) -> None:
    """Stages 6 and 7: perps are ordered, trade and settle, then collateral does."""
    due, equity, maintenance = history.due[t], history.equity[t], history.maintenance[t]
    price, average, sold = history.price[t], history.average_price[t], history.sold[t]
    index, mark, liquidity = history.index[t], history.mark[t], history.liquidity[t]
    books, buckets = maps.perps.shape[0], maps.buckets
    engine, others = history.engine_open[t], history.others_sold[t]
    for b in range(books):
        for k in range(buckets):
            works = engine[maps.book_venue[b]] == 1.0
            if due[b, k] and works and not is_suspended(maps, rules, history.halted[t], b, k):
                history.position_sold[t, :, b, k] = perp_orders(
                    maps, rules, state, index, mark, equity[b, k], maintenance[b, k], b, k
                )
    order_of_vaults(maps, rules, state, history.vault_sold[t])
    fill_perps(maps, rules, state, history, t, feedback)
    for b in range(books):
        for k in range(buckets):
            for j in range(maps.perps.shape[1]):
                if maps.perps[b, j] >= 0:
                    units = history.position_sold[t, j, b, k] * rules.position[j, b, k]
                    sold[maps.perps[b, j]] += units
    vaults = history.vault_sold[t]
    for m in range(price.shape[0]):
        if maps.market_is_perp[m]:
            sold[m] += others[m] + vaults[m]
    trade(maps, rules, state, price, liquidity, sold, feedback, True, average)
    for m in range(price.shape[0]):
        if maps.market_is_perp[m]:
            state.maker_units[m] += others[m] + vaults[m]
            state.maker_cash[m] -= (others[m] + vaults[m]) * average[m]
    work_off(maps, state, vaults, average)

    gate_open, log_fundamental = history.gate_open[t], history.log_fundamental[t]
    nothing_missing = np.ones(price.shape[0])
    for b in range(books):
        offered = prices_offered(
            maps, rules, gate_open, log_fundamental, index, price, nothing_missing, b
        )
        for k in range(buckets):
            closed = history.position_sold[t, :, b, k]
            cash = state.cash[b, k]
            for j in range(maps.perps.shape[1]):
                market = maps.perps[b, j]
                if market >= 0:
                    units = closed[j] * rules.position[j, b, k]
                    cash += units * (average[market] - rules.entry[j, b])
                    cash -= rules.fee[b] * abs(units) * average[market]
            orders = collateral_orders(
                maps,
                rules,
                state,
                index,
                mark,
                offered,
                gate_open,
                history.halted[t],
                due[b, k],
                equity[b, k],
                maintenance[b, k],
                closed,
                cash,
                b,
                k,
            )
            if engine[maps.book_venue[b]] == 1.0:
                history.collateral_sold[t, :, b, k] = orders
    fill_collateral(maps, rules, state, history, t, feedback)
    fill_off_book(maps, rules, state, history, t)
    sold += collateral_units(maps, rules, gate_open, history.collateral_sold[t], history.filled[t])
    for m in range(price.shape[0]):
        if not maps.market_is_perp[m]:
            sold[m] += others[m]
    trade(maps, rules, state, price, liquidity, sold, feedback, False, average)

    for b in range(books):
        history.received[t, :, b] = prices_offered(
            maps, rules, gate_open, log_fundamental, index, average, history.filled[t], b
        )
        for k in range(buckets):
            closed = history.position_sold[t, :, b, k]
            settle_perps(maps, rules, state, average, closed, b, k)
            orders = history.collateral_sold[t, :, b, k]
            received = history.received[t, :, b]
            settle_collateral(maps, rules, state, received, due[b, k], orders, b, k)


def heal(maps: Maps, rules: Rules, state: State, history: History, t: int, feedback: float) -> None:
    """Stage 8, each part on the displacement that the part before it left."""
    liquidity, gate_open = history.liquidity[t], history.gate_open[t]
    depth = depths_at(maps, rules, state.displacement, liquidity)
    resilience(maps, rules, state, liquidity)
    basis_trade(maps, rules, state, history, t, depth, feedback)
    left = history.capacity_left[t]
    cross_venue_trade(maps, rules, state, history, t, depth, gate_open, left)
    redemption_trade(maps, rules, state, history, t, depth, gate_open)
    if feedback > 0.0:
        holders_run(maps, rules, state, history, t)


def step(maps: Maps, rules: Rules, state: State, history: History, t: int, feedback: float) -> None:
    """One pass of the stages; `history` holds stage 1 of all steps and receives all the others."""
    shut_gates(maps, history, t)
    anchor = np.exp(history.log_fundamental[t][maps.pegged])
    tell_news(maps, rules, state, history, t)
    log_fundamental = history.log_fundamental[t]
    seen = redemption_seen(maps, rules, history.log_fundamental, t)
    thin_books(rules, state, history, t)
    history.position_before[t] = state.position_left
    history.collateral_before[t] = state.collateral_left
    history.taken_over[t] = state.taken_over

    price = book_prices(maps, log_fundamental, state.displacement)
    reference = reference_prices(maps, price)
    raw = raw_indices(maps, rules, seen, price, reference)
    factor = history.index_factor[t]
    index = publish_indices(maps, rules, state, seen, reference, raw, factor)
    history.price[t] = price
    history.reference[t] = reference
    history.raw_index[t] = raw
    history.index[t] = index
    history.fair[t] = fair_prices(maps, log_fundamental, reference, raw)
    history.mark[t] = mark_prices(maps, rules, state, price, index)

    watch_index(maps, rules, state, history, t)
    review_haircuts(maps, rules, state, index, t)
    value_accounts(maps, rules, state, history, t)
    top_up_accounts(maps, rules, state, history, t)
    liquidate(maps, rules, state, history, t, feedback)
    history.displacement_impact[t] = state.displacement
    history.price_impact[t] = book_prices(maps, log_fundamental, state.displacement)
    heal(maps, rules, state, history, t, feedback)
    history.displacement_healed[t] = state.displacement
    history.price_after[t] = book_prices(maps, log_fundamental, state.displacement)
    settle_bankruptcies(maps, rules, state, history, t)
    settle_hedges(maps, rules, state, history, t, anchor)
    if feedback == 1.0:
        add_load(maps, rules, history, t)

    if feedback != 0.0:
        realise_variance(maps, rules, state, log_fundamental)
    state.last_price[:] = history.price_after[t]
    history.cash[t] = state.cash
    history.position_left[t] = state.position_left
    history.collateral_left[t] = state.collateral_left
    history.budget[t] = state.budget
    history.taken_over_after[t] = state.taken_over
    history.fund[t] = state.fund
    history.maker_units[t] = state.maker_units
    history.maker_cash[t] = state.maker_cash
    history.vault_units[t] = state.vault_units
    history.vault_cash[t] = state.vault_cash


def starting_state(maps: Maps, rules: Rules, feedback: float) -> State:
    """The state before the first draw; market makers balance every perp."""
    markets = rules.depth.shape[0]
    maker_units, maker_cash = np.zeros(markets), np.zeros(markets)
    for b in range(maps.perps.shape[0]):
        for j in range(maps.perps.shape[1]):
            if maps.perps[b, j] >= 0:
                for k in range(maps.buckets):
                    maker_units[maps.perps[b, j]] -= rules.position[j, b, k]
                    maker_cash[maps.perps[b, j]] += rules.position[j, b, k] * rules.entry[j, b]
    state = State(
        rules.cash.copy(),
        np.ones(rules.position.shape),
        np.ones(rules.collateral.shape),
        rules.budget.copy(),
        np.zeros(rules.cash.shape, np.bool_),
        feedback * rules.displacement,
        np.exp(-feedback * rules.displacement),  # of perps; nothing reads that of spot books
        np.full(rules.clamp.shape[0], np.nan),
        np.zeros(markets),
        maker_units,
        maker_cash,
        rules.fund.copy(),
        np.full(rules.clamp.shape[0], np.nan),
        rules.normal_variance.copy(),
        starting_log_prices(maps, feedback * rules.displacement),
        np.full((maps.breaker_steps, rules.clamp.shape[0]), np.nan),
        np.zeros(rules.clamp.shape[0]),
        rules.haircut_reference.copy(),
        np.ones(rules.clamp.shape[0]),
        np.ones(rules.clamp.shape[0]),
        rules.backing.copy(),
        rules.supply.copy(),
        rules.reserve.copy(),
        rules.free_float.copy(),
        np.zeros(maps.pegged.shape[0]),
        np.zeros(markets),
        np.zeros(rules.fund.shape[0]),
    )
    at_par = np.zeros(maps.is_pegged.shape[0])
    state.hedge[:] = hedge_worth(
        maps, rules, state, book_prices(maps, at_par, state.displacement)
    )
    return state


def empty_history(maps: Maps, rules: Rules, series: Series) -> History:
    """Stage 1 of every step, and room for the rest."""
    steps, venues = series.gate_open.shape
    markets, entries = rules.depth.shape[0], rules.clamp.shape[0]
    perps, books, buckets = rules.position.shape
    slots = rules.collateral.shape[0]
    liquidity = np.empty((steps, markets))
    for t in range(steps):
        for m in range(markets):
            liquidity[t, m] = 1.0 - rules.sensitivity[m] * series.liquidity_drop[t]
    return History(
        series.log_fundamental,
        liquidity,
        series.gate_open.copy(),
        series.engine_open,
        series.capacity_left,
        series.index_factor,
        series.sales,
        np.zeros((steps, markets)),
        series.outage_start,
        series.load,
        series.load_venues,
        np.zeros((steps, series.load.shape[0])),
        np.full(series.load.shape[0], np.inf),
        series.backing_kept,
        np.ones(series.backing_kept.shape),
        np.zeros(series.backing_kept.shape),
        np.zeros(series.backing_kept.shape),
        np.zeros((steps, markets)),
        np.zeros((steps, markets)),
        np.zeros((steps, entries)),
        np.zeros((steps, entries)),
        np.zeros((steps, entries)),
        np.zeros((steps, entries)),
        np.zeros((steps, markets)),
        np.zeros((steps, perps, books, buckets)),
        np.zeros((steps, slots, books, buckets)),
        np.zeros((steps, books, buckets), np.bool_),
        np.zeros((steps, books, buckets)),
        np.zeros((steps, books, buckets)),
        np.zeros((steps, books, buckets), np.bool_),
        np.zeros((steps, books, buckets)),
        np.zeros((steps, books, buckets)),
        np.zeros((steps, books, buckets)),
        np.zeros((steps, books, buckets)),
        np.zeros((steps, books, buckets)),
        np.zeros((steps, perps, books, buckets)),
        np.zeros((steps, slots, books, buckets)),
        np.zeros((steps, markets)),
        np.zeros((steps, markets)),
        np.zeros((steps, markets)),
        np.zeros((steps, markets)),
        np.zeros((steps, markets)),
        np.zeros((steps, markets)),
        np.zeros((steps, entries)),
        np.full(steps, np.inf),
        np.zeros((steps, slots, books)),
        np.full(steps, np.inf),
        np.zeros(steps),
        np.zeros((steps, markets)),
        np.zeros((steps, markets)),
        np.zeros((steps, books, buckets)),
        np.zeros((steps, books, buckets)),
        np.zeros((steps, books, buckets)),
        np.zeros((steps, books, buckets)),
        np.zeros((steps, venues)),
        np.zeros((steps, venues)),
        np.zeros((steps, venues)),
        np.zeros((steps, venues)),
        np.zeros((steps, venues)),
        np.zeros((steps, venues)),
        np.zeros((steps, venues)),
        np.full(steps, np.inf),
        np.zeros((steps, venues)),
        np.zeros((steps, venues)),
        np.zeros((steps, books, buckets)),
        np.zeros((steps, books, buckets)),
        np.zeros((steps, perps, books, buckets)),
        np.zeros((steps, slots, books, buckets)),
        np.zeros((steps, books, buckets)),
        np.zeros((steps, books, buckets), np.bool_),
        np.zeros((steps, venues)),
        np.zeros((steps, markets)),
        np.zeros((steps, markets)),
        np.zeros((steps, markets)),
        np.zeros((steps, venues)),
    )


def run_path(maps: Maps, rules: Rules, series: Series, feedback: float) -> History:
    """All steps of one path under one policy."""
    state = starting_state(maps, rules, feedback)
    history = empty_history(maps, rules, series)
    for t in range(series.gate_open.shape[0]):
        step(maps, rules, state, history, t, feedback)
    return history


# Blocks of paths and policies


def exogenous(world: Any, draws: Any) -> dict[str, np.ndarray]:
    """Stage 1 of a block of paths from raw draws, and the paths' coordinates. Path last."""
    layout, shocks = world.layout, shocks_of(world)
    diffusion = floats(draws.diffusion)
    grid, paths = diffusion.shape[0], diffusion.shape[-1]
    never = draws.jump_uniform is None
    jump_uniform = np.ones((grid, paths)) if never else floats(draws.jump_uniform)
    jump_normal = np.zeros((grid, paths)) if never else floats(draws.jump_normal)
    macro = floats(draws.macro)
    liquidity = np.zeros(paths) if draws.liquidity is None else floats(draws.liquidity)
    outages = np.zeros((0, 2, paths)) if draws.outage is None else floats(draws.outage)
    names = (
        "log_fundamental",
        "liquidity_drop",
        "gate_open",
        "severity",
        "shock_time",
        "outage_start",
        "outage_length",  # to the minute; what is stored is the steps that were shut
    )
    columns = [
        exogenous_path(
            shocks,
            int(layout.steps),
            float(layout.step),
            float(layout.draw_step),
            len(layout.venues),
            floats(diffusion[..., p]),
            floats(macro[:, p]),
            floats(jump_uniform[:, p]),
            floats(jump_normal[:, p]),
            float(liquidity[p]),
            floats(outages[..., p]),
        )
        for p in range(paths)
    ]
    series = {
        name: np.stack([np.asarray(column[i]) for column in columns], axis=-1)
        for i, name in enumerate(names)
    }
    series |= failures(world, draws, paths)
    if not world.backing:
        return series
    kept = [
        backing_left(
            shocks.backing_asset,
            shocks.backing_with_macro,
            shocks.backing_share,
            shocks.backing_start,
            shocks.backing_duration,
            len(layout.pegged),
            int(layout.steps),
            float(layout.step),
            float(time),
        )
        for time in series["shock_time"]
    ]
    return series | {"backing_kept": np.stack(kept, axis=-1)}


def failures(world: Any, draws: Any, paths: int) -> dict[str, np.ndarray]:
    """Engines, capacities, index factors and exogenous sales, of the kinds that the world has."""
    layout, shocks = world.layout, shocks_of(world)
    kinds = {
        "engine_open": world.halts,
        "capacity_left": world.congestions,
        "index_factor": world.glitches,
        "sales": world.sales,
    }
    columns = [
        failures_path(
            shocks,
            int(layout.steps),
            float(layout.step),
            len(layout.venues),
            len(layout.markets),
            floats(np.zeros((0, 2)) if draws.halt is None else draws.halt[..., p]),
            floats(np.zeros((0, 2)) if draws.congestion is None else draws.congestion[..., p]),
            floats(np.zeros(0) if draws.glitch is None else draws.glitch[..., p]),
        )
        for p in range(paths)
    ]
    series = {
        name: np.stack([column[i] for column in columns], axis=-1)
        for i, (name, happen) in enumerate(kinds.items())
        if happen
    }
    if world.load_outages:
        load = [load_path(shocks, floats(draws.load[..., p])) for p in range(paths)]
        series["load"] = np.stack(load, axis=-1)
        series["load_venues"] = integers([outage.venue for outage in world.load_outages])
    return series


def exogenous_of_path(world: Any, inputs: Any, path: int) -> Series:
    """Stage 1 of one path, from a mapping or a `state.Inputs`; failures it lacks never happen."""
    given = inputs if isinstance(inputs, dict) else vars(inputs)
    layout = world.layout
    steps, venues = layout.steps, len(layout.venues)
    whole = {
        "engine_open": np.ones((steps, venues, 1)),
        "capacity_left": np.ones((steps, 1)),
        "index_factor": np.ones((steps, len(layout.indices), 1)),
        "sales": np.zeros((steps, len(layout.markets), 1)),
        "backing_kept": np.ones((steps, len(layout.pegged), 1)),
        "outage_start": np.full((venues, 1), np.nan),
        "load": np.zeros((0, 5, 1)),
    }
    load_venues = given.get("load_venues")
    series = {}
    for name in Series._fields[:-1]:
        lacks = given.get(name) is None
        values = whole[name] if lacks else np.asarray(given[name])
        series[name] = floats(values[..., 0 if lacks else path])
    return Series(**series, load_venues=integers(() if load_venues is None else load_venues))


def paths_of(inputs: Any) -> int:
    """Number of paths of a block."""
    drop = inputs["liquidity_drop"] if isinstance(inputs, dict) else inputs.liquidity_drop
    return np.shape(drop)[-1]


def simulate(world: Any, policy: Any, inputs: Any, feedback: float = 1.0) -> dict[str, np.ndarray]:
    """All outcomes of a block, `[policy, path, extra...]`; `feedback` 0 is the paired run."""
    maps = maps_of(world.layout)
    policies, paths = np.shape(policy.books.cash)[-1], paths_of(inputs)
    columns: list[list[Outcomes]] = []
    for p in range(policies):
        rules = rules_of(policy, p)
        columns.append([])
        for path in range(paths):
            series = exogenous_of_path(world, inputs, path)
            history = run_path(maps, rules, series, float(feedback))
            columns[-1].append(observe(maps, rules, history))
    return {
        name: np.array([[getattr(outcome, name) for outcome in row] for row in columns], np.float64)
        for name in Outcomes._fields
    }


def simulate_pair(world: Any, policy: Any, inputs: Any) -> dict[str, np.ndarray]:
    """The run, what compares it with its no-feedback twin, and the twin's gaps (`paired_...`)."""
    outcomes = simulate(world, policy, inputs)
    paired = simulate(world, policy, inputs, feedback=0.0)
    drawdown, paired_drawdown = 1.0 - outcomes["trough_price"], 1.0 - paired["trough_price"]
    amplification = np.full(drawdown.shape, np.nan)
    reproduction = np.zeros(outcomes["liquidated_units"].shape)
    for place, fall in np.ndenumerate(paired_drawdown):
        if fall >= 1e-4:
            amplification[place] = drawdown[place] / fall
    for place, total in np.ndenumerate(outcomes["liquidated_units"]):
        if total != 0.0:
            reproduction[place] = 1.0 - paired["liquidated_units"][place] / total
    return {
        **outcomes,
        "amplification": amplification,
        "reproduction_number": reproduction,
        "exogenous_liquidations": paired["liquidated_units"],
        "paired_least_margin_gap": paired["least_margin_gap"],
        "paired_least_branch_gap": paired["least_branch_gap"],
    }


def trajectory(
    world: Any, policy: Any, inputs: Any, policy_index: int, path: int, feedback: float = 1.0
) -> dict[str, np.ndarray]:
    """Every value of every stage and step of one path: the fields of `History`, time first."""
    maps, rules = maps_of(world.layout), rules_of(policy, policy_index)
    series = exogenous_of_path(world, inputs, path)
    return run_path(maps, rules, series, float(feedback))._asdict()


def kernel_names() -> tuple[str, ...]:
    """Every function that Numba compiles."""
    names = []
    for module in STAGES:
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if function.__module__ == module.__name__:
                names.append(name)
    return (*names, *STEP)


@functools.cache
def compiled() -> types.SimpleNamespace:
    """The public functions on top of Numba, every stage compiled as it stands (minutes)."""
    import numba

    namespace: dict[str, Any] = {}
    for module in STAGES:
        namespace |= vars(module)
    namespace |= globals()
    # only these are called from Python
    entries = (
        "exogenous_path",
        "backing_left",
        "failures_path",
        "load_path",
        "run_path",
        "observe",
    )
    kernel = kernel_names()
    for name in kernel + PUBLIC:
        original = namespace[name]
        function = types.FunctionType(
            original.__code__, namespace, name, original.__defaults__, original.__closure__
        )
        if name in kernel:
            inner = name not in entries
            function = numba.njit(no_cpython_wrapper=inner, no_cfunc_wrapper=True)(function)
        namespace[name] = function
    return types.SimpleNamespace(**{name: namespace[name] for name in PUBLIC})
