"""Stage 6: what due cohorts sell, perps first, then collateral. MODEL.md 2.6."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
from jax import Array

from deleverage.cascade.books import BookRules
from deleverage.cascade.margin import Assessment, SlotPrices, worth
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
    shed: Array | None = None,
) -> list[Array]:
    """Contracts closed now, signed as the position.

    `close` closes what the pace allows; `target` the share that restores the target ratio;
    `targeting` what holding leverage at its start takes.

    Args:
        book: What the books are, their pace, target and starting positions.
        accounts: At the start of the step.
        assessment: Stage-4 values.
        is_due: `[book, bucket, column]`.
        minutes: Length of the step.
        shed: `share_to_shed`, where a book is `targeting`.

    Returns:
        `[book, bucket, column]` of each perp slot.

    Source: MODEL.md section 2.6, A5.
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
        start, wanted = jnp.abs(position), share * held
        if shed is not None:
            excess = jnp.clip(shed * position, -jnp.abs(held), jnp.abs(held))
            wanted = jnp.where(targets_leverage(book, accounts), excess, wanted)
        orders = jnp.clip(wanted, -pace * start, pace * start)
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
    shed: Array | None = None,
    sellable: Sequence[Array] | None = None,
) -> list[Array]:
    """Units of collateral sold now, to bring cash back to zero.

    Args:
        book: What the books are, their pace, target and starting positions.
        accounts: At the start of the step.
        assessment: Stage-4 values.
        is_due: `[book, bucket, column]`.
        closed: Contracts closed in this step.
        cash: After the perps have settled, USD millions.
        sale_price: Pre-trade price where it is sold, `[book, 1, column]` each.
        minutes: Length of the step.
        shed: `share_to_shed`, where a book is `targeting`.
        sellable: Whether each slot can be sold now, `[book, 1, column]` bool; None: all can.

    Returns:
        `[book, bucket, column]` of each collateral slot; a hedged book's spot leg follows its
        short, due or not.

    Source: MODEL.md section 2.6.
    """
    if sellable is not None:
        offered = zip(sale_price, sellable, strict=True)
        sale_price = [jnp.where(can, price, 0) for price, can in offered]
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
        wanted = share * held
        if shed is not None:
            sheds = book.facts.loan & targets_leverage(book, accounts)
            wanted = jnp.where(sheds, jnp.minimum(shed * start, held), wanted)
        orders = _close_remainder(jnp.minimum(wanted, pace * start), held, start)
        sold.append(jnp.where(is_due, orders, 0))
    if sellable is not None:
        sold = [jnp.where(can, units, 0) for units, can in zip(sold, sellable, strict=True)]
    if book.any_hedged and sold:
        follows = jnp.maximum(sold[0], hedge_excess(book.start, accounts))
        sold[0] = jnp.where(book.facts.hedged, follows, sold[0])
    return sold


def targets_leverage(book: BookRules, accounts: Accounts) -> Array:
    """Cohorts that hold their leverage, `[book, bucket, column]` bool; the venue's own do not."""
    return book.facts.targeting & ~accounts.taken_over


def share_to_shed(book: BookRules, accounts: Accounts, prices: SlotPrices) -> Array:
    r"""Share of the starting positions whose sale holds leverage at its start, less what is sold.

    $$\phi = \max\Big(0, \frac{\Delta V - L_0 \Pi}{V_0} - \frac{\text{sold}}{V_0}\Big)$$

    with $\Delta V$ what the starting positions $V_0$ have gained in size and $\Pi$ in worth: of
    longs and loans $(L_0 - 1)$ times the loss.

    Args:
        book: What the books are, and their starting positions.
        accounts: At the start of the step.
        prices: Index and mark of their slots.

    Returns:
        `[book, bucket, column]`.

    Source: MODEL.md section 2.6, A19; Greenwood, Landier and Thesmar (2015), equation 4.
    """
    start, loan = book.start, book.facts.loan
    perps = list(zip(start.position, prices.perp, start.entry, accounts.contracts, strict=True))
    pledged = list(
        zip(start.collateral, prices.collateral, accounts.collateral, strict=True)
    )
    gained = total([held * (price - 1) for held, price, _ in pledged])
    size = jnp.where(
        loan, total(start.collateral), total([jnp.abs(position) for position in start.position])
    )
    grown = jnp.where(
        loan, gained, total([jnp.abs(position) * (mark - 1) for position, mark, _, _ in perps])
    )
    sold = jnp.where(
        loan,
        total([units - held for units, _, held in pledged]),
        total([jnp.abs(position) - jnp.abs(held) for position, _, _, held in perps]),
    )
    earned = gained + total([position * (mark - 1) for position, mark, _, _ in perps])
    own = start.cash + total(start.collateral)
    own = own + total([position * (1 - entry) for position, _, entry, _ in perps])
    leverage = ratio_or_zero(size, jnp.maximum(own, 0))
    excess = jnp.where(leverage > 0, grown - leverage * earned - sold, 0)
    return jnp.maximum(ratio_or_zero(excess, size), 0)


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
