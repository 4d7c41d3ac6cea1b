"""The oracle's bankruptcies: MODEL.md section 2.9, fund, vault, deleveraging, sharing, sweep."""

from __future__ import annotations

import numpy as np
from reference_margin import (
    collateral_value,
    has_anything_left,
    sale_prices,
    unrealised_profit,
)
from reference_vault import fill_vaults
from reference_world import DUST, History, Maps, Rules, State

TIE = 1e-4  # relative difference below which two ranks of a queue are the same
LEAST_EQUITY = 1e-6  # of the notional that equity is to carry


def bankruptcy_equity(
    maps: Maps,
    rules: Rules,
    state: State,
    sale_price: np.ndarray,
    price: np.ndarray,
    b: int,
    k: int,
) -> float:
    """What a cohort is worth, collateral at sale prices and perps at their own."""
    worth = state.cash[b, k] + collateral_value(maps, rules, state, sale_price, b, k)
    return worth + unrealised_profit(maps, rules, state, price, b, k)


def draw_insurance(maps: Maps, state: State, deficit: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """Takes the fund's share of all deficits; returns the share left uncovered, by venue [V]."""
    uncovered = np.zeros(drawn.shape[0])
    total = np.zeros(drawn.shape[0])
    for b in range(deficit.shape[0]):
        for k in range(deficit.shape[1]):
            total[maps.book_venue[b]] += deficit[b, k]
    for v in range(drawn.shape[0]):
        if total[v] > 0.0:
            drawn[v] = min(state.fund[v], total[v])  # exact: rounding must not overdraw the fund
            state.fund[v] -= drawn[v]
            uncovered[v] = 1.0 - drawn[v] / total[v]
    return uncovered


def close_bankrupts(
    maps: Maps,
    rules: Rules,
    state: State,
    uncovered: np.ndarray,
    left: np.ndarray,
    deficit: np.ndarray,
    price: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Closes what fund and vault leave of wiped-out perps; pools contracts and losses [M, side].

    `uncovered` is the share of a deficit that is left [V], `left` that of the contracts still in
    the account [V]. Side 0 holds bankrupt longs, side 1 bankrupt shorts.
    """
    contracts = np.zeros((price.shape[0], 2))
    loss = np.zeros((price.shape[0], 2))
    for b in range(deficit.shape[0]):
        charged, share = uncovered[maps.book_venue[b]], left[maps.book_venue[b]]
        if rules.adl[maps.book_venue[b]] == 0.0:
            continue
        for k in range(deficit.shape[1]):
            if deficit[b, k] <= 0.0:
                continue
            notional = 0.0
            for j in range(maps.perps.shape[1]):
                if maps.perps[b, j] >= 0 and state.position_left[j, b, k] > DUST:
                    units = state.position_left[j, b, k] * abs(rules.position[j, b, k])
                    notional += units * price[maps.perps[b, j]]
            if notional == 0.0:
                continue
            for j in range(maps.perps.shape[1]):
                market = maps.perps[b, j]
                if market < 0 or state.position_left[j, b, k] <= DUST:
                    continue
                units = state.position_left[j, b, k] * abs(rules.position[j, b, k])
                side = 0 if rules.position[j, b, k] > 0.0 else 1
                gain = price[market] - rules.entry[j, b]
                state.cash[b, k] += share * (units * gain if side == 0 else -units * gain)
                contracts[market, side] += share * units
                loss[market, side] += charged * deficit[b, k] * units * price[market] / notional
                state.position_left[j, b, k] *= 1.0 - share
    return contracts, loss


def is_winner(
    maps: Maps,
    rules: Rules,
    state: State,
    due: np.ndarray,
    price: np.ndarray,
    market: int,
    side: int,
    j: int,
    b: int,
    k: int,
) -> bool:
    """Whether perp slot `j` of a cohort gains on a market, opposite the bankrupts of `side`."""
    if maps.perps[b, j] != market or due[b, k]:
        return False
    units = state.position_left[j, b, k] * rules.position[j, b, k]
    opposite = units < 0.0 if side == 0 else units > 0.0
    return opposite and units * (price[market] - rules.entry[j, b]) > 0.0


def score_of(profit: float, notional: float, entry_notional: float, equity: float) -> float:
    """Rank of a winner: profit over entry notional, times the leverage of the position."""
    return profit / entry_notional * notional / max(equity, LEAST_EQUITY * notional)


def queue_shares(
    scores: np.ndarray, contracts: np.ndarray, bankrupt: float
) -> tuple[np.ndarray, float]:
    """Share of each winner's contracts that a queue closes, and how near two ranks are to a tie.

    Of winners with the same rank each closes `clip(X - sum of higher ranks, 0, T) / T`.
    """
    threshold = 0.0  # all are closed where all of them are too few
    for i in range(scores.shape[0]):
        reached = 0.0
        for j in range(scores.shape[0]):
            if scores[j] >= scores[i]:
                reached += contracts[j]
        if reached >= bankrupt:
            threshold = max(threshold, scores[i])
    shares, gap = np.ones(scores.shape[0]), np.inf
    above, tied = 0.0, 0.0
    for j in range(scores.shape[0]):
        if scores[j] > threshold * (1.0 + TIE):
            above += contracts[j]
        elif scores[j] >= threshold * (1.0 - TIE):
            tied += contracts[j]
    for j in range(scores.shape[0]):
        if threshold > 0.0 and scores[j] <= threshold * (1.0 + TIE):
            shares[j] = 0.0
            if scores[j] >= threshold * (1.0 - TIE):
                shares[j] = min(max(bankrupt - above, 0.0), tied) / tied
        if threshold > 0.0:
            distance = abs(scores[j] / threshold - 1.0)
            gap = min(gap, abs(distance - TIE))
    return shares, gap


def winner_shares(
    maps: Maps,
    rules: Rules,
    state: State,
    due: np.ndarray,
    price: np.ndarray,
    equity: np.ndarray,
    market: int,
    side: int,
    bankrupt: float,
    of_makers: float,
    maker_profit: float,
) -> tuple[np.ndarray, float, float]:
    """Shares closed of every cohort's slot [Jp, B, K] and of market makers; a queue's nearness."""
    shares = np.zeros(state.position_left.shape)
    perps, books, buckets = shares.shape
    scores = np.zeros(perps * books * buckets + 1)
    contracts = np.zeros(perps * books * buckets + 1)
    for j in range(perps):
        for b in range(books):
            for k in range(buckets):
                if is_winner(maps, rules, state, due, price, market, side, j, b, k):
                    place = (j * books + b) * buckets + k
                    units = state.position_left[j, b, k] * rules.position[j, b, k]
                    contracts[place] = abs(units)
                    scores[place] = score_of(
                        units * (price[market] - rules.entry[j, b]),
                        abs(units) * price[market],
                        abs(units) * rules.entry[j, b],
                        equity[b, k],
                    )
    if of_makers > 0.0:
        notional = of_makers * price[market]
        paid = notional + maker_profit if side == 0 else notional - maker_profit
        contracts[-1] = of_makers
        scores[-1] = score_of(
            maker_profit, notional, max(paid, LEAST_EQUITY * notional), notional
        )
    gap = np.inf
    if rules.queue[maps.market_venue[market]] > 0.0:
        closed, gap = queue_shares(scores, contracts, bankrupt)
    else:
        total = contracts.sum()
        closed = np.full(scores.shape[0], min(1.0, bankrupt / total) if total > 0.0 else 0.0)
    for j in range(perps):
        for b in range(books):
            for k in range(buckets):
                shares[j, b, k] = closed[(j * books + b) * buckets + k]
    return shares, closed[-1], gap


def deleverage(
    maps: Maps,
    rules: Rules,
    state: State,
    due: np.ndarray,
    price: np.ndarray,
    equity: np.ndarray,
    contracts: np.ndarray,
    loss: np.ndarray,
    charge: np.ndarray,  # [B, K], added to
    adl_loss: np.ndarray,  # [V], added to, as the next three
    notional: np.ndarray,
    overshoot_contracts: np.ndarray,
    overshoot_wealth: np.ndarray,
) -> float:
    """Closes winners against the bankrupt contracts; the rest goes to market makers.

    Returns how near two ranks of a queue are to a tie.
    """
    gap = np.inf
    maker_units, maker_cash = state.maker_units.copy(), state.maker_cash.copy()
    for market in range(price.shape[0]):
        venue = maps.market_venue[market]
        for side in range(2):
            bankrupt = contracts[market, side]
            if bankrupt == 0.0:
                continue
            held = -maker_units[market] if side == 0 else maker_units[market]
            maker_profit = maker_cash[market] + maker_units[market] * price[market]
            maker_profit = min(maker_profit, abs(maker_units[market]) * max(1.0, price[market]))
            of_makers = held if held > 0.0 and maker_profit > 0.0 else 0.0
            shares, maker_share, near = winner_shares(
                maps,
                rules,
                state,
                due,
                price,
                equity,
                market,
                side,
                bankrupt,
                of_makers,
                maker_profit,
            )
            gap = min(gap, near)
            loss_per_contract = loss[market, side] / bankrupt
            of_cohorts = 0.0  # contracts that they close
            for b in range(due.shape[0]):
                for k in range(due.shape[1]):
                    for j in range(maps.perps.shape[1]):
                        if not is_winner(maps, rules, state, due, price, market, side, j, b, k):
                            continue
                        share = shares[j, b, k]
                        units = share * state.position_left[j, b, k] * rules.position[j, b, k]
                        profit = units * (price[market] - rules.entry[j, b])
                        lost = abs(units) * loss_per_contract
                        overshoot_wealth[venue] += max(0.0, profit - lost)
                        charge[b, k] += lost
                        state.cash[b, k] += profit
                        state.position_left[j, b, k] *= 1.0 - share
                        of_cohorts += abs(units)
            if of_makers > 0.0:
                lost = maker_share * of_makers * loss_per_contract
                overshoot_wealth[venue] += max(0.0, maker_share * maker_profit - lost)
                state.maker_cash[market] -= lost
                adl_loss[venue] += lost
            # Makers take what cohorts do not: their own part as winners and contracts without one.
            taken = bankrupt - of_cohorts
            closed = of_cohorts + maker_share * of_makers
            signed = taken if side == 0 else -taken
            state.maker_units[market] += signed
            state.maker_cash[market] -= signed * price[market]
            notional[venue] += closed * price[market]
            overshoot_contracts[venue] += max(0.0, closed - bankrupt) * price[market]
    return gap


def charge_winners(
    maps: Maps, state: State, equity: np.ndarray, charge: np.ndarray, adl_loss: np.ndarray
) -> None:
    """Takes the losses of deleveraged cohorts, each at most what the cohort is worth."""
    for b in range(charge.shape[0]):
        for k in range(charge.shape[1]):
            charge[b, k] = min(charge[b, k], max(equity[b, k], 0.0))
            state.cash[b, k] -= charge[b, k]
            adl_loss[maps.book_venue[b]] += charge[b, k]


def socialise(
    maps: Maps,
    state: State,
    equity: np.ndarray,
    charge: np.ndarray,
    rest: np.ndarray,
    socialised: np.ndarray,  # [B, K], filled in
    socialised_loss: np.ndarray,  # [V], filled in, as the next
    unabsorbed_loss: np.ndarray,
) -> None:
    """Shares what is left of the deficits over the venue's accounts; the venue bears the rest."""
    able = np.zeros(rest.shape[0])
    for b in range(charge.shape[0]):
        for k in range(charge.shape[1]):
            if not state.taken_over[b, k]:
                able[maps.book_venue[b]] += max(equity[b, k] - charge[b, k], 0.0)
    for b in range(charge.shape[0]):
        venue = maps.book_venue[b]
        share = min(1.0, rest[venue] / able[venue]) if able[venue] > 0.0 else 0.0
        for k in range(charge.shape[1]):
            if not state.taken_over[b, k]:
                socialised[b, k] = share * max(equity[b, k] - charge[b, k], 0.0)
                state.cash[b, k] -= socialised[b, k]
                socialised_loss[venue] += socialised[b, k]
    for v in range(rest.shape[0]):
        unabsorbed_loss[v] = rest[v] - socialised_loss[v]


def settle_bankruptcies(maps: Maps, rules: Rules, state: State, history: History, t: int) -> None:
    """Fund, vault, deleveraging, all accounts, the venue itself, in this order; and the sweep."""
    due, price = history.due[t], history.price_after[t]
    deficit, charge, equity = (
        history.deficit[t],
        history.adl_charge[t],
        history.bankruptcy_equity[t],
    )
    venues = state.fund.shape[0]
    sale_price = sale_prices(maps, price)
    for b in range(due.shape[0]):
        for k in range(due.shape[1]):
            equity[b, k] = bankruptcy_equity(maps, rules, state, sale_price, price, b, k)
            works = history.engine_open[t, maps.book_venue[b]] == 1.0
            if due[b, k] and works and equity[b, k] < 0.0:
                deficit[b, k] = -equity[b, k]

    uncovered = draw_insurance(maps, state, deficit, history.insurance_drawn[t])
    rest = np.zeros(venues)
    for b in range(due.shape[0]):
        for k in range(due.shape[1]):
            if deficit[b, k] > 0.0:
                state.cash[b, k] += deficit[b, k]
                state.taken_over[b, k] = True
                rest[maps.book_venue[b]] += uncovered[maps.book_venue[b]] * deficit[b, k]
    paid, taken = history.vault_paid[t], history.vault_taken[t]
    served = fill_vaults(maps, rules, state, uncovered, deficit, price, paid, taken)
    left = np.zeros(venues)
    for v in range(venues):
        share = uncovered[v] * served[v]
        uncovered[v] *= 1.0 - served[v]
        left[v] = uncovered[v] / (1.0 - share) if share < 1.0 else 0.0
        rest[v] -= paid[v]
    contracts, loss = close_bankrupts(maps, rules, state, uncovered, left, deficit, price)
    history.queue_gap[t] = deleverage(
        maps,
        rules,
        state,
        due,
        price,
        equity,
        contracts,
        loss,
        charge,
        history.adl_loss[t],
        history.adl_notional[t],
        history.adl_overshoot_contracts[t],
        history.adl_overshoot_wealth[t],
    )
    charge_winners(maps, state, equity, charge, history.adl_loss[t])
    for v in range(venues):
        rest[v] = max(0.0, rest[v] - history.adl_loss[t, v])  # rounding must not make it negative
    socialise(
        maps,
        state,
        equity,
        charge,
        rest,
        history.socialised_charge[t],
        history.socialised_loss[t],
        history.unabsorbed_loss[t],
    )
    for b in range(due.shape[0]):
        for k in range(due.shape[1]):
            ours = state.taken_over[b, k] and not has_anything_left(maps, rules, state, b, k)
            if ours and state.cash[b, k] > 0.0:
                state.fund[maps.book_venue[b]] += state.cash[b, k]
                state.cash[b, k] = 0.0
            history.final_equity[t, b, k] = bankruptcy_equity(
                maps, rules, state, sale_price, price, b, k
            )
