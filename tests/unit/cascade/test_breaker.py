"""Circuit breakers by hand (MODEL.md 2.6): one index, a trigger of 10%, a halt of two steps."""

import jax.numpy as jnp
import numpy as np
import pytest

from deleverage.cascade.breaker import breakers_at_rest, is_suspended, watch_index
from deleverage.cascade.parts import Part
from deleverage.policy import BreakerRules


def halts(prices, window, halt=2.0):
    """Whether each step is halted."""
    rules = BreakerRules(*(jnp.full((1, 1, 1), x) for x in (0.1, window, halt)))
    state = breakers_at_rest(3, jnp.zeros((1, 1, 1)))
    found = []
    for t, price in enumerate(prices):
        state, halted = watch_index(rules, state, jnp.full((1, 1, 1), price), jnp.bool_(t == 0))
        found.append(bool(halted[0, 0, 0]))
    return found


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        # 0.88 is 12% below 1, two steps before; the third step of a halt is free again
        (2.0, [False, False, True, True, False, False]),
        (3.0, [False, False, True, True, False, False]),
        (1.0, [False, False, False, False, False, False]),  # 6% a step
    ],
)
def test_a_fall_within_the_window_halts_for_a_time(window, expected):
    assert halts([1.0, 0.94, 0.88, 0.88, 0.88, 0.88], window) == expected


def test_a_fall_counts_once_and_the_next_one_again():
    # 0.81 falls within the halt, from which the window begins anew: 0.73 is 9.9% below, 0.7 more
    assert halts([1.0, 0.9, 0.81, 0.73, 0.7, 0.7, 0.7], 3.0) == [
        *(False, True, True, False),
        *(True, True, False),
    ]


def test_accounts_with_a_position_in_a_halted_market_are_suspended(case):
    # perps and the loan: of BTC (entry 0) longs and shorts, of USDe (entry 1) the loan alone
    world = case()
    book, _ = Part().take((world.rules, world.state.accounts))
    for entry, expected in ((0, [True, True, False]), (1, [False, False, True])):
        halted = jnp.zeros((2, 1, 1), bool).at[entry].set(True)
        suspended = np.broadcast_to(is_suspended(book, halted), (3, 3, 1, 1))[:, 0, 0, 0]
        assert suspended.tolist() == expected
