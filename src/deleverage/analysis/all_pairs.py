"""All pairs of a dimension at once: what each venue, or asset, does in the worst paths of each."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Literal

from deleverage.analysis.estimate import ThinTailWarning
from deleverage.analysis.measures import Tail
from deleverage.analysis.spillovers import covar, delta_covar, marginal_expected_shortfall
from deleverage.analysis.thin import note_points
from deleverage.errors import ConfigError

if TYPE_CHECKING:
    import xarray as xr

Name = Literal["covar", "delta_covar", "marginal_expected_shortfall"]


def all_pairs(
    x: xr.DataArray,
    dim: str,
    measure: Name = "delta_covar",
    q: float = 0.95,
    p: float | None = None,
    tail: Tail = "upper",
    level: float = 0.95,
) -> xr.Dataset:
    """A measure of every label of `dim` given the worst paths of every label of it.

    A row, `given_DIM`, is who is in distress, a column, `DIM`, who is measured; the diagonal is a
    label given its own worst paths. Of an outcome on disk, the labels of one policy are in memory
    at a time.

    Args:
        x: An outcome with the dimensions `path` and `dim`, such as `equity_lost` over venues,
            `collateral_sold` over assets, or `trough_price` with `tail="lower"` over markets.
        dim: The dimension.
        measure: `covar`, `delta_covar` or `marginal_expected_shortfall`.
        q: Level of the quantile, or of the condition of a marginal expected shortfall.
        p: Level of the condition of the other two, default q.
        tail: Which tail of both is the bad one.
        level: Level of the intervals.

    Returns:
        `estimate`, `standard_error`, `lower`, `upper` and counts of paths, over the dimensions of
        `x` but `path`, and over `given_DIM`.

    Raises:
        ConfigError: `x` lacks the dimension, the measure is unknown, or p is given to a marginal
            expected shortfall.
    """
    import xarray as xr

    if dim not in x.dims or dim == "path":
        others = ", ".join(str(name) for name in x.dims if name != "path")
        raise ConfigError(f"dim is {dim!r}, but it must be one of {others}.")
    of_pair = _of_pair(measure, q, p, tail, level)
    whole = [name for name in x.dims if name not in ("path", dim)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ThinTailWarning)  # said once, below
        found = _by_place(x, whole[:1], lambda part: _matrix(part.compute(), dim, of_pair))
    levels = [found.attrs[key] for key in ("q", "p") if key in found.attrs]
    name = f"{found.attrs['measure']} of some pairs"
    note_points(found, name, found.attrs["tail_points"], levels)
    order = [*whole, f"given_{dim}", dim]
    return xr.Dataset(
        {name: one.transpose(*order) for name, one in found.items()}, attrs=found.attrs
    )


def _of_pair(
    measure: str, q: float, p: float | None, tail: Tail, level: float
) -> Callable[[xr.DataArray, xr.DataArray], xr.Dataset]:
    if measure in ("covar", "delta_covar"):
        what = covar if measure == "covar" else delta_covar
        return lambda y, given: what(y, given, q, p, tail, level)
    if measure != "marginal_expected_shortfall":
        raise ConfigError(
            f"measure is {measure!r}, but it must be covar, delta_covar or "
            "marginal_expected_shortfall."
        )
    if p is not None:
        raise ConfigError(
            f"p is {p}, but a marginal expected shortfall has one level; give it as q."
        )
    return lambda y, given: marginal_expected_shortfall(y, given, None, q, tail, level)


def _by_place(
    x: xr.DataArray, dims: list[Hashable], what: Callable[[xr.DataArray], xr.Dataset]
) -> xr.Dataset:
    """What is found of each label of a dimension on its own, side by side again."""
    if not dims:
        return what(x)
    (dim,) = dims
    return _joined([what(x.isel({dim: [i]})) for i in range(x.sizes[dim])], str(dim))


def _matrix(
    x: xr.DataArray, dim: str, of_pair: Callable[[xr.DataArray, xr.DataArray], xr.Dataset]
) -> xr.Dataset:
    """The measure given each label in turn."""
    rows = [of_pair(x, x.isel({dim: i}, drop=True)) for i in range(x.sizes[dim])]
    joined = _joined(rows, f"given_{dim}")
    if dim in x.coords:
        joined = joined.assign_coords({f"given_{dim}": x[dim].values})
    return joined


def _joined(parts: list[xr.Dataset], dim: str) -> xr.Dataset:
    import xarray as xr

    joined = xr.concat(parts, dim, combine_attrs="drop_conflicts")
    joined.attrs.pop("thin_tail", None)
    return joined.assign_attrs(tail_points=min(part.attrs["tail_points"] for part in parts))
