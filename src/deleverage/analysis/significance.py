"""How likely a difference as large as one seen would be if there were none."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from deleverage.analysis.estimate import Estimate, Sample, block_starts
from deleverage.analysis.measures import Mean, Measure, Probability, Quantile
from deleverage.analysis.paired import ROUNDING

LEAST = 1e-12
"""Chances below this are not looked into."""


class Verdict(NamedTuple):
    """A two-sided p-value, and the test that it comes from.

    `t`: the difference over its error, by Student's law (the normal one where paths are drawn each
    by itself). `sign`: of the paths, or blocks, that differ, how many are up and how many down;
    exact. `intervals`: the level at which the intervals of the two numbers no longer meet; at
    most. `known`: both numbers are fixed before the first draw. None: it cannot be judged.
    """

    p_value: float | None
    test: str | None


UNKNOWN = Verdict(None, None)


def verdict(
    what: Measure | None, found: Estimate, one: Sample, other: Sample, degrees: float, paired: bool
) -> Verdict:
    """Whether the measure of `one` differs from that of `other`.

    Plain paired shares are judged by the paths on which only one of the two is hit (McNemar 1947).
    A difference without an error is not taken for certain: quantiles in atoms, and unpaired shares,
    are judged by the intervals of both; means that differ by one amount on every path by how many
    paths there are; a shortfall or a ratio cannot be judged.

    Args:
        what: The measure; None: a ratio of means.
        found: `one` less `other`.
        one: A sample.
        other: Another, of the same paths where `paired`.
        degrees: Of freedom of the error.
        paired: Whether paths stand for each other in order.
    """
    value, error = found.value, found.standard_error
    if not (math.isfinite(value) and math.isfinite(error)):
        return UNKNOWN
    share = isinstance(what, Probability)
    if share and paired and one.is_plain:
        changes = what.hits(one.values) * 1 - what.hits(other.values)
        return Verdict(_sign_test(changes), "sign")
    if error > ROUNDING * abs(value):
        from scipy.special import stdtr

        return Verdict(float(2.0 * stdtr(degrees, -abs(value) / error)), "t")
    if value == 0.0:
        return Verdict(1.0, "t")
    if isinstance(what, Quantile) or (share and not paired):
        return Verdict(_apart(what, one, other), "intervals")
    if paired and (share or isinstance(what, Mean)):
        changes = what.influence(one)[1] - what.influence(other)[1]
        if one.blocks is not None:
            changes = np.add.reduceat(changes, block_starts(one.blocks))
        return Verdict(_sign_test(changes), "sign")
    return UNKNOWN


def _sign_test(changes: np.ndarray) -> float:
    """Chance that so few of those that differ are on the rarer side, or fewer, on either side."""
    from scipy.special import bdtr

    up, down = int(np.count_nonzero(changes > 0)), int(np.count_nonzero(changes < 0))
    return min(1.0, 2.0 * float(bdtr(min(up, down), up + down, 0.5))) if up + down else 1.0


def _apart(what: Measure, one: Sample, other: Sample) -> float:
    """The least miss, shared by both, at which the intervals of two measures do not meet.

    That one of them is wrong is no likelier than the miss, whether the samples are paired or not.
    """

    def meet(miss: float) -> bool:
        own, its = (what.estimate(sample, 1.0 - miss / 2.0) for sample in (one, other))
        return own.lower <= its.upper and its.lower <= own.upper

    low, high = math.log(LEAST), 0.0
    if not meet(LEAST):
        return LEAST
    while high - low > 0.01:  # a hundredth of the p-value
        middle = (low + high) / 2.0
        low, high = (middle, high) if meet(math.exp(middle)) else (low, middle)
    return math.exp(high)
