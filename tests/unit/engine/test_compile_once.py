"""Of processes that start together one compiles, the others wait; later ones never do."""

from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np
import pytest

from deleverage.engine.compile_once import compile_once, program_name

FOR_EVER = 20.0


def enter(folder, name, entered, leave=None):
    """A thread inside `compile_once`; each opens the lock anew, as a process would."""

    def body():
        with compile_once(folder, name):
            entered.set()
            if leave is not None:
                leave.wait(FOR_EVER)

    thread = threading.Thread(target=body)
    thread.start()
    return thread


def hold(folder, name):
    """A thread that stays inside `compile_once` until it is told to leave."""
    inside, leave = threading.Event(), threading.Event()
    thread = enter(folder, name, inside, leave)
    assert inside.wait(FOR_EVER)
    return thread, leave


def test_the_second_waits_for_the_first_and_the_third_for_nobody(tmp_path):
    second = threading.Event()
    first, leave = hold(tmp_path, "a")
    waiting = enter(tmp_path, "a", second)
    assert not second.wait(0.3)
    leave.set()
    assert second.wait(FOR_EVER)
    first.join()
    waiting.join()
    # compiled: two may be inside at once
    third = threading.Event()
    held, leave = hold(tmp_path, "a")
    enter(tmp_path, "a", third).join(FOR_EVER)
    assert third.is_set()
    leave.set()
    held.join()


def test_waiting_ends_for_all_at_once_when_the_program_is_there(tmp_path):
    first, leave = hold(tmp_path, "a")
    stay, events = threading.Event(), [threading.Event() for _ in range(2)]
    threads = [enter(tmp_path, "a", event, stay) for event in events]
    leave.set()
    # both load the program side by side: neither waits for the other to leave
    assert all(event.wait(FOR_EVER) for event in events)
    stay.set()
    for thread in (first, *threads):
        thread.join()


def test_other_programs_do_not_wait(tmp_path):
    other = threading.Event()
    first, leave = hold(tmp_path, "a")
    enter(tmp_path, "b", other).join(FOR_EVER)
    assert other.is_set()
    leave.set()
    first.join()


def test_after_a_failure_the_next_one_compiles_and_the_rest_still_wait(tmp_path):
    with pytest.raises(ZeroDivisionError), compile_once(tmp_path, "a"):
        _ = 1 / 0
    second = threading.Event()
    first, leave = hold(tmp_path, "a")
    waiting = enter(tmp_path, "a", second)
    assert not second.wait(0.3)
    leave.set()
    waiting.join()
    first.join()


def test_without_a_cache_nobody_waits():
    with compile_once(None, "a"), compile_once(None, "a"):
        pass


def test_a_folder_that_cannot_be_made_stops_nobody(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with compile_once(tmp_path / "file", "a"), compile_once(tmp_path / "file", "a"):
        pass


def test_a_process_that_is_killed_keeps_nobody_waiting(tmp_path):
    code = (
        "import sys, os, pathlib\n"
        "from deleverage.engine.compile_once import compile_once\n"
        "with compile_once(pathlib.Path(sys.argv[1]), 'a'):\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    second = threading.Event()
    enter(tmp_path, "a", second).join(FOR_EVER)
    assert second.is_set()


def test_a_programs_name_follows_all_that_it_is_compiled_from():
    fingerprint = {"kernel": "abc", "tile_paths": 32}
    leaf = {"x": np.zeros((2, 3), np.float32)}
    name = program_name(fingerprint, leaf)
    assert name == program_name(fingerprint, {"x": np.ones((2, 3), np.float32)})
    others = [
        program_name(fingerprint | {"kernel": "abd"}, leaf),
        program_name(fingerprint, {"x": np.zeros((2, 4), np.float32)}),
        program_name(fingerprint, {"x": np.zeros((2, 3), np.float64)}),
        program_name(fingerprint, {"y": leaf["x"]}),
        program_name(fingerprint, {"x": 7}),
        program_name(fingerprint, {"x": 8}),
        program_name(fingerprint, {"x": leaf["x"], "y": None}),
    ]
    assert len({name, *others}) == 1 + len(others)
