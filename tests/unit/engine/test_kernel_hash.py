"""A run is continued by the kernel that began it: the hash tells one from another."""

import shutil
from pathlib import Path

import pytest

import deleverage
from deleverage.engine.device import KERNEL, fingerprint, kernel_hash

PACKAGE = Path(deleverage.__file__).parent


@pytest.fixture
def copy(tmp_path):
    ignored = shutil.ignore_patterns("__pycache__", "data")
    return Path(shutil.copytree(PACKAGE, tmp_path / "deleverage", ignore=ignored))


def test_the_same_sources_are_the_same_kernel(copy):
    assert kernel_hash(copy) == kernel_hash() == fingerprint(32, 16, "float32")["kernel"]


def change(source: Path) -> None:
    source.write_text(source.read_text() + "# another word\n")


@pytest.mark.parametrize(
    "changed",
    [
        *("world.py", "cascade/impact.py", "shocks/jumps.py", "config/participation.py"),
        *("sweep/splitting.py", "sweep/pilot.py", "sweep/response.py", "sweep/levels.py"),
    ],
)
def test_a_changed_source_is_another_kernel(copy, changed):
    change(copy / changed)
    assert kernel_hash(copy) != kernel_hash()


@pytest.mark.parametrize("changed", ["cli/runs.py", "sweep/pool.py"])
def test_what_makes_no_number_may_change(copy, changed):
    change(copy / changed)
    assert kernel_hash(copy) == kernel_hash()


def test_every_pattern_finds_sources():
    assert all(list(PACKAGE.glob(pattern)) for pattern in KERNEL)
