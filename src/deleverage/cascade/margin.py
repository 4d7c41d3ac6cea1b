"""Stage 4: equity, maintenance margin, and who is due. MODEL.md 2.4."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from deleverage.cascade.haircuts import Scaling, scaled_credit
from deleverage.cascade.primitives import least_bucket, total
from deleverage.policy import Books, MarginRules
from deleverage.state import Accounts

DUST = 1e-6
"""Share of what a cohort began with below which what is left, or sold, is a rounding."""


class SlotPrices(NamedTuple):
    """Prices of books' slots, `[book, 1, column]` each."""

    collateral: Sequence[Array]
    perp: Sequence[Array]
    haircuts: Sequence[Scaling] | None = None  # of collateral slots; None: all are as written


class Assessment(NamedTuple):
    """A cohort's margin account at given prices, `[book, bucket, column]` unless said."""

    equity: Array
    maintenance_margin: Array
    slot_maintenance: list[Array]  # of each perp slot
    credit: Array | float  # collateral after haircuts
    value: Array | float  # collateral before haircuts

    @property
    def is_short_of_margin(self) -> Array:
        """Equity strictly below maintenance."""
        return self.equity < self.maintenance_margin


def assess(
    rules: MarginRules, start: Books, accounts: Accounts, prices: SlotPrices
) -> Assessment:
    r"""Value every cohort's margin account.

    $$E = b + \sum_j C_j + \sum_j s_j x_j (M_j - e_j), \qquad MM = \sum_j mm_j + r \max(-b, 0)$$

    Args:
        rules: Tiered maintenance and collateral credit.
        start: Starting balance sheets.
        accounts: Cash and what is left of each position.
        prices: Index price of collateral slots and mark of perp slots, and how far the haircuts
            of the rules have risen.

    Source: MODEL.md section 2.4.
    """
    held = zip(accounts.collateral, prices.collateral, strict=True)
    value = [units * price for units, price in held]
    ratios = zip(rules.ratio, value, rules.addition, strict=True)
    credits = [_flattest(*slot, start.accounts) for slot in ratios]
    if prices.haircuts is not None:
        cut = zip(credits, value, rules.granted, prices.haircuts, strict=True)
        credits = [scaled_credit(*slot) for slot in cut]
    credit = total(credits)

    open_slots = list(zip(accounts.contracts, prices.perp, strict=True))
    notional = [jnp.abs(contracts) * price for contracts, price in open_slots]
    rates = zip(rules.rate, notional, rules.deduction, strict=True)
    slot_maintenance = [_steepest(*slot, start.accounts) for slot in rates]
    paid = zip(open_slots, start.entry, strict=True)
    profit = total([contracts * (price - entry) for (contracts, price), entry in paid])
    debt = jnp.maximum(-accounts.cash, 0)
    return Assessment(
        equity=accounts.cash + credit + profit,
        maintenance_margin=total(slot_maintenance) + rules.loan_rate * debt,
        slot_maintenance=slot_maintenance,
        credit=credit,
        value=total(value),
    )


def _steepest(
    rates: Sequence[Array], size: Array, deductions: Sequence[Array], accounts: Array
) -> Array:
    """Convex tiers, `max_r (rate_r size - n deduction_r)`."""
    tiers = zip(rates, deductions, strict=True)
    return reduce(jnp.maximum, [rate * size - less * accounts for rate, less in tiers])


def _flattest(
    ratios: Sequence[Array], size: Array, additions: Sequence[Array], accounts: Array
) -> Array:
    """Concave tiers, `min_r (ratio_r size + n addition_r)`."""
    tiers = zip(ratios, additions, strict=True)
    return reduce(jnp.minimum, [ratio * size + more * accounts for ratio, more in tiers])


def worth(units: Sequence[Array], prices: Sequence[Array]) -> Array | float:
    """Value of all slots, `[book, bucket, column]`."""
    return total([held * price for held, price in zip(units, prices, strict=True)])


def has_positions(accounts: Accounts) -> Array:
    """Whether anything of the starting positions is left, `[book, bucket, column]` bool."""
    held = [jnp.abs(contracts) for contracts in accounts.contracts]
    return total([*held, *accounts.collateral]) > 0


def least_margin_gap(
    assessment: Assessment, rules: MarginRules, start: Books, taken_over: Array
) -> Array:
    """Least relative distance of equity from maintenance over the buckets.

    Args:
        assessment: Stage-4 values.
        rules: By which they were found.
        start: Starting balance sheets.
        taken_over: `[book, bucket, column]` bool.

    Returns:
        `[book, column]`; infinite where there is no maintenance to meet, or only one on what
        rounding left of positions.

    Source: MODEL.md section 2.10.
    """
    maintenance = assessment.maintenance_margin
    counts = (maintenance > _margin_of_dust(rules, start)) & ~taken_over
    gap = jnp.abs(assessment.equity - maintenance) / jnp.where(counts, maintenance, 1)
    gap = jnp.where(counts, gap, jnp.inf)
    return least_bucket(gap)


def _margin_of_dust(rules: MarginRules, start: Books) -> Array:
    """Maintenance of a rounding of the start, `[book, bucket, lane, 1]`: cheap, as it has no paths.

    Of its first tier: convex tiers ask no less of anything.
    """
    slots = zip(rules.rate, start.position, strict=True)
    of_contracts = total([tiers[0] * jnp.abs(position) for tiers, position in slots])
    return DUST * (of_contracts + rules.loan_rate * jnp.maximum(-start.cash, 0))
