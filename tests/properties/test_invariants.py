"""What no step may break, whatever is switched on: every kind together, every policy of a sweep.

The invariants are in `balances.py`, `bounds.py`, `pacing.py` and `deficits.py`. Each runs on the
same random worlds, by `every_kind` with all mechanisms of the model at once, in all lanes of one
program.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import balances
import bounds
import deficits
import kernel
import numpy as np
import pacing
import pytest
import reference
import worlds
from hypothesis import example, given, settings
from hypothesis import strategies as st
from walk import MAKES, PATHS, Walk, walk, walk_of

from deleverage.policy import Policy
from deleverage.world import INFINITE_DEPTH, World

INVARIANTS = (*balances.BALANCES, *bounds.BOUNDS, *pacing.PACES, *deficits.DEFICITS)
FALSIFIED = 0
"""A world of every kind in which all that is falsified below has happened."""


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("kind", MAKES)
@settings(max_examples=40)
@example(seed=39)  # float32: sell orders at the end of a book, of which a rounding was bought
@example(seed=138)  # a book so empty that its price is nothing beside the index of the step before
@given(seed=st.integers(0, 2**31 - 1))
def test_every_invariant_holds_with_all_mechanisms_on_together(kind, dtype, seed):
    # all on one walk: Hypothesis would draw other worlds for each, and walks are what costs
    w = walk(kind, seed, dtype)
    for invariant in INVARIANTS:
        invariant(w)


def falsified(w: Walk, path: str, change: Callable[[np.ndarray], np.ndarray]) -> Walk:
    """A walk with one leaf replaced, named by attributes."""

    def replaced(node: Any, names: list[str]) -> Any:
        value = getattr(node, names[0])
        value = replaced(value, names[1:]) if len(names) > 1 else change(value.copy())
        if isinstance(node, tuple):
            return node._replace(**{names[0]: value})
        return dataclasses.replace(node, **{names[0]: value})

    return replaced(w, path.split("."))


def more(by: float, where: Any = ...) -> Callable[[np.ndarray], np.ndarray]:
    """Adds to some places."""

    def change(leaf: np.ndarray) -> np.ndarray:
        leaf[where] += by
        return leaf

    return change


def times(by: float) -> Callable[[np.ndarray], np.ndarray]:
    """Multiplies all."""
    return lambda leaf: by * leaf


LAST_LANE = (..., -1, -1)
FALSE = {
    balances.contracts_of_every_perp_sum_to_zero: ("after.markets.maker_units", more(1e-3)),
    balances.cash_comes_only_from_owners_buyers_and_the_venue: (
        "after.accounts.cash",
        more(1e-3, (-1, 0, 0, *LAST_LANE)),
    ),
    balances.collateral_leaves_only_by_sales_and_somebody_has_it: (
        "flows.spot_units_sold",
        times(1.001),
    ),
    balances.who_buys_off_the_books_stays_within_what_it_offered: (
        "flows.off_book.redeemed",
        more(100.0),
    ),
    balances.what_issuers_redeem_and_holders_sell_is_gone_from_their_stocks: (
        "after.issuer.supply",
        more(1e-3),
    ),
    bounds.what_accounts_hold_only_shrinks_and_nothing_turns_negative: (
        "after.accounts.collateral",
        more(1e-9),
    ),
    bounds.funds_and_stocks_are_never_overdrawn: ("after.fund", more(-1e-9)),
    bounds.prices_are_positive: ("flows.mark_price", lambda leaf: np.where(leaf > 0, 0.0, leaf)),
    bounds.orders_get_a_price_between_that_before_and_that_after: (
        "flows.average_price",
        times(1.001),
    ),
    bounds.no_order_arbitrage_or_run_pushes_a_measured_book_beyond_its_end: (
        "after.markets.displacement",
        more(1.0),
    ),
    bounds.shares_lie_between_0_and_1: ("flows.filled", more(1e-9)),
    bounds.collateral_counts_at_most_what_it_is_worth_and_at_least_nothing: (
        "margins.credit",
        more(1e3),
    ),
    bounds.exactly_those_short_of_margin_are_due: ("flows.is_due", np.logical_not),
    bounds.owners_add_cash_only_while_they_may: (
        "after.accounts.budget",
        lambda leaf: 0.0 * leaf,
    ),
    bounds.slots_that_no_book_has_hold_nothing: ("after.accounts.contracts", more(1e-9)),
    pacing.no_step_sells_more_than_the_pace: ("flows.orders.closed", times(4.0)),
    pacing.steps_together_sell_no_more_than_the_pace: ("flows.orders.sold", times(4.0)),
    pacing.only_who_is_due_sells_and_only_what_can_be_sold: ("flows.orders.sold", more(1e-9)),
    pacing.who_is_closed_out_is_gone_in_as_many_steps_as_the_pace_takes: (
        "after.accounts.contracts",
        lambda leaf: leaf[:1] + 0.0 * leaf,
    ),
    deficits.bad_debt_is_what_due_accounts_lack: ("flows.losses.bad_debt", times(1.001)),
    deficits.bad_debt_is_borne_in_full_and_by_nobody_twice: (
        "flows.losses.vault_paid",
        times(1.001),
    ),
    deficits.losses_come_in_their_order: ("flows.losses.insurance_drawn", times(0.999)),
    deficits.vaults_take_over_no_more_than_they_can_carry: ("after.vault.cash", more(-1e4)),
    deficits.nobody_ends_a_step_below_zero_but_who_is_not_looked_at: (
        "after.accounts.cash",
        more(-1e-3),
    ),
    deficits.what_is_left_of_wiped_out_accounts_goes_to_the_fund: (
        "after.accounts.cash",
        more(1e-9),
    ),
}


@pytest.mark.parametrize("invariant", INVARIANTS, ids=lambda holds: holds.__name__)
def test_every_invariant_notices_what_breaks_it(invariant):
    w = walk("every_kind", FALSIFIED, "float64")
    invariant(w)
    path, change = FALSE[invariant]
    with pytest.raises(AssertionError):
        invariant(falsified(w, path, change))


@settings(max_examples=15)
@given(seed=st.integers(0, 2**31 - 1), cut=st.floats(0.0, 1.0))
def test_haircuts_alone_create_no_bad_debt_in_a_world_of_every_kind(seed, cut):
    # at unmoving prices in deep books, without fees and discounts, whoever is called is sold at
    # par: only who owed more than he had from the start can leave a deficit
    policy, inputs = unmoved(*worlds.full_world(seed), cut, seed)
    w = walk_of(worlds.FULL_LAYOUT, policy, inputs, "float64")
    books = policy.books
    equity = books.cash + books.collateral.sum(axis=0)
    equity = equity + (books.position * (1.0 - books.entry)).sum(axis=0)
    owed = np.maximum(-equity, 0.0).sum(axis=(0, 1))[:, None]
    noise = 1e4 * kernel.gross_exposure(policy)[:, None] / INFINITE_DEPTH  # of books so deep
    assert (w.flows.losses.bad_debt.sum(axis=(0, 1)) <= owed + noise).all()
    if cut > 0.9:
        assert w.working.any(axis=(0, 1, 2, 4)).all()  # somebody is called in every lane
    assert np.abs(w.flows.closing_price - 1.0).max() <= noise.max()


def unmoved(world: World, policy: Policy, cut: float, seed: int) -> tuple[Policy, dict[str, Any]]:
    """The world without any move of prices, `cut` of the credit of all collateral taken off."""
    inputs = reference.exogenous(world, worlds.random_draws(world, PATHS, seed))
    still = {"log_fundamental": 0.0, "liquidity_drop": 0.0, "sales": 0.0}
    still |= {"index_factor": 1.0, "backing_kept": 1.0}
    inputs |= {name: np.full_like(inputs[name], value) for name, value in still.items()}
    left = 1.0 - cut
    margin, impact = policy.margin, policy.impact
    zero = np.zeros_like(policy.liquidation.fee)
    policy = dataclasses.replace(
        policy,
        margin=dataclasses.replace(
            margin, ratio=left * margin.ratio, addition=left * margin.addition
        ),
        liquidation=dataclasses.replace(policy.liquidation, fee=zero, collateral_fee=zero),
        impact=dataclasses.replace(
            impact,
            depth=np.full_like(impact.depth, INFINITE_DEPTH),
            displacement=np.zeros_like(impact.displacement),
            units=impact.distance * INFINITE_DEPTH,
        ),
        sales=dataclasses.replace(policy.sales, discount=0.0 * policy.sales.discount),
    )
    return policy, inputs
