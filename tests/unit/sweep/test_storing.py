"""A unit is stored while the next is simulated, and what goes wrong there is told."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from fake_engine import FACTORY, FakeConfig, prepare

from deleverage.errors import RunError
from deleverage.results import status
from deleverage.results.store import UnitWriter
from deleverage.sweep import execute, prepare_run, run

CONFIG = FakeConfig(variables=["bad_debt"])
"""Four units."""

WAIT_SECONDS = 20.0


def awaited(path: Path) -> None:
    """Wait until a file is there.

    Raises:
        TimeoutError: It does not come.
    """
    until = time.monotonic() + WAIT_SECONDS
    while not path.exists():
        if time.monotonic() > until:
            raise TimeoutError(f"{path.name} did not come while a unit was being stored")
        time.sleep(0.01)


def side_by_side(config: Any) -> Any:
    """A factory: the first unit is on disk only when the second is being simulated."""
    prepared = prepare(config)
    notes = Path(prepared.config.scenario)
    simulate, write = prepared.simulator.simulate, UnitWriter.write

    def noted(policies: range, paths: range) -> Any:
        (notes / f"simulates-{paths.start}").touch()
        return simulate(policies, paths)

    def waits(writer: UnitWriter, unit: Any, outcomes: Any) -> Any:
        if unit.paths.start == 0:
            awaited(notes / "simulates-64")
        return write(writer, unit, outcomes)

    prepared.simulator.simulate = noted
    UnitWriter.write = waits
    return prepared


def full_disk(config: Any) -> Any:
    """A factory: the second unit cannot be written."""
    prepared, write = prepare(config), UnitWriter.write

    def refuses(writer: UnitWriter, unit: Any, outcomes: Any) -> Any:
        if unit.paths.start == 64:
            raise OSError(28, "No space left on device")
        return write(writer, unit, outcomes)

    UnitWriter.write = refuses
    return prepared


def stuck_disk(config: Any) -> Any:
    """A factory: the unit whose first path the scenario names hangs when it is first written."""
    prepared, write = prepare(config), UnitWriter.write
    first, _, once = prepared.config.scenario.partition(":")

    def hangs(writer: UnitWriter, unit: Any, outcomes: Any) -> Any:
        if unit.paths.start == int(first) and not Path(once).exists():
            Path(once).touch()
            time.sleep(1000)
        return write(writer, unit, outcomes)

    UnitWriter.write = hangs
    return prepared


@pytest.fixture(autouse=True)
def _writer_as_it_is(monkeypatch):
    monkeypatch.setattr(UnitWriter, "write", UnitWriter.write)  # put back after each test


@pytest.mark.parametrize("workers", [0, 1])
def test_a_unit_is_stored_while_the_next_is_simulated(tmp_path, workers):
    config = FakeConfig(variables=["bad_debt"], scenario=str(tmp_path))
    factory = f"{__name__}:side_by_side"
    made = run(config, tmp_path / "runs", workers, progress=False, simulator_factory=factory)
    assert made.complete


@pytest.mark.parametrize("workers", [0, 1])
def test_what_cannot_be_stored_is_a_failed_unit(tmp_path, workers):
    with pytest.raises(RunError, match=r"1 of 4 units failed, first p0000-x000001 \(OSError: .*No"):
        run(CONFIG, tmp_path, workers, progress=False, simulator_factory=f"{__name__}:full_disk")
    (run_dir,) = tmp_path.glob("fake-*")
    assert status(run_dir).done == 3
    assert "No space left" in (run_dir / "failed/p0000-x000001.txt").read_text()


def unwritable(config: FakeConfig, out: Path) -> Path:
    """A run directory that takes neither tracebacks nor events."""
    run_dir = prepare_run(prepare(config), out)
    (run_dir / "failed").rmdir()
    (run_dir / "failed").touch()
    (run_dir / "log.jsonl").unlink()
    (run_dir / "log.jsonl").mkdir()
    return run_dir


@pytest.mark.parametrize("workers", [0, 1])
def test_a_unit_that_cannot_be_stored_is_told_though_its_traceback_cannot(tmp_path, workers):
    run_dir = unwritable(CONFIG, tmp_path)
    factory = f"{__name__}:full_disk"
    with pytest.raises(RunError) as told:
        execute(run_dir, workers, simulator_factory=factory, progress=False, deadline=20.0)
    assert str(told.value) == (
        "1 of 4 units failed, first p0000-x000001 (OSError: [Errno 28] No space left on device); "
        "run the same command again."
    )
    assert status(run_dir).done == 3


def test_a_unit_that_kills_its_workers_is_told_though_it_cannot_be_noted(tmp_path):
    run_dir = unwritable(FakeConfig(variables=["bad_debt"], fault="die@70"), tmp_path)
    with pytest.raises(RunError, match=r"1 of 4 units failed, first p0000-x000001 \(its worker"):
        execute(run_dir, 1, simulator_factory=FACTORY, progress=False, retries=0)
    assert status(run_dir).done == 3


@pytest.mark.parametrize("first", [64, 192])
def test_a_worker_whose_disk_hangs_is_replaced(tmp_path, first):
    once = tmp_path / "once"
    config = FakeConfig(variables=["bad_debt"], scenario=f"{first}:{once}")
    factory = f"{__name__}:stuck_disk"
    made = run(
        config, tmp_path / "runs", 1, progress=False, simulator_factory=factory, deadline=2.0
    )
    assert made.complete
    assert once.exists()
