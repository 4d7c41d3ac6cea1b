"""Drivers that share a run directory, with a simulator of nothing."""

import threading
import time
from pathlib import Path

import pytest
from fake_engine import FACTORY, FakeConfig

from deleverage.cli.runs import _keep_summary
from deleverage.errors import RunError
from deleverage.results import groups, open_run
from deleverage.results.claims import PLAN_CLAIM, Claims
from deleverage.sweep import run


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
