"""What must not matter: order, splitting, the unit of money, depth without limit, slicing."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import kernel
import numpy as np
import reference
import worlds
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from permutation import Order, permuted_inputs, permuted_layout, permuted_policy

from deleverage.policy import Policy
from deleverage.world import INFINITE_DEPTH

LAYOUT = worlds.RANDOM_LAYOUT
PATHS = 4
NEAR = 1e-6
"""Paths that come this close to a threshold may cross it by rounding, which is 1e-13 here."""

ORDER = Order(
    books=(3, 0, 4, 2, 1),
    assets=(2, 4, 0, 3, 1),
    venues=(1, 2, 0),
    markets=(11, 3, 7, 0, 9, 5, 1, 10, 2, 8, 6, 4),
    entries=(4, 1, 5, 0, 3, 2),
)
TURNED = permuted_layout(LAYOUT, ORDER)
seeds = st.integers(0, 2**31 - 1)


def drawn(seed: int) -> tuple[Policy, dict[str, np.ndarray]]:
    """One policy of a random world and what its paths are given."""
    world, policies = worlds.random_world(seed)
    inputs = reference.exogenous(world, worlds.random_draws(world, PATHS, seed))
    return kernel.single(policies), {n: inputs[n] for n in kernel.SERIES if n in inputs}


def is_near(_before: Any, _after: Any, flows: Any) -> bool:
    """Whether a cohort's equity comes close to its maintenance margin."""
    return min(gap.min() for gap in flows.margin_gap) < NEAR


def assert_same(ours: np.ndarray, theirs: np.ndarray, scale: float) -> None:
    assert np.abs(ours - theirs).max() <= kernel.rounding(LAYOUT) * scale


@settings(max_examples=30)
@given(seed=seeds)
def test_order_of_books_assets_venues_and_markets_is_irrelevant(seed):
    policy, inputs = drawn(seed)
    straight = kernel.trajectory(LAYOUT, policy, inputs)
    assume(not is_near(*straight))
    turned = kernel.trajectory(
        TURNED, permuted_policy(policy, ORDER), permuted_inputs(inputs, ORDER)
    )
    gross = kernel.gross_exposure(policy)[0]
    (_, end, flows), (_, turned_end, turned_flows) = straight, turned
    for name in ("price", "closing_price", "pressed"):
        ours, theirs = getattr(flows, name), getattr(turned_flows, name)
        assert_same(ours[:, list(ORDER.markets)], theirs, 1.0)
    for name in ("perp_units_sold", "spot_units_sold"):
        ours, theirs = getattr(flows, name), getattr(turned_flows, name)
        assert_same(ours[:, list(ORDER.markets)], theirs, gross)
    assert_same(end.fund[:, list(ORDER.venues)], turned_end.fund, gross)
    assert_same(flows.losses.bad_debt[:, list(ORDER.venues)], turned_flows.losses.bad_debt, gross)


@settings(max_examples=20)
@given(seed=seeds, order=st.permutations(range(LAYOUT.buckets)))
def test_order_of_cohorts_is_irrelevant(seed, order):
    policy, inputs = drawn(seed)
    books = jax.tree.map(
        lambda leaf: leaf[..., list(order), :] if leaf.shape[-2] > 1 else leaf, policy.books
    )
    found = kernel.trajectory(LAYOUT, policy, inputs)
    assume(not is_near(*found))
    turned = kernel.trajectory(LAYOUT, dataclasses.replace(policy, books=books), inputs)
    gross = kernel.gross_exposure(policy)[0]
    assert_same(found[2].closing_price, turned[2].closing_price, 1.0)
    assert_same(found[1].fund, turned[1].fund, gross)
    ours, theirs = found[1].accounts.cash, turned[1].accounts.cash
    assert_same(ours[:, :, list(order)], theirs, gross)


@settings(max_examples=20)
@given(seed=seeds, share=st.sampled_from([0.5, 0.25, 0.125]))
def test_splitting_a_cohort_changes_nothing(seed, share):
    policy, inputs = drawn(seed)

    def resized(last: float, one_before: float) -> Policy:
        """The last bucket a copy of the one before, both scaled."""

        def scaled(leaf: np.ndarray) -> np.ndarray:
            if leaf.shape[-2] == 1:  # entry prices
                return leaf
            whole = leaf[..., -2, :]
            parts = [one_before * whole, last * whole]
            return np.concatenate([leaf[..., :-2, :], np.stack(parts, axis=-2)], axis=-2)

        return dataclasses.replace(policy, books=jax.tree.map(scaled, policy.books))

    whole = kernel.trajectory(LAYOUT, resized(0.0, 1.0), inputs)
    assume(not is_near(*whole))
    parts = kernel.trajectory(LAYOUT, resized(share, 1.0 - share), inputs)
    gross = kernel.gross_exposure(policy)[0]
    assert_same(whole[2].closing_price, parts[2].closing_price, 1.0)
    assert_same(whole[1].fund, parts[1].fund, gross)
    ours, theirs = whole[1].accounts.cash, parts[1].accounts.cash
    assert_same(ours[:, :, -2:].sum(axis=2), theirs[:, :, -2:].sum(axis=2), gross)


@settings(max_examples=20)
@given(seed=seeds, power=st.integers(-8, 8))
def test_the_unit_of_money_changes_no_bit_of_a_price(seed, power):
    policy, inputs = drawn(seed)
    unit = 2.0**power

    def times(part: Any, *names: str) -> Any:
        return dataclasses.replace(part, **{name: unit * getattr(part, name) for name in names})

    books = ("position", "collateral", "cash", "accounts", "budget")
    scaled = dataclasses.replace(
        policy,
        books=times(policy.books, *books),
        impact=times(policy.impact, "depth"),
        healing=times(policy.healing, "arbitrage_capital", "redemption_capacity"),
        backstop=times(policy.backstop, "fund"),
        reporting=times(policy.reporting, "feed_cap"),
    )
    for dtype in ("float64", "float32"):
        ours = kernel.trajectory(LAYOUT, policy, inputs, dtype=dtype)
        theirs = kernel.trajectory(LAYOUT, scaled, inputs, dtype=dtype)
        for name in ("index_price", "mark_price", "traded_price", "closing_price"):
            np.testing.assert_array_equal(getattr(ours[2], name), getattr(theirs[2], name), name)
        np.testing.assert_array_equal(unit * ours[1].fund, theirs[1].fund)


@settings(max_examples=20)
@given(seed=seeds)
def test_infinite_depth_gives_the_path_without_feedback(seed):
    policy, inputs = drawn(seed)
    impact = dataclasses.replace(
        policy.impact,
        depth=np.full_like(policy.impact.depth, INFINITE_DEPTH),
        displacement=np.zeros_like(policy.impact.displacement),
    )
    deep = dataclasses.replace(policy, impact=impact)
    found = kernel.trajectory(LAYOUT, deep, inputs)
    assume(not is_near(*found))
    paired = kernel.trajectory(LAYOUT, policy, inputs, feedback=False)
    gross = kernel.gross_exposure(policy)[0]
    # every displacement is at most all there is over the depth, and reaches margins through rates
    # of a percent: four digits to spare
    error = 1e4 * gross / INFINITE_DEPTH
    fundamental = inputs["log_fundamental"][:, [market.asset for market in LAYOUT.markets]]
    assert np.abs(found[2].closing_price - np.exp(fundamental)).max() <= error
    assert not paired[2].pressed.any()  # exactly: no order and no healing moves it
    np.testing.assert_allclose(paired[2].closing_price, np.exp(fundamental), rtol=1e-15)
    assert np.abs(found[2].closing_price - paired[2].closing_price).max() <= error
    assert np.abs(found[1].fund - paired[1].fund).max() <= error * gross
    ours, theirs = found[1].accounts.cash, paired[1].accounts.cash
    assert np.abs(ours - theirs).max() <= error * gross


def seller(depth: float, pace: float) -> tuple[Policy, dict[str, np.ndarray]]:
    """One wiped-out long of 100 on a book that never heals, under flat fundamentals."""
    world, _ = worlds.random_world(0)
    policy = worlds.neutral_policy(LAYOUT, tiers=2, sources=3)
    books = policy.books
    books.position[0, 0, 0], books.cash[0, 0] = 100.0, -1000.0
    policy = dataclasses.replace(
        policy,
        impact=dataclasses.replace(policy.impact, depth=np.full_like(policy.impact.depth, depth)),
        liquidation=dataclasses.replace(
            policy.liquidation, pace=np.full_like(policy.liquidation.pace, pace)
        ),
        backstop=dataclasses.replace(policy.backstop, adl=np.zeros_like(policy.backstop.adl)),
    )
    flat = worlds.flat_inputs(world)
    return policy, {name: np.repeat(values, PATHS, axis=-1) for name, values in flat.items()}


@settings(max_examples=20)
@given(depth=st.floats(50.0, 5000.0), slices=st.integers(1, LAYOUT.steps))
def test_slicing_an_order_changes_neither_price_nor_proceeds(depth, slices):
    market = LAYOUT.books[0].perps[0]
    once = kernel.trajectory(LAYOUT, *seller(depth, 1.0 / LAYOUT.step))[1]
    sliced = kernel.trajectory(LAYOUT, *seller(depth, 1.0 / (slices * LAYOUT.step)))[1]
    expected = 100.0 / depth
    for state in (once, sliced):
        assert_same(state.markets.displacement[-1, market], np.full(PATHS, expected), expected)
        proceeds = 100.0 - state.markets.maker_cash[-1, market]  # they began with the entry price
        assert_same(proceeds, np.full(PATHS, -depth * np.expm1(-expected)), 100.0)
        assert (state.accounts.contracts[-1, 0, 0, 0] == 0.0).all()


@settings(max_examples=30)
@given(
    displaced=st.floats(1e-4, 0.3),
    capacity=st.floats(0.0, 200.0),
    more=st.floats(0.0, 1.0),
    depth=st.floats(100.0, 2000.0),
)
def test_redemption_is_continuous_in_its_capacity(displaced, capacity, more, depth):
    market = LAYOUT.peg_markets[1]

    def healed(limit: float) -> np.ndarray:
        policy, inputs = seller(depth, 0.0)
        policy.impact.displacement[market] = displaced
        policy.healing.redemption_capacity[:] = limit
        return kernel.trajectory(LAYOUT, policy, inputs)[1].markets.displacement[0, market]

    less, larger = healed(capacity), healed(capacity + more)
    bought = more * LAYOUT.step / depth  # what the larger capacity can move the book by
    slack = kernel.rounding(LAYOUT)
    assert (larger <= less + slack).all()
    assert (less - larger <= bought + slack).all()
    assert larger.min() >= -slack
