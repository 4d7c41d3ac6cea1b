"""Leases: which live driver works on which unit.

Those on units only save double work: markers decide what is done, so one that is lost or taken over
costs time and never correctness. Whoever holds the one on the plan may grow the run or close it.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
import uuid
from pathlib import Path
from types import TracebackType
from typing import Any

from deleverage.errors import RunError
from deleverage.results.files import create_text

CLAIMS_FOLDER = "claims"
PLAN_CLAIM = "plan"
HEARTBEAT_SECONDS = 10.0
STALE_SECONDS = 90.0


def _ended(holder: Any) -> bool:
    """Whether the driver that a lease names was a process of this machine, and is none now."""
    if holder.get("host") != socket.gethostname():
        return False
    try:
        os.kill(int(holder["pid"]), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def _now(folder: Path) -> float:
    """The time by which files in a folder are dated; a file server's clock need not be ours."""
    probe = folder / f".now.{uuid.uuid4().hex[:8]}.tmp"
    try:
        probe.touch(exist_ok=False)
        try:
            os.utime(probe)
            return probe.stat().st_mtime
        finally:
            probe.unlink(missing_ok=True)
    except OSError:  # who cannot write here takes no lease either, and only looks
        return time.time()


def _is_live(path: Path, now: float) -> bool:
    try:
        holder = json.loads(path.read_text(encoding="utf-8"))
        age = now - path.stat().st_mtime
    except (OSError, ValueError):
        return False
    return age <= STALE_SECONDS and not _ended(holder)


def _is_left(path: Path, now: float) -> bool:
    """Whether a temporary file is nobody's any more; whoever writes one links it at once."""
    try:
        if now - path.stat().st_mtime > STALE_SECONDS:
            return True
        return _ended(json.loads(path.read_text(encoding="utf-8")))
    except OSError:
        return True  # linked and removed meanwhile
    except ValueError:  # half written
        return False


def live_claims(run_dir: Path) -> list[str]:
    """Names claimed by drivers that are alive."""
    folder = Path(run_dir) / CLAIMS_FOLDER
    listed = sorted(folder.glob("*.json"))
    now = _now(folder) if listed else 0.0
    return [path.stem for path in listed if _is_live(path, now)]


def remove_stale_claims(run_dir: Path) -> None:
    """Remove what dead drivers left; live ones may be taking leases meanwhile."""
    folder = Path(run_dir) / CLAIMS_FOLDER
    now = _now(folder)
    for path in folder.iterdir():
        left = not _is_live(path, now) if path.suffix == ".json" else _is_left(path, now)
        if left:
            path.unlink(missing_ok=True)


def _bury(path: Path) -> bool:
    """Move a dead driver's lease out of the way; of several that try one does, and may create."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return True  # released meanwhile
    if _is_live(path, _now(path.parent)):
        return False
    grave = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        os.rename(path, grave)
    except FileNotFoundError:
        return False  # another was faster
    dead = grave.read_text(encoding="utf-8") == text
    if not dead:  # another was faster, and this is its new lease
        with contextlib.suppress(FileExistsError):
            os.link(grave, path)
    grave.unlink()
    return dead


class Claims:
    """The leases of one driver, kept alive by a thread while used as a context."""

    def __init__(self, run_dir: Path) -> None:
        """Prepare leases in a run directory; none is taken yet."""
        self._folder = Path(run_dir) / CLAIMS_FOLDER
        self._text = json.dumps(
            {"host": socket.gethostname(), "pid": os.getpid(), "driver": uuid.uuid4().hex}
        )
        self._held: set[str] = set()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Claims:
        """Start the heartbeat."""
        self._thread = threading.Thread(target=self._beat, name="claims", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the heartbeat and release everything."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        for name in list(self._held):
            self.release(name)

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.json"

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT_SECONDS):
            for name in list(self._held):
                try:
                    os.utime(self._path(name))
                except OSError:
                    continue

    def acquire(self, name: str) -> bool:
        """Take a lease unless a live driver holds it; returns whether it is now ours.

        Raises:
            RunError: The disk is full, or the folder cannot be written.
        """
        path = self._path(name)
        self._held.add(name)  # before it is: a signal in between must not leave it behind
        try:
            if create_text(path, self._text) or (_bury(path) and create_text(path, self._text)):
                return True
        except OSError as error:
            raise RunError(
                f"{self._folder.parent} cannot be written ({error.strerror}); make room or make "
                "it writable, and run the same command again."
            ) from None
        self._held.discard(name)
        return False

    def is_free(self, name: str) -> bool:
        """Whether no other live driver holds a lease."""
        path = self._path(name)
        return name in self._held or not path.exists() or not _is_live(path, _now(path.parent))

    def acquire_all(self) -> None:
        """Take the lease on the whole directory.

        Raises:
            RunError: Another driver works in it.
        """
        free = self.acquire(PLAN_CLAIM)
        others = [name for name in live_claims(self._folder.parent) if name != PLAN_CLAIM]
        if not free or others:
            if free:
                self.release(PLAN_CLAIM)
            raise RunError(
                f"another process is working in {self._folder.parent} (on "
                f"{', '.join(others[:3]) or 'its plan'}); wait until it has ended, or stop it."
            )

    def release(self, name: str) -> None:
        """Give a lease back."""
        self._held.discard(name)
        path = self._path(name)
        try:
            if path.read_text(encoding="utf-8") == self._text:
                path.unlink()
        except OSError:
            return
