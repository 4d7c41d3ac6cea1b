"""How fast liquidation may sell, who is sold, and that it ends."""

from __future__ import annotations

import numpy as np
from walk import REMAINDER, Walk, kind_of_sale, slots


def pace_of(w: Walk) -> np.ndarray:
    """Share of a starting position that a step may sell, `[B, 1, lane, 1]`."""
    return np.minimum(1.0, w.policy.liquidation.pace * w.layout.step)


def suspended(w: Walk) -> np.ndarray:
    """Cohorts that place no liquidation orders while a breaker lasts, `[step, B, K, lane, path]`.

    MODEL.md 2.6: those with a position in a halted entry; of loans, with such collateral.
    """
    found = np.zeros(w.flows.is_due.shape, bool)
    if w.flows.halted is None:
        return found
    for j, b, market in slots(w.layout, perps=True):
        of_it = w.policy.books.position[j, b] != 0.0
        found[:, b] |= w.flows.halted[:, w.layout.perp_index[market], None] & of_it
    for j, b, entry in slots(w.layout, perps=False):
        if w.layout.books[b].is_loan:
            of_it = w.policy.books.collateral[j, b] != 0.0
            found[:, b] |= w.flows.halted[:, entry, None] & of_it
    return found


def hedges(w: Walk) -> np.ndarray:
    """Spot legs, `[Jc, B]` bool: they follow their shorts, due or not, at any pace."""
    found = np.zeros(w.before.accounts.collateral.shape[1:3], bool)
    found[0] = [book.hedged for book in w.layout.books]
    return found


def no_step_sells_more_than_the_pace(w: Walk) -> None:
    # but for a remainder, which closes at once, and for spot legs
    most = pace_of(w) + REMAINDER
    start = w.policy.books
    closed, sold = np.abs(w.flows.orders.closed), w.flows.orders.sold
    assert (closed <= most * np.abs(start.position) * (1.0 + 4 * w.eps)).all()
    by_pace = sold <= most * start.collateral * (1.0 + 4 * w.eps)
    assert by_pace[:, ~hedges(w)].all()
    followed = w.before.accounts.collateral - _hedged_units(w)
    allowed = np.maximum(followed, most * start.collateral) + w.error
    assert (sold <= allowed)[:, hedges(w)].all()


def _hedged_units(w: Walk) -> np.ndarray:
    """Spot that the short in slot 0 still hedges, `[step, 1, B, K, lane, path]`."""
    position = w.policy.books.position[0]
    left = w.before.accounts.contracts[:, 0] / np.where(position == 0.0, 1.0, position)
    return left[:, None] * w.policy.books.collateral[0]


def steps_together_sell_no_more_than_the_pace(w: Walk) -> None:
    # whatever was filled, halted or left over in between: nothing is caught up on
    steps = np.arange(1, w.layout.steps + 1).reshape(-1, *[1] * 5)
    start = w.policy.books
    closed = np.cumsum(np.abs(w.flows.orders.closed), axis=0)
    sold = np.cumsum(w.flows.orders.sold, axis=0)
    most = np.minimum(1.0, steps * pace_of(w) + REMAINDER)
    slack = 4 * w.layout.steps * w.eps
    assert (closed <= (most + slack) * np.abs(start.position)).all()
    assert (sold <= (most + slack) * start.collateral)[:, ~hedges(w)].all()


def only_who_is_due_sells_and_only_what_can_be_sold(w: Walk) -> None:
    may = w.working & ~suspended(w)
    assert not np.where(may[:, None], 0.0, w.flows.orders.closed).any()
    sold = w.flows.orders.sold
    assert not np.where(may[:, None], 0.0, sold)[:, ~hedges(w)].any()
    assert not np.where(w.engine_open[:, None], 0.0, sold).any()  # hedges neither (A9)
    gate, halted = w.flows.gate_open, w.flows.halted
    for j, b, entry in slots(w.layout, perps=False):
        if hedges(w)[j, b]:
            continue
        index, kind = w.layout.indices[entry], kind_of_sale(w.layout, j, b)
        shut = gate[:, index.venue] == 0.0
        barred = np.zeros_like(shut) if halted is None else halted[:, entry]
        if kind == "redeem":
            barred = barred | shut
        if w.policy.sales is not None and index.asset in w.layout.pegged:
            barred = barred | (shut & (w.policy.sales.pause[entry] > 0.0))
        assert not np.where(barred[:, None], sold[:, j, b], 0.0).any()


def who_is_closed_out_is_gone_in_as_many_steps_as_the_pace_takes(w: Walk) -> None:
    # of `close` books, and of any that are the venue's: counted are the steps in which they are
    # due, engine and breakers let them, and order books took all that was offered
    kinds = [bool(book.perps) and not (book.target or book.targeting) for book in w.layout.books]
    closing = w.before.accounts.taken_over | np.array(kinds)[:, None, None, None]
    effective = closing & w.working & ~suspended(w)
    if w.flows.unfilled is not None:
        effective &= ~w.flows.unfilled[:, None, None]
    steps = np.cumsum(effective, axis=0)[:, None]
    most = np.maximum(0.0, 1.0 - steps * pace_of(w)) * (1.0 + 1e-12)
    most = np.where(most < REMAINDER, 0.0, most + 4 * w.layout.steps * w.eps)
    # in the step in which a remainder is left it closes too, so it is never more than that
    left = np.abs(w.after.accounts.contracts)
    assert (left <= most * np.abs(w.policy.books.position)).all()


PACES = (
    no_step_sells_more_than_the_pace,
    steps_together_sell_no_more_than_the_pace,
    only_who_is_due_sells_and_only_what_can_be_sold,
    who_is_closed_out_is_gone_in_as_many_steps_as_the_pace_takes,
)
