"""The events of a run, `log.jsonl`: for the reader only, nothing depends on them."""

from __future__ import annotations

import contextlib
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deleverage.results.files import append_line

LOG_FILE = "log.jsonl"


def log_event(run_dir: Path, event: str, **details: Any) -> None:
    """Append an event to `log.jsonl`, if the disk has room for it."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    record = {"time": now, "event": event, "pid": os.getpid(), **details}
    with contextlib.suppress(OSError):  # what matters is told by markers and errors
        append_line(run_dir / LOG_FILE, record)
