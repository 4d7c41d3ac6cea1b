"""Quantiles through time, with errors and intervals, from the histograms of a timeline."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import xarray as xr

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
CONFIDENCE = 0.95


def read_timeline(
    histograms: xr.Dataset, levels: tuple[float, ...] = LEVELS, confidence: float = CONFIDENCE
) -> xr.Dataset:
    """Quantiles through time of what a run's histograms count.

    Args:
        histograms: The group `timeline` of a run.
        levels: Levels of the quantiles.
        confidence: Of the intervals.

    Returns:
        For each quantity X and dims `(policy, time, ..., quantile)`: `X`, its standard error
        `X_error`, the interval `X_lower`, `X_upper`, and the number of paths `X_count`.
    """
    import xarray as xr

    labelled = set(histograms.coords)
    found: dict[str, xr.DataArray] = {}
    for name, counts in histograms.data_vars.items():
        dims = counts.dims[:-1]
        edges = np.append(histograms[f"{name}_low"].values, histograms[f"{name}_high"].values[-1])
        parts = _quantiles(counts.values, edges, levels, confidence)
        unit = {"units": histograms[f"{name}_low"].attrs.get("units", "1")}
        for ending, values in zip(("", "_error", "_lower", "_upper"), parts, strict=True):
            found[f"{name}{ending}"] = xr.DataArray(values, dims=(*dims, "quantile"), attrs=unit)
        found[f"{name}_count"] = xr.DataArray(counts.values.sum(axis=-1), dims=dims)
    coords = {dim: _plain(histograms[dim].values) for dim in histograms.dims if dim in labelled}
    return xr.Dataset(found, coords={**coords, "quantile": list(levels)}, attrs=histograms.attrs)


def _plain(labels: np.ndarray) -> np.ndarray:
    """Labels as fixed-width text, numbers as they are."""
    return labels if labels.dtype.kind in "fiu" else np.array(labels.tolist(), dtype=np.str_)


def _quantiles(
    counts: np.ndarray, edges: np.ndarray, levels: tuple[float, ...], confidence: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    r"""Quantiles of histograms `[..., bin]`, their errors and intervals, each `[..., level]`.

    Inside a bin the distribution function is a straight line. The error is
    $\sqrt{q (1 - q) / n} / f$ with the density f of the quantile's bin; the interval reaches from
    the lower edge of the bin of one order statistic to the upper edge of that of another, which
    enclose the quantile with at least the confidence whatever the law (binomial ranks), so it is
    exact but never narrower than a bin.
    """
    from scipy.stats import binom

    cumulated = np.cumsum(counts, axis=-1)
    count = cumulated[..., -1]
    safe = np.maximum(count, 1)
    width = np.diff(edges)
    parts: list[list[np.ndarray]] = [[], [], [], []]

    def bin_of(rank: np.ndarray) -> np.ndarray:
        return np.minimum((cumulated < rank[..., None]).sum(axis=-1), len(width) - 1)

    for level in levels:
        target = level * count
        place = bin_of(np.maximum(np.ceil(target), 1))
        inside = np.take_along_axis(counts, place[..., None], -1)[..., 0]
        below = np.take_along_axis(cumulated, place[..., None], -1)[..., 0] - inside
        share = np.clip((target - below) / np.maximum(inside, 1), 0, 1)
        density = inside / (safe * width[place])
        error = np.sqrt(level * (1 - level) / safe) / np.where(density > 0, density, np.nan)
        miss = (1 - confidence) / 2
        low = binom.ppf(miss, count, level)
        high = binom.ppf(1 - miss, count, level) + 1
        lower = np.where(low >= 1, edges[bin_of(np.maximum(low, 1))], -np.inf)
        upper = np.where(high <= count, edges[bin_of(np.minimum(high, safe)) + 1], np.inf)
        known = count > 0
        for values, part in zip(
            (edges[place] + share * width[place], error, lower, upper), parts, strict=True
        ):
            part.append(np.where(known, values, np.nan))
    value, error, lower, upper = (np.stack(part, axis=-1) for part in parts)
    return value, error, lower, upper
