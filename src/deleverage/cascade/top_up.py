"""Stage 5: owners add cash to accounts near liquidation. MODEL.md 2.5."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from deleverage.cascade.margin import Assessment
from deleverage.policy import TopUpRules
from deleverage.state import Accounts


def top_up_cash(
    rules: TopUpRules,
    accounts: Accounts,
    assessment: Assessment,
    is_due: Array,
    gate_open: Array,
    minutes: float,
) -> Array:
    r"""Cash that arrives this step.

    $$a = \min(\min(1, r h)\,(w\,MM - E),\ \text{budget})$$

    Args:
        rules: Rate per minute and warning multiple.
        accounts: Holds the budget left.
        assessment: Stage-4 equity and maintenance.
        is_due: `[book, bucket, column]`; due cohorts are past topping up.
        gate_open: Transfer gate of the book's venue, `[book, 1, column]`, 1 open.
        minutes: Length of the step.

    Returns:
        USD millions, `[book, bucket, column]`.

    Source: MODEL.md section 2.5.
    """
    missing = rules.warn * assessment.maintenance_margin - assessment.equity
    wanted = jnp.minimum(1, rules.rate * minutes) * missing
    acts = can_top_up(rules, accounts, assessment, is_due, gate_open)
    return jnp.where(acts, jnp.minimum(wanted, accounts.budget), 0)


def can_top_up(
    rules: TopUpRules, accounts: Accounts, assessment: Assessment, is_due: Array, gate_open: Array
) -> Array:
    """Who is warned, not due, has money left and an open gate, `[book, bucket, column]` bool."""
    warned = assessment.equity < rules.warn * assessment.maintenance_margin
    return warned & ~is_due & (gate_open > 0) & (accounts.budget > 0)
