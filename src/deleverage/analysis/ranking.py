"""Which policy is best, how sure is that: all pairs at once, with simultaneous intervals."""

from __future__ import annotations

import math
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from deleverage.analysis import paired
from deleverage.analysis.batches import Batched, Common, batched, common
from deleverage.analysis.estimate import Estimate, half_width, require_fraction
from deleverage.analysis.measures import Measure, Probability
from deleverage.results.schema import Good

if TYPE_CHECKING:
    import xarray as xr

DRAWS = 10_000
"""Draws of the largest studentised difference."""

FEW_BLOCKS = 100
"""From fewer blocks than this the joint law of the differences is itself too uncertain to draw."""

METHOD = (
    "paired differences of all pairs; the largest studentised one from draws of their joint normal "
    "law (max-t), or, from fewer than 100 blocks, Student's intervals with the miss divided among "
    "the pairs (Bonferroni); shares no narrower than their paired intervals at that level, and "
    "what differs without an error by those alone"
)


def ranking(
    x: xr.DataArray, what: Measure, good: Good, level: float = 0.95
) -> xr.Dataset:
    """Order the policies by a measure, and say which orders the sample can tell apart.

    The intervals of all differences hold together with probability `level`, so any pair may be
    picked after looking. A rank's interval follows: no better than one more than the policies that
    are significantly better, no worse than the number that are not significantly worse.

    Args:
        x: An outcome with the dimensions `policy` and `path`.
        what: The measure.
        good: Whether a low or a high measure is good.
        level: Joint level of the intervals.

    Returns:
        Over `policy`: `estimate` with `standard_error`, `lower` and `upper` of it alone, `rank`,
        `rank_lower`, `rank_upper`. Over `policy` and `other`: `difference` with
        `_standard_error`, `_lower`, `_upper`, and `significant`. Where neither is bounded by the
        sample (see `paired.difference`), the ends are NaN and the pair is not told apart.

    Raises:
        ConfigError: `x` has other dimensions, or `level` is none.
        RunError: Fewer than two paths have a value under every policy.
    """
    import xarray as xr

    require_fraction("level", level)
    together = common(x)
    found = batched(together, what, level=level)
    labels = x["policy"].values
    count = labels.size
    with np.errstate(invalid="ignore"):  # an infinite value differs by nothing known
        difference = found.values[:, None] - found.values[None, :]
    error = found.errors_of_pairs()
    half = critical_value(found, error, level) * error
    ends = np.stack([difference - half, difference + half])
    _tell_apart(ends, together, what, difference, error, level)
    better, worse = (ends[1] < 0, ends[0] > 0) if good == "low" else (ends[0] > 0, ends[1] < 0)
    order = np.argsort(found.values if good == "low" else -found.values, kind="stable")
    rank = np.empty(count, dtype=np.int64)
    rank[order] = np.arange(1, count + 1)
    pair = ("policy", "other")
    unit = {"units": x.attrs["units"]} if "units" in x.attrs and what.name != "probability" else {}
    alone = np.array(found.estimates).T
    return xr.Dataset(
        {
            "estimate": ("policy", found.values, unit),
            **{
                name: ("policy", numbers, unit)
                for name, numbers in zip(Estimate._fields[1:], alone[1:], strict=True)
            },
            "rank": ("policy", rank),
            "rank_lower": ("policy", 1 + worse.sum(axis=1)),
            "rank_upper": ("policy", count - better.sum(axis=1)),
            "difference": (pair, difference, unit),
            "difference_standard_error": (pair, error, unit),
            "difference_lower": (pair, ends[0], unit),
            "difference_upper": (pair, ends[1], unit),
            "significant": (pair, better | worse),
        },
        coords={"policy": labels, "other": ("other", labels)},
        attrs={
            "measure": what.name,
            "level": level,
            "good": good,
            "method": METHOD,
            "paths": found.paths,
            "missing": x.sizes["path"] - found.paths,
            **({"thin_tail": "too few points"} if found.support < what.least_points else {}),
        },
    )


def critical_value(found: Batched, error: np.ndarray, level: float) -> float:
    """Standard errors that the largest of all pairs' differences stays within, jointly."""
    pairs = [
        (i, j) for i, j in zip(*np.triu_indices(error.shape[0], 1), strict=True) if error[i, j] > 0
    ]
    if not pairs:
        return 0.0
    if found.degrees < FEW_BLOCKS - 1:
        return half_width(1.0 - (1.0 - level) / len(pairs), found.degrees)
    drawn = np.full((DRAWS, error.shape[0]), math.nan)
    known = np.isfinite(found.terms).all(axis=-1)  # a policy without an error is in no pair
    drawn[:, known] = found._replace(terms=found.terms[known]).redrawn(DRAWS)
    largest = np.zeros(DRAWS)
    for i, j in pairs:
        np.maximum(largest, np.abs(drawn[:, i] - drawn[:, j]) / error[i, j], out=largest)
    return float(np.quantile(largest, level))


def _tell_apart(
    ends: np.ndarray,
    together: Common,
    what: Measure,
    difference: np.ndarray,
    error: np.ndarray,
    level: float,
) -> None:
    """Widen the ends of pairs whose error says too little: shares, and differences without one."""
    share = isinstance(what, Probability)
    pairs = [
        (i, j)
        for i, j in combinations(range(error.shape[0]), 2)
        if share or (error[i, j] == 0.0 and difference[i, j] != 0.0)
    ]
    if not pairs:
        return
    each = 1.0 - (1.0 - level) / math.comb(error.shape[0], 2)
    samples = {}
    for i in sorted({i for pair in pairs for i in pair}):
        samples[i] = together.sample(i)
        if isinstance(what, Probability):  # a byte a path is enough where all policies are held
            samples[i] = samples[i].of(what.hits(samples[i].values))
    what = Probability(above=0.5) if share else what
    for i, j in pairs:
        own = paired.difference(what, samples[i], samples[j], each)
        lower, upper = own.lower, own.upper
        if share:
            lower, upper = min(lower, ends[0, i, j]), max(upper, ends[1, i, j])
        ends[:, i, j] = lower, upper
        ends[:, j, i] = -upper, -lower
