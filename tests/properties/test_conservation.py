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

from deleverage.cascade.issuer import LEAST_BACKING
from deleverage.cascade.liquidation import REMAINDER
from deleverage.policy import Policy
from deleverage.world import Layout

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


def wealth(policy: Policy, state: Any) -> np.ndarray:
    """All cash there is, contracts counted at what was paid for them, `[T, path]`."""
    accounts = state.accounts
    total = state.fund.sum(axis=1) + state.markets.maker_cash.sum(axis=1)
    total = total + accounts.cash.sum(axis=(1, 2))
    if state.vault is not None:
        total = total + state.vault.cash.sum(axis=1)
    return total - (accounts.contracts * policy.books.entry).sum(axis=(1, 2, 3))


def slots(perps: bool) -> list[tuple[int, int, int]]:
    """Slot, book and row (market of a perp, index entry of collateral) of every slot there is."""
    rows = [book.perps if perps else book.collateral for book in LAYOUT.books]
    return [(j, b, row) for b, book in enumerate(rows) for j, row in enumerate(book)]


def at_sale(price: np.ndarray) -> np.ndarray:
    """Sale price of every collateral slot, `[T, Jc, B, 1, path]`, from `[T, market, path]`."""
    most = max(len(book.collateral) for book in LAYOUT.books)
    found = np.zeros((len(price), most, len(LAYOUT.books), 1, price.shape[-1]))
    for j, b, entry in slots(perps=False):
        for market, share in LAYOUT.sales[entry]:
            found[:, j, b, 0] += share * price[:, market]
    return found


def at_market(price: np.ndarray) -> np.ndarray:
    """Price of every perp slot, `[T, Jp, B, 1, path]`."""
    most = max(len(book.perps) for book in LAYOUT.books)
    found = np.zeros((len(price), most, len(LAYOUT.books), 1, price.shape[-1]))
    for j, b, market in slots(perps=True):
        found[:, j, b, 0] = price[:, market]
    return found


@precisions
@settings(max_examples=25)
@given(seed=seeds)
def test_cash_comes_only_from_owners_spot_buyers_and_the_venue(dtype, seed):
    w = walk(seed, dtype)
    topped_up = w.flows.topped_up.sum(axis=1)
    spent = w.before.accounts.budget - w.after.accounts.budget
    assert np.abs(topped_up - spent.sum(axis=(1, 2))).max() <= w.error
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
    for j, b, market in slots(perps=True):
        held[:, market] += w.after.accounts.contracts[:, j, b].sum(axis=1)
    assert np.abs(held).max() <= w.error


@precisions
@settings(max_examples=25)
@given(seed=seeds)
def test_collateral_leaves_only_by_sales(dtype, seed):
    w = walk(seed, dtype)
    gone = np.zeros_like(w.flows.spot_units_sold, float)
    left = w.before.accounts.collateral - w.after.accounts.collateral
    for j, b, entry in slots(perps=False):
        for market, share in LAYOUT.sales[entry]:
            gone[:, market] += share * left[:, j, b].sum(axis=1)
    assert np.abs(gone - w.flows.spot_units_sold).max() <= w.error


def sold_from_outside(
    layout: Layout, inputs: Any, before: Any, after: Any, flows: Any
) -> np.ndarray:
    """Units of outside sellers that books took, `[T, market, path]`: no cohort or vault lost them.

    Only a measured book takes less than all. Of these one spot book has a seller, so that the
    balance of all collateral says what it took.
    """
    found = np.array(inputs["sales"], float)
    markets = enumerate(layout.markets)
    measured = [m for m, market in markets if market.impact == "profile" and found[:, m].any()]
    accounts = (after.markets.maker_units + after.vault.units).astype(float)
    for b, book in enumerate(layout.books):
        for j, m in enumerate(book.perps):
            accounts[:, m] += after.accounts.contracts[:, j, b].sum(axis=1)
    spot = [m for m in measured if not layout.markets[m].is_perp]
    assert len(spot) <= 1
    for m in measured:
        if layout.markets[m].is_perp:  # in all, contracts of accounts, vaults, makers are theirs
            found[:, m] = np.diff(accounts[:, m], axis=0, prepend=0.0)
    for m in spot:
        off = (flows.off_book.redeemed + flows.off_book.taken).sum(axis=1)
        left = (before.accounts.collateral - after.accounts.collateral).sum(axis=(1, 2, 3))
        others = [o for o, market in enumerate(layout.markets) if not market.is_perp and o != m]
        sold = flows.spot_units_sold.sum(axis=1) - (left - off)
        found[:, m] = sold - found[:, others].sum(axis=1)
    return found


@precisions
@settings(max_examples=10)
@given(seed=seeds)
def test_issuers_and_backstops_pay_for_what_leaves_off_the_books(dtype, seed):
    # every kind of sale and of book: what no order book took went to an issuer or a backstop
    world, policies = worlds.full_world(seed)
    layout, policy = world.layout, kernel.single(policies)
    inputs = reference.exogenous(world, worlds.random_draws(world, PATHS, seed))
    before, after, flows = kernel.trajectory(layout, policy, inputs, dtype=dtype)
    error = kernel.rounding(layout, dtype) * kernel.gross_exposure(policy)[0]
    off = flows.off_book
    spot = np.array([not market.is_perp for market in layout.markets])
    left = (before.accounts.collateral - after.accounts.collateral).sum(axis=(1, 2, 3))
    from_outside = sold_from_outside(layout, inputs, before, after, flows)
    assert from_outside.min() >= -error
    assert (from_outside <= inputs["sales"] + error).all()
    # what cohorts sold and outside sellers did not
    bought = (flows.spot_units_sold - from_outside)[:, spot].sum(axis=1)
    assert np.abs(left - bought - (off.redeemed + off.taken).sum(axis=1)).max() <= error

    spent = (flows.spot_units_sold * flows.average_price)[:, spot].sum(axis=1)
    # the makers' cash, which is in `wealth`, pays outside sellers of contracts too
    received = (from_outside * flows.average_price).sum(axis=1)
    paid_in = flows.topped_up.sum(axis=1) + spent - received + off.proceeds.sum(axis=1)
    paid_in = paid_in + flows.losses.unabsorbed_loss.sum(axis=1)
    change = wealth(policy, after) - wealth(policy, before)
    assert np.abs(change - paid_in).max() <= error

    for units in (off.redeemed, off.taken):
        assert units.min() >= 0.0
    redeemed = np.zeros((layout.steps, len(layout.pegged), PATHS))
    for entry, index in enumerate(layout.indices):
        if index.asset in layout.pegged:
            redeemed[:, layout.pegged.index(index.asset)] += off.redeemed[:, entry]
    assert (redeemed <= policy.healing.redemption_capacity * layout.step + error).all()
    paid = off.taken * off.backstop_price
    assert (paid <= policy.sales.capacity * layout.step + error).all()

    kinds = [(j, b, k) for b, book in enumerate(layout.books) for j, k in enumerate(book.sales)]
    held = [(j, b) for j, b, kind in kinds if kind == "hold"]
    assert held
    for j, b in held:
        kept = after.accounts.collateral[:, j, b] == before.accounts.collateral[0, j, b]
        assert kept.all()


@precisions
@settings(max_examples=25)
@given(seed=seeds)
def test_fractions_and_budgets_only_shrink_and_nothing_turns_negative(dtype, seed):
    w = walk(seed, dtype)
    assert w.after.fund.min() >= 0.0
    before, after = w.before.accounts, w.after.accounts
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
    start = np.abs(w.policy.books.position)
    pace = np.minimum(1.0, w.policy.liquidation.pace * LAYOUT.step)
    most = (pace + REMAINDER) * start
    assert (np.abs(w.flows.orders.closed) <= most * (1.0 + 4 * eps)).all()
    # due throughout a window long enough for the pace, a `close` book holds nothing more
    closing = np.array([bool(book.perps) and not book.target for book in LAYOUT.books])
    for t in range(LAYOUT.steps):
        length = t + 1 - np.ceil(1.0 / pace[:, 0, 0])
        for place in np.flatnonzero(closing & (length >= 0)):
            due = w.flows.is_due[int(length[place]) : t + 1, place].all(axis=0)
            left = np.abs(w.after.accounts.contracts[t][:, place]).max(axis=0)
            assert (left[due] == 0.0).all()


@precisions
@settings(max_examples=25)
@given(seed=seeds)
def test_bad_debt_is_what_due_accounts_lack_and_is_borne_in_full(dtype, seed):
    w = walk(seed, dtype)
    losses = w.flows.losses
    borne = losses.insurance_drawn + losses.adl_loss
    borne = borne + losses.socialised_loss + losses.unabsorbed_loss
    assert np.abs(losses.bad_debt - borne).max() <= w.error
    for part in (losses.insurance_drawn, losses.adl_loss, losses.socialised_loss):
        assert part.min() >= 0.0
    assert losses.unabsorbed_loss.min() >= -w.error
    assert (losses.insurance_drawn <= w.before.fund + w.flows.fees + w.error).all()

    # no haircut in it: cash after the orders, collateral and perps at own-venue prices
    accounts, entry, rules = w.before.accounts, w.policy.books.entry, w.policy.liquidation
    sold, closed, due = w.flows.orders.sold, w.flows.orders.closed, w.flows.is_due
    sale, market = at_sale(w.flows.average_price), at_market(w.flows.average_price)
    topped_up = accounts.budget - w.after.accounts.budget
    fee = rules.fee * (np.abs(closed) * market).sum(axis=1)
    fee = fee + rules.collateral_fee * due * (sold * sale).sum(axis=1)
    equity = accounts.cash + topped_up - fee + (sold * sale).sum(axis=1)
    equity = equity + (closed * (market - entry)).sum(axis=1)
    sale, market = at_sale(w.flows.closing_price), at_market(w.flows.closing_price)
    equity = equity + ((accounts.collateral - sold) * sale).sum(axis=1)
    equity = equity + ((accounts.contracts - closed) * (market - entry)).sum(axis=1)
    deficit = due * np.maximum(-equity, 0.0)
    lacking = np.zeros_like(losses.bad_debt, float)
    for b, book in enumerate(LAYOUT.books):
        lacking[:, book.venue] += deficit[:, b].sum(axis=1)
    assert np.abs(losses.bad_debt - lacking).max() <= w.error


@precisions
@settings(max_examples=10)
@given(seed=seeds)
def test_vaults_take_over_no_more_than_they_can_carry_and_share_what_is_owed(dtype, seed):
    world, policies = worlds.full_world(seed)
    layout, policy = world.layout, kernel.single(policies)
    inputs = reference.exogenous(world, worlds.random_draws(world, PATHS, seed))
    inputs["sales"] = np.zeros_like(inputs["sales"])  # by whom no account is short
    _, after, flows = kernel.trajectory(layout, policy, inputs, dtype=dtype)
    error = kernel.rounding(layout, dtype) * kernel.gross_exposure(policy)[0]
    held = (after.markets.maker_units + after.vault.units).astype(float)
    for b, book in enumerate(layout.books):
        for j, market in enumerate(book.perps):
            held[:, market] += after.accounts.contracts[:, j, b].sum(axis=1)
    assert np.abs(held).max() <= error

    losses = flows.losses
    borne = losses.insurance_drawn + losses.vault_paid + losses.adl_loss
    borne = borne + losses.socialised_loss + losses.unabsorbed_loss
    assert np.abs(losses.bad_debt - borne).max() <= error
    assert min(losses.vault_paid.min(), losses.vault_taken.min()) >= 0.0
    at, of_venue = flows.closing_price, np.zeros((len(layout.venues), len(layout.markets)))
    for number, market in enumerate(layout.markets):
        of_venue[market.venue, number] = 1.0
    worth = after.vault.cash + np.einsum("vm,tmp->tvp", of_venue, after.vault.units * at)
    size = np.einsum("vm,tmp->tvp", of_venue, np.abs(after.vault.units) * at)
    took = losses.vault_taken > 0.0
    assert (size - worth - policy.vault.capacity)[took].max(initial=0.0) <= error
    without = policy.vault.capacity[:, 0] == 0.0
    assert not after.vault.units[:, of_venue[without].any(axis=0)].any()
    assert not after.vault.cash[:, without].any()


@precisions
@settings(max_examples=10)
@given(seed=seeds)
def test_what_issuers_redeem_and_holders_sell_is_gone_from_their_stocks(dtype, seed):
    world, policies = worlds.full_world(seed)
    policy = kernel.single(policies)
    inputs = reference.exogenous(world, worlds.random_draws(world, PATHS, seed))
    before, after, flows = kernel.trajectory(world.layout, policy, inputs, dtype=dtype)
    # of a supply, and of what the hedge is worth
    error = kernel.rounding(world.layout, dtype) * kernel.gross_exposure(policy)[0]
    told = before.issuer.backing * np.asarray(inputs["backing_kept"])
    supply = before.issuer.supply
    ratio = np.where(supply > 0, told / np.where(supply > 0, supply, 1.0), 1.0)
    ratio = np.clip(ratio, LEAST_BACKING, 1.0)
    sold = np.zeros_like(flows.redeemed)
    for place, asset in enumerate(world.layout.pegged):
        books = [m.asset == asset and not m.is_perp for m in world.layout.markets]
        sold[:, place] = flows.holders_sold[:, books].sum(axis=1)
    # the hedged book is an issuer's: what it gained is too, but for what it was topped up with
    place = next(b for b, book in enumerate(world.layout.books) if book.issuer == 0)
    spent = before.accounts.budget[:, place] - after.accounts.budget[:, place]
    gained = after.issuer.hedge - before.issuer.hedge
    gained[:, 0] -= spent.sum(axis=1)
    gained = gained / np.exp(inputs["log_fundamental"][:, list(world.layout.pegged)])
    gone = {
        "supply": flows.redeemed,
        "reserve": flows.redeemed,
        "backing": np.minimum(flows.redeemed * ratio, told) - gained,
        "free_float": sold,
    }
    for name, units in gone.items():
        had = told if name == "backing" else getattr(before.issuer, name)
        left = getattr(after.issuer, name)
        finite = had < 1e20
        assert left.min() >= 0.0, name
        assert name == "backing" or units.min() >= 0.0, name
        assert np.abs(np.maximum(had - units, 0.0) - left)[finite].max(initial=0.0) <= error, name
    paid = policy.healing.redemption_capacity * world.layout.step
    assert (flows.redeemed <= paid + error).all()
