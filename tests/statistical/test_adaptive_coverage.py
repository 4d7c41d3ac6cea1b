"""Intervals of runs that stop once their error looks small, over 1,000 repeats of a fixed seed.

A share of 1,000 repeats has a standard error of 0.7% where it is 95%. Stopping favours samples
whose error is underestimated, so heavy tails lose more than light ones: these bounds say how much.
"""

import math

import numpy as np
import pytest
import xarray as xr
from scipy.stats import norm

from deleverage.analysis import tail
from deleverage.analysis.measures import ExpectedShortfall, Mean, Probability, Quantile
from deleverage.analysis.stopping import relative_errors
from deleverage.config.paths import AdaptivePaths
from deleverage.sweep.adaptive import next_checkpoint

REPEATS = 1000
UNIT = 64


def lognormal_shortfall(q: float) -> float:
    return math.exp(0.5) * norm.cdf(1 - norm.ppf(q)) / (1 - q)


def stopped(draw, what, until, most: int):
    """Of each repeat its paths, its interval there, and that of a given number of paths."""
    adaptive = AdaptivePaths.model_validate(
        {"at_most": most, "until": {"variable": "x", **until}},
    )
    values = draw(np.random.default_rng(20251010), (REPEATS, most))
    running = np.arange(REPEATS)
    used, lower, upper = (np.zeros(REPEATS) for _ in range(3))
    paths = 0
    while running.size:
        paths = next_checkpoint(paths, adaptive, UNIT)
        part = xr.DataArray(values[running, :paths], dims=("policy", "path"))
        found = tail.measure(part, what)
        ends = (relative_errors(found) <= adaptive.until.relative_error) | (paths == most)
        here = running[ends]
        used[here] = paths
        lower[here], upper[here] = found.lower.values[ends], found.upper.values[ends]
        running = running[~ends]
    given = tail.measure(
        xr.DataArray(values[:, : int(np.median(used))], dims=("policy", "path")), what
    )
    return used, (lower, upper), (given.lower.values, given.upper.values)


CASES = {
    "mean of lognormal": (
        lambda rng, n: rng.lognormal(size=n),
        Mean(),
        {"relative_error": 0.03},
        math.exp(0.5),
        0.93,
    ),
    "probability of 2%": (
        lambda rng, n: rng.random(n),
        Probability(above=0.98),
        {"measure": "probability", "above": 0.98, "relative_error": 0.12},
        0.02,
        0.93,
    ),
    "quantile of lognormal": (
        lambda rng, n: rng.lognormal(size=n),
        Quantile(0.9),
        {"measure": "quantile", "q": 0.9, "relative_error": 0.03},
        math.exp(norm.ppf(0.9)),
        0.93,
    ),
    "shortfall of lognormal": (
        lambda rng, n: rng.lognormal(size=n),
        ExpectedShortfall(0.9),
        {"measure": "expected_shortfall", "q": 0.9, "relative_error": 0.04},
        lognormal_shortfall(0.9),
        0.915,
    ),
    "shortfall of Pareto 3": (
        lambda rng, n: (1 - rng.random(n)) ** (-1 / 3),
        ExpectedShortfall(0.9),
        {"measure": "expected_shortfall", "q": 0.9, "relative_error": 0.04},
        1.5 * 10 ** (1 / 3),
        0.89,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_intervals_of_stopped_runs_cover(case):
    draw, what, until, truth, least = CASES[case]
    used, *intervals = stopped(draw, what, until, 8192)
    assert len(np.unique(used)) > 2  # runs of several lengths, or nothing is tested
    assert np.mean(used == 8192) < 0.2
    covered, of_given = (np.mean((low <= truth) & (truth <= high)) for low, high in intervals)
    print(case, covered, of_given)
    assert least <= covered <= 0.97
    assert covered >= of_given - 0.025
