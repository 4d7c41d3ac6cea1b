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


@pytest.mark.parametrize(
    "changed", ["world.py", "cascade/impact.py", "shocks/jumps.py", "config/participation.py"]
)
def test_a_changed_source_is_another_kernel(copy, changed):
    with (copy / changed).open("a") as source:
        source.write("# another kernel\n")
    assert kernel_hash(copy) != kernel_hash()


def test_what_makes_no_number_may_change(copy):
    with (copy / "cli.py").open("a") as source:
        source.write("# another word\n")
    assert kernel_hash(copy) == kernel_hash()


def test_every_pattern_finds_sources():
    assert all(list(PACKAGE.glob(pattern)) for pattern in KERNEL)
