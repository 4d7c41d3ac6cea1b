"""The oracle's issuers of pegged assets: MODEL.md sections 2.1 and 2.8."""

from __future__ import annotations

import math

import numpy as np
from reference_bankruptcies import bankruptcy_equity
from reference_curves import displacement_at, fills_of, units_to
from reference_margin import sale_prices
from reference_world import History, Maps, Rules, State

LEAST_BACKING = 1e-6
LEAST_SUPPLY = 1e-6  # of the supply at the start; what is less is a rounding


def backing_left(
    loss_asset: np.ndarray,
    loss_with_macro: np.ndarray,
    loss_share: np.ndarray,
    loss_start: np.ndarray,
    loss_duration: np.ndarray,
    pegged: int,
    steps: int,
    step: float,
    shock_time: float,
) -> np.ndarray:
    """Share of the backing that each step's news leaves [T, pegged]."""
    kept = np.ones((steps, pegged))
    for i in range(loss_asset.shape[0]):
        before = 1.0
        for t in range(steps):
            since = (t + 1) * step - loss_start[i]
            if loss_with_macro[i]:
                since -= shock_time
            arrived = 0.0
            if since > 0.0:
                arrived = 1.0 if loss_duration[i] == 0.0 else min(1.0, since / loss_duration[i])
            left = 1.0 - loss_share[i] * arrived
            kept[t, loss_asset[i]] *= left / before
            before = left
    return kept


def tell_news(maps: Maps, rules: Rules, state: State, history: History, t: int) -> None:
    """Losses of backing; from here on a pegged asset's fundamental is what its issuer pays."""
    for p in range(maps.pegged.shape[0]):
        state.backing[p] *= history.backing_kept[t, p]
        history.supply[t, p] = state.supply[p]
        if state.supply[p] > LEAST_SUPPLY * rules.supply[p]:
            ratio = max(LEAST_BACKING, min(1.0, state.backing[p] / state.supply[p]))
        else:  # a supply at the start is more, so that there is a step before
            ratio = history.backing_ratio[t - 1, p]
        history.backing_ratio[t, p] = ratio
        history.log_fundamental[t, maps.pegged[p]] += math.log(ratio)


def redeemable(
    maps: Maps, rules: Rules, state: State, history: History, t: int, p: int
) -> float:
    """Units that an issuer still redeems in this step at most."""
    paced = history.capacity_left[t] * rules.redemption_capacity[p] * maps.step
    paced = max(0.0, paced - history.redeemed[t, p])
    return min(paced, state.reserve[p], state.supply[p])


def redeem(state: State, history: History, t: int, p: int, units: float) -> None:
    """Units handed in leave the supply and the reserve, and what is paid leaves the backing."""
    history.redeemed[t, p] += units
    state.backing[p] = max(0.0, state.backing[p] - units * history.backing_ratio[t, p])
    state.supply[p] = max(0.0, state.supply[p] - units)
    state.reserve[p] = max(0.0, state.reserve[p] - units)


def holders_run(maps: Maps, rules: Rules, state: State, history: History, t: int) -> None:
    """Holders of a discounted pegged asset sell where they hold it: where books are deep."""
    y, liquidity = state.displacement, history.liquidity[t]
    for p in range(maps.pegged.shape[0]):
        total, gone = 0.0, 0.0
        for m in range(y.shape[0]):
            if maps.market_asset[m] == maps.pegged[p] and not maps.market_is_perp[m]:
                total += rules.depth[m]
        speed = min(1.0, rules.run_rate[p] * maps.step)
        for m in range(y.shape[0]):
            if maps.market_asset[m] == maps.pegged[p] and not maps.market_is_perp[m]:
                excess = max(0.0, -math.expm1(-y[m]) - rules.run_tolerance[p])
                units = speed * state.free_float[p] * rules.depth[m] / total * excess
                if units == 0.0:
                    continue
                taken, _, gap = fills_of(maps, rules, m, y[m], liquidity[m], units, 0.0)
                history.fill_gap[t] = min(history.fill_gap[t], gap)
                if taken < 1.0:
                    history.is_unfilled[t] = 1.0
                units *= taken
                history.holders_sold[t, m] = units
                gone += units
                before = units_to(maps, rules, m, y[m], liquidity[m])
                start = displacement_at(maps, rules, m, before, liquidity[m])
                y[m] += displacement_at(maps, rules, m, before + units, liquidity[m]) - start
        state.free_float[p] = max(0.0, state.free_float[p] - gone)


def hedge_worth(maps: Maps, rules: Rules, state: State, price: np.ndarray) -> np.ndarray:
    """What each issuer's hedges are worth at own-venue prices [pegged]."""
    worth, sale_price = np.zeros(maps.pegged.shape[0]), sale_prices(maps, price)
    for b in range(maps.book_issuer.shape[0]):
        if maps.book_issuer[b] >= 0:
            for k in range(maps.buckets):
                if not state.taken_over[b, k]:
                    equity = bankruptcy_equity(maps, rules, state, sale_price, price, b, k)
                    worth[maps.book_issuer[b]] += max(0.0, equity)
    return worth


def settle_hedges(
    maps: Maps, rules: Rules, state: State, history: History, t: int, anchor: np.ndarray
) -> None:
    """Gains and losses of hedges belong to the backing, top-ups came out of it."""
    worth = hedge_worth(maps, rules, state, history.price_after[t])
    for b in range(maps.book_issuer.shape[0]):
        if maps.book_issuer[b] >= 0:
            for k in range(maps.buckets):
                state.hedge[maps.book_issuer[b]] += history.top_up[t, b, k]
    for p in range(maps.pegged.shape[0]):
        gain = (worth[p] - state.hedge[p]) / anchor[p]
        state.backing[p] = max(0.0, state.backing[p] + gain)
        state.hedge[p] = worth[p]
