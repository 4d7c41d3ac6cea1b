"""`scripts/bench/gpu` runs where there is nothing but NumPy, JAX, equinox and jaxtyping."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from small_runs import SMALL, SMOKE

from deleverage.config import build, load_config
from deleverage.engine import Simulator

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "bench" / "gpu"
BARE = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"No module named {name!r} on a bare machine", name=name)
sys.meta_path.insert(0, Absent())
"""
ABSENT = {"zarr", "xarray", "dask", "distributed", "pydantic", "ruamel", "yaml", "typer", "rich"}
ABSENT |= {"pandas", "numba", "matplotlib", "fsspec", "numcodecs", "scipy"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("worlds") / "small.npz"
    settings = [word for setting in SMALL for word in ("--set", setting)]
    done = subprocess.run(
        [sys.executable, "-m", "deleverage", "export-world", SMOKE, file, "--json", *settings],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["policies"] == 3
    return file


def bench(folder: Path, *words: object, absent: set[str] = ABSENT) -> subprocess.CompletedProcess:
    """The script in a Python that lacks packages."""
    (folder / "sitecustomize.py").write_text(f"ABSENT = {sorted(absent)}{BARE}")
    settings = {"PYTHON": sys.executable, "PYTHONPATH": str(folder), "JAX_PLATFORMS": "cpu"}
    settings |= {"DELEVERAGE_CACHE": str(folder / "cache")}
    return subprocess.run(
        [SCRIPT, *map(str, words)],
        env=os.environ | settings,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_bare_machine_runs_it(world, tmp_path):
    file = tmp_path / "report.json"
    options = ("--cpu", "--block", 8, "--seconds", 0.5, "--json", file)
    done = bench(tmp_path, world, *options)
    assert done.returncode == 0, done.stderr
    assert "NOT A GPU: these are numbers of this processor" in done.stdout
    (device,) = json.loads(file.read_text())["devices"]
    assert device["device"]["platform"] == "cpu"
    assert device["work"]["block_paths"] == 8
    assert device["compile_seconds"] > 0
    assert not (tmp_path / "cache").exists()  # what it has compiled a second call compiles again
    for what in ("scan", "storing"):
        assert device[what]["path_policies_per_second"] > 0
        assert f"{device[what]['path_policies_per_second']:,.0f} path-policies/s" in done.stdout
    assert set(device["peak"]) == {"operations", "bytes"}
    cost, work = device["cost"], device["work"]
    for what in ("operations", "bytes"):
        assert cost[what] > 0
        assert cost[f"series_{what}"] > 0
        assert f"{cost[what] / cost['columns']:,.0f} a path-policy and step, " in done.stdout
        assert f"{cost[f'series_{what}'] / cost['paths']:,.0f} a path for its draws" in done.stdout
    assert (cost["paths"], work["steps"]) == (8, 12)
    assert device["peak_memory_mb"] > 10
    assert set(device["versions"]) == {"python", "deleverage", "jax", "jaxlib", "numpy"}


def test_without_a_gpu_it_refuses(world, tmp_path):
    done = bench(tmp_path, world)
    assert done.returncode == 1
    assert done.stderr.startswith("error: JAX sees no GPU here, only cpu; install jax[cuda12]")
    assert done.stderr.count("\n") == 1


def test_wrong_inputs_are_refused_in_one_sentence(world, tmp_path):
    for absent, words, sentence in (
        (ABSENT, [tmp_path / "none.npz"], "error: there is no file"),
        (ABSENT, [SMOKE, "--cpu"], "holds no world; write it with `deleverage export-world"),
        (ABSENT | {"equinox"}, [world], f"error: {sys.executable} has no equinox; install"),
    ):
        done = bench(tmp_path, *words, absent=absent)
        assert done.returncode != 0
        assert sentence in done.stderr
        assert done.stderr.count("\n") == 1


def test_outcomes_left_on_the_device_are_those_that_are_handed_back():
    simulator = Simulator(build(load_config(SMOKE, SMALL)))
    handed = simulator.simulate(range(3), range(8, 16))
    ((lanes, outcomes),) = simulator.on_device(8)
    assert lanes == [0, 1, 2]
    for name in ("liquidated_notional", "trough_price", "status"):
        here = np.moveaxis(np.asarray(outcomes[name])[..., :3, :], (-2, -1), (0, 1))
        np.testing.assert_array_equal(here, handed[name])
