"""Kernel and oracle where arbitrage and a run meet the ends of measured books (MODEL.md 2.8)."""

import dataclasses

import kernel
import numpy as np
import pytest
import reference
import worlds

from deleverage.policy import IssuerRules
from deleverage.results.schema import BOOK_EXHAUSTED

FLOAT = 200.0
FAR = 5.0


def world_that_runs(ends, sold=6.0):
    """The tiny world: 6 units of USDe are sold on the exchange in the first step, holders run.

    `ends` are log distances at which books of 100 units per unit of log price end, by market.
    """
    layout = worlds.TINY_LAYOUT
    markets = tuple(
        dataclasses.replace(market, impact="profile" if m in ends else "linear")
        for m, market in enumerate(layout.markets)
    )
    layout = dataclasses.replace(layout, markets=markets)
    world, policy = worlds.tiny_world(
        impact__depth=100.0,
        healing__resilience_half_life=10.0,
        healing__basis_half_life=0.5,
        healing__arbitrage_half_life=0.5,
        healing__arbitrage_capital=20.0,
        margin__rate=0.0,
        books__cash=0.0,  # nobody owes anything, nobody is due
    )
    distance = np.array([[ends.get(m, 1.0)] for m in range(len(markets))])
    impact = dataclasses.replace(
        policy.impact, distance=distance[None], units=100.0 * distance[None]
    )
    at = [np.full((1, 1), value) for value in (400.0, 400.0, 1e30, FLOAT, 4.0, 0.0)]
    policy = dataclasses.replace(policy, impact=impact, issuer=IssuerRules(*at))
    inputs = worlds.flat_inputs(world)
    inputs["sales"] = np.zeros((layout.steps, len(markets), 1))
    inputs["sales"][0, 2] = sold
    return dataclasses.replace(world, layout=layout), policy, inputs


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    ("ends", "exhausted"),
    [
        ({2: 0.07, 3: FAR}, True),  # the run on the exchange
        ({2: FAR, 3: 0.01}, True),  # what arbitrage brings to the other venue
        ({2: 0.07, 3: 0.01}, True),
        ({2: FAR, 3: FAR}, False),
    ],
)
def test_they_agree_on_what_books_take(ends, exhausted, dtype):
    world, policy, inputs = world_that_runs(ends)
    expected = reference.simulate_pair(world, policy, inputs)
    assert expected["least_branch_gap"].min() > 1e-5
    found = kernel.simulate(world.layout, policy, inputs, dtype)
    for name in found.keys() & expected.keys():
        np.testing.assert_allclose(
            found[name].astype(float),
            expected[name],
            rtol={"float64": 1e-9, "float32": 1e-4}[dtype],
            atol=kernel.rounding(world.layout, dtype) * kernel.gross_exposure(policy)[0],
            err_msg=name,
        )
    assert int(found["status"].item()) & BOOK_EXHAUSTED == BOOK_EXHAUSTED * exhausted


def test_holders_keep_what_they_could_not_sell_and_what_one_buys_another_sells():
    world, policy, inputs = world_that_runs({2: 0.07, 3: 0.01})
    before, after, flows = kernel.trajectory(world.layout, policy, inputs)
    left = FLOAT - np.cumsum(flows.holders_sold.sum(axis=(1, 2)))
    assert after.issuer.free_float[:, 0, 0] == pytest.approx(left, abs=1e-12)
    assert 0.0 < left[-1] < FLOAT
    y = after.markets.displacement[:, 2:4, 0]
    assert (y <= np.array([0.07, 0.01]) + 1e-15).all()
    # on books of one depth: all that is sold is there, less what refills
    kept = 2.0 ** -(world.layout.step / 10.0)
    came = flows.spot_units_sold[:, 2:4, 0].sum(axis=1) + flows.holders_sold[:, :, 0].sum(axis=1)
    was = before.markets.displacement[:, 2:4, 0].sum(axis=1)
    pressed = was + flows.spot_units_sold[:, 2:4, 0].sum(axis=1) / 100.0
    healed = pressed * kept + flows.holders_sold[:, :, 0].sum(axis=1) / 100.0
    assert y.sum(axis=1) == pytest.approx(healed, abs=1e-12)
    assert came.sum() > 6.0


@pytest.mark.parametrize(("free_float", "exhausted"), [(2e5, True), (200.0, False)])
def test_a_run_that_pushes_a_book_out_of_sight_in_the_last_step_is_flagged(free_float, exhausted):
    world, policy, inputs = world_that_runs({})
    inputs["sales"] = inputs["sales"][::-1].copy()  # all in the last step
    issuer = dataclasses.replace(policy.issuer, free_float=np.full((1, 1), free_float))
    policy = dataclasses.replace(policy, issuer=issuer)
    found = kernel.simulate(world.layout, policy, inputs)["status"].item()
    assert found == reference.simulate_pair(world, policy, inputs)["status"].item()
    assert int(found) & BOOK_EXHAUSTED == BOOK_EXHAUSTED * exhausted
