"""The oracle's observation: MODEL.md section 2.10 from the history of one path and policy."""

from __future__ import annotations

import math

import numpy as np
from reference_curves import kink_gap
from reference_issuer import LEAST_SUPPLY
from reference_margin import routes
from reference_vault import vault_gains
from reference_world import BOOKS, DUST, ENDLESS, History, Maps, Outcomes, Rules


def forced_sales(
    maps: Maps, rules: Rules, history: History, t: int, b: int, k: int, price: np.ndarray
) -> np.ndarray:
    """Notional that a due cohort is forced to trade, by market [M], at the given prices."""
    forced = np.zeros(price.shape[0])
    if not history.due[t, b, k]:
        return forced
    for j in range(maps.perps.shape[1]):
        if maps.perps[b, j] >= 0:
            units = history.position_sold[t, j, b, k] * abs(rules.position[j, b, k])
            forced[maps.perps[b, j]] += units * price[maps.perps[b, j]]
    if maps.is_loan[b]:
        for j in range(maps.collateral.shape[1]):
            if maps.collateral[b, j] >= 0:
                shares = routes(maps, history.gate_open[t], history.filled[t], b, j)
                units = history.collateral_sold[t, j, b, k] * rules.collateral[j, b, k]
                for m in range(price.shape[0]):
                    forced[m] += units * shares[m] * price[m]
    return forced


def forced_off_book(
    maps: Maps, rules: Rules, history: History, t: int, b: int, k: int, price: np.ndarray
) -> float:
    """The same of a loan's collateral that went to no market, at its venue's own prices."""
    forced = 0.0
    if history.due[t, b, k] and maps.is_loan[b]:
        for j in range(maps.collateral.shape[1]):
            if maps.collateral[b, j] >= 0 and maps.sale_kind[b, j] != BOOKS:
                units = history.collateral_sold[t, j, b, k] * rules.collateral[j, b, k]
                for m in range(price.shape[0]):
                    forced += units * maps.sale_shares[maps.collateral[b, j], m] * price[m]
    return forced


def forced_longs(
    maps: Maps, rules: Rules, history: History, t: int, b: int, k: int, price: np.ndarray
) -> float:
    """The part of a cohort's forced notional that is long perps or loans."""
    if maps.is_loan[b]:
        on_books = forced_sales(maps, rules, history, t, b, k, price).sum()
        return on_books + forced_off_book(maps, rules, history, t, b, k, price)
    longs = 0.0
    for j in range(maps.perps.shape[1]):
        if maps.perps[b, j] >= 0 and rules.position[j, b, k] > 0.0:
            units = history.position_sold[t, j, b, k] * rules.position[j, b, k]
            longs += units * price[maps.perps[b, j]]
    return longs


def holdings(
    maps: Maps, rules: Rules, history: History, t: int, b: int, k: int, price: np.ndarray
) -> float:
    """Notional that a cohort has open when a step begins: perps, or a loan's collateral."""
    total = 0.0
    if maps.is_loan[b]:
        for j in range(maps.collateral.shape[1]):
            if maps.collateral[b, j] >= 0:
                units = history.collateral_before[t, j, b, k] * rules.collateral[j, b, k]
                for m in range(price.shape[0]):
                    total += units * maps.sale_shares[maps.collateral[b, j], m] * price[m]
        return total
    for j in range(maps.perps.shape[1]):
        if maps.perps[b, j] >= 0:
            units = history.position_before[t, j, b, k] * abs(rules.position[j, b, k])
            total += units * price[maps.perps[b, j]]
    return total


def starting_units(rules: Rules, b: int, k: int) -> float:
    """Contracts of a cohort at the start, or, where it has none, its collateral."""
    contracts, collateral = 0.0, 0.0
    for j in range(rules.position.shape[0]):
        contracts += abs(rules.position[j, b, k])
    for j in range(rules.collateral.shape[0]):
        collateral += rules.collateral[j, b, k]
    return contracts if contracts > 0.0 else collateral


def collateral_sales(
    maps: Maps, rules: Rules, history: History, t: int, b: int, k: int
) -> tuple[np.ndarray, float]:
    """What a cohort's collateral brought by asset [A], and what pegged assets lacked to `R`."""
    proceeds = np.zeros(maps.is_pegged.shape[0])
    lacking = 0.0
    for j in range(maps.collateral.shape[1]):
        entry = maps.collateral[b, j]
        if entry < 0:
            continue
        received = history.received[t, j, b]
        asset = maps.entry_asset[entry]
        units = history.collateral_sold[t, j, b, k] * rules.collateral[j, b, k]
        proceeds[asset] += units * received
        if maps.is_pegged[asset]:
            redemption = math.exp(history.log_fundamental[t, asset])
            lacking += units * max(0.0, redemption - received)
    return proceeds, lacking


def is_wrongful(maps: Maps, history: History, t: int, b: int, k: int) -> bool:
    """Whether a cohort is liquidated although it meets the baseline's margin at fair prices."""
    if not history.due[t, b, k] or history.taken_over[t, b, k] or maps.is_targeting[b]:
        return False
    if history.equity[t, b, k] >= history.maintenance[t, b, k]:
        return False
    return history.fair_equity[t, b, k] >= history.fair_maintenance[t, b, k]


def is_selling(rules: Rules, history: History, t: int, b: int, k: int) -> bool:
    """Whether a cohort's orders are more than dust of all it started with."""
    sold, start = 0.0, 0.0
    for j in range(rules.position.shape[0]):
        start += abs(rules.position[j, b, k])
        sold += history.position_sold[t, j, b, k] * abs(rules.position[j, b, k])
    for j in range(rules.collateral.shape[0]):
        start += rules.collateral[j, b, k]
        sold += history.collateral_sold[t, j, b, k] * rules.collateral[j, b, k]
    return sold > DUST * start


def is_missed(history: History, t: int, b: int, k: int) -> bool:
    """Whether a cohort is left alone although it fails the baseline's margin at fair prices."""
    short = history.fair_equity[t, b, k] < history.fair_maintenance[t, b, k]
    return short and not history.due[t, b, k]


def peak_window(forced: np.ndarray, window: int) -> tuple[int, float]:
    """End and share of the window of consecutive steps that holds most of a series [T]."""
    best, end = -1.0, -1
    for t in range(forced.shape[0]):
        total = 0.0
        for s in range(max(0, t - window + 1), t + 1):
            total += forced[s]
        if total > best:
            best, end = total, t
    return end, best / forced.sum()


def equity_lost(maps: Maps, rules: Rules, history: History) -> np.ndarray:
    """Start plus top-ups less end of what account holders own, apart or not, by venue [V]."""
    lost = np.zeros(rules.fund.shape[0])
    for b in range(maps.perps.shape[0]):
        venue = maps.book_venue[b]
        for k in range(maps.buckets):
            start = rules.cash[b, k]
            for j in range(maps.collateral.shape[1]):
                if maps.collateral[b, j] >= 0:
                    start += rules.collateral[j, b, k]
            for j in range(maps.perps.shape[1]):
                if maps.perps[b, j] >= 0:
                    start += rules.position[j, b, k] * (1.0 - rules.entry[j, b])
            lost[venue] += max(start, 0.0) + history.top_up[:, b, k].sum()
            if not history.taken_over_after[-1, b, k]:
                lost[venue] -= max(history.final_equity[-1, b, k], 0.0)
    for i in range(rules.apart.shape[0]):
        worth = 0.0
        for m in range(maps.sale_shares.shape[1]):
            worth += maps.sale_shares[i, m] * history.price_after[-1, m]
        if rules.apart[i] > 0.0:  # it is only kept apart where it could be pledged
            lost[maps.entry_venue[i]] += rules.apart[i] * (1.0 - worth)
    return lost


def troughs(maps: Maps, history: History) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Least price after stage 8, least after stage 7, first time of the former, by market [M]."""
    markets = maps.market_asset.shape[0]
    trough, wick, time = np.full(markets, np.inf), np.full(markets, np.inf), np.zeros(markets)
    for m in range(markets):
        for t in range(history.price.shape[0]):
            wick[m] = min(wick[m], history.price_impact[t, m])
            if history.price_after[t, m] < trough[m]:
                trough[m] = history.price_after[t, m]
                time[m] = (t + 1) * maps.step
    return trough, wick, time


def depeg_minutes(maps: Maps, history: History) -> np.ndarray:
    """Minutes that each peg trades below each threshold [pegs, thresholds]."""
    minutes = np.zeros((maps.peg_markets.shape[0], maps.thresholds.shape[0]))
    for peg in range(minutes.shape[0]):
        market = maps.peg_markets[peg]
        for t in range(history.price.shape[0]):
            redemption = math.exp(history.log_fundamental[t, maps.market_asset[market]])
            for i in range(minutes.shape[1]):
                if history.price_after[t, market] / redemption < maps.thresholds[i]:
                    minutes[peg, i] += maps.step
    return minutes


def issuers_seen(maps: Maps, rules: Rules, history: History) -> tuple[np.ndarray, np.ndarray]:
    """Least backing and units redeemed of pegged assets whose issuer is modelled [A]."""
    least = np.full(maps.is_pegged.shape[0], np.nan)
    redeemed = least.copy()
    for p in range(maps.pegged.shape[0]):
        if rules.supply[p] < ENDLESS:
            least[maps.pegged[p]] = history.backing_ratio[:, p].min()
            redeemed[maps.pegged[p]] = history.redeemed[:, p].sum()
    return least, redeemed


def open_interest_change(maps: Maps, rules: Rules, history: History) -> float:
    """Notional of all perps at the end over the start, less one; 0 without perps."""
    start, end = 0.0, 0.0
    for b in range(maps.perps.shape[0]):
        for j in range(maps.perps.shape[1]):
            if maps.perps[b, j] >= 0:
                for k in range(maps.buckets):
                    size = abs(rules.position[j, b, k])
                    left = history.position_left[-1, j, b, k]
                    start += size
                    end += size * left * history.price_after[-1, maps.perps[b, j]]
    return end / start - 1.0 if start > 0.0 else 0.0


def margin_of_dust(maps: Maps, rules: Rules, b: int, k: int) -> float:
    """Maintenance that the first tiers ask of a rounding of a cohort's start."""
    asked = rules.margin.loan_rate[b] * max(0.0, -rules.cash[b, k])
    for j in range(maps.perps.shape[1]):
        if maps.perps[b, j] >= 0:
            asked += rules.margin.rate[j, 0, b] * abs(rules.position[j, b, k])
    return DUST * asked


def least_margin_gap(maps: Maps, rules: Rules, history: History) -> float:
    """Least distance of equity to maintenance over maintenance, of what owners have left."""
    least = np.inf
    for t in range(history.price.shape[0]):
        for b in range(maps.perps.shape[0]):
            for k in range(maps.buckets):
                maintenance = history.maintenance[t, b, k]
                owned = not history.taken_over[t, b, k]
                if owned and maintenance > margin_of_dust(maps, rules, b, k):
                    gap = abs(history.equity[t, b, k] - maintenance) / maintenance
                    least = min(least, gap)
    return least


def shut_gates(maps: Maps, history: History, t: int) -> None:
    """Stage 1: gates of venues whose load has shut them."""
    for o in range(history.load.shape[0]):
        since = (t + 1 - history.load_start[o]) * maps.step
        if 0.0 < since <= history.load[o, 4] + 1e-3 * maps.step:
            history.gate_open[t, history.load_venues[o]] = 0.0


def add_load(maps: Maps, rules: Rules, history: History, t: int) -> None:
    """What a step's forced sales add to the hazard of load outages, and which of them begin."""
    forced = np.zeros(history.gate_open.shape[1])
    for b in range(maps.perps.shape[0]):
        for k in range(maps.buckets):
            sales = forced_sales(maps, rules, history, t, b, k, history.price[t])
            forced[maps.book_venue[b]] += sales.sum()
            forced[maps.book_venue[b]] += forced_off_book(
                maps, rules, history, t, b, k, history.price[t]
            )
    for o in range(history.load.shape[0]):
        start, threshold, rate, patience, _ = history.load[o]
        hazard = history.hazard[t - 1, o] if t > 0 else 0.0
        if (t + 1) * maps.step > start:
            minute = forced[history.load_venues[o]] / maps.step
            hazard += maps.step * rate * max(0.0, minute / threshold - 1.0)
        history.hazard[t, o] = hazard
        if hazard >= patience and np.isinf(history.load_start[o]):
            history.load_start[o] = t + 1.0


def outages_seen(maps: Maps, history: History) -> tuple[np.ndarray, np.ndarray]:
    """First start of each venue's outages, and minutes of the steps in which its gate is shut."""
    first = history.outage_start.copy()
    for o in range(history.load.shape[0]):
        begins = history.load_start[o] * maps.step
        venue = history.load_venues[o]
        if history.load_start[o] < maps.steps and not first[venue] <= begins:
            first[venue] = begins
    shut = np.zeros(first.shape[0])
    for t in range(history.gate_open.shape[0]):
        for v in range(first.shape[0]):
            shut[v] += 1.0 - history.gate_open[t, v]
    return first, shut * maps.step


def least_branch_gap(maps: Maps, rules: Rules, history: History) -> float:
    """Relative distance to the other thresholds: fair margin, solvency, depeg, supply, profits.

    Not an outcome of the model: a comparison of two implementations skips paths that come closer
    to a jump than their rounding.
    """
    least = np.inf
    for t in range(history.price.shape[0]):
        least = min(least, history.fill_gap[t], history.queue_gap[t], history.breaker_gap[t])
        for o in range(history.load.shape[0]):
            patience = history.load[o, 3]
            least = min(least, abs(history.hazard[t, o] - patience) / patience)
        for m in range(history.price.shape[1]):
            least = min(least, kink_gap(maps, rules, m, history.displacement_impact[t, m]))
        for p in range(maps.pegged.shape[0]):
            least_supply = LEAST_SUPPLY * rules.supply[p]
            least = min(least, abs(history.supply[t, p] / least_supply - 1.0))
        for peg in range(maps.peg_markets.shape[0]):
            market = maps.peg_markets[peg]
            redemption = math.exp(history.log_fundamental[t, maps.market_asset[market]])
            for threshold in maps.thresholds:
                ratio = history.price_after[t, market] / redemption
                least = min(least, abs(ratio - threshold))
        for b in range(maps.perps.shape[0]):
            venue = maps.book_venue[b]
            deficits = history.adl_notional[t, venue] + history.socialised_loss[t, venue]
            settled = deficits + history.unabsorbed_loss[t, venue]
            for k in range(maps.buckets):
                if history.taken_over[t, b, k]:
                    continue
                size = holdings(maps, rules, history, t, b, k, history.price[t])
                if size == 0.0:
                    continue
                if history.fair_maintenance[t, b, k] > 0.0:
                    fair = history.fair_equity[t, b, k] - history.fair_maintenance[t, b, k]
                    least = min(least, abs(fair) / history.fair_maintenance[t, b, k])
                if history.due[t, b, k]:
                    if history.fair_maintenance_own[t, b, k] > 0.0:
                        own = history.fair_maintenance_own[t, b, k]
                        least = min(least, abs(history.fair_equity_own[t, b, k] - own) / own)
                    least = min(least, abs(history.bankruptcy_equity[t, b, k]) / size)
                elif rules.adl[venue] > 0.0 and settled > 0.0:
                    for j in range(maps.perps.shape[1]):
                        if maps.perps[b, j] >= 0:
                            price = history.price_after[t, maps.perps[b, j]]
                            least = min(least, abs(price / rules.entry[j, b] - 1.0))
    return least


def is_finite(history: History) -> bool:
    """Whether every price, balance and margin of the path is a number."""
    return (
        np.isfinite(history.price_after).all()
        and np.isfinite(history.price_impact).all()
        and np.isfinite(history.index).all()
        and np.isfinite(history.equity).all()
        and np.isfinite(history.maintenance).all()
        and np.isfinite(history.cash).all()
        and np.isfinite(history.fund).all()
        and np.isfinite(history.maker_cash).all()
    )


def status_of(rules: Rules, history: History, sold_at_last: bool) -> float:
    """The flags of a path, added up."""
    status = 1.0 if sold_at_last else 0.0
    highest = max(history.displacement_impact.max(), history.displacement_healed.max())
    if highest > 20.0 or history.is_unfilled.max() > 0.0:
        status += 2.0
    if rules.due_at_start != 0.0:
        status += 4.0
    if not is_finite(history):
        status += 8.0
    return status


def observe(maps: Maps, rules: Rules, history: History) -> Outcomes:
    """All outcomes of one path and policy."""
    steps, markets = history.price.shape
    start_prices = np.ones(markets)
    by_market, forced = np.zeros(markets), np.zeros(steps)
    collateral_sold = np.zeros(maps.is_pegged.shape[0])
    units, longs, reported, accounts, compensation = 0.0, 0.0, 0.0, 0.0, 0.0
    missed_liquidations, missed_loss = 0.0, 0.0
    wrongful = np.zeros(2)
    counted = np.zeros(rules.cash.shape, np.bool_)
    missed = np.zeros(rules.cash.shape, np.bool_)
    sold_at_last = False
    for t in range(steps):
        of_step = np.zeros(markets)
        for b in range(maps.perps.shape[0]):
            for k in range(maps.buckets):
                of_cohort = forced_sales(maps, rules, history, t, b, k, history.price[t])
                off_book = forced_off_book(maps, rules, history, t, b, k, history.price[t])
                notional = of_cohort.sum() + off_book
                of_step += of_cohort
                forced[t] += off_book
                of_start = forced_sales(maps, rules, history, t, b, k, start_prices).sum()
                of_start += forced_off_book(maps, rules, history, t, b, k, start_prices)
                units += of_start
                longs += forced_longs(maps, rules, history, t, b, k, history.price[t])
                proceeds, lacking = collateral_sales(maps, rules, history, t, b, k)
                collateral_sold += proceeds
                if of_start > DUST * starting_units(rules, b, k) and not counted[b, k]:
                    accounts += rules.accounts[b, k]
                    counted[b, k] = True
                if history.due[t, b, k] and t == steps - 1:
                    sold_at_last = sold_at_last or is_selling(rules, history, t, b, k)
                if is_wrongful(maps, history, t, b, k):
                    own_met = (
                        history.fair_equity_own[t, b, k] >= history.fair_maintenance_own[t, b, k]
                    )
                    wrongful[0 if own_met else 1] += notional
                    compensation += lacking
                if is_missed(history, t, b, k) and not missed[b, k]:
                    missed[b, k] = True
                    missed_liquidations += holdings(maps, rules, history, t, b, k, history.price[t])
        by_market += of_step
        forced[t] += of_step.sum()
        for m in range(markets):
            reported += min(of_step[m], rules.feed_cap[m] * maps.step)
    for b in range(maps.perps.shape[0]):
        for k in range(maps.buckets):
            if missed[b, k] and not history.taken_over_after[-1, b, k]:
                missed_loss += max(0.0, -history.final_equity[-1, b, k])

    total = forced.sum()
    long_share, peak_share, peak_time = np.nan, np.nan, np.nan
    if total > 0.0:
        long_share = longs / total
        end, peak_share = peak_window(forced, maps.window_steps)
        peak_time = (end + 1) * maps.step
    trough, wick, trough_time = troughs(maps, history)
    trough_index = np.empty(history.index.shape[1])
    for i in range(trough_index.shape[0]):
        trough_index[i] = history.index[:, i].min()
    first_outage, minutes_shut = outages_seen(maps, history)
    return Outcomes(
        total,
        by_market,
        units,
        reported,
        accounts,
        long_share,
        peak_share,
        peak_time,
        collateral_sold,
        history.deficit.sum(),
        history.insurance_drawn.sum(),
        history.insurance_drawn.sum(axis=0),
        history.vault_paid.sum(),
        history.vault_taken.sum(axis=0),
        -vault_gains(
            maps, history.vault_units[-1], history.vault_cash[-1], history.price_after[-1]
        ),
        history.adl_loss.sum(),
        history.socialised_loss.sum(),
        history.unabsorbed_loss.sum(),
        history.adl_notional.sum(),
        history.adl_notional.sum(axis=0),
        history.adl_overshoot_contracts.sum(),
        history.adl_overshoot_wealth.sum(),
        equity_lost(maps, rules, history),
        first_outage,
        minutes_shut,
        trough,
        wick,
        trough_time,
        trough_index,
        history.halted.sum(axis=0) * maps.step,
        depeg_minutes(maps, history),
        *issuers_seen(maps, rules, history),
        open_interest_change(maps, rules, history),
        least_margin_gap(maps, rules, history),
        wrongful,
        missed_liquidations,
        missed_loss,
        compensation,
        status_of(rules, history, sold_at_last),
        least_branch_gap(maps, rules, history),
    )
