"""Stage 9 of the NumPy program: deficits, fund, winners, everybody. MODEL.md 2.9."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy_constants import DUST, Slot


@dataclass
class Losses:
    """Sums over steps, `[venue, path]` and `[path]`."""

    bad_debt: np.ndarray
    insurance_drawn: np.ndarray
    adl_loss: np.ndarray
    socialised_loss: np.ndarray
    unabsorbed_loss: np.ndarray
    adl_notional: np.ndarray
    adl_overshoot_contracts: np.ndarray
    adl_overshoot_wealth: np.ndarray

    @classmethod
    def none(cls, venues: int, paths: int, dtype: Any) -> Losses:
        """No losses yet."""
        return cls(*(np.zeros((venues, paths), dtype) for _ in fields(cls)))

    def outcomes(self) -> dict[str, np.ndarray]:
        """By name, over all venues."""
        return {field.name: getattr(self, field.name).sum(axis=0) for field in fields(self)}


def absorb_losses(
    run: Any, places: np.ndarray, is_due: np.ndarray, price: np.ndarray, due: np.ndarray
) -> None:
    """Settle the bankrupt among the cohorts that sold.

    Args:
        run: The state.
        places: Flat numbers of the cohorts that sold.
        is_due: Which of them are due.
        price: After stage 8, `[market, path]`.
        due: `[book, bucket, path]`.
    """
    maps = run.maps
    book, bucket, path = np.unravel_index(places, run.shape)
    venue = maps.book_venue[book]
    worth = run.worth_of(book, bucket, path, price)
    wiped_out = is_due & (worth < 0)
    taken_over = run.taken_over.reshape(-1)
    if wiped_out.any():
        deficit = np.zeros(run.shape, run.cash.dtype)
        deficit.reshape(-1)[places[wiped_out]] = -worth[wiped_out]
        owed = np.zeros_like(run.fund)
        np.add.at(owed, (venue[wiped_out], path[wiped_out]), -worth[wiped_out])
        drawn = np.minimum(run.fund, owed)
        uncovered = np.where(owed > drawn, 1 - drawn / np.where(owed > 0, owed, 1), 0)
        run.fund -= drawn
        run.losses.bad_debt += owed
        run.losses.insurance_drawn += drawn
        # as in the sparse stages: only paths whose fund does not suffice touch other accounts
        held = run.worth(price) if (uncovered > 0).any() else None
        run.cash.reshape(-1)[places[wiped_out]] += -worth[wiped_out]
        taken_over[places[wiped_out]] = True
        if held is not None:
            _share_losses(run, held, deficit, uncovered, price, due)
        else:
            run.losses.unabsorbed_loss += owed - drawn
    if taken_over[places].any():
        _sweep(run, places, venue, path)


def _more_than_dust(slot: Slot, units: np.ndarray) -> np.ndarray:
    """Contracts that a deficit may go with."""
    return np.where(np.abs(units) > DUST * np.abs(slot.size), units, 0)


def _share_losses(
    run: Any,
    worth: np.ndarray,
    deficit: np.ndarray,
    uncovered: np.ndarray,
    price: np.ndarray,
    due: np.ndarray,
) -> None:
    """Close bankrupts against winners, then charge everybody, on the paths that need it."""
    maps, losses = run.maps, run.losses
    at = np.flatnonzero((uncovered > 0).any(axis=0))
    worth, deficit, due, price = worth[..., at], deficit[..., at], due[..., at], price[:, at]
    share = uncovered[:, at][maps.book_venue][:, None]
    closing = np.where(run.rules.adl[maps.book_venue][:, None, None] > 0, share, 0)
    closing = np.where(deficit > 0, closing, 0)
    cash = run.cash[..., at]
    contracts = [units[..., at] for units in run.contracts]
    slots = run.constants.perps
    bankrupt, loss, winners = (np.zeros((2, *price.shape), price.dtype) for _ in range(3))

    notional = np.zeros_like(cash)
    stakes = [_more_than_dust(*pair) for pair in zip(slots, contracts, strict=True)]
    for slot, stake in zip(slots, stakes, strict=True):
        notional[slot.rows] += np.abs(stake) * price[slot.market][:, None]
    safe = np.where(notional > 0, notional, 1)
    sides = []
    for slot, units, stake in zip(slots, contracts, stakes, strict=True):
        rows, paid = slot.rows, price[slot.market][:, None]
        profit = units * (paid - slot.entry)
        gone = closing[rows] * stake
        charged = closing[rows] * deficit[rows] * np.abs(stake) * paid / safe[rows]
        cash[rows] += gone * (paid - slot.entry)
        wins = np.where((profit > 0) & ~due[rows], units, 0)
        long = slot.size > 0
        for side, mine in enumerate((long, ~long)):
            for table, values in (
                (bankrupt, np.abs(gone)),
                (loss, charged),
                (winners, np.abs(wins)),
            ):
                np.add.at(table[side], slot.market, np.where(mine, values, 0).sum(axis=1))
        sides.append((long, gone, wins, profit))

    maker_units, maker_cash = run.maker_units[:, at], run.maker_cash[:, at]
    maker_profit = maker_cash + maker_units * price
    maker_wins = np.where(maker_profit > 0, maker_units, 0)
    of_makers = np.stack([np.maximum(maker_wins, 0), np.maximum(-maker_wins, 0)])
    total = winners + of_makers
    against = bankrupt[::-1]  # winning longs close against bankrupt shorts
    taken = np.minimum(1, against / np.where(total > 0, total, 1))
    taken = np.where(total > 0, taken, 0)
    cost = loss[::-1] / np.where(against > 0, against, 1)

    charge, venue_of_market = np.zeros_like(cash), maps.market_venue
    overshoot = losses.adl_overshoot_wealth
    for slot, units, (long, gone, wins, profit) in zip(slots, contracts, sides, strict=True):
        rows, market = slot.rows, slot.market[:, None]
        part = np.where(long, taken[0][market], taken[1][market])
        per_unit = np.where(long, cost[0][market], cost[1][market])
        closed = part * wins
        realised = np.where(wins != 0, part * profit, 0)
        lost = np.abs(closed) * per_unit
        charge[rows] += lost
        cash[rows] += realised
        kept = np.where(wins != 0, np.maximum(realised - lost, 0), 0).sum(axis=1)
        _add(overshoot, maps.book_venue[rows], at, kept)
        units -= gone + closed
    charge = np.minimum(charge, np.maximum(worth, 0))
    cash -= charge
    adl_loss = np.zeros((run.fund.shape[0], at.size), cash.dtype)
    np.add.at(adl_loss, maps.book_venue, charge.sum(axis=1))
    for side in range(2):
        held = of_makers[side]
        lost = taken[side] * held * cost[side]
        kept = np.where(held > 0, np.maximum(taken[side] * maker_profit - lost, 0), 0)
        kept = np.where(against[side] > 0, kept, 0)
        _add(overshoot, venue_of_market, at, kept)
        maker_cash -= lost
        np.add.at(adl_loss, venue_of_market, lost)
        rest = against[side] - taken[side] * winners[side]
        signed = np.where(side == 0, -rest, rest)
        maker_units += signed
        maker_cash -= signed * price
        closed = taken[side] * total[side]
        _add(losses.adl_notional, venue_of_market, at, closed * price)
        beyond = np.maximum(closed - against[side], 0) * price
        _add(losses.adl_overshoot_contracts, venue_of_market, at, beyond)
    losses.adl_loss[:, at] += adl_loss

    by_book = (share * deficit).sum(axis=1)
    rest = np.zeros_like(adl_loss)
    np.add.at(rest, maps.book_venue, by_book)
    rest = np.maximum(rest - adl_loss, 0)
    left = np.where(run.taken_over[..., at], 0, np.maximum(worth - charge, 0))
    able = np.zeros_like(rest)
    np.add.at(able, maps.book_venue, left.sum(axis=1))
    part = np.where(able > 0, np.minimum(1, rest / np.where(able > 0, able, 1)), 0)
    socialised = part[maps.book_venue][:, None] * left
    cash -= socialised
    borne = np.zeros_like(rest)
    np.add.at(borne, maps.book_venue, socialised.sum(axis=1))
    losses.socialised_loss[:, at] += borne
    losses.unabsorbed_loss[:, at] += rest - borne

    run.cash[..., at] = cash
    for whole, units in zip(run.contracts, contracts, strict=True):
        whole[..., at] = units
    run.maker_units[:, at], run.maker_cash[:, at] = maker_units, maker_cash


def _add(table: np.ndarray, venue: np.ndarray, at: np.ndarray, values: np.ndarray) -> None:
    """Add rows `[row, path]` to the venues they belong to."""
    np.add.at(table, (venue[:, None], at[None]), values)


def _sweep(run: Any, places: np.ndarray, venue: np.ndarray, path: np.ndarray) -> None:
    """What a taken-over cohort with nothing left still owns goes to the fund."""
    cash = run.cash.reshape(-1)
    empty = run.taken_over.reshape(-1)[places] & ~run.anything_left().reshape(-1)[places]
    swept = empty & (cash[places] > 0)
    np.add.at(run.fund, (venue[swept], path[swept]), cash[places[swept]])
    cash[places[swept]] = 0
