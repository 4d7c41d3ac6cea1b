"""Stage 6: what due cohorts sell, perps first, then collateral. MODEL.md 2.6."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
from jax import Array

from deleverage.cascade.books import BookRules
from deleverage.cascade.margin import Assessment, worth
from deleverage.cascade.primitives import ratio_or_zero, total
from deleverage.policy import Books
from deleverage.state import Accounts

REMAINDER = 1e-4
"""Fractions of a starting position below this close at once."""


def perps_to_close(
    book: BookRules,
    accounts: Accounts,
    assessment: Assessment,
    is_due: Array,
    minutes: float,
) -> list[Array]:
    """Contracts closed now, signed as the position.

    `close` closes what the pace allows; `target` the share that restores the target ratio.

    Args:
        book: What the books are, their pace, target and starting positions.
        accounts: At the start of the step.
        assessment: Stage-4 values.
        is_due: `[book, bucket, column]`.
        minutes: Length of the step.

    Returns:
        `[book, bucket, column]` of each perp slot.

    Source: MODEL.md section 2.6.
    """
    share = 1
    if book.any_target:
        goal = book.liquidation.target
        aim = goal * assessment.maintenance_margin - assessment.equity
        restoring = ratio_or_zero(aim, goal * total(assessment.slot_maintenance))
        restores = book.facts.target & ~accounts.taken_over
        share = jnp.where(restores, jnp.clip(restoring, 0, 1), 1)
    pace = jnp.minimum(1, book.liquidation.pace * minutes)
    closed = []
    for held, position in zip(accounts.contracts, book.start.position, strict=True):
        start = jnp.abs(position)
        orders = jnp.clip(share * held, -pace * start, pace * start)
        closed.append(jnp.where(is_due, _close_remainder(orders, held, start), 0))
    return closed


def collateral_to_sell(
    book: BookRules,
    accounts: Accounts,
    assessment: Assessment,
    is_due: Array,
    closed: Sequence[Array],
    cash: Array,
    sale_price: Sequence[Array],
    minutes: float,
) -> list[Array]:
    """Units of collateral sold now, to bring cash back to zero.

    Args:
        book: What the books are, their pace, target and starting positions.
        accounts: At the start of the step.
        assessment: Stage-4 values.
        is_due: `[book, bucket, column]`.
        closed: Contracts closed in this step.
        cash: After the perps have settled, USD millions.
        sale_price: Pre-trade price on the venue's own books, `[book, 1, column]` each.
        minutes: Length of the step.

    Returns:
        `[book, bucket, column]` of each collateral slot; a hedged book's spot leg follows its
        short, due or not.

    Source: MODEL.md section 2.6.
    """
    held_worth = worth(accounts.collateral, sale_price)
    to_raise = jnp.maximum(-cash, 0)
    if book.any_target:
        slots = zip(assessment.slot_maintenance, closed, accounts.contracts, strict=True)
        released = total([margin * ratio_or_zero(c, held) for margin, c, held in slots])
        goal = book.liquidation.target
        missing = goal * (assessment.maintenance_margin - released) - assessment.equity
        lost_to_haircut = 1 - ratio_or_zero(assessment.credit, jnp.asarray(assessment.value))
        freed = lost_to_haircut + goal * book.margin.loan_rate
        enough = jnp.maximum(missing, 0) / jnp.maximum(freed, 1e-9)
        to_raise = jnp.where(book.facts.target, jnp.minimum(to_raise, enough), to_raise)
    to_raise = jnp.where(accounts.taken_over, held_worth, to_raise)
    share = jnp.minimum(1, ratio_or_zero(to_raise, jnp.asarray(held_worth)))
    pace = jnp.minimum(1, book.liquidation.pace * minutes)
    sold = []
    for held, start in zip(accounts.collateral, book.start.collateral, strict=True):
        orders = _close_remainder(jnp.minimum(share * held, pace * start), held, start)
        sold.append(jnp.where(is_due, orders, 0))
    if book.any_hedged and sold:
        follows = jnp.maximum(sold[0], hedge_excess(book.start, accounts))
        sold[0] = jnp.where(book.facts.hedged, follows, sold[0])
    return sold


def hedge_excess(start: Books, accounts: Accounts) -> Array:
    """Units of a hedged book's spot leg beyond what its short still hedges: sold next.

    Returns:
        `[book, bucket, column]`, of slot 0; positive after the short shrank in the step before.

    Source: MODEL.md section 2.6.
    """
    short_left = ratio_or_zero(accounts.contracts[0], start.position[0])
    return jnp.maximum(accounts.collateral[0] - short_left * start.collateral[0], 0)


def _close_remainder(sold: Array, held: Array, start: Array) -> Array:
    """Sell all where less than the remainder would stay."""
    small = jnp.abs(held - sold) < REMAINDER * start
    return jnp.where((sold != 0) & small, held, sold)
