"""How two samples of the same paths differ in a measure, and how sure that is."""

from __future__ import annotations

import numpy as np

from deleverage.analysis.estimate import Estimate, Sample
from deleverage.analysis.measures import Measure, Probability
from deleverage.analysis.shares import of_difference

METHOD = (
    "paired influence functions; normal interval (of shares: from the intervals of the paths on "
    "which only one of the two is hit, after Zou and Donner)"
)


def difference(what: Measure, one: Sample, other: Sample, level: float) -> Estimate:
    """The measure of `one` less that of `other`, paired path by path.

    Args:
        what: The measure.
        one: A sample.
        other: Another of the same paths, weights and blocks.
        level: Level of the interval.

    Source: Zou and Donner 2008 for shares: the interval has a width also where no path differs.
    """
    if isinstance(what, Probability):
        return _of_shares(what, one, other, level)
    value_a, terms_a = what.influence(one)
    value_b, terms_b = what.influence(other)
    with np.errstate(invalid="ignore"):
        return one.normal(value_a - value_b, terms_a - terms_b, level)


def _of_shares(what: Probability, one: Sample, other: Sample, level: float) -> Estimate:
    first, second = what.hits(one.values), what.hits(other.values)
    weights = 1.0 if one.weights is None else one.weights
    change = (first * 1.0 - second) * weights
    normal = one.normal(float(np.mean(change)), change, level)
    hit = Probability(above=0.5)
    cells = [hit.estimate(one.of(x * 1.0), level) for x in (first & ~second, second & ~first)]
    lower, upper = of_difference(*cells, normal.standard_error)
    return normal._replace(lower=max(lower, -1.0), upper=min(upper, 1.0))
