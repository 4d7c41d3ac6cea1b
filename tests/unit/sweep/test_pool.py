"""What the pool makes of what its workers say, and of their deaths, without processes."""

from __future__ import annotations

from multiprocessing.connection import Pipe
from types import SimpleNamespace
from typing import Any

import pytest

from deleverage.errors import RunError
from deleverage.sweep import pool
from deleverage.sweep.pool import Pool
from deleverage.sweep.process import Ready, Simulated, Task
from deleverage.sweep.storing import Ended

RETRIES = 1


class Worker(pool.WorkerProcess):
    """A worker whose part the test plays."""

    def __init__(self, *_: Any, place: int) -> None:
        self.place = place
        self.connection, self.theirs = Pipe()
        self.ready, self.simulating, self.storing = False, None, []

    def send(self, message: Any) -> bool:
        self.connection.send(message)
        return True

    def end(self) -> str:
        self.connection.close()
        self.theirs.close()
        return "out of luck\nexit code 9"

    def says(self, *messages: Any) -> None:
        for message in messages:
            self.theirs.send(message)

    def hears(self) -> list[str]:
        """Names of the units that it was given since it was last asked."""
        names = []
        while self.theirs.poll():
            task = self.theirs.recv()
            assert isinstance(task, Task)
            names.append(task.unit)
        return names


@pytest.fixture
def marked() -> set[str]:
    """Names of units that have a marker."""
    return set()


@pytest.fixture
def made(monkeypatch, tmp_path, marked):
    """A pool of some workers."""
    monkeypatch.setattr(pool, "WorkerProcess", Worker)
    monkeypatch.setattr(pool, "is_done", lambda run_dir, unit: unit.id in marked)
    monkeypatch.setattr(pool, "WAIT_SECONDS", 0.0)

    def start(workers: int = 1) -> Any:
        return Pool(tmp_path, workers, "module:factory", RETRIES, 60.0, [])

    return start


def unit(name: str) -> Any:
    return SimpleNamespace(id=name)


def all_of(one: Any) -> list[tuple[str, str | None]]:
    """What has ended, when all messages are read."""
    return [ended for _ in range(10) for ended in one.finished()]


def test_a_worker_has_one_unit_to_simulate_and_gets_the_next_while_it_stores(made):
    one = made()
    (worker,) = one._workers
    for name in "abc":
        one.submit(unit(name))
    assert worker.hears() == []  # not before it is ready
    worker.says(Ready())
    assert all_of(one) == []
    assert worker.hears() == ["a"]
    assert one.slots == 2
    worker.says(Simulated("a"))
    assert all_of(one) == []
    assert worker.hears() == ["b"]
    assert one.slots == 3
    worker.says(Ended("a"))
    assert all_of(one) == [("a", None)]
    worker.says(Simulated("b"), Ended("b"))
    assert all_of(one) == [("b", None)]
    assert worker.hears() == ["c"]


def test_who_replaces_a_worker_has_its_place(made):
    one = made(3)
    assert [worker.place for worker in one._workers] == [0, 1, 2]
    before = one._workers[1]
    before.theirs.close()
    all_of(one)
    assert one._workers[1] is not before
    assert [worker.place for worker in one._workers] == [0, 1, 2]


def test_units_go_to_whoever_is_free(made):
    one = made(2)
    first, second = one._workers
    first.says(Ready())
    second.says(Ready())
    all_of(one)
    for name in "abc":
        one.submit(unit(name))
    assert (first.hears(), second.hears()) == (["a"], ["b"])
    second.says(Simulated("b"))
    all_of(one)
    assert (first.hears(), second.hears()) == ([], ["c"])


def test_a_death_is_blamed_on_the_unit_that_was_being_simulated(made, tmp_path):
    one = made()
    for name in "abc":
        one.submit(unit(name))
    for attempt in range(RETRIES + 1):
        (worker,) = one._workers
        worker.says(Ready())
        all_of(one)
        # `b` is given again and again until it is given up, `a` is stored beside it each time
        while (given := worker.hears()) != ["b"]:
            worker.says(*map(Simulated, given))
            all_of(one)
        assert [held.id for held in worker.storing] == (["a"] if not attempt else ["c", "a"])
        worker.theirs.close()
        ended = all_of(one)
        assert one._workers != [worker]
    assert ended == [("b", "its worker process died each time, out of time or of memory")]
    assert "out of luck\nexit code 9" in (tmp_path / "failed" / "b.txt").read_text()
    (worker,) = one._workers
    worker.says(Ready())
    all_of(one)
    while given := worker.hears():
        worker.says(*map(Simulated, given), *map(Ended, given))
        assert all_of(one) == [(name, None) for name in given]


def test_a_unit_that_was_marked_before_its_worker_died_is_done(made, marked):
    one = made()
    (worker,) = one._workers
    one.submit(unit("a"))
    worker.says(Ready())
    all_of(one)
    worker.says(Simulated("a"))
    all_of(one)
    marked.add("a")
    worker.theirs.close()
    assert all_of(one) == [("a", None)]


def test_a_death_while_a_unit_was_stored_alone_is_its_own(made):
    one = made()
    one.submit(unit("a"))
    for _ in range(RETRIES + 1):
        (worker,) = one._workers
        worker.says(Ready())
        all_of(one)
        worker.says(Simulated("a"))
        all_of(one)
        worker.theirs.close()
        ended = all_of(one)
    assert [name for name, _ in ended] == ["a"]


@pytest.mark.parametrize(("again", "tries"), [(True, RETRIES + 1), (False, 1)])
def test_an_error_is_tried_again_where_that_may_help(made, again, tries):
    one = made()
    (worker,) = one._workers
    one.submit(unit("a"))
    worker.says(Ready())
    ended = all_of(one)
    for _ in range(tries):
        assert ended == []
        assert worker.hears() == ["a"]
        worker.says(Ended("a", "OSError: the disk is full", again))
        ended = all_of(one)
    assert ended == [("a", "OSError: the disk is full")]
    assert worker.hears() == []


def test_workers_that_die_before_they_are_ready_end_the_run(made):
    one = made()
    one.submit(unit("a"))

    def die_for_ever() -> None:
        while True:
            one._workers[0].theirs.close()
            assert one.finished() == []

    with pytest.raises(RunError, match="keep dying; the last one said: out of luck; exit code 9"):
        die_for_ever()
