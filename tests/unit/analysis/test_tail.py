"""Tail measures against values worked by hand and against closed forms."""

import math
import warnings

import numpy as np
import pytest
import xarray as xr
from scipy.stats import binom, norm

from deleverage.analysis import order_statistics, tail
from deleverage.analysis.shares import clopper_pearson
from deleverage.errors import ConfigError, RunError

DAMAGED = 17


def outcome(rows, policies=None, **coords):
    rows = np.atleast_2d(np.asarray(rows))
    names = policies or [f"p{i}" for i in range(rows.shape[0])]
    return xr.DataArray(
        rows, dims=("policy", "path"), coords={"policy": names, **coords}, name="bad_debt"
    )


@pytest.fixture
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tail.ThinTailWarning)
        yield


@pytest.mark.parametrize(
    ("q", "expected"),
    [(0.5, 5), (0.51, 6), (0.9, 9), (0.91, 10), (0.07, 1), (0.1, 1), (0.999, 10)],
)
@pytest.mark.usefixtures("quiet")
def test_quantile_is_the_lower_order_statistic(q, expected):
    x = outcome(np.random.default_rng(0).permutation(np.arange(1.0, 11.0)))
    assert tail.quantile(x, q).estimate.item() == expected


def test_a_rank_that_only_rounding_raises_stays():
    assert order_statistics.rank(100, 0.07) == 7  # 100 * 0.07 is 7.000000000000001


@pytest.mark.parametrize(("count", "q"), [(1000, 0.5), (1000, 0.99), (37, 0.9), (20, 0.05)])
def test_interval_ranks_hold_the_level_and_are_the_tightest(count, q):
    first, last = order_statistics.interval_ranks(count, q, 0.95)
    assert binom.cdf(first - 1, count, q) <= 0.025 < binom.cdf(first, count, q)
    assert binom.sf(last - 1, count, q) <= 0.025 < binom.sf(last - 2, count, q)


@pytest.mark.usefixtures("quiet")
def test_a_side_that_the_sample_cannot_bound_is_infinite():
    found = tail.quantile(outcome(np.arange(20.0)), 0.99)
    assert found.upper.item() == math.inf
    assert found.lower.item() == 18.0


@pytest.mark.parametrize("count", [20, 100, 365, 375, 1000])
@pytest.mark.parametrize("coords", ["weighted", "in blocks"])
@pytest.mark.usefixtures("quiet")
def test_ends_are_infinite_where_those_of_as_many_plain_paths_are(count, coords):
    values = np.random.default_rng(0).permutation(np.arange(1.0 * count))
    # 0.99^n is the chance that all lie below the quantile: 2.5% at 367 paths. Of blocks it takes
    # 371, whose error has 370 degrees of freedom: 370 (1.95996 / 1.96640)^2 = 367.6.
    nearly_one = {"log_weight": ("path", np.full(count, 1e-12))}
    each = {"draw_block": ("path", np.arange(count))}
    kind = nearly_one if coords == "weighted" else each
    for sign, q in ((1, 0.99), (-1, 0.01)):
        plain = tail.quantile(outcome(sign * values), q)
        found = tail.quantile(outcome(sign * values, **kind), q)
        for end in ("lower", "upper"):
            assert np.isinf(found[end].item()) == np.isinf(plain[end].item()), end
    assert math.isinf(plain.lower.item()) == (count < 367)


@pytest.mark.usefixtures("quiet")
def test_a_single_heavy_path_bounds_no_quantile_beyond_the_others():
    # one path of 200 weighs as much as 20: beyond the others lies what it alone tells
    weights = np.r_[np.full(199, 180 / 199), 20.0]
    found = tail.quantile(outcome(np.arange(200.0), log_weight=("path", np.log(weights))), 0.95)
    assert found.estimate.item() == 199.0
    assert found.upper.item() == math.inf
    assert 0 <= found.lower.item() < 199


@pytest.mark.parametrize("q", [0.05, 0.95])
@pytest.mark.usefixtures("quiet")
def test_paths_that_all_weigh_nothing_bound_no_quantile(q):
    found = tail.quantile(outcome(np.arange(50.0), log_weight=("path", np.full(50, -np.inf))), q)
    assert (found.lower.item(), found.upper.item()) == (-math.inf, math.inf)


@pytest.mark.parametrize("q", [0.05, 0.95])
def test_a_weighted_sample_that_is_one_atom_is_its_own_interval(q):
    log_weight = np.random.default_rng(0).standard_normal(2000) * 0.5 - 0.125
    found = tail.quantile(outcome(np.full(2000, 3.0), log_weight=("path", log_weight)), q)
    assert found.lower.item() == found.estimate.item() == found.upper.item() == 3.0


@pytest.mark.parametrize(
    ("q", "expected"),
    # 10 values: the worst 30%; the worst 25% with half of the third; the worst 5%, half a value
    [(0.7, (10 + 9 + 8) / 3), (0.75, (10 + 9 + 0.5 * 8) / 2.5), (0.95, 10.0)],
)
@pytest.mark.usefixtures("quiet")
def test_expected_shortfall_weighs_the_boundary_value(q, expected):
    x = outcome(np.random.default_rng(1).permutation(np.arange(1.0, 11.0)))
    upper = tail.expected_shortfall(x, q)
    lower = tail.expected_shortfall(-x, q, tail="lower")
    assert upper.estimate.item() == pytest.approx(expected, rel=1e-14)
    assert lower.estimate.item() == pytest.approx(-expected, rel=1e-14)
    errors = [side.standard_error.item() for side in (lower, upper)]
    assert errors[0] == pytest.approx(errors[1], rel=1e-14, nan_ok=True)  # none of half a value


def test_shortfall_error_from_the_tail_alone_equals_that_of_all_influences():
    x = outcome(np.random.default_rng(2).standard_normal(5000))
    found = tail.expected_shortfall(x, 0.97)
    var = np.sort(x.values[0])[4849]
    influence = np.maximum(x.values[0] - var, 0) / 0.03
    assert found.standard_error.item() == pytest.approx(
        influence.std(ddof=1) / math.sqrt(5000), rel=1e-12
    )
    assert found.estimate.item() == pytest.approx(var + influence.mean(), rel=1e-12)


def test_the_clopper_pearson_table():
    # Brown, Cai, DasGupta 2001; at 0 hits the end is 1 - 0.025^(1/n)
    assert clopper_pearson(0, 20, 0.95) == pytest.approx((0.0, 1 - 0.025 ** (1 / 20)), rel=1e-12)
    assert clopper_pearson(20, 20, 0.95) == pytest.approx((0.025 ** (1 / 20), 1.0), rel=1e-12)
    low, high = clopper_pearson(4, 10, 0.95)
    assert binom.sf(3, 10, low) == pytest.approx(0.025, rel=1e-9)
    assert binom.cdf(4, 10, high) == pytest.approx(0.025, rel=1e-9)


def test_probability_is_strict_on_both_sides():
    x = outcome([0.0, 0.0, 1.0, 2.0])
    assert tail.probability(x, above=0).estimate.item() == 0.5
    assert tail.probability(x, below=0).estimate.item() == 0.0
    assert tail.probability(x, above=1).standard_error.item() == math.sqrt(0.25 * 0.75 / 4)


def test_mean_and_its_error():
    x = outcome(np.arange(100.0, dtype=np.float32))
    found = tail.mean(x)
    assert found.estimate.item() == 49.5
    assert found.standard_error.item() == pytest.approx(np.std(np.arange(100), ddof=1) / 10)


def test_ratio_of_means_and_its_error():
    # 2 over 4; the terms (n - d / 2) / 4 are 1/8 and -1/8
    above, below = outcome([2.0, 2.0]), outcome([3.0, 5.0])
    found = tail.ratio_of_means(above, below)
    assert found.estimate.item() == 0.5
    assert found.standard_error.item() == pytest.approx(0.125, rel=1e-14)
    assert found.lower.item() == pytest.approx(0.5 - norm.ppf(0.975) * 0.125, rel=1e-14)
    assert found.estimate.attrs["units"] == "1"
    assert tail.ratio_of_means(below, below).standard_error.item() == 0.0


def test_the_difference_of_two_ratios_is_paired_path_by_path():
    # a: 2 over 4, terms (n - d / 2) / 4 = 1/8, -1/8; b: 3 over 4, terms (n - 3 d / 4) / 4 =
    # (3 - 9/4) / 4, (3 - 15/4) / 4 = 3/16, -3/16; the difference has the terms -1/16, 1/16
    above = outcome([[2.0, 2.0], [3.0, 3.0]], ["a", "b"])
    below = outcome([[3.0, 5.0], [3.0, 5.0]], ["a", "b"])
    found = tail.difference_of_ratios(above, below, "a", "b")
    assert found.estimate.item() == -0.25
    assert found.standard_error.item() == pytest.approx(1 / 16, rel=1e-14)
    assert found.attrs["policies"] == "a - b"
    missing = outcome([[2.0, np.nan, 2.0], [3.0, 9.0, 3.0]], ["a", "b"])
    below = outcome([[3.0, 4.0, 5.0], [3.0, 1.0, 5.0]], ["a", "b"])
    found = tail.difference_of_ratios(missing, below, "a", "b")
    assert (found.estimate.item(), found.paths.item()) == (-0.25, 2)


def test_a_ratio_honours_the_weights():
    weights = {"log_weight": ("path", np.log([0.5, 1.0, 1.5]))}
    found = tail.ratio_of_means(outcome([1.0, 2, 3], **weights), outcome([2.0, 2, 2], **weights))
    assert found.estimate.item() == pytest.approx((0.5 + 2 + 4.5) / 6, rel=1e-14)
    terms = np.array([0.5, 1, 1.5]) * (np.array([1, 2, 3]) - 7 / 3) / 2
    assert found.standard_error.item() == pytest.approx(terms.std(ddof=1) / math.sqrt(3))


def test_a_ratio_to_nothing_is_what_was_asked_for():
    nothing = outcome(np.zeros(5))
    assert math.isnan(tail.ratio_of_means(nothing + 1, nothing).estimate.item())
    found = tail.ratio_of_means(nothing, nothing, at_zero=0.0)
    assert (found.estimate.item(), found.standard_error.item()) == (0.0, 0.0)


def test_a_ratio_leaves_out_paths_missing_in_either():
    found = tail.ratio_of_means(outcome([1.0, math.nan, 3, 4]), outcome([2.0, 2, math.nan, 6]))
    assert (found.paths.item(), found.missing.item()) == (2, 2)
    assert found.estimate.item() == 5 / 8


def test_a_ratio_broadcasts_dims_and_refuses_other_labels():
    x = outcome(np.arange(8.0).reshape(2, 4) + 1)
    by_market = x.expand_dims(market=["a", "b"])
    found = tail.ratio_of_means(by_market, x.assign_attrs(units="million USD"))
    assert (found.estimate == 1.0).all()
    assert found.estimate.sizes == {"market": 2, "policy": 2}
    assert found.estimate.attrs["units"] == "1 / million USD"
    with pytest.raises(ConfigError, match="do not have the same labels"):
        tail.ratio_of_means(x, x.isel(policy=[0]))


def test_a_float32_sum_is_taken_in_float64():
    x = outcome(np.full(2_000_000, 0.1, dtype=np.float32))
    assert tail.mean(x).estimate.item() == pytest.approx(float(np.float32(0.1)), rel=1e-14)


@pytest.mark.parametrize("value", [0.0, -0.0, 3.5])
def test_a_constant_sample_has_no_error(value):
    x = outcome(np.full(2000, value))
    for found in (tail.quantile(x, 0.99), tail.expected_shortfall(x, 0.99), tail.mean(x)):
        assert found.estimate.item() == value
        assert math.copysign(1.0, found.estimate.item()) == 1.0
        assert found.standard_error.item() == 0.0
        assert found.lower.item() == found.upper.item() == value


def test_a_quantile_inside_an_atom_has_no_error():
    x = outcome(np.r_[np.zeros(1900), np.arange(1.0, 101.0)])
    assert tail.quantile(x, 0.5).standard_error.item() == 0.0
    assert tail.quantile(x, 0.97).standard_error.item() > 0.0


def test_missing_values_are_counted_and_left_out():
    values = np.arange(100.0)
    values[[3, 50]] = np.nan
    found = tail.mean(outcome([values, np.full(100, np.nan)]))
    assert found.paths.values.tolist() == [98, 0]
    assert found.missing.values.tolist() == [2, 100]
    assert found.estimate.values[0] == np.nanmean(values)
    assert np.isnan(found.estimate.values[1])
    assert "102 of 200 values are missing" in found.attrs["missing"]
    assert "missing" not in tail.mean(outcome(np.arange(100.0))).attrs


def test_flagged_paths_are_used_and_counted():
    status = np.zeros((2, 100), dtype=np.uint8)
    status[1, :DAMAGED] = 4
    status[0, 0] = 128  # a block that was not run
    values = np.tile(np.arange(100.0), (2, 1))
    x = outcome(values, status=(("policy", "path"), status))
    wide = x.expand_dims(market=["a", "b", "c"], axis=1)
    found = tail.mean(wide)
    assert found.flagged.dims == ("policy", "market")
    assert found.flagged.values.tolist() == [[0] * 3, [DAMAGED] * 3]
    assert (found.estimate == 49.5).all()
    assert tail.difference(x, "p0", "p1", measure="mean").flagged.item() == DAMAGED


def test_other_dimensions_and_labels_are_kept():
    x = xr.DataArray(
        np.random.default_rng(0).random((2, 500, 3)).astype(np.float32),
        dims=("policy", "path", "market"),
        coords={"policy": ["a", "b"], "market": ["x", "y", "z"], "haircut": ("policy", [0, 5])},
        attrs={"units": "1"},
    )
    found = tail.quantile(x, 0.9)
    assert found.estimate.dims == ("policy", "market")
    assert found.haircut.values.tolist() == [0, 5]
    assert found.estimate.attrs["units"] == "1"
    assert found.attrs["q"] == 0.9
    assert found.attrs["measure"] == "quantile"
    alone = tail.quantile(x.isel(policy=1, market=2), 0.9)
    assert alone.estimate.dims == ()
    assert alone.estimate.item() == found.estimate.values[1, 2]


@pytest.mark.parametrize("chunk", [1, 2, 5])
def test_chunks_and_reading_row_by_row_change_nothing(chunk, monkeypatch):
    x = xr.DataArray(
        np.random.default_rng(0).random((5, 3, 400)), dims=("policy", "market", "path")
    )
    whole = tail.expected_shortfall(x, 0.9)
    monkeypatch.setattr("deleverage.analysis.samples.BLOCK_BYTES", 20_000)
    parts = tail.expected_shortfall(x.chunk(policy=chunk, path=100), 0.9)
    xr.testing.assert_identical(whole, parts)


@pytest.mark.parametrize(
    "measure",
    [
        {"measure": "mean"},
        {"measure": "quantile", "q": 0.9},
        {"measure": "expected_shortfall", "q": 0.9},
        {"measure": "probability", "above": 1.0},
    ],
    ids=lambda arguments: arguments["measure"],
)
def test_a_paired_difference_is_that_of_the_measures_with_a_smaller_error(measure):
    rng = np.random.default_rng(3)
    common = rng.standard_normal(4000)
    x = outcome(
        [common + 0.1 * rng.standard_normal(4000), common, common], ["a", "baseline", "same"]
    )
    found = tail.difference(x, "a", "baseline", **measure)
    arguments = {key: value for key, value in measure.items() if key != "measure"}
    apart = getattr(tail, measure["measure"])(x, **arguments)
    expected = apart.estimate.sel(policy="a") - apart.estimate.sel(policy="baseline")
    assert found.estimate.item() == pytest.approx(expected.item(), abs=1e-12)
    independent = math.hypot(*apart.standard_error.sel(policy=["a", "baseline"]).values)
    assert 0 < found.standard_error.item() < 0.5 * independent
    assert found.attrs["policies"] == "a - baseline"
    same = tail.difference(x, "same", "baseline", **measure)
    assert same.estimate.item() == 0.0
    assert same.standard_error.item() == 0.0
    if measure["measure"] == "probability":  # equal on all paths is not equal for certain
        bound = 1 - 0.025 ** (1 / 4000)
        assert same.upper.item() == pytest.approx(bound, rel=1e-12)
        assert same.lower.item() == pytest.approx(-bound, rel=1e-12)


def test_a_pair_missing_on_one_side_is_left_out_of_both():
    a, b = np.arange(100.0), np.arange(100.0)
    a[:10] = np.nan
    found = tail.difference(outcome([a, b]), "p0", "p1", measure="mean")
    assert found.estimate.item() == 0.0
    assert (found.paths.item(), found.missing.item()) == (90, 10)


@pytest.mark.usefixtures("quiet")
def test_importance_weights_reach_the_closed_form():
    # validation.md: P(Z < -4) at mean shift -4; variance ratio 6999 against crude sampling
    count = 200_000
    z = np.random.default_rng(11).standard_normal(count) - 4.0
    x = outcome(z, log_weight=("path", 4.0 * z + 8.0))
    found = tail.probability(x, below=-4)
    probability, ratio = 3.167124e-5, 6999
    exact_error = math.sqrt(probability * (1 - probability) / ratio / count)
    assert abs(found.estimate.item() - probability) < 4 * exact_error
    assert found.standard_error.item() == pytest.approx(exact_error, rel=0.02)
    low = tail.quantile(x, probability)
    assert abs(low.estimate.item() + 4) < 4 * low.standard_error.item() < 0.02
    assert low.lower.item() < low.estimate.item() < low.upper.item()
    shortfall = tail.expected_shortfall(x, 1 - probability, tail="lower")
    exact = -norm.pdf(4) / norm.cdf(-4)
    assert abs(shortfall.estimate.item() - exact) < 4 * shortfall.standard_error.item() < 0.02


def test_weights_of_one_are_no_weights():
    z = np.random.default_rng(0).standard_normal(2000)
    plain, weighted = outcome(z), outcome(z, log_weight=("path", np.zeros(2000)))
    xr.testing.assert_identical(
        tail.quantile(plain, 0.9),
        tail.quantile(weighted, 0.9).drop_attrs().assign_attrs(tail.quantile(plain, 0.9).attrs),
    )


@pytest.mark.parametrize("q", [0.02, 0.5, 0.975])
def test_nearly_equal_weights_give_nearly_the_plain_measures(q):
    z = np.random.default_rng(0).standard_normal(20_000)
    z[:50] = z[50:100]  # ties
    plain, weighted = outcome(z), outcome(z, log_weight=("path", np.full(20_000, 1e-12)))
    one, other = tail.quantile(plain, q), tail.quantile(weighted, q)
    assert one.estimate.item() == other.estimate.item()
    assert other.standard_error.item() == pytest.approx(one.standard_error.item(), rel=0.02)
    for side in ("lower", "upper"):
        width = 2 * one.standard_error.item()
        assert abs(one[side].item() - other[side].item()) < 0.15 * width
    one, other = (tail.expected_shortfall(x, q) for x in (plain, weighted))
    for name in ("estimate", "standard_error", "lower", "upper"):
        assert other[name].item() == pytest.approx(one[name].item(), rel=1e-8)


def test_where_nothing_weighted_was_hit_the_heaviest_paths_may_have_been_missed():
    # of 100 paths 1 - .025^.01 = 3.622 may have been: weights 5, 4, 3 and .622 of 1
    weights = np.r_[5.0, 4.0, 3.0, np.ones(97)]
    x = outcome(np.arange(100.0), log_weight=("path", np.log(weights)))
    upper = (12 + 100 * (1 - 0.025**0.01) - 3) / 100
    found = tail.probability(x, above=100)
    ends = [found[name].item() for name in ("estimate", "standard_error", "lower", "upper")]
    assert ends == pytest.approx([0, 0, 0, upper], rel=1e-12)
    # what was hit always may be missed as rarely, however much weight was drawn
    found = tail.probability(x, above=-1)
    assert found.estimate.item() == pytest.approx(1.09, rel=1e-12)
    ends = [found[name].item() for name in ("lower", "upper")]
    assert ends == pytest.approx([1 - upper, 1], rel=1e-12)
    few = tail.probability(outcome([1.0, 2.0], log_weight=("path", [3.0, 3.0])), above=10)
    assert few.upper.item() == 1.0
    plain = tail.probability(outcome(np.arange(100.0)), above=100)
    assert plain.upper.item() == pytest.approx(1 - 0.025**0.01, rel=1e-12)


def test_a_thin_tail_warns():
    x = outcome(np.random.default_rng(0).standard_normal(900))
    for call in (tail.quantile, tail.expected_shortfall):
        with pytest.warns(tail.ThinTailWarning, match="rests on 9 points"):
            assert "thin_tail" in call(x, 0.99).attrs
    with pytest.warns(tail.ThinTailWarning):
        tail.quantile(x, 0.01)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tail.quantile(x, 0.98)
        tail.expected_shortfall(x, 0.01)
        tail.probability(x, above=100)


X = outcome([[1.0, 2.0, 3.0], [2.0, 3.0, 4.0]], ["baseline", "floor"])


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda: tail.quantile(X, 1.0), ConfigError, "q is 1.0, but a level must lie strictly"),
        (lambda: tail.expected_shortfall(X, 0), ConfigError, "q is 0, but"),
        (lambda: tail.quantile(X, math.nan), ConfigError, "q is nan, but"),
        (lambda: tail.mean(X, level=95), ConfigError, "level is 95, but"),
        (lambda: tail.expected_shortfall(X, 0.9, tail="left"), ConfigError, "tail is 'left'"),
        (lambda: tail.probability(X), ConfigError, "takes exactly one of them"),
        (lambda: tail.probability(X, above=0, below=1), ConfigError, "takes exactly one"),
        (lambda: tail.difference(X, "floor", "base", q=0.9), ConfigError, "are baseline, floor"),
        (lambda: tail.difference(X, "floor", "baseline"), ConfigError, "q is None, but"),
        (lambda: tail.difference(X, "floor", "baseline", "var"), ConfigError, "measure is 'var'"),
        (lambda: tail.difference(X[0], "a", "b", q=0.5), ConfigError, "labelled dimension"),
        (lambda: tail.mean(X.isel(path=0)), ConfigError, "a measure is taken over 'path'"),
        (lambda: tail.mean(X.isel(path=[0])), RunError, "1 path.s., but an error needs at least 2"),
        (
            lambda: tail.mean(X.assign_coords(log_weight=(("policy", "path"), np.ones((2, 3))))),
            ConfigError,
            "log_weight has the dimensions",
        ),
    ],
)
def test_bad_input_is_one_sentence(call, error, sentence):
    with pytest.raises(error, match=sentence):
        call()


@pytest.mark.parametrize(
    "coords",
    [
        {},
        {"log_weight": ("path", np.linspace(-0.1, 0.1, 50))},
        {"draw_block": ("path", np.arange(50) // 2)},
    ],
    ids=["plain", "weighted", "in blocks"],
)
@pytest.mark.usefixtures("quiet")
def test_a_shortfall_of_a_single_path_has_no_error(coords):
    rows = np.stack([np.arange(50.0), np.arange(50.0)[::-1] ** 2])
    x = xr.DataArray(rows, dims=("policy", "path"), coords={"policy": ["a", "b"], **coords})
    found = tail.expected_shortfall(x, 0.995)
    np.testing.assert_allclose(found.estimate, [49, 49**2], rtol=0.05)
    assert np.isnan([found.standard_error, found.lower, found.upper]).all()
    assert np.isnan(tail.difference(x, "a", "b", q=0.995).standard_error)
    # many paths at the same worst value tell that there is nothing beyond it
    assert float(tail.expected_shortfall(0 * x[0], 0.995).standard_error) == 0


@pytest.mark.usefixtures("quiet")
def test_paths_of_weight_nothing_do_not_make_a_single_path_several():
    weights = np.r_[np.full(48, 50 / 49), 0.0, 50 / 49]
    with np.errstate(divide="ignore"):
        log_weight = np.log(weights)
    values = np.r_[np.arange(48.0), 60.0, 50.0]
    found = tail.expected_shortfall(outcome(values, log_weight=("path", log_weight)), 0.995)
    assert found.estimate.item() == pytest.approx(50.0)
    assert np.isnan([found.standard_error, found.lower, found.upper]).all()


@pytest.mark.parametrize(
    "ask",
    [
        lambda x: tail.quantile(x, 0.99),
        lambda x: tail.difference(x, "a", "b", q=0.99),
        lambda x: tail.conditional(x, x, given_above=0.5, measure="quantile", q=0.99),
    ],
    ids=["quantile", "difference", "conditional"],
)
def test_a_thin_tail_is_warned_of_at_the_line_that_asks(ask):
    rows = np.random.default_rng(0).random((2, 100))
    x = xr.DataArray(rows, dims=("policy", "path"), coords={"policy": ["a", "b"]})
    with pytest.warns(tail.ThinTailWarning) as warned:
        ask(x)
    assert {one.filename for one in warned} == {__file__}
