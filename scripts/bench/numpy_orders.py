"""Stages 6 and 7 of the NumPy program: orders of the cohorts that sell, as flat lists."""

from __future__ import annotations

from typing import Any

import numpy as np

SMALLEST = 1e-4
"""Fractions below this are closed at once."""


class Held:
    """What the listed cohorts hold in one slot."""

    def __init__(self, slot: Any, units: np.ndarray, orders: Orders) -> None:
        inside = (orders.book >= slot.rows.start) & (orders.book < slot.rows.stop)
        self.at = np.flatnonzero(inside)  # places in the list
        self.row = orders.book[self.at] - slot.rows.start
        self.place = (self.row, orders.bucket[self.at], orders.path[self.at])
        self.path = self.place[2]
        self.market = slot.market[self.row]
        self.start = slot.size[self.row, self.place[1], 0]
        self.entry = slot.entry[self.row, 0, 0]
        self.units = units[self.place]


class Orders:
    """Orders of one step.

    Args:
        run: The state.
        places: Flat `[book, bucket, path]` numbers of the cohorts that sell.
        due: `[book, bucket, path]`.
    """

    def __init__(self, run: Any, places: np.ndarray, due: np.ndarray) -> None:
        self.places = places
        self.book, self.bucket, self.path = np.unravel_index(places, run.shape)
        self.due = due.ravel()[places]
        self.taken_over = run.taken_over.ravel()[places]
        self.cash_before = run.cash.ravel()[places]
        self.cash = self.cash_before.copy()
        constants = run.constants
        self.pace = constants.pace[self.book * run.shape[1] + self.bucket]
        self.perps = [Held(s, u, self) for s, u in zip(constants.perps, run.contracts, strict=True)]
        self.pledges = [
            Held(s, u, self) for s, u in zip(constants.pledges, run.collateral, strict=True)
        ]

    def weigh(
        self,
        run: Any,
        equity: np.ndarray,
        maintenance: np.ndarray,
        index: np.ndarray,
        mark: np.ndarray,
    ) -> None:
        """What `target` books need: maintenance of perps by slot, credit and value of collateral.

        Books of the kind `close` need none of it.
        """
        self.targets = run.maps.is_target[self.book] & ~self.taken_over
        if not self.targets.any():
            return
        self.equity = equity.ravel()[self.places]
        self.maintenance = maintenance.ravel()[self.places]
        rates, ratios, _ = run.constants.own
        self.slot_maintenance, self.of_perps = [], np.zeros_like(self.cash)
        for held, lines in zip(self.perps, rates, strict=True):
            notional = np.abs(held.units) * mark[held.market, held.path]
            rows = [a[held.row, 0, 0] * notional - b[(*held.place[:2], 0)] for a, b in lines]
            self.slot_maintenance.append(np.max(rows, axis=0))
            self.of_perps[held.at] += self.slot_maintenance[-1]
        self.credit, self.value = np.zeros_like(self.cash), np.zeros_like(self.cash)
        for held, lines in zip(self.pledges, ratios, strict=True):
            worth = held.units * index[held.market, held.path]
            rows = [a[held.row, 0, 0] * worth + b[(*held.place[:2], 0)] for a, b in lines]
            self.credit[held.at] += np.min(rows, axis=0)
            self.value[held.at] += worth

    def close_perps(self, run: Any) -> None:
        """Contracts that due cohorts close, and the net units sold on each book."""
        share = np.ones_like(self.cash)
        if self.targets.any():
            target = run.rules.target[self.book]
            needed = (target * self.maintenance - self.equity) / np.where(
                self.of_perps > 0, target * self.of_perps, 1
            )
            wanted = np.where(self.of_perps > 0, np.clip(needed, 0, 1), 0)
            share = np.where(self.targets, wanted, 1)
        markets, paths = run.y.shape
        self.perp_units = np.zeros(markets * paths, run.y.dtype)
        self.closed, self.units = [], np.zeros_like(self.cash)
        for held in self.perps:
            size = np.abs(held.start)
            closed = self._taken(share, held, np.abs(held.units), size)
            self.units[held.at] += closed
            self.closed.append(np.copysign(closed, held.start))
            self.perp_units += np.bincount(
                held.market * paths + held.path, self.closed[-1], markets * paths
            )
        self.perp_units = self.perp_units.reshape(markets, paths)

    def _taken(
        self, share: np.ndarray, held: Held, left: np.ndarray, size: np.ndarray
    ) -> np.ndarray:
        """A share of what is left, at most the pace allows, the rest at once if it is tiny."""
        taken = np.minimum(share[held.at] * left, self.pace[held.at] * size)
        taken = np.where(self.due[held.at], taken, 0)
        return np.where((taken > 0) & (left - taken < SMALLEST * size), left, taken)

    def sell_collateral(self, run: Any, price: np.ndarray, average: np.ndarray) -> None:
        """Settle the perps, then sell collateral for the cash that is missing."""
        maps, rules = run.maps, run.rules
        markets, paths = run.y.shape
        fee_rate = rules.fee[self.book]
        self.fees = np.zeros_like(self.cash)
        self.longs, self.forced = np.zeros_like(self.cash), np.zeros_like(self.cash)
        by_market = np.zeros(markets * paths, run.y.dtype)
        for held, closed in zip(self.perps, self.closed, strict=True):
            paid = average[held.market, held.path]
            fee = fee_rate[held.at] * np.abs(closed) * paid
            self.cash[held.at] += closed * (paid - held.entry) - fee
            self.fees[held.at] += fee
            notional = np.abs(closed) * price[held.market, held.path]
            self.forced[held.at] += notional
            self.longs[held.at] += np.where(held.start > 0, notional, 0)
            place = held.market * paths + held.path
            by_market += np.bincount(place, notional, markets * paths)
            run.maker_units += np.bincount(place, closed, markets * paths).reshape(markets, paths)
            run.maker_cash -= np.bincount(place, closed * paid, markets * paths).reshape(
                markets, paths
            )
        share, self.sale = self._share_to_sell(run, price), maps.sale_shares
        sale_price = self.sale.astype(price.dtype) @ price
        loan = maps.is_loan[self.book] & self.due
        self.sold, self.spot_units = [], np.zeros((markets, paths), run.y.dtype)
        entries = self.sale.shape[0]
        for j, held in enumerate(self.pledges):
            sold = self._taken(share, held, held.units, held.start)
            if j == 0 and maps.is_hedged.any():
                sold = np.maximum(sold, self._excess(run, held))
            self.sold.append(sold)
            by_entry = np.bincount(held.market * paths + held.path, sold, entries * paths).reshape(
                entries, paths
            )
            self.spot_units += (self.sale.T @ by_entry).astype(run.y.dtype)
            of_loans = np.where(loan[held.at], sold, 0)
            self.units[held.at] += of_loans
            notional = of_loans * sale_price[held.market, held.path]
            self.forced[held.at] += notional
            self.longs[held.at] += notional
            if of_loans.any():
                by_entry = np.bincount(
                    held.market * paths + held.path, of_loans, entries * paths
                ).reshape(entries, paths)
                by_market += ((self.sale.T @ by_entry) * price).ravel().astype(run.y.dtype)
        self.notional_by_market = by_market.reshape(markets, paths)
        run.units += np.bincount(self.path, self.units, paths).astype(run.y.dtype)

    def _share_to_sell(self, run: Any, price: np.ndarray) -> np.ndarray:
        """Share of what is left of every collateral slot that raises the missing cash."""
        sale_price = run.maps.sale_shares.astype(price.dtype) @ price
        worth = np.zeros_like(self.cash)
        for held in self.pledges:
            worth[held.at] += held.units * sale_price[held.market, held.path]
        amount = np.maximum(-self.cash, 0)
        if self.targets.any():
            target = run.rules.target[self.book]
            missing = target * self.maintenance - self.equity
            for held, closed, slot in zip(
                self.perps, self.closed, self.slot_maintenance, strict=True
            ):
                part = np.abs(closed) / np.where(held.units == 0, 1, np.abs(held.units))
                missing[held.at] -= target[held.at] * slot * part
            credit_share = self.credit / np.where(self.value > 0, self.value, 1)
            loan_rate = run.rules.margin.loan_rate[self.book]
            gain = np.maximum(1 - credit_share + target * loan_rate, 1e-9)
            enough = np.minimum(amount, np.maximum(missing, 0) / gain)
            amount = np.where(self.targets, enough, amount)
        amount = np.where(self.taken_over, worth, amount)
        return np.where(worth > 0, np.minimum(1, amount / np.where(worth > 0, worth, 1)), 0)

    def _excess(self, run: Any, spot: Held) -> np.ndarray:
        """Units of the spot leg of hedged books that their short no longer needs."""
        excess = run.hedge_excess().ravel()[self.places]
        return np.maximum(excess[spot.at], 0) * spot.start

    def settle(self, run: Any, average: np.ndarray) -> None:
        """Pay for the collateral sold; write back what the cohorts hold."""
        rules = run.rules
        received = self.sale.astype(average.dtype) @ average
        fee_rate = np.where(self.due, rules.collateral_fee[self.book], 0)
        self.proceeds, self.received = [], received
        for held, sold in zip(self.pledges, self.sold, strict=True):
            brought = np.zeros_like(self.cash)
            brought[held.at] = sold * received[held.market, held.path]
            self.proceeds.append(brought)
            fee = fee_rate * brought
            self.cash += brought - fee
            self.fees += fee
        self.selling = self.due & (self.forced + sum(self.proceeds) > 0)
        run.cash.reshape(-1)[self.places] = self.cash
        for units, held, closed in zip(run.contracts, self.perps, self.closed, strict=True):
            units[held.place] = held.units - closed
        for units, held, sold in zip(run.collateral, self.pledges, self.sold, strict=True):
            units[held.place] = held.units - sold
        venue = run.maps.book_venue[self.book]
        np.add.at(run.fund, (venue, self.path), self.fees)

    def fails_at(self, run: Any, margin: tuple, index: np.ndarray, mark: np.ndarray) -> np.ndarray:
        """Whether the listed cohorts, as they were, fail a requirement at given prices."""
        rates, ratios, loan_rate = margin
        cash = self.cash_before
        equity, maintenance = cash.copy(), loan_rate[self.book, 0, 0] * np.maximum(-cash, 0)
        for held, lines in zip(self.perps, rates, strict=True):
            at = mark[held.market, held.path]
            notional = np.abs(held.units) * at
            rows = [a[held.row, 0, 0] * notional - b[(*held.place[:2], 0)] for a, b in lines]
            maintenance[held.at] += np.max(rows, axis=0)
            equity[held.at] += held.units * (at - held.entry)
        for held, lines in zip(self.pledges, ratios, strict=True):
            worth = held.units * index[held.market, held.path]
            rows = [a[held.row, 0, 0] * worth + b[(*held.place[:2], 0)] for a, b in lines]
            equity[held.at] += np.min(rows, axis=0)
        return equity < maintenance

    def owed(self, run: Any, issuer: np.ndarray) -> np.ndarray:
        """What pegged collateral brought less than its issuer pays."""
        total = np.zeros_like(self.cash)
        for held, sold in zip(self.pledges, self.sold, strict=True):
            asset = run.maps.entry_asset[held.market]
            short = issuer[asset, held.path] - self.received[held.market, held.path]
            owed = sold * np.maximum(short, 0)
            total[held.at] += np.where(run.maps.is_pegged[asset], owed, 0)
        return total
