"""The timeline: the histograms of all units, summed when a run is complete."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from deleverage.results.groups import write_group
from deleverage.results.plan import STORE_FOLDER, Plan
from deleverage.results.schema import BLOCK, TIMELINE, Variable


def write_timeline(run_dir: Path, plan: Plan) -> None:
    """Sum the histograms of all units, a chunk at a time, and store them as a group."""
    import xarray as xr

    data, coords = {}, {}
    for variable in plan.histograms:
        name = variable.name.rpartition("/")[2]
        edges = np.array(plan.timeline[variable.name])
        dims = variable.dims[1:]
        attributes = {"long_name": f"Paths in each bin. {variable.long_name}", "units": "1"}
        data[name] = (dims, _summed(run_dir, plan, variable), attributes)
        unit = {"units": variable.unit}
        coords[f"{name}_low"] = (dims[-1], edges[:-1], {"long_name": "Lower edge", **unit})
        coords[f"{name}_high"] = (dims[-1], edges[1:], {"long_name": "Upper edge", **unit})
    for dim in ("policy", "market", "index"):
        if any(dim in variable.dims for variable in plan.histograms):
            coords[dim] = (dim, np.array(plan.labels[dim], dtype=object))
    minutes = {"long_name": "Time since the start", "units": "minutes"}
    coords["time"] = ("time", np.array(plan.timeline["time"]), minutes)
    attributes = {
        "long_name": "Histograms over all paths; what lies outside is in the outermost bins",
        "paths": plan.paths,
    }
    write_group(run_dir, TIMELINE, xr.Dataset(data, coords=coords, attrs=attributes))


def _summed(run_dir: Path, plan: Plan, variable: Variable) -> np.ndarray:
    import zarr

    array = zarr.open_array(Path(run_dir) / STORE_FOLDER / variable.name, mode="r")
    total = np.zeros(plan.shape(variable)[1:], dtype=np.int64)
    for unit in plan.units:
        block, *rest = plan.region(variable, unit)
        assert variable.dims[0] == BLOCK
        total[tuple(rest)] += array[(block, *rest)][0]
    return total
