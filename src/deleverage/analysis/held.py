"""Outcomes read once, for whatever measures many of them."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from deleverage.analysis.samples import BY_PATH

if TYPE_CHECKING:
    import xarray as xr

IN_MEMORY_BYTES = 2**30
"""Outcomes up to this size together are held in memory; else one at a time is, up to this size."""


def held(dataset: xr.Dataset, names: Collection[str]) -> xr.Dataset:
    """The dataset with some of its variables in memory, where they fit.

    Coordinates that no measure reads are left out: xarray would read, align and copy them again
    for each of them.

    Args:
        dataset: Outcomes `(policy, path, ...)`.
        names: Names of what is measured; those that the dataset lacks are passed over.

    Returns:
        With the coordinates of paths in memory; with the variables too, unless they are more than
        `IN_MEMORY_BYTES`.
    """
    wanted = [name for name in dataset.data_vars if name in names]
    paths = [name for name in BY_PATH if name in dataset.coords]
    idle = set(dataset.coords) - set(dataset.dims) - set(paths) - set(names)
    dataset = dataset.drop_vars(idle)
    for some in ([*wanted, *paths], paths):
        if sum(dataset[name].nbytes for name in some) > IN_MEMORY_BYTES:
            continue
        if any(dataset[name].chunks for name in some):
            read = dataset[some].reset_coords(paths).compute()
            return dataset.assign({name: read[name] for name in some}).set_coords(paths)
        for name in some:
            # in place: what is read without Dask stays in memory for whoever asks next
            dataset.variables[name].load()
        return dataset
    return dataset
