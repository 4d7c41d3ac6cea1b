"""Files that survive a crash: written whole, flushed to disk, created once."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import google_crc32c

CHECKSUM = "crc32c"
"""Name of what `crc` computes."""

SYNC_THREADS = 16
"""Flushes asked for at a time: many that wait together take hardly longer than one alone, which is
mostly the time that a disk takes to say that it is done."""


def crc(data: bytes) -> int:
    """crc32c of some bytes."""
    return google_crc32c.value(data)


def sync_file(path: Path) -> None:
    """Flush one file to disk; zarr never does."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Flush the names in a folder to disk."""
    sync_file(path)


def sync_all(paths: Iterable[Path]) -> None:
    """Flush files and folders to disk; returns when all of them are there.

    Raises:
        OSError: One of them could not be flushed.
    """
    with ThreadPoolExecutor(SYNC_THREADS) as pool:
        for _ in pool.map(sync_file, paths):
            pass


def sync_tree(root: Path) -> None:
    """Flush every file and folder below a folder, and the folder itself."""
    sync_all(
        Path(folder) / name for folder, _, names in os.walk(root) for name in (*names, os.curdir)
    )


def _write_temporary(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        with open(temporary, "x", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:  # a signal too
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def replace_text(path: Path, text: str) -> None:
    """Write a file whole, in place of what was there."""
    temporary = _write_temporary(path, text)
    os.replace(temporary, path)
    sync_folder(path.parent)


def create_text(path: Path, text: str) -> bool:
    """Write a file whole unless it exists; returns whether this call created it."""
    temporary = _write_temporary(path, text)
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)
    return True


def append_line(path: Path, record: dict[str, Any]) -> None:
    """Append one JSON line, in a single write so that two writers never mix."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, (json.dumps(record, default=str) + "\n").encode())
    finally:
        os.close(descriptor)
