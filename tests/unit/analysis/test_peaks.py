"""Peaks over a threshold, their diagnostics and the tail index against closed forms."""

import math

import numpy as np
import pytest
import xarray as xr
from scipy.stats import chi2, genpareto

from deleverage.analysis import pareto, tail
from deleverage.analysis.estimate import Sample
from deleverage.analysis.measures import ExpectedShortfall, Quantile
from deleverage.analysis.peaks import Fitted, PeaksOverThreshold, TailIndex, profile_interval
from deleverage.errors import ConfigError


def outcome(rows, **coords):
    rows = np.atleast_2d(rows)
    names = [f"p{i}" for i in range(rows.shape[0])]
    return xr.DataArray(rows, dims=("policy", "path"), coords={"policy": names, **coords})


def with_peaks(rng, count=10_000, share=0.05, shape=0.3, scale=0.02, threshold=0.05):
    peaks = round(count * share)
    body = rng.uniform(0, threshold, count - peaks)
    above = threshold + genpareto.rvs(shape, scale=scale, size=peaks, random_state=rng)
    return rng.permutation(np.r_[body, above])


def test_the_published_pair():
    # validation.md: u = .05, beta = .02, xi = .3, 500 of 10,000 above, p = .999
    ratio = (500 / 10_000) / (1 - 0.999)
    assert 0.05 + 0.02 * pareto.quantile_excess(0.3, ratio) == pytest.approx(0.1989090022, abs=1e-9)
    assert 0.05 + 0.02 * pareto.shortfall_excess(0.3, ratio) == pytest.approx(
        0.2912985746, abs=1e-9
    )


def test_at_shape_zero_the_tail_is_exponential():
    assert pareto.quantile_excess(0.0, 50.0) == pytest.approx(math.log(50))
    assert pareto.quantile_excess(1e-8, 50.0) == pytest.approx(math.log(50), rel=1e-6)
    assert pareto.shortfall_excess(0.0, 50.0) == pytest.approx(math.log(50) + 1)
    y = np.array([0.5, 1.0, 4.0])
    exponential = -3 * math.log(2) - 5.5 / 2
    assert pareto.log_likelihood(y, 0.0, 2.0) == pytest.approx(exponential)
    assert pareto.log_likelihood(y, 1e-7, 2.0) == pytest.approx(exponential, rel=1e-5)


def test_likelihood_is_that_of_scipy():
    y = np.array([0.5, 1.0, 4.0])
    for shape, scale in ((0.3, 2.0), (-0.2, 3.0), (-0.4, 1.0)):
        expected = genpareto.logpdf(y, shape, scale=scale).sum()
        assert pareto.log_likelihood(y, shape, scale) == pytest.approx(expected)


@pytest.mark.parametrize("shape", [-0.3, -0.05, 0.0, 0.3, 0.9, 1.6])
def test_fit_is_the_greatest_likelihood_and_its_influence_has_no_mean(shape):
    y = genpareto.rvs(shape, scale=0.02, size=800, random_state=np.random.default_rng(1))
    xi, beta = (float(number) for number in pareto.fit(y))
    best = pareto.log_likelihood(y, xi, beta)
    for step in (1e-4, -1e-4):
        assert pareto.log_likelihood(y, xi + step, beta) <= best
        assert pareto.log_likelihood(y, xi, beta * (1 + step)) <= best
    on_shape, on_scale = pareto.influence(y, xi, beta)
    assert abs(on_shape.mean()) < 1e-5
    assert abs(on_scale.mean()) < 1e-5 * beta
    # Smith 1987: variances (1 + xi)^2 and 2 beta^2 (1 + xi)
    assert on_shape.std() == pytest.approx(1 + xi, rel=0.25)
    assert on_scale.std() == pytest.approx(beta * math.sqrt(2 * (1 + xi)), rel=0.25)


def test_fit_of_rows_is_that_of_each_row():
    y = genpareto.rvs(0.2, size=(3, 200), random_state=np.random.default_rng(1))
    shapes, scales = pareto.fit(y)
    for i in range(3):
        np.testing.assert_allclose((shapes[i], scales[i]), pareto.fit(y[i]), rtol=1e-5)


def test_a_repeated_value_weighs_as_much_as_its_weight():
    y = genpareto.rvs(0.2, size=200, random_state=np.random.default_rng(1))
    twice = pareto.fit(np.r_[y, y[:50]])
    weights = np.r_[np.full(50, 2.0), np.ones(150)]
    np.testing.assert_allclose(pareto.fit(y, weights), twice, rtol=1e-5)


def test_inside_the_sample_the_tail_agrees_with_the_order_statistic():
    x = Sample(with_peaks(np.random.default_rng(2), 100_000))
    for of, plain in (
        ("quantile", Quantile(0.99)),
        ("expected_shortfall", ExpectedShortfall(0.99)),
    ):
        fitted, empirical = PeaksOverThreshold(0.99, of).estimate(x, 0.95), plain.estimate(x, 0.95)
        assert abs(fitted.value - empirical.value) < 4 * empirical.standard_error
        assert 0 < fitted.standard_error < 1.1 * empirical.standard_error
        assert fitted.lower < fitted.value < fitted.upper


def test_influence_is_what_leaving_paths_out_changes():
    values = with_peaks(np.random.default_rng(3), 20_000)
    what = PeaksOverThreshold(0.999, "expected_shortfall", threshold=0.05)
    value, terms = what.influence(Sample(values))
    expected, moved = [], []
    for start in range(0, 20_000, 400):
        left = slice(start, start + 400)
        expected.append(-(terms[left] - terms.mean()).sum() / 19_600)
        moved.append(what.influence(Sample(np.delete(values, left)))[0] - value)
    slope, _ = np.polyfit(expected, moved, 1)
    assert slope == pytest.approx(1.0, abs=0.15)  # the information is the expected one
    assert np.corrcoef(expected, moved)[0, 1] > 0.98


def test_profile_ends_lose_half_a_chi_squared_quantile():
    rng = np.random.default_rng(4)
    y = genpareto.rvs(0.2, scale=1.0, size=300, random_state=rng)
    shape, scale = (float(number) for number in pareto.fit(y))
    fitted = Fitted(1.0, 0.0, 0.1, shape, scale, np.ones(300, bool), y, None)
    ends = profile_interval(fitted, 3000, 0.999, "quantile", 0.95, 1.0)

    def cost(at, xi, share):
        beta = at / pareto.quantile_excess(xi, share / 0.001)
        return (
            -pareto.log_likelihood(y, xi, beta) - 300 * math.log(share) - 2700 * math.log1p(-share)
        )

    least = cost(scale * pareto.quantile_excess(shape, 100.0), shape, 0.1)
    for end in ends:
        grid = min(
            cost(end, xi, share)
            for xi in np.linspace(-0.3, 0.8, 221)
            for share in np.linspace(0.085, 0.115, 61)
        )
        assert grid - least == pytest.approx(chi2.ppf(0.95, 1) / 2, abs=0.01)


def test_the_lower_tail_is_the_upper_one_of_the_negative():
    values = with_peaks(np.random.default_rng(5))
    upper = tail.peaks_over_threshold(outcome(values), 0.999)
    lower = tail.peaks_over_threshold(outcome(-values), 0.999, tail="lower")
    assert lower.estimate.item() == -upper.estimate.item()
    assert (lower.lower.item(), lower.upper.item()) == (-upper.upper.item(), -upper.lower.item())
    assert upper.attrs["measure"] == "quantile by peaks over threshold"


def test_paired_difference_of_equal_policies_is_nothing():
    values = with_peaks(np.random.default_rng(5))
    x = outcome([values, values, values * 1.1])
    what = PeaksOverThreshold(0.999)
    assert tail.paired(x, "p0", "p1", what).standard_error.item() == 0.0
    scaled = tail.paired(x, "p2", "p0", what)
    assert scaled.estimate.item() == pytest.approx(0.1 * what.influence(Sample(values))[0])
    assert scaled.standard_error.item() < 0.2 * what.estimate(Sample(values), 0.95).standard_error


def test_importance_weights_reach_the_exponential_tail():
    # drawn with mean 3 instead of 1: weight 3 exp(-2 x / 3); the target's quantile is -log(1 - q)
    x = np.random.default_rng(6).exponential(3.0, 50_000)
    sample = outcome(x, log_weight=("path", math.log(3.0) - 2.0 * x / 3.0))
    found = tail.peaks_over_threshold(sample, 1 - 1e-5)
    assert abs(found.estimate.item() - math.log(1e5)) < 4 * found.standard_error.item() < 2.0
    plain = tail.peaks_over_threshold(
        outcome(np.random.default_rng(6).exponential(size=50_000)), 0.9999
    )
    assert found.standard_error.item() < plain.standard_error.item()


def test_too_few_peaks_or_a_level_inside_give_nothing():
    values = with_peaks(np.random.default_rng(5), 500)
    with pytest.warns(tail.ThinTailWarning, match=r"fewer than 0\.1"):
        found = tail.peaks_over_threshold(outcome(values), 0.9999)
    assert np.isnan(found.estimate.item())  # 25 peaks
    with pytest.warns(tail.ThinTailWarning, match="rests on 0 points"):
        inside = tail.peaks_over_threshold(outcome(values), 0.9, threshold=0.051)
    assert np.isnan(inside.estimate.item())
    with pytest.raises(ConfigError, match="say nothing about what lies inside"):
        tail.peaks_over_threshold(outcome(values), 0.9)
    with pytest.raises(ConfigError, match="of is 'var'"):
        tail.peaks_over_threshold(outcome(values), 0.99, "var")


def test_a_tail_that_ends_in_a_wall_has_no_error():
    values = np.random.default_rng(0).beta(2, 0.5, 10_000)  # shape -2 at its end
    found = tail.peaks_over_threshold(outcome(values), 0.999)
    assert np.isfinite(found.estimate.item())
    assert np.isnan(found.standard_error.item())


def test_hill_of_a_pareto_tail():
    # by hand: over a threshold of 1 the logs are 2, 3 and 4, their mean 3
    values = np.r_[np.ones(970), np.exp(np.tile([2.0, 3.0, 4.0], 10))]
    found = TailIndex(0.03).estimate(Sample(values), 0.95)
    assert found.value == pytest.approx(1 / 3)
    assert found.standard_error == pytest.approx(found.value / math.sqrt(30))
    assert found.lower == pytest.approx(found.value * chi2.ppf(0.025, 60) / 60)
    assert found.upper == pytest.approx(found.value * chi2.ppf(0.975, 60) / 60)
    assert np.isnan(tail.tail_index(outcome(-values)).estimate.item())


def test_hill_with_weights():
    # a tail of index 2 drawn with index 1: weight 2 / x
    x = 1 / np.random.default_rng(6).random(40_000)
    sample = outcome(x, log_weight=("path", np.log(2 / x)))
    found = tail.tail_index(sample, 0.02)
    assert abs(found.estimate.item() - 2) < 4 * found.standard_error.item() < 0.2


def test_diagnostics_find_where_the_tail_begins():
    rng = np.random.default_rng(7)
    x = outcome([with_peaks(rng, 40_000), with_peaks(rng, 40_000)])
    found = tail.threshold_diagnostics(x, shares=[0.05, 0.2, 0.02])
    assert found.share.values.tolist() == [0.2, 0.05, 0.02]
    assert found.peaks.values[0].tolist() == [8000, 2000, 800]
    assert (found.goodness_of_fit.sel(share=0.2) < 0.01).all()
    assert found.chosen_share.values.tolist() == [0.05, 0.05]
    at = found.sel(share=0.05, policy="p0")
    assert at.shape.item() == pytest.approx(0.3, abs=4 * at.shape_standard_error.item())
    # E(x - u | x > u) = beta / (1 - xi)
    mean = at.mean_excess.item()
    assert mean == pytest.approx(0.02 / 0.7, abs=4 * at.mean_excess_standard_error.item())
    assert at.mean_excess_lower.item() < mean < at.mean_excess_upper.item()
    # beta - xi u does not change with the threshold
    for share in (0.05, 0.02):
        at = found.sel(share=share, policy="p1")
        error = at.modified_scale_standard_error.item()
        assert at.modified_scale.item() == pytest.approx(0.02 - 0.3 * 0.05, abs=4 * error)


def test_too_few_paths_for_any_threshold_are_said_to_be():
    x = outcome(np.random.default_rng(9).random(64))
    with pytest.warns(tail.ThinTailWarning, match="64 paths leave the 30 peaks") as warned:
        found = tail.threshold_diagnostics(x)
    assert warned[0].filename == __file__
    assert not found.peaks.any()


def test_goodness_of_fit_is_uniform_under_the_law():
    rng = np.random.default_rng(8)
    y = genpareto.rvs(0.2, size=(200, 100), random_state=rng)
    chances = np.array([pareto.goodness_of_fit(row, bootstraps=39) for row in y])
    assert abs((chances <= 0.25).mean() - 0.25) < 4 * math.sqrt(0.25 * 0.75 / 200)
    assert abs((chances <= 0.75).mean() - 0.75) < 4 * math.sqrt(0.25 * 0.75 / 200)
