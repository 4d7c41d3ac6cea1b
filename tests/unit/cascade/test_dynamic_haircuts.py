"""Dynamic haircuts by hand (MODEL.md 2.4): a haircut of 10% that doubles with volatility."""

import jax.numpy as jnp
import numpy as np
import pytest

from deleverage.cascade.haircuts import Scaling, base_haircuts, review, scaled_credit
from deleverage.policy import HaircutRules


def multipliers(log_returns, power=1.0, steps=1.0, smoothing=0.5):
    """After each step: the first, then one for each log return; a reference of 1e-4 a minute."""
    rules = HaircutRules(
        *(jnp.full((1, 1, 1), x, jnp.float32) for x in (1e-4, power, 0.5, smoothing, steps))
    )
    state, log_price, found = base_haircuts(rules), -0.7, []
    for t, move in enumerate([0.0, *log_returns]):
        log_price += move
        price = jnp.full((1, 1, 1), np.exp(log_price), jnp.float32)
        state = review(rules, state, price, jnp.int32(t), 0.5)
        found.append(float(state.multiplier[0, 0, 0]))
    return found


def test_a_haircut_follows_volatility_over_its_reference():
    # 2% in half a minute is 8e-4 a minute: v = (1 + 8) / 2 = 4.5, then 2.25, 1.125, 0.5625 of v0
    found = multipliers([0.02, 0.0, 0.0, 0.0])
    assert found == pytest.approx([1, 4.5**0.5, 1.5, 1.125**0.5, 1], rel=1e-3)
    assert multipliers([0.02], power=2.0) == pytest.approx([1, 4.5], rel=1e-3)
    assert multipliers([-0.02], power=2.0) == pytest.approx([1, 4.5], rel=1e-3)


def test_the_first_index_is_no_move_and_calm_lowers_nothing():
    assert multipliers([0.0, 0.0]) == [1, 1, 1]


def test_a_haircut_is_held_between_reviews():
    # reviews at steps 2 and 4, of what the average is there: 2.25 and 0.5625 of v0
    found = multipliers([0.02, 0.0, 0.0, 0.0], steps=2.0)
    assert found == pytest.approx([1, 1, 1.5, 1.5, 1], rel=1e-3)


def test_without_power_nothing_ever_rises():
    assert multipliers([0.5, -0.9], power=0.0) == [1, 1, 1]


@pytest.mark.parametrize(
    ("credit", "granted", "multiplier", "cap", "expected"),
    [
        (90.0, 1.0, 1.0, 0.5, 90.0),
        (90.0, 1.0, 3.0, 0.5, 70.0),  # 10% becomes 30%
        (90.0, 1.0, 9.0, 0.5, 50.0),  # 90%, but for the cap
        (45.0, 0.5, 3.0, 0.5, 35.0),  # of the half that a venue cap grants
        (45.0, 0.5, 9.0, 0.5, 25.0),
        (40.0, 1.0, 1.0, 0.5, 40.0),  # a cap lowers no haircut
        (40.0, 1.0, 2.0, 0.5, 40.0),
        (100.0, 1.0, 1e9, 0.5, 100.0),  # nothing is cut off
    ],
)
def test_what_is_cut_off_grows_up_to_the_cap(credit, granted, multiplier, cap, expected):
    of = [jnp.float32(x) for x in (credit, 100.0, granted)]
    found = scaled_credit(*of, Scaling(jnp.float32(multiplier), jnp.float32(cap)))
    assert float(found) == pytest.approx(expected, rel=1e-6)
