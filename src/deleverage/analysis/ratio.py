"""A mean over a mean, both of the same paths."""

from __future__ import annotations

import math

import numpy as np

from deleverage.analysis.estimate import NOTHING, Estimate, Sample

METHOD = "ratio of means; delta method and normal interval"


def ratio_of_means(
    numerator: Sample, denominator: Sample, level: float, at_zero: float = math.nan
) -> Estimate:
    """The ratio with the error of its linearisation, see `influence`.

    Args:
        numerator: Values and weights `[path]`.
        denominator: Values of the same paths; the weights are the numerator's.
        level: Level of the interval.
        at_zero: The ratio where the denominator's mean is 0.
    """
    value, terms = influence(numerator, denominator, at_zero)
    return NOTHING if math.isnan(value) else numerator.normal(value, terms, level)


def influence(
    numerator: Sample, denominator: Sample, at_zero: float = math.nan
) -> tuple[float, np.ndarray]:
    r"""The ratio and the terms `[path]` whose mean has its error.

    $$r = \bar n / \bar d, \qquad \mathrm{term}_p = w_p (n_p - r d_p) / \bar d$$

    Source: Cochran, Sampling Techniques (1977), section 6.4, without its finite population.
    """
    weights = 1.0 if numerator.weights is None else numerator.weights
    below = float(np.mean(weights * denominator.values))
    if below == 0.0:
        return at_zero, np.zeros(numerator.size)
    with np.errstate(invalid="ignore"):  # an infinite outcome has no ratio
        value = float(np.mean(weights * numerator.values)) / below
        return value, weights * (numerator.values - value * denominator.values) / below
