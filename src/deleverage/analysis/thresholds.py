"""Which threshold the peaks of an outcome may be taken over: what theory says should be seen."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from deleverage.analysis import pareto
from deleverage.analysis.estimate import Estimate, Sample, ThinTailWarning, require_fraction
from deleverage.analysis.measures import Tail
from deleverage.analysis.peaks import LEAST_PEAKS, Fitted, fit_peaks
from deleverage.analysis.samples import gather, require_paths

if TYPE_CHECKING:
    import xarray as xr

SHARES = (0.2, 0.15, 0.1, 0.07, 0.05, 0.03, 0.02, 0.01)

REFUSED_BELOW = 0.1
"""A fit whose chance is less than this is refused when a threshold is chosen."""

_FIELDS = {
    "mean_excess": "Mean excess over the threshold; a straight line of it speaks for a Pareto tail",
    "shape": "Shape of the excesses; level in a Pareto tail",
    "modified_scale": "Scale less shape times threshold; level in a Pareto tail",
}


def threshold_diagnostics(
    x: xr.DataArray,
    shares: Sequence[float] = SHARES,
    tail: Tail = "upper",
    level: float = 0.95,
) -> xr.Dataset:
    """Mean excess, stability of shape and scale, and goodness of fit, threshold by threshold.

    Args:
        x: An outcome with the dimension `path`.
        shares: Shares of the values taken as peaks; each gives a threshold.
        tail: Which tail is the bad one; of the lower one values and thresholds change sign.
        level: Level of the intervals, which are normal.

    Returns:
        Over the dimensions of `x` but `path`, and `share`: `threshold`, `peaks`, `mean_excess`,
        `shape`, `modified_scale` (each with `_standard_error`, `_lower`, `_upper`) and
        `goodness_of_fit`, the chance of a worse Cramér-von Mises distance under the fitted law
        (of plain paths alone). `chosen_share` is the largest share that is not refused,
        nor any smaller one, at a chance below a tenth; NaN where even the smallest is. Where there
        are too few peaks to fit, numbers are NaN, and a warning says so if it is at every share.

    Source: Davison and Smith 1990; Coles 2001, section 4.3; Choulakian and Stephens 2001.
    """
    import xarray as xr

    require_paths(x)
    require_fraction("level", level)
    shares = sorted((require_fraction("share", share) for share in shares), reverse=True)
    gathered = gather(x)
    shape = (*gathered.shape, len(shares))
    names = [f"{name}{end}" for name in _FIELDS for end in ("", *_ENDS)]
    numbers = {name: np.full(shape, math.nan) for name in ("threshold", "goodness_of_fit", *names)}
    peaks = np.zeros(shape, dtype=np.int64)
    for place, sample in gathered.samples():
        for i, share in enumerate(shares):
            fitted = fit_peaks(sample, tail, share) if sample.size else None
            if fitted is None:
                continue
            at = (*place, i)
            peaks[at] = fitted.excesses.size
            numbers["threshold"][at] = fitted.sign * fitted.threshold
            if sample.is_plain:
                numbers["goodness_of_fit"][at] = pareto.goodness_of_fit(fitted.excesses)
            for name, estimate in _estimates(fitted, sample, level).items():
                for end, number in zip(("", *_ENDS), estimate, strict=True):
                    numbers[f"{name}{end}"][at] = number
    if not peaks.any():
        warnings.warn(
            f"at no share do {x.sizes['path']} paths leave the {LEAST_PEAKS} peaks that a fit "
            "needs, so every number is NaN; run more paths or take larger shares.",
            ThinTailWarning,
            stacklevel=2,
        )
    dims = (*gathered.dims, "share")
    result = xr.Dataset(
        {name: (dims, values) for name, values in numbers.items()} | {"peaks": (dims, peaks)},
        coords={**gathered.coords, "share": ("share", shares)},
        attrs={"level": level, "tail": tail},
    )
    for name, meaning in _FIELDS.items():
        result[name].attrs["long_name"] = meaning
    return result.assign(chosen_share=(gathered.dims, _chosen(numbers["goodness_of_fit"], shares)))


_ENDS = ("_standard_error", "_lower", "_upper")


def _estimates(fitted: Fitted, sample: Sample, level: float) -> dict[str, Estimate]:
    """The three diagnostics of one threshold; without errors where the fit is irregular."""
    weights = np.ones(fitted.excesses.size) if fitted.weights is None else fitted.weights
    mean = float(np.average(fitted.excesses, weights=weights))
    if fitted.is_regular:
        on_shape, on_scale = pareto.influence(fitted.excesses, fitted.shape, fitted.scale)
    else:
        on_shape = on_scale = np.full(fitted.excesses.size, math.nan)
    values = {
        "mean_excess": (mean, fitted.excesses - mean),
        "shape": (fitted.shape, on_shape),
        "modified_scale": (
            fitted.scale - fitted.shape * fitted.threshold,
            on_scale - fitted.threshold * on_shape,
        ),
    }
    found = {}
    for name, (value, peaks) in values.items():
        terms = np.zeros(sample.size)
        terms[fitted.above] = weights * peaks / fitted.share
        found[name] = sample.normal(value, terms, level)
    return found


def _chosen(chances: np.ndarray, shares: Sequence[float]) -> np.ndarray:
    """The largest share with no refused fit at it or at smaller ones, `[...]`."""
    fine = np.flip(np.logical_and.accumulate(np.flip(chances >= REFUSED_BELOW, -1), axis=-1), -1)
    candidates = np.where(fine, np.asarray(shares), -math.inf).max(axis=-1)
    return np.where(np.isfinite(candidates), candidates, math.nan)
