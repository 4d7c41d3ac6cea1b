"""The oracle against closed forms worked by hand and against the ledgers it must balance."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import reference
import reference_shocks
import scipy.special
from worlds import (
    TINY_LAYOUT,
    flat_inputs,
    neutral_policy,
    per_slot,
    quiet_shocks,
    random_draws,
    random_world,
    tiny_world,
    with_changes,
)

from deleverage.world import Book, IndexEntry, Layout, Market, World

SEEDS = range(12)


def perp_world(buckets, steps, positions, *, mark="index", **changes):
    """One venue, one asset with a spot book and a perp, one book a row of `positions`."""
    layout = Layout(
        venues=("venue",),
        assets=("USD", "BTC"),
        pegged=(),
        markets=(Market(0, 1, "spot"), Market(0, 1, "perp")),
        indices=(IndexEntry(0, 1, sources=(0,), references=(), reference_shares=()),),
        books=tuple(Book(0, perps=(1,), collateral=()) for _ in positions),
        buckets=buckets,
        perp_index=(-1, 0),
        mark_kinds=("", mark),
        sales=(((0, 1.0),),),
        basis_pairs=(),
        arbitrage_groups=(),
        pegs=(),
        peg_markets=(),
        step=1.0,
        steps=steps,
        draw_step=1.0,
        window_steps=1,
    )
    world = World(layout=layout, **quiet_shocks(layout))
    policy = neutral_policy(layout, sources=1)
    position = per_slot(layout, [[row] for row in positions], 1)
    return with_changes(world, policy, books__position=position, **changes)


def moves(steps, price):
    """Log fundamentals [T, A] of `perp_world` with BTC at `price` throughout."""
    return np.full((steps, 2), [0.0, math.log(price)])


@pytest.mark.parametrize(("price", "liquidated"), [(0.904522613 + 1e-8, 0.0), (0.9045226, 1.0)])
def test_an_isolated_long_at_ten_times_is_liquidated_below_90_45_percent_of_entry(
    price, liquidated
):
    world, policy = perp_world(1, 1, [[100.0]], books__cash=10.0, margin__rate=0.005)
    outcomes = reference.simulate(world, policy, flat_inputs(world, moves(1, price)))
    assert outcomes["liquidated_units"][0, 0] == 100.0 * liquidated


@pytest.mark.parametrize(
    ("own_weight", "floor", "liquidated"),
    [
        (4 / 7 - 1e-9, 0.0, False),
        (4 / 7 + 1e-9, 0.0, True),
        (1.0, 0.8001, False),
        (1.0, 0.7999, True),
        (1.0, 0.0, True),
    ],
)
def test_index_weights_and_floor_decide_at_the_worked_threshold(own_weight, floor, liquidated):
    layout = dataclasses.replace(TINY_LAYOUT, buckets=1, steps=1)
    weight = np.zeros((2, 2, 1))
    weight[0] = 1.0
    weight[0, 1] = own_weight
    world, policy = with_changes(
        World(layout=layout, **quiet_shocks(layout)),
        neutral_policy(layout),
        books__position=per_slot(layout, [[[3000.0]], [[0.0]], [[0.0]]], 1),
        books__collateral=per_slot(layout, [[[1000.0]], [[0.0]], [[0.0]]], 1),
        margin__rate=0.05,
        margin__ratio=0.9,
        index__weight=weight,
        index__redemption_weight=np.array([[0.0], [1.0 - own_weight]]),
        index__floor=np.array([[0.0], [floor]]),
        impact__displacement=np.array([0.0, 0.0, -math.log(0.65), 0.0, 0.0])[:, None],
    )
    fall = np.array([[0.0, math.log(0.8), 0.0]])
    path = reference.trajectory(world, policy, flat_inputs(world, fall), 0, 0)
    assert bool(path["due"][0, 0, 0]) is liquidated
    assert path["maintenance"][0, 0, 0] == pytest.approx(120.0)
    index = max(0.65 * own_weight + 1.0 - own_weight, floor)
    assert path["equity"][0, 0, 0] == pytest.approx(900.0 * index - 600.0)


def test_winners_are_deleveraged_pro_rata():
    positions = [[-100.0, -50.0, -30.0, -20.0], [60.0, 0.0, 0.0, 0.0], [140.0, 0.0, 0.0, 0.0]]
    cash = np.array([[1.0, 1.0, 1.0, 1.0], [6.0, 0.0, 0.0, 0.0], [100.0, 0.0, 0.0, 0.0]])
    world, policy = perp_world(
        4, 1, positions, books__cash=cash[..., None], liquidation__pace=0.0, backstop__fund=1.0
    )
    price = 0.85  # the second book owes 60 * 0.15 - 6 = 3, the fund has 1
    path = reference.trajectory(world, policy, flat_inputs(world, moves(1, price)), 0, 0)
    closed = (1.0 - path["position_left"][0, 0, 0]) * [100.0, 50.0, 30.0, 20.0]
    uncovered = 2.0 / 3.0  # of the bankrupt's 60 contracts
    assert closed == pytest.approx(np.array([30.0, 15.0, 9.0, 6.0]) * uncovered)
    assert path["adl_charge"][0, 0] == pytest.approx(np.array([1.0, 0.5, 0.3, 0.2]))
    assert path["insurance_drawn"][0] == pytest.approx([1.0])
    assert path["adl_loss"][0] == pytest.approx([2.0])
    assert path["adl_notional"][0] == pytest.approx([40.0 * price])
    assert path["adl_overshoot_wealth"][0] == pytest.approx([40.0 * 0.15 - 2.0])
    assert path["socialised_loss"][0] == pytest.approx([0.0])
    assert path["maker_units"][0, 1] == pytest.approx(0.0)


def test_deleveraging_exactly_60_contracts_takes_30_15_9_6():
    positions = [[-100.0, -50.0, -30.0, -20.0], [60.0, 140.0, 0.0, 0.0]]
    cash = np.array([[1.0, 1.0, 1.0, 1.0], [6.0, 100.0, 0.0, 0.0]])
    world, policy = perp_world(4, 1, positions, books__cash=cash[..., None], liquidation__pace=0.0)
    path = reference.trajectory(world, policy, flat_inputs(world, moves(1, 0.85)), 0, 0)
    closed = (1.0 - path["position_left"][0, 0, 0]) * [100.0, 50.0, 30.0, 20.0]
    assert closed == pytest.approx([30.0, 15.0, 9.0, 6.0])


@pytest.mark.parametrize("slices", [2, 7, 50])
def test_slicing_an_order_changes_neither_the_book_nor_the_cash(slices):
    # Maintenance of ten times the position keeps the seller due; fees and healing are off.
    rules = {"margin__rate": 10.0, "impact__depth": 1000.0, "books__cash": 50.0}
    once = reference.trajectory(
        *(pair := perp_world(1, 1, [[300.0]], **rules)), flat_inputs(pair[0]), 0, 0
    )
    pair = perp_world(1, slices, [[300.0]], liquidation__pace=1.0 / slices, **rules)
    sliced = reference.trajectory(*pair, flat_inputs(pair[0]), 0, 0)
    assert sliced["displacement_healed"][-1, 1] == pytest.approx(0.3, rel=1e-12)
    assert sliced["displacement_healed"][-1] == pytest.approx(once["displacement_healed"][-1])
    assert sliced["cash"][-1] == pytest.approx(once["cash"][-1], rel=1e-12)
    assert once["cash"][-1, 0, 0] == pytest.approx(50.0 + 1000.0 * (1 - math.exp(-0.3)) - 300.0)


def test_the_mean_field_cascade_stops_at_a_drop_of_0_11_with_0_30_liquidated():
    buckets = 100
    distance = 0.05 + 0.20 * (np.arange(buckets) + 0.5) / buckets
    position = np.full(buckets, 1.0 / buckets)
    world, policy = perp_world(
        buckets,
        40,
        [position],
        mark="last",
        books__cash=((1.0 - np.exp(-distance)) * position)[None, :, None],
        impact__depth=10.0,  # so that k Q = 0.10
        backstop__fund=1e6,  # socialised losses would set off others
    )
    inputs = flat_inputs(world, np.full((40, 2), [0.0, -0.08]))
    outcomes = reference.simulate_pair(world, policy, inputs)
    assert outcomes["liquidated_units"][0, 0] == pytest.approx(0.30, abs=1.0 / buckets)
    assert -math.log(outcomes["trough_price"][0, 0, 1]) == pytest.approx(0.11, abs=0.1 / buckets)
    assert outcomes["amplification"][0, 0, 1] == pytest.approx(1.35485, rel=2e-2 / 8)
    shock_only = np.sum(distance < 0.08) / buckets
    assert outcomes["reproduction_number"][0, 0] == pytest.approx(
        1.0 - shock_only / outcomes["liquidated_units"][0, 0]
    )


@pytest.mark.parametrize(("tau", "limit"), [(1.0, 0.0432332358), (0.1, 0.0906346235)])
@pytest.mark.parametrize("steps", [4, 400])
def test_a_paced_seller_against_resilience_reaches_the_worked_peak(tau, limit, steps):
    quantity, impact, resilience = 1000.0, 1e-4, 2.0
    world, policy = perp_world(
        1,
        steps,
        [[quantity]],
        margin__rate=2.0,
        backstop__adl=0.0,
        impact__depth=1.0 / impact,
        liquidation__pace=1.0 / tau,
        healing__resilience_half_life=math.log(2.0) / resilience,
        layout__step=tau / steps,
    )
    path = reference.trajectory(world, policy, flat_inputs(world), 0, 0)
    decay = math.exp(-resilience * tau / steps)
    peak = impact * quantity / steps * (1.0 - math.exp(-resilience * tau)) / (1.0 - decay)
    assert path["displacement_impact"][:, 1].max() == pytest.approx(peak, rel=1e-9)
    if steps == 400:
        assert peak == pytest.approx(limit, rel=tau * resilience / steps)


def test_a_target_liquidation_restores_its_target_at_the_marks_it_saw():
    world, policy = perp_world(1, 1, [[100.0]], books__cash=12.0, margin__rate=0.05)
    book = dataclasses.replace(world.layout.books[0], target=True)
    world, policy = with_changes(world, policy, layout__books=(book,))
    inputs = flat_inputs(world, moves(1, 0.92))
    path = reference.trajectory(world, policy, inputs, 0, 0)
    left = path["position_left"][0, 0, 0, 0]
    assert path["equity"][0, 0, 0] == pytest.approx(4.0)  # against 4.6
    assert 4.0 / (0.05 * 92.0 * left) == pytest.approx(1.5)


def test_nothing_happens_in_a_quiet_world():
    world, policy = tiny_world()
    outcomes = reference.simulate_pair(world, policy, flat_inputs(world))
    assert outcomes["liquidated_notional"] == 0.0
    assert outcomes["status"] == 0.0
    assert outcomes["trough_price"] == pytest.approx(np.ones((1, 1, 5)))
    assert np.isnan(outcomes["peak_time"])


@pytest.mark.parametrize(("size", "change"), [(1.0, -0.1), (0.0, 0.0)])
def test_open_interest_is_that_of_perps_and_does_not_change_without_any(size, change):
    world, policy = perp_world(1, 3, [[100.0 * size]], books__cash=50.0)
    outcomes = reference.simulate(world, policy, flat_inputs(world, moves(3, 0.9)))
    assert outcomes["liquidated_notional"] == 0.0
    assert outcomes["open_interest_change"] == pytest.approx(change)


def test_a_fall_of_the_peg_alone_liquidates_wrongfully_until_the_index_redeems():
    fall = np.array([0.0, 0.0, 0.30, 0.0, 0.0])[:, None]
    own = tiny_world(impact__displacement=fall)
    outcomes = reference.simulate(*own, flat_inputs(own[0]))
    assert outcomes["wrongful_liquidations"][0, 0, 0] == outcomes["liquidated_notional"][0, 0] > 0.0
    assert outcomes["wrongful_liquidations"][0, 0, 1] == 0.0
    assert outcomes["compensation"][0, 0] > 0.0
    assert outcomes["depeg_minutes"][0, 0, 0] == pytest.approx([4.0, 4.0, 4.0])
    redeemed = tiny_world(impact__displacement=fall, index__floor=1.0)
    assert reference.simulate(*redeemed, flat_inputs(own[0]))["liquidated_notional"] == 0.0


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"liquidation__pace": 0.2}, 1.0),
        ({"impact__depth": 4.0}, 2.0),
        ({"reporting__due_at_start": 1.0}, 4.0),
        ({"books__cash": np.nan}, 8.0),
    ],
)
def test_flags_tell_what_is_odd_about_a_path(changes, status):
    rules = {"books__cash": 1.0, "margin__rate": 0.5, **changes}
    world, policy = perp_world(1, 3, [[100.0]], **rules)
    assert reference.simulate(world, policy, flat_inputs(world))["status"] == status


@pytest.fixture(scope="module")
def random_paths():
    """Histories of one path under every policy of some random worlds."""
    runs = []
    for seed in SEEDS:
        world, policy = random_world(seed)
        inputs = reference.exogenous(world, random_draws(world, 1, seed))
        for p in range(3):
            runs.append((world, policy, p, reference.trajectory(world, policy, inputs, p, 0)))
    return runs


def test_perp_units_sum_to_zero_with_the_market_makers(random_paths):
    for world, policy, p, path in random_paths:
        open_units = np.zeros(path["maker_units"].shape)
        for b, book in enumerate(world.layout.books):
            for j, market in enumerate(book.perps):
                units = path["position_left"][:, j, b] * policy.books.position[j, b, :, p]
                open_units[:, market] += units.sum(axis=-1)
        assert path["maker_units"] == pytest.approx(-open_units, abs=1e-10)


def test_cash_is_conserved_over_accounts_makers_funds_and_buyers_of_collateral(random_paths):
    for world, policy, p, path in random_paths:
        books = policy.books
        # A perp's account pays its entry price on opening: cash less entry value is real money.
        entry_value = (path["position_left"] * (books.position * books.entry)[..., p]).sum(
            (1, 2, 3)
        )
        sales = np.zeros(world.layout.steps)
        for b, book in enumerate(world.layout.books):
            for j, entry in enumerate(book.collateral):
                price = sum(s * path["average_price"][:, m] for m, s in world.layout.sales[entry])
                units = path["collateral_sold"][:, j, b] * books.collateral[j, b, :, p]
                sales += units.sum(axis=-1) * price
        money = (
            path["cash"].sum((1, 2))
            - entry_value
            + path["maker_cash"].sum(1)
            + path["fund"].sum(1)
            - np.cumsum(sales)
            - np.cumsum(path["top_up"].sum((1, 2)))
            - np.cumsum(path["unabsorbed_loss"].sum(1))
        )
        start = books.cash[..., p].sum() + policy.backstop.fund[:, p].sum()
        assert money == pytest.approx(np.full(money.shape, start), abs=1e-9)


def test_bad_debt_is_exactly_what_the_four_payers_bear(random_paths):
    seen = 0.0
    for _, _, _, path in random_paths:
        payers = ("insurance_drawn", "adl_loss", "socialised_loss", "unabsorbed_loss")
        paid = sum(path[name].sum(axis=1) for name in payers)
        owed = path["deficit"].sum((1, 2))
        assert paid == pytest.approx(owed, abs=1e-10)
        seen += owed.sum()
    assert seen > 0.0


def test_fractions_fall_and_funds_and_budgets_stay_non_negative(random_paths):
    for _, _, _, path in random_paths:
        for name in ("position_left", "collateral_left"):
            assert (np.diff(path[name], axis=0) <= 1e-15).all()
            assert (path[name] >= -1e-15).all()
        assert (path["fund"] >= -1e-12).all()
        assert (path["budget"] >= -1e-12).all()


def test_the_paired_run_stays_on_the_fundamentals():
    world, policy = random_world(3)
    inputs = reference.exogenous(world, random_draws(world, 1, 3))
    path = reference.trajectory(world, policy, inputs, 1, 0, feedback=0.0)
    assert (path["displacement_healed"] == 0.0).all()
    assert (path["average_price"] == path["price"]).all()


def test_normal_distribution_functions_agree_with_scipy():
    u = np.concatenate(
        [np.geomspace(0.5 / 2**32, 0.5, 200), 1.0 - np.geomspace(2.0**-33, 0.5, 200)]
    )
    inverse = np.array([reference_shocks.ndtri(x) for x in u])
    assert inverse == pytest.approx(scipy.special.ndtri(u), rel=1e-13, abs=1e-13)
    x = np.linspace(-6.5, 6.5, 99)
    values = np.array([reference_shocks.ndtr(z) for z in x])
    assert values == pytest.approx(scipy.special.ndtr(x), rel=1e-13)


def test_the_fundamental_is_a_martingale_and_a_peg_follows_its_anchor():
    paths = 2000
    world, _ = random_world(5)
    world = with_changes(
        world, _, layout__steps=3, drift=0.0, macro__loading=0.0, merton__rate=0.3
    )[0]
    series = reference.exogenous(world, random_draws(world, paths, 5))["log_fundamental"]
    ratio = np.exp(series[-1, 1:3])
    error = ratio.std(axis=-1) / math.sqrt(paths)
    assert (np.abs(ratio.mean(axis=-1) - 1.0) < 4.0 * error).all()
    assert (series[:, 3] == series[:, 1]).all()
    assert (series[:, [0, 4]] == 0.0).all()


def test_the_macro_drop_arrives_and_rebounds_on_time():
    world, _ = tiny_world(
        macro__a=0.2,
        macro__loading=np.array([0.0, 1.0, 0.0]),
        macro__start=1.0,
        macro__latest=1.0,
        macro__duration=1.0,
        macro__rebound=0.5,
        macro__rebound_delay=1.5,
        macro__rebound_half_life=0.5,
    )
    series = reference.exogenous(world, random_draws(world, 1, 0))["log_fundamental"][:, 1, 0]
    expected = -0.2 * np.array([0, 0, 0.5, 1, 1, 1 - 0.25, 1 - 0.375, 1 - 0.4375])
    assert series == pytest.approx(expected)


def test_no_two_functions_of_the_oracle_share_a_name():
    names = reference.kernel_names()
    assert len(set(names)) == len(names) > 60


@pytest.mark.slow
def test_numba_compiles_the_oracle_unchanged_and_it_agrees():
    pytest.importorskip("numba")
    compiled = reference.compiled()
    for seed in range(3):
        world, policy = random_world(seed)
        draws = random_draws(world, 2, seed)
        inputs, same_inputs = reference.exogenous(world, draws), compiled.exogenous(world, draws)
        for name, value in inputs.items():
            np.testing.assert_allclose(same_inputs[name], value, rtol=1e-12, err_msg=name)
        outcomes = reference.simulate_pair(world, policy, inputs)
        for name, value in compiled.simulate_pair(world, policy, inputs).items():
            expected = outcomes[name]
            np.testing.assert_allclose(value, expected, rtol=1e-9, atol=1e-9, err_msg=name)
