"""Stage 6: what due cohorts sell, perps first, then collateral. MODEL.md 2.6."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from deleverage.cascade.blocks import BlockRules
from deleverage.cascade.maps import Block
from deleverage.cascade.margin import Assessment
from deleverage.cascade.primitives import ratio_or_zero, total
from deleverage.state import Accounts

REMAINDER = 1e-4
"""Fractions of a starting position below this close at once."""


def perps_to_close(
    block: Block,
    rules: BlockRules,
    accounts: Accounts,
    assessment: Assessment,
    is_due: Array,
    minutes: float,
) -> Array:
    """Contracts closed now, signed as the position.

    `close` closes what the pace allows; `target` the share that restores the target ratio.

    Args:
        block: Static facts of the books.
        rules: Pace, target, starting positions.
        accounts: At the start of the step.
        assessment: Stage-4 values.
        is_due: `[book, bucket, path]`.
        minutes: Length of the step.

    Returns:
        `[Jp, book, bucket, path]`.

    Source: MODEL.md section 2.6.
    """
    held, start = accounts.contracts, jnp.abs(rules.books.position)
    wanted = held
    if block.target.any():
        goal = rules.liquidation.target
        aim = goal * assessment.maintenance_margin - assessment.equity
        share = ratio_or_zero(aim, goal * total(assessment.slot_maintenance))
        restores = block.target & ~accounts.taken_over
        wanted = jnp.where(restores, jnp.clip(share, 0, 1) * held, held)
    most = jnp.minimum(1, rules.liquidation.pace * minutes) * start
    closed = _close_remainder(jnp.clip(wanted, -most, most), held, start)
    return jnp.where(is_due, closed, 0)


def collateral_to_sell(
    block: Block,
    rules: BlockRules,
    accounts: Accounts,
    assessment: Assessment,
    is_due: Array,
    closed: Array,
    cash: Array,
    sale_price: Array,
    minutes: float,
) -> Array:
    """Units of collateral sold now, to bring cash back to zero.

    Args:
        block: Static facts of the books.
        rules: Pace, target, starting positions.
        accounts: At the start of the step.
        assessment: Stage-4 values.
        is_due: `[book, bucket, path]`.
        closed: Contracts closed in this step.
        cash: After the perps have settled, USD millions.
        sale_price: Pre-trade price on the venue's own books, `[Jc, book, 1, path]`.
        minutes: Length of the step.

    Returns:
        `[Jc, book, bucket, path]`; a hedged book's spot leg follows its short, due or not.

    Source: MODEL.md section 2.6.
    """
    held, start = accounts.collateral, rules.books.collateral
    worth = total(held * sale_price)
    to_raise = jnp.maximum(-cash, 0)
    if block.target.any():
        released = total(assessment.slot_maintenance * ratio_or_zero(closed, accounts.contracts))
        goal = rules.liquidation.target
        missing = goal * (assessment.maintenance_margin - released) - assessment.equity
        lost_to_haircut = 1 - ratio_or_zero(assessment.credit, assessment.value)
        freed = lost_to_haircut + goal * rules.margin.loan_rate
        enough = jnp.maximum(missing, 0) / jnp.maximum(freed, 1e-9)
        to_raise = jnp.where(block.target, jnp.minimum(to_raise, enough), to_raise)
    to_raise = jnp.where(accounts.taken_over, worth, to_raise)
    share = jnp.minimum(1, ratio_or_zero(to_raise, worth))
    most = jnp.minimum(1, rules.liquidation.pace * minutes) * start
    sold = _close_remainder(jnp.minimum(share * held, most), held, start)
    sold = jnp.where(is_due, sold, 0)
    if not block.hedged.any():
        return sold
    follows = hedge_excess(rules, accounts)
    spot_leg = jnp.where(block.hedged, jnp.maximum(sold[0], follows), sold[0])
    return jnp.concatenate([spot_leg[None], sold[1:]])


def hedge_excess(rules: BlockRules, accounts: Accounts) -> Array:
    """Units of a hedged book's spot leg beyond what its short still hedges: sold next.

    Returns:
        `[book, bucket, path]`, of slot 0; positive after the short shrank in the step before.

    Source: MODEL.md section 2.6.
    """
    short_left = ratio_or_zero(accounts.contracts[0], rules.books.position[0])
    return jnp.maximum(accounts.collateral[0] - short_left * rules.books.collateral[0], 0)


def _close_remainder(sold: Array, held: Array, start: Array) -> Array:
    """Sell all where less than the remainder would stay."""
    small = jnp.abs(held - sold) < REMAINDER * start
    return jnp.where((sold != 0) & small, held, sold)
