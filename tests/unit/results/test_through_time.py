"""Quantiles of histograms, worked by hand."""

import numpy as np
import pytest
import xarray as xr
from scipy.stats import binom

from deleverage.results.through_time import read_timeline


def timeline(counts, edges, **options):
    edges = np.array(edges, dtype=float)
    dims = ("time", "price_bin")
    coords = {"price_low": (dims[1], edges[:-1]), "price_high": (dims[1], edges[1:])}
    return read_timeline(xr.Dataset({"price": (dims, np.array(counts))}, coords=coords), **options)


def test_a_quantile_lies_where_the_distribution_function_reaches_it():
    found = timeline([[10, 20, 60, 10]], [0, 1, 2, 4, 5], levels=(0.05, 0.2, 0.5, 0.95))
    # Half way into the first bin, half into the second, a third into the third, half into the last.
    np.testing.assert_allclose(found.price[0], [0.5, 1.5, 2 + 2 / 3, 4.5])
    assert found.price_count.values == [100]


def test_the_error_is_that_of_the_share_over_the_density():
    found = timeline([[10, 20, 60, 10]], [0, 1, 2, 4, 5], levels=(0.5,))
    density = 0.6 / 2
    assert found.price_error.item() == pytest.approx(np.sqrt(0.25 / 100) / density)


def test_the_interval_covers_the_ranks_of_the_binomial():
    counts = np.ones(100, dtype=int)
    found = timeline([counts], np.arange(101), levels=(0.5,), confidence=0.9)
    low, high = binom.ppf(0.05, 100, 0.5), binom.ppf(0.95, 100, 0.5) + 1
    assert (found.price_lower.item(), found.price_upper.item()) == (low - 1, high)


def test_an_interval_that_the_sample_cannot_bound_is_open():
    found = timeline([[1, 1, 1]], [0, 1, 2, 3], levels=(0.05, 0.95))
    assert found.price_lower[0, 0].item() == -np.inf
    assert found.price_upper[0, 1].item() == np.inf


def test_one_bin_and_none():
    found = timeline([[0, 7, 0], [0, 0, 0]], [0, 1, 2, 3], levels=(0.5,))
    assert found.price[0].item() == pytest.approx(1.5)
    assert (found.price_lower[0].item(), found.price_upper[0].item()) == (1, 2)
    assert np.isnan(found.price[1].item())
    assert np.isnan(found.price_error[1].item())
