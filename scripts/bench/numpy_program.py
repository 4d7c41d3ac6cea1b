"""The cascade as a vectorised NumPy program: one policy at a time over all cohorts and paths.

Arrays are `[book, bucket, path]`. Stage 4 looks at every cohort; the stages behind it work on flat
lists of the cohorts that have orders. Exogenous prices are computed once and read by all policies.
Written from MODEL.md for the default kinds; `numpy_losses` holds stage 9.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy_constants import DUST, Constants, Slot
from numpy_losses import Losses, absorb_losses
from numpy_orders import Orders
from numpy_shocks import Series
from reference_world import LAST, MEDIAN

EXHAUSTED = 20
LEAST_DRAWDOWN = 1e-4


class Run:
    """One policy on a block of paths."""

    def __init__(self, constants: Constants, series: Series, feedback: bool) -> None:
        self.constants, self.series, self.feedback = constants, series, feedback
        self.maps, self.rules = constants.maps, constants.rules
        rules, dtype = self.rules, series.fundamental.dtype
        paths = series.drop.shape[-1]
        self.shape = (*rules.cash.shape, paths)
        full = (*rules.cash.shape, paths)
        self.cash = np.broadcast_to(rules.cash[..., None], full).copy()
        self.budget = np.broadcast_to(rules.budget[..., None], full).copy()
        self.contracts = [
            np.broadcast_to(s.size, (*s.size.shape[:2], paths)).copy() for s in constants.perps
        ]
        self.collateral = [
            np.broadcast_to(s.size, (*s.size.shape[:2], paths)).copy() for s in constants.pledges
        ]
        self.taken_over, self.missed, self.liquidated = (np.zeros(full, bool) for _ in range(3))
        markets = rules.depth.shape[0]
        self.y = np.repeat(rules.displacement[:, None] * dtype.type(feedback), paths, axis=1)
        self.last = np.exp(-self.y)
        self.ema: np.ndarray | None = None
        self.basis = np.zeros((markets, paths), dtype)
        self.maker_units = np.zeros((markets, paths), dtype)
        self.maker_cash = np.zeros((markets, paths), dtype)
        for slot in constants.perps:
            for row, market in enumerate(slot.market):
                self.maker_units[market] -= slot.size[row].sum()
                self.maker_cash[market] += (slot.size[row] * slot.entry[row]).sum()
        self.fund = np.repeat(rules.fund[:, None], paths, axis=1)
        steps, venues = self.maps.steps, self.fund.shape[0]
        self.forced = np.zeros((steps, paths), dtype)
        self.by_market = np.zeros((markets, paths), dtype)
        self.sold = np.zeros((len(self.maps.is_pegged), paths), dtype)
        self.units, self.longs, self.reported, self.compensation, self.missed_notional = (
            np.zeros(paths, dtype) for _ in range(5)
        )
        self.wrongful = np.zeros((2, paths), dtype)
        self.losses = Losses.none(venues, paths, dtype)
        self.topped_up = np.zeros((venues, paths), dtype)
        self.trough, self.wick = (np.full((markets, paths), np.inf, dtype) for _ in range(2))
        self.trough_time = np.zeros((markets, paths), dtype)
        self.trough_index = np.full((len(self.maps.entry_asset), paths), np.inf, dtype)
        pegs = (len(self.maps.peg_markets), len(self.maps.thresholds), paths)
        self.depeg = np.zeros(pegs, dtype)
        self.gap = np.full(paths, np.inf, dtype)
        self.exhausted, self.selling = np.zeros(paths, bool), np.zeros(paths, bool)

    # Stages 2 to 4

    def prices(self, t: int, y: np.ndarray) -> np.ndarray:
        """USD price of every book."""
        maps, quoted = self.maps, self.maps.market_quote >= 0
        slip = y.copy()
        slip[quoted] += y[maps.market_quote[quoted]]
        return self.series.fundamental[t][maps.market_asset] * np.exp(-slip)

    def publish(self, t: int, price: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Index and fair prices of every entry."""
        maps, rules = self.maps, self.rules
        issuer = self.series.fundamental[t][maps.entry_asset]
        raw = rules.redemption_weight[:, None] * issuer
        reference = np.full_like(raw, np.nan)
        for i, row in enumerate(maps.references):
            count = int((row >= 0).sum())
            for s, source in enumerate(maps.sources[i]):
                if source >= 0:
                    raw[i] += rules.weight[s, i] * price[source]
            if count:
                values, shares = price[row[:count]], maps.reference_shares[i, :count]
                below = (values[None] <= values[:, None]) * shares[None, :, None]
                reached = below.sum(axis=1) >= 0.5 - 1e-6
                reference[i] = np.where(reached, values, np.inf).min(axis=0)
                raw[i] += rules.reference_weight[i] * reference[i]
        none = np.isnan(reference)
        band = rules.clamp[:, None]
        clamped = np.clip(raw, reference * (1 - band), reference * (1 + band))
        clamped = np.where(none, raw, clamped)
        if self.ema is None:
            self.ema = raw.copy()
        self.ema += rules.smoothing[:, None] * (clamped - self.ema)
        index = np.maximum(self.ema, rules.floor[:, None] * issuer)
        pegged = maps.is_pegged[maps.entry_asset][:, None]
        return index, np.where(pegged, issuer, np.where(none, raw, reference))

    def marks(self, price: np.ndarray, index: np.ndarray) -> np.ndarray:
        """What margin of each perp is computed on; spot books: 0."""
        maps, mark = self.maps, np.zeros_like(price)
        for m in np.flatnonzero(maps.market_is_perp):
            underlying, last = index[maps.perp_index[m]], self.last[m]
            if maps.mark_kind[m] == MEDIAN:
                rate = self.rules.basis_smoothing[m]
                self.basis[m] += rate * (price[m] - underlying - self.basis[m])
                smooth = underlying + self.basis[m]
                low, high = np.minimum(smooth, last), np.maximum(smooth, last)
                mark[m] = np.clip(underlying, low, high)
            else:
                mark[m] = last if maps.mark_kind[m] == LAST else underlying
        return mark

    def assess(
        self, margin: tuple, index: np.ndarray, mark: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Equity and maintenance of every cohort."""
        perps, pledges, loan_rate = margin
        equity = self.cash.copy()
        maintenance = np.maximum(-self.cash, 0)
        maintenance *= loan_rate
        for slot, held, lines in zip(self.constants.perps, self.contracts, perps, strict=True):
            at = mark[slot.market][:, None]
            notional = np.abs(held)
            notional *= at
            maintenance[slot.rows] += _extreme(lines, notional, np.subtract, np.maximum)
            equity[slot.rows] += held * (at - slot.entry)
        for slot, held, lines in zip(self.constants.pledges, self.collateral, pledges, strict=True):
            worth = held * index[slot.market][:, None]
            equity[slot.rows] += _extreme(lines, worth, np.add, np.minimum)
        return equity, maintenance

    def anything_left(self) -> np.ndarray:
        """Whether a cohort still holds a perp or collateral."""
        left = np.zeros(self.shape, bool)
        held = zip(self.constants.perps, self.contracts, strict=True)
        pledged = zip(self.constants.pledges, self.collateral, strict=True)
        for slot, units in (*held, *pledged):
            left[slot.rows] |= units != 0
        return left

    def step(self, t: int) -> None:
        """All stages once."""
        maps, rules, gate = self.maps, self.rules, self.series.gate_open[t]
        price = self.prices(t, self.y)
        index, fair = self.publish(t, price)
        mark = self.marks(price, index)
        equity, maintenance = self.assess(self.constants.own, index, mark)
        due = equity < maintenance
        if self.taken_over.any():
            due |= self.taken_over & self.anything_left()

        if self.feedback:
            fair_mark = fair[np.maximum(maps.perp_index, 0)]
            fair_equity, fair_maintenance = self.assess(self.constants.baseline, fair, fair_mark)
            fails = fair_equity < fair_maintenance
            self.note_missed(fails & ~due & ~self.missed, price)
            with np.errstate(divide="ignore", invalid="ignore"):
                gap = np.abs(equity - maintenance) / maintenance
            counted = (maintenance > self.constants.margin_of_dust) & ~self.taken_over
            self.gap = np.minimum(self.gap, np.where(counted, gap, np.inf).min(axis=(0, 1)))

        missing = rules.top_up_warn[:, None, None] * maintenance - equity
        opened = gate[maps.book_venue][:, None] > 0
        tops = np.flatnonzero((missing > 0) & ~due & opened & (self.budget > 0))
        if tops.size:
            book = tops // (self.shape[1] * self.shape[2])
            share = np.minimum(1, rules.top_up_rate * maps.step)[book]
            budget = self.budget.ravel()
            added = np.minimum(share * missing.ravel()[tops], budget[tops])
            budget[tops] -= added
            self.cash.reshape(-1)[tops] += added
            np.add.at(self.topped_up, (maps.book_venue[book], tops % self.shape[2]), added)

        sells = due.copy()
        if maps.is_hedged.any():
            sells |= self.hedge_excess() > 0
        places = np.flatnonzero(sells)
        liquidity = 1 - rules.sensitivity[:, None] * self.series.drop[t]
        depth = rules.depth[:, None] * liquidity
        orders = None
        if places.size:
            orders = self.trade(t, places, due, equity, maintenance, index, mark, price, depth)
        if self.feedback:
            pressed = self.prices(t, self.y) if places.size else price
            self.wick = np.minimum(self.wick, pressed)
            self.exhausted |= self.y.max(axis=0) > EXHAUSTED
            self.heal(depth, liquidity, gate)
        closing = self.prices(t, self.y)
        self.last = closing
        if orders is not None:
            if self.feedback:
                self.observe(t, orders, fails, fair, fair_mark, price)
            absorb_losses(self, orders.places, orders.due, closing, due)
        if self.feedback:
            lower = closing < self.trough
            self.trough[lower] = closing[lower]
            self.trough_time[lower] = (t + 1) * maps.step
            self.trough_index = np.minimum(self.trough_index, index)
            issuer = self.series.fundamental[t][maps.market_asset[maps.peg_markets]]
            parity = closing[maps.peg_markets] / issuer
            self.depeg += (parity[:, None] < maps.thresholds[:, None]) * parity.dtype.type(
                maps.step
            )
            self.selling = np.zeros_like(self.selling)
            if orders is not None and t == maps.steps - 1:
                self.selling[orders.path[orders.selling]] = True

    def hedge_excess(self) -> np.ndarray:
        """Fraction of the spot leg of hedged books beyond that of their short."""
        excess = np.zeros(self.shape, self.cash.dtype)
        for b in np.flatnonzero(self.maps.is_hedged):
            pledge, perp = self.constants.pledges[0], self.constants.perps[0]
            row, short = b - pledge.rows.start, b - perp.rows.start
            with np.errstate(divide="ignore", invalid="ignore"):
                spot_left = self.collateral[0][row] / pledge.size[row]
                excess[b] = spot_left - self.contracts[0][short] / perp.size[short]
        return np.nan_to_num(excess)

    def note_missed(self, first: np.ndarray, price: np.ndarray) -> None:
        """Cohorts that are left alone for the first time although they fail at fair prices."""
        places = np.flatnonzero(first)
        if not places.size:
            return
        self.missed.reshape(-1)[places] = True
        book, bucket, path = np.unravel_index(places, self.shape)
        size = np.zeros(places.size, self.cash.dtype)
        for slot, held in zip(self.constants.perps, self.contracts, strict=True):
            at, row = _inside(slot, book)
            units = np.abs(held[row, bucket[at], path[at]])
            size[at] += units * price[slot.market[row], path[at]]
        loan = self.maps.is_loan[book]
        sale = self.maps.sale_shares.astype(price.dtype) @ price
        for slot, held in zip(self.constants.pledges, self.collateral, strict=True):
            at, row = _inside(slot, book)
            units = held[row, bucket[at], path[at]] * loan[at]
            size[at] += units * sale[slot.market[row], path[at]]
        self.missed_notional += np.bincount(path, size, self.shape[2])

    # Stages 6 to 8

    def trade(
        self,
        t: int,
        places: np.ndarray,
        due: np.ndarray,
        equity: np.ndarray,
        maintenance: np.ndarray,
        index: np.ndarray,
        mark: np.ndarray,
        price: np.ndarray,
        depth: np.ndarray,
    ) -> Orders:
        """Orders of the listed cohorts, what they pay, and what the cohorts hold after them."""
        orders = Orders(self, places, due)
        orders.weigh(self, equity, maintenance, index, mark)
        orders.close_perps(self)
        perps = self.maps.market_is_perp
        average = self.execute(orders.perp_units, price, depth, perps)
        orders.sell_collateral(self, price, average)
        spot_average = self.execute(orders.spot_units, price, depth, ~perps)
        average = np.where(perps[:, None], average, spot_average)
        orders.settle(self, average)
        return orders

    def execute(
        self, units: np.ndarray, price: np.ndarray, depth: np.ndarray, which: np.ndarray
    ) -> np.ndarray:
        """Move the books of one kind; the average price of the orders."""
        if not self.feedback:
            return price
        rise = np.where(which[:, None], units / depth, 0)
        self.y += rise
        moved = rise != 0
        safe = np.where(moved, rise, 1)
        return np.where(moved, price * (-np.expm1(-safe) / safe), price)

    def heal(self, depth: np.ndarray, liquidity: np.ndarray, gate: np.ndarray) -> None:
        """Resilience, basis, cross-venue arbitrage, redemption, one after the other."""
        maps, rules, y = self.maps, self.rules, self.y
        y *= np.exp2(-maps.step * liquidity / rules.resilience_half_life[:, None])
        for pair, (spot, perp) in enumerate(maps.basis_pairs):
            spot_impact, perp_impact = 1 / depth[spot], 1 / depth[perp]
            share = self.constants.basis_share[pair]
            units = share * (y[perp] - y[spot]) / (spot_impact + perp_impact)
            y[perp] -= units * perp_impact
            y[spot] += units * spot_impact
        for group, row in enumerate(maps.arbitrage_groups):
            at = row[row >= 0]
            opened = gate[maps.market_venue[at]]
            weight = opened * depth[at]
            total = weight.sum(axis=0)
            mean = (weight * y[at]).sum(axis=0) / np.where(total == 0, 1, total)
            change = opened * self.constants.arbitrage_share[group] * (mean - y[at])
            bought = (np.maximum(-change, 0) * depth[at]).sum(axis=0)
            capital = rules.arbitrage_capital[group] * y.dtype.type(maps.step)
            scale = capital / np.maximum(bought, capital + bought.dtype.type(1e-30))
            y[at] += np.where(bought == 0, 0, scale) * change
        for p, asset in enumerate(maps.pegged):
            at = np.flatnonzero((maps.market_asset == asset) & ~maps.market_is_perp)
            discount = gate[maps.market_venue[at]] * np.maximum(y[at], 0)
            wanted = (discount * depth[at]).sum(axis=0)
            capacity = rules.redemption_capacity[p] * y.dtype.type(maps.step)
            y[at] -= np.minimum(1, capacity / np.where(wanted == 0, 1, wanted)) * discount

    # Stage 10

    def observe(
        self,
        t: int,
        orders: Orders,
        fails: np.ndarray,
        fair: np.ndarray,
        fair_mark: np.ndarray,
        price: np.ndarray,
    ) -> None:
        """Add the step's forced sales."""
        maps, paths = self.maps, self.shape[2]
        by_market = orders.notional_by_market
        self.by_market += by_market
        self.forced[t] = by_market.sum(axis=0)
        shown = np.minimum(by_market, self.rules.feed_cap[:, None] * maps.step)
        self.reported += shown.sum(axis=0)
        self.longs += np.bincount(orders.path, orders.longs, paths)
        for j, received in enumerate(orders.proceeds):
            asset = maps.entry_asset[np.maximum(maps.collateral[orders.book, j], 0)]
            np.add.at(self.sold, (asset, orders.path), received)
        flat = orders.places
        starting = self.constants.starting_units[orders.book, orders.bucket]
        counts = orders.units > DUST * starting
        self.liquidated.reshape(-1)[flat[counts]] = True
        wrongful = orders.due & ~orders.taken_over & ~fails.ravel()[flat]
        if wrongful.any():
            issuer = self.series.fundamental[t]
            fails_own = orders.fails_at(self, self.constants.own, fair, fair_mark)
            for cause, mine in enumerate((wrongful & ~fails_own, wrongful & fails_own)):
                self.wrongful[cause] += np.bincount(orders.path[mine], orders.forced[mine], paths)
            owed = orders.owed(self, issuer)
            self.compensation += np.bincount(orders.path[wrongful], owed[wrongful], paths)

    def worth(self, price: np.ndarray) -> np.ndarray:
        """Equity of every cohort at sale prices, no haircuts."""
        sale = self.maps.sale_shares.astype(price.dtype) @ price
        equity = self.cash.copy()
        for slot, held in zip(self.constants.pledges, self.collateral, strict=True):
            equity[slot.rows] += held * sale[slot.market][:, None]
        for slot, held in zip(self.constants.perps, self.contracts, strict=True):
            equity[slot.rows] += held * (price[slot.market][:, None] - slot.entry)
        return equity

    def worth_of(
        self, book: np.ndarray, bucket: np.ndarray, path: np.ndarray, price: np.ndarray
    ) -> np.ndarray:
        """The same of listed cohorts."""
        sale = self.maps.sale_shares.astype(price.dtype) @ price
        equity = self.cash[book, bucket, path]
        for slot, units in zip(self.constants.pledges, self.collateral, strict=True):
            at, row = _inside(slot, book)
            held = units[row, bucket[at], path[at]]
            equity[at] += held * sale[slot.market[row], path[at]]
        for slot, units in zip(self.constants.perps, self.contracts, strict=True):
            at, row = _inside(slot, book)
            held = units[row, bucket[at], path[at]]
            paid = price[slot.market[row], path[at]]
            equity[at] += held * (paid - slot.entry[row, 0, 0])
        return equity

    def outcomes(self) -> dict[str, np.ndarray]:
        """Outcomes by name, path last."""
        maps, rules, losses = self.maps, self.rules, self.losses
        total = self.by_market.sum(axis=0)
        none = total == 0
        window = np.cumsum(self.forced, axis=0, dtype=np.float64)
        window[maps.window_steps :] -= window[: -maps.window_steps].copy()
        end = window.argmax(axis=0)
        peak = np.take_along_axis(window, end[None], axis=0)[0]
        equity = self.worth(self.last)
        start = rules.cash.copy()
        open_start, open_end = 0, 0
        for slot, held in zip(self.constants.perps, self.contracts, strict=True):
            start[slot.rows] += (slot.size * (1 - slot.entry))[..., 0]
            open_start = open_start + np.abs(slot.size).sum()
            open_end = open_end + (np.abs(held) * self.last[slot.market][:, None]).sum(axis=(0, 1))
        for slot in self.constants.pledges:
            start[slot.rows] += slot.size[..., 0]
        kept = np.where(self.taken_over, 0, np.maximum(equity, 0))
        lost = self.topped_up.copy()
        by_book = (np.maximum(start, 0)[..., None] - kept).sum(axis=1)
        np.add.at(lost, maps.book_venue, by_book)
        missed = np.where(self.missed & ~self.taken_over, np.maximum(-equity, 0), 0)
        counted = np.where(self.liquidated, rules.accounts[..., None], 0)
        finite = np.isfinite(equity).all(axis=(0, 1)) & np.isfinite(self.trough).all(axis=0)
        finite &= np.isfinite(self.fund).all(axis=0)
        safe = np.where(none, np.nan, total)
        status = self.selling + 2 * self.exhausted + 4 * (rules.due_at_start > 0) + 8 * ~finite
        return {
            "liquidated_notional": total,
            "liquidated_notional_by_market": self.by_market,
            "liquidated_units": self.units,
            "reported_liquidations": self.reported,
            "liquidated_accounts": counted.sum(axis=(0, 1)),
            "long_share": self.longs / safe,
            "peak_window_share": peak / safe,
            "peak_time": np.where(none, np.nan, (end + 1) * maps.step),
            "collateral_sold": self.sold,
            **losses.outcomes(),
            "equity_lost": lost,
            "trough_price": self.trough,
            "wick_price": self.wick,
            "trough_time": self.trough_time,
            "trough_index": self.trough_index,
            "depeg_minutes": self.depeg,
            "open_interest_change": open_end / open_start - 1,
            "least_margin_gap": self.gap,
            "wrongful_liquidations": self.wrongful,
            "missed_liquidations": self.missed_notional,
            "missed_loss": missed.sum(axis=(0, 1)),
            "compensation": self.compensation,
            "status": status,
        }


def simulate(constants: Constants, series: Series) -> dict[str, np.ndarray]:
    """Outcomes of one policy, by name, path last, with what compares it to the paired run."""
    runs = [Run(constants, series, feedback) for feedback in (True, False)]
    for run in runs:
        for t in range(run.maps.steps):
            run.step(t)
    outcomes, exogenous = runs[0].outcomes(), runs[1].units
    trough = series.fundamental.min(axis=0)[constants.maps.market_asset]
    fall, alone = 1 - outcomes["trough_price"], 1 - trough
    tiny, units = alone < LEAST_DRAWDOWN, outcomes["liquidated_units"]
    share = 1 - exogenous / np.where(units == 0, 1, units)
    return outcomes | {
        "amplification": np.where(tiny, np.nan, fall / np.where(tiny, 1, alone)),
        "reproduction_number": np.where(units == 0, 0, share),
        "exogenous_liquidations": exogenous,
    }


def _extreme(lines: list, values: np.ndarray, shift: Any, pick: Any) -> np.ndarray:
    """The largest or smallest of the tiers' lines; the first has no offset."""
    result = lines[0][0] * values
    for slope, offset in lines[1:]:
        line = slope * values
        shift(line, offset, out=line)
        pick(result, line, out=result)
    return result


def _inside(slot: Slot, book: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which of some cohorts lie in a slot's stretch of books, and their rows there."""
    at = np.flatnonzero((book >= slot.rows.start) & (book < slot.rows.stop))
    return at, book[at] - slot.rows.start
