"""How far feedback carried a shock, over paths; and pegs that break together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from deleverage.analysis import tail
from deleverage.analysis.conditional import on_event
from deleverage.analysis.estimate import NOTHING, Estimate, require_fraction
from deleverage.analysis.measures import Probability
from deleverage.analysis.quantities import position
from deleverage.analysis.samples import BY_PATH, path_parts, require_paths
from deleverage.errors import ConfigError

if TYPE_CHECKING:
    import xarray as xr

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def distribution(
    x: xr.DataArray, quantiles: Sequence[float] = QUANTILES, level: float = 0.95
) -> xr.Dataset:
    """Quantiles of an outcome such as `amplification` or `reproduction_number`, over `q`.

    Each has its exact interval. Amplification is the drawdown over that of the paired run without
    feedback, undefined (missing, and counted) where the latter is nothing. The reproduction number
    is the share of liquidations that others induced: in a branching process in which each event
    sets off n more on average, it is n.

    Source: MODEL.md section 2.10; Filimonov and Sornette 2012 (branching ratio as the share of
    events that are endogenous); Hawkes and Oakes 1974.
    """
    import xarray as xr

    parts = [tail.quantile(x, q, level) for q in quantiles]
    joined = xr.concat(parts, "q", combine_attrs="drop_conflicts")
    return joined.assign_coords(q=("q", list(quantiles)))


def supercritical_probability(
    reproduction_number: xr.DataArray, above: float = 0.5, level: float = 0.95
) -> xr.Dataset:
    """Chance that more than this share of a path's liquidations were induced by others.

    A branching process is supercritical where each event sets off more than one other; in a finite
    pool of accounts every cascade ends, so the share induced stays below 1 and criticality itself
    cannot be read from it. The line drawn here is a convention: with more than half of them
    induced, the offspring of the exogenous liquidations outnumber them, and the total is more than
    twice what the shock did by itself.

    Source: share of endogenous events as the branching ratio, Filimonov and Sornette 2012.
    """
    return tail.probability(reproduction_number, above=above, level=level)


def co_depeg(
    depeg_minutes: xr.DataArray, threshold: float = 0.95, level: float = 0.95
) -> xr.Dataset:
    r"""Chance that one peg breaks given that another does, $P(i \mid j)$, over `peg` and `given`.

    A peg breaks on a path when it is below the threshold for any time at all.

    Args:
        depeg_minutes: Outcome with the dimensions `path`, `peg` and `threshold`.
        threshold: One of the stored thresholds.
        level: Level of the interval, exact for plain paths; with weights or in blocks that of as
            many plain paths as have the error.

    Returns:
        `estimate` with its error and interval over the other dimensions, `peg` and `given`;
        `paths` on which `given` broke. The chance of each alone is `alone` over `peg`, with error
        and interval.

    Source: distress dependence matrix, Segoviano and Goodhart 2009.
    """
    import xarray as xr

    require_paths(depeg_minutes)
    require_fraction("level", level)
    if not {"peg", "threshold"} <= set(depeg_minutes.dims):
        raise ConfigError(
            f"the array has the dimensions {tuple(depeg_minutes.dims)}, but 'peg' and 'threshold' "
            "are needed; pass run.outcomes.depeg_minutes."
        )
    try:
        at = position(depeg_minutes, "threshold", threshold)
    except KeyError:
        stored = ", ".join(f"{one:.4g}" for one in depeg_minutes["threshold"].values)
        raise ConfigError(f"threshold is {threshold}, but stored are {stored}.") from None
    x = depeg_minutes.isel(threshold=at, drop=True).transpose(..., "peg", "path")
    parts, what = path_parts(x), Probability(above=0.5)
    shape, pegs = x.shape[:-2], x.sizes["peg"]
    found = np.full((len(Estimate._fields), *shape, pegs, pegs), np.nan)
    paths = np.zeros((*shape, pegs, pegs), dtype=np.int64)
    for place in np.ndindex(shape):
        rows = np.asarray(x[place].values, dtype=np.float64)
        for j in range(pegs):
            for i in range(pegs):
                known = ~np.isnan(rows[i]) & ~np.isnan(rows[j])
                broke = known & (rows[j] > 0)
                paths[(*place, i, j)] = np.count_nonzero(broke)
                sample = parts.on(broke).sample((rows[i][broke] > 0) * 1.0)
                estimate = on_event(what, sample, level) if sample.size else NOTHING
                found[(slice(None), *place, i, j)] = estimate
    dims = (*x.dims[:-2], "peg", "given")
    names = ("estimate", *Estimate._fields[1:])
    alone = tail.probability(x, above=0.0, level=level)
    data = {name: (dims, numbers) for name, numbers in zip(names, found, strict=True)}
    data |= {
        "alone" if name == "estimate" else f"alone_{name}": (alone[name].dims, alone[name].values)
        for name in names
    }
    coords = {
        key: coord
        for key, coord in x.coords.items()
        if "path" not in coord.dims and key not in BY_PATH
    }
    return xr.Dataset(
        data | {"paths": (dims, paths)},
        coords=coords | {"given": ("given", x["peg"].values)},
        attrs={"measure": "probability of a depeg given another", "level": level},
    ).assign_attrs(threshold=threshold)
