"""Failures inside the cascade, by hand: glitches, halted engines, congestion, other sellers."""

import jax
import jax.numpy as jnp
import kernel
import numpy as np
import pytest
import worlds

from deleverage.cascade.healing import heal
from deleverage.cascade.impact import local_depth
from deleverage.cascade.index import publish


def published(case, column, factor, first=False, **rules):
    """USDe at 1 on both venues, its EMA at 1; the index entries are BTC and USDe."""
    world = case(**{f"index__{name}": value for name, value in rules.items()})
    at_par = column(1.0, 1.0, 1.0, 1.0, 1.0)
    found = publish(
        world.layout,
        world.maps,
        world.policy.index,
        world.state.markets,
        at_par,
        column(1.0, 1.0, 1.0),
        jnp.array(0 if first else 1),
        column(1.0, factor),
    )
    return found.index_price[1, 0, 0], found.fair_price[1, 0, 0], found.index_price[0, 0, 0]


@pytest.mark.parametrize(
    ("rules", "index"),
    [
        ({}, 0.9),
        ({"clamp": 0.03}, 0.97),  # the clamp sees the wrong price
        ({"smoothing": 0.25}, 0.975),
        ({"clamp": 0.03, "smoothing": 0.5}, 0.985),
        ({"floor": 0.95}, 0.95),
    ],
)
def test_a_glitch_comes_before_clamp_smoothing_and_floor(case, column, rules, index):
    found, fair, other = published(case, column, 0.9, **rules)
    assert found == pytest.approx(index)
    assert fair == pytest.approx(1.0)
    assert other == pytest.approx(1.0)


def test_the_average_starts_at_the_index_before_the_glitch(case, column):
    assert published(case, column, 0.9, first=True, smoothing=0.25)[0] == pytest.approx(0.975)


@pytest.mark.parametrize("left", [0.0, 0.25, 1.0])
def test_congestion_cuts_what_is_redeemed_and_moved(case, column, left):
    def healed(**rules):
        world = case(impact__depth=100.0, **rules)
        depth = local_depth(world.policy.impact, jnp.zeros((1, 1)))
        y = column(0.1, 0.0, 0.02, 0.02, 0.0)
        gates, jam = column(1.0, 1.0), jnp.full((1, 1), left)
        rules = world.policy.healing
        after = heal(world.layout, world.maps, rules, depth, y, gates, left=jam)
        return after.displacement[:, 0, 0]

    # BTC: with time for half the way, each book moves a quarter of the gap, 2.5 units
    after = healed(healing__arbitrage_half_life=0.5, healing__arbitrage_capital=1e3)
    assert after[:2] == pytest.approx([0.1 - 0.025 * left, 0.025 * left], abs=1e-7)
    # USDe: 4 units are wanted, a capacity of 4 a minute serves 2 in half a minute
    after = healed(healing__redemption_capacity=4.0)
    assert after[2:4] == pytest.approx([0.02 - 0.01 * left] * 2, abs=1e-7)


def crash(fall=0.3):
    """The tiny world after a fall of BTC, every long due, some of them bankrupt."""
    world, policy = worlds.tiny_world(impact__depth=1e4, liquidation__pace=2.0)
    moves = np.zeros((world.layout.steps, 3))
    moves[:, 1] = np.log(1.0 - fall)
    return world, policy, worlds.flat_inputs(world, moves)


def test_a_halted_engine_orders_nothing_and_settles_nothing():
    world, policy, inputs = crash()
    engine = np.ones((world.layout.steps, 2, 1))
    engine[:3, 0] = 0.0
    halted = inputs | {"engine_open": engine}
    before, after, flows = kernel.trajectory(world.layout, policy, halted)
    assert flows.is_due[:4].any()
    for orders in (flows.orders.closed, flows.orders.sold):
        assert not orders[:3].any()
        assert orders[3].any()
    assert flows.losses.bad_debt[:3].sum() == 0
    assert flows.losses.bad_debt[3].sum() > 0
    assert not after.accounts.taken_over[2].any()
    np.testing.assert_array_equal(after.accounts.cash[2], before.accounts.cash[0])
    # prices stand still, so the same happens three steps later
    free = kernel.trajectory(world.layout, policy, inputs)[2]
    np.testing.assert_allclose(flows.orders.closed[3], free.orders.closed[0])
    assert kernel.simulate(world.layout, policy, halted)["liquidated_notional"] > 0


def test_the_other_venue_is_not_halted():
    world, policy, inputs = crash()
    engine = np.ones((world.layout.steps, 2, 1))
    engine[:, 1] = 0.0
    free = kernel.simulate(world.layout, policy, inputs)
    found = kernel.simulate(world.layout, policy, inputs | {"engine_open": engine})
    for name, values in free.items():
        np.testing.assert_array_equal(found[name], values, name)


@pytest.mark.parametrize("market", [0, 4], ids=["spot", "perp"])
def test_a_seller_moves_the_book_and_is_not_liquidated(market):
    depth, units = 500.0, 10.0
    world, policy = worlds.tiny_world(impact__depth=depth)
    sales = np.zeros((world.layout.steps, 5, 1))
    sales[1, market] = units
    inputs = worlds.flat_inputs(world) | {"sales": sales}
    before, after, flows = kernel.trajectory(world.layout, policy, inputs)
    moved = units / depth
    assert after.markets.displacement[1, market, 0] == pytest.approx(moved)
    assert flows.traded_price[1, market, 0] == pytest.approx(np.exp(-moved))
    average = (1.0 - np.exp(-moved)) / moved
    assert flows.average_price[1, market, 0] == pytest.approx(average)
    assert not flows.is_due.any()
    # market makers take a perp's contracts, whoever sells them
    makers = after.markets.maker_units[1] - before.markets.maker_units[1]
    cash = after.markets.maker_cash[1] - before.markets.maker_cash[1]
    taken = units if market == 4 else 0.0
    assert makers[4, 0] == pytest.approx(taken)
    assert cash[4, 0] == pytest.approx(-taken * average)
    outcomes = kernel.simulate(world.layout, policy, inputs)
    assert outcomes["liquidated_notional"] == 0
    assert outcomes["wick_price"][0, 0, market] == pytest.approx(np.exp(-moved))


def test_contracts_sum_to_zero_with_the_exogenous_seller():
    for seed in range(2):  # on more worlds: tests/properties/test_invariants.py
        world, policies = worlds.full_world(seed)
        policy = kernel.single(policies)
        sales = np.zeros((world.layout.steps, len(world.layout.markets), 1))
        sales[2, [9, 11]] = 25.0  # books without an end
        flat = worlds.flat_inputs(world) | {"sales": sales}
        flat["log_fundamental"] = flat["log_fundamental"] - 0.1
        _, after, flows = kernel.trajectory(world.layout, policy, flat)
        held = (after.markets.maker_units + after.vault.units).astype(float)
        for b, book in enumerate(world.layout.books):
            for j, market in enumerate(book.perps):
                held[:, market] += after.accounts.contracts[:, j, b].sum(axis=1)
        held -= np.cumsum(sales, axis=0)  # the seller is short of what they sold
        error = kernel.rounding(world.layout) * kernel.gross_exposure(policy)[0]
        assert np.abs(held[:, 9:]).max() <= error
        assert (flows.perp_units_sold[2, 9] != 0).all()


def loaded(inputs, start=0.0, threshold=10.0, rate=1.0, patience=1.0, length=1.0, venue=0):
    """The inputs with one load outage of the exchange."""
    numbers = np.array([start, threshold, rate, patience, length])
    return inputs | {"load": numbers[None, :, None], "load_venues": (venue,)}


def outages(found):
    return found["outage_start"][0, 0], found["outage_length"][0, 0]


def test_load_shuts_the_gate_once_its_hazard_is_more_than_the_path_takes():
    world, policy, inputs = crash()
    policy = worlds.changed(policy, ["liquidation", "pace"], 0.5)
    inputs["log_fundamental"] = np.cumsum(inputs["log_fundamental"], axis=0) / 4  # further falls
    _, _, flows = kernel.trajectory(world.layout, policy, inputs)
    sold = flows.sales.notional_by_market.sum(axis=1)[:, 0]  # all of it on the exchange
    hazard = np.cumsum(0.5 * 1.0 * np.maximum(0.0, sold / 0.5 / 10.0 - 1.0))
    grows = np.flatnonzero(np.diff(hazard, prepend=0.0) > 0.1)
    assert len(grows) > 1
    for step in grows[grows < 6]:
        before = hazard[step - 1] if step else 0.0
        patience = (before + hazard[step]) / 2
        found = kernel.simulate(world.layout, policy, loaded(inputs, patience=patience))
        start, length = outages(found)
        # it begins at the end of that step, and shuts the two steps of the minute after it
        assert (start[0], length[0]) == (0.5 * (step + 1), 1.0)
        assert np.isnan(start[1])
        assert length[1] == 0


@pytest.mark.parametrize(
    "off",
    [{"rate": 0.0}, {"threshold": 1e6}, {"start": 99.0}, {"patience": 1e6}, {"venue": 1}],
)
def test_load_shuts_nothing_without_hazard(off):
    world, policy, inputs = crash()
    found = kernel.simulate(world.layout, policy, loaded(inputs, **off))
    start, length = outages(found)
    assert np.isnan(start).all()
    assert not length.any()
    for name, values in kernel.simulate(world.layout, policy, inputs).items():
        np.testing.assert_array_equal(found[name], values, name)


def test_a_gate_shut_by_load_and_by_schedule_counts_once():
    world, policy, inputs = crash()
    gate = inputs["gate_open"].copy()
    gate[2:6, 0] = 0.0  # of steps 3 to 6
    scheduled = {"gate_open": gate, "outage_start": np.array([[1.0], [np.nan]])}
    by_load = loaded(inputs | scheduled, patience=1e-9, length=1.5)
    start, length = outages(kernel.simulate(world.layout, policy, by_load))
    # load shuts steps 2 to 4, from the end of the first step on
    assert (start[0], length[0]) == (0.5, 2.5)
    start, length = outages(kernel.simulate(world.layout, policy, inputs | scheduled))
    assert (start[0], length[0]) == (1.0, 2.0)


def test_policies_that_liquidate_less_are_not_shut():
    world, policy, inputs = crash()
    # both have the same books; the second asks for no margin beyond solvency
    pair = jax.tree.map(lambda leaf: np.concatenate([leaf, leaf], axis=-1), policy)
    rate = pair.margin.rate.copy()
    rate[..., 1] = 0.0
    loans = pair.margin.loan_rate.copy()
    loans[..., 1] = 0.0
    pair = worlds.changed(pair, ["margin", "rate"], rate)
    pair = worlds.changed(pair, ["margin", "loan_rate"], loans)
    moves = inputs["log_fundamental"] * 0.3  # a fall of 10%
    found = kernel.simulate(
        world.layout, pair, loaded(inputs | {"log_fundamental": moves}, patience=0.1)
    )
    assert found["liquidated_notional"][0, 0] > found["liquidated_notional"][1, 0]
    assert found["outage_start"][0, 0, 0] >= 0.5
    assert np.isnan(found["outage_start"][1, 0, 0])
