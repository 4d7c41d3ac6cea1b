"""Ranks of order statistics against the binomial law of SciPy."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from scipy.stats import binom

from deleverage.analysis.order_statistics import binomial_quantile


@pytest.mark.parametrize("count", [1, 2, 7, 100, 4096, 20_000, 10**6, 10**8])
def test_binomial_quantiles_are_those_of_scipy(count):
    levels = [1e-6, 1e-4, 0.01, 0.28833, 0.5, 0.95, 0.99, 0.9999]
    shares = [0.0005, 0.025, 0.05, 0.5, 0.95, 0.975, 0.9995]
    found = [[binomial_quantile(share, count, q) for share in shares] for q in levels]
    np.testing.assert_array_equal(found, binom.ppf(np.array(shares), count, np.c_[levels]))


@pytest.mark.parametrize("count", [1, 4, 10])
def test_a_share_that_is_reached_exactly_needs_no_more(count):
    assert [binomial_quantile(binom.cdf(k, count, 0.5), count, 0.5) for k in range(count + 1)] == [
        *range(count + 1)
    ]


def test_a_summary_needs_no_slow_import():
    code = (
        "import sys, numpy, xarray; from deleverage.analysis.summary import summary\n"
        "values = (('policy', 'path'), numpy.random.default_rng(0).random((2, 300)))\n"
        "summary(xarray.Dataset({'bad_debt': values}, {'policy': ['baseline', 'floor']}))\n"
        "assert 'scipy.special' in sys.modules\n"
        "assert 'scipy.stats' not in sys.modules"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)
