"""Opening a run: its outcomes as a labelled, lazily read dataset."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deleverage.errors import IncompleteRunError, RunError
from deleverage.results.chunks import METADATA
from deleverage.results.labels import label_parts
from deleverage.results.markers import done_units
from deleverage.results.plan import CONFIG_FILE, STORE_FOLDER, Plan, load_plan
from deleverage.results.schema import TIMELINE, VARIABLES
from deleverage.results.through_time import read_timeline

if TYPE_CHECKING:
    import xarray as xr


PIECE_PATHS = 16_384
"""Paths that are read at a time, at least: many units, as each piece has a cost of its own."""

PIECES_ABOVE_BYTES = 2**30
"""Runs that are larger are read in pieces; each variable of a smaller one at once, without Dask,
which costs more than reading it."""


@dataclass(frozen=True)
class Run:
    """An open run directory.

    Attributes:
        path: The run directory.
        plan: Its plan.
        complete: Whether every unit is there and the run is finalized.
    """

    path: Path
    plan: Plan
    complete: bool

    @cached_property
    def outcomes(self) -> xr.Dataset:
        """Outcomes `(policy, path, ...)`, read when used; what is missing is NaN."""
        import xarray as xr

        dataset = xr.open_zarr(
            self.path / STORE_FOLDER,
            consolidated=False,
            chunks=_pieces(self.plan),
        )
        dataset = dataset.drop_dims("unit", errors="ignore")
        order = [name for name in self.plan.variables if name in dataset.data_vars]
        dataset = dataset[order].assign_coords(_plain_labels(dataset, self.plan))
        # a few numbers, which every answer shows
        levers = {n: c.load() for n, c in dataset.coords.items() if c.dims == ("policy",)}
        dataset = dataset.assign_coords(levers).assign_coords(_plain_text(dataset, levers))
        return dataset if self.complete else _masked(dataset, self.plan, self.path)

    @cached_property
    def config(self) -> Any:
        """The config it was made from."""
        from deleverage.config import load_config

        return load_config(self.path / CONFIG_FILE)

    @cached_property
    def timeline(self) -> xr.Dataset:
        """Quantiles over paths through time, with errors and intervals; see `read_timeline`.

        Raises:
            RunError: The run has no timeline, or is not complete.
        """
        if not self.complete:
            raise RunError(
                f"the timeline of {self.path} is summed over all units when the run is complete; "
                "run its config again to continue it."
            )
        return read_timeline(self.group(TIMELINE))

    def group(self, name: str) -> xr.Dataset:
        """A group of the store, such as `summary`.

        Raises:
            RunError: The run has no such group.
        """
        import xarray as xr

        if not (self.path / STORE_FOLDER / name / "zarr.json").exists():
            raise RunError(
                f"{self.path} has no group {name!r}; it is written when the run is complete and "
                "the config asks for it."
            )
        return xr.open_zarr(self.path / STORE_FOLDER, group=name, consolidated=False)


def open_run(path: str | Path, allow_partial: bool = False) -> Run:
    """Open a run directory.

    Args:
        path: The run directory.
        allow_partial: Open it though units are missing; their values are NaN.

    Raises:
        RunError: The folder is no run directory, or its store cannot be read.
        IncompleteRunError: Units are missing, or the run is not finalized.
    """
    path = Path(path)
    plan = load_plan(path)
    done = len(done_units(path, plan))
    complete = is_finalized(path) and done == len(plan.units)
    if not complete and not allow_partial:
        state = (
            f"{len(plan.units) - done} of {len(plan.units)} units are missing"
            if done < len(plan.units)
            else "it is not finalized"
        )
        raise IncompleteRunError(
            f"{path} is not complete: {state}; run its config again to continue it"
            f"{', or `deleverage finalize`' if done == len(plan.units) else ''}, or open it with "
            "allow_partial=True."
        )
    return Run(path, plan, complete)


def read_root(run_dir: Path) -> dict[str, Any]:
    """The metadata of a run's store, with its attributes.

    Raises:
        RunError: They cannot be read.
    """
    path = run_dir / STORE_FOLDER / METADATA
    try:
        root = json.loads(path.read_text(encoding="utf-8"))
        root["attributes"]["complete"]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RunError(
            f"the store of {run_dir} cannot be read ({path.name}: {error}); run its config again, "
            "which writes that file anew and keeps the units that are done."
        ) from None
    return root


def is_finalized(run_dir: Path) -> bool:
    """Whether `finalize` has closed the run since it last grew.

    Raises:
        RunError: The store cannot be read.
    """
    return bool(read_root(run_dir)["attributes"]["complete"])


def _pieces(plan: Plan) -> dict[str, int] | None:
    """How outcomes are cut for lazy reading: whole units, several of them at a time."""
    if plan.nbytes <= PIECES_ABOVE_BYTES or find_spec("dask") is None:
        return None
    units = max(1, PIECE_PATHS // plan.path_block)
    return {"path": units * plan.path_block}


def _plain_labels(dataset: xr.Dataset, plan: Plan) -> dict[str, Any]:
    """Labels as fixed-width text, which selects and prints like any other NumPy text."""
    names = [*plan.labels, *(part.name for part in label_parts(plan.labels))]
    return _plain_text(dataset, (name for name in names if name in dataset.coords))


def _plain_text(dataset: xr.Dataset, names: Iterable[Any]) -> dict[str, Any]:
    """The text among some coordinates of one dimension, with fixed width."""
    return {
        name: (found.dims, np.array(found.values.tolist(), dtype=np.str_), found.attrs)
        for name, found in ((name, dataset[name]) for name in names)
        if found.dtype.kind not in "fiub"
    }


def _masked(dataset: xr.Dataset, plan: Plan, path: Path) -> xr.Dataset:
    """The dataset with NaN wherever no marker vouches for what is stored."""
    import xarray as xr

    finished = np.zeros((len(plan.policies), plan.paths), dtype=bool)
    for name in done_units(path, plan):
        unit = plan.unit_by_id[name]
        finished[unit.policies.start : unit.policies.stop, unit.paths.start : unit.paths.stop] = (
            True
        )
    both = xr.DataArray(finished, dims=("policy", "path"))
    # Path-only variables are written by policy block 0.
    first = xr.DataArray(finished[0], dims=("path",))
    changed = {}
    for name in plan.variables:
        variable = VARIABLES[name]
        if variable.by_path:
            changed[name] = (
                dataset[name].reset_coords(drop=True).where(both if variable.by_policy else first)
            )
    return dataset.assign_coords(
        {name: value for name, value in changed.items() if VARIABLES[name].coordinate}
    ).assign({name: value for name, value in changed.items() if not VARIABLES[name].coordinate})
