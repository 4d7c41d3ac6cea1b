"""What the cluster makes of futures, without processes."""

from __future__ import annotations

import queue
from types import SimpleNamespace
from typing import Any

import pytest

from deleverage.sweep import cluster
from deleverage.sweep.cluster import DaskCluster


class Future:
    """A future whose exception nobody may wait for."""

    def __init__(self, status: str) -> None:
        self.status = status
        self.callbacks: list[Any] = []

    def add_done_callback(self, callback: Any) -> None:
        self.callbacks.append(callback)

    def exception(self) -> Exception:
        raise AssertionError("this would block for ever")


@pytest.fixture
def idle(monkeypatch):
    """A cluster with one unit out and no worker, whose marker is there or not."""

    def made(marked: bool) -> Any:
        monkeypatch.setattr(cluster, "is_done", lambda run_dir, unit: marked)
        one: Any = object.__new__(DaskCluster)
        one._run_dir, one._warm, one._deaths = None, True, 0
        one._events, one._processes, one._futures = queue.SimpleQueue(), {}, {}
        one._units = {"unit": SimpleNamespace(id="unit")}
        return one

    return made


@pytest.mark.parametrize("status", ["pending", "lost"])
def test_a_unit_whose_worker_died_after_its_marker_is_done(idle, status):
    one = idle(marked=True)
    one._events.put(("unit", Future(status)))
    assert one.finished() == [("unit", None)]


@pytest.mark.parametrize("status", ["pending", "lost"])
def test_a_unit_whose_worker_died_before_its_marker_is_waited_for_again(idle, status):
    one, future = idle(marked=False), Future(status)
    one._events.put(("unit", future))
    assert one.finished() == []
    assert one._futures == {"unit": future}
    assert len(future.callbacks) == 1
