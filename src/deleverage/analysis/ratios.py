"""Means of one outcome over means of another, and how they differ between policies."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from deleverage.analysis import ratio
from deleverage.analysis.differences import of_policy
from deleverage.analysis.estimate import require_fraction
from deleverage.analysis.measuring import finish
from deleverage.analysis.samples import gather, require_paths
from deleverage.errors import ConfigError

if TYPE_CHECKING:
    import xarray as xr


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
    return finish(result, None, level, "ratio of means", ratio.METHOD)


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
    result = gather(*(of_policy(x, label) for label in (policy_a, policy_b) for x in parts))
    for place, (above, below, other_above, other_below) in result.together(least=2):
        value, terms = ratio.influence(above, below, at_zero)
        other_value, other_terms = ratio.influence(other_above, other_below, at_zero)
        found = above.normal(value - other_value, terms - other_terms, level)
        result.put(place, found, above.size)
    name = "difference of ratio of means"
    return finish(result, None, level, name, f"paired {ratio.METHOD}").assign_attrs(
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
