"""Any measure of one outcome over its paths, and the usual ones by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deleverage.analysis.estimate import require_fraction
from deleverage.analysis.measures import (
    ExpectedShortfall,
    Mean,
    Measure,
    Probability,
    Quantile,
    Tail,
)
from deleverage.analysis.peaks import PEAK_SHARE, PeakMeasure, PeaksOverThreshold, TailIndex
from deleverage.analysis.samples import Gathered, gather, require_paths
from deleverage.analysis.thin import note_points

if TYPE_CHECKING:
    import xarray as xr


def measure(x: xr.DataArray, what: Measure, level: float = 0.95) -> xr.Dataset:
    """Any measure of `deleverage.analysis.measures`, over the dimension `path`."""
    level = require_fraction("level", level)
    require_paths(x)
    result = gather(x)
    for place, sample in result.samples():
        result.put(place, what.estimate(sample, level), sample.size)
        result.note_support(what.support(sample))
    return finish(result, what, level, what.name, what.method)


def mean(x: xr.DataArray, level: float = 0.95) -> xr.Dataset:
    """The mean over paths."""
    return measure(x, Mean(), level)


def quantile(x: xr.DataArray, q: float, level: float = 0.95) -> xr.Dataset:
    """The order statistic of rank ceil(n q), with its exact binomial interval.

    An end of the interval is infinite where the sample is too small to bound that side.

    Raises:
        ConfigError: `q` or `level` lies outside (0, 1).
        RunError: There are fewer than two paths.
    """
    return measure(x, Quantile(q), level)


def expected_shortfall(
    x: xr.DataArray, q: float, level: float = 0.95, tail: Tail = "upper"
) -> xr.Dataset:
    """The mean of the worst share 1 - q: the largest values, or the smallest with `tail="lower"`.

    Raises:
        ConfigError: `q` or `level` lies outside (0, 1), or `tail` is unknown.
        RunError: There are fewer than two paths.
    """
    return measure(x, ExpectedShortfall(q, tail), level)


def probability(
    x: xr.DataArray,
    above: float | None = None,
    below: float | None = None,
    level: float = 0.95,
) -> xr.Dataset:
    """The probability of a value strictly above (or strictly below) a threshold.

    Raises:
        ConfigError: Both thresholds or none are given, or `level` lies outside (0, 1).
        RunError: There are fewer than two paths.
    """
    return measure(x, Probability(above, below), level)


def peaks_over_threshold(
    x: xr.DataArray,
    q: float,
    of: PeakMeasure = "quantile",
    share: float = PEAK_SHARE,
    threshold: float | None = None,
    tail: Tail = "upper",
    level: float = 0.95,
) -> xr.Dataset:
    """The quantile or expected shortfall of level q from a generalised Pareto tail.

    It reaches beyond what the sample can rank, if the law holds: look at `threshold_diagnostics`
    first. NaN where there are fewer than 30 peaks, where the level lies below the threshold, and
    the error where the shape is at the edge of what can be estimated.

    Args:
        x: An outcome with the dimension `path`.
        q: Level; with `tail="lower"`, 1 - q is the share below.
        of: "quantile" or "expected_shortfall".
        share: Share of the values taken as peaks, where no threshold is given.
        threshold: The threshold, in the unit of the outcome.
        tail: Which tail is the bad one.
        level: Level of the profile likelihood interval.

    Raises:
        ConfigError: A level outside (0, 1), or q inside the threshold.
        RunError: There are fewer than two paths.
    """
    return measure(x, PeaksOverThreshold(q, of, tail, share, threshold), level)


def tail_index(x: xr.DataArray, share: float = PEAK_SHARE, level: float = 0.95) -> xr.Dataset:
    """Hill's index of the upper tail over its largest values; NaN where they are not positive."""
    return measure(x, TailIndex(share), level)


def finish(
    result: Gathered,
    what: Measure | None,
    level: float,
    name: str,
    method: str,
    stacklevel: int = 4,
) -> xr.Dataset:
    """The Dataset of a measure with what it says of itself, and a warning of a thin tail.

    Args:
        result: Estimates of every place.
        what: The measure; None: one whose support is not counted.
        level: Level of the intervals.
        name: What the measure is called.
        method: How value, error and interval are found.
        stacklevel: Of the warning, which names the line that asks; 2: this function's caller.
    """
    dataset = result.dataset()
    dataset.attrs.update(measure=name, level=level, method=method)
    for key in ("q", "tail", "above", "below"):
        if getattr(what, key, None) is not None:
            dataset.attrs[key] = getattr(what, key)
    if what is None:
        return dataset
    levels = [dataset.attrs[key] for key in ("q",) if key in dataset.attrs]
    return note_points(dataset, name, result.support, levels, what.least_points, stacklevel + 1)
