"""Measured rows of the table of mechanisms: kept in a file as they come, and as a table."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from machine import described
from mechanism_rows import row_hash

from deleverage.engine import LANES
from deleverage.engine.device import kernel_hash

SAME = ("kernel", "processor", "paths", "policies", "repeats")
"""What rows of one file have in common."""


class Report:
    """Rows by name, in a file that is whole after every row.

    Args:
        file: JSON; None: rows are kept in memory alone.
        config: Whose rows they are.
        paths: Of a tile.
        repeats: Of each pair of runs.
    """

    def __init__(self, file: Path | None, config: Path, paths: int, repeats: int) -> None:
        self._file, self._config = file, config
        self._report = described()
        self._report |= {"kernel": kernel_hash(), "paths": paths, "policies": LANES}
        self._report |= {"repeats": repeats, "rows": []}
        if file is not None and file.exists():
            self._take_up(file)

    def has(self, name: str) -> bool:
        """Whether a row was measured, as it is now."""
        return any(self._is(row, name) for row in self._report["rows"])

    def row(self, name: str) -> dict[str, Any]:
        """A row that there is."""
        return next(row for row in self._report["rows"] if row["mechanism"] == name)

    def add(self, name: str, measured: dict[str, Any]) -> None:
        """Keep a row."""
        others = [row for row in self._report["rows"] if row["mechanism"] != name]
        row = {"mechanism": name, "config": row_hash(self._config, name), **measured}
        self._report["rows"] = [*others, row]
        if self._file is not None:
            temporary = self._file.with_name(f"{self._file.name}.{os.getpid()}.tmp")
            temporary.write_text(json.dumps(self._report, indent=1) + "\n")
            os.replace(temporary, self._file)

    def _is(self, row: dict[str, Any], name: str) -> bool:
        return row["mechanism"] == name and row["config"] == row_hash(self._config, name)

    def _take_up(self, file: Path) -> None:
        try:
            before = json.loads(file.read_text())
            found = {name: _told(before, name) for name in SAME}
            rows = [row for row in before["rows"] if {"mechanism", "config"} <= row.keys()]
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            sys.exit(f"error: {file} is no report of this script; name another file.")
        for name, value in found.items():
            if value != _told(self._report, name):
                sys.exit(
                    f"error: the rows of {file} were measured with {name} {value}, these would be "
                    f"with {_told(self._report, name)}; name another file, or remove it."
                )
        self._report["rows"] = rows


def _told(report: dict[str, Any], name: str) -> Any:
    return report["machine"][name] if name == "processor" else report[name]


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Rows as MODEL.md holds them."""
    lines = [
        "| entry | over baseline | spread | program | paths that differ |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        program = "its own" if row["own_program"] else "the baseline's"
        lines.append(
            f"| {row['mechanism']} | {row['over_baseline']:.2f} | {row['spread']:.2f} | {program} "
            f"| {100 * row['paths_changed']:.0f}% |"
        )
    return "\n".join(lines)
