"""Leases under drivers that die, that come at the same time, and whose clocks differ."""

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from deleverage.errors import RunError
from deleverage.results import claims as module
from deleverage.results.claims import STALE_SECONDS, Claims, live_claims, remove_stale_claims


def of_the_dead() -> str:
    """What a driver of this machine wrote that has ended."""
    ended = subprocess.Popen(["true"])
    ended.wait()
    return Claims(Path())._text.replace(str(os.getpid()), str(ended.pid))


def elsewhere() -> str:
    """What a driver of another machine writes."""
    return json.dumps(json.loads(Claims(Path())._text) | {"host": "elsewhere"})


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "claims").mkdir()
    return tmp_path / "claims"


def put(path: Path, text: str, age: float = 0.0) -> Path:
    path.write_text(text)
    moment = time.time() - age
    os.utime(path, (moment, moment))
    return path


def test_a_live_lease_is_respected_and_released(tmp_path):
    with Claims(tmp_path) as one, Claims(tmp_path) as other:
        assert one.acquire("u")
        assert not other.acquire("u")
        assert live_claims(tmp_path) == ["u"]
        with pytest.raises(RunError, match="another process is working"):
            other.acquire_all()
        one.release("u")
        assert other.acquire("u")
    assert live_claims(tmp_path) == []


def test_the_lease_of_a_dead_process_is_taken_over(tmp_path, folder):
    put(folder / "u.json", of_the_dead())
    with Claims(tmp_path) as claims:
        assert claims.acquire("u")
        assert os.listdir(folder) == ["u.json"]


def test_of_two_that_see_the_same_dead_lease_one_takes_it_over(tmp_path, folder, monkeypatch):
    put(folder / "plan.json", of_the_dead())
    one, other = Claims(tmp_path), Claims(tmp_path)
    is_live, judged = module._is_live, []

    def slow(*given: Any) -> bool:
        live = is_live(*given)
        if not judged:
            judged.append(live)
            assert other.acquire("plan")  # all of it, before the first goes on
        return live

    monkeypatch.setattr(module, "_is_live", slow)
    assert not one.acquire("plan")
    assert judged == [False]
    assert (folder / "plan.json").read_text() == other._text
    assert os.listdir(folder) == ["plan.json"]


def test_a_lease_is_as_old_as_the_file_server_says(tmp_path, folder, monkeypatch):
    put(folder / "live.json", elsewhere())
    put(folder / "dead.json", elsewhere(), age=STALE_SECONDS + 5)
    now = time.time
    for apart in (-1000.0, 1000.0):
        monkeypatch.setattr(time, "time", lambda apart=apart: now() + apart)
        assert live_claims(tmp_path) == ["live"]
    with Claims(tmp_path) as claims:
        assert not claims.acquire("live")
        assert claims.acquire("dead")


def test_leases_are_seen_where_nothing_can_be_written(tmp_path, folder, monkeypatch):
    put(folder / "live.json", elsewhere())

    def refused(*given: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "touch", refused)
    assert live_claims(tmp_path) == ["live"]


def test_what_the_dead_left_is_removed_and_what_is_being_written_is_not(tmp_path, folder):
    put(folder / ".plan.json.0.tmp", of_the_dead())
    put(folder / ".plan.json.1.tmp", elsewhere(), age=STALE_SECONDS + 5)
    put(folder / "p0000-x000000.json", of_the_dead())
    kept = [
        put(folder / ".plan.json.2.tmp", elsewhere()),
        put(folder / ".plan.json.3.tmp", elsewhere()[:20]),
        put(folder / "p0000-x000001.json", elsewhere()),
    ]
    remove_stale_claims(tmp_path)
    assert sorted(folder.iterdir()) == sorted(kept)


def test_a_lease_can_be_taken_while_stale_ones_are_removed(tmp_path, folder, monkeypatch):
    link = os.link

    def late(*given: object) -> None:
        remove_stale_claims(tmp_path)
        link(*given)

    monkeypatch.setattr(os, "link", late)
    with Claims(tmp_path) as claims:
        assert claims.acquire("plan")


def test_a_lease_that_a_full_disk_does_not_take_is_one_sentence(tmp_path, folder, monkeypatch):
    def full(*given: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with Claims(tmp_path) as claims:
        with pytest.raises(RunError, match=r"cannot be written \(No space left on device\); make"):
            claims.acquire("u")
    assert os.listdir(folder) == []
