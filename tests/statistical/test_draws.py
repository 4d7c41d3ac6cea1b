"""Distributions of the draws and series at a fixed seed, within 4 standard errors."""

import jax
import numpy as np
import pytest
from scipy import stats
from shock_worlds import liquidity, macro, merton, outage, sample, sample_draws, world

from deleverage.shocks.gates import window

ERRORS = 4  # standard errors
SEED = 20251010


def assert_mean(values, expected):
    values = np.asarray(values, np.float64)
    error = values.std(ddof=1) / np.sqrt(values.size)
    assert abs(values.mean() - expected) <= ERRORS * error, (values.mean(), expected, error)


@pytest.fixture(scope="module")
def normals():
    return sample_draws(world(np.zeros((1, 3)), steps=50), SEED, 0, 8192).diffusion


@pytest.fixture(scope="module")
def pairs():
    """A million paths of the few numbers that each has one of."""
    plain = world(
        macro=macro(1, "generalised_pareto", a=0.05, b=0.04, c=0.3),
        liquidity=liquidity(lowest=0.1, highest=0.7, correlation=0.6, half_life=1e30),
        steps=1,
    )
    return sample(plain, SEED, 0, 2**20)


def test_normals_have_the_moments_of_a_normal(normals):
    values = normals.astype(np.float64)
    for power, moment in ((1, 0), (2, 1), (3, 0), (4, 3), (6, 15)):
        assert_mean(values**power, moment)


def test_normals_follow_the_normal_law(normals):
    assert stats.kstest(normals.ravel(), stats.norm.cdf).pvalue > 1e-4
    assert np.abs(normals).max() > 4.5


@pytest.mark.parametrize(
    "neighbours",
    [
        lambda z: (z[1:], z[:-1]),  # steps
        lambda z: (z[:, 1:], z[:, :-1]),  # factors
        lambda z: (z[..., 1:], z[..., :-1]),  # paths
    ],
    ids=["steps", "factors", "paths"],
)
def test_neighbours_are_uncorrelated(normals, neighbours):
    one, two = neighbours(normals.astype(np.float64))
    assert_mean(one * two, 0)
    assert_mean(one**2 * two**2, 1)


def test_uniforms_are_even(pairs):
    for u in pairs[0].macro.astype(np.float64):
        assert_mean(u, 1 / 2)
        assert_mean(u**2, 1 / 3)
        assert stats.chisquare(np.histogram(u, 256, (0, 1))[0]).pvalue > 1e-4
    assert 0 < pairs[0].macro.min() < 1e-5
    assert pairs[0].macro.max() < 1


def test_streams_are_uncorrelated(pairs):
    draws = pairs[0]
    severity, time = draws.macro.astype(np.float64)
    assert_mean((severity - 0.5) * (time - 0.5), 0)
    assert_mean((severity - 0.5) * draws.liquidity, 0)
    assert_mean((severity - 0.5) * draws.diffusion[0, 0], 0)


@pytest.mark.parametrize("chance", [0.1, 1e-2, 1e-3, 1e-4])
def test_the_severity_tail_is_the_laws(pairs, chance):
    level = stats.genpareto.isf(chance, 0.3, 0.05, 0.04)
    count = np.sum(pairs[2].severity > level)
    expected = chance * 2**20
    assert abs(count - expected) <= ERRORS * np.sqrt(expected * (1 - chance))


def test_the_drop_of_depth_follows_the_rank_of_the_severity(pairs):
    severity = pairs[2].severity.reshape(64, -1)
    drop = pairs[1].liquidity_drop[0].reshape(64, -1)
    ranks = [stats.spearmanr(*block).statistic for block in zip(severity, drop, strict=True)]
    assert_mean(ranks, 6 / np.pi * np.arcsin(0.6 / 2))
    assert stats.kstest(drop.ravel(), stats.uniform(0.1, 0.6).cdf).pvalue > 1e-4


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_fundamentals_are_martingales_with_jumps_and_a_burst_of_volatility(dtype):
    jumpy = world(
        [[5e-3, 0.0], [4e-3, 6e-3]],
        macro=macro(2, volatility_multiplier=4.0, volatility_half_life=5.0, latest=10.0),
        merton=merton(0.05, -0.03, 0.02, [1.0, 2.0]),
        steps=60,
    )
    log_fundamental = sample(jumpy, SEED, 0, 2**15, dtype)[1].log_fundamental
    for step in (0, 20, 59):
        for asset in (0, 1):
            assert_mean(np.exp(log_fundamental[step, asset]), 1)
    # the jumps and the burst are there
    assert log_fundamental[-1, 1].std() > 1.5 * np.hypot(4e-3, 6e-3) * np.sqrt(30)


def test_the_variance_is_that_of_the_loadings():
    plain = world([[3e-3, 4e-3], [0.0, 2e-3]], steps=40)
    change = sample(plain, SEED, 0, 2**15)[1].log_fundamental[-1].astype(np.float64)
    centred = change + 20 / 2 * np.array([[25e-6], [4e-6]])
    assert_mean(centred[0] ** 2, 20 * 25e-6)
    assert_mean(centred[1] ** 2, 20 * 4e-6)
    assert_mean(centred[0] * centred[1], 20 * 8e-6)


@pytest.mark.parametrize(
    ("steps", "expected"), [(50, 0.3208331), (100, 0.3318649), (240, 0.3416911)]
)
def test_the_first_passage_of_a_barrier_checked_at_equal_steps(steps, expected):
    # sigma 0.8 a year for a week (T = 1/52), from 100 to 90: the lattice values of the limit table.
    step = 525_600 / 52 / steps
    plain = world([[0.8 / np.sqrt(525_600)]], steps=steps, step=step)
    worst = np.concatenate(
        [
            sample(plain, SEED, first, 2**14)[1].log_fundamental.min(axis=(0, 1))
            for first in range(0, 2**16, 2**14)
        ]
    )
    assert_mean(worst <= np.log(0.9), expected)


def test_outages_start_and_last_as_long_as_their_laws_say():
    uniforms = jax.numpy.asarray(sample_draws(world(), SEED, 0, 2**16).macro)
    start, end = window(outage(random=True, start=5.0, length=8.0, rate=0.1), uniforms)
    assert_mean(start - 5, 10)
    assert_mean(end - start, 8)
    assert stats.kstest(np.asarray(start) - 5, stats.expon(scale=10).cdf).pvalue > 1e-4
