"""Runs that are killed, stopped, hung or poisoned end as if nothing had happened, or say why."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from fake_engine import FACTORY, FakeConfig
from small_runs import SMALL, SMOKE, as_options, stored, with_causes

from deleverage.config import load_config
from deleverage.errors import RunError
from deleverage.results import finalize, open_run, status
from deleverage.results.claims import Claims
from deleverage.results.plan import load_plan
from deleverage.sweep import run

TESTS = Path(__file__).parents[1]
DRIVER = """
import sys
from fake_engine import FACTORY, FakeConfig
from deleverage.errors import DeleverageError
from deleverage.sweep import run
config = FakeConfig(paths=400, seconds=0.05, variables=["bad_debt", "trough_price"])
try:
    run(config, sys.argv[1], int(sys.argv[2]), simulator_factory=FACTORY)
except DeleverageError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
"""
CONFIG = FakeConfig(paths=400, seconds=0.05, variables=["bad_debt", "trough_price"])

# In twelve units; what is compiled is kept on disk.
IN_UNITS = (
    *SMALL,
    "engine.unit_paths=8",
    "results.variables=[liquidated_notional, bad_debt, trough_price, equity_lost, outage_start]",
)
PATHS = 96
# In six replicates of splitting, each a unit.
IN_REPLICATES = (
    *IN_UNITS,
    "sampling.kind=splitting",
    "sampling.variable=liquidated_notional",
    "sampling.levels=2",
    "sampling.share=50%",
    "sampling.paths_per_level=8",
    "engine.unit_paths=24",
)


def with_path() -> dict[str, str]:
    """The environment of a process that finds what this one finds."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *filter(None, sys.path)])}


def start(out: Path, workers: int = 0) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(out), str(workers)],
        env=with_path(),
        stderr=subprocess.PIPE,
    )


def wait_for_markers(out: Path, driver: subprocess.Popen[bytes], count: int) -> None:
    until = time.monotonic() + 60
    while len(list(out.glob("*/done/*/p*.json"))) < count:
        assert driver.poll() is None, driver.communicate()
        assert time.monotonic() < until
        time.sleep(0.005)


def go(config: FakeConfig, out: Path, **options):
    return run(config, out, progress=False, simulator_factory=FACTORY, **options)


def test_a_run_killed_twice_and_resumed_has_the_same_files(tmp_path):
    expected = go(CONFIG, tmp_path / "whole", workers=0).path
    out = tmp_path / "killed"
    for count in (2, 4):
        driver = start(out)
        wait_for_markers(out, driver, count)
        driver.kill()
        driver.communicate()
    (run_dir,) = out.glob("fake-*")
    assert 4 <= status(run_dir).done < 7
    with pytest.raises(RunError, match="units are missing"):
        open_run(run_dir)
    # What a kill inside a write leaves behind is removed in the end.
    (run_dir / "results.zarr/bad_debt/c/0/0.abc.partial").touch()
    resumed = go(CONFIG, out, workers=0, resume=True)
    assert resumed.path == run_dir
    assert stored(run_dir) == stored(expected)
    assert os.listdir(run_dir / "claims") == []


@pytest.mark.parametrize(
    ("overrides", "paths", "kills"), [(IN_UNITS, PATHS, (2, 5)), (IN_REPLICATES, 144, (1, 3))]
)
def test_the_engine_killed_twice_and_resumed_gives_the_same_files(
    tmp_path, overrides, paths, kills
):
    config = load_config(SMOKE, overrides, paths=paths)
    expected = run(config, tmp_path / "whole", workers=0, progress=False).path
    out = tmp_path / "killed"
    words = ["run", SMOKE, "--paths", paths, "--workers", 0, "--out", out]
    for value in overrides:
        words += ["--set", value]
    seen = 0
    for count in kills:
        command = [sys.executable, "-m", "deleverage", *map(str, words)]
        driver = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=with_path()
        )
        wait_for_markers(out, driver, count)
        driver.kill()
        driver.communicate()
        assert driver.returncode == -signal.SIGKILL
        (run_dir,) = out.glob("smoke-*")
        assert seen < status(run_dir).done < status(run_dir).units
        seen = status(run_dir).done
    resumed = run(config, out, workers=0, resume=True, progress=False)
    assert resumed.path == run_dir
    assert resumed.complete
    assert np.any(resumed.outcomes.bad_debt.values > 0)
    assert stored(run_dir) == stored(expected)


def test_an_attribution_that_was_killed_ends_at_the_same_answer(tmp_path):
    words = ["attribute", with_causes(tmp_path), "--paths", PATHS, "--workers", 0, "--json"]
    words += as_options(IN_UNITS)

    def begin(out: Path) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "deleverage", *map(str, [*words, "--out", out])]
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=with_path()
        )

    def answer(out: Path) -> dict:
        driver = begin(out)
        said, wrong = driver.communicate()
        assert driver.returncode == 0, wrong
        return json.loads(said)

    whole = answer(tmp_path / "whole")  # what it compiles is kept on disk
    driver = begin(tmp_path / "killed")
    wait_for_markers(tmp_path / "killed", driver, 3)
    driver.kill()
    driver.communicate()
    assert driver.returncode == -signal.SIGKILL
    (run_dir,) = (tmp_path / "killed").glob("smoke-*")
    assert 3 <= status(run_dir).done < 12
    resumed = answer(tmp_path / "killed")
    assert resumed.pop("run") != whole.pop("run")
    assert resumed == whole
    assert any(row["share"] for row in resumed["rows"])
    (other,) = (tmp_path / "whole").glob("smoke-*")
    assert stored(run_dir) == stored(other)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_cleanly_with_130(tmp_path, number):
    driver = start(tmp_path)
    wait_for_markers(tmp_path, driver, 1)
    driver.send_signal(number)
    _, said = driver.communicate(timeout=20)
    assert driver.returncode == 130
    assert b"run the same command again to continue it" in said
    (run_dir,) = tmp_path.glob("fake-*")
    assert os.listdir(run_dir / "claims") == []
    assert go(CONFIG, tmp_path, workers=0).complete


@pytest.mark.parametrize("call", ["fsync", "link"])
def test_a_signal_while_a_lease_is_taken_leaves_none(tmp_path, monkeypatch, call):
    original = getattr(os, call)

    def stopped(*arguments):
        original(*arguments)
        raise KeyboardInterrupt

    (tmp_path / "claims").mkdir()
    with pytest.raises(KeyboardInterrupt), Claims(tmp_path) as claims:  # noqa: PT012
        monkeypatch.setattr(os, call, stopped)
        claims.acquire("p0000-x000000")
    assert os.listdir(tmp_path / "claims") == []


def test_workers_die_with_a_killed_driver(tmp_path):
    driver = start(tmp_path, workers=1)
    wait_for_markers(tmp_path, driver, 1)
    workers = psutil.Process(driver.pid).children(recursive=True)
    driver.kill()
    driver.communicate()
    assert workers
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert not alive
    (run_dir,) = tmp_path.glob("fake-*")
    expected = go(CONFIG, tmp_path / "whole", workers=0).path
    assert stored(go(CONFIG, tmp_path, workers=0).path) == stored(expected)
    assert run_dir.exists()


def test_an_exception_is_kept_and_the_other_units_are_done(tmp_path):
    config = FakeConfig(variables=["bad_debt"], fault="raise@70")
    with pytest.raises(RunError, match=r"1 of 4 units failed, first p0000-x000001 \(ValueError"):
        go(config, tmp_path, workers=0)
    (run_dir,) = tmp_path.glob("fake-*")
    now = status(run_dir)
    assert (now.done, now.failed) == (3, 1)
    assert "the number is not one" in (run_dir / "failed/p0000-x000001.txt").read_text()


def test_a_fault_that_passes_is_tried_again(tmp_path):
    config = FakeConfig(variables=["bad_debt"], fault=f"raise@70:{tmp_path / 'once'}")
    assert go(config, tmp_path, workers=0).complete


def test_hung_and_dying_workers_are_replaced(tmp_path):
    for fault in ("hang", "die"):
        config = FakeConfig(
            name=fault, variables=["bad_debt"], fault=f"{fault}@70:{tmp_path / fault}"
        )
        assert go(config, tmp_path, workers=1, deadline=2.0).complete


def test_a_poisoned_unit_is_named_and_the_others_are_done(tmp_path):
    config = FakeConfig(variables=["bad_debt"], fault="die@70")
    with pytest.raises(RunError, match=r"1 of 4 units failed, first p0000-x000001 \(its worker"):
        go(config, tmp_path, workers=1, retries=1)
    (run_dir,) = tmp_path.glob("fake-*")
    assert status(run_dir).done == 3
    assert (run_dir / "failed/p0000-x000001.txt").exists()


def test_a_crash_while_growing_is_repeated(tmp_path, monkeypatch):
    from deleverage.results import template

    small = FakeConfig(variables=["bad_debt"], paths=200)
    large = FakeConfig(variables=["bad_debt"], paths=300)
    run_dir = go(small, tmp_path, workers=0).path
    replace = template.replace_text

    def crash(path: Path, text: str) -> None:
        if path.name == "plan.json":
            raise OSError("power cut")
        replace(path, text)

    monkeypatch.setattr(template, "replace_text", crash)
    with pytest.raises(OSError, match="power cut"):
        go(large, tmp_path, workers=0)
    monkeypatch.undo()
    assert load_plan(run_dir).paths == 200
    with pytest.raises(RunError):
        open_run(run_dir)
    grown = go(large, tmp_path, workers=0)
    expected = go(large, tmp_path / "fresh", workers=0)
    assert stored(grown.path) == stored(expected.path)
    finalize(run_dir)
