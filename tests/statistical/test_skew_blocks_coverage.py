"""Quantiles of blocks whose weights are skew, as products of shares under splitting are."""

import numpy as np
import pytest
from scipy.stats import norm

from deleverage.analysis import order_statistics
from deleverage.analysis.estimate import Sample
from deleverage.analysis.measures import Probability

REPEATS = 1000


@pytest.mark.parametrize("blocks", [8, 10, 20])
@pytest.mark.parametrize("q", [0.9, 0.98])
def test_a_quantile_beyond_skew_weights_is_covered(blocks, q):
    # the tail of each block weighs a lognormal of mean 1 times what it should, as the last
    # population of a replicate does; with Student's interval 88 to 92% were covered
    size, rng = 100, np.random.default_rng([blocks, int(1000 * q)])
    z = rng.standard_normal((REPEATS, blocks, size))
    scale = np.exp(0.6 * rng.standard_normal((REPEATS, blocks, 1)) - 0.18)
    weights = np.where(z > 0.5, scale, 1.0)
    weights += (1 - weights.mean(axis=-1, keepdims=True)) * (z <= 0.5) / norm.cdf(0.5)
    number = np.repeat(np.arange(blocks), size)
    samples = [Sample(v.ravel(), w.ravel(), number) for v, w in zip(z, weights, strict=True)]
    truth = norm.ppf(q)
    found = [order_statistics.quantile(sample, q, 0.95) for sample in samples]
    covered = np.mean([one.lower <= truth <= one.upper for one in found])
    # as that of the share beyond it, from which it comes
    share = [Probability(above=truth).estimate(sample, 0.95) for sample in samples]
    of_share = np.mean([one.lower <= 1 - q <= one.upper for one in share])
    print(blocks, q, covered, of_share)
    assert abs(covered - of_share) < 0.01
    assert covered > 0.93
