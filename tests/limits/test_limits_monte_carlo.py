"""Monte Carlo limits, each at the config's seed and within four standard errors.

Expected values: the probability that a discretely checked geometric Brownian motion passes a
barrier, by recursion on a fine grid; Black and Scholes for the deficit; both in the design's
table of closed forms.
"""

import numpy as np
import pytest
from scipy.stats import norm

from deleverage import tail

ERRORS = 4


def passage(ds):
    return ds.liquidated_accounts.values > 0


def assert_within(estimate, error, expected):
    assert error > 0
    assert abs(estimate - expected) < ERRORS * error, (estimate, error)


def of_mean(sample):
    return sample.mean(), sample.std(ddof=1) / len(sample) ** 0.5


# 80% volatility, 1/52 year, barrier 90 from 100; test_limits_passage.py has the continuous value
@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (50, 0.3208331),
        pytest.param(100, 0.3318649, marks=pytest.mark.slow),
        pytest.param(240, 0.3416911, marks=pytest.mark.slow),
    ],
)
def test_first_passage(limit, steps, expected):
    minutes = 365 * 24 * 60 / 52 / steps
    clock = () if steps == 50 else (f"time.steps={steps}", f"time.step={minutes!r}m")
    ds = limit("first_passage", *clock)
    assert_within(*of_mean(passage(ds)[0]), expected)
    # the loan is liquidated whole and once
    assert set(np.unique(ds.liquidated_accounts)) == {0.0, 100e6 / 50e3}


def test_the_deficit_of_a_loan(limit):
    deficit = limit("bad_debt").bad_debt.values[0].astype(float)
    assert_within(*of_mean(deficit), 0.3241924796)  # E[(85 - S)^+] of a martingale S


@pytest.mark.parametrize(
    ("steps", "expected"),
    [(50, 9.524), pytest.param(240, 9.425, marks=pytest.mark.slow)],
)
def test_common_random_numbers(limit, steps, expected):
    minutes = 365 * 24 * 60 / 52 / steps
    clock = () if steps == 50 else (f"time.steps={steps}", f"time.step={minutes!r}m")
    hits = passage(limit("common_random_numbers", *clock)).astype(float)
    assert np.all(hits[1] >= hits[0])  # the higher barrier is passed on every path that passes 90

    def ratio(sample):
        independent = sample[0].var(ddof=1) + sample[1].var(ddof=1)
        return independent / (sample[1] - sample[0]).var(ddof=1)

    blocks = np.array_split(hits, 50, axis=1)
    without = [ratio(np.hstack(blocks[:i] + blocks[i + 1 :])) for i in range(len(blocks))]
    spread = np.std(without) * (len(blocks) - 1) ** 0.5  # jackknife
    assert_within(ratio(hits), spread, expected)


SCHEMES = {
    "plain": (),
    "antithetic": ("sampling.kind=antithetic",),
    "stratified": ("sampling.kind=stratified",),
    "sobol": ("sampling.kind=sobol",),
    "importance": ("sampling.kind=importance", "sampling.shift=3.5"),
    "importance, no plain paths": (
        "sampling.kind=importance",
        "sampling.shift=3.5",
        "sampling.plain_share=0",
    ),
    "splitting": (
        "sampling.kind=splitting",
        "sampling.variable=severity",
        "sampling.levels=3",
        "engine.tile_paths=32",
    ),
}


def severe_loss(mean, deviation=0.04):
    """Chance and mean of a deficit of 85 on 100 exp(-S), S normal: Black and Scholes."""
    forward = 100 * np.exp(deviation**2 / 2 - mean)
    below = norm.cdf((np.log(0.85) + mean) / deviation)
    return below, 85 * below - forward * norm.cdf((np.log(0.85) + mean) / deviation - deviation)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_rare_severity_under_every_kind_of_sampling(limit, scheme):
    rare = "importance" in scheme or scheme == "splitting"
    # the others need a loss that comes: 2% of paths
    more = () if rare else ("scenario.shocks.macro.severity.mean=8.04%",)
    ds = limit("rare_severity", *SCHEMES[scheme], *more)
    assert ds.attrs["sampling"] == scheme.partition(",")[0]
    expected = severe_loss(0.02 if rare else 0.0804)
    if rare:
        assert expected == pytest.approx((1.833390e-4, 1.530548e-4), rel=1e-6)
    chance, mean = tail.probability(ds.bad_debt, above=0.0), tail.mean(ds.bad_debt)
    for found, truth in zip((chance, mean), expected, strict=True):
        assert_within(float(found.estimate[0]), float(found.standard_error[0]), truth)
    crude = expected[0] * (1 - expected[0]) / ds.sizes["path"]
    ratio = crude / float(chance.standard_error[0]) ** 2
    least = {"plain": 0.8, "antithetic": 0.8, "stratified": 30, "sobol": 30, "splitting": 5}
    assert ratio > least.get(scheme, 300), ratio
    if rare:
        weights = np.exp(ds.log_weight.values.astype(float))
        most = {"importance": 10.01, "splitting": 4.0001}
        assert weights.max() <= most.get(scheme, np.inf)


def test_importance_weights_of_a_tilted_normal_score(limit):
    # z normal about 1, so the mean of w^2 = exp(1 - 2z) is e; that of w is 1
    tilted = ("sampling.kind=importance", "sampling.shift=1", "sampling.plain_share=0")
    ds = limit("rare_severity", *tilted)
    weights = np.exp(ds.log_weight.values.astype(float))
    z = (ds.severity.values.astype(float) - 0.02) / 0.04
    assert weights == pytest.approx(np.exp(0.5 - z), rel=1e-5)
    assert_within(*of_mean(weights), 1.0)
    assert_within(*of_mean(weights**2), np.e)
    # w^2 has a heavy tail, z below -1, where one path in 44 brings half of its mean: sharper, the
    # other half, as exp(1 - 2z) phi(z - 1) = e phi(z + 1)
    middle = np.where(np.abs(z - 1) < 2, weights**2, 0.0)
    assert_within(*of_mean(middle), np.e * (norm.cdf(4) - norm.cdf(0)))


def test_a_score_beyond_four_by_a_shift_of_four(limit):
    # the loss begins where the score is 4: 0.04 x 4 of severity above its mean
    mean = -np.log(0.85) - 4 * 0.04
    tilted = ("sampling.kind=importance", "sampling.shift=4", "sampling.plain_share=0")
    ds = limit(
        "rare_severity", *tilted, f"scenario.shocks.macro.severity.mean={mean:.17g}"
    )
    chance = tail.probability(ds.bad_debt, above=0.0)
    estimate, error = float(chance.estimate[0]), float(chance.standard_error[0])
    assert severe_loss(mean)[0] == pytest.approx(3.167124e-5, rel=1e-6)
    assert_within(estimate, error, 3.167124e-5)
    crude = 3.167124e-5 * (1 - 3.167124e-5) / ds.sizes["path"]
    # its relative error: of a variance of weights whose fourth moment is finite
    assert crude / error**2 == pytest.approx(6999, rel=0.05)


def test_a_far_barrier_by_splitting(limit):
    ds = limit("rare_passage")
    trough = ds.trough_price.isel(market=0, policy=0)
    for barrier, expected in ((0.65, 9.519090e-5), (0.6, 3.813442e-6)):
        assert far_passage(barrier) == pytest.approx(expected, rel=1e-6)
        found = tail.probability(trough, below=barrier)
        assert_within(float(found.estimate), float(found.standard_error), expected)
        crude = expected * (1 - expected) / ds.sizes["path"]
        assert crude / float(found.standard_error) ** 2 > 4


def far_passage(barrier, steps=50, volatility=0.8, years=1 / 52):
    """Chance that a martingale of 1 is below the barrier at some step, by recursion over steps."""
    deviation = volatility * (years / steps) ** 0.5
    mean, low = -(deviation**2) / 2, np.log(barrier)
    nodes, weights = np.polynomial.legendre.leggauss(1000)
    width = 6 * volatility * years**0.5 - low
    x, weights = low + width * (nodes + 1) / 2, weights * width / 2
    step = norm.pdf(x[:, None] - x, mean, deviation) * weights
    alive, fallen = norm.pdf(x, mean, deviation), norm.cdf(low, mean, deviation)
    for _ in range(steps - 1):
        fallen += np.sum(weights * alive * norm.cdf(low - x, mean, deviation))
        alive = step @ alive
    return fallen


@pytest.mark.slow
def test_a_passage_under_sobol_points_and_pairs(limit):
    for kind in ("antithetic", "sobol"):
        ds = limit("first_passage", f"sampling.kind={kind}", "paths=20480")
        found = tail.probability(ds.liquidated_accounts, above=0.0)
        estimate, error = float(found.estimate[0]), float(found.standard_error[0])
        assert_within(estimate, error, 0.3208331)
        assert error < (estimate * (1 - estimate) / 20480) ** 0.5


def test_paired_policies_share_their_paths(limit):
    alone = passage(limit("first_passage"))[0]
    together = passage(limit("common_random_numbers"))[0]
    assert np.array_equal(alone, together)
