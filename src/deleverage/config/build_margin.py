"""Margin tables as lines per account: maintenance a maximum, credit a minimum of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from deleverage.config.books import LoanBook
from deleverage.config.build_layout import slots
from deleverage.config.models import Config
from deleverage.config.names import Names
from deleverage.config.resolve import Lines, Rules


@dataclass(frozen=True)
class Margin:
    """Tables of one policy, at first before the venue cap; slots and tiers first, then books."""

    rate: np.ndarray  # [Jp, R, B]
    deduction: np.ndarray  # [Jp, R, B] USD millions per account
    ratio: np.ndarray  # [Jc, R, B]
    addition: np.ndarray  # [Jc, R, B] USD millions per account
    loan_rate: np.ndarray  # [B]
    granted: np.ndarray  # [Jc, B] share of the pledged collateral that the venue cap grants


def lines(tiers: Lines) -> tuple[np.ndarray, np.ndarray]:
    """Slopes of a tier table and the constants (USD millions) that make its lines meet.

    The constant is what is taken off a maintenance line; credit adds its negative.
    """
    floors = np.array([floor for floor, _ in tiers]) / 1e6
    slopes = np.array([slope for _, slope in tiers])
    return slopes, np.concatenate([[0.0], np.cumsum(floors[1:] * np.diff(slopes))])


def tier_counts(config: Config, names: Names, every: Iterable[Rules]) -> tuple[int, int]:
    """The most tiers that any maintenance table and any credit table in use has."""
    maintenance, credit = [1], [1]
    every = list(every)
    for spec in config.scenario.held.values():
        perps, collateral = slots(spec, names.numeraire)
        held = [(spec.venue, asset) for asset in perps]
        maintenance += [len(r.maintenance[e]) for r in every for e in held if e in r.maintenance]
        credit += [len(r.credit[spec.venue, a].tiers) for r in every for a in collateral]
    return max(maintenance), max(credit)


def build_margin(
    config: Config, names: Names, rules: Rules, shape: Sequence[int], tiers: tuple[int, int]
) -> Margin:
    """Tables of one policy.

    Args:
        config: The config.
        names: Its labels.
        rules: The rules in force.
        shape: Perp slots and collateral slots.
        tiers: Rows of the maintenance and of the credit tables; shorter ones repeat their last.

    Raises:
        ConfigError: a venue has no maintenance rate for a perp that is held there.
    """
    count = len(config.scenario.held)
    rate, deduction = np.zeros((2, shape[0], tiers[0], count))
    ratio, addition = np.zeros((2, shape[1], tiers[1], count))
    loan_rate = np.zeros(count)
    for row, (name, spec) in enumerate(config.scenario.held.items()):
        venue = config.scenario.venues[spec.venue]
        loan_rate[row] = venue.loan_maintenance
        perps, collateral = slots(spec, names.numeraire)
        for slot, asset in enumerate(perps):
            if (spec.venue, asset) not in rules.maintenance:
                config.source.refuse(
                    ("scenario", "venues", spec.venue, "maintenance"),
                    f"there is no maintenance rate for '{asset}', which book '{name}' holds",
                    "a rate or tiers for every perp that is held",
                    f"add `{asset}: 0.5%`",
                )
            slopes, constants = _padded(rules.maintenance[spec.venue, asset], tiers[0])
            rate[slot, :, row], deduction[slot, :, row] = slopes, constants
        for slot, asset in enumerate(collateral):
            credit = rules.credit[spec.venue, asset]
            apart = credit.segregated and not isinstance(spec, LoanBook)
            slopes, constants = _padded(((0.0, 0.0),) if apart else credit.tiers, tiers[1])
            ratio[slot, :, row], addition[slot, :, row] = slopes, 0.0 - constants
    return Margin(rate, deduction, ratio, addition, loan_rate, np.ones((shape[1], count)))


def _padded(table: Lines, rows: int) -> tuple[np.ndarray, np.ndarray]:
    slopes, constants = lines(table)
    missing = rows - len(slopes)
    return (
        np.pad(slopes, (0, missing), mode="edge"),
        np.pad(constants, (0, missing), mode="edge"),
    )


def equity_and_maintenance(
    margin: Margin,
    granted: np.ndarray,
    accounts: np.ndarray,
    sheets: tuple[np.ndarray, np.ndarray, np.ndarray],
    prices: tuple[np.ndarray, np.ndarray],
    entry: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Equity and maintenance of every cohort, MODEL.md 2.4, each [B, K].

    Args:
        margin: Tables of the policy.
        granted: Share of the pledged collateral that the venue's cap grants, [Jc, B].
        accounts: Accounts of each cohort, [B, K].
        sheets: Positions [Jp, B, K], collateral [Jc, B, K], cash [B, K].
        prices: Marks [Jp, B] and index prices [Jc, B].
        entry: Entry prices, [Jp, B].
    """
    position, collateral, cash = sheets
    mark, index = prices
    value = collateral * index[..., None]
    credit = margin.ratio[..., None] * value[:, None] + margin.addition[..., None] * accounts
    counted = (credit.min(axis=1) * granted[..., None]).sum(axis=0)
    notional = np.abs(position) * mark[..., None]
    due = margin.rate[..., None] * notional[:, None] - margin.deduction[..., None] * accounts
    maintenance = due.max(axis=1).sum(axis=0)
    maintenance = maintenance + margin.loan_rate[:, None] * np.maximum(-cash, 0)
    profit = (position * (mark - entry)[..., None]).sum(axis=0)
    return cash + counted + profit, maintenance
