"""How concentrated amounts are, and how many channels act independently of each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from deleverage.analysis.estimate import (
    NOTHING,
    Estimate,
    require_fraction,
)
from deleverage.analysis.samples import BY_PATH, path_parts, require_paths
from deleverage.errors import ConfigError

if TYPE_CHECKING:
    import xarray as xr


def herfindahl(x: xr.DataArray, dim: str = "asset", level: float = 0.95) -> xr.Dataset:
    r"""Herfindahl's index $\sum_i s_i^2$ of the mean amounts over a dimension.

    It is 1 where all is in one place and 1/n where it is spread evenly over n; its reciprocal is
    the effective number.

    Args:
        x: Amounts, not negative, with the dimensions `path` and `dim`, such as `collateral_sold`.
        dim: What they are spread over.
        level: Level of the interval, normal with the error of the delta method.

    Source: Hirschman 1964.
    """
    if dim not in x.dims:
        raise ConfigError(f"the array has no dimension {dim!r}, but {', '.join(map(str, x.dims))}.")

    def measure(amounts: np.ndarray, weights: np.ndarray | None) -> tuple[float, np.ndarray]:
        terms = amounts if weights is None else amounts * weights
        means = terms.mean(axis=-1)
        total = means.sum()
        if total <= 0.0:
            return math.nan, np.full(amounts.shape[-1], math.nan)
        shares = means / total
        value = float((shares**2).sum())
        return value, 2.0 * (shares - value) @ terms / total

    return _over(x, dim, measure, "Herfindahl index", level)


def independent_channels(
    outcomes: xr.Dataset | xr.DataArray,
    channels: Sequence[str] | None = None,
    dim: str = "channel",
    level: float = 0.95,
) -> xr.Dataset:
    r"""How many stabilising channels there are in effect: the participation ratio of correlations.

    $$N = k^2 / \sum_{ij} r_{ij}^2$$

    It is k for channels that act independently over paths, and 1 for those that act as one. A
    channel that never acts, or always alike, stabilises nothing on some paths rather than others
    and is not counted.

    Args:
        outcomes: A dataset with the named channels, or an array with the dimension `dim`.
        channels: Variables such as `insurance_drawn` and `adl_notional`; other dimensions than
            `policy` and `path` are summed over.
        dim: The dimension of channels in an array.
        level: Level of the interval, normal with the error of the delta method.

    Source: the effective number of independent bets (Meucci 2009), as the participation ratio of
    the eigenvalues of the correlation matrix (Bell and Dean 1970).
    """
    import xarray as xr

    if channels is not None:
        parts = []
        for name in channels:
            if name not in outcomes:
                raise ConfigError(f"the channel {name!r} is not stored in this dataset.")
            part = outcomes[name]
            extra = [one for one in part.dims if one not in ("policy", "path")]
            parts.append(part.sum(extra, skipna=False) if extra else part)
        outcomes = xr.concat(parts, dim, coords="minimal", compat="override")
    if dim not in outcomes.dims or isinstance(outcomes, xr.Dataset):
        raise ConfigError(f"name the channels, or pass an array with the dimension {dim!r}.")

    def measure(amounts: np.ndarray, weights: np.ndarray | None) -> tuple[float, np.ndarray]:
        w = np.ones(amounts.shape[-1]) if weights is None else weights / weights.mean()
        centred = amounts - (amounts * w).mean(axis=-1, keepdims=True)
        spread = np.sqrt((centred**2 * w).mean(axis=-1))
        acts = spread > 1e-12 * np.abs(amounts).max(axis=-1, initial=0.0)
        if not acts.any():
            return math.nan, np.full(w.size, math.nan)
        z = centred[acts] / spread[acts, None]
        r = (z * w) @ z.T / w.size
        total = float((r**2).sum())
        # of each squared correlation: 2 r (z z' - r (z^2 + z'^2) / 2)
        terms = 2.0 * w * ((z * (r @ z)).sum(axis=0) - ((r**2).sum(axis=1)[:, None] * z**2).sum(0))
        count = int(acts.sum())
        return count**2 / total, -(count**2) / total**2 * terms

    return _over(outcomes, dim, measure, "effective number of channels", level)


def _over(x: xr.DataArray, dim: str, measure: object, name: str, level: float) -> xr.Dataset:
    """A measure of rows `[dim, path]`, for each place of the other dimensions."""
    import xarray as xr

    require_paths(x)
    require_fraction("level", level)
    x = x.transpose(..., dim, "path")
    parts = path_parts(x)
    dims = x.dims[:-2]
    shape = x.shape[:-2]
    found = np.full((len(Estimate._fields), *shape), math.nan)
    paths = np.zeros(shape, dtype=np.int64)
    for place in np.ndindex(shape):
        rows = np.asarray(x[place].values, dtype=np.float64)
        present = parts.present(np.isnan(rows).any(axis=0))
        paths[place] = np.count_nonzero(present)
        estimate = NOTHING
        if paths[place] >= 2:
            kept = parts.on(present)
            value, terms = measure(rows[:, present], kept.weights)  # type: ignore[operator]
            estimate = kept.sample(terms).normal(value, terms, level)
        found[(slice(None), *place)] = estimate
    coords = {
        key: coord
        for key, coord in x.coords.items()
        if not {"path", dim} & set(coord.dims) and key not in BY_PATH
    }
    names = ("estimate", *Estimate._fields[1:])
    data = {key: (dims, numbers) for key, numbers in zip(names, found, strict=True)}
    data |= {"paths": (dims, paths), "missing": (dims, x.sizes["path"] - paths)}
    attrs = {"measure": name, "level": level, "over": dim, "method": "delta method, normal"}
    return xr.Dataset(data, coords=coords, attrs=attrs)
