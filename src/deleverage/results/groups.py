"""Groups beside the outcomes, such as the summary, written whole when a run is complete."""

from __future__ import annotations

import os
import shutil
import time
import uuid
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from deleverage.errors import RunError
from deleverage.results.claims import PLAN_CLAIM, Claims
from deleverage.results.files import sync_folder, sync_tree
from deleverage.results.opening import Run, is_finalized
from deleverage.results.plan import STORE_FOLDER, load_plan

if TYPE_CHECKING:
    import xarray as xr

WAIT_SECONDS = 60.0


def consolidate(run_dir: Path) -> None:
    """Gather all metadata of the store in its root, so that opening reads one file."""
    import zarr

    with warnings.catch_warnings():
        # Zarr says that version 3 has not standardised this yet; readers without it still work.
        warnings.filterwarnings("ignore", message="Consolidated metadata")
        zarr.consolidate_metadata(run_dir / STORE_FOLDER)


def keep_group(opened: Run, name: str, dataset: xr.Dataset) -> None:
    """Write what was measured of a run as a group of its store, one driver at a time.

    Of a run that has grown since it was opened nothing is written: whoever grew it does that.

    Args:
        opened: The run.
        name: Name of the group, such as `summary`.
        dataset: What to store.

    Raises:
        RunError: Another driver grows or closes the run and does not end.
    """
    until = time.monotonic() + WAIT_SECONDS
    with Claims(opened.path) as claims:
        while not claims.acquire(PLAN_CLAIM):
            if time.monotonic() > until:
                raise RunError(
                    f"the {name} of {opened.path} cannot be written: another process has been "
                    f"writing there for {WAIT_SECONDS:.0f} s; wait until it has ended, or stop "
                    "it, and run the same command again."
                )
            time.sleep(0.2)
        if load_plan(opened.path) == opened.plan:
            write_group(opened.path, name, dataset)


def write_group(run_dir: str | Path, name: str, dataset: xr.Dataset) -> None:
    """Write a small dataset as a group of the store, in place of the one that was there.

    Of drivers that may do so at the same time, one must hold the plan; see `keep_group`.

    Args:
        run_dir: The run directory.
        name: Name of the group, such as `summary`.
        dataset: What to store.
    """
    store = Path(run_dir) / STORE_FOLDER
    temporary = Path(run_dir) / f".{name}.{uuid.uuid4().hex[:8]}.tmp"
    old = temporary.with_suffix(".old.tmp")
    try:
        dataset.to_zarr(temporary, mode="w", zarr_format=3, consolidated=False)
        sync_tree(temporary)
        if (store / name).exists():
            os.rename(store / name, old)
        os.rename(temporary, store / name)
        sync_folder(store)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
    if is_finalized(Path(run_dir)):
        consolidate(Path(run_dir))
