"""A run that is killed or stopped while it is closed or summed up is closed by the next call."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from fake_engine import FACTORY, FakeConfig
from small_runs import stored

from deleverage.results import open_run
from deleverage.sweep import run

TESTS = Path(__file__).parents[1]
DRIVER = """
import sys
import time
from fake_engine import FACTORY, FakeConfig
from deleverage import results
from deleverage.cli.runs import _keep_summary
from deleverage.errors import DeleverageError
from deleverage.results import checks, groups
from deleverage.sweep import run

def hang(*given):
    print("here", flush=True)
    time.sleep(60)

config = FakeConfig(variables=["bad_debt", "trough_price"])
if sys.argv[2] == "closing":
    checks._write_unit_status = hang
else:
    groups.sync_tree = hang
try:
    _keep_summary(run(config, sys.argv[1], 0, progress=False, simulator_factory=FACTORY))
except DeleverageError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
"""


def begin(out: Path, where: str) -> subprocess.Popen[bytes]:
    """A driver that hangs while it closes its run or writes its summary."""
    path = os.pathsep.join([str(TESTS), *filter(None, sys.path)])
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(out), where],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert driver.stdout is not None
    assert driver.stdout.readline() == b"here\n", driver.communicate()
    return driver


def go(out: Path, paths: int = 200) -> Path:
    config = FakeConfig(variables=["bad_debt", "trough_price"], paths=paths)
    return run(config, out, 0, progress=False, simulator_factory=FACTORY).path


def temporary(run_dir: Path) -> list[str]:
    return [name for name in os.listdir(run_dir) if name.endswith(".tmp")]


def test_a_group_that_a_kill_left_half_written_is_removed(tmp_path):
    driver = begin(tmp_path / "killed", "summing up")
    driver.kill()
    driver.communicate()
    (run_dir,) = (tmp_path / "killed").glob("fake-*")
    (left,) = temporary(run_dir)
    assert (run_dir / left / "zarr.json").exists()
    assert go(tmp_path / "killed", paths=300) == run_dir
    assert temporary(run_dir) == []
    assert stored(run_dir) == stored(go(tmp_path / "whole", paths=300))


@pytest.mark.parametrize("where", ["closing", "summing up"])
def test_a_signal_at_the_end_stops_cleanly_with_130(tmp_path, where):
    driver = begin(tmp_path, where)
    driver.send_signal(signal.SIGTERM)
    _, said = driver.communicate(timeout=20)
    assert driver.returncode == 130
    assert b"all units done; run the same command again to continue it" in said
    (run_dir,) = tmp_path.glob("fake-*")
    assert temporary(run_dir) == []
    assert os.listdir(run_dir / "claims") == []
    assert go(tmp_path) == run_dir
    assert open_run(run_dir).complete
