"""Ranks, conditions and convergence against values worked by hand."""

import math
import warnings

import numpy as np
import pytest
import xarray as xr
from scipy.stats import norm, studentized_range

from deleverage.analysis import attribution, systemic, tail
from deleverage.analysis.batches import batch_terms, batched
from deleverage.analysis.measures import ExpectedShortfall, Mean
from deleverage.analysis.shares import clopper_pearson
from deleverage.errors import ConfigError, RunError


def outcome(rows, **coords):
    rows = np.atleast_2d(np.asarray(rows))
    names = [f"p{i}" for i in range(rows.shape[0])]
    return xr.DataArray(
        rows, dims=("policy", "path"), coords={"policy": names, **coords}, name="bad_debt"
    )


def test_batches_keep_the_error_whatever_their_lengths():
    terms = np.random.default_rng(0).standard_normal(40_007) + 100
    found = batch_terms(terms, 1000)
    assert found.shape == (1000,)
    assert abs(found.mean()) < 1e-12
    error = found.std(ddof=1) / math.sqrt(1000)
    assert error == pytest.approx(terms.std() / math.sqrt(terms.size), rel=4 / math.sqrt(2000))
    few = np.array([1.0, 2.0, 6.0])
    np.testing.assert_allclose(batch_terms(few), few - 3)


def test_covariance_of_two_measures_is_that_of_their_paths():
    rng = np.random.default_rng(1)
    x = outcome(rng.multivariate_normal([0, 0], [[1, 0.6], [0.6, 2]], 900).T)
    found = batched(x, Mean())
    np.testing.assert_allclose(found.covariance(), np.cov(x.values) / 900, rtol=1e-12)
    values, errors = found.combined(np.array([[1.0, -1.0], [0.0, 0.0]]))
    pair = tail.difference(x, "p0", "p1", measure="mean")
    assert values[0] == pytest.approx(pair.estimate.item())
    assert errors[0] == pytest.approx(pair.standard_error.item())
    assert (values[1], errors[1]) == (0.0, 0.0)


def test_ranks_tell_apart_what_differs_and_nothing_else():
    common = np.random.default_rng(2).standard_normal(4000)
    own = np.random.default_rng(3).standard_normal((4, 4000))
    shift = np.array([0.0, 1.0, 1.0, 0.005])
    x = outcome(common + shift[:, None] + 0.1 * own)
    found = tail.ranking(x, "expected_shortfall", q=0.95)
    assert found["rank"].values[[0, 3]].max() == 2
    assert found.rank_lower.values.tolist() == [1, 3, 3, 1]
    assert found.rank_upper.values.tolist() == [2, 4, 4, 2]
    assert found.significant.values.tolist() == [
        [False, True, True, False],
        [True, False, False, True],
        [True, False, False, True],
        [False, True, True, False],
    ]
    pair = tail.difference(x, "p0", "p1", q=0.95)
    at = found.sel(policy="p0", other="p1")
    assert at.difference.item() == pytest.approx(pair.estimate.item())
    assert at.difference_standard_error.item() == pytest.approx(pair.standard_error.item(), rel=0.1)
    # all pairs together need wider intervals than one pair alone
    assert at.difference_upper - at.difference > 1.96 * at.difference_standard_error
    high = tail.ranking(x, "expected_shortfall", q=0.95, good="high", tail="upper")
    assert high.rank_lower.values.tolist() == [3, 1, 1, 3]


def test_the_critical_value_of_independent_policies_is_the_studentised_range():
    x = outcome(np.random.default_rng(4).standard_normal((5, 4000)))
    found = tail.ranking(x, "mean")
    half = (found.difference_upper - found.difference) / found.difference_standard_error
    expected = studentized_range.ppf(0.95, 5, np.inf) / math.sqrt(2)
    assert half.values[0, 1] == pytest.approx(expected, rel=0.03)


def test_a_policy_without_an_error_leaves_the_others_told_apart():
    rng = np.random.default_rng(7)
    rows = rng.standard_normal((3, 400)) * 0.01 + [[0.0], [1.0], [2.0]]
    rows[2, 5] = math.inf
    found = tail.ranking(outcome(rows), "mean")
    assert np.isnan(found.difference_lower.values[2, :2]).all()
    assert found.significant.values.tolist()[0] == [False, True, False]


def test_equal_policies_share_their_ranks():
    row = np.random.default_rng(5).standard_normal(500)
    found = tail.ranking(outcome([row, row]), "mean")
    assert found.rank_lower.values.tolist() == [1, 1]
    assert found.rank_upper.values.tolist() == [2, 2]
    assert (found.difference_standard_error == 0).all()


def test_shares_without_a_path_that_differs_have_differences_with_a_width():
    hit = np.zeros((3, 1000))
    hit[:2, :20], hit[2, :200] = 1.0, 1.0
    found = tail.ranking(outcome(hit), "probability", above=0.5)
    # one in three of the miss: each side a sixth of it
    bound = 1 - (0.025 / 3) ** (1 / 1000)
    at = found.sel(policy="p0", other="p1")
    ends = [at[f"difference_{end}"].item() for end in ("lower", "upper")]
    assert ends == pytest.approx([-bound, bound], rel=1e-9)
    assert found.rank_lower.values.tolist() == [1, 1, 3]
    assert found.rank_upper.values.tolist() == [2, 2, 3]
    at = found.sel(policy="p2", other="p1")
    assert at.difference_lower.item() < at.difference.item() - 2 * at.difference_standard_error
    alone = tail.probability(outcome(hit), above=0.5)
    np.testing.assert_array_equal(found.lower, alone.lower)
    np.testing.assert_array_equal(found.upper, alone.upper)
    nothing = tail.ranking(outcome(0 * hit), "probability", above=0.5)
    assert not nothing.significant.any()
    assert nothing.upper.values == pytest.approx(1 - 0.025 ** (1 / 1000), rel=1e-9)


def test_quantiles_in_atoms_are_as_far_apart_as_their_own_intervals():
    # 1 on 25 and on 75 of 100 paths: the medians are 0 and 1, each in the midst of an atom
    rows = np.zeros((2, 100))
    rows[0, -25:], rows[1, -75:] = 1.0, 1.0
    x = outcome(rows)
    for level, ends in ((0.95, [-1, -1]), (1 - 1e-7, [-1, 1])):
        pair = tail.difference(x, "p0", "p1", "quantile", q=0.5, level=level)
        assert (pair.estimate.item(), pair.standard_error.item()) == (-1.0, 0.0)
        own = tail.quantile(x, 0.5, level=0.5 + level / 2)
        assert own.upper.values[0] - own.lower.values[1] == ends[1]
        assert [pair.lower.item(), pair.upper.item()] == ends
        found = tail.ranking(x, "quantile", q=0.5, level=level)
        assert found.significant.values[0, 1] == (ends[1] < 0)
        assert found.rank_upper.values.tolist() == ([1, 2] if ends[1] < 0 else [2, 2])


def test_shortfalls_in_atoms_cannot_be_told_apart():
    rows = np.zeros((2, 1000))
    rows[0, -50:], rows[1, -50:] = 5.0, 3.0
    pair = tail.difference(outcome(rows), "p0", "p1", q=0.98)
    assert pair.estimate.item() == pytest.approx(2.0)
    assert np.isnan([pair.standard_error, pair.lower, pair.upper]).all()
    found = tail.ranking(outcome(rows), q=0.98)
    assert not found.significant.any()
    assert found.rank_upper.values.tolist() == [2, 2]


def test_a_path_missing_under_one_policy_is_left_out_of_all():
    rows = np.random.default_rng(5).standard_normal((3, 500))
    rows[1, 7] = math.nan
    found = tail.ranking(outcome(rows), "mean")
    assert found.attrs["paths"] == 499
    assert found.estimate.values[0] == pytest.approx(np.delete(rows[0], 7).mean())


def test_simultaneous_intervals_hold_together():
    # 400 repeats: the share of repeats in which all ten pairs are covered
    rng = np.random.default_rng(6)
    held = 0
    for _ in range(400):
        common = rng.standard_normal(400)
        found = tail.ranking(outcome(common + 0.5 * rng.standard_normal((5, 400))), "mean")
        held += bool(((found.difference_lower <= 0) & (found.difference_upper >= 0)).all())
    assert abs(held / 400 - 0.95) < 4 * math.sqrt(0.05 * 0.95 / 400)


def test_conditional_mean_of_a_normal_pair():
    # E(x | y > c) = rho phi(c) / (1 - Phi(c))
    rng = np.random.default_rng(7)
    y, e = rng.standard_normal((2, 100_000))
    x = outcome([0.6 * y + 0.8 * e])
    given = outcome([y]).rename("severity")
    found = tail.conditional(x, given, given_above=1.0)
    expected = 0.6 * norm.pdf(1) / norm.sf(1)
    assert abs(found.estimate.item() - expected) < 4 * found.standard_error.item()
    assert found.paths.item() == np.count_nonzero(y > 1)
    assert found.missing.item() == 0
    assert found.attrs["given"] == "severity above 1"
    shortfall = tail.conditional(x, given, given_below=0.0, measure="expected_shortfall", q=0.9)
    plain = tail.expected_shortfall(x.isel(path=y < 0), 0.9)
    for name in ("estimate", "standard_error", "lower", "upper"):
        assert shortfall[name].item() == plain[name].item()


def test_conditional_probability_with_weights():
    # drawn at mean 1 instead of 0; P(x > 1 | x > 0) = 0.15865 / 0.5
    z = np.random.default_rng(8).standard_normal(60_000) + 1.0
    x = outcome(z, log_weight=("path", 0.5 - z))
    found = tail.conditional(x, x, given_above=0.0, measure="probability", above=1.0)
    assert abs(found.estimate.item() - norm.sf(1) / 0.5) < 4 * found.standard_error.item() < 0.05
    # the event always happens on it: the weights of the event cancel
    sure = tail.conditional(x, x, given_above=0.0, measure="probability", above=0.0)
    assert sure.estimate.item() == pytest.approx(1.0)
    assert sure.standard_error.item() == pytest.approx(0.0, abs=1e-12)


def test_weighted_shares_of_an_event_stay_within_0_and_1_and_have_a_width():
    # weights of the event: 1, 2, 3 over 6; 1 and 9 over 10; what weighs nothing is no hit
    weights = np.array([1.0, 2.0, 3.0, 1.0, 9.0, 0.0])
    with np.errstate(divide="ignore"):
        log_weight = np.log(weights)
    given = xr.DataArray([1.0, 1, 1, 0, 0, 1], dims="path")
    x = xr.DataArray(
        [[0, 0, 0, 1, 1, 1], [1, 1, 1, 0, 0, 0], [1, 0, 0, 0, 1, 0]],
        dims=("policy", "path"),
        coords={"log_weight": ("path", log_weight)},
    ) * 1.0  # fmt: skip
    found = tail.conditional(x, given, given_above=0.5, measure="probability", above=0.5)
    np.testing.assert_allclose(found.estimate, [0, 1, 1 / 6], rtol=1e-14)
    assert found.standard_error.values[:2].tolist() == [0, 0]
    # of three paths 3 (1 - .025^(1/3)) = 2.12 may have been missed: weights 3, 2 and .12 of 1
    bound = (5 + 3 * (1 - 0.025 ** (1 / 3)) - 2) / 6
    np.testing.assert_allclose(found.lower.values[:2], [0, 1 - bound], rtol=1e-12)
    np.testing.assert_allclose(found.upper.values[:2], [bound, 1], rtol=1e-12)
    # by hand: terms w (hit - 1/6) / mean(w), and the plain sample with their error
    terms = np.array([5 / 6, -1 / 3, -1 / 2, 0]) / 1.5
    error = terms.std(ddof=1) / 2
    count = 5 / 36 / error**2
    assert found.standard_error.values[2] == pytest.approx(error, rel=1e-12)
    ends = [found[end].values[2] for end in ("lower", "upper")]
    assert ends == pytest.approx(clopper_pearson(count / 6, count, 0.95), rel=1e-9)
    assert 1 / 6 - norm.ppf(0.975) * error < 0 < ends[0] < 1 / 6 < ends[1] < 1
    nothing = tail.conditional(x, x[0], given_above=2.0, measure="probability", above=0.5)
    assert np.isnan(nothing.upper).all()


def test_an_event_of_weight_nothing_has_no_share():
    x = xr.DataArray(
        [1.0, 0, 1, 0],
        dims="path",
        coords={"log_weight": ("path", np.array([-np.inf, -np.inf, 0.5, 0.5]))},
    )
    given = xr.DataArray([1.0, 1, 0, 0], dims="path")
    found = tail.conditional(x, given, given_above=0.5, measure="probability", above=0.5)
    assert (found.paths.item(), math.isnan(found.estimate.item())) == (2, True)


def test_weighted_necessity_and_codepeg_are_bounded_alike():
    log_weight = ("path", np.log([0.5, 1.5, 1.0, 1.0]))
    x = {(): [0.0] * 4, ("a",): [1.0, 1, 0, 0]}
    x |= {("b",): [0.0] * 4, ("a", "b"): [1.0, 1, 0, 0]}
    game = {
        frozenset(names): xr.DataArray(row, dims="path", coords={"log_weight": log_weight})
        for names, row in x.items()
    }
    found = attribution.necessary_and_sufficient(game, above=0.5)
    assert found.necessary.values.tolist() == [1, 0]
    # two paths of weights .5 and 1.5: 2 (1 - .025^.5) = 1.68 of them may have been missed
    bound = (1.5 + 0.5 * (2 * (1 - 0.025**0.5) - 1)) / 2
    np.testing.assert_allclose(found.necessary_lower, [1 - bound, 0], rtol=1e-12)
    np.testing.assert_allclose(found.necessary_upper, [1, bound], rtol=1e-12)
    minutes = xr.DataArray(
        np.array([[1.0, 1, 0, 0], [0, 0, 1, 0]])[:, :, None],
        dims=("peg", "path", "threshold"),
        coords={"peg": ["a", "b"], "threshold": [0.95], "log_weight": log_weight},
    )
    found = systemic.co_depeg(minutes)
    assert found.estimate.sel(peg="b", given="a").item() == 0
    assert found.upper.sel(peg="b", given="a").item() == pytest.approx(bound, rel=1e-12)


def test_a_condition_of_fewer_dimensions_holds_for_all_and_nan_is_missing():
    x = xr.DataArray(np.arange(24.0).reshape(2, 3, 4), dims=("policy", "market", "path"))
    given = xr.DataArray([1.0, -1.0, 1.0, math.nan], dims="path")
    found = tail.conditional(x, given, given_above=0)
    assert found.estimate.values[0].tolist() == [1.0, 5.0, 9.0]
    assert (found.paths == 2).all()
    assert (found.missing == 1).all()
    with pytest.raises(ConfigError, match="the condition has the dimensions"):
        tail.conditional(given, x, given_above=0)
    with pytest.raises(ConfigError, match="exactly one"):
        tail.conditional(x, given)


def test_a_convergence_curve_ends_at_the_whole_sample():
    x = outcome(np.random.default_rng(9).standard_normal((2, 5000)))
    found = tail.convergence(x, q=0.99, points=7)
    assert found.first_paths.values.tolist() == [100, 192, 368, 707, 1357, 2605, 5000]
    whole = tail.expected_shortfall(x, 0.99)
    last = found.isel(first_paths=-1)
    np.testing.assert_array_equal(last.estimate, whole.estimate)
    assert found["thin"].values.tolist() == [True] * 4 + [False] * 3
    part = tail.mean(x.isel(path=slice(368)))
    curve = tail.convergence(x, "mean", points=7)
    np.testing.assert_array_equal(curve.estimate.sel(first_paths=368), part.estimate)
    with pytest.raises(RunError, match="50 paths"):
        tail.convergence(x.isel(path=slice(50)), "mean")


def test_other_dimensions_are_refused():
    x = xr.DataArray(np.zeros((2, 3, 4)), dims=("policy", "market", "path"))
    with pytest.raises(ConfigError, match="exactly 'policy' and 'path'"):
        tail.ranking(x, "mean", good="low")
    with pytest.raises(ConfigError, match="good is 'least'"):
        tail.ranking(outcome(np.zeros((2, 10))), "mean", good="least")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert batched(outcome(np.zeros((2, 10))), ExpectedShortfall(0.5)).paths == 10
