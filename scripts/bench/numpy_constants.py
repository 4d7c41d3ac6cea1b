"""What a policy's numbers come to before the first step of the NumPy program."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from reference_world import Maps, Margin, Rules

DUST = 1e-6
"""Share of what a cohort began with below which what is left, or sold, is a rounding."""


def cast(rules: Any, dtype: Any) -> Any:
    """Every array of a named tuple in the program's float type."""
    return type(rules)(
        *(
            cast(value, dtype) if isinstance(value, tuple) else np.asarray(value, dtype)
            for value in rules
        )
    )


@dataclass
class Slot:
    """One perp or collateral slot, of the stretch of books that have it."""

    rows: slice
    market: np.ndarray  # of a perp slot; index entry of a collateral slot; absent: 0
    size: np.ndarray  # [book, bucket, 1] starting units, signed; absent: 0
    entry: np.ndarray  # [book, 1, 1]


class Constants:
    """What a policy's numbers come to before the first step."""

    def __init__(self, maps: Maps, rules: Rules, dtype: Any) -> None:
        self.maps, self.rules = maps, cast(rules, dtype)
        self.perps = self._slots(maps.perps, rules.position, rules.entry, dtype)
        ones = np.ones((maps.collateral.shape[1], maps.perps.shape[0]))
        self.pledges = self._slots(maps.collateral, rules.collateral, ones, dtype)
        self.own = self._margin(rules.margin, dtype)
        self.baseline = self._margin(rules.baseline_margin, dtype)
        half_lives = (rules.basis_half_life, rules.arbitrage_half_life)
        self.basis_share, self.arbitrage_share = (
            (1 - np.exp2(-maps.step / lives)).astype(dtype) for lives in half_lives
        )
        size = sum(np.abs(slot) for slot in rules.position)
        pledged = sum(rules.collateral)
        asked = rules.margin.loan_rate[:, None] * np.maximum(-rules.cash, 0)
        asked = asked + (rules.margin.rate[:, 0, :, None] * np.abs(rules.position)).sum(axis=0)
        self.margin_of_dust = (DUST * asked).astype(dtype)[..., None]
        self.starting_units = np.where(size > 0, size, pledged).astype(dtype)
        pace = np.minimum(1, rules.pace * maps.step)
        self.pace = np.repeat(pace, maps.buckets).astype(dtype)

    def _slots(self, table: np.ndarray, sizes: np.ndarray, entries: np.ndarray, dtype: Any) -> list:
        slots = []
        for j in range(table.shape[1]):
            held = np.flatnonzero(table[:, j] >= 0)
            rows = slice(held[0], held[-1] + 1) if held.size else slice(0, 0)
            there = table[rows, j] >= 0
            size = np.where(there[:, None], sizes[j, rows], 0)[..., None].astype(dtype)
            entry = entries[j, rows, None, None].astype(dtype)
            slots.append(Slot(rows, np.maximum(table[rows, j], 0), size, entry))
        return slots

    def _margin(self, margin: Margin, dtype: Any) -> tuple:
        """Lines of the tiers by slot, `[book, bucket, 1]`, and the rate on debt."""
        accounts = self.rules.accounts

        def tiers(slots: list, slopes: np.ndarray, offsets: np.ndarray) -> list:
            rows = []
            for j, slot in enumerate(slots):
                at, n = slot.rows, accounts[slot.rows, :, None]
                lines = [
                    (slopes[j, r, at, None, None], n * offsets[j, r, at, None, None])
                    for r in range(slopes.shape[1])
                ]
                rows.append([(a.astype(dtype), b.astype(dtype)) for a, b in lines])
            return rows

        return (
            tiers(self.perps, margin.rate, margin.deduction),
            tiers(self.pledges, margin.ratio, margin.addition),
            margin.loan_rate[:, None, None].astype(dtype),
        )
