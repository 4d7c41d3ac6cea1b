"""Rows of a summary for JSON, and the same rows as text for a terminal."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from deleverage.analysis.columns import Row, columns
from deleverage.analysis.thin import STAR

if TYPE_CHECKING:
    import xarray as xr


_SCHEME = ("effective_paths", "draw_blocks")


class Written(NamedTuple):
    """A column as it is printed: its heading and a cell a policy."""

    heading: str
    cells: list[str]

    @property
    def width(self) -> int:
        """Characters it needs."""
        return max(map(len, [*self.heading.split("\n"), *self.cells]))


def table(summary: xr.Dataset) -> list[Row]:
    """One row a policy: `policy`, `paths`, `flagged`, `missing`, and a cell for each quantity.

    A cell holds estimate, standard_error, lower, upper, paths, missing, thin and units; a number
    that is not finite is None, so that the rows are valid JSON.
    """
    numbers = {str(name): summary[name].values for name in summary.data_vars}
    names = [str(name) for name in summary["quantity"].values]
    units = [str(unit) for unit in summary["units"].values]
    # A difference counts the paths flagged under either policy: no count of this policy's own.
    own = [not str(name).startswith("difference") for name in summary["measure"].values]
    rows: list[Row] = []
    for i, policy in enumerate(summary["policy"].values):
        row: Row = {
            "policy": str(policy),
            "paths": int(summary.attrs["total_paths"]),
            "flagged": int(numbers["flagged"][i, own].max(initial=0)),
            "missing": int(numbers["missing"][i, own].max(initial=0)),
            **{key: summary.attrs[key] for key in _SCHEME if key in summary.attrs},
        }
        for j, name in enumerate(names):
            cell: Row = {
                key: _finite(numbers[key][i, j])
                for key in ("estimate", "standard_error", "lower", "upper")
            }
            cell["paths"] = int(numbers["paths"][i, j])
            cell["missing"] = int(numbers["missing"][i, j])
            cell["thin"] = bool(numbers["thin"][i, j])
            cell["units"] = units[j]
            row[name] = cell
        rows.append(row)
    return rows


def as_text(rows: Sequence[Row], width: int = 120) -> str:
    """The table a terminal prints: a policy per row, cells `estimate ± standard error`.

    Columns are taken in their order of importance while they fit the width; those that do not
    follow in a table below. Money is in billions of USD where the heading says bn, in millions
    where it says m.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not rows:
        return "The summary has no policies.\n"
    policies = [row["policy"] for row in rows]
    policy_width = min(max(map(len, ["policy", *policies])), 28)
    flagged = any(row["flagged"] or row["missing"] for row in rows)
    written = [
        Written(column.heading, [column.write(row[column.quantity]) for row in rows])
        for column in columns(rows)
    ]
    tables = _tables(written, width - policy_width, taken_of_first=12 if flagged else 0)
    if flagged:
        counts = [f"{row['flagged']:,} / {row['missing']:,}" for row in rows]
        tables[0].append(Written("flagged\n/ missing\npaths", counts))
    page = io.StringIO()
    console = Console(file=page, width=width, force_terminal=False, color_system=None)
    for number, taken in enumerate(tables):
        if number:
            console.print()
        printed = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
        printed.add_column("policy", width=policy_width, overflow="fold")
        for column in taken:
            printed.add_column(
                column.heading, justify="right", no_wrap=True, min_width=column.width
            )
        for i, policy in enumerate(policies):
            printed.add_row(*[Text(text) for text in (policy, *(c.cells[i] for c in taken))])
        console.print(printed)
    console.print(Text(_notes(rows)))
    return "\n".join(line.rstrip() for line in page.getvalue().splitlines()) + "\n"


def _tables(columns: Sequence[Written], room: int, taken_of_first: int) -> list[list[Written]]:
    """As many columns to a table as fit, narrow ones before wider ones that do not."""
    tables: list[list[Written]] = []
    while columns or not tables:
        left, taken, waiting = room - (0 if tables else taken_of_first), [], []
        for column in columns:
            # a space of padding on both sides and the divider; what fits nowhere stands alone
            fits = column.width + 3 <= left or (column.width + 3 > room and not taken)
            if fits:
                left -= column.width + 3
                taken.append(column)
            else:
                waiting.append(column)
        tables.append(taken)
        columns = waiting
    return tables


def _notes(rows: Sequence[Row]) -> str:
    paths, flagged = rows[0]["paths"], sum(row["flagged"] for row in rows)
    lines = [
        f"{paths:,} paths a policy, {flagged:,} flagged outcomes over all policies (included). "
        "Cells are estimate ± standard error; differences are paired on common draws."
    ]
    if "draw_blocks" in rows[0]:
        lines.append(f"Errors come from {rows[0]['draw_blocks']:,} blocks of paths drawn together.")
    if "effective_paths" in rows[0]:
        effective = rows[0]["effective_paths"]
        lines.append(f"Paths are weighted; for a mean they are worth {effective:,.0f} equal ones.")
    cells = [cell for row in rows for cell in row.values() if isinstance(cell, dict)]
    if any(cell["thin"] for cell in cells):
        lines.append(STAR)
    return "\n".join(lines)


def _finite(number: float) -> float | None:
    return float(number) if math.isfinite(number) else None
