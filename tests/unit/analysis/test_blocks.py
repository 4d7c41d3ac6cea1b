"""Errors and intervals of paths that were drawn in blocks."""

import math

import numpy as np
import pytest
import xarray as xr
from scipy.stats import t

from deleverage.analysis import attribution, frontier, systemic, tail
from deleverage.analysis.batches import batch_terms
from deleverage.analysis.summary import as_text, summary, table
from deleverage.errors import ConfigError

SIZE, BLOCKS = 64, 40
COUNT = SIZE * BLOCKS


def blocked(values, size=SIZE, **coords):
    values = np.asarray(values)
    dims = ("policy", "path")[-values.ndim :]
    blocks = np.arange(values.shape[-1]) // size
    return xr.DataArray(values, dims=dims, coords={"draw_block": ("path", blocks), **coords})


@pytest.fixture
def strata():
    """Uniforms with one point in each stratum of a block, in random order."""
    rng = np.random.default_rng(3)
    order = np.argsort(rng.random((BLOCKS, SIZE)), axis=1)
    return ((order + rng.random((BLOCKS, SIZE))) / SIZE).ravel()


def test_the_error_of_a_mean_is_that_of_the_means_of_blocks(strata):
    means = strata.reshape(BLOCKS, SIZE).mean(axis=1)
    found = tail.mean(blocked(strata))
    error = means.std(ddof=1) / math.sqrt(BLOCKS)
    assert float(found.standard_error) == pytest.approx(error, rel=1e-12)
    half = t.ppf(0.975, BLOCKS - 1) * error
    assert float(found.upper - found.estimate) == pytest.approx(half, rel=1e-9)
    # points that lie evenly: as good as SIZE^2 as many
    assert error < 2 / SIZE * float(tail.mean(xr.DataArray(strata, dims="path")).standard_error)
    assert abs(float(found.estimate) - 0.5) < 4 * error


def test_blocks_of_one_path_give_the_plain_error():
    x = np.random.default_rng(1).standard_normal(500)
    for measure, arguments in (("mean", {}), ("expected_shortfall", {"q": 0.9})):
        one, other = (
            getattr(tail, measure)(each, **arguments)
            for each in (blocked(x, size=1), xr.DataArray(x, dims="path"))
        )
        assert float(one.standard_error) == pytest.approx(float(other.standard_error), rel=1e-9)


def test_missing_paths_leave_blocks_as_they_are(strata):
    strata[[3, 700, 701]] = math.nan
    present = ~np.isnan(strata)
    centred = np.where(present, strata - np.nanmean(strata), 0).reshape(BLOCKS, SIZE).sum(axis=1)
    expected = math.sqrt(BLOCKS / (BLOCKS - 1) * (centred**2).sum()) / present.sum()
    found = tail.mean(blocked(strata))
    assert float(found.standard_error) == pytest.approx(expected, rel=1e-12)
    assert int(found.missing) == 3


def test_a_single_block_has_no_error(strata):
    found = tail.mean(blocked(strata[:SIZE]))
    assert math.isnan(found.standard_error)
    assert math.isnan(found.lower)
    found = tail.quantile(blocked(strata[:SIZE]), 0.5)
    assert math.isnan(found.standard_error)
    assert not math.isfinite(found.upper)


def test_a_quantile_interval_comes_from_how_blocks_differ(strata):
    q = 0.9
    found, plain = tail.quantile(blocked(strata), q), tail.quantile(
        xr.DataArray(strata, dims="path"), q
    )  # fmt: skip
    assert float(found.estimate) == float(plain.estimate)
    assert float(found.upper - found.lower) < 0.3 * float(plain.upper - plain.lower)
    assert float(found.lower) <= float(found.estimate) <= float(found.upper)
    # by hand: the ends are where the share of paths at or below, with its error, reaches q
    for end, sign in (("lower", 1), ("upper", -1)):
        below = (strata <= float(found[end])).reshape(BLOCKS, SIZE).mean(axis=1)
        error = below.std(ddof=1) / math.sqrt(BLOCKS)
        reach = below.mean() + sign * t.ppf(0.975, BLOCKS - 1) * error
        assert q - 1e-9 <= reach < q + 3 / COUNT + 2 * error


def test_where_nothing_was_hit_the_blocks_bound_the_share(strata):
    found = tail.probability(blocked(strata), above=2.0)
    assert float(found.estimate) == 0
    assert float(found.lower) == 0
    assert float(found.upper) == pytest.approx(1 - 0.025 ** (1 / BLOCKS), rel=1e-9)
    found = tail.probability(blocked(strata), above=-1.0)
    assert float(found.lower) == pytest.approx(0.025 ** (1 / BLOCKS), rel=1e-9)


def test_blocks_that_are_hit_alike_leave_an_interval():
    x = np.tile(np.arange(SIZE) < 3, BLOCKS) * 1.0
    found = tail.probability(blocked(x), above=0.5)
    assert float(found.standard_error) == 0
    half = (1 - 0.025 ** (1 / BLOCKS)) / SIZE
    assert float(found.lower) == pytest.approx(3 / SIZE - half, rel=1e-9)
    assert float(found.upper) == pytest.approx(3 / SIZE + half, rel=1e-9)


def test_pairs_cancel_what_is_odd():
    z = np.random.default_rng(2).standard_normal(1000)
    pairs = blocked(np.stack([z, -z], axis=1).ravel(), size=2)
    assert float(tail.mean(pairs).standard_error) == pytest.approx(0, abs=1e-15)
    squares = tail.mean(pairs**2)  # and double what is even
    plain = float(tail.mean(xr.DataArray(z**2, dims="path")).standard_error)
    assert float(squares.standard_error) == pytest.approx(plain, rel=1e-3)


def test_batches_hold_whole_blocks(strata):
    blocks = np.arange(COUNT) // SIZE
    for batches in (7, 1000):
        terms = batch_terms(strata, batches, blocks)
        assert terms.size == min(batches, BLOCKS)
    means = strata.reshape(BLOCKS, SIZE).mean(axis=1)
    np.testing.assert_allclose(terms, means - means.mean(), atol=1e-12)


def test_every_joint_measure_reads_the_blocks(strata):
    rng = np.random.default_rng(5)
    noise = 1e-4 * rng.standard_normal((2, COUNT))
    x = blocked(strata + noise + [[0.0], [0.1]], policy=["baseline", "floor"])
    bare = x.drop_vars("draw_block")
    for error in (
        lambda x: tail.mean(x).standard_error.values,
        lambda x: tail.ranking(x, "mean", good="low").standard_error.values,
        lambda x: frontier.frontier(
            xr.Dataset({"x": x}), "x", "mean", None, costs=(), good="low"
        ).risk_standard_error.values,
        lambda x: tail.ratio_of_means(x, x**2).standard_error.values,
        lambda x: tail.probability(x, above=0.7).standard_error.values,
        lambda x: tail.expected_shortfall(x, 0.8).standard_error.values,
        lambda x: tail.quantile(x, 0.77).standard_error.values,
        lambda x: systemic.marginal_expected_shortfall(x, x**2, q=0.8).standard_error.values,
        lambda x: systemic.herfindahl(x, "policy").standard_error.values,
        lambda x: tail.conditional(x, x**2, given_above=0.3).standard_error.values,
    ):
        assert np.all(error(x) < 0.5 * error(bare)), error
    found = attribution.shapley({frozenset(): x[0], frozenset({"a"}): x[1] * 2}, "mean")
    assert float(found.total_standard_error) < 0.1 * float(
        attribution.shapley({frozenset(): bare[0], frozenset({"a"}): bare[1] * 2}, "mean")
        .total_standard_error
    )  # fmt: skip


def test_a_curve_ends_with_whole_blocks(strata):
    found = tail.convergence(blocked(strata), "mean")
    assert np.all(found.first_paths.values % SIZE == 0)
    assert found.first_paths.values[0] >= 2 * SIZE
    assert found.first_paths.values[-1] == COUNT
    assert np.all(np.isfinite(found.standard_error))


def test_shuffled_blocks_are_refused(strata):
    x = blocked(strata).isel(path=slice(None, None, -1))
    with pytest.raises(ConfigError, match="another order than they were drawn in"):
        tail.mean(x)


def test_the_summary_says_how_many_blocks_there_are(strata):
    x = blocked(np.stack([strata, strata]), policy=["baseline", "floor"])
    found = summary(xr.Dataset({"bad_debt": x.assign_attrs(units="million USD")}))
    assert found.attrs["draw_blocks"] == BLOCKS
    assert "Errors come from 40 blocks" in as_text(table(found))
