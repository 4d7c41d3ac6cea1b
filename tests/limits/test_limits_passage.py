"""First passage in continuous time: what venues that look every step see of it, and the rest.

A venue checks accounts once a step (A7), so no config is checked continuously. Two ways lead to the
continuous value all the same. Between two steps the log price of a path is a Brownian bridge, whose
chance to pass the barrier is known: with the engine's own paths this estimates the continuous
passage without bias, whatever the step (Andersen and Brotherton-Ratcliffe 1996; Glasserman 2004,
section 6.4). And a barrier that is checked every step acts like a continuous one which lies farther
by 0.5826 standard deviations of a step (Broadie, Glasserman, Kou 1997), an error of order 1/steps.
"""

import numpy as np
import pytest
from scipy.special import zeta
from scipy.stats import norm
from test_limits_monte_carlo import assert_within, far_passage, of_mean, passage

from deleverage.config import build
from deleverage.shocks.draws import draw
from deleverage.shocks.exogenous import exogenous

VOLATILITY, YEARS, STEPS = 0.8, 1 / 52, 50
BARRIERS = (0.9, 0.91)
OVERSHOOT = -zeta(0.5) / (2 * np.pi) ** 0.5
"""Mean of a random walk's excess over a barrier, in standard deviations of its steps."""

LEFT = 0.0632
"""Chance, times the steps, that a barrier moved by the overshoot is passed too often."""


def deviation(steps):
    return VOLATILITY * (YEARS / steps) ** 0.5


def continuous(barrier):
    """Chance that a martingale of 1 is ever at a barrier: reflection principle with a drift."""
    spread, low = deviation(1), np.log(barrier)
    drift = -(spread**2) / 2
    reflected = np.exp(2 * drift * low / spread**2) * norm.cdf((low + drift) / spread)
    return norm.cdf((low - drift) / spread) + reflected


def variance_ratio(lower, higher):
    """Independent over paired paths, of a difference of nested indicators with these means."""
    difference = higher - lower
    apart = lower * (1 - lower) + higher * (1 - higher)
    return apart / (difference * (1 - difference))


@pytest.fixture(scope="module")
def log_price(load_limit):
    """Log prices of A at the steps of the config's paths, from the start on, `[step, path]`."""
    config = load_limit("common_random_numbers")
    world = build(config).world
    drawn = draw(world, np.uint32(config.seed), np.uint32(0), config.paths, np.dtype("float32"))
    series = exogenous(world, drawn, np.dtype("float32"))[0].log_fundamental
    series = np.asarray(series, np.float64)[:, world.layout.assets.index("A")]
    return np.concatenate([np.zeros_like(series[:1]), series])


def bridged(log_price, barrier):
    """Chance that each path passes the barrier at or between its steps, `[path]`."""
    above = np.maximum(log_price - np.log(barrier), 0.0)
    missed = -np.expm1(-2 * above[:-1] * above[1:] / deviation(STEPS) ** 2)
    return 1 - missed.prod(axis=0)


def test_the_closed_forms():
    assert continuous(0.9) == pytest.approx(0.3604929768, rel=1e-9)
    assert variance_ratio(*map(continuous, BARRIERS)) == pytest.approx(9.334, rel=1e-4)
    checked = [far_passage(barrier, STEPS) for barrier in BARRIERS]
    assert checked[0] == pytest.approx(0.3208331, rel=1e-6)
    assert variance_ratio(*checked) == pytest.approx(9.524, rel=1e-4)


def test_the_engine_sells_on_exactly_the_paths_that_are_below_at_a_step(limit, log_price):
    hits = passage(limit("common_random_numbers"))
    for sold, barrier in zip(hits, BARRIERS, strict=True):
        assert np.array_equal(sold, log_price.min(axis=0) < np.log(barrier))


@pytest.mark.parametrize("barrier", BARRIERS)
def test_passage_between_the_steps_makes_up_the_continuous_one(log_price, barrier):
    chance = bridged(log_price, barrier)
    estimate, error = of_mean(chance)
    assert_within(estimate, error, continuous(barrier))
    # sharper than counting, and far enough from what is seen at the steps to tell them apart
    assert error < (estimate * (1 - estimate) / len(chance)) ** 0.5
    assert estimate - far_passage(barrier, STEPS) > 10 * error


def test_common_random_numbers_in_continuous_time(log_price):
    chances = np.stack([bridged(log_price, barrier) for barrier in BARRIERS])
    assert (chances[1] >= chances[0]).all()
    blocks = np.array_split(chances, 50, axis=1)
    without = [
        variance_ratio(*np.hstack(blocks[:i] + blocks[i + 1 :]).mean(axis=1))
        for i in range(len(blocks))
    ]
    spread = np.std(without) * (len(blocks) - 1) ** 0.5  # jackknife
    assert_within(variance_ratio(*chances.mean(axis=1)), spread, 9.334)


def test_shorter_steps_tend_to_the_continuous_passage():
    # by recursion: to first order the distance is the slope of the chance times the overshoot, and
    # falls with the root of the step; with the barrier moved by that, with the step itself
    steps = np.array([50, 100, 200])
    rise = 1e-6
    slope = (continuous(0.9 * np.exp(rise)) - continuous(0.9)) / rise
    missing = [continuous(0.9) - far_passage(0.9, m) for m in steps]
    first_order = slope * OVERSHOOT * deviation(steps)
    assert (np.diff(missing / first_order) > 0).all()
    assert missing[-1] == pytest.approx(first_order[-1], rel=0.05)
    moved = [far_passage(0.9 * np.exp(OVERSHOOT * deviation(m)), m) for m in steps]
    assert steps * (np.array(moved) - continuous(0.9)) == pytest.approx([LEFT] * 3, rel=0.01)


def test_a_barrier_moved_by_the_overshoot_meets_the_continuous_value(limit):
    # from config alone: a haircut h moves the barrier to 0.9 / (1 - h)
    haircut = -np.expm1(-OVERSHOOT * deviation(STEPS))
    ds = limit(
        "common_random_numbers", f"policies.barrier_91.collateral.A.haircut={haircut:.17g}"
    )
    estimate, error = of_mean(passage(ds)[1])
    assert LEFT / STEPS < 0.4 * error  # what order 1/steps leaves is less than chance
    assert_within(estimate, error, continuous(0.9) + LEFT / STEPS)
