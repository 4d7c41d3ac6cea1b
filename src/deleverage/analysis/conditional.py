"""Measures on the paths on which something happened to another outcome."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from deleverage.analysis.estimate import NOTHING, Estimate, Sample, require_fraction
from deleverage.analysis.measures import Measure, Tail, by_name
from deleverage.analysis.measuring import finish
from deleverage.analysis.samples import Gathered, gather, require_condition
from deleverage.errors import ConfigError

if TYPE_CHECKING:
    import xarray as xr


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
    weights the measure is normalised by the weight of the event, and its interval is normal, that
    of a probability as without an event: of as many plain paths as have its error.

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
    method = f"on the paths of the event: {what.method}"
    dataset = finish(result, what, level, name, method, stacklevel=3)
    missing = (~known).sum("path").transpose(*result.dims)
    dataset["missing"] = (result.dims, missing.values.astype(np.int64))
    side, bound = ("above", given_above) if given_above is not None else ("below", given_below)
    dataset.attrs["given"] = f"{given.name or 'event'} {side} {bound:g}"
    if missing.any():
        dataset.attrs["missing"] = f"{int(missing.sum())} values are missing and left out"
    else:
        dataset.attrs.pop("missing", None)
    return dataset


def event_of(
    x: xr.DataArray, given: xr.DataArray, above: float | None, below: float | None
) -> tuple[xr.DataArray, xr.DataArray]:
    """Where the event happened, and where both outcomes are known.

    Raises:
        ConfigError: Both thresholds or none are given, or `given` has dimensions that `x` lacks.
        RunError: There are fewer than two paths.
    """
    require_condition(x, given)
    if (above is None) == (below is None):
        raise ConfigError(
            f"given_above is {above!r} and given_below is {below!r}, but an event takes exactly "
            "one of them."
        )
    happened = given > above if above is not None else given < below
    known = x.notnull() & given.notnull().reset_coords(drop=True)
    return happened.reset_coords(drop=True), known


def gather_on(x: xr.DataArray, happened: xr.DataArray, what: Measure, level: float) -> Gathered:
    """The measure of `x` on the paths of an event; `paths` counts those."""
    result = gather(x.where(happened))
    for place, sample in result.samples(least=2):
        result.put(place, on_event(what, sample, level), sample.size)
        result.note_support(what.support(sample))
    return result


def on_event(what: Measure, sample: Sample, level: float) -> Estimate:
    """The measure of the sample on an event; NaN where all of its paths have the weight 0."""
    if sample.weights is None:
        return what.estimate(sample, level)
    return what.on_event(sample, level) if np.any(sample.weights > 0) else NOTHING
