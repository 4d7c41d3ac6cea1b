"""Intervals of shares of paths, and of differences between two such shares."""

from __future__ import annotations

import math

import numpy as np

from deleverage.analysis.estimate import Sample, degrees_of_freedom, from_normal, half_width


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


def paired_shares(first: np.ndarray, second: np.ndarray, level: float) -> tuple[float, float]:
    """Interval of a difference of paired shares, with half a path added to each cell.

    Unlike the plain normal interval it has a width when no path differs (Agresti, Min 2005).
    """
    only_first = float(np.sum(first > second)) + 0.5
    only_second = float(np.sum(second > first)) + 0.5
    count = first.size + 2.0
    centre = (only_first - only_second) / count
    spread = (only_first + only_second - (only_first - only_second) ** 2 / count) / count**2
    interval = from_normal(centre, math.sqrt(spread), level)
    return max(interval.lower, -1.0), min(interval.upper, 1.0)
