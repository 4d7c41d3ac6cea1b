"""Which policy is best, how sure is that: all pairs at once, with simultaneous intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from deleverage.analysis.batches import Batched, batched
from deleverage.analysis.estimate import half_width, require_fraction
from deleverage.analysis.measures import Measure
from deleverage.errors import ConfigError

if TYPE_CHECKING:
    import xarray as xr

DRAWS = 10_000
"""Bootstrap draws of the largest studentised difference."""

METHOD = (
    "paired differences of all pairs; the largest studentised one by a Gaussian multiplier "
    "bootstrap over batches of paths (max-t)"
)


def ranking(
    x: xr.DataArray, what: Measure, best: Literal["low", "high"] = "low", level: float = 0.95
) -> xr.Dataset:
    """Order the policies by a measure, and say which orders the sample can tell apart.

    The intervals of all differences hold together with probability `level`, so any pair may be
    picked after looking. A rank's interval follows: no better than one more than the policies that
    are significantly better, no worse than the number that are not significantly worse.

    Args:
        x: An outcome with the dimensions `policy` and `path`.
        what: The measure.
        best: Whether low or high values are good.
        level: Joint level of the intervals.

    Returns:
        Over `policy`: `estimate`, `standard_error`, `rank` (1 is best), `rank_lower`,
        `rank_upper`. Over `policy` and `other`: `difference` (policy minus other) with
        `difference_standard_error`, `difference_lower`, `difference_upper`, and `significant`.

    Source: Chernozhukov, Chetverikov and Kato 2013 (max-t); Mogstad, Romano, Shaikh and Wilhelm
    2024 (ranks).
    """
    import xarray as xr

    require_fraction("level", level)
    if best not in ("low", "high"):
        raise ConfigError(f"best is {best!r}, but it must be 'low' or 'high'.")
    found = batched(x, what)
    labels = x["policy"].values
    count = labels.size
    covariance = found.covariance()
    own = np.diag(covariance)
    difference = found.values[:, None] - found.values[None, :]
    spread = own[:, None] + own[None, :] - 2.0 * covariance
    error = np.sqrt(np.maximum(spread, 0.0))
    # What differs on no path leaves nothing but rounding of the three terms.
    error[spread <= 1e-13 * (own[:, None] + own[None, :])] = 0.0
    half = critical_value(found, error, level) * error
    sign = 1.0 if best == "low" else -1.0
    better = sign * difference < -half
    worse = sign * difference > half
    order = np.argsort(sign * found.values, kind="stable")
    rank = np.empty(count, dtype=np.int64)
    rank[order] = np.arange(1, count + 1)
    pair = ("policy", "other")
    unit = {"units": x.attrs["units"]} if "units" in x.attrs else {}
    return xr.Dataset(
        {
            "estimate": ("policy", found.values, unit),
            "standard_error": ("policy", np.sqrt(own), unit),
            "rank": ("policy", rank),
            "rank_lower": ("policy", 1 + worse.sum(axis=1)),
            "rank_upper": ("policy", count - better.sum(axis=1)),
            "difference": (pair, difference, unit),
            "difference_standard_error": (pair, error, unit),
            "difference_lower": (pair, difference - half, unit),
            "difference_upper": (pair, difference + half, unit),
            "significant": (pair, better | worse),
        },
        coords={"policy": labels, "other": ("other", labels)},
        attrs={"measure": what.name, "level": level, "method": METHOD, "paths": found.paths},
    )


def critical_value(found: Batched, error: np.ndarray, level: float) -> float:
    """Standard errors that the largest of all pairs' differences stays within, jointly."""
    pairs = [
        (i, j) for i, j in zip(*np.triu_indices(error.shape[0], 1), strict=True) if error[i, j]
    ]
    if not pairs:
        return 0.0
    drawn = found.redrawn(DRAWS)
    largest = np.zeros(DRAWS)
    for i, j in pairs:
        np.maximum(largest, np.abs(drawn[:, i] - drawn[:, j]) / error[i, j], out=largest)
    # from few blocks the errors themselves are uncertain: as much wider as Student's interval
    wider = half_width(level, found.degrees) / half_width(level)
    return float(np.quantile(largest, level)) * wider
