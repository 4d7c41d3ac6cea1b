"""A small world that compiles fast, and what a run of anything leaves on disk."""

from __future__ import annotations

from pathlib import Path

SMOKE = Path(__file__).parents[1] / "configs" / "smoke.yaml"
SMALL = (
    "time.steps=12",
    "scenario.buckets=3",
    "scenario.shocks.macro.severity.median=16%",
    "scenario.shocks.macro.duration=2m",
    "engine.tile_paths=8",
)
"""Overrides of `SMOKE`: test files that share them share what is compiled."""


def stored(run_dir: Path, group: str = "") -> dict[str, bytes]:
    """Every file of a run's dataset, or of a group of it, by its path there."""
    folder = run_dir / "results.zarr" / group
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
