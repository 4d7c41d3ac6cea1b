"""The oracle's vaults: MODEL.md sections 2.6 and 2.9."""

from __future__ import annotations

import numpy as np
from reference_margin import unrealised_profit
from reference_world import Maps, Rules, State


def order_of_vaults(maps: Maps, rules: Rules, state: State, sold: np.ndarray) -> None:
    """Contracts that vaults work off in a step [M], filled in; bought < 0."""
    for m in range(sold.shape[0]):
        kept = 2.0 ** -(maps.step / rules.vault_half_life[maps.market_venue[m]])
        sold[m] = (1.0 - kept) * state.vault_units[m]


def work_off(maps: Maps, state: State, sold: np.ndarray, average: np.ndarray) -> None:
    """Books what order books took of the vaults' orders."""
    for m in range(sold.shape[0]):
        if maps.market_is_perp[m]:
            state.vault_units[m] -= sold[m]
            state.vault_cash[maps.market_venue[m]] += sold[m] * average[m]


def vault_gains(maps: Maps, units: np.ndarray, cash: np.ndarray, price: np.ndarray) -> np.ndarray:
    """What each vault has made, contracts at market prices [V]."""
    worth = cash.copy()
    for m in range(units.shape[0]):
        worth[maps.market_venue[m]] += units[m] * price[m]
    return worth


def open_notional(
    maps: Maps, rules: Rules, state: State, price: np.ndarray, b: int, k: int
) -> float:
    """Notional of a cohort's perps."""
    notional = 0.0
    for j in range(maps.perps.shape[1]):
        if maps.perps[b, j] >= 0:
            units = state.position_left[j, b, k] * abs(rules.position[j, b, k])
            notional += units * price[maps.perps[b, j]]
    return notional


def fill_vaults(
    maps: Maps,
    rules: Rules,
    state: State,
    uncovered: np.ndarray,
    deficit: np.ndarray,
    price: np.ndarray,
    paid: np.ndarray,  # [V], added to, as the next
    taken: np.ndarray,
) -> np.ndarray:
    """Moves perps of wiped-out accounts to vaults; returns the share of what was offered [V]."""
    venues = uncovered.shape[0]
    offered, served = np.zeros(venues), np.zeros(venues)
    room = rules.vault_capacity + vault_gains(maps, state.vault_units, state.vault_cash, price)
    for m in range(price.shape[0]):
        room[maps.market_venue[m]] -= abs(state.vault_units[m]) * price[m]
    for b in range(deficit.shape[0]):
        for k in range(deficit.shape[1]):
            notional = open_notional(maps, rules, state, price, b, k)
            if deficit[b, k] > 0.0:
                venue = maps.book_venue[b]
                offered[venue] += uncovered[venue] * (notional + min(deficit[b, k], notional))
    for v in range(venues):
        if offered[v] > 0.0:
            served[v] = min(1.0, max(0.0, room[v]) / offered[v])
    for b in range(deficit.shape[0]):
        venue = maps.book_venue[b]
        share = uncovered[venue] * served[venue]
        for k in range(deficit.shape[1]):
            notional = open_notional(maps, rules, state, price, b, k)
            if deficit[b, k] <= 0.0 or notional == 0.0:
                continue
            state.cash[b, k] += share * unrealised_profit(maps, rules, state, price, b, k)
            for j in range(maps.perps.shape[1]):
                market = maps.perps[b, j]
                if market >= 0:
                    units = share * state.position_left[j, b, k] * rules.position[j, b, k]
                    state.vault_units[market] += units
                    state.vault_cash[venue] -= units * price[market]
                    state.position_left[j, b, k] *= 1.0 - share
            state.vault_cash[venue] -= share * min(deficit[b, k], notional)
            paid[venue] += share * min(deficit[b, k], notional)
            taken[venue] += share * notional
    return served
