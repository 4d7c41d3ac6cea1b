"""What no step may create, destroy or give back: cash, contracts, collateral, losses."""

from __future__ import annotations

from typing import Any, NamedTuple

import kernel
import numpy as np
import pytest
import reference
import worlds
from hypothesis import given, settings
from hypothesis import strategies as st

from deleverage.cascade.liquidation import REMAINDER
from deleverage.cascade.maps import maps_of
from deleverage.policy import Policy

LAYOUT = worlds.RANDOM_LAYOUT
PATHS = 4
seeds = st.integers(0, 2**31 - 1)
precisions = pytest.mark.parametrize("dtype", ["float64", "float32"])


class Walk(NamedTuple):
    """All steps of one policy on some paths."""

    policy: Policy
    before: Any  # State, leaves [T, ..., path]
    after: Any
    flows: Any
    error: float  # rounding of a balance, USD millions


def walk(seed: int, dtype: str) -> Walk:
    """A random world's first policy, step by step."""
    world, policies = worlds.random_world(seed)
    policy = kernel.single(policies)
    inputs = reference.exogenous(world, worlds.random_draws(world, PATHS, seed))
    error = kernel.rounding(LAYOUT, dtype) * kernel.gross_exposure(policy)[0]
    return Walk(policy, *kernel.trajectory(LAYOUT, policy, inputs, dtype=dtype), error)


def entries(policy: Policy) -> list[np.ndarray]:
    """Entry prices of each block's perp slots, `[Jp, B, 1, 1]`."""
    return [policy.books.entry[: b.perps, list(b.books)] for b in maps_of(LAYOUT).blocks]


def wealth(policy: Policy, state: Any) -> np.ndarray:
    """All cash there is, contracts counted at what was paid for them, `[T, path]`."""
    total = state.fund.sum(axis=1) + state.markets.maker_cash.sum(axis=1)
    for accounts, entry in zip(state.accounts, entries(policy), strict=True):
        total = total + accounts.cash.sum(axis=(1, 2))
        total = total - (accounts.contracts * entry).sum(axis=(1, 2, 3))
    return total


@precisions
@settings(max_examples=25)
@given(seed=seeds)
def test_cash_comes_only_from_owners_spot_buyers_and_the_venue(dtype, seed):
    w = walk(seed, dtype)
    topped_up = sum(added.sum(axis=(1, 2)) for added in w.flows.top_up)
    spot = np.array([not market.is_perp for market in LAYOUT.markets])
    sales = (w.flows.spot_units_sold * w.flows.average_price)[:, spot].sum(axis=1)
    paid_in = topped_up + sales + w.flows.losses.unabsorbed_loss.sum(axis=1)
    change = wealth(w.policy, w.after) - wealth(w.policy, w.before)
    assert np.abs(change - paid_in).max() <= w.error


@precisions
@settings(max_examples=25)
@given(seed=seeds)
def test_contracts_of_every_perp_sum_to_zero(dtype, seed):
    w = walk(seed, dtype)
    held = w.after.markets.maker_units.astype(float)
    for block, accounts in zip(maps_of(LAYOUT).blocks, w.after.accounts, strict=True):
        held += np.einsum("jbm,tjbkp->tmp", block.market, accounts.contracts)
    assert np.abs(held).max() <= w.error


@precisions
@settings(max_examples=25)
@given(seed=seeds)
def test_collateral_leaves_only_by_sales(dtype, seed):
    w = walk(seed, dtype)
    gone = np.zeros_like(w.flows.spot_units_sold, float)
    for block, before, after in zip(
        maps_of(LAYOUT).blocks, w.before.accounts, w.after.accounts, strict=True
    ):
        gone += np.einsum("jbm,tjbkp->tmp", block.sale, before.collateral - after.collateral)
    assert np.abs(gone - w.flows.spot_units_sold).max() <= w.error


@precisions
@settings(max_examples=25)
@given(seed=seeds)
def test_fractions_and_budgets_only_shrink_and_nothing_turns_negative(dtype, seed):
    w = walk(seed, dtype)
    assert w.after.fund.min() >= 0.0
    for before, after in zip(w.before.accounts, w.after.accounts, strict=True):
        for name in ("collateral", "budget"):
            assert (getattr(after, name) >= 0.0).all(), name
            assert (getattr(after, name) <= getattr(before, name)).all(), name
        assert (after.contracts * before.contracts >= 0.0).all()
        assert (np.abs(after.contracts) <= np.abs(before.contracts)).all()
        assert (after.taken_over >= before.taken_over).all()


@precisions
@settings(max_examples=25)
@given(seed=seeds)
def test_liquidation_keeps_the_pace_and_ends(dtype, seed):
    w = walk(seed, dtype)
    eps = float(np.finfo(dtype).eps)
    blocks = maps_of(LAYOUT).blocks
    for b, (block, accounts) in enumerate(zip(blocks, w.after.accounts, strict=True)):
        if not block.perps:
            continue
        places = list(block.books)
        start = np.abs(w.policy.books.position[: block.perps, places])
        pace = np.minimum(1.0, w.policy.liquidation.pace[places] * LAYOUT.step)
        most = (pace + REMAINDER) * start
        assert (np.abs(w.flows.contracts_closed[b]) <= most * (1.0 + 4 * eps)).all()
        # due throughout a window long enough for the pace, a `close` book holds nothing more
        closing = ~block.target[:, 0, 0]
        for t in range(LAYOUT.steps):
            length = t + 1 - np.ceil(1.0 / pace[:, 0, 0])
            for place in np.flatnonzero(closing & (length >= 0)):
                due = w.flows.is_due[b][int(length[place]) : t + 1, place].all(axis=0)
                left = np.abs(accounts.contracts[t][:, place]).max(axis=0)
                assert (left[due] == 0.0).all()


@precisions
@settings(max_examples=25)
@given(seed=seeds)
def test_bad_debt_is_what_due_accounts_lack_and_is_borne_in_full(dtype, seed):
    w = walk(seed, dtype)
    losses, maps = w.flows.losses, maps_of(LAYOUT)
    borne = losses.insurance_drawn + losses.adl_loss
    borne = borne + losses.socialised_loss + losses.unabsorbed_loss
    assert np.abs(losses.bad_debt - borne).max() <= w.error
    for part in (losses.insurance_drawn, losses.adl_loss, losses.socialised_loss):
        assert part.min() >= 0.0
    assert losses.unabsorbed_loss.min() >= -w.error
    assert (losses.insurance_drawn <= w.before.fund + w.flows.fees + w.error).all()

    # no haircut in it: cash after the orders, collateral and perps at own-venue prices
    lacking = np.zeros_like(losses.bad_debt, float)
    blocks = zip(maps.blocks, w.before.accounts, entries(w.policy), strict=True)
    for b, (block, accounts, entry) in enumerate(blocks):
        places = list(block.books)
        sold, closed = w.flows.collateral_sold[b], w.flows.contracts_closed[b]
        at_sale = np.einsum("jbm,tmp->tjbp", block.sale, w.flows.average_price)[..., None, :]
        at_close = np.einsum("jbm,tmp->tjbp", block.market, w.flows.average_price)[..., None, :]
        sale = np.einsum("jbm,tmp->tjbp", block.sale, w.flows.closing_price)[..., None, :]
        close = np.einsum("jbm,tmp->tjbp", block.market, w.flows.closing_price)[..., None, :]
        due, rules = w.flows.is_due[b], w.policy.liquidation
        fee = rules.fee[places] * (np.abs(closed) * at_close).sum(axis=1)
        fee = fee + rules.collateral_fee[places] * due * (sold * at_sale).sum(axis=1)
        equity = accounts.cash + w.flows.top_up[b] - fee + (sold * at_sale).sum(axis=1)
        equity = equity + (closed * (at_close - entry)).sum(axis=1)
        equity = equity + ((accounts.collateral - sold) * sale).sum(axis=1)
        equity = equity + ((accounts.contracts - closed) * (close - entry)).sum(axis=1)
        deficit = due * np.maximum(-equity, 0.0)
        lacking += np.einsum("bv,tbkp->tvp", block.venue, deficit)
    assert np.abs(losses.bad_debt - lacking).max() <= w.error
