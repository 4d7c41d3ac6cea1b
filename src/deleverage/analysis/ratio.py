"""A mean over a mean, both of the same paths."""

from __future__ import annotations

import math

import numpy as np

from deleverage.analysis.estimate import NOTHING, Estimate, Sample, error_of_mean, from_normal

METHOD = "ratio of means; delta method and normal interval"


def ratio_of_means(
    numerator: Sample, denominator: Sample, level: float, at_zero: float = math.nan
) -> Estimate:
    r"""The ratio with the error of its linearisation.

    $$r = \bar n / \bar d, \qquad \mathrm{term}_p = w_p (n_p - r d_p) / \bar d$$

    Args:
        numerator: Values and weights `[path]`.
        denominator: Values of the same paths; the weights are the numerator's.
        level: Level of the interval.
        at_zero: The ratio where the denominator's mean is 0.

    Source: Cochran, Sampling Techniques (1977), section 6.4, without its finite population.
    """
    weights = 1.0 if numerator.weights is None else numerator.weights
    below = float(np.mean(weights * denominator.values))
    if below == 0.0:
        return NOTHING if math.isnan(at_zero) else Estimate(at_zero, 0.0, at_zero, at_zero)
    with np.errstate(invalid="ignore"):  # an infinite outcome has no ratio
        value = float(np.mean(weights * numerator.values)) / below
        terms = weights * (numerator.values - value * denominator.values) / below
    return from_normal(value, error_of_mean(terms), level)
