"""Tail measures of outcomes over paths, each with standard error and interval.

An outcome is a DataArray with the dimension `path` and any others (`policy`, `market`), in memory
or in Dask; the coordinates `status` and `log_weight` are read where it carries them. The result is
a Dataset over the other dimensions:

- `estimate`, `standard_error`, `lower`, `upper`: the measure and its interval of `level`;
- `paths`: values used; `missing`: NaN values, left out and counted;
- `flagged`: paths whose status is not 0. They are used like all others.

With `log_weight` (the log likelihood ratio of importance sampling) every mean is
`mean(exp(log_weight) * term)`, unbiased; weights are not divided by their sum.

With `draw_block` (paths drawn in blocks: antithetic pairs, strata, Sobol points) every error comes
from the sums of blocks, which are independent, and intervals are Student's with one degree of
freedom less than there are blocks; exact binomial ones do not hold there. Where every block has as
many paths below a quantile (the median of antithetic pairs), its error is 0, and the interval of a
difference with it has no width: what is left is the gap between two neighbouring paths.
"""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Literal

import numpy as np

from deleverage.analysis import ranking as ranks
from deleverage.analysis import ratio
from deleverage.analysis.conditional import event_of, gather_on
from deleverage.analysis.estimate import (
    Estimate,
    Sample,
    ThinTailWarning,
    block_starts,
    require_fraction,
)
from deleverage.analysis.measures import (
    ExpectedShortfall,
    Mean,
    Measure,
    Probability,
    Quantile,
    Tail,
    paired_shares,
)
from deleverage.analysis.peaks import (
    PEAK_SHARE,
    PeakMeasure,
    PeaksOverThreshold,
    TailIndex,
)
from deleverage.analysis.samples import Gathered, gather, path_blocks, require_paths
from deleverage.analysis.thresholds import threshold_diagnostics
from deleverage.errors import ConfigError, RunError

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "ThinTailWarning",
    "conditional",
    "convergence",
    "difference",
    "difference_of_ratios",
    "expected_shortfall",
    "mean",
    "measure",
    "paired",
    "peaks_over_threshold",
    "probability",
    "quantile",
    "ranking",
    "ratio_of_means",
    "tail_index",
    "threshold_diagnostics",
]


FIRST_PATHS = 100
"""Paths of the first point of a convergence curve."""


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


def ratio_of_means(
    numerator: xr.DataArray,
    denominator: xr.DataArray,
    level: float = 0.95,
    at_zero: float = math.nan,
) -> xr.Dataset:
    """The mean of one outcome over the mean of another, which no single path dominates.

    The error is the delta method's, so the denominator's mean should lie several errors from 0.
    A path missing in either is left out of both and counted.

    Args:
        numerator: An outcome with the dimension `path`.
        denominator: Another of the same paths; dims that one of the two lacks are broadcast.
        level: Level of the interval.
        at_zero: The ratio where the denominator's mean is 0, such as 0 for a share of nothing.

    Raises:
        ConfigError: The two have other labels, or `level` lies outside (0, 1).
        RunError: There are fewer than two paths.
    """
    level = require_fraction("level", level)
    result = gather(*_fraction(numerator, denominator))
    for place, one, other in result.pairs():
        result.put(place, ratio.ratio_of_means(one, other, level, at_zero), one.size)
    return _finish(result, None, level, "ratio of means", ratio.METHOD)


def difference_of_ratios(
    numerator: xr.DataArray,
    denominator: xr.DataArray,
    policy_a: str,
    policy_b: str,
    level: float = 0.95,
    at_zero: float = math.nan,
) -> xr.Dataset:
    """The ratio of means under `policy_a` minus that under `policy_b`, paired path by path.

    Arguments as of `ratio_of_means` and `difference`: the error is that of the differenced
    linearisations, on the paths that all four outcomes have.

    Raises:
        ConfigError: A policy that is not there, other labels, or a level outside (0, 1).
        RunError: There are fewer than two paths.
    """
    level = require_fraction("level", level)
    parts = _fraction(numerator, denominator)
    result = gather(*(_of_policy(x, label) for label in (policy_a, policy_b) for x in parts))
    for place, (above, below, other_above, other_below) in result.together(least=2):
        value, terms = ratio.influence(above, below, at_zero)
        other_value, other_terms = ratio.influence(other_above, other_below, at_zero)
        found = above.normal(value - other_value, terms - other_terms, level)
        result.put(place, found, above.size)
    name = "difference of ratio of means"
    return _finish(result, None, level, name, f"paired {ratio.METHOD}").assign_attrs(
        policies=f"{policy_a} - {policy_b}"
    )


def _fraction(
    numerator: xr.DataArray, denominator: xr.DataArray
) -> tuple[xr.DataArray, xr.DataArray]:
    """Both in one shape, the numerator with the unit of their ratio."""
    import xarray as xr

    for x in (numerator, denominator):
        require_paths(x)
    try:
        above, below = xr.broadcast(*xr.align(numerator, denominator, join="exact"))
    except ValueError as error:
        raise ConfigError(
            f"numerator and denominator do not have the same labels ({error}); take both from one "
            "dataset."
        ) from None
    units = [x.attrs.get("units", "1") for x in (numerator, denominator)]
    return above.assign_attrs(units="1" if units[0] == units[1] else " / ".join(units)), below


def measure(x: xr.DataArray, what: Measure, level: float = 0.95) -> xr.Dataset:
    """Any measure of `deleverage.analysis.measures`, over the dimension `path`."""
    level = require_fraction("level", level)
    require_paths(x)
    result = gather(x)
    for place, sample in result.samples():
        result.put(place, what.estimate(sample, level), sample.size)
        result.note_support(what.support(sample))
    return _finish(result, what, level, what.name, what.method)


def difference(
    x: xr.DataArray,
    policy_a: str,
    policy_b: str,
    measure: str | Measure = "expected_shortfall",
    q: float | None = None,
    level: float = 0.95,
    tail: Tail = "upper",
    above: float | None = None,
    below: float | None = None,
) -> xr.Dataset:
    """The measure under `policy_a` minus that under `policy_b`, paired path by path.

    Both policies saw the same draws, so the error is that of the differenced influence functions;
    what moves both alike cancels. A path missing under either is left out of both and counted;
    `flagged` counts paths flagged under either.

    Raises:
        ConfigError: A policy or measure that is not there, or a level outside (0, 1).
        RunError: There are fewer than two paths.
    """
    return paired(x, policy_a, policy_b, by_name(measure, q, tail, above, below), level)


def paired(
    x: xr.DataArray, policy_a: str, policy_b: str, what: Measure, level: float = 0.95
) -> xr.Dataset:
    """The paired difference of any measure of `deleverage.analysis.measures`; see `difference`."""
    level = require_fraction("level", level)
    require_paths(x)
    first, second = (_of_policy(x, label) for label in (policy_a, policy_b))
    result = gather(first, second)
    for place, one, other in result.pairs():
        result.put(place, _paired(what, one, other, level), one.size)
        result.note_support(min(what.support(one), what.support(other)))
    name = f"difference of {what.name}"
    method = "paired influence functions; normal interval"
    if what.name == "probability":
        method += " (plain paths: Agresti-Min)"
    return _finish(result, what, level, name, method).assign_attrs(
        policies=f"{policy_a} - {policy_b}"
    )


def conditional(
    x: xr.DataArray,
    given: xr.DataArray,
    given_above: float | None = None,
    given_below: float | None = None,
    measure: str | Measure = "mean",
    q: float | None = None,
    level: float = 0.95,
    tail: Tail = "upper",
    above: float | None = None,
    below: float | None = None,
) -> xr.Dataset:
    """The measure of `x` on the paths on which `given` lies above, or below, a threshold.

    `paths` counts the paths of the event, `missing` those on which either value is NaN. With
    weights the measure is normalised by the weight of the event, and its interval is normal.

    Args:
        x: An outcome with the dimension `path`.
        given: Another outcome of the same paths; its dimensions are among those of `x`.
        given_above: The event is `given > given_above`.
        given_below: The event is `given < given_below`.
        measure: Name of the measure, or a measure of `deleverage.analysis.measures`.
        q: Its level.
        level: Level of the interval.
        tail: Its tail.
        above: Its threshold.
        below: Its threshold.

    Raises:
        ConfigError: Not exactly one threshold, or `given` has dimensions that `x` lacks.
        RunError: There are fewer than two paths.
    """
    level = require_fraction("level", level)
    what = by_name(measure, q, tail, above, below)
    happened, known = event_of(x, given, given_above, given_below)
    name = f"{what.name} given {given.name or 'an event'}"
    result = gather_on(x, happened, what, level)
    dataset = _finish(result, what, level, name, f"on the paths of the event: {what.method}")
    missing = (~known).sum("path").transpose(*result.dims)
    dataset["missing"] = (result.dims, missing.values.astype(np.int64))
    side, bound = ("above", given_above) if given_above is not None else ("below", given_below)
    dataset.attrs["given"] = f"{given.name or 'event'} {side} {bound:g}"
    if missing.any():
        dataset.attrs["missing"] = f"{int(missing.sum())} values are missing and left out"
    else:
        dataset.attrs.pop("missing", None)
    return dataset


def ranking(
    x: xr.DataArray,
    measure: str | Measure = "expected_shortfall",
    q: float | None = None,
    best: Literal["low", "high"] = "low",
    level: float = 0.95,
    tail: Tail = "upper",
    above: float | None = None,
    below: float | None = None,
) -> xr.Dataset:
    """Order the policies by a measure, with simultaneous intervals of all paired differences.

    See `deleverage.analysis.ranking.ranking`: `rank` with `rank_lower` and `rank_upper` over
    `policy`, and every `difference` over `policy` and `other`, by max-t.
    """
    return ranks.ranking(x, by_name(measure, q, tail, above, below), best, level)


def convergence(
    x: xr.DataArray,
    measure: str | Measure = "expected_shortfall",
    q: float | None = None,
    points: int = 12,
    level: float = 0.95,
    tail: Tail = "upper",
    above: float | None = None,
    below: float | None = None,
) -> xr.Dataset:
    """The measure from the first paths alone, up to all of them, over `first_paths`.

    The numbers of paths double or less from step to step; `thin` marks those that cannot support
    the level. Draws depend on the path id alone, so each is what a shorter run would have given.

    Raises:
        RunError: There are fewer than 100 paths.
    """
    import xarray as xr

    require_paths(x)
    what = by_name(measure, q, tail, above, below)
    count = x.sizes["path"]
    if count < FIRST_PATHS:
        raise RunError(f"there are {count} paths, but a curve begins at {FIRST_PATHS}; run more.")
    steps = max(points, 2, math.ceil(math.log2(count / FIRST_PATHS)) + 1)
    sizes = np.unique(np.geomspace(FIRST_PATHS, count, steps).round().astype(int))
    blocks = path_blocks(x)
    if blocks is not None:  # whole blocks, at least two: fewer have no error
        ends = np.append(block_starts(blocks)[2:], count)
        sizes = np.unique(ends[np.minimum(np.searchsorted(ends, sizes), ends.size - 1)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ThinTailWarning)
        parts = [_measured(x.isel(path=slice(int(size))), what, level) for size in sizes]
    thin = np.array(["thin_tail" in part.attrs for part in parts])
    joined = xr.concat(parts, "first_paths", combine_attrs="drop_conflicts")
    return joined.assign_coords(first_paths=sizes).assign(thin=("first_paths", thin))


def by_name(
    name: str | Measure,
    q: float | None = None,
    tail: Tail = "upper",
    above: float | None = None,
    below: float | None = None,
) -> Measure:
    """The measure of this name; a measure is handed back.

    Raises:
        ConfigError: The name is unknown or its argument is missing.
    """
    if isinstance(name, Measure):
        return name
    if name == "mean":
        return Mean()
    if name == "probability":
        return Probability(above, below)
    if name == "quantile":
        return Quantile(require_fraction("q", q))
    if name == "expected_shortfall":
        return ExpectedShortfall(require_fraction("q", q), tail)
    raise ConfigError(
        f"measure is {name!r}, but it must be one of mean, quantile, expected_shortfall, "
        "probability."
    )


def _paired(what: Measure, one: Sample, other: Sample, level: float) -> Estimate:
    value_a, terms_a = what.influence(one)
    value_b, terms_b = what.influence(other)
    with np.errstate(invalid="ignore"):
        terms = terms_a - terms_b
        value = value_a - value_b
    result = one.normal(value, terms, level)
    if isinstance(what, Probability) and one.is_plain:
        lower, upper = paired_shares(terms_a, terms_b, level)
        return result._replace(lower=lower, upper=upper)
    return result


def _of_policy(x: xr.DataArray, label: str) -> xr.DataArray:
    if "policy" not in x.dims or "policy" not in x.coords:
        raise ConfigError(
            f"the array has the dimensions {tuple(x.dims)}, but a paired difference needs a "
            "labelled dimension 'policy'."
        )
    labels = [str(name) for name in x["policy"].values]
    if label not in labels:
        raise ConfigError(
            f"policy {label!r} is not in this dataset; its policies are {', '.join(labels)}."
        )
    return x.isel(policy=labels.index(label), drop=True)


def _finish(
    result: Gathered, what: Measure | None, level: float, name: str, method: str
) -> xr.Dataset:
    dataset = result.dataset()
    dataset.attrs.update(measure=name, level=level, method=method)
    for key in ("q", "tail", "above", "below"):
        if getattr(what, key, None) is not None:
            dataset.attrs[key] = getattr(what, key)
    if what is not None and result.support < what.least_points:
        dataset.attrs["thin_tail"] = (
            f"only {result.support:.3g} points lie beyond the level {dataset.attrs['q']}"
        )
        warnings.warn(
            f"{name} at level {dataset.attrs['q']} rests on {result.support:.3g} points of the "
            f"sample, fewer than {what.least_points:g}; run more paths or take a level nearer the "
            "middle.",
            ThinTailWarning,
            stacklevel=4,
        )
    return dataset


# Where an argument is called `measure`, the function has to be called by another name.
_measured = measure
