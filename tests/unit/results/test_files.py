"""What is flushed to disk, and that nothing is left out."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import pytest
from fake_engine import FakeConfig, prepare

from deleverage.results.files import sync_all, sync_tree
from deleverage.results.plan import load_plan
from deleverage.results.store import UnitWriter
from deleverage.sweep import prepare_run


@pytest.fixture
def flushed(monkeypatch) -> list[int]:
    """Inodes of what is flushed."""
    seen: list[int] = []
    fsync = os.fsync

    def watched(descriptor: int) -> None:
        fsync(descriptor)
        seen.append(os.fstat(descriptor).st_ino)

    monkeypatch.setattr(os, "fsync", watched)
    return seen


def inodes(paths: Iterable[Path]) -> list[int]:
    return sorted(path.stat().st_ino for path in paths)


def test_a_tree_is_flushed_with_all_its_files_and_folders(tmp_path, flushed):
    (tmp_path / "a" / "b").mkdir(parents=True)
    for name in ("one", "a/two", "a/b/three"):
        (tmp_path / name).touch()
    sync_tree(tmp_path)
    assert sorted(flushed) == inodes([tmp_path, *tmp_path.rglob("*")])


def test_what_cannot_be_flushed_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        sync_all([tmp_path, tmp_path / "missing", tmp_path])


def test_a_unit_flushes_its_chunks_and_every_folder_on_the_way(tmp_path, flushed):
    prepared = prepare(FakeConfig(variables=["bad_debt", "trough_price"]))
    run_dir = prepare_run(prepared, tmp_path)
    plan = load_plan(run_dir)
    unit, writer = plan.units[1], UnitWriter(run_dir, plan)
    flushed.clear()
    objects = writer.write(unit, prepared.simulator.simulate(unit.policies, unit.paths))
    assert {"trough_price/c/0/1/0", "severity/c/1"} <= set(objects)
    store = run_dir / "results.zarr"
    chunks = {store / key for key in objects}
    folders = {path for chunk in chunks for path in chunk.parents if store in path.parents}
    assert sorted(flushed) == inodes(chunks | folders)
