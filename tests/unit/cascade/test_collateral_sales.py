"""Where collateral goes, by hand: one loan of each kind of sale, all due (MODEL.md 2.6).

Loans of 42 on 50 USDe (the second of 84 on 100) count 40 under a haircut of 20%, and want to sell
42 (84) for their debt at a price of 1. A step is half a minute.
"""

import dataclasses

import kernel
import numpy as np
import pytest
import reference
import worlds

from deleverage.policy import SaleRules
from deleverage.world import Book, World

KINDS = ("redeem", "redeem", "backstop", "hold", "spread", "market")
LAYOUT = dataclasses.replace(
    worlds.TINY_LAYOUT,
    books=(
        *(Book(0, perps=(), collateral=(1,), sales=(kind,)) for kind in KINDS),
        Book(0, perps=(4,), collateral=()),  # empty
    ),
    buckets=1,
    steps=1,
    window_steps=1,
    spread_sales=(((0, 0.5), (1, 0.5)), ((2, 0.25), (3, 0.75))),
)


def case(pause=0.0):
    """The world, its policy, and quiet inputs of one path."""
    size = np.array([1.0, 2.0, 1.0, 1.0, 1.0, 1.0, 0.0])
    neutral = worlds.neutral_policy(LAYOUT)
    world, policy = worlds.with_changes(
        World(layout=LAYOUT, **worlds.quiet_shocks(LAYOUT)),
        dataclasses.replace(
            neutral,
            sales=SaleRules(
                discount=np.full((2, 1), 0.04),
                capacity=np.full((2, 1), 10.0),
                pause=np.full((2, 1), pause),
            ),
        ),
        books__collateral=(50.0 * size)[None, :, None, None],
        books__cash=(-42.0 * size)[:, None, None],
        margin__ratio=0.8,
        margin__loan_rate=0.05,
        healing__redemption_capacity=30.0,
    )
    return world, policy, worlds.flat_inputs(world)


def step(gates=(1.0, 1.0), pause=0.0):
    """Units sold by each book, what it then owes, and flows, of one step."""
    _, policy, inputs = case(pause)
    inputs["gate_open"] = np.array(gates)[None, :, None]
    before, after, flows = kernel.trajectory(LAYOUT, policy, inputs)
    sold = before.accounts.collateral - after.accounts.collateral
    return sold[0, 0, :-1, 0, 0], after.accounts.cash[0, :-1, 0, 0], flows


def test_each_kind_sells_to_its_buyer():
    sold, cash, flows = step()
    # the issuer's 15 are shared 1 to 2; the backstop's 5 USD buy 5 / 0.96
    expected = [5.0, 10.0, 5 / 0.96, 0.0, 42.0, 42.0]
    assert sold == pytest.approx(expected, rel=1e-9)
    assert cash == pytest.approx([-37.0, -74.0, -37.0, -42.0, 0.0, 0.0], abs=1e-7)
    by_market = flows.spot_units_sold[0, :, 0]
    assert by_market == pytest.approx([0, 0, 42 + 0.25 * 42, 0.75 * 42, 0], rel=1e-9)
    assert flows.off_book.redeemed[0, :, 0] == pytest.approx([0.0, 15.0])
    assert flows.off_book.taken[0, :, 0] == pytest.approx([0.0, 5 / 0.96])


@pytest.mark.parametrize("gates", [(0.0, 1.0), (0.0, 0.0)])
def test_a_shut_gate_keeps_collateral_from_issuers_and_other_venues(gates):
    sold, _, flows = step(gates)
    assert sold == pytest.approx([0.0, 0.0, 5 / 0.96, 0.0, 42.0, 42.0], rel=1e-9)
    assert flows.spot_units_sold[0, :, 0] == pytest.approx([0, 0, 84.0, 0, 0], rel=1e-9)


def test_books_behind_a_shut_gate_are_not_reached():
    sold, _, flows = step((1.0, 0.0))
    assert sold[:2] == pytest.approx([5.0, 10.0])
    assert flows.spot_units_sold[0, :, 0] == pytest.approx([0, 0, 84.0, 0, 0], rel=1e-9)


def test_a_pause_holds_while_the_gate_is_shut():
    assert not step((0.0, 1.0), pause=1.0)[0].any()
    assert step((1.0, 1.0), pause=1.0)[0] == pytest.approx(step()[0])


def test_what_a_venue_liquidates_is_its_load_wherever_it_goes():
    world, policy, inputs = case()
    # both venues would be shut by more than 10 a minute, from the start on
    numbers = [0.0, 10.0, 1.0, 99.0, 1.0]  # start, threshold, rate, patience, length
    inputs |= {"load": np.array([numbers, numbers])[..., None], "load_venues": (0, 1)}
    _, after, _ = kernel.trajectory(LAYOUT, policy, inputs)
    forced = 5.0 + 10.0 + 5 / 0.96 + 42.0 + 42.0  # at prices of 1, in half a minute
    expected = [0.5 * (forced / 0.5 / 10.0 - 1.0), 0.0]  # `elsewhere` only trades
    assert after.load.hazard[0, :, 0] == pytest.approx(expected, rel=1e-9)
    seen = reference.trajectory(world, policy, inputs, 0, 0)
    assert seen["hazard"][0] == pytest.approx(expected, rel=1e-9)
