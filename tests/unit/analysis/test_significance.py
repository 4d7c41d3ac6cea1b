"""Chances of differences against exact ones worked by hand."""

import math

import numpy as np
import pytest
from scipy.stats import binom, t

from deleverage.analysis import paired
from deleverage.analysis.estimate import Sample
from deleverage.analysis.measures import ExpectedShortfall, Mean, Probability, Quantile
from deleverage.analysis.significance import LEAST, verdict

HIT = Probability(above=0.5)


def judged(what, one, other, blocks=None, weights=None):
    one, other = (Sample(np.asarray(x, float), weights, blocks) for x in (one, other))
    found = paired.difference(what, one, other, 0.95)
    degrees = math.inf if blocks is None else np.unique(blocks).size - 1.0
    return found, verdict(what, found, one, other, degrees, True)


def test_shares_are_judged_by_the_paths_that_differ():
    # hit on 5 paths of 1,000 under one alone, on none under the other alone: 2 / 2^5
    one, other = np.zeros((2, 1000))
    one[:25], other[:20] = 1, 1
    found, (p, test) = judged(HIT, one, other)
    assert (p, test) == (pytest.approx(2 / 32), "sign")
    assert found.value / found.standard_error > 2.2  # which the normal law would call significant
    # 7 against 1: twice the chance of none or one of eight
    one, other = np.zeros((2, 1000))
    one[:7], other[7] = 1, 1
    assert judged(HIT, one, other)[1].p_value == pytest.approx(2 * (1 + 8) / 2**8)
    assert judged(HIT, one, one)[1].p_value == 1.0
    # on every path: without an error, and as certain as the paths are many
    found, (p, test) = judged(HIT, np.ones(10), np.zeros(10))
    assert (found.standard_error, p, test) == (0.0, pytest.approx(2 / 2**10), "sign")


def test_shares_are_not_claimed_to_differ_more_often_than_stated():
    rng = np.random.default_rng(0)
    u = rng.random((2000, 400))
    one, other = (u < 4 / 400) * 1.0, (u > 1 - 4 / 400) * 1.0
    claims = np.array([judged(HIT, *pair)[1].p_value for pair in zip(one, other, strict=True)])
    for level in (0.05, 0.01, 0.002):
        assert np.mean(claims <= level) <= level + 4 * math.sqrt(level / 2000)
    assert np.mean(claims <= 0.2) > 0.02


def test_a_mean_that_differs_alike_everywhere_is_as_certain_as_it_was_seen_often():
    x = np.random.default_rng(1).standard_normal(40)
    blocks = np.arange(40) // 5
    shifted = x + np.tile([1.0, 0, 0, 0, 0], 8)  # by a fifth in every block
    found, (p, test) = judged(Mean(), shifted, x, blocks)
    assert found.standard_error < 1e-15
    assert (p, test) == (pytest.approx(2 / 2**8), "sign")
    found, (p, test) = judged(Mean(), x + 1.0, x)
    assert (p, test) == (pytest.approx(2 / 2**40), "sign")
    noisy = shifted + 1e-3 * np.arange(40)
    found, (p, test) = judged(Mean(), noisy, x, blocks)
    assert test == "t"
    assert p == pytest.approx(2 * t.sf(found.value / found.standard_error, 7))


def test_quantiles_in_atoms_are_judged_by_where_their_intervals_part():
    # 1 on 12 and on 48 of 60 paths: half of each misses less than this on the inner side
    one, other = np.zeros((2, 60))
    one[:12], other[:48] = 1, 1
    found, (p, test) = judged(Quantile(0.5), one, other)
    assert (found.value, found.standard_error, test) == (-1.0, 0.0, "intervals")
    assert p == pytest.approx(4 * binom.cdf(12, 60, 0.5), rel=0.02)
    many = np.zeros((2, 6000))
    many[0, :1200], many[1, :4800] = 1, 1
    assert judged(Quantile(0.5), *many)[1].p_value == LEAST
    assert judged(Quantile(0.5), one, one)[1].p_value == 1.0


def test_shortfalls_in_atoms_cannot_be_judged():
    one, other = np.zeros((2, 1000))
    one[:50], other[:50] = 5, 3
    assert judged(ExpectedShortfall(0.98), one, other)[1] == (None, None)
    assert judged(ExpectedShortfall(0.98), one, one)[1].p_value == 1.0


def test_shares_of_independent_samples_are_judged_by_their_intervals():
    one, other = Sample(np.ones(30)), Sample(np.zeros(20))
    found = paired.Estimate(1.0, 0.0, 0.0, 0.0)
    p, test = verdict(HIT, found, one, other, math.inf, False)
    assert test == "intervals"
    # each interval, of half the miss, has a quarter of it on this side: p^(1/30) and 1 - p^(1/20)
    ends = (p / 4) ** (1 / 30), 1 - (p / 4) ** (1 / 20)
    assert ends[0] == pytest.approx(ends[1], abs=0.005)
