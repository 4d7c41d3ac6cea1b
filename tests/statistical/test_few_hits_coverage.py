"""Intervals of shares, and of their differences, where nothing or next to nothing was hit.

1,000 repeats of a 95% interval: the share that covers has a standard error of 0.7%. Intervals of
few hits are conservative: they cover 95% less two of those errors at least, whatever is hit.
"""

import numpy as np
import pytest
from scipy.stats import norm

from deleverage.analysis import paired
from deleverage.analysis.estimate import Sample
from deleverage.analysis.measures import Mean, Probability

REPEATS = 1000
LEAST = 0.936
HIT = Probability(above=0.5)


def coverage(ends, truth):
    assert len(ends) == REPEATS
    return np.mean([one.lower <= truth <= one.upper for one in ends])


@pytest.mark.parametrize("hits", [0.5, 1.5, 3.0, 6.0])
@pytest.mark.parametrize("side", ["heavy", "light"])
def test_a_weighted_share_is_covered_at_least(side, hits):
    # nine in ten paths at mean 2 instead of 0, as importance sampling draws them; an event of so
    # many paths among those that weigh most, or least
    count, rng = 1000, np.random.default_rng(1)
    z = rng.standard_normal((REPEATS, count)) + 2.0 * (rng.random((REPEATS, count)) < 0.9)
    weights = 1 / (0.1 + 0.9 * np.exp(2 * z - 2))

    def drawn(at):
        return 0.1 * norm.cdf(at) + 0.9 * norm.cdf(at - 2)

    places = np.linspace(-8, 12, 200_001)
    share = hits / count
    at = np.interp(share if side == "heavy" else 1 - share, drawn(places), places)
    happened = z < at if side == "heavy" else z > at
    truth = norm.cdf(at) if side == "heavy" else norm.sf(at)
    found = [HIT.estimate(Sample(*row), 0.95) for row in zip(happened * 1.0, weights, strict=True)]
    assert coverage(found, truth) >= LEAST
    nothing = [one for one in found if one.value == 0.0]
    assert all(0 < one.upper < 1 for one in nothing)
    if hits < 2:
        assert nothing


@pytest.mark.parametrize("expected", [(0.5, 0.5), (2.5, 0), (3, 1), (10, 3)])
@pytest.mark.parametrize("kind", ["plain", "weighted", "in blocks"])
def test_a_difference_of_paired_shares_is_covered_at_least(kind, expected):
    # so many paths on which only one of the two is hit, beside the fifth on which both are
    count, rng = 1000, np.random.default_rng(2)
    u = rng.random((REPEATS, count))
    only_one, only_other = (number / count for number in expected)
    one = (u < 0.2) | ((u >= 0.3) & (u < 0.3 + only_one))
    other = (u < 0.2) | ((u >= 0.4) & (u < 0.4 + only_other))
    weights = blocks = None
    truth = only_one - only_other
    if kind == "weighted":  # by u, so that each event keeps its weight: 0.5 to 1.5 times
        weights = 0.5 + (u * 1000 % 1)
    if kind == "in blocks":
        blocks = np.arange(count) // 25
    found = [
        paired.difference(
            HIT, Sample(x, None if weights is None else weights[i], blocks),
            Sample(y, None if weights is None else weights[i], blocks), 0.95,
        )
        for i, (x, y) in enumerate(zip(one * 1.0, other * 1.0, strict=True))
    ]  # fmt: skip
    assert coverage(found, truth) >= LEAST
    alike = [x for x in found if x.standard_error == 0.0]
    assert all(x.lower < 0 < x.upper for x in alike)


def test_the_interval_of_a_difference_is_the_normal_one_where_many_are_hit():
    rng = np.random.default_rng(3)
    one, other = (rng.random((2, 40_000)) < [[0.3], [0.2]]) * 1.0
    share = paired.difference(HIT, Sample(one), Sample(other), 0.95)
    normal = paired.difference(Mean(), Sample(one), Sample(other), 0.95)
    assert share[:2] == pytest.approx(normal[:2], rel=1e-12)
    assert share[2:] == pytest.approx(normal[2:], rel=0.005)
