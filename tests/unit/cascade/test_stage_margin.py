"""Stages 4 and 5 by hand: tiers, equity, who is due, top-ups (MODEL.md 2.4, 2.5)."""

import jax.numpy as jnp
import numpy as np
import pytest

from deleverage.cascade.margin import (
    Assessment,
    SlotPrices,
    assess,
    has_positions,
    least_margin_gap,
)
from deleverage.cascade.top_up import can_top_up, top_up_cash
from deleverage.policy import Books, MarginRules, TopUpRules
from deleverage.state import Accounts


def cohorts(*values):
    """One number a bucket, `[book, bucket, lane, path]`."""
    return jnp.asarray(values, jnp.float32)[None, :, None, None]


def tiers(*values):
    """Of one slot, one number a tier."""
    return [[jnp.full((1, 1, 1, 1), value) for value in values]]


ZERO = jnp.zeros((1, 1, 1, 1))


def holdings(**fields):
    nothing = dict.fromkeys(("cash", "budget"), ZERO)
    nothing |= dict.fromkeys(("taken_over", "liquidated", "missed"), ZERO > 0)
    return Accounts(**{"contracts": [ZERO], "collateral": [ZERO]} | nothing | fields)


def account(cash, contracts, collateral, accounts, mark, index):
    """One book of one perp and one collateral slot, tiered at 50 and at 20 an account."""
    rules = MarginRules(
        rate=tiers(0.01, 0.05),
        deduction=tiers(0.0, 50 * 0.04),
        ratio=tiers(0.95, 0.5),
        addition=tiers(0.0, 20 * 0.45),
        loan_rate=jnp.full((1, 1, 1, 1), 0.05),
    )
    position, pledged = [cohorts(contracts)], [cohorts(collateral)]
    books = Books(position, [cohorts(1.0)], pledged, ZERO, cohorts(accounts), ZERO)
    held = holdings(cash=cohorts(cash), contracts=position, collateral=pledged)
    prices = SlotPrices([cohorts(index)], [cohorts(mark)])
    return assess(rules, books, held, prices)


@pytest.mark.parametrize(
    ("given", "equity", "maintenance"),
    [
        # cash, contracts, collateral, accounts, mark, index
        ((5.0, 40.0, 0.0, 1.0, 0.9, 1.0), 5 - 4.0, 0.36),  # in the first tier
        ((20.0, 100.0, 0.0, 1.0, 0.9, 1.0), 20 - 10.0, 0.5 + 40 * 0.05),  # 50 at 1%, 40 at 5%
        ((20.0, 100.0, 0.0, 2.0, 0.9, 1.0), 20 - 10.0, 0.9),  # two accounts of 45 each
        ((20.0, -100.0, 0.0, 2.0, 0.9, 1.0), 20 + 10.0, 0.9),  # a short gains
        ((0.0, 0.0, 20.0, 1.0, 1.0, 0.8), 0.95 * 16, 0.0),
        ((0.0, 0.0, 30.0, 1.0, 1.0, 1.0), 0.95 * 20 + 0.5 * 10, 0.0),  # 20 at 95%, 10 at 50%
        ((-12.0, 0.0, 20.0, 1.0, 1.0, 0.8), 0.95 * 16 - 12, 0.05 * 12),  # a loan
    ],
)
def test_equity_and_maintenance(given, equity, maintenance):
    found = account(*given)
    assert found.equity[0, 0, 0, 0] == pytest.approx(equity, rel=1e-5)
    assert found.maintenance_margin[0, 0, 0, 0] == pytest.approx(maintenance, rel=1e-5)
    assert bool(found.is_short_of_margin[0, 0, 0, 0]) == (equity < maintenance)


def assessment(equity, maintenance):
    rest = cohorts(*equity) * 0
    return Assessment(cohorts(*equity), cohorts(*maintenance), [rest], rest, rest)


def test_due_is_strictly_below_maintenance():
    found = assessment([4.9, 5.0, 5.1], [5.0, 5.0, 5.0]).is_short_of_margin
    assert found[0, :, 0, 0].tolist() == [True, False, False]


@pytest.mark.parametrize(
    ("equity", "maintenance", "taken_over", "gap"),
    [
        ([4.0, 7.0], [5.0, 5.0], [0, 0], 0.2),
        ([9.0, 6.0], [5.0, 5.0], [0, 0], 0.2),
        ([1.0, 4.0], [0.0, 5.0], [0, 1], np.inf),  # nothing to meet; no longer the owner's
    ],
)
def test_the_margin_gap_is_relative_and_skips_what_has_none(equity, maintenance, taken_over, gap):
    assert gap_of(equity, maintenance, taken_over=cohorts(*taken_over) > 0) == pytest.approx(gap)


@pytest.mark.parametrize(
    ("maintenance", "gap"),
    # 1% of 100 contracts short and 5% of a debt of 20 are asked at first, 2 in all
    [(2.0, 0.2), (3e-6, 0.2), (1e-6, np.inf)],
)
def test_the_margin_gap_skips_what_rounding_left_of_a_position(maintenance, gap):
    found = gap_of([0.8 * maintenance], [maintenance])
    assert found == pytest.approx(gap)


def gap_of(equity, maintenance, taken_over=None):
    """Of cohorts that began with 100 contracts short, 50 of collateral and a debt of 20."""
    rest = cohorts(*equity) * 0
    start = Books([rest - 100], [rest + 1], [rest + 50], rest - 20, rest + 1, rest)
    rules = MarginRules(
        rate=tiers(0.01, 0.05),
        deduction=tiers(0.0, 2.0),
        ratio=tiers(1.0),
        addition=tiers(0.0),
        loan_rate=jnp.full((1, 1, 1, 1), 0.05),
    )
    gone = rest > 0 if taken_over is None else taken_over
    return least_margin_gap(assessment(equity, maintenance), rules, start, gone)[0, 0, 0]


def test_positions_are_left_in_any_slot():
    held = holdings(contracts=[cohorts(0, -1, 0)], collateral=[cohorts(0, 0, 2)])
    assert has_positions(held)[0, :, 0, 0].tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("equity", "budget", "due", "gate", "added"),
    [
        (6.0, 10.0, False, 1.0, 1.0),  # a quarter of what is missing to 2 x 5
        (6.0, 0.4, False, 1.0, 0.4),  # all that is left
        (6.0, 10.0, True, 1.0, 0.0),  # too late
        (6.0, 10.0, False, 0.0, 0.0),  # the gate is shut
        (10.0, 10.0, False, 1.0, 0.0),  # above the warning
        (6.0, 0.0, False, 1.0, 0.0),  # nothing left
    ],
)
def test_top_ups(equity, budget, due, gate, added):
    rules = TopUpRules(rate=cohorts(0.5), warn=cohorts(2.0))
    held, margin = holdings(budget=cohorts(budget)), assessment([equity], [5.0])
    cash = top_up_cash(rules, held, margin, cohorts(due) > 0, cohorts(gate), 0.5)
    assert cash[0, 0, 0, 0] == pytest.approx(added)
    acts = can_top_up(rules, held, margin, cohorts(due) > 0, cohorts(gate))
    assert bool(acts[0, 0, 0, 0]) == (added > 0)


def test_a_fast_top_up_adds_no_more_than_is_missing():
    rules = TopUpRules(rate=cohorts(40.0), warn=cohorts(2.0))
    held, margin = holdings(budget=cohorts(100.0)), assessment([6.0], [5.0])
    cash = top_up_cash(rules, held, margin, ZERO > 0, cohorts(1.0), 0.5)
    assert cash[0, 0, 0, 0] == pytest.approx(4.0)
