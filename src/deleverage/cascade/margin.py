"""Stage 4: equity, maintenance margin, and who is due. MODEL.md 2.4."""

from __future__ import annotations

from functools import reduce
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from deleverage.cascade.primitives import total
from deleverage.policy import Books, MarginRules
from deleverage.state import Accounts


class SlotPrices(NamedTuple):
    """Prices of a book's slots, `[slot, book, 1, path]`."""

    collateral: Array
    perp: Array


class Assessment(NamedTuple):
    """A cohort's margin account at given prices, `[book, bucket, path]` unless said."""

    equity: Array
    maintenance_margin: Array
    slot_maintenance: Array  # [Jp, book, bucket, path]
    credit: Array  # collateral after haircuts
    value: Array  # collateral before haircuts

    @property
    def is_short_of_margin(self) -> Array:
        """Equity strictly below maintenance."""
        return self.equity < self.maintenance_margin


def assess(
    rules: MarginRules, books: Books, accounts: Accounts, prices: SlotPrices
) -> Assessment:
    r"""Value every cohort's margin account.

    $$E = b + \sum_j C_j + \sum_j s_j x_j (M_j - e_j), \qquad MM = \sum_j mm_j + r \max(-b, 0)$$

    Args:
        rules: Tiered maintenance and collateral credit.
        books: Starting balance sheets.
        accounts: Cash and what is left of each position.
        prices: Index price of collateral slots and mark of perp slots.

    Source: MODEL.md section 2.4.
    """
    value = accounts.collateral * prices.collateral
    slot_maintenance = _steepest(
        rules.rate, jnp.abs(accounts.contracts) * prices.perp, rules.deduction * books.accounts
    )
    credit = total(_flattest(rules.ratio, value, rules.addition * books.accounts))
    profit = total(accounts.contracts * (prices.perp - books.entry))
    debt = jnp.maximum(-accounts.cash, 0)
    return Assessment(
        equity=accounts.cash + credit + profit,
        maintenance_margin=total(slot_maintenance) + rules.loan_rate * debt,
        slot_maintenance=slot_maintenance,
        credit=credit,
        value=total(value),
    )


def _steepest(slopes: Array, size: Array, offsets: Array) -> Array:
    """Convex tiers, `max_r (slope_r size - offset_r)`; `[slot, tier, ...]` by `[slot, ...]`."""
    lines = [slopes[:, r] * size - offsets[:, r] for r in range(slopes.shape[1])]
    return reduce(jnp.maximum, lines)


def _flattest(slopes: Array, size: Array, offsets: Array) -> Array:
    """Concave tiers, `min_r (slope_r size + offset_r)`."""
    lines = [slopes[:, r] * size + offsets[:, r] for r in range(slopes.shape[1])]
    return reduce(jnp.minimum, lines)


def has_positions(accounts: Accounts) -> Array:
    """Whether anything of the starting positions is left, `[book, bucket, path]` bool."""
    return total(jnp.abs(accounts.contracts)) + total(accounts.collateral) > 0


def margin_gap(assessment: Assessment, taken_over: Array) -> Array:
    """Relative distance of equity from maintenance, infinite where there is none to meet."""
    maintenance = assessment.maintenance_margin
    counts = (maintenance > 0) & ~taken_over
    gap = jnp.abs(assessment.equity - maintenance) / jnp.where(counts, maintenance, 1)
    return jnp.where(counts, gap, jnp.inf)
