"""Errors and intervals of the tail measures over repeated samples with a fixed seed.

1,000 repeats of a 95% interval: the share that covers has a standard error of 0.7%.
"""

import math
import warnings

import numpy as np
import pytest
import xarray as xr
from scipy.stats import genpareto, norm

from deleverage.analysis import order_statistics, tail
from deleverage.analysis.attribution import interaction_coefficients, share_coefficients
from deleverage.analysis.batches import batched
from deleverage.analysis.estimate import Sample
from deleverage.analysis.measures import by_name

REPEATS = 1000


def repeats(rows, **coords):
    """Each repeat stands where a market would."""
    return xr.DataArray(rows, dims=("repeat", "path"), coords=coords)


def coverage(found, truth):
    return float(((found.lower <= truth) & (truth <= found.upper)).mean())


def mean_and_error(values):
    return float(values.mean()), float(values.std(ddof=1) / math.sqrt(values.size))


@pytest.fixture(scope="module")
def normals():
    return repeats(np.random.default_rng(20251010).standard_normal((REPEATS, 10_000)))


def test_quantile_interval_covers(normals):
    assert 0.93 <= coverage(tail.quantile(normals, 0.99), norm.ppf(0.99)) <= 0.97
    assert 0.93 <= coverage(tail.quantile(normals, 0.5), 0.0) <= 0.97


def test_shortfall_interval_covers(normals):
    assert 0.93 <= coverage(tail.expected_shortfall(normals, 0.99), 2.66521422) <= 0.97
    lower = tail.expected_shortfall(normals, 0.99, tail="lower")
    assert 0.93 <= coverage(lower, -2.66521422) <= 0.97


def test_shortfall_interval_covers_for_losses_that_are_mostly_nothing():
    # 90% zeros, else exponential: VaR99 = ln 10, ES99 = ln 10 + 1
    rng = np.random.default_rng(5)
    x = repeats(rng.exponential(size=(REPEATS, 10_000)) * (rng.random((REPEATS, 10_000)) < 0.1))
    assert 0.93 <= coverage(tail.expected_shortfall(x, 0.99), math.log(10) + 1) <= 0.97
    assert 0.93 <= coverage(tail.quantile(x, 0.99), math.log(10)) <= 0.97


@pytest.mark.parametrize("threshold", [2.0, 3.0, 3.8])
def test_probability_interval_covers_at_least(normals, threshold):
    # exact intervals are conservative: less than one standard error below the level
    assert coverage(tail.probability(normals, above=threshold), norm.sf(threshold)) >= 0.943


def test_mean_interval_covers(normals):
    assert 0.93 <= coverage(tail.mean(normals), 0.0) <= 0.97


def test_ratio_of_means_covers():
    # mostly nothing, else lognormal; the numerator is a share of the denominator that grows with it
    rng = np.random.default_rng(11)
    below = np.exp(0.5 * rng.standard_normal((REPEATS, 4000))) * (rng.random((REPEATS, 4000)) < 0.3)
    above = below * rng.random((REPEATS, 4000)) + 0.1 * below**2
    truth = 0.5 + 0.1 * math.exp(0.5) / math.exp(0.125)  # E b^2 / E b of the lognormal
    found = tail.ratio_of_means(repeats(above), repeats(below))
    assert 0.93 <= coverage(found, truth) <= 0.97
    # the stated error is the spread, and the bias is far below it
    mean, error = mean_and_error(found.estimate)
    assert abs(mean - truth) < 4 * error
    spread = float(found.estimate.std(ddof=1))
    assert float(found.standard_error.mean()) == pytest.approx(
        spread, rel=4 / math.sqrt(2 * (REPEATS - 1))
    )


def test_weighted_ratio_of_means_covers():
    # draws at mean 1 instead of 0: log weight 1/2 - z; E[(z > 1) e^z] / E[z > 1] under N(0, 1)
    z = np.random.default_rng(12).standard_normal((REPEATS, 2000)) + 1.0
    truth = math.exp(0.5) * norm.cdf(0.0) / norm.sf(1.0)
    covered = 0
    for row in z:
        hit = xr.DataArray(
            (row > 1.0) * 1.0, dims="path", coords={"log_weight": ("path", 0.5 - row)}
        )
        covered += int(coverage(tail.ratio_of_means(hit * np.exp(row), hit), truth))
    assert 0.93 <= covered / REPEATS <= 0.97


@pytest.mark.parametrize(
    ("measure", "truth"),
    [
        ({"measure": "expected_shortfall", "q": 0.95}, 0.5 * 2.0627128),
        ({"measure": "quantile", "q": 0.95}, 0.5 * 1.6448536),
        ({"measure": "mean"}, 0.0),
        ({"measure": "probability", "above": 1.5}, norm.sf(1.0) - norm.sf(1.5)),
    ],
    ids=lambda value: value["measure"] if isinstance(value, dict) else "",
)
def test_paired_difference_covers(measure, truth):
    rng = np.random.default_rng(7)
    z, e = rng.standard_normal((2, REPEATS, 4000))
    # b is N(0, 1); a is 1.5 times a normal that shares most of its draws
    a = 1.5 * (0.9 * z + math.sqrt(1 - 0.81) * e)
    x = xr.DataArray(
        np.stack([a, z]), dims=("policy", "repeat", "path"), coords={"policy": ["a", "b"]}
    )
    assert 0.93 <= coverage(tail.difference(x, "a", "b", **measure), truth) <= 0.97


def test_values_of_the_normal_law(normals):
    # validation.md: VaR 2.326347874, ES 2.66521422; 4 standard errors around the expectation of
    # the plug-in estimator, which differs from them by a known O(1 / n)
    count, q, var, density = 10_000, 0.99, 2.326347874, norm.pdf(2.326347874)
    rank = 9900 / (count + 1)  # mean of the probability at the 9,900th of 10,000
    curvature = var / density**2
    bias = (rank - q) / density + q * (1 - q) * curvature / (2 * count)
    mean, error = mean_and_error(tail.quantile(normals, q).estimate)
    assert abs(mean - bias - var) < 4 * error
    mean, error = mean_and_error(tail.expected_shortfall(normals, q).estimate)
    assert abs(mean + q / (2 * count * density) - 2.66521422) < 4 * error


def test_spread_of_the_estimates_is_the_stated_error(normals):
    # validation.md: sqrt(n) x standard error 3.733236261 / 4.588362362; the standard deviation of
    # 1,000 repeats has a relative error of 1 / sqrt(2 * 999)
    for found, truth in (
        (tail.quantile(normals, 0.99), 3.733236261),
        (tail.expected_shortfall(normals, 0.99), 4.588362362),
    ):
        spread = float(found.estimate.std(ddof=1)) * 100
        assert spread == pytest.approx(truth, rel=4 / math.sqrt(2 * (REPEATS - 1)))


def test_standard_error_of_the_shortfall(normals):
    scaled = tail.expected_shortfall(normals, 0.99).standard_error * 100
    mean, error = mean_and_error(scaled)
    # the root of an unbiased variance is low by var(se) / (2 se), and the boundary is one of 100
    # exceedances: relative remainder 1 / 100
    bias = float(scaled.var()) / (2 * 4.588362362)
    assert abs(mean + bias - 4.588362362) < 4 * error + 0.01 * 4.588362362


def test_standard_error_of_the_quantile(normals):
    # its expectation is that of the difference quotient over the bandwidth ...
    def expected(count):
        half = order_statistics.bandwidth(count, 0.99)
        slope = (norm.ppf(0.99 + half) - norm.ppf(0.99 - half)) / (2 * half)
        return slope * math.sqrt(0.99 * 0.01)

    mean, error = mean_and_error(tail.quantile(normals, 0.99).standard_error * 100)
    half_width = 10_000 * order_statistics.bandwidth(10_000, 0.99)  # in ranks, which are whole
    assert abs(mean - expected(10_000)) < 4 * error + mean / (2 * half_width)
    # ... which tends to the density's, as the bandwidth shrinks
    errors = [abs(expected(count) / 3.733236261 - 1) for count in (1e4, 1e6, 1e8)]
    assert errors[0] < 0.05
    assert errors[1] < 0.002
    assert errors[2] < 0.0001
    # and it is consistent: the spread of the error itself shrinks too
    long = repeats(np.random.default_rng(1).standard_normal((10, 1_000_000)))
    scaled = tail.quantile(long, 0.99).standard_error * 1000
    mean, error = mean_and_error(scaled)
    assert abs(mean - 3.733236261) < 4 * error + 0.002 * 3.733236261
    relative = 1 / math.sqrt(2 * 1_000_000 * order_statistics.bandwidth(1_000_000, 0.99))
    assert float(scaled.std(ddof=1)) < relative * mean * (1 + 4 / math.sqrt(2 * 9))


def test_weighted_intervals_cover():
    # draws at mean 2 instead of 0: log weight 2 - 2 z
    z = np.random.default_rng(3).standard_normal((REPEATS, 2000)) + 2.0
    covered = {"quantile": 0, "shortfall": 0, "probability": 0}
    truths = {"quantile": norm.ppf(0.99), "shortfall": 2.66521422, "probability": norm.sf(3)}
    with warnings.catch_warnings():
        warnings.simplefilter("error", tail.ThinTailWarning)
        for row in z:
            x = xr.DataArray(row, dims="path", coords={"log_weight": ("path", 2.0 - 2.0 * row)})
            found = {
                "quantile": tail.quantile(x, 0.99),
                "shortfall": tail.expected_shortfall(x, 0.99),
                "probability": tail.probability(x, above=3),
            }
            for name, result in found.items():
                covered[name] += int(coverage(result, truths[name]))
    for name, count in covered.items():
        assert 0.93 <= count / REPEATS <= 0.97, name


@pytest.mark.parametrize(("count", "q"), [(40, 0.95), (60, 0.05)])
def test_a_weighted_quantile_that_few_paths_bound_is_covered_at_least(count, q):
    # draws at mean 0.3 instead of 0; with its ends at the last values 86% and 80% were covered
    z = np.random.default_rng(1).standard_normal((REPEATS, count)) + 0.3
    samples = [Sample(row, np.exp(0.045 - 0.3 * row)) for row in z]
    found = [order_statistics.quantile(sample, q, 0.95) for sample in samples]
    covered = sum(one.lower <= norm.ppf(q) <= one.upper for one in found)
    assert covered / REPEATS >= 0.943
    assert any(math.isinf(one.lower if q < 0.5 else one.upper) for one in found)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("of", "truth"), [("quantile", 0.1989090022), ("expected_shortfall", 0.2912985746)]
)
def test_profile_likelihood_covers_beyond_the_sample(of, truth):
    # validation.md: 10,000 values of which 5% on average exceed u = .05 by beta = .02, xi = .3
    rng = np.random.default_rng(9)
    above = rng.random((REPEATS, 10_000)) < 0.05
    excesses = genpareto.rvs(0.3, scale=0.02, size=above.shape, random_state=rng)
    x = repeats(np.where(above, 0.05 + excesses, 0.05 * rng.random(above.shape)))
    found = tail.peaks_over_threshold(x, 0.999, of, threshold=0.05)
    assert 0.93 <= coverage(found, truth) <= 0.97
    spread = float(found.estimate.std(ddof=1))
    assert float(found.standard_error.mean()) == pytest.approx(spread, rel=0.15)


def test_hill_interval_covers():
    x = repeats(1 / np.random.default_rng(10).random((REPEATS, 4000)) ** 0.5)
    assert 0.93 <= coverage(tail.tail_index(x, 0.05), 2.0) <= 0.97


@pytest.mark.parametrize(
    ("measure", "at_unit"),
    [
        ({"name": "mean"}, 0.0),
        ({"name": "expected_shortfall", "q": 0.95}, 2.0627128),
        ({"name": "quantile", "q": 0.9}, norm.ppf(0.9)),
    ],
    ids=["mean", "expected_shortfall", "quantile"],
)
def test_shapley_intervals_cover(measure, at_unit):
    # no cause gives z, each of three adds a normal of its own: n of them have the mean of those and
    # the deviation (1 + n)^.5
    rng = np.random.default_rng(11)
    means = np.array([0.3, 0.5, -0.2])
    z, *own = rng.standard_normal((4, REPEATS, 1500))
    acts = np.array([[number >> i & 1 for i in range(3)] for number in range(8)])
    rows = np.stack([z + sum(a * (m + x) for a, m, x in zip(row, means, own, strict=True))
                     for row in acts], axis=1)  # fmt: skip
    games = acts @ means + at_unit * np.sqrt(1 + acts.sum(axis=1))
    found = batched(
        xr.DataArray(rows.reshape(-1, rows.shape[-1]), dims=("policy", "path")), by_name(**measure)
    )
    values, terms = found.values.reshape(-1, 8), found.terms.reshape(REPEATS, 8, -1)
    # means add up path by path: their interactions are 0 without an error
    combinations = [share_coefficients(3), *([interaction_coefficients(3)] if at_unit else [])]
    for coefficients in combinations:
        truth = coefficients @ games
        shares = [
            found._replace(values=values[i], terms=terms[i]).combined(coefficients)
            for i in range(REPEATS)
        ]
        off = np.array([np.abs(value - truth) / error for value, error in shares])
        covered = (off <= norm.ppf(0.975)).mean(axis=0)
        assert covered.shape == (3,)
        assert ((0.93 <= covered) & (covered <= 0.97)).all(), covered
