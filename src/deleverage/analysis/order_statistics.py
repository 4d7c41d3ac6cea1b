r"""Quantiles from order statistics, with exact binomial intervals.

The quantile of level q of n values is the lower order statistic $x_{(\lceil nq \rceil)}$, the
least value whose empirical distribution function reaches q; nothing is interpolated.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from deleverage.analysis.estimate import (
    Estimate,
    Sample,
    block_starts,
    effective_number,
    error_of_mean,
)
from deleverage.analysis.shares import as_if_plain, plain_count

_ROUNDING = 1e-9
"""Share of a rank that `n * q` may exceed a whole number by without meaning the next one."""


class Location(NamedTuple):
    """A quantile, the inverse density at it, and the error of the distribution function there."""

    value: float
    sparsity: float
    share_error: float


def rank(count: int, q: float) -> int:
    r"""The rank $\lceil nq \rceil$ of the quantile, counted from 1, within 1..n."""
    return min(max(math.ceil(count * q - _ROUNDING * max(1.0, count * q)), 1), count)


@lru_cache(maxsize=256)
def interval_ranks(count: int, q: float, level: float) -> tuple[int, int]:
    """Ranks whose values enclose the quantile with at least this probability, whatever the law.

    The number of values at or below the quantile is binomial(n, q), so each side errs with at
    most `(1 - level) / 2`. Rank 0 or n + 1 means that the sample bounds that side by nothing.
    """
    miss = (1.0 - level) / 2.0
    return binomial_quantile(miss, count, q), binomial_quantile(1.0 - miss, count, q) + 1


def binomial_quantile(share: float, count: int, q: float) -> int:
    """The least number of successes that binomial(n, q) exceeds with at most `1 - share`.

    As `scipy.stats.binom.ppf`, but `scipy.stats` is slow to import, and every summary asks for it.
    """
    from scipy.special import bdtrik, betainc

    def suffices(successes: int) -> bool:
        return successes >= count or betainc(count - successes, successes + 1, 1.0 - q) >= share

    found = math.ceil(bdtrik(share, count, q))  # rounded, so beside the right one at times
    while found > 0 and suffices(found - 1):
        found -= 1
    while not suffices(found):
        found += 1
    return found


def bandwidth(count: float, q: float) -> float:
    r"""Half width in probability of the difference quotient for the density (Hall, Sheather 1988).

    $$h = n^{-1/3} z_{.975}^{2/3} \left(\frac{1.5\,\phi^2(z_q)}{2 z_q^2 + 1}\right)^{1/3}$$

    It shrinks with n, so that the density is consistent; it is kept inside (0, 1).
    """
    from scipy.special import ndtri

    z = float(ndtri(q))
    density = math.exp(-z * z / 2.0) / math.sqrt(2.0 * math.pi)
    shape = 1.5 * density**2 / (2.0 * z * z + 1.0)
    wide = count ** (-1.0 / 3.0) * 1.959963985 ** (2.0 / 3.0) * shape ** (1.0 / 3.0)
    return min(wide, 0.9 * min(q, 1.0 - q))


def locate(sample: Sample, q: float) -> Location:
    """The quantile and what its standard error needs."""
    if sample.is_plain:
        return _plain(sample.values, q, None)[0]
    return _inverted(sample, q, None)[0]


def quantile(sample: Sample, q: float, level: float) -> Estimate:
    r"""The quantile, its error $\sqrt{q(1-q)/n} / f$ and its interval.

    The density f is a difference quotient of order statistics over `bandwidth`. Inside an atom
    (many paths with exactly 0, a constant sample) it is infinite and the error 0. The interval is
    exact for plain paths; with weights, or in blocks, it is where q lies in the interval of the
    distribution function, that of as many plain paths as have its error (`shares.as_if_plain`: it
    is skew, as products of shares are that splitting estimates). An end is infinite where so many
    plain paths would not bound that side.
    """
    if sample.is_plain:
        location, lower, upper = _plain(sample.values, q, level)
    else:
        location, lower, upper = _inverted(sample, q, level)
    return Estimate(location.value, location.sparsity * location.share_error, lower, upper)


def _plain(values: np.ndarray, q: float, level: float | None) -> tuple[Location, float, float]:
    count = values.size
    middle = rank(count, q)
    half = bandwidth(count, q)
    low, high = rank(count, q - half), rank(count, q + half)
    if low == high:  # too few values for a difference: take the neighbours there are
        low, high = max(low - 1, 1), min(high + 1, count)
    first, last = interval_ranks(count, q, level) if level else (0, count + 1)
    wanted = {middle, low, high, max(first, 1), min(last, count)}
    ordered = np.partition(values, sorted(r - 1 for r in wanted))
    gap = _difference(ordered[high - 1], ordered[low - 1])
    sparsity = gap * count / (high - low) if high > low else math.nan
    share_error = math.sqrt(q * (1.0 - q) / count)
    return (
        Location(float(ordered[middle - 1]), sparsity, share_error),
        float(ordered[first - 1]) if first >= 1 else -math.inf,
        float(ordered[last - 1]) if last <= count else math.inf,
    )


def _inverted(sample: Sample, q: float, level: float | None) -> tuple[Location, float, float]:
    count = sample.size
    order = np.argsort(sample.values, kind="stable")
    ordered = sample.values[order]
    weights = np.ones(count) if sample.weights is None else sample.weights[order]
    share, error = _weighted_share(weights, from_above=q >= 0.5)
    # Tied values share the distribution function of the last of them: keep that one.
    last_tie = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
    ordered, share, error = ordered[last_tie], share[last_tie], error[last_tie]
    final = ordered.size - 1

    def error_at(place: int) -> float:
        if sample.blocks is None:
            return float(error[place])
        beyond = sample.values > ordered[place]
        terms = beyond * 1.0 if sample.weights is None else beyond * sample.weights
        return error_of_mean(terms, sample.blocks)

    def first_reaching(target: float) -> int:
        reached = share >= target - _ROUNDING
        return int(np.argmax(reached)) if reached[-1] else final

    middle = first_reaching(q)
    share_error = error_at(middle)
    # The plain sample as large as this one is informative at q has this many values.
    weighs = sample.weights is not None and share_error > 0
    informative = q * (1.0 - q) / share_error**2 if weighs else count
    half = bandwidth(max(informative, 1.0), q)
    low, high = first_reaching(q - half), first_reaching(q + half)
    if share[high] <= share[low]:
        low, high = max(low - 1, 0), min(high + 1, final)
    rise = share[high] - share[low]
    gap = _difference(ordered[high], ordered[low])
    location = Location(
        float(ordered[middle]), gap / float(rise) if rise > 0 else math.nan, share_error
    )
    if level is None:
        return location, math.nan, math.nan
    if math.isnan(share_error):  # a single block bounds nothing
        return location, -math.inf, math.inf

    def bounds(place: int) -> tuple[float, float]:
        """Interval of the distribution function at a value, skew where few lie beyond it."""
        beyond, its_error = 1.0 - float(share[place]), error_at(place)
        if not (0.0 < beyond < 1.0 and its_error > 0.0):
            return 1.0 - beyond, 1.0 - beyond
        low, high = as_if_plain(beyond, its_error, sample, level)
        return 1.0 - high, 1.0 - low

    # in blocks each error is a pass over all paths: look for the ends by halving
    places = range(final + 1)
    first = bisect_left(places, True, key=lambda i: bounds(i)[1] >= q)
    last = bisect_left(places, True, key=lambda i: bounds(i)[0] >= q)
    # At the last value nothing lies beyond, which has no error: take the one before it. Where most
    # of the sample is at or below a low quantile, the error is that of all weights: count those.
    inside = np.flatnonzero(share[: middle + 1] < 1.0)
    if inside.size and (q >= 0.5 or 0.0 < share[middle] <= 0.5):
        place = int(inside[-1])
        place_error = error_at(place)
        alike = place_error == 0.0  # every block has as many below: the ends are neighbours
        plain = math.inf if alike else plain_count(share[place], place_error, sample, level)
    else:
        plain = _effective_size(sample)
    plain = max(plain, 0.0)  # a path that outweighs all others makes a share negative
    miss = (1.0 - level) / 2.0
    return (
        location,
        float(ordered[min(first, final)]) if (1.0 - q) ** plain < miss else -math.inf,
        float(ordered[last]) if last <= final and q**plain <= miss else math.inf,
    )


def _effective_size(sample: Sample) -> float:
    """Equal blocks, or paths, that are worth as much."""
    if sample.blocks is None:
        return sample.effective_size
    weights = np.ones(sample.size) if sample.weights is None else sample.weights
    return effective_number(np.add.reduceat(weights, block_starts(sample.blocks)))


def _weighted_share(weights: np.ndarray, *, from_above: bool) -> tuple[np.ndarray, np.ndarray]:
    """Weighted distribution function at each ordered value, and its error.

    It is summed from the nearer tail, so that the errors of the far weights stay out of it.
    """
    count = weights.size
    if from_above:
        mass = np.append(np.cumsum(weights[::-1])[::-1][1:], 0.0) / count
        square = np.append(np.cumsum(weights[::-1] ** 2)[::-1][1:], 0.0) / count
    else:
        mass, square = np.cumsum(weights) / count, np.cumsum(weights**2) / count
    error = np.sqrt(np.maximum(square - mass**2, 0.0) / max(count - 1, 1))
    return (1.0 - mass if from_above else mass), error


def _difference(high: float, low: float) -> float:
    # Two equal infinities are an atom, not an undefined difference.
    return 0.0 if high == low else float(high) - float(low)
