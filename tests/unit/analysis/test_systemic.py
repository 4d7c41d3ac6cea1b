"""Systemic measures against closed forms, most of a normal pair, and tables worked by hand."""

import math

import numpy as np
import pytest
import xarray as xr
from scipy.optimize import brentq
from scipy.stats import multivariate_normal, norm

import deleverage as dl
from deleverage.analysis import systemic, tail
from deleverage.errors import ConfigError

RHO = 0.6
REPEATS = 400


def both_above(a, b):
    """P(x > a, g > b) of the normal pair."""
    return multivariate_normal([0, 0], [[1, RHO], [RHO, 1]]).cdf([-a, -b])


def quantile_given(q, low, high):
    """The quantile of x where g lies between two values."""
    share = norm.cdf(high) - norm.cdf(low)
    far = 50.0

    def beyond(a):
        upper = both_above(a, high) if high < far else 0.0
        return (both_above(a, low) - upper) / share - (1 - q)

    return brentq(beyond, -5, 8)


@pytest.fixture(scope="module")
def pairs():
    """Repeats of 4,000 paths of the pair, where a market would stand."""
    g, e = np.random.default_rng(11).standard_normal((2, REPEATS, 4000))
    x = RHO * g + math.sqrt(1 - RHO**2) * e
    return tuple(xr.DataArray(one, dims=("repeat", "path")) for one in (x, g))


def assert_estimates(found, truth):
    """Unbiased within four errors and 1% (a ratio of ranks), and its interval covers."""
    mean, spread = float(found.estimate.mean()), float(found.estimate.std(ddof=1))
    assert abs(mean - truth) < 4 * spread / math.sqrt(REPEATS) + 0.01 * abs(truth)
    assert float(found.standard_error.mean()) == pytest.approx(spread, rel=0.15)
    covered = float(((found.lower <= truth) & (truth <= found.upper)).mean())
    assert abs(covered - 0.95) < 4 * math.sqrt(0.05 * 0.95 / REPEATS)


def test_covar_of_a_normal_pair(pairs):
    x, g = pairs
    truth = quantile_given(0.9, norm.ppf(0.9), 60.0)
    assert_estimates(systemic.covar(x, g, q=0.9), truth)
    lower = systemic.covar(-x, -g, q=0.9, tail="lower")
    np.testing.assert_allclose(lower.estimate, -systemic.covar(x, g, q=0.9).estimate)


def test_delta_covar_of_a_normal_pair(pairs):
    truth = quantile_given(0.9, norm.ppf(0.9), 60.0) - quantile_given(
        0.9, norm.ppf(0.25), norm.ppf(0.75)
    )
    assert_estimates(systemic.delta_covar(*pairs, q=0.9), truth)


def test_marginal_expected_shortfall_of_a_normal_pair(pairs):
    # E(x | g > v) = rho phi(v) / (1 - p)
    truth = RHO * norm.pdf(norm.ppf(0.95)) / 0.05
    assert_estimates(systemic.marginal_expected_shortfall(*pairs, q=0.95), truth)


def test_marginal_shortfalls_add_up_to_the_shortfall_of_the_sum():
    rng = np.random.default_rng(12)
    x = xr.DataArray(
        rng.exponential(size=(2, 1000, 3)), dims=("policy", "path", "venue"), attrs={"units": "USD"}
    )
    found = systemic.marginal_expected_shortfall(x, dim="venue", q=0.95)
    whole = tail.expected_shortfall(x.sum("venue"), 0.95)
    assert found.estimate.dims == ("policy", "venue")
    np.testing.assert_allclose(found.estimate.sum("venue"), whole.estimate)
    assert found.estimate.attrs["units"] == "USD"


COUPLING = np.array([[1.0, 0.6, 0.0], [0.6, 1.0, 0.3], [0.0, 0.3, 1.0]])
SCALE = np.array([1.0, 2.0, 0.5])


@pytest.fixture(scope="module")
def venues():
    """Losses of three venues, jointly normal, under two policies; the second doubles them."""
    draws = np.random.default_rng(14).standard_normal((40_000, 3))
    losses = draws @ np.linalg.cholesky(COUPLING).T * SCALE
    return xr.DataArray(
        np.stack([losses, 2 * losses]),
        dims=("policy", "path", "venue"),
        coords={"policy": ["a", "b"], "venue": ["x", "y", "z"]},
        attrs={"units": "million USD"},
    )


@pytest.mark.parametrize("measure", ["covar", "delta_covar", "marginal_expected_shortfall"])
def test_all_pairs_of_a_normal_law(venues, measure, monkeypatch):
    found = systemic.all_pairs(venues.chunk(path=10_000), "venue", measure, q=0.9)
    assert found.estimate.dims == ("policy", "given_venue", "venue")
    assert found.estimate.attrs["units"] == "million USD"
    worst = norm.ppf(0.9)
    for i in range(3):
        for j in range(3):
            rho = min(COUPLING[i, j], 1 - 1e-9)
            monkeypatch.setattr(f"{__name__}.RHO", rho)
            if measure == "marginal_expected_shortfall":
                truth = rho * norm.pdf(worst) / 0.1
            else:
                truth = quantile_given(0.9, worst, 60.0)
                if measure == "delta_covar":
                    truth -= quantile_given(0.9, norm.ppf(0.25), norm.ppf(0.75))
            pair = found.sel(policy="a").isel(given_venue=i, venue=j)
            off = abs(pair.estimate.item() - truth * SCALE[j])
            assert off < 4 * pair.standard_error.item() + 1e-6, (i, j)
            assert pair.standard_error.item() < 0.06 * SCALE[j]
    np.testing.assert_allclose(found.estimate[1], 2 * found.estimate[0], rtol=1e-12)
    alone = getattr(systemic, measure)(venues[:, :, 1], venues[:, :, 0], q=0.9)
    pair = found.sel(given_venue="x", venue="y")
    np.testing.assert_array_equal(pair.standard_error, alone.standard_error)
    np.testing.assert_array_equal(pair.lower, alone.lower)


def test_all_pairs_hold_one_policy_in_memory_at_a_time(venues, monkeypatch):
    from deleverage.analysis import all_pairs

    seen = []
    matrix = all_pairs._matrix
    monkeypatch.setattr(
        all_pairs, "_matrix", lambda x, *rest: (seen.append(x.shape), matrix(x, *rest))[1]
    )
    systemic.all_pairs(venues, "venue", "marginal_expected_shortfall", q=0.9)
    assert seen == [(1, 40_000, 3)] * 2
    found = systemic.all_pairs(venues[0, :100], "venue", "covar", q=0.5)
    assert found.estimate.dims == ("given_venue", "venue")


def test_all_pairs_refuse_what_they_are_not():
    x = xr.DataArray(np.zeros((10, 2)), dims=("path", "venue"))
    with pytest.raises(ConfigError, match="must be one of venue"):
        systemic.all_pairs(x, "asset")
    with pytest.raises(ConfigError, match="must be covar, delta_covar or"):
        systemic.all_pairs(x, "venue", "var")
    with pytest.raises(ConfigError, match="one level; give it as q"):
        systemic.all_pairs(x, "venue", "marginal_expected_shortfall", p=0.9)
    noise = x + np.random.default_rng(0).standard_normal((10, 2))
    with pytest.warns(tail.ThinTailWarning, match=r"CoVaR of some pairs at levels 0\.7 and 0\.7"):
        systemic.all_pairs(noise, "venue", "covar", q=0.7)


def test_importance_weights_reach_the_same_covar():
    rng = np.random.default_rng(13)
    g = rng.standard_normal(60_000) + 1.5
    x = RHO * g + math.sqrt(1 - RHO**2) * rng.standard_normal(60_000)
    weight = ("path", 1.5**2 / 2 - 1.5 * g)
    x, g = (xr.DataArray(one, dims="path", coords={"log_weight": weight}) for one in (x, g))
    found = systemic.covar(x, g, q=0.9, p=0.99)
    truth = quantile_given(0.9, norm.ppf(0.99), 60.0)
    assert abs(found.estimate.item() - truth) < 4 * found.standard_error.item() < 0.3
    mean = systemic.marginal_expected_shortfall(x, g, q=0.99)
    truth = RHO * norm.pdf(norm.ppf(0.99)) / 0.01
    assert abs(mean.estimate.item() - truth) < 4 * mean.standard_error.item() < 0.2


def test_too_few_joint_points_warn():
    x = xr.DataArray(np.random.default_rng(0).standard_normal(1000), dims="path")
    with pytest.warns(tail.ThinTailWarning, match=r"CoVaR at levels 0\.95 and 0\.95 rests on 2\.5"):
        systemic.covar(x, x, q=0.95)


def test_co_depeg_by_hand():
    # ten paths: a breaks on 0..3, b on 2..5, c never
    minutes = np.zeros((10, 3, 2))
    minutes[:4, 0], minutes[2:6, 1] = 5.0, 1.0
    x = xr.DataArray(
        minutes,
        dims=("path", "peg", "threshold"),
        coords={"peg": ["a", "b", "c"], "threshold": [0.99, 0.95]},
    )
    found = systemic.co_depeg(x, 0.95)
    expected = [[1, 0.5, np.nan], [0.5, 1, np.nan], [0, 0, np.nan]]
    np.testing.assert_array_equal(found.estimate, expected)
    assert found.alone.values.tolist() == [0.4, 0.4, 0.0]
    assert found.alone_upper.values[2] == pytest.approx(1 - 0.025**0.1)
    at = found.sel(peg="c", given="a")
    assert (at.paths.item(), at.estimate.item()) == (4, 0.0)
    assert at.upper.item() == pytest.approx(1 - 0.025**0.25)
    with pytest.raises(ConfigError, match=r"stored are 0\.99, 0\.95"):
        systemic.co_depeg(x, 0.9)


def test_herfindahl_by_hand():
    # means 3 and 1: shares 3/4 and 1/4, index 10/16
    rng = np.random.default_rng(14)
    noise = rng.standard_normal((400, 2, 1000))
    amounts = xr.DataArray(np.array([[3.0], [1.0]]) + noise, dims=("repeat", "asset", "path"))
    assert_estimates(systemic.herfindahl(amounts), 10 / 16)
    even = xr.DataArray(np.ones((4, 10)), dims=("asset", "path"))
    assert systemic.herfindahl(even).estimate.item() == 0.25
    one = xr.DataArray(np.r_[np.ones((1, 10)), np.zeros((3, 10))], dims=("asset", "path"))
    assert systemic.herfindahl(one).estimate.item() == 1.0
    assert np.isnan(systemic.herfindahl(0 * even).estimate.item())


def test_independent_channels_by_hand():
    # correlation 0.6 between two: 4 / (2 + 2 * 0.36)
    draws = np.random.default_rng(15).multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]], (400, 1000))
    channels = xr.DataArray(draws, dims=("repeat", "path", "channel"))
    assert_estimates(systemic.independent_channels(channels), 4 / 2.72)
    row = np.random.default_rng(16).standard_normal((4, 50_000))
    independent = systemic.independent_channels(xr.DataArray(row, dims=("channel", "path")))
    assert independent.estimate.item() == pytest.approx(4, abs=0.01)
    same = xr.DataArray(np.stack([row[0], 3 * row[0] + 1, 0 * row[0]]), dims=("channel", "path"))
    assert systemic.independent_channels(same).estimate.item() == pytest.approx(1)


def test_channels_are_named_variables_of_a_run():
    rows = np.random.default_rng(17).standard_normal((2, 2, 1000, 3))
    ds = xr.Dataset(
        {
            "fund": (("policy", "path"), rows[0, ..., 0]),
            "adl": (("policy", "path", "venue"), rows[1]),
        }
    )
    found = systemic.independent_channels(ds, ["fund", "adl"])
    np.testing.assert_allclose(found.estimate, 2, atol=0.02)
    with pytest.raises(ConfigError, match="'top_up' is not stored"):
        systemic.independent_channels(ds, ["fund", "top_up"])


def test_distribution_and_supercritical_paths():
    r = xr.DataArray(np.arange(1.0, 101.0) / 100, dims="path", name="reproduction_number")
    found = systemic.distribution(r, (0.25, 0.5, 0.75))
    assert found.estimate.values.tolist() == [0.25, 0.5, 0.75]
    assert found.q.values.tolist() == [0.25, 0.5, 0.75]
    assert (found.lower < found.estimate).all()
    chance = systemic.supercritical_probability(r)
    assert chance.estimate.item() == 0.5
    assert 0.39 < chance.lower.item() < 0.41


def test_it_has_a_public_name():
    assert dl.systemic is systemic
