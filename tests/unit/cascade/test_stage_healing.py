"""Stage 8 by hand, part by part (MODEL.md 2.8).

Markets: BTC spot on the exchange and elsewhere, USDe on both, the perp; steps of half a minute.
"""

import jax.numpy as jnp
import numpy as np
import pytest

from deleverage.cascade.healing import heal
from deleverage.cascade.impact import local_depth
from deleverage.cascade.issuer import redemption_capacity
from deleverage.state import IssuerState

OPEN = (1.0, 1.0)


def healed(case, column, y, gates=OPEN, drop=0.0, depths=(100.0,) * 5, **rules):
    world = case(
        impact__depth=np.array(depths)[:, None],
        impact__sensitivity=1.0,
        **{f"healing__{name}": value for name, value in rules.items()},
    )
    depth = local_depth(world.policy.impact, jnp.array([[drop]]))
    after = heal(world.layout, world.maps, world.policy.healing, depth, column(*y), column(*gates))
    return after.displacement[:, 0, 0]


def test_without_healing_nothing_moves(case, column):
    y = [0.1, -0.02, 0.3, 0.0, 0.05]
    assert healed(case, column, y) == pytest.approx(y)


@pytest.mark.parametrize(("drop", "left"), [(0.0, 2**-0.5), (0.5, 2**-0.25)])
def test_books_refill(case, column, drop, left):
    y = np.array([0.1, -0.02, 0.3, 0.0, 0.05])
    after = healed(case, column, y, drop=drop, resilience_half_life=1.0)
    assert after == pytest.approx(y * left, rel=1e-5)


def test_the_basis_closes_by_equal_units(case, column):
    # half of the gap of 0.1 at 1/100 + 1/300: 3.75 units
    depths = (100.0, 100.0, 100.0, 100.0, 300.0)
    after = healed(
        case, column, [0.0, 0.0, 0.0, 0.0, 0.1], depths=depths, gates=(0, 0), basis_half_life=0.5
    )
    assert after == pytest.approx([0.0375, 0, 0, 0, 0.1 - 0.0125], abs=1e-7)


@pytest.mark.parametrize(
    ("gates", "capital", "expected"),
    [
        (OPEN, 1e6, [0.0625, 0.0125]),  # halfway to the mean of 0.025
        (OPEN, 2.5, [0.1 - 0.0125, 0.0125 / 3]),  # 3.75 bought, 1.25 funded
        (OPEN, 0.0, [0.1, 0.0]),
        ((0.0, 1.0), 1e6, [0.1, 0.0]),  # a shut gate takes no part
    ],
)
def test_venues_are_pulled_together(case, column, gates, capital, expected):
    after = healed(
        case,
        column,
        [0.1, 0.0, 0.0, 0.0, 0.0],
        gates=gates,
        depths=(100.0, 300.0, 100.0, 100.0, 100.0),
        arbitrage_half_life=0.5,
        arbitrage_capital=capital,
    )
    assert after[:2] == pytest.approx(expected, abs=1e-7)
    assert after[2:] == pytest.approx([0, 0, 0])


@pytest.mark.parametrize(
    ("y", "gates", "capacity", "expected"),
    [
        ((0.1, 0.02), OPEN, 6.0, (0.075, 0.015)),  # 3 of the 12 wanted
        ((0.1, 0.02), OPEN, 1e6, (0.0, 0.0)),  # never past the peg
        ((0.1, -0.02), OPEN, 1e6, (0.0, -0.02)),  # a premium is not redeemed
        ((0.1, 0.02), (0.0, 1.0), 2.0, (0.1, 0.01)),  # 1 of the 2 wanted where the gate is open
        ((0.1, 0.02), OPEN, 0.0, (0.1, 0.02)),
    ],
)
def test_a_discount_is_redeemed(case, column, y, gates, capacity, expected):
    after = healed(case, column, [0.0, 0.0, *y, 0.0], gates=gates, redemption_capacity=capacity)
    assert after[2:4] == pytest.approx(expected, abs=1e-7)


def test_arbitrage_redeems_what_liquidations_left(case, column):
    # 6 a minute are 3 a step, of which 1 is gone: 2 of the 12 wanted
    world = case(impact__depth=100.0, healing__redemption_capacity=6.0)
    assert redemption_capacity(world.policy.healing, None, 0.5).ravel() == pytest.approx([3.0])
    depth = local_depth(world.policy.impact, jnp.zeros((1, 1)))
    y, gates = column(0.0, 0.0, 0.1, 0.02, 0.0), column(*OPEN)
    left = [
        heal(
            world.layout, world.maps, world.policy.healing, depth, y, gates, column(float(used))
        ).displacement[2:4, 0, 0]
        for used in (1.0, 3.0, 5.0)
    ]
    assert left[0] == pytest.approx([0.1 * 10 / 12, 0.02 * 10 / 12])
    assert left[1] == pytest.approx([0.1, 0.02])
    assert left[2] == pytest.approx([0.1, 0.02])


def test_each_part_acts_on_what_the_one_before_left(case, column):
    after = healed(
        case,
        column,
        [0.0, 0.0, 0.1, 0.0, 0.0],
        resilience_half_life=0.5,  # 0.05 left
        arbitrage_half_life=0.5,  # half of the way to 0.025: 0.0375 and 0.0125
        arbitrage_capital=1e6,
        redemption_capacity=5.0,  # 2.5 of the 5 wanted
    )
    assert after[2:4] == pytest.approx([0.01875, 0.00625], rel=1e-5)


@pytest.mark.parametrize(
    ("gates", "reserve", "expected", "redeemed"),
    [
        # halfway to the mean of 0.025 buys 3.75, of which capital pays 1.25 and networks carry 0.6;
        # of 9.25 + 0.75 units that are then below par 0.6 * 5 - 1 are redeemed
        (OPEN, 1e9, [0.0925 * 0.8, 0.0025 * 0.8], 2.0),
        (OPEN, 0.5, [0.0925 * 0.95, 0.0025 * 0.95], 0.5),
        ((0.0, 1.0), 1e9, [0.1, 0.0], 0.0),  # the discount is behind the gate
        ((1.0, 0.0), 1e9, [0.08, 0.0], 2.0),  # nowhere to bring it from: the issuer alone
    ],
)
def test_capital_gates_congestion_and_the_issuer_bind_together(
    case, column, gates, reserve, expected, redeemed
):
    world = case(
        impact__depth=np.array([100.0, 100.0, 100.0, 300.0, 100.0])[:, None],
        healing__arbitrage_half_life=0.5,
        healing__arbitrage_capital=2.5,
        healing__redemption_capacity=10.0,
    )
    one = jnp.ones((1, 1, 1))
    issuer = IssuerState(100.0 * one, one, 100.0 * one, reserve * one, 0.0 * one, 0.0 * one)
    after = heal(
        world.layout,
        world.maps,
        world.policy.healing,
        local_depth(world.policy.impact, jnp.zeros((1, 1))),
        column(0.0, 0.0, 0.1, 0.0, 0.0),
        column(*gates),
        one,  # cohorts were served first
        jnp.full((1, 1), 0.6),
        issuer,
    )
    assert after.displacement[2:4, 0, 0] == pytest.approx(expected, abs=1e-7)
    assert after.bought[0, 0, 0] == pytest.approx(redeemed, abs=1e-5)
