"""A run that follows an error bar is killed before, at and after its checkpoints."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from fake_engine import FakeConfig
from small_runs import stored
from test_kill import go, wait_for_markers, with_path

from deleverage.results import template
from deleverage.results.plan import load_plan

RULE = {
    "at_most": 2000,
    "at_least": 100,
    "until": {
        "variable": "bad_debt",
        "measure": "probability",
        "above": 0.0,
        "relative_error": 0.05,
    },
}
CONFIG = FakeConfig(variables=["bad_debt"], seconds=0.05, rule=RULE)
DRIVER = """
import sys
from fake_engine import FACTORY
from test_kill_adaptive import CONFIG
from deleverage.sweep import run
run(CONFIG, sys.argv[1], int(sys.argv[2]), simulator_factory=FACTORY)
"""


def start(out: Path, workers: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(out), str(workers)],
        env={**with_path(), "PYTHONPATH": f"{Path(__file__).parent}:{with_path()['PYTHONPATH']}"},
        stderr=subprocess.PIPE,
    )


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    made = go(CONFIG, tmp_path_factory.mktemp("whole"), workers=0)
    assert made.plan.stopping["reached"]
    assert made.plan.paths == 512
    return stored(made.path)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_killed_at_several_checkpoints_has_the_same_files(tmp_path, expected, workers):
    for count in (1, 3, 6) if workers == 0 else (4,):
        driver = start(tmp_path, workers)
        wait_for_markers(tmp_path, driver, count)
        driver.kill()
        driver.communicate()
        assert driver.returncode == -signal.SIGKILL
    (run_dir,) = tmp_path.glob("fake-*")
    assert load_plan(run_dir).paths > 128  # it has been at a checkpoint
    assert not load_plan(run_dir).decided
    assert stored(go(CONFIG, tmp_path, workers=workers).path) == expected


@pytest.mark.parametrize("at", [2, 5])
def test_a_crash_at_a_checkpoint_is_repeated(tmp_path, expected, monkeypatch, at):
    replace = template.replace_text
    plans = 0

    def crash(path: Path, text: str) -> None:
        nonlocal plans
        plans += path.name == "plan.json"
        if plans == at:
            raise OSError("power cut")
        replace(path, text)

    monkeypatch.setattr(template, "replace_text", crash)
    with pytest.raises(OSError, match="power cut"):
        go(CONFIG, tmp_path, workers=0)
    monkeypatch.undo()
    assert stored(go(CONFIG, tmp_path, workers=0).path) == expected


def test_two_drivers_make_the_same_run(tmp_path, expected):
    drivers = [start(tmp_path, 0) for _ in range(2)]
    for driver in drivers:
        _, said = driver.communicate(timeout=120)
        assert driver.returncode == 0, said
    (run_dir,) = tmp_path.glob("fake-*")
    assert stored(run_dir) == expected
