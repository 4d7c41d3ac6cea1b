"""One policy against another, or all against all, paired on common draws."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deleverage.analysis import paired as of_paths
from deleverage.analysis import ranking as ranks
from deleverage.analysis.direction import bad_tail, good_measure, good_values
from deleverage.analysis.estimate import require_fraction
from deleverage.analysis.measures import Measure, Tail, by_name
from deleverage.analysis.measuring import finish
from deleverage.analysis.samples import gather, require_paths
from deleverage.errors import ConfigError
from deleverage.results.schema import Good

if TYPE_CHECKING:
    import xarray as xr


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
    first, second = (of_policy(x, label) for label in (policy_a, policy_b))
    result = gather(first, second)
    for place, one, other in result.pairs():
        result.put(place, of_paths.difference(what, one, other, level), one.size)
        result.note_support(min(what.support(one), what.support(other)))
    name = f"difference of {what.name}"
    return finish(result, what, level, name, of_paths.METHOD).assign_attrs(
        policies=f"{policy_a} - {policy_b}"
    )


def ranking(
    x: xr.DataArray,
    measure: str | Measure = "expected_shortfall",
    q: float | None = None,
    good: Good | None = None,
    level: float = 0.95,
    tail: Tail | None = None,
    above: float | None = None,
    below: float | None = None,
) -> xr.Dataset:
    """Order the policies by a measure, with simultaneous intervals of all paired differences.

    See `deleverage.analysis.ranking.ranking`: `rank` with `rank_lower` and `rank_upper` over
    `policy`, and every `difference` over `policy` and `other`, by max-t. Whether low or high
    values are good is as the schema says of the outcome's name, unless `good` does; the tail of an
    expected shortfall is by default the bad one.

    Raises:
        ConfigError: Nothing says which values are good, or as of `difference`.
    """
    values = good_values(None if x.name is None else str(x.name), good)
    what = by_name(measure, q, tail or bad_tail(values), above, below)
    return ranks.ranking(x, what, good_measure(values, what), level)


def of_policy(x: xr.DataArray, label: str) -> xr.DataArray:
    """The outcome under one policy.

    Raises:
        ConfigError: There is no such policy, or no labelled dimension `policy`.
    """
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
