"""Leases: which live driver works on which unit.

They only save double work. Markers decide what is done, so a lease that is lost or taken over
costs time and never correctness.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from pathlib import Path
from types import TracebackType

from deleverage.errors import RunError
from deleverage.results.files import create_text, replace_text

CLAIMS_FOLDER = "claims"
PLAN_CLAIM = "plan"
HEARTBEAT_SECONDS = 10.0
STALE_SECONDS = 90.0


def _is_live(path: Path) -> bool:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        age = time.time() - path.stat().st_mtime
    except (OSError, ValueError):
        return False
    if age > STALE_SECONDS:
        return False
    if content.get("host") != socket.gethostname():
        return True
    try:
        os.kill(int(content["pid"]), 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def live_claims(run_dir: Path) -> list[str]:
    """Names claimed by drivers that are alive."""
    folder = Path(run_dir) / CLAIMS_FOLDER
    return [path.stem for path in sorted(folder.glob("*.json")) if _is_live(path)]


def remove_stale_claims(run_dir: Path) -> None:
    """Remove what dead drivers left."""
    for path in (Path(run_dir) / CLAIMS_FOLDER).iterdir():
        if path.suffix != ".json" or not _is_live(path):
            path.unlink(missing_ok=True)


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
        """Take a lease unless a live driver holds it; returns whether it is now ours."""
        path = self._path(name)
        self._held.add(name)  # before it is: a signal in between must not leave it behind
        if not create_text(path, self._text):
            if _is_live(path):
                self._held.discard(name)
                return False
            replace_text(path, self._text)
        return True

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
