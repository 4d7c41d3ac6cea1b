"""Where workers run; no GPU is needed, since what is asked of JAX is played."""

from __future__ import annotations

import os
import subprocess
import sys

import jax
import pytest

from deleverage.errors import RunError
from deleverage.sweep import places
from deleverage.sweep.places import PREALLOCATE, VISIBLE, check_workers, environment, worker_count


@pytest.fixture
def three_gpus(monkeypatch):
    monkeypatch.setattr(jax, "local_device_count", lambda: 3)


def test_a_core_or_a_gpu_has_a_worker(three_gpus, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(5)), raising=False)
    assert [worker_count(pending) for pending in (0, 1, 2, 9)] == [0, 0, 2, 5]
    assert [worker_count(pending, "gpu") for pending in (0, 1, 2, 9)] == [0, 0, 2, 3]


def test_more_workers_than_gpus_are_refused(three_gpus):
    for workers in range(4):
        check_workers(workers, "gpu")
    check_workers(99, "cpu")
    with pytest.raises(RunError, match=r"4 workers came for 3 GPUs.* allowed is 0 to 3"):
        check_workers(4, "gpu")


@pytest.mark.parametrize(
    ("visible", "seen"), [(None, ["0", "1"]), ("5,7", ["5", "7"]), ("", ["", ""])]
)
def test_a_worker_sees_the_gpu_of_its_place(monkeypatch, visible, seen):
    monkeypatch.delenv(VISIBLE, raising=False)
    if visible is not None:
        monkeypatch.setenv(VISIBLE, visible)
    assert [environment(place)[VISIBLE] for place in range(2)] == seen


def test_the_driver_leaves_memory_and_its_workers_take_it(monkeypatch):
    monkeypatch.setattr(places, "_given", None)
    monkeypatch.delenv(PREALLOCATE, raising=False)
    places.leave_memory()
    assert os.environ[PREALLOCATE] == "false"
    assert PREALLOCATE not in environment(0)


def test_what_the_user_says_of_memory_holds_for_all(monkeypatch):
    monkeypatch.setattr(places, "_given", "true")
    monkeypatch.setenv(PREALLOCATE, "true")
    places.leave_memory()
    assert os.environ[PREALLOCATE] == environment(0)[PREALLOCATE] == "true"


def test_a_worker_computes_on_one_core():
    """XLA's pool of threads follows NPROC."""
    count = "import os, jax, jax.numpy as jnp; jnp.ones(8).sum().block_until_ready()"
    count += "; print(sum('XLAEigen' in open(f'/proc/self/task/{t}/comm').read()"
    count += " for t in os.listdir('/proc/self/task')))"
    if not os.path.isdir("/proc/self/task"):
        pytest.skip("threads cannot be counted here")
    found = subprocess.run(
        [sys.executable, "-c", count], env=environment(0), capture_output=True, text=True
    )
    assert found.stdout.strip() == "1"
