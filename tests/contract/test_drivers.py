"""Drivers that share a run directory, with a simulator of nothing."""

import threading
import time
from importlib import import_module
from pathlib import Path

import pytest
from fake_engine import FACTORY, FakeConfig, prepare
from small_runs import stored

from deleverage.cli.runs import _keep_summary
from deleverage.errors import RunError
from deleverage.results import groups, open_run, status, verify
from deleverage.results.claims import PLAN_CLAIM, Claims
from deleverage.sweep import execute, prepare_run, run

module = import_module("deleverage.sweep.execute")  # of one name with what it holds


def few(**changes) -> FakeConfig:
    return FakeConfig(variables=["bad_debt", "trough_price"], **changes)


def go(config: FakeConfig, out: Path, **options):
    options = {"workers": 0, "progress": False, "simulator_factory": FACTORY, **options}
    return run(config, out, **options)


def test_a_summary_waits_until_nobody_else_writes_in_the_run(tmp_path):
    opened = go(few(), tmp_path)
    writer = threading.Thread(target=_keep_summary, args=(opened,))
    with Claims(opened.path) as other:
        other.acquire(PLAN_CLAIM)
        writer.start()
        time.sleep(0.5)
        assert writer.is_alive()
        assert not (opened.path / "results.zarr/summary").exists()
    writer.join(20)
    assert list(opened.group("summary").policy.values) == ["baseline", "floor"]


def test_a_summary_that_nobody_lets_be_written_is_one_sentence(tmp_path, monkeypatch):
    opened = go(few(), tmp_path)
    monkeypatch.setattr(groups, "WAIT_SECONDS", 0.1)
    with Claims(opened.path) as other:
        other.acquire(PLAN_CLAIM)
        with pytest.raises(RunError, match=r"the summary of .* cannot be written: another process"):
            _keep_summary(opened)


def test_the_summary_of_fewer_paths_does_not_replace_that_of_the_grown_run(tmp_path):
    small = go(few(), tmp_path)
    small.outcomes.load()
    _keep_summary(go(few(paths=300), tmp_path))
    _keep_summary(small)
    assert open_run(small.path).group("summary").attrs["total_paths"] == 300


def grown_meanwhile(monkeypatch, out: Path, config: FakeConfig) -> None:
    """Have another driver grow a run just when this one has read its plan."""
    pending, grown = module._pending, []

    def read(*given):
        work = pending(*given)
        if not grown:
            grown.append(prepare_run(prepare(config), out))
        return work

    monkeypatch.setattr(module, "_pending", read)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_run_that_another_driver_grows_is_followed(tmp_path, monkeypatch, workers):
    """Its last unit was a part of what it is now: one that is stored is no longer whole."""
    run_dir = prepare_run(prepare(few()), tmp_path)
    grown_meanwhile(monkeypatch, tmp_path, few(paths=300))
    execute(run_dir, workers, simulator_factory=FACTORY, progress=False)
    monkeypatch.undo()
    assert status(run_dir).done == 5
    grown = go(few(paths=300), tmp_path).path
    assert grown == run_dir
    assert verify(run_dir).ok
    assert stored(run_dir) == stored(go(few(paths=300), tmp_path / "whole").path)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_run_to_which_another_driver_adds_policies_is_left_to_it(tmp_path, monkeypatch, workers):
    run_dir = prepare_run(prepare(few()), tmp_path)
    config = few(policies={"baseline": 0, "floor": 1, "cap": 2})
    grown_meanwhile(monkeypatch, tmp_path, config)
    with pytest.raises(RunError, match="another driver has added policies to"):
        execute(run_dir, workers, simulator_factory=FACTORY, progress=False)
    monkeypatch.undo()
    assert stored(go(config, tmp_path).path) == stored(go(config, tmp_path / "whole").path)


def test_no_unit_begins_while_another_driver_holds_the_plan(tmp_path):
    run_dir = prepare_run(prepare(few()), tmp_path)
    driver = threading.Thread(
        target=execute,
        args=(run_dir, 0),
        kwargs={"prepared": prepare(few()), "simulator_factory": prepare, "progress": False},
    )
    with Claims(run_dir) as other:
        other.acquire(PLAN_CLAIM)
        driver.start()
        time.sleep(0.5)
        assert status(run_dir).done == 0
    driver.join(20)
    assert status(run_dir).done == 4
