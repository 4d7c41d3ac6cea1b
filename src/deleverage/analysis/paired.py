"""How two samples of the same paths differ in a measure, and how sure that is."""

from __future__ import annotations

import math

import numpy as np

from deleverage.analysis.estimate import Estimate, Sample
from deleverage.analysis.measures import ExpectedShortfall, Measure, Probability, Quantile
from deleverage.analysis.shares import of_difference

METHOD = (
    "paired influence functions; normal interval (of shares: from the intervals of the paths on "
    "which only one of the two is hit, after Zou and Donner; of quantiles that both lie in atoms: "
    "from the interval of each; of shortfalls that both do: none)"
)

ROUNDING = 1e-14
"""Share of a difference that its error may be by rounding alone."""


def difference(what: Measure, one: Sample, other: Sample, level: float) -> Estimate:
    """The measure of `one` less that of `other`, paired path by path.

    Where the influence functions of both are alike on every path though the values differ, their
    error is 0, and says nothing of atoms that may end elsewhere: two quantiles are then as far
    apart as their own intervals, each at half the miss, and the difference of two shortfalls has
    neither error nor interval. A mean that differs by one amount on every path has no error.

    Args:
        what: The measure.
        one: A sample.
        other: Another of the same paths, weights and blocks.
        level: Level of the interval.
    """
    if isinstance(what, Probability):
        return _of_shares(what, one, other, level)
    value_a, terms_a = what.influence(one)
    value_b, terms_b = what.influence(other)
    with np.errstate(invalid="ignore"):
        found = one.normal(value_a - value_b, terms_a - terms_b, level)
    if found.value == 0.0 or not found.standard_error <= ROUNDING * abs(found.value):
        return found
    if isinstance(what, ExpectedShortfall):
        return Estimate(found.value, math.nan, math.nan, math.nan)
    if isinstance(what, Quantile):
        own, its = (what.estimate(sample, 0.5 + level / 2.0) for sample in (one, other))
        return found._replace(lower=own.lower - its.upper, upper=own.upper - its.lower)
    return found


def _of_shares(what: Probability, one: Sample, other: Sample, level: float) -> Estimate:
    first, second = what.hits(one.values), what.hits(other.values)
    weights = 1.0 if one.weights is None else one.weights
    change = (first * 1.0 - second) * weights
    normal = one.normal(float(np.mean(change)), change, level)
    hit = Probability(above=0.5)
    cells = [hit.estimate(one.of(x * 1.0), level) for x in (first & ~second, second & ~first)]
    lower, upper = of_difference(*cells, normal.standard_error)
    return normal._replace(lower=max(lower, -1.0), upper=min(upper, 1.0))
