"""Intervals of shares of paths, and of differences between two such shares."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from deleverage.analysis.estimate import (
    Estimate,
    Sample,
    block_starts,
    degrees_of_freedom,
    half_width,
)


def as_if_plain(
    value: float, standard_error: float, sample: Sample, level: float
) -> tuple[float, float]:
    """Interval of a share strictly between 0 and 1, weighted or in blocks.

    It is that of as many plain paths as have this error. A normal interval covers far too seldom
    where few paths were hit.
    """
    count = plain_count(value, standard_error, sample, level)
    return clopper_pearson(value * count, count, level)


def plain_count(value: float, standard_error: float, sample: Sample, level: float) -> float:
    """Plain paths that have this error, fewer by what Student's interval is wider than normal.

    Source: Korn and Graubard 1998.
    """
    normal, student = (
        half_width(level, degrees) for degrees in (math.inf, degrees_of_freedom(sample.blocks))
    )
    return value * (1.0 - value) / standard_error**2 * (normal / student) ** 2


def clopper_pearson(hits: float, count: float, level: float) -> tuple[float, float]:
    """Exact two-sided interval of a binomial share; at 0 hits the upper end is its exact bound."""
    from scipy.special import betaincinv

    miss = (1.0 - level) / 2.0
    lower = float(betaincinv(hits, count - hits + 1, miss)) if hits > 0 else 0.0
    upper = float(betaincinv(hits + 1, count - hits, 1.0 - miss)) if hits < count else 1.0
    return lower, upper


def unseen(sample: Sample, level: float) -> float:
    """Upper bound of the weight of what happened on no path, divided by the number of paths.

    What is drawn on more than the exact bound of a share of 0 in n would have been seen; it weighs
    no more than the heaviest paths of that share. Of plain paths this is the exact bound itself.
    Where paths were drawn in blocks, the blocks are counted and weighed; what weighs nothing tells
    nothing. Weights larger than any that was drawn are not allowed for.
    """
    masses = np.ones(sample.size) if sample.weights is None else sample.weights
    if sample.blocks is not None:
        masses = np.add.reduceat(masses, block_starts(sample.blocks))
    masses = masses[masses > 0.0]
    if not masses.size:
        return math.inf
    heaviest = np.append(0.0, np.cumsum(np.sort(masses)[::-1]))
    _, share = clopper_pearson(0, masses.size, level)
    return float(np.interp(share * masses.size, np.arange(heaviest.size), heaviest)) / sample.size


def of_difference(first: Estimate, second: Estimate, error: float) -> tuple[float, float]:
    """Interval of a difference of two numbers of the same paths from the interval of each.

    Unlike a normal interval it has a width where no path differs, and is skew where few do.

    Args:
        first: One number.
        second: What is taken off.
        error: Standard error of the difference, from which their correlation follows.

    Source: Zou and Donner 2008 (method of variance estimates recovery).
    """
    alone = first.standard_error * second.standard_error
    squares = first.standard_error**2 + second.standard_error**2
    correlation = (squares - error**2) / (2.0 * alone) if alone > 0.0 else 0.0
    value = first.value - second.value

    def side(one: float, other: float) -> float:
        if math.inf in (one, other):  # a quantile that the sample does not bound
            return math.inf
        return math.sqrt(max(one**2 - 2.0 * correlation * one * other + other**2, 0.0))

    return (
        value - side(first.value - first.lower, second.upper - second.value),
        value + side(first.upper - first.value, second.value - second.lower),
    )


def independent(first: Estimate, second: Estimate) -> Estimate:
    """The difference of two numbers of different samples, with its interval; see above."""
    error = math.hypot(first.standard_error, second.standard_error)
    return Estimate(first.value - second.value, error, *of_difference(first, second, error))


def all_independent(first: Iterable[np.ndarray], second: Iterable[np.ndarray]) -> np.ndarray:
    """`independent` of many pairs, all given and returned by field of an estimate."""
    pairs = zip(zip(*first, strict=True), zip(*second, strict=True), strict=True)
    return np.array([independent(Estimate(*one), Estimate(*other)) for one, other in pairs]).T
