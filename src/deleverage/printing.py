"""What the command line prints: JSON, names with values, aligned columns."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import typer


def print_json(value: Any) -> None:
    """Print a value as JSON."""
    typer.echo(json.dumps(value, indent=2, default=_plain))


def _plain(value: Any) -> Any:
    """What JSON knows in place of a record or a path."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return str(value)


def as_pairs(account: Mapping[str, Any]) -> str:
    """Names and values, a line each."""
    width = max(map(len, account))
    lines = (f"{name.replace('_', ' '):<{width}}  {value}" for name, value in account.items())
    return "\n".join(lines)


def as_columns(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as aligned columns under their keys; numbers to the right."""
    if not rows:
        return "none"
    names = list(rows[0])
    head = [name.replace("_", " ") for name in names]
    words = [head, *([as_word(row[name]) for name in names] for row in rows)]
    widths = [max(len(line[i]) for line in words) for i in range(len(names))]
    right = [all(isinstance(row[name], int | float | None) for row in rows) for name in names]
    lines = [
        "  ".join(
            f"{word:>{width}}" if to_right else f"{word:<{width}}"
            for word, width, to_right in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in words
    ]
    return "\n".join(lines)


def as_word(value: Any) -> str:
    """A value as a table shows it."""
    if value is None:
        return ""
    return f"{value:,.6g}" if isinstance(value, float) else str(value)


def terminal_width() -> int:
    """Columns of the terminal, or enough for the whole table where there is none."""
    return shutil.get_terminal_size((140, 24)).columns if sys.stdout.isatty() else 140
