"""Samples and measures on the paths on which something happened to another outcome."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from deleverage.analysis.estimate import Estimate, Sample
from deleverage.analysis.measures import Measure
from deleverage.analysis.samples import Gathered, gather, require_condition
from deleverage.errors import ConfigError

if TYPE_CHECKING:
    import xarray as xr


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
    """The measure of the sample on an event.

    With weights it is normalised by the weight of the event, which is estimated too: divided by
    it, the terms lose their own mean.
    """
    if sample.weights is None:
        return what.estimate(sample, level)
    weights = sample.weights / np.mean(sample.weights)
    value, terms = what.influence(sample._replace(weights=weights))
    return sample.normal(value, terms - terms.mean() * weights, level)
