"""What must not matter: order, splitting, the unit of money, depth without limit, slicing."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import kernel
import numpy as np
import pytest
import reference
import worlds
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from permutation import Order, permuted_inputs, permuted_layout, permuted_policy

from deleverage.policy import Policy
from deleverage.world import INFINITE_DEPTH, Layout, World

PATHS = 4
THRESHOLD, HAZARD_RATE = 1, 2  # among the numbers of an outage by load
NEAR = 1e-6
"""Paths that come this close to a threshold may cross it by rounding, which is 1e-13 here."""

seeds = st.integers(0, 2**31 - 1)


class Kind(NamedTuple):
    """Random worlds of one layout, and that layout listed otherwise."""

    make: Callable[[int], tuple[World, Policy]]
    layout: Layout
    order: Order

    @property
    def turned(self) -> Layout:
        """The layout in the other order."""
        return permuted_layout(self.layout, self.order)

    def drawn(self, seed: int) -> tuple[Policy, dict[str, np.ndarray]]:
        """A policy of a random world, each of them in turn, and what its paths are given."""
        world, policies = self.make(seed)
        inputs = reference.exogenous(world, worlds.random_draws(world, PATHS, seed))
        names = (*kernel.SERIES, "load_venues")
        policy = kernel.single(policies, seed % policies.reporting.due_at_start.shape[-1])
        return policy, {n: inputs[n] for n in names if n in inputs}

    def assert_same(self, ours: np.ndarray, theirs: np.ndarray, scale: float) -> None:
        """Equal up to the rounding of all steps."""
        assert np.abs(ours - theirs).max() <= kernel.rounding(self.layout) * scale


ASSETS, VENUES = (2, 4, 0, 3, 1), (1, 2, 0)
MARKETS = (11, 3, 7, 0, 9, 5, 1, 10, 2, 8, 6, 4)
DEFAULT = Kind(
    worlds.random_world,
    worlds.RANDOM_LAYOUT,
    Order((3, 0, 4, 2, 1), ASSETS, VENUES, MARKETS, (4, 1, 5, 0, 3, 2)),
)
EVERY = Kind(
    worlds.full_world,
    worlds.FULL_LAYOUT,
    Order((3, 9, 0, 10, 4, 6, 2, 8, 1, 7, 5), ASSETS, VENUES, MARKETS, (4, 1, 6, 5, 0, 3, 2)),
)
KINDS = {"default_kinds": DEFAULT, "every_kind": EVERY}
LAYOUT = DEFAULT.layout
kinds = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


def kinds_of_which_slow(slow: str) -> Any:
    """The same, one of them only where slow tests run too."""
    marks = {slow: pytest.mark.slow}
    return pytest.mark.parametrize(
        "kind",
        [pytest.param(kind, id=name, marks=marks.get(name, ())) for name, kind in KINDS.items()],
    )


def is_near(_before: Any, _after: Any, flows: Any) -> bool:
    """Whether a cohort's equity comes close to its maintenance margin."""
    return min(gap.min() for gap in flows.margin_gap) < NEAR


def least_gain(policy: Policy) -> float:
    """Margin that a unit of sold collateral gains a `target` cohort, at least (MODEL.md 2.6)."""
    credit = policy.margin.ratio.max(axis=(0, 1))
    gain = 1.0 - credit + policy.liquidation.target * policy.margin.loan_rate
    return float(np.clip(gain, 1e-9, 1.0).min())


@kinds_of_which_slow("default_kinds")
@settings(max_examples=30)
@given(seed=seeds)
def test_order_of_books_assets_venues_and_markets_is_irrelevant(kind, seed):
    policy, inputs = kind.drawn(seed)
    order = kind.order
    straight = kernel.trajectory(kind.layout, policy, inputs)
    assume(not is_near(*straight))
    turned = kernel.trajectory(
        kind.turned, permuted_policy(policy, order), permuted_inputs(inputs, order)
    )
    gross = kernel.gross_exposure(policy)[0]
    (_, end, flows), (_, turned_end, turned_flows) = straight, turned
    for name in ("price", "closing_price", "pressed"):
        ours, theirs = getattr(flows, name), getattr(turned_flows, name)
        kind.assert_same(ours[:, list(order.markets)], theirs, 1.0)
    kind.assert_same(flows.index_price[:, list(order.entries)], turned_flows.index_price, 1.0)
    for name in ("perp_units_sold", "spot_units_sold"):
        ours, theirs = getattr(flows, name), getattr(turned_flows, name)
        kind.assert_same(ours[:, list(order.markets)], theirs, gross)
    kind.assert_same(end.fund[:, list(order.venues)], turned_end.fund, gross)
    ours, theirs = flows.losses.bad_debt, turned_flows.losses.bad_debt
    kind.assert_same(ours[:, list(order.venues)], theirs, gross)
    if kind is EVERY:
        kind.assert_same(end.issuer.free_float, turned_end.issuer.free_float, gross)
        kind.assert_same(end.vault.units[:, list(order.markets)], turned_end.vault.units, gross)
        kind.assert_same(end.vault.cash[:, list(order.venues)], turned_end.vault.cash, gross)
        # perps that restore the target leave a rounding of margin, raised at what a sale gains
        raised = gross / least_gain(policy)
        for ours, theirs in zip(flows.off_book, turned_flows.off_book, strict=True):
            kind.assert_same(ours[:, list(order.entries)], theirs, raised)


@kinds
@settings(max_examples=20)
@given(seed=seeds, order=st.permutations(range(LAYOUT.buckets)))
def test_order_of_cohorts_is_irrelevant(kind, seed, order):
    policy, inputs = kind.drawn(seed)
    books = jax.tree.map(
        lambda leaf: leaf[..., list(order), :] if leaf.shape[-2] > 1 else leaf, policy.books
    )
    found = kernel.trajectory(kind.layout, policy, inputs)
    assume(not is_near(*found))
    turned = kernel.trajectory(kind.layout, dataclasses.replace(policy, books=books), inputs)
    gross = kernel.gross_exposure(policy)[0]
    kind.assert_same(found[2].closing_price, turned[2].closing_price, 1.0)
    kind.assert_same(found[1].fund, turned[1].fund, gross)
    ours, theirs = found[1].accounts.cash, turned[1].accounts.cash
    kind.assert_same(ours[:, :, list(order)], theirs, gross)


@kinds
@settings(max_examples=20)
@given(seed=seeds, share=st.sampled_from([0.5, 0.25, 0.125]))
def test_splitting_a_cohort_changes_nothing(kind, seed, share):
    policy, inputs = kind.drawn(seed)

    def resized(last: float, one_before: float) -> Policy:
        """The last bucket a copy of the one before, both scaled."""

        def scaled(leaf: np.ndarray) -> np.ndarray:
            if leaf.shape[-2] == 1:  # entry prices
                return leaf
            whole = leaf[..., -2, :]
            parts = [one_before * whole, last * whole]
            return np.concatenate([leaf[..., :-2, :], np.stack(parts, axis=-2)], axis=-2)

        return dataclasses.replace(policy, books=jax.tree.map(scaled, policy.books))

    whole = kernel.trajectory(kind.layout, resized(0.0, 1.0), inputs)
    assume(not is_near(*whole))
    parts = kernel.trajectory(kind.layout, resized(share, 1.0 - share), inputs)
    gross = kernel.gross_exposure(policy)[0]
    kind.assert_same(whole[2].closing_price, parts[2].closing_price, 1.0)
    kind.assert_same(whole[1].fund, parts[1].fund, gross)
    ours, theirs = whole[1].accounts.cash, parts[1].accounts.cash
    kind.assert_same(ours[:, :, -2:].sum(axis=2), theirs[:, :, -2:].sum(axis=2), gross)


def in_other_money(unit: float, policy: Policy, inputs: dict[str, Any]) -> tuple[Policy, dict]:
    """All amounts of money and all units of assets times a number; rules by account stay."""

    def times(part: Any, *names: str) -> Any:
        if part is None:
            return None
        leaves = {name: getattr(part, name) for name in names}
        leaves = {name: unit * leaf for name, leaf in leaves.items() if leaf is not None}
        return dataclasses.replace(part, **leaves)

    books = ("position", "collateral", "cash", "accounts", "budget")
    scaled = dataclasses.replace(
        policy,
        books=times(policy.books, *books),
        impact=times(policy.impact, "depth", "units"),
        healing=times(policy.healing, "arbitrage_capital", "redemption_capacity"),
        backstop=times(policy.backstop, "fund"),
        reporting=times(policy.reporting, "feed_cap"),
        sales=times(policy.sales, "capacity"),
        issuer=times(policy.issuer, "backing", "supply", "reserve", "free_float"),
        kept_apart=times(policy.kept_apart, "units"),
        vault=times(policy.vault, "capacity"),
    )
    given = dict(inputs)
    if "sales" in given:
        given["sales"] = unit * given["sales"]
    if "load" in given:
        given["load"] = given["load"].copy()
        given["load"][:, THRESHOLD] *= unit
    return scaled, given


@kinds_of_which_slow("every_kind")
@settings(max_examples=20)
@given(seed=seeds, power=st.integers(-8, 8))
def test_the_unit_of_money_changes_no_bit_of_a_price(kind, seed, power):
    policy, inputs = kind.drawn(seed)
    unit = 2.0**power
    scaled, given = in_other_money(unit, policy, inputs)
    for dtype in ("float64", "float32"):
        ours = kernel.trajectory(kind.layout, policy, inputs, dtype=dtype)
        theirs = kernel.trajectory(kind.layout, scaled, given, dtype=dtype)
        for name in ("index_price", "mark_price", "traded_price", "closing_price"):
            np.testing.assert_array_equal(getattr(ours[2], name), getattr(theirs[2], name), name)
        np.testing.assert_array_equal(unit * ours[1].fund, theirs[1].fund)
        np.testing.assert_array_equal(unit * ours[1].accounts.cash, theirs[1].accounts.cash)


@kinds
@settings(max_examples=20)
@given(seed=seeds)
def test_infinite_depth_gives_the_path_without_feedback(kind, seed):
    policy, inputs = kind.drawn(seed)
    if "load" in inputs:  # outages by load are feedback too, which no depth takes away (A11)
        inputs["load"][:, HAZARD_RATE] = 0.0
    if policy.issuer is not None:  # and arbitrage redeems what was sold to books, deep or not
        endless = np.full_like(policy.issuer.supply, 1e30)
        issuer = dataclasses.replace(
            policy.issuer, backing=endless, supply=endless, reserve=endless
        )
        policy = dataclasses.replace(policy, issuer=issuer)
    impact = policy.impact
    impact = dataclasses.replace(
        impact,
        depth=np.full_like(impact.depth, INFINITE_DEPTH),
        displacement=np.zeros_like(impact.displacement),
        units=None if impact.units is None else impact.distance * INFINITE_DEPTH,
    )
    deep = dataclasses.replace(policy, impact=impact)
    found = kernel.trajectory(kind.layout, deep, inputs)
    assume(not is_near(*found))
    paired = kernel.trajectory(kind.layout, policy, inputs, feedback=False)
    gross = kernel.gross_exposure(policy)[0]
    # every displacement is at most all there is over the depth, and reaches margins through rates
    # of a percent: four digits to spare
    error = 1e4 * gross / INFINITE_DEPTH
    prices = found[2].closing_price
    fundamental = paired[2].fundamental[:, [market.asset for market in kind.layout.markets]]
    if kind is DEFAULT:  # else what issuers pay is not given from outside
        np.testing.assert_allclose(paired[2].fundamental, np.exp(inputs["log_fundamental"]))
    assert np.abs(prices - fundamental).max() <= error
    assert not paired[2].pressed.any()  # exactly: no order and no healing moves it
    np.testing.assert_allclose(paired[2].closing_price, fundamental, rtol=1e-15)
    drawdown, alone = (1.0 - run[2].closing_price.min(axis=0) for run in (found, paired))
    fell = alone > 1e-4
    np.testing.assert_allclose(drawdown[fell] / alone[fell], 1.0, rtol=error / 1e-4)
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
        DEFAULT.assert_same(
            state.markets.displacement[-1, market], np.full(PATHS, expected), expected
        )
        proceeds = 100.0 - state.markets.maker_cash[-1, market]  # they began with the entry price
        DEFAULT.assert_same(proceeds, np.full(PATHS, -depth * np.expm1(-expected)), 100.0)
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
