"""The oracle's liquidation orders, impact and healing: MODEL.md sections 2.6 to 2.8."""

from __future__ import annotations

import math

import numpy as np
from reference_curves import (
    average_slip,
    displacement_at,
    fills_of,
    share_within,
    shortfall_gap,
    units_to,
)
from reference_issuer import redeem, redeemable
from reference_margin import (
    collateral_value,
    credit_of,
    maintenance_of_slot,
    perp_maintenance,
    routes,
)
from reference_world import BACKSTOP, HOLD, LINEAR, REDEEM, History, Maps, Rules, State

SMALLEST = 1e-4  # fractions below this are closed at once


# Stage 6: liquidation orders


def pace_of(maps: Maps, rules: Rules, b: int) -> float:
    """Largest fraction of a starting position that one step sells."""
    return min(1.0, rules.pace[b] * maps.step)


def fraction_to_shed(
    maps: Maps, rules: Rules, state: State, index: np.ndarray, mark: np.ndarray, b: int, k: int
) -> float:
    """Fraction of its start that a `targeting` cohort sells to be back at its leverage."""
    size, grown, earned, sold = 0.0, 0.0, 0.0, 0.0
    own = rules.cash[b, k]
    for j in range(maps.perps.shape[1]):
        if maps.perps[b, j] >= 0:
            position = rules.position[j, b, k]
            move = mark[maps.perps[b, j]] - 1.0
            size += abs(position)
            grown += abs(position) * move
            earned += position * move
            sold += abs(position) * (1.0 - state.position_left[j, b, k])
            own += position * (1.0 - rules.entry[j, b])
    for j in range(maps.collateral.shape[1]):
        if maps.collateral[b, j] >= 0:
            units = rules.collateral[j, b, k]
            gain = units * (index[maps.collateral[b, j]] - 1.0)
            own += units
            earned += gain
            if maps.is_loan[b]:
                size += units
                grown += gain
                sold += units * (1.0 - state.collateral_left[j, b, k])
    if own <= 0.0 or size <= 0.0:
        return 0.0
    return max(0.0, (grown - size / own * earned - sold) / size)


def perp_orders(
    maps: Maps,
    rules: Rules,
    state: State,
    index: np.ndarray,
    mark: np.ndarray,
    equity: float,
    maintenance: float,
    b: int,
    k: int,
) -> np.ndarray:
    """Fraction of each starting perp position that a due cohort closes [Jp]."""
    pace = pace_of(maps, rules, b)
    share = 1.0
    if maps.is_target[b] and not state.taken_over[b, k]:
        of_perps = perp_maintenance(maps, rules, rules.margin, state, mark, b, k)
        target = rules.target[b]
        share = 0.0
        if of_perps > 0.0:
            share = (target * maintenance - equity) / (target * of_perps)
            share = min(max(share, 0.0), 1.0)
    closed = np.zeros(maps.perps.shape[1])
    for j in range(closed.shape[0]):
        left = state.position_left[j, b, k]
        if maps.perps[b, j] < 0:
            continue
        closed[j] = min(share * left, pace)
        if maps.is_targeting[b] and not state.taken_over[b, k]:
            wanted = fraction_to_shed(maps, rules, state, index, mark, b, k)
            closed[j] = min(left, wanted, pace)
        if closed[j] > 0.0 and left - closed[j] < SMALLEST:
            closed[j] = left
    return closed


def cash_to_raise(
    maps: Maps,
    rules: Rules,
    state: State,
    index: np.ndarray,
    mark: np.ndarray,
    equity: float,
    maintenance: float,
    closed: np.ndarray,
    cash: float,
    b: int,
    k: int,
) -> float:
    """What a due cohort has to raise from collateral once its perps have traded."""
    debt = max(-cash, 0.0)
    if not maps.is_target[b]:
        return debt
    target = rules.target[b]
    missing = target * maintenance - equity
    for j in range(closed.shape[0]):
        if closed[j] > 0.0:
            slot = maintenance_of_slot(maps, rules, rules.margin, state, mark, j, b, k)
            missing -= target * slot * closed[j] / state.position_left[j, b, k]
    value = collateral_value(maps, rules, state, index, b, k)
    credit = credit_of(maps, rules, rules.margin, state, index, b, k)
    credit_share = credit / value if value > 0.0 else 0.0
    gain = max(1.0 - credit_share + target * rules.margin.loan_rate[b], 1e-9)
    return min(debt, max(0.0, missing) / gain)


def watch_index(maps: Maps, rules: Rules, state: State, history: History, t: int) -> None:
    """Trips circuit breakers whose index has fallen too far within their window."""
    for i in range(rules.trigger.shape[0]):
        if maps.breaker_steps == 0:
            continue
        price = history.index[t, i]
        high = price
        for s in range(maps.breaker_steps):
            if t == 0:
                state.recent_index[s, i] = price
            if s < rules.window[i]:
                high = max(high, state.recent_index[s, i])
        if state.halt_left[i] > 0.0:
            history.halted[t, i] = 1.0
            state.halt_left[i] -= 1.0
        else:
            level = (1.0 - rules.trigger[i]) * high
            history.breaker_gap[t] = min(history.breaker_gap[t], abs(price - level) / high)
            if price <= level:
                history.halted[t, i] = 1.0
                state.halt_left[i] = rules.halt[i] - 1.0
        for s in range(maps.breaker_steps - 1, -1, -1):
            if s == 0 or history.halted[t, i] == 1.0:
                state.recent_index[s, i] = price
            else:
                state.recent_index[s, i] = state.recent_index[s - 1, i]


def is_suspended(maps: Maps, rules: Rules, halted: np.ndarray, b: int, k: int) -> bool:
    """Whether a cohort has a position in a halted market."""
    for j in range(maps.perps.shape[1]):
        market = maps.perps[b, j]
        if market >= 0 and rules.position[j, b, k] != 0.0:
            if halted[maps.perp_index[market]] == 1.0:
                return True
    if maps.is_loan[b]:
        for j in range(maps.collateral.shape[1]):
            entry = maps.collateral[b, j]
            if entry >= 0 and rules.collateral[j, b, k] != 0.0 and halted[entry] == 1.0:
                return True
    return False


def can_sell(
    maps: Maps, rules: Rules, gate_open: np.ndarray, halted: np.ndarray, b: int, j: int
) -> bool:
    """Whether a collateral slot can be sold in this step."""
    entry, kind = maps.collateral[b, j], maps.sale_kind[b, j]
    shut = gate_open[maps.entry_venue[entry]] == 0.0
    if kind == HOLD or (kind == REDEEM and shut) or halted[entry] == 1.0:
        return False
    return not (rules.pause[entry] > 0.0 and shut)


def prices_offered(
    maps: Maps,
    rules: Rules,
    gate_open: np.ndarray,
    log_fundamental: np.ndarray,
    index: np.ndarray,
    price: np.ndarray,
    filled: np.ndarray,
    b: int,
) -> np.ndarray:
    """What a sold unit of each collateral slot of a book brings, at prices of books [Jc]."""
    offered = np.zeros(maps.collateral.shape[1])
    for j in range(offered.shape[0]):
        entry, kind = maps.collateral[b, j], maps.sale_kind[b, j]
        if entry < 0:
            continue
        issuer = math.exp(log_fundamental[maps.entry_asset[entry]])
        if kind == REDEEM:
            offered[j] = issuer
        elif kind == BACKSTOP:
            fair = issuer if maps.is_pegged[maps.entry_asset[entry]] else index[entry]
            offered[j] = (1.0 - rules.discount[entry]) * fair
        else:
            shares = routes(maps, gate_open, filled, b, j)
            for m in range(price.shape[0]):
                offered[j] += shares[m] * price[m]
    return offered


def fill_off_book(
    maps: Maps, rules: Rules, state: State, history: History, t: int
) -> None:
    """Sales to an issuer and to backstop buyers as far as these take them, pro rata."""
    orders = history.collateral_sold[t]
    books, buckets = orders.shape[1], orders.shape[2]
    for p in range(maps.pegged.shape[0]):
        wanted = 0.0
        for b in range(books):
            for j in range(orders.shape[0]):
                if is_sold_to(maps, REDEEM, -1, maps.pegged[p], b, j):
                    for k in range(buckets):
                        wanted += orders[j, b, k] * rules.collateral[j, b, k]
        capacity = redeemable(maps, rules, state, history, t, p)
        share = capacity / wanted if wanted > capacity else 1.0
        redeem(state, history, t, p, wanted * share)
        for b in range(books):
            for j in range(orders.shape[0]):
                if is_sold_to(maps, REDEEM, -1, maps.pegged[p], b, j):
                    for k in range(buckets):
                        orders[j, b, k] *= share
    offered, share = np.zeros(maps.entry_asset.shape[0]), np.ones(maps.entry_asset.shape[0])
    for entry in range(share.shape[0]):
        fair = history.index[t, entry]
        if maps.is_pegged[maps.entry_asset[entry]]:
            fair = math.exp(history.log_fundamental[t, maps.entry_asset[entry]])
        offered[entry] = (1.0 - rules.discount[entry]) * fair
    for entry in range(share.shape[0]):
        asset, venue = maps.entry_asset[entry], maps.entry_venue[entry]
        wanted = 0.0
        for b in range(books):
            for j in range(orders.shape[0]):
                if is_sold_to(maps, BACKSTOP, venue, asset, b, j):
                    for k in range(buckets):
                        units = orders[j, b, k] * rules.collateral[j, b, k]
                        wanted += units * offered[maps.collateral[b, j]]
        capacity = rules.backstop_capacity[entry] * maps.step
        if wanted > capacity:
            share[entry] = capacity / wanted
    for b in range(books):
        for j in range(orders.shape[0]):
            if maps.collateral[b, j] >= 0 and maps.sale_kind[b, j] == BACKSTOP:
                for k in range(buckets):
                    orders[j, b, k] *= share[maps.collateral[b, j]]


def is_sold_to(maps: Maps, kind: int, venue: int, asset: int, b: int, j: int) -> bool:
    """Whether a collateral slot is of an asset (on a venue, or any: -1) and goes to a buyer."""
    entry = maps.collateral[b, j]
    if entry < 0 or maps.sale_kind[b, j] != kind or maps.entry_asset[entry] != asset:
        return False
    return venue < 0 or maps.entry_venue[entry] == venue


def collateral_orders(
    maps: Maps,
    rules: Rules,
    state: State,
    index: np.ndarray,
    mark: np.ndarray,
    offered: np.ndarray,
    gate_open: np.ndarray,
    halted: np.ndarray,
    due: bool,
    equity: float,
    maintenance: float,
    closed: np.ndarray,
    cash: float,
    b: int,
    k: int,
) -> np.ndarray:
    """Fraction of each starting collateral that a cohort sells [Jc]; `cash` is after its perps."""
    sold = np.zeros(maps.collateral.shape[1])
    if due and not is_suspended(maps, rules, halted, b, k):
        worth = 0.0
        for j in range(sold.shape[0]):
            if maps.collateral[b, j] >= 0 and can_sell(maps, rules, gate_open, halted, b, j):
                units = state.collateral_left[j, b, k] * rules.collateral[j, b, k]
                worth += units * offered[j]
        amount = worth
        if not state.taken_over[b, k]:
            amount = cash_to_raise(
                maps, rules, state, index, mark, equity, maintenance, closed, cash, b, k
            )
        share = min(1.0, amount / worth) if worth > 0.0 else 0.0
        for j in range(sold.shape[0]):
            left = state.collateral_left[j, b, k]
            if maps.collateral[b, j] < 0 or not can_sell(
                maps, rules, gate_open, halted, b, j
            ):
                continue
            sold[j] = min(share * left, pace_of(maps, rules, b))
            if maps.is_loan[b] and maps.is_targeting[b] and not state.taken_over[b, k]:
                wanted = fraction_to_shed(maps, rules, state, index, mark, b, k)
                sold[j] = min(left, wanted, pace_of(maps, rules, b))
            if sold[j] > 0.0 and left - sold[j] < SMALLEST:
                sold[j] = left
    if maps.is_hedged[b]:
        # The fraction of the short is the one the step began with: the spot leg lags one step.
        lag = state.collateral_left[0, b, k] - state.position_left[0, b, k]
        sold[0] = max(sold[0], lag)
    return sold


# Stage 7: impact


def thin_books(rules: Rules, state: State, history: History, t: int) -> None:
    """Liquidity falls where a market has moved more than it usually does."""
    for m in range(state.variance.shape[0]):
        excess = max(0.0, state.variance[m] / rules.normal_variance[m] - 1.0)
        left = 1.0 / (1.0 + rules.thinning[m] * excess)
        history.liquidity[t, m] *= max(left, rules.least_depth[m])


def log_price_of(maps: Maps, log_fundamental: np.ndarray, y: np.ndarray, m: int) -> float:
    """Log price of a book in USD."""
    quote = maps.market_quote[m]
    return log_fundamental[maps.market_asset[m]] - y[m] - (y[quote] if quote >= 0 else 0.0)


def starting_log_prices(maps: Maps, y: np.ndarray) -> np.ndarray:
    """Log prices before the first draw [M]."""
    at_par, found = np.zeros(maps.is_pegged.shape[0]), np.empty(y.shape[0])
    for m in range(found.shape[0]):
        found[m] = log_price_of(maps, at_par, y, m)
    return found


def realise_variance(
    maps: Maps, rules: Rules, state: State, log_fundamental: np.ndarray
) -> None:
    """Averages the squared log return since the end of the step before, per minute."""
    for m in range(state.variance.shape[0]):
        log_price = log_price_of(maps, log_fundamental, state.displacement, m)
        squared = (log_price - state.last_log_price[m]) ** 2 / maps.step
        state.variance[m] += rules.variance_smoothing[m] * (squared - state.variance[m])
        state.last_log_price[m] = log_price

def trade(
    maps: Maps,
    rules: Rules,
    state: State,
    price: np.ndarray,
    liquidity: np.ndarray,
    sold: np.ndarray,
    feedback: float,
    perps: bool,
    average: np.ndarray,
) -> None:
    """Moves the books of one kind by the net units sold and fills in their average prices."""
    for m in range(price.shape[0]):
        if maps.market_is_perp[m] != perps:
            continue
        average[m] = price[m]
        if feedback == 0.0:
            continue
        if maps.impact_kind[m] == LINEAR:
            change = sold[m] / (rules.depth[m] * liquidity[m])
            state.displacement[m] += change
            if change != 0.0:
                average[m] = price[m] * -math.expm1(-change) / change
            continue
        before = units_to(maps, rules, m, state.displacement[m], liquidity[m])
        start = displacement_at(maps, rules, m, before, liquidity[m])
        stop = displacement_at(maps, rules, m, before + sold[m], liquidity[m])
        state.displacement[m] += stop - start
        average[m] = price[m] * average_slip(maps, rules, m, start, stop)


def fill_perps(
    maps: Maps, rules: Rules, state: State, history: History, t: int, feedback: float
) -> None:
    """Leaves perp orders beyond the end of a measured book unfilled, pro rata."""
    others = history.others_sold[t]
    others[:] = history.sales[t]
    vaults = history.vault_sold[t]
    if feedback == 0.0:
        return
    orders, liquidity = history.position_sold[t], history.liquidity[t]
    for m in range(liquidity.shape[0]):
        if not maps.market_is_perp[m]:
            continue
        sold = others[m] + max(vaults[m], 0.0)
        bought = max(-vaults[m], 0.0)
        for j in range(orders.shape[0]):
            for b in range(orders.shape[1]):
                if maps.perps[b, j] == m:
                    for k in range(orders.shape[2]):
                        units = orders[j, b, k] * rules.position[j, b, k]
                        sold += max(units, 0.0)
                        bought += max(-units, 0.0)
        y = state.displacement[m]
        sells, buys, gap = fills_of(maps, rules, m, y, liquidity[m], sold, bought)
        history.fill_gap[t] = min(history.fill_gap[t], gap)
        if min(sells, buys) < 1.0:
            history.is_unfilled[t] = 1.0
        others[m] *= sells
        vaults[m] *= sells if vaults[m] > 0.0 else buys
        for j in range(orders.shape[0]):
            for b in range(orders.shape[1]):
                if maps.perps[b, j] == m:
                    for k in range(orders.shape[2]):
                        orders[j, b, k] *= sells if rules.position[j, b, k] > 0.0 else buys


def fill_collateral(
    maps: Maps, rules: Rules, state: State, history: History, t: int, feedback: float
) -> None:
    """The same for collateral; `filled` says what each spot book took of its orders."""
    orders, liquidity, filled = history.collateral_sold[t], history.liquidity[t], history.filled[t]
    filled[:] = 1.0
    if feedback == 0.0:
        return
    gate_open = history.gate_open[t]
    wanted = collateral_units(maps, rules, gate_open, orders, filled)
    whole = np.ones(filled.shape[0])
    for m in range(liquidity.shape[0]):
        if not maps.market_is_perp[m]:
            y = state.displacement[m]
            offered = wanted[m] + history.sales[t, m]
            sells, _, gap = fills_of(maps, rules, m, y, liquidity[m], offered, 0.0)
            filled[m] = sells
            history.others_sold[t, m] = history.sales[t, m] * sells
            history.fill_gap[t] = min(history.fill_gap[t], gap)
            if sells < 1.0:
                history.is_unfilled[t] = 1.0
    for j in range(orders.shape[0]):
        for b in range(orders.shape[1]):
            if maps.collateral[b, j] >= 0:
                shares, missing = routes(maps, gate_open, whole, b, j), 0.0
                for m in range(filled.shape[0]):
                    missing += shares[m] * (1.0 - filled[m])
                for k in range(orders.shape[2]):
                    orders[j, b, k] *= 1.0 - missing


def collateral_units(
    maps: Maps, rules: Rules, gate_open: np.ndarray, orders: np.ndarray, filled: np.ndarray
) -> np.ndarray:
    """Units of collateral sold on each book [M], shared as what each took."""
    units = np.zeros(filled.shape[0])
    for j in range(orders.shape[0]):
        for b in range(orders.shape[1]):
            if maps.collateral[b, j] >= 0:
                shares = routes(maps, gate_open, filled, b, j)
                for k in range(orders.shape[2]):
                    for m in range(units.shape[0]):
                        units[m] += orders[j, b, k] * rules.collateral[j, b, k] * shares[m]
    return units


def settle_perps(
    maps: Maps,
    rules: Rules,
    state: State,
    average: np.ndarray,
    closed: np.ndarray,
    b: int,
    k: int,
) -> None:
    """Books the closed perps of a cohort; the fee goes to its venue's fund."""
    for j in range(closed.shape[0]):
        market = maps.perps[b, j]
        if market < 0:
            continue
        units = closed[j] * rules.position[j, b, k]
        fee = rules.fee[b] * abs(units) * average[market]
        state.cash[b, k] += units * (average[market] - rules.entry[j, b]) - fee
        state.fund[maps.book_venue[b]] += fee
        state.maker_units[market] += units
        state.maker_cash[market] -= units * average[market]
        state.position_left[j, b, k] -= closed[j]


def settle_collateral(
    maps: Maps,
    rules: Rules,
    state: State,
    received: np.ndarray,
    due: bool,
    sold: np.ndarray,
    b: int,
    k: int,
) -> None:
    """Books the sold collateral of a cohort; the fee, if it is due, goes to its venue's fund."""
    for j in range(sold.shape[0]):
        if maps.collateral[b, j] < 0:
            continue
        proceeds = sold[j] * rules.collateral[j, b, k] * received[j]
        fee = rules.collateral_fee[b] * proceeds if due else 0.0
        state.cash[b, k] += proceeds - fee
        state.fund[maps.book_venue[b]] += fee
        state.collateral_left[j, b, k] -= sold[j]


# Stage 8: healing


def resilience(maps: Maps, rules: Rules, state: State, liquidity: np.ndarray) -> None:
    """Books fill again."""
    for m in range(liquidity.shape[0]):
        age = maps.step * liquidity[m] / rules.resilience_half_life[m]
        state.displacement[m] *= 2.0**-age


def basis_trade(
    maps: Maps,
    rules: Rules,
    state: State,
    history: History,
    t: int,
    depth: np.ndarray,
    feedback: float,
) -> None:
    """The same units are bought on the cheaper and sold on the dearer of spot and perp."""
    y = state.displacement
    for pair in range(maps.basis_pairs.shape[0]):
        spot, perp = maps.basis_pairs[pair, 0], maps.basis_pairs[pair, 1]
        spot_impact = feedback / depth[spot]
        perp_impact = feedback / depth[perp]
        if spot_impact + perp_impact == 0.0:
            continue
        share = 1.0 - 2.0 ** -(maps.step / rules.basis_half_life[pair])
        units = share * (y[perp] - y[spot]) / (spot_impact + perp_impact)
        on_spot = share_in_book(maps, rules, history, t, spot, y[spot], units * spot_impact)
        on_perp = share_in_book(maps, rules, history, t, perp, y[perp], -units * perp_impact)
        units *= min(on_spot, on_perp)
        y[perp] -= units * perp_impact
        y[spot] += units * spot_impact


def share_in_book(
    maps: Maps, rules: Rules, history: History, t: int, m: int, y: float, move: float
) -> float:
    """Share of a move of arbitrage that a book allows; says where it is not all of it."""
    share, short = share_within(maps, rules, m, y, move)
    history.fill_gap[t] = min(history.fill_gap[t], shortfall_gap(maps, rules, m, y, move))
    if short:
        history.is_unfilled[t] = 1.0
    return share


def cross_venue_trade(
    maps: Maps,
    rules: Rules,
    state: State,
    history: History,
    t: int,
    depth: np.ndarray,
    gate_open: np.ndarray,
    left: float,
) -> None:
    """Spot books of an asset at open venues move towards their mean, as capital allows."""
    y = state.displacement
    for group in range(maps.arbitrage_groups.shape[0]):
        markets = maps.arbitrage_groups[group]
        total, mean = 0.0, 0.0
        for m in markets:
            if m >= 0:
                weight = gate_open[maps.market_venue[m]] * depth[m]
                total += weight
                mean += weight * y[m]
        if total == 0.0:
            continue
        mean /= total
        share = 1.0 - 2.0 ** -(maps.step / rules.arbitrage_half_life[group])
        change = np.zeros(markets.shape[0])
        bought = 0.0
        for i in range(markets.shape[0]):
            m = markets[i]
            if m >= 0:
                change[i] = gate_open[maps.market_venue[m]] * share * (mean - y[m])
                bought += max(0.0, -change[i]) * depth[m]
        if bought == 0.0:
            continue
        scale = left * min(1.0, rules.arbitrage_capital[group] * maps.step / bought)
        wanted, taken = np.zeros(2), np.zeros(2)  # units sold and bought
        for i in range(markets.shape[0]):
            m = markets[i]
            if m >= 0:
                side = 0 if change[i] > 0.0 else 1
                move = scale * change[i]
                wanted[side] += abs(move) * depth[m]
                change[i] = move * share_in_book(maps, rules, history, t, m, y[m], move)
                taken[side] += abs(change[i]) * depth[m]
        # what ends first decides how much is moved: as much is bought as is sold
        done = np.ones(2)
        for side in range(2):
            if wanted[side] > 0.0:
                done[side] = taken[side] / wanted[side]
        for i in range(markets.shape[0]):
            if markets[i] >= 0 and change[i] != 0.0:
                side = 0 if change[i] > 0.0 else 1
                y[markets[i]] += change[i] * min(done[0], done[1]) / done[side]


def redemption_trade(
    maps: Maps,
    rules: Rules,
    state: State,
    history: History,
    t: int,
    depth: np.ndarray,
    gate_open: np.ndarray,
) -> None:
    """A discounted pegged asset is bought at open venues and redeemed, as capacity allows."""
    y = state.displacement
    for p in range(maps.pegged.shape[0]):
        wanted = 0.0
        for m in range(y.shape[0]):
            if maps.market_asset[m] == maps.pegged[p] and not maps.market_is_perp[m]:
                opened = gate_open[maps.market_venue[m]]
                wanted += opened * max(0.0, y[m]) * depth[m]
        if wanted == 0.0:
            continue
        capacity = redeemable(maps, rules, state, history, t, p)
        share = min(1.0, capacity / wanted)
        redeem(state, history, t, p, min(capacity, wanted))
        for m in range(y.shape[0]):
            if maps.market_asset[m] == maps.pegged[p] and not maps.market_is_perp[m]:
                y[m] -= share * gate_open[maps.market_venue[m]] * max(0.0, y[m])
