"""The reference of the tests compiled with Numba, one path and policy at a time.

Every function of a stage is the oracle's, unchanged. What differs is what is kept: the oracle
writes the history of all steps and observes it afterwards, which for 256 cohorts is 20 MB a column;
here a step has a history of its own length, and the oracle's own functions for a step's sales are
called on it for the cohorts that are due. `simulate` gives the outcomes of `reference.observe`.
"""

from __future__ import annotations

import math
import types
from typing import Any, NamedTuple

import numpy as np
import reference
from reference_bankruptcies import bankruptcy_equity
from reference_margin import sale_prices
from reference_outcomes import (
    DUST,
    collateral_sales,
    forced_longs,
    forced_sales,
    holdings,
    is_missed,
    is_wrongful,
    margin_of_dust,
    starting_units,
)
from reference_world import Maps, Outcomes, Rules, Series, Shocks, floats

empty_history, starting_state, step = (
    reference.empty_history,
    reference.starting_state,
    reference.step,
)


class Sums(NamedTuple):
    """Running outcomes of one column; scalars are arrays of one number."""

    forced: np.ndarray  # [T]
    by_market: np.ndarray
    collateral_sold: np.ndarray
    losses: np.ndarray  # [8] debt, fund, ADL, socialised, unabsorbed, notional, overshoots
    equity_lost: np.ndarray
    trough: np.ndarray
    wick: np.ndarray
    trough_time: np.ndarray
    trough_index: np.ndarray
    depeg: np.ndarray
    wrongful: np.ndarray
    few: np.ndarray  # units, longs, reported, accounts, missed, compensation, gap, exhausted
    liquidated: np.ndarray  # [B, K] bool
    missed: np.ndarray  # [B, K] bool


def no_sums(maps: Maps, rules: Rules) -> Sums:
    """Nothing observed yet."""
    markets, entries, venues = rules.depth.shape[0], rules.clamp.shape[0], rules.fund.shape[0]
    few = np.zeros(8)
    few[6] = np.inf
    return Sums(
        np.zeros(maps.steps),
        np.zeros(markets),
        np.zeros(maps.is_pegged.shape[0]),
        np.zeros(8),
        np.zeros(venues),
        np.full(markets, np.inf),
        np.full(markets, np.inf),
        np.zeros(markets),
        np.full(entries, np.inf),
        np.zeros((maps.peg_markets.shape[0], maps.thresholds.shape[0])),
        np.zeros(2),
        few,
        np.zeros(rules.cash.shape, np.bool_),
        np.zeros(rules.cash.shape, np.bool_),
    )


def observe_cohorts(maps: Maps, rules: Rules, history: Any, sums: Sums, t: int) -> float:
    """Add what one step's cohorts did; returns what due cohorts sold."""
    price, of_step = history.price[0], np.zeros(rules.depth.shape[0])
    at_start, selling, few = np.ones(price.shape[0]), 0.0, sums.few
    for b in range(maps.perps.shape[0]):
        for k in range(maps.buckets):
            maintenance = history.maintenance[0, b, k]
            if maintenance > 0.0 and not history.taken_over[0, b, k]:
                gap = abs(history.equity[0, b, k] - maintenance) / maintenance
                if gap < few[6] and maintenance > margin_of_dust(maps, rules, b, k):
                    few[6] = gap
            if is_missed(history, 0, b, k) and not sums.missed[b, k]:
                sums.missed[b, k] = True
                few[4] += holdings(maps, rules, history, 0, b, k, price)
            due = history.due[0, b, k]
            if not (due or maps.is_hedged[b]):
                continue
            proceeds, lacking = collateral_sales(maps, rules, history, 0, b, k)
            sums.collateral_sold[:] += proceeds
            if not due:
                continue
            of_cohort = forced_sales(maps, rules, history, 0, b, k, price)
            notional = of_cohort.sum()
            of_step += of_cohort
            units = forced_sales(maps, rules, history, 0, b, k, at_start).sum()
            few[0] += units
            few[1] += forced_longs(maps, rules, history, 0, b, k, price)
            selling += notional + proceeds.sum()
            if units > DUST * starting_units(rules, b, k) and not sums.liquidated[b, k]:
                sums.liquidated[b, k] = True
                few[3] += rules.accounts[b, k]
            if is_wrongful(maps, history, 0, b, k):
                own = history.fair_equity_own[0, b, k] >= history.fair_maintenance_own[0, b, k]
                sums.wrongful[0 if own else 1] += notional
                few[5] += lacking
    sums.by_market[:] += of_step
    sums.forced[t] = of_step.sum()
    for m in range(of_step.shape[0]):
        few[2] += min(of_step[m], rules.feed_cap[m] * maps.step)
    return selling


def observe_markets(maps: Maps, history: Any, sums: Sums, t: int) -> None:
    """Add one step's prices, indices and losses."""
    for m in range(sums.trough.shape[0]):
        sums.wick[m] = min(sums.wick[m], history.price_impact[0, m])
        if history.price_after[0, m] < sums.trough[m]:
            sums.trough[m] = history.price_after[0, m]
            sums.trough_time[m] = (t + 1) * maps.step
        if history.displacement_impact[0, m] > 20.0:
            sums.few[7] = 1.0
    for i in range(sums.trough_index.shape[0]):
        sums.trough_index[i] = min(sums.trough_index[i], history.index[0, i])
    for peg in range(maps.peg_markets.shape[0]):
        market = maps.peg_markets[peg]
        redemption = math.exp(history.log_fundamental[0, maps.market_asset[market]])
        for i in range(maps.thresholds.shape[0]):
            if history.price_after[0, market] / redemption < maps.thresholds[i]:
                sums.depeg[peg, i] += maps.step
    sums.losses[0] += history.deficit.sum()
    sums.losses[1] += history.insurance_drawn.sum()
    sums.losses[2] += history.adl_loss.sum()
    sums.losses[3] += history.socialised_loss.sum()
    sums.losses[4] += history.unabsorbed_loss.sum()
    sums.losses[5] += history.adl_notional.sum()
    sums.losses[6] += history.adl_overshoot_contracts.sum()
    sums.losses[7] += history.adl_overshoot_wealth.sum()
    for b in range(maps.perps.shape[0]):
        sums.equity_lost[maps.book_venue[b]] += history.top_up[0, b].sum()


def observe_end(maps: Maps, rules: Rules, state: Any, sums: Sums) -> tuple[float, float, bool]:
    """Open interest's change, missed loss, and whether balances are finite; equity lost."""
    sale, missed_loss, start, end, finite = sale_prices(maps, state.last_price), 0.0, 0.0, 0.0, True
    for b in range(maps.perps.shape[0]):
        venue = maps.book_venue[b]
        for k in range(maps.buckets):
            own = rules.cash[b, k]
            for j in range(maps.collateral.shape[1]):
                if maps.collateral[b, j] >= 0:
                    own += rules.collateral[j, b, k]
            for j in range(maps.perps.shape[1]):
                if maps.perps[b, j] >= 0:
                    own += rules.position[j, b, k] * (1.0 - rules.entry[j, b])
                    size = abs(rules.position[j, b, k])
                    left = state.position_left[j, b, k] * state.last_price[maps.perps[b, j]]
                    start, end = start + size, end + size * left
            equity = bankruptcy_equity(maps, rules, state, sale, state.last_price, b, k)
            finite = finite and math.isfinite(equity)
            sums.equity_lost[venue] += max(own, 0.0)
            if not state.taken_over[b, k]:
                sums.equity_lost[venue] -= max(equity, 0.0)
                if sums.missed[b, k]:
                    missed_loss += max(0.0, -equity)
    finite = finite and np.isfinite(state.fund).all() and np.isfinite(sums.trough).all()
    return end / start - 1.0 if start > 0.0 else np.nan, missed_loss, finite


def series_at(series: Series, t: int) -> Series:
    """One step; copies, as a step may write into what it is given."""
    return Series(
        series.log_fundamental[t : t + 1].copy(),
        series.liquidity_drop[t : t + 1],
        series.gate_open[t : t + 1].copy(),
        series.engine_open[t : t + 1],
        series.capacity_left[t : t + 1],
        series.index_factor[t : t + 1],
        series.sales[t : t + 1],
        series.backing_kept[t : t + 1],
        series.outage_start,
        series.load,
        series.load_venues,
    )


def without_failures(
    maps: Maps, log_fundamental: np.ndarray, drop: np.ndarray, gate_open: np.ndarray
) -> Series:
    """Stage 1 of one path of the default kinds: nothing fails but gates."""
    steps, venues = gate_open.shape
    return Series(
        log_fundamental,
        drop,
        gate_open,
        np.ones((steps, venues)),
        np.ones(steps),
        np.ones((steps, maps.entry_asset.shape[0])),
        np.zeros((steps, maps.market_asset.shape[0])),
        np.ones((steps, maps.pegged.shape[0])),
        np.full(venues, np.nan),
        np.zeros((0, 5)),
        np.zeros(0, np.int64),
    )


def outcomes_of(maps: Maps, rules: Rules, series: Series, feedback: float) -> Outcomes:
    """All outcomes of one path and policy without its history."""
    state, sums, selling = starting_state(maps, rules, feedback), no_sums(maps, rules), 0.0
    for t in range(maps.steps):
        history = empty_history(maps, rules, series_at(series, t))
        step(maps, rules, state, history, 0, feedback)
        selling = observe_cohorts(maps, rules, history, sums, t)
        if feedback != 0.0:
            observe_markets(maps, history, sums, t)
    open_interest, missed_loss, finite = observe_end(maps, rules, state, sums)
    total, few, losses = sums.forced.sum(), sums.few, sums.losses
    long_share, peak_share, peak_time = np.nan, np.nan, np.nan
    if total > 0.0:
        long_share = few[1] / total
        end, peak_share = peak_window(sums.forced, maps.window_steps)
        peak_time = (end + 1) * maps.step
    status = (1.0 if selling > 0.0 else 0.0) + 2.0 * few[7]
    status += (4.0 if rules.due_at_start != 0.0 else 0.0) + (0.0 if finite else 8.0)
    return Outcomes(
        total,
        sums.by_market,
        few[0],
        few[2],
        few[3],
        long_share,
        peak_share,
        peak_time,
        sums.collateral_sold,
        losses[0],
        losses[1],
        np.zeros(rules.fund.shape[0]),
        0.0,
        np.zeros(rules.fund.shape[0]),
        np.zeros(rules.fund.shape[0]),
        losses[2],
        losses[3],
        losses[4],
        losses[5],
        np.zeros(rules.fund.shape[0]),
        losses[6],
        losses[7],
        sums.equity_lost,
        series.outage_start,
        series.outage_start,
        sums.trough,
        sums.wick,
        sums.trough_time,
        sums.trough_index,
        np.zeros(maps.entry_asset.shape[0]),
        sums.depeg,
        np.full(maps.is_pegged.shape[0], np.nan),
        np.full(maps.is_pegged.shape[0], np.nan),
        open_interest,
        few[6],
        sums.wrongful,
        few[4],
        missed_loss,
        few[5],
        status,
        np.nan,
    )


peak_window = reference.reference_outcomes.peak_window
INLINED = {
    *("maintenance_of_slot", "perp_maintenance", "maintenance_of", "credit_of", "equity_of"),
    *("collateral_value", "unrealised_profit", "has_anything_left", "is_due", "pace_of"),
    *("is_missed", "is_wrongful", "is_winner", "bankruptcy_equity", "top_up"),
    *("settle_perps", "settle_collateral", "perp_orders", "collateral_orders", "cash_to_raise"),
}
"""Called for every cohort. Numba counts references to each array of a named tuple at every call,
a hundred of them; inlined, these cost nothing."""

OWN = (no_sums, observe_cohorts, observe_markets, observe_end, series_at, outcomes_of)
LEFT_OUT = {
    *("outage_start", "outage_length", "halted_minutes"),  # given from outside in default kinds
    *("vault_paid", "vault_taken", "vault_loss"),  # nothing, in them
    *("least_backing", "units_redeemed"),  # of issuers, of which they know nothing
    *("insurance_drawn_by_venue", "adl_notional_by_venue"),  # they keep the sums
}
"""Outcomes that the programs do not compute."""


def compiled() -> types.SimpleNamespace:
    """`outcomes_of` and `exogenous_path` compiled, with every function they call."""
    import numba

    namespace: dict[str, Any] = {}
    for module in reference.STAGES:
        namespace |= vars(module)
    namespace |= vars(reference) | globals()
    called = ("exogenous_path", "outcomes_of")  # from Python
    for name in (*reference.kernel_names(), *(function.__name__ for function in OWN)):
        original = namespace[name]
        copy = types.FunctionType(original.__code__, namespace, name, original.__defaults__)
        inner = name not in called
        options = {"no_cpython_wrapper": inner, "no_cfunc_wrapper": True, "nogil": True}
        namespace[name] = numba.njit(forceinline=name in INLINED, **options)(copy)
    return types.SimpleNamespace(**{name: namespace[name] for name in called})


def simulate(
    functions: Any, maps: Maps, shocks: Shocks, rules: list[Rules], venues: int, draws: Any
) -> dict[str, np.ndarray]:
    """Outcomes by name, `(policy, path, ...)`; stage 1 once a path.

    Args:
        functions: `compiled()`, or this module and `reference_shocks` as they stand.
        maps: The layout.
        shocks: Numbers of the exogenous shocks.
        rules: One a policy.
        venues: How many.
        draws: Of a block of paths.
    """
    paths, grid = draws.macro.shape[-1], draws.diffusion.shape[0]
    no_jumps = np.zeros((grid, paths))
    uniform = no_jumps + 1.0 if draws.jump_uniform is None else draws.jump_uniform
    normal = no_jumps if draws.jump_normal is None else draws.jump_normal
    columns: list[list[tuple[Outcomes, float, np.ndarray]]] = [[] for _ in rules]
    for path in range(paths):
        series = functions.exogenous_path(
            shocks,
            maps.steps,
            maps.step,
            maps.draw_step,
            venues,
            floats(draws.diffusion[..., path]),
            floats(draws.macro[:, path]),
            floats(uniform[:, path]),
            floats(normal[:, path]),
            float(draws.liquidity[path]),
            floats(draws.outage[..., path]),
        )[:3]
        trough = np.exp(series[0].min(axis=0))[maps.market_asset]
        series = without_failures(maps, *series)
        for place, one in enumerate(rules):
            outcomes = functions.outcomes_of(maps, one, series, 1.0)
            alone = functions.outcomes_of(maps, one, series, 0.0).liquidated_units
            columns[place].append((outcomes, alone, trough))
    return _joined(columns)


def _joined(columns: list[list[tuple[Outcomes, float, np.ndarray]]]) -> dict[str, np.ndarray]:
    found = {
        name: np.array([[getattr(one, name) for one, _, _ in row] for row in columns], float)
        for name in Outcomes._fields
        if not name.endswith("branch_gap") and name not in LEFT_OUT
    }
    alone = np.array([[units for _, units, _ in row] for row in columns])
    fall = 1.0 - np.array([[trough for _, _, trough in row] for row in columns])
    tiny, units = fall < 1e-4, found["liquidated_units"]
    drawdown = 1.0 - found["trough_price"]
    return found | {
        "amplification": np.where(tiny, np.nan, drawdown / np.where(tiny, 1.0, fall)),
        "reproduction_number": np.where(
            units == 0.0, 0.0, 1.0 - alone / np.where(units == 0.0, 1.0, units)
        ),
        "exogenous_liquidations": alone,
    }
