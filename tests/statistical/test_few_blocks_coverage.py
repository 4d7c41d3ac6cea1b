"""Joint intervals and ranks from few blocks of paths: the errors are themselves uncertain.

The share of 1,000 joint intervals of 95% that covers has a standard error of 0.7%.
"""

import math

import numpy as np
import pytest

from deleverage.analysis.batches import Batched
from deleverage.analysis.ranking import critical_value

REPEATS = 1000


@pytest.mark.parametrize("policies", [2, 5])
@pytest.mark.parametrize("common", [0.0, 0.9])
@pytest.mark.parametrize("blocks", [8, 10, 20])
def test_intervals_of_all_pairs_cover_together(blocks, common, policies):
    rng = np.random.default_rng([blocks, policies])
    shared = rng.standard_normal((REPEATS, 1, blocks))
    own = rng.standard_normal((REPEATS, policies, blocks))
    means = math.sqrt(common) * shared + math.sqrt(1 - common) * own
    values = means.mean(-1)
    held = 0
    for value, terms in zip(values, means - values[..., None], strict=True):
        found = Batched(value, terms, math.inf, blocks, blocks - 1.0)
        error = found.errors_of_pairs()
        difference = np.abs(value[:, None] - value)
        held += bool((difference <= critical_value(found, error, 0.95) * error).all())
    # the miss divided among the pairs: no less than the level, and little more
    assert 0.95 - 4 * math.sqrt(0.05 * 0.95 / REPEATS) <= held / REPEATS <= 0.99


@pytest.mark.parametrize("blocks", [8, 10, 20])
def test_redrawn_errors_have_the_covariance_and_the_tails_of_student(blocks):
    rng = np.random.default_rng(blocks)
    means = rng.multivariate_normal([0, 0], [[1, 0.6], [0.6, 2]], blocks).T
    values = means.mean(-1)
    found = Batched(values, means - values[:, None], math.inf, blocks, blocks - 1.0)
    drawn = found.redrawn(200_000)
    wider = (blocks - 1) / (blocks - 3)  # variance of Student's law
    kurtosis = 6 / (blocks - 5)
    expected = np.cov(means) / blocks * wider
    # the error of a variance over draws, of a law with these tails
    size = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    np.testing.assert_allclose(
        np.cov(drawn.T) / size, expected / size, atol=4 * math.sqrt((2 + kurtosis) / 200_000)
    )
