"""What one can ask of a run directory: how far it is, and whether its bytes are as written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deleverage.errors import IncompleteRunError, RunError
from deleverage.results.claims import Claims, live_claims, remove_stale_claims
from deleverage.results.description import described
from deleverage.results.files import crc, replace_text
from deleverage.results.groups import consolidate
from deleverage.results.markers import (
    DONE_FOLDER,
    Marker,
    done_units,
    list_markers,
    markers_by_unit,
    remove_markers,
    require_alike,
)
from deleverage.results.opening import is_finalized, read_root
from deleverage.results.plan import STORE_FOLDER, Plan, load_plan
from deleverage.results.template import METADATA, metadata_checksums, write_array
from deleverage.results.timeline import write_timeline

FAILED_FOLDER = "failed"


@dataclass(frozen=True)
class Status:
    """How far a run is.

    Attributes:
        name: Name of the run directory.
        units: Planned units.
        done: Finished units.
        running: Units that a live driver works on.
        failed: Unfinished units that failed at least once.
        path_policies: Planned path-policies.
        path_policies_done: Finished ones.
        seconds: Time spent on finished units, over all workers.
        bytes: Bytes stored.
        complete: Whether the run is complete and finalized.
    """

    name: str
    units: int
    done: int
    running: int
    failed: int
    path_policies: int
    path_policies_done: int
    seconds: float
    bytes: int
    complete: bool

    @property
    def rate(self) -> float:
        """Path-policies a second of one worker; 0 before the first unit."""
        return self.path_policies_done / self.seconds if self.seconds else 0.0


def status(run_dir: str | Path) -> Status:
    """How far a run is, from the names of its markers alone."""
    run_dir = Path(run_dir)
    plan = load_plan(run_dir)
    done = done_units(run_dir, plan)
    failed = {path.name.split(".")[0] for path in (run_dir / FAILED_FOLDER).glob("*.txt")}
    return Status(
        name=run_dir.name,
        units=len(plan.units),
        done=len(done),
        running=len(set(live_claims(run_dir)) & (set(plan.unit_by_id) - set(done))),
        failed=len((failed & set(plan.unit_by_id)) - set(done)),
        path_policies=sum(unit.size for unit in plan.units),
        path_policies_done=sum(plan.unit_by_id[name].size for name in done),
        seconds=sum(marker.seconds for marker in done.values()),
        bytes=sum(marker.nbytes for marker in done.values()),
        complete=len(done) == len(plan.units) and is_finalized(run_dir),
    )


@dataclass(frozen=True)
class Damage:
    """One stored object that is not what its marker says."""

    unit: str
    key: str
    reason: str


@dataclass(frozen=True)
class Verification:
    """What `verify` found.

    Attributes:
        objects: Stored objects read.
        missing: Units without a marker.
        damaged: Objects that differ from their marker, or metadata from the plan (unit "").
        repaired: Units whose markers were removed, so that `run` does them again.
    """

    objects: int
    missing: list[str]
    damaged: list[Damage]
    repaired: list[str]

    @property
    def ok(self) -> bool:
        """Whether everything that is marked as done is intact."""
        return not self.damaged


def verify(run_dir: str | Path, repair: bool = False) -> Verification:
    """Read every stored object again and compare it with its marker.

    Args:
        run_dir: The run directory.
        repair: Remove the markers of damaged units, so that the next `run` does them again.

    Raises:
        RunError: With `repair`, another driver is working in the directory.
    """
    run_dir = Path(run_dir)
    plan = load_plan(run_dir)
    store = run_dir / STORE_FOLDER
    damaged = _damaged_metadata(run_dir, plan)
    objects = 0
    done: set[str] = set()
    for marker in list_markers(run_dir):
        unit = plan.unit_by_id.get(marker.unit)
        if unit is None or not marker.fits(unit):
            continue
        done.add(marker.unit)
        try:
            listed = marker.read()["objects"]
        except (OSError, ValueError, KeyError) as error:
            damaged.append(Damage(marker.unit, marker.path.name, f"marker unreadable ({error})"))
            continue
        for key, (length, checksum) in listed.items():
            objects += 1
            reason = _compare(store / key, length, checksum)
            if reason is not None:
                damaged.append(Damage(marker.unit, key, reason))
    repaired = sorted({damage.unit for damage in damaged if damage.unit}) if repair else []
    if repaired:
        with Claims(run_dir) as claims:
            claims.acquire_all()
            for name in repaired:
                remove_markers(run_dir, plan.unit_by_id[name])
            if has_root(run_dir):
                set_complete(run_dir, False)
    missing = [unit.id for unit in plan.units if unit.id not in done]
    return Verification(objects, missing, damaged, repaired)


def _compare(path: Path, length: int, checksum: int) -> str | None:
    try:
        data = path.read_bytes()
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    if len(data) != length:
        return f"has {len(data)} bytes instead of {length}"
    if crc(data) != checksum:
        return "has other bytes than were written"
    return None


def _damaged_metadata(run_dir: Path, plan: Plan) -> list[Damage]:
    return [
        *([] if has_root(run_dir) else [Damage("", METADATA, "metadata cannot be read")]),
        *(
            Damage("", f"{name}/{METADATA}", "metadata differs from the plan's checksum")
            for name, checksum in metadata_checksums(run_dir, plan).items()
            if checksum is None or plan.metadata.get(name) != checksum
        ),
    ]


def has_root(run_dir: Path) -> bool:
    """Whether the metadata of the store can be read."""
    try:
        read_root(run_dir)
    except RunError:
        return False
    return True


def finalize(run_dir: str | Path) -> None:
    """Close a complete run: remove orphans, write `unit_status`, consolidate, set `complete`.

    Raises:
        IncompleteRunError: Units are missing.
        RunError: Another driver works in the directory, a unit was stored with different bytes, or
            the store cannot be read.
    """
    run_dir = Path(run_dir)
    plan = load_plan(run_dir)
    missing = len(plan.units) - len(done_units(run_dir, plan))
    if missing:
        raise IncompleteRunError(
            f"{run_dir} cannot be finalized: {missing} of {len(plan.units)} units are missing; "
            "run its config again to continue it."
        )
    if not plan.decided:
        raise IncompleteRunError(
            f"{run_dir} cannot be finalized: it may need more paths for the error that its config "
            "asks for; run its config again to continue it."
        )
    read_root(run_dir)
    with Claims(run_dir) as claims:
        claims.acquire_all()
        markers = markers_by_unit(run_dir)
        for unit in plan.units:
            require_alike(unit, markers[unit.id])
        _remove_orphans(run_dir, plan, markers)
        _write_unit_status(run_dir, plan)
        if plan.timeline:
            write_timeline(run_dir, plan)
        consolidate(run_dir)
        set_complete(run_dir, True)


def _remove_orphans(
    run_dir: Path, plan: Plan, markers: Mapping[str, list[Marker]]
) -> None:
    """Remove what interrupted writes left, and markers from before the run grew."""
    remove_stale_claims(run_dir)
    for unit in plan.units:
        for marker in markers[unit.id]:
            if not marker.fits(unit):
                marker.path.unlink(missing_ok=True)
    for folder, pattern in (
        (run_dir / STORE_FOLDER, "**/*.partial"),
        (run_dir / STORE_FOLDER, "**/.*.tmp"),
        (run_dir / DONE_FOLDER, "**/.*.tmp"),
        (run_dir, ".*.tmp"),
    ):
        for path in list(folder.glob(pattern)):
            if path.is_dir():  # a group that was not yet in its place, or no longer
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def _write_unit_status(run_dir: Path, plan: Plan) -> None:
    import zarr

    root = zarr.open_group(run_dir / STORE_FOLDER, mode="r+", zarr_format=3)
    names = np.array([unit.id for unit in plan.units], dtype=np.str_)
    write_array(root, "unit", described("unit", ("unit",), names, None))
    done = np.ones(len(names), dtype=np.uint8)
    write_array(root, "unit_status", described("unit_status", ("unit",), done, "1"))


def set_complete(run_dir: Path, value: bool) -> None:
    """Say in the root attributes whether the run is complete and finalized."""
    content = read_root(run_dir)
    content["attributes"]["complete"] = value
    replace_text(run_dir / STORE_FOLDER / METADATA, json.dumps(content, indent=1))
