"""Rows of a summary for JSON, and the same rows as text for a terminal."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import xarray as xr

Row = dict[str, Any]
Cell = Mapping[str, Any]


class Column(NamedTuple):
    """A column of the printed table: a heading of three lines, a quantity, how it is written."""

    heading: str
    quantity: str
    write: Callable[[Cell], str]


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

    Columns are taken in their order of importance while they fit the width. Money is in billions
    of USD where the heading says bn, in millions where it says m.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not rows:
        return "The summary has no policies.\n"
    flagged = any(row["flagged"] or row["missing"] for row in rows)
    policy_width = max(len("policy"), max(len(row["policy"]) for row in rows))
    policy_width = min(policy_width, 28)
    left = width - policy_width - (12 if flagged else 0)
    printed = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    printed.add_column("policy", width=policy_width, overflow="fold")
    cells: list[list[str]] = []
    for column in _columns(rows):
        texts = [column.write(row[column.quantity]) for row in rows]
        needed = max(max(map(len, texts)), max(map(len, column.heading.split("\n"))))
        if needed + 3 > left:  # a space of padding on both sides and the divider
            continue
        left -= needed + 3
        printed.add_column(column.heading, justify="right", no_wrap=True, min_width=needed)
        cells.append(texts)
    if flagged:
        printed.add_column("flagged\n/ missing\npaths", justify="right", no_wrap=True, min_width=9)
    for i, row in enumerate(rows):
        last = [f"{row['flagged']:,} / {row['missing']:,}"] if flagged else []
        printed.add_row(*[Text(text) for text in (row["policy"], *(c[i] for c in cells), *last)])
    page = io.StringIO()
    console = Console(file=page, width=width, force_terminal=False, color_system=None)
    console.print(printed)
    console.print(Text(_notes(rows)))
    return "\n".join(line.rstrip() for line in page.getvalue().splitlines()) + "\n"


def with_error(estimate: float | None, error: float | None, scale: float = 1.0) -> str:
    """`estimate ± standard error`, cut where the error has two digits; `-` where missing."""
    if estimate is None:
        return "-"
    value = estimate * scale
    if error is None or error == 0.0:
        return _significant(value)
    spread = error * scale
    decimals = min(max(1 - math.floor(math.log10(spread)), 0), 6)
    return f"{_plain(value, decimals)} ± {spread:,.{decimals}f}"


def _columns(rows: Sequence[Row]) -> list[Column]:
    """The columns that the rows have, the most important first."""
    amount_bn = _scaled(1e-3)
    amount_m = _scaled(1.0)
    wanted = [
        Column("liquidated\nES 99%\nUSD bn", "liquidated_notional.shortfall_99", amount_bn),
        Column("minus\nbaseline\nUSD bn", "liquidated_notional.shortfall_99.difference", amount_bn),
        Column("bad debt\nES 99%\nUSD m", "bad_debt.shortfall_99", amount_m),
        # what a policy costs stands beside what it saves, so that no ban looks free
        Column("OI\nforgone\nUSD bn", "open_interest_forgone", amount_bn),
    ]
    names = [name for name, cell in rows[0].items() if isinstance(cell, dict)]
    depeg = _headline(names, "depeg.", ".0.95.probability")
    if depeg:
        asset = depeg.split("/")[-1].split(".")[0]
        wanted.append(Column(f"{asset}\nbelow 0.95\n%", depeg, _percent))
    wanted.append(Column("ADL\n\n%", "adl.probability", _percent))
    trough = _headline([name for name in names if "/spot" in name], "trough_price.", ".median")
    if trough:
        asset = trough.split("/")[1]
        wanted.append(Column(f"{asset}\ntrough\nmedian", trough, _scaled(1.0)))
    wanted.append(Column("liquidated\nmean\nUSD bn", "liquidated_notional.mean", amount_bn))
    wanted.append(Column("debt be-\nyond fund\n%", "bad_debt_beyond_fund.probability", _percent))
    return [column for column in wanted if column.quantity in names]


def _headline(names: Sequence[str], start: str, end: str) -> str | None:
    """The first quantity of this kind, USDe before the others (the asset that fell that day)."""
    found = [name for name in names if name.startswith(start) and name.endswith(end)]
    return next((name for name in found if "/USDe" in name), found[0] if found else None)


def _scaled(scale: float) -> Callable[[Cell], str]:
    def write(cell: Cell) -> str:
        return with_error(cell["estimate"], cell["standard_error"], scale) + _mark(cell)

    return write


def _percent(cell: Cell) -> str:
    # Nothing hit, or nothing missed, is an interval and not a number without error.
    if cell["estimate"] == 0.0 and cell["upper"] is not None:
        return f"< {_significant(100.0 * cell['upper'], 2)}"
    if cell["estimate"] == 1.0 and cell["lower"] is not None:
        return f"> {100.0 * cell['lower']:.{_decimals_to_hundred(cell['lower'])}f}"
    return with_error(cell["estimate"], cell["standard_error"], 100.0) + _mark(cell)


def _decimals_to_hundred(share: float) -> int:
    gap = max(100.0 * (1.0 - share), 1e-6)
    return min(max(1 - math.floor(math.log10(gap)), 0), 6)


def _mark(cell: Cell) -> str:
    return " *" if cell["thin"] else ""


def _notes(rows: Sequence[Row]) -> str:
    paths, flagged = rows[0]["paths"], sum(row["flagged"] for row in rows)
    lines = [
        f"{paths:,} paths a policy, {flagged:,} flagged outcomes over all policies (included). "
        "Cells are estimate ± standard error; differences are paired on common draws."
    ]
    cells = [cell for row in rows for cell in row.values() if isinstance(cell, dict)]
    if any(cell["thin"] for cell in cells):
        lines.append(
            "* Fewer than 10 paths lie beyond this level: run more paths before trusting it."
        )
    return "\n".join(lines)


def _plain(value: float, decimals: int) -> str:
    text = f"{value:,.{decimals}f}"
    return text[1:] if text.startswith("-") and not any(c in "123456789" for c in text) else text


def _significant(value: float, digits: int = 4) -> str:
    if value == 0.0:
        return "0"
    decimals = min(max(digits - 1 - math.floor(math.log10(abs(value))), 0), 6)
    return _plain(round(value, decimals), decimals)


def _finite(number: float) -> float | None:
    return float(number) if math.isfinite(number) else None
