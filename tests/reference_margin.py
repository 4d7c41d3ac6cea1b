"""The oracle's prices, index, mark, margin and top-ups: MODEL.md sections 2.2 to 2.5."""

from __future__ import annotations

import math

import numpy as np
from reference_world import INDEX, LAST, Maps, Margin, Rules, State

# Stage 2: prices


def book_prices(maps: Maps, log_fundamental: np.ndarray, displacement: np.ndarray) -> np.ndarray:
    """USD price of every book [M]."""
    price = np.empty(displacement.shape[0])
    for m in range(price.shape[0]):
        quote = maps.market_quote[m]
        quote_displacement = displacement[quote] if quote >= 0 else 0.0
        price[m] = math.exp(log_fundamental[maps.market_asset[m]]) * math.exp(
            -displacement[m] - quote_displacement
        )
    return price


def sale_prices(maps: Maps, price: np.ndarray) -> np.ndarray:
    """What a unit of each index entry brings on the venue's own books [I]."""
    result = np.zeros(maps.sale_shares.shape[0])
    for i in range(result.shape[0]):
        for m in range(price.shape[0]):
            result[i] += maps.sale_shares[i, m] * price[m]
    return result


def routes(maps: Maps, gate_open: np.ndarray, filled: np.ndarray, b: int, j: int) -> np.ndarray:
    """How sales of a collateral slot are split over books that take a share of orders [M]."""
    shares = np.zeros(filled.shape[0])
    home, total = maps.book_venue[b], 0.0
    for m in range(shares.shape[0]):
        there = maps.market_venue[m]
        if there == home or (gate_open[home] == 1.0 and gate_open[there] == 1.0):
            shares[m] = maps.route_shares[b, j, m] * filled[m]
            total += shares[m]
    if total > 0.0:
        for m in range(shares.shape[0]):
            shares[m] /= total
    return shares


# Stage 3: index and mark


def lower_weighted_median(values: np.ndarray, shares: np.ndarray) -> float:
    """The least value whose share of values at or below it reaches one half."""
    best = np.inf
    for candidate in values:
        reached = 0.0
        for r in range(values.shape[0]):
            if values[r] <= candidate:
                reached += shares[r]
        if reached >= 0.5 - 1e-6 and candidate < best:
            best = candidate
    return best


def reference_prices(maps: Maps, price: np.ndarray) -> np.ndarray:
    """Cross-venue price of every index entry [I], NaN where there is none."""
    result = np.full(maps.references.shape[0], np.nan)
    for i in range(result.shape[0]):
        count = 0
        while count < maps.references.shape[1] and maps.references[i, count] >= 0:
            count += 1
        if count > 0:
            values = np.empty(count)
            for r in range(count):
                values[r] = price[maps.references[i, r]]
            result[i] = lower_weighted_median(values, maps.reference_shares[i, :count])
    return result


def redemption_price(maps: Maps, log_fundamental: np.ndarray, entry: int) -> float:
    """What the issuer pays: the fundamental, as backing is never short (A1)."""
    return math.exp(log_fundamental[maps.entry_asset[entry]])


def redemption_seen(
    maps: Maps, rules: Rules, log_fundamental: np.ndarray, t: int
) -> np.ndarray:
    """What each venue takes for the redemption price: that of some steps ago [I]."""
    seen = np.ones(maps.entry_asset.shape[0])
    for i in range(seen.shape[0]):
        then = t - int(rules.delay[i])
        if then >= 0:
            seen[i] = redemption_price(maps, log_fundamental[then], i)
    return seen


def raw_indices(
    maps: Maps,
    rules: Rules,
    seen: np.ndarray,
    price: np.ndarray,
    reference: np.ndarray,
) -> np.ndarray:
    """Weighted prices before clamp, smoothing and floor [I]."""
    raw = np.zeros(reference.shape[0])
    for i in range(raw.shape[0]):
        for s in range(maps.sources.shape[1]):
            if maps.sources[i, s] >= 0:
                component = price[maps.sources[i, s]]
                if not math.isnan(reference[i]):
                    lowest = reference[i] - rules.component_clamp[i] * reference[i]
                    highest = reference[i] + rules.component_clamp[i] * reference[i]
                    component = min(max(component, lowest), highest)
                raw[i] += rules.weight[s, i] * component
        if not math.isnan(reference[i]):
            raw[i] += rules.reference_weight[i] * reference[i]
        raw[i] += rules.redemption_weight[i] * seen[i]
        if rules.median_weight[i] > 0.0:
            raw[i] += rules.median_weight[i] * median_of_sources(maps, rules, price, i)
    return raw


def median_of_sources(maps: Maps, rules: Rules, price: np.ndarray, i: int) -> float:
    """Weighted median of those sources of an index entry that have a say in it."""
    count = 0
    for s in range(maps.sources.shape[1]):
        if maps.sources[i, s] >= 0 and rules.median_share[s, i] > 0.0:
            count += 1
    values, shares = np.empty(count), np.empty(count)
    place = 0
    for s in range(maps.sources.shape[1]):
        if maps.sources[i, s] >= 0 and rules.median_share[s, i] > 0.0:
            values[place], shares[place] = price[maps.sources[i, s]], rules.median_share[s, i]
            place += 1
    return lower_weighted_median(values, shares)


def publish_indices(
    maps: Maps,
    rules: Rules,
    state: State,
    seen: np.ndarray,
    reference: np.ndarray,
    raw: np.ndarray,
    factor: np.ndarray,
) -> np.ndarray:
    """Glitch, clamp, EMA, move limit, floor: what the venue publishes [I]."""
    index = np.empty(raw.shape[0])
    for i in range(raw.shape[0]):
        clamped = raw[i] * factor[i]
        if not math.isnan(reference[i]):
            lowest = reference[i] * (1.0 - rules.clamp[i])
            highest = reference[i] * (1.0 + rules.clamp[i])
            clamped = min(max(clamped, lowest), highest)
        if math.isnan(state.smoothed_index[i]):  # the first step
            state.smoothed_index[i] = raw[i]
        kept = (1.0 - rules.smoothing[i]) * state.smoothed_index[i]
        state.smoothed_index[i] = kept + rules.smoothing[i] * clamped
        value, last = state.smoothed_index[i], state.published[i]
        if not math.isnan(last):
            most = last * rules.move_limit[i] * maps.step
            value = min(max(value, last - most), last + most)
        index[i] = max(value, rules.floor[i] * seen[i])
        state.published[i] = index[i]
    return index


def fair_prices(
    maps: Maps, log_fundamental: np.ndarray, reference: np.ndarray, raw: np.ndarray
) -> np.ndarray:
    """Redemption price of a pegged asset, else the reference, else the raw index [I]."""
    fair = np.empty(raw.shape[0])
    for i in range(raw.shape[0]):
        if maps.is_pegged[maps.entry_asset[i]]:
            fair[i] = redemption_price(maps, log_fundamental, i)
        elif math.isnan(reference[i]):
            fair[i] = raw[i]
        else:
            fair[i] = reference[i]
    return fair


def mark_prices(
    maps: Maps, rules: Rules, state: State, price: np.ndarray, index: np.ndarray
) -> np.ndarray:
    """What margin of a perp is computed on [M]; NaN for spot books."""
    mark = np.full(price.shape[0], np.nan)
    for m in range(price.shape[0]):
        if not maps.market_is_perp[m]:
            continue
        underlying = index[maps.perp_index[m]]
        last = state.last_price[m]
        if maps.mark_kind[m] == INDEX:
            mark[m] = underlying
        elif maps.mark_kind[m] == LAST:
            mark[m] = last
        else:
            basis = state.basis[m]
            state.basis[m] = basis + rules.basis_smoothing[m] * (price[m] - underlying - basis)
            smooth = underlying + state.basis[m]
            # The median of three: the largest of the pairwise minima.
            mark[m] = max(min(smooth, last), min(last, underlying), min(smooth, underlying))
    return mark


def fair_marks(maps: Maps, fair: np.ndarray) -> np.ndarray:
    """The fair price of every perp's underlying [M]; NaN for spot books."""
    mark = np.full(maps.perp_index.shape[0], np.nan)
    for m in range(mark.shape[0]):
        if maps.market_is_perp[m]:
            mark[m] = fair[maps.perp_index[m]]
    return mark


# Stage 4: margin


def review_haircuts(maps: Maps, rules: Rules, state: State, index: np.ndarray, t: int) -> None:
    """Averages squared returns of each index; now and then haircuts are set by them."""
    for i in range(index.shape[0]):
        if t > 0:
            squared = math.log(index[i] / state.haircut_index[i]) ** 2 / maps.step
            change = squared - state.haircut_variance[i]
            state.haircut_variance[i] += rules.haircut_smoothing[i] * change
            if t % int(rules.haircut_review[i]) == 0:
                ratio = math.sqrt(state.haircut_variance[i] / rules.haircut_reference[i])
                multiplier = max(1.0, ratio) ** rules.haircut_power[i]
                state.haircut_multiplier[i] = min(multiplier, 1e9)
        state.haircut_index[i] = index[i]


def maintenance_of_slot(
    maps: Maps, rules: Rules, margin: Margin, state: State, mark: np.ndarray, j: int, b: int, k: int
) -> float:
    """Maintenance margin of perp slot `j` of cohort `b`, `k`: the steepest line of its tiers."""
    market = maps.perps[b, j]
    if market < 0:
        return 0.0
    notional = state.position_left[j, b, k] * abs(rules.position[j, b, k]) * mark[market]
    result = -np.inf
    for r in range(margin.rate.shape[1]):
        line = margin.rate[j, r, b] * notional - rules.accounts[b, k] * margin.deduction[j, r, b]
        result = max(result, line)
    return result


def perp_maintenance(
    maps: Maps, rules: Rules, margin: Margin, state: State, mark: np.ndarray, b: int, k: int
) -> float:
    """Maintenance margin of all perps of a cohort."""
    total = 0.0
    for j in range(maps.perps.shape[1]):
        total += maintenance_of_slot(maps, rules, margin, state, mark, j, b, k)
    return total


def maintenance_of(
    maps: Maps, rules: Rules, margin: Margin, state: State, mark: np.ndarray, b: int, k: int
) -> float:
    """Maintenance margin of a cohort: perps and debt."""
    debt = max(-state.cash[b, k], 0.0)
    return perp_maintenance(maps, rules, margin, state, mark, b, k) + margin.loan_rate[b] * debt


def collateral_value(
    maps: Maps, rules: Rules, state: State, value: np.ndarray, b: int, k: int
) -> float:
    """A cohort's collateral at the given prices of index entries, no haircut."""
    total = 0.0
    for j in range(maps.collateral.shape[1]):
        if maps.collateral[b, j] >= 0:
            units = state.collateral_left[j, b, k] * rules.collateral[j, b, k]
            total += units * value[maps.collateral[b, j]]
    return total


def credit_of(
    maps: Maps, rules: Rules, margin: Margin, state: State, index: np.ndarray, b: int, k: int
) -> float:
    """What a cohort's collateral counts for: the flattest line of its tiers, slot by slot.

    Where haircuts follow volatility, what the tiers cut off grows, up to the cap.
    """
    total = 0.0
    for j in range(maps.collateral.shape[1]):
        if maps.collateral[b, j] < 0:
            continue
        units = state.collateral_left[j, b, k] * rules.collateral[j, b, k]
        worth = units * index[maps.collateral[b, j]]
        granted = np.inf
        for r in range(margin.ratio.shape[1]):
            line = margin.ratio[j, r, b] * worth + rules.accounts[b, k] * margin.addition[j, r, b]
            granted = min(granted, line)
        if margin.is_dynamic:
            entry, counted = maps.collateral[b, j], margin.granted[j, b] * worth
            cut = state.haircut_multiplier[entry] * (counted - granted)
            lowest = (1.0 - rules.haircut_cap[entry]) * counted
            granted = min(granted, max(lowest, counted - cut))
        total += granted
    return total


def unrealised_profit(
    maps: Maps, rules: Rules, state: State, mark: np.ndarray, b: int, k: int
) -> float:
    """Profit of a cohort's open perps at the given prices of markets."""
    total = 0.0
    for j in range(maps.perps.shape[1]):
        if maps.perps[b, j] >= 0:
            units = state.position_left[j, b, k] * rules.position[j, b, k]
            total += units * (mark[maps.perps[b, j]] - rules.entry[j, b])
    return total


def equity_of(
    maps: Maps,
    rules: Rules,
    margin: Margin,
    state: State,
    index: np.ndarray,
    mark: np.ndarray,
    b: int,
    k: int,
) -> float:
    """Margin equity of a cohort: cash, credit and unrealised profit."""
    credit = credit_of(maps, rules, margin, state, index, b, k)
    return state.cash[b, k] + credit + unrealised_profit(maps, rules, state, mark, b, k)


def has_anything_left(maps: Maps, rules: Rules, state: State, b: int, k: int) -> bool:
    """Whether a cohort still holds a perp or collateral."""
    for j in range(maps.perps.shape[1]):
        held = maps.perps[b, j] >= 0 and rules.position[j, b, k] != 0.0
        if held and state.position_left[j, b, k] > 0.0:
            return True
    for j in range(maps.collateral.shape[1]):
        held = maps.collateral[b, j] >= 0 and rules.collateral[j, b, k] != 0.0
        if held and state.collateral_left[j, b, k] > 0.0:
            return True
    return False


def is_due(
    maps: Maps, rules: Rules, state: State, equity: float, maintenance: float, b: int, k: int
) -> bool:
    """Whether a cohort is liquidated in this step."""
    always = state.taken_over[b, k] or maps.is_targeting[b]
    if always and has_anything_left(maps, rules, state, b, k):
        return True
    return equity < maintenance


# Stage 5: top-ups


def top_up(
    maps: Maps, rules: Rules, state: State, equity: float, maintenance: float, b: int, k: int
) -> float:
    """Cash that a cohort's owner adds in this step, at an open gate."""
    missing = rules.top_up_warn[b] * maintenance - equity
    if missing <= 0.0:
        return 0.0
    added = min(min(1.0, rules.top_up_rate[b] * maps.step) * missing, state.budget[b, k])
    state.cash[b, k] += added
    state.budget[b, k] -= added
    return added
