"""Markers: one small file per finished unit, the only truth about what is done.

A marker's name carries its unit, size, seconds and bytes, so that `status` only lists folders. Two
drivers that finish the same unit leave two names; whoever comes second compares their checksums.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deleverage.errors import RunError
from deleverage.results.files import CHECKSUM, create_text, sync_folder
from deleverage.results.plan import Plan, Unit

DONE_FOLDER = "done"
_NAME = re.compile(
    r"(?P<unit>p\d{4,}-x\d{6,})_(?P<policies>\d+)x(?P<paths>\d+)"
    r"_(?P<seconds>\d+\.\d+)s_(?P<bytes>\d+)b\.json"
)


@dataclass(frozen=True)
class Marker:
    """A finished unit, read from the name of its marker."""

    path: Path
    unit: str
    policies: int
    paths: int
    seconds: float
    nbytes: int

    def fits(self, unit: Unit) -> bool:
        """Whether it marks the whole unit; one from before a run grew marks less."""
        return self.policies == len(unit.policies) and self.paths == len(unit.paths)

    def read(self) -> dict[str, Any]:
        """Its content: checksums of stored objects, ranges, seed, device, versions."""
        return json.loads(self.path.read_text(encoding="utf-8"))


def marker_folder(run_dir: Path, unit: Unit) -> Path:
    """Folder of a unit's marker, of at most 1,000 units."""
    group = f"p{unit.policy_block:04d}-x{unit.path_block // 1000:03d}"
    return Path(run_dir) / DONE_FOLDER / group


def _parse(path: Path) -> Marker | None:
    match = _NAME.fullmatch(path.name)
    if match is None:
        return None
    return Marker(
        path,
        match["unit"],
        int(match["policies"]),
        int(match["paths"]),
        float(match["seconds"]),
        int(match["bytes"]),
    )


def list_markers(run_dir: Path) -> Iterator[Marker]:
    """Every marker of a run, by name."""
    for folder in sorted((Path(run_dir) / DONE_FOLDER).glob("p*-x*")):
        for path in sorted(folder.iterdir()):
            marker = _parse(path)
            if marker is not None:
                yield marker


def markers_by_unit(run_dir: Path) -> Mapping[str, list[Marker]]:
    """Every marker of a run by the name of its unit, each folder listed once."""
    found: dict[str, list[Marker]] = defaultdict(list)
    for marker in list_markers(run_dir):
        found[marker.unit].append(marker)
    return found


def find_markers(run_dir: Path, unit: Unit) -> list[Marker]:
    """The markers of one unit, stale ones included."""
    paths = sorted(marker_folder(run_dir, unit).glob(f"{unit.id}_*.json"))
    return [marker for path in paths if (marker := _parse(path)) is not None]


def done_units(run_dir: Path, plan: Plan) -> dict[str, Marker]:
    """Finished units of a plan by name."""
    units = plan.unit_by_id
    done: dict[str, Marker] = {}
    for marker in list_markers(run_dir):
        unit = units.get(marker.unit)
        if unit is not None and marker.fits(unit):
            done.setdefault(marker.unit, marker)
    return done


def is_done(run_dir: Path, unit: Unit) -> bool:
    """Whether a unit has a marker."""
    return any(marker.fits(unit) for marker in find_markers(run_dir, unit))


def write_marker(
    run_dir: Path,
    unit: Unit,
    objects: Mapping[str, tuple[int, int]],
    seconds: float,
    details: Mapping[str, Any],
) -> Marker:
    """Mark a unit as done; its chunks must be on disk already.

    Args:
        run_dir: The run directory.
        unit: The finished unit.
        objects: Length and crc32c of each object it stored, by key below the store.
        seconds: Time it took.
        details: Seed, device and versions.

    Raises:
        RunError: Another marker of this unit lists other checksums.
    """
    nbytes = sum(length for length, _ in objects.values())
    name = (
        f"{unit.id}_{len(unit.policies)}x{len(unit.paths)}_{max(seconds, 0.0):.3f}s_{nbytes}b.json"
    )
    path = marker_folder(run_dir, unit) / name
    content = {
        "unit": unit.id,
        "policies": [unit.policies.start, unit.policies.stop],
        "paths": [unit.paths.start, unit.paths.stop],
        **details,
        "checksum": CHECKSUM,
        "objects": {key: list(value) for key, value in sorted(objects.items())},
    }
    if not create_text(path, json.dumps(content, indent=1) + "\n"):
        there = json.loads(path.read_text(encoding="utf-8"))["objects"]
        if there != content["objects"]:
            raise _differ(unit, [path])
    # A second driver may have finished the unit too: whoever links last sees both names.
    compare_markers(run_dir, unit)
    marker = _parse(path)
    assert marker is not None
    return marker


def compare_markers(run_dir: Path, unit: Unit) -> None:
    """Check that all markers of a unit list the same objects.

    Raises:
        RunError: They differ, so two programs gave this unit different bytes.
    """
    require_alike(unit, find_markers(run_dir, unit))


def require_alike(unit: Unit, markers: Iterable[Marker]) -> None:
    """Check that markers of a unit list the same objects; see `compare_markers`."""
    whole = [marker for marker in markers if marker.fits(unit)]
    if len(whole) < 2:
        return
    contents = [marker.read()["objects"] for marker in whole]
    if any(content != contents[0] for content in contents[1:]):
        raise _differ(unit, [marker.path for marker in whole])


def _differ(unit: Unit, paths: list[Path]) -> RunError:
    return RunError(
        f"unit {unit.id} was stored twice with different bytes "
        f"({', '.join(map(str, paths))}), though one plan gives the same bytes; remove its "
        "markers with `deleverage verify --repair` and run again."
    )


def remove_markers(run_dir: Path, unit: Unit) -> None:
    """Forget that a unit is done, before its chunks are written again."""
    markers = find_markers(run_dir, unit)
    for marker in markers:
        marker.path.unlink(missing_ok=True)
    if markers:
        sync_folder(marker_folder(run_dir, unit))
