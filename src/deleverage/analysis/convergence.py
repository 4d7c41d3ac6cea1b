"""What a measure would have been with fewer paths."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING

import numpy as np

from deleverage.analysis import measuring
from deleverage.analysis.estimate import ThinTailWarning, block_starts
from deleverage.analysis.measures import Measure, Tail, by_name
from deleverage.analysis.samples import path_blocks, require_paths
from deleverage.errors import RunError

if TYPE_CHECKING:
    import xarray as xr

FIRST_PATHS = 100
"""Paths of the first point of a convergence curve."""


def convergence(
    x: xr.DataArray,
    measure: str | Measure = "expected_shortfall",
    q: float | None = None,
    points: int = 12,
    level: float = 0.95,
    tail: Tail = "upper",
    above: float | None = None,
    below: float | None = None,
) -> xr.Dataset:
    """The measure from the first paths alone, up to all of them, over `first_paths`.

    The numbers of paths double or less from step to step; `thin` marks those that cannot support
    the level. Draws depend on the path id alone, so each is what a shorter run would have given.

    Raises:
        RunError: There are fewer than 100 paths.
    """
    import xarray as xr

    require_paths(x)
    what = by_name(measure, q, tail, above, below)
    count = x.sizes["path"]
    if count < FIRST_PATHS:
        raise RunError(f"there are {count} paths, but a curve begins at {FIRST_PATHS}; run more.")
    steps = max(points, 2, math.ceil(math.log2(count / FIRST_PATHS)) + 1)
    sizes = np.unique(np.geomspace(FIRST_PATHS, count, steps).round().astype(int))
    blocks = path_blocks(x)
    if blocks is not None:  # whole blocks, at least two: fewer have no error
        ends = np.append(block_starts(blocks)[2:], count)
        sizes = np.unique(ends[np.minimum(np.searchsorted(ends, sizes), ends.size - 1)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ThinTailWarning)
        parts = [measuring.measure(x.isel(path=slice(int(size))), what, level) for size in sizes]
    thin = np.array(["thin_tail" in part.attrs for part in parts])
    joined = xr.concat(parts, "first_paths", combine_attrs="drop_conflicts")
    return joined.assign_coords(first_paths=sizes).assign(thin=("first_paths", thin))
