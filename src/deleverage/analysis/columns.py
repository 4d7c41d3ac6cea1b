"""The columns of the printed table: what each shows, and how a number is written."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from deleverage.analysis.quantities import REPRODUCTION

Row = dict[str, Any]
Cell = Mapping[str, Any]


class Column(NamedTuple):
    """A column of the printed table: a heading of three lines, a quantity, how it is written."""

    heading: str
    quantity: str
    write: Callable[[Cell], str]


def columns(rows: Sequence[Row]) -> list[Column]:
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
    wanted.append(Column("repro-\nduction\nnumber", REPRODUCTION.name, _scaled(1.0)))
    wanted += [
        Column(f"{loss}\n{measure}\n% of OI", f"{name}.{key}.per_open_interest", _scaled(100.0))
        for loss, name in (("bad debt", "bad_debt"), ("equity lost", "equity_lost"))
        for measure, key in (("mean", "mean"), ("ES 99%", "shortfall_99"))
    ]
    wanted.append(Column("liquidated\nmean\nUSD bn", "liquidated_notional.mean", amount_bn))
    wanted.append(Column("debt be-\nyond fund\n%", "bad_debt_beyond_fund.probability", _percent))
    return [column for column in wanted if column.quantity in names]


def with_error(estimate: float | None, error: float | None, scale: float = 1.0) -> str:
    """`estimate ± standard error`, cut where the error has two digits; `-` where missing."""
    if estimate is None:
        return "-"
    value = estimate * scale
    spread = (error or 0.0) * scale
    if round(spread, 6) == 0.0:
        return _significant(value)
    decimals = min(max(1 - math.floor(math.log10(spread)), 0), 6)
    return f"{_plain(value, decimals)} ± {spread:,.{decimals}f}"


def _headline(names: Sequence[str], start: str, end: str) -> str | None:
    """The first quantity of this kind, USDe before the others (the asset that fell that day)."""
    found = [name for name in names if name.startswith(start) and name.endswith(end)]
    return next((name for name in found if "/USDe" in name), found[0] if found else None)


def _scaled(scale: float) -> Callable[[Cell], str]:
    def write(cell: Cell) -> str:
        return with_error(cell["estimate"], cell["standard_error"], scale) + _mark(cell)

    return write


def with_bound(
    estimate: float | None,
    error: float | None,
    lower: float | None,
    upper: float | None,
    scale: float = 1.0,
) -> str:
    """As `with_error`; what has no error but an interval with a width is that interval.

    Of a share of which nothing was hit the upper bound, of one of which all was the lower one; of a
    difference where nothing differs both ends.
    """
    known = None not in (estimate, lower, upper)
    if error or not known or not lower < upper:
        return with_error(estimate, error, scale)
    if estimate == lower == 0.0:
        return f"< {_significant(scale * upper, 2)}"
    if estimate == upper == 1.0:
        return f"> {scale * lower:.{_decimals_to(scale, scale * lower)}f}"
    ends = " to ".join(_significant(scale * end, 2) for end in (lower, upper))
    return f"{with_error(estimate, 0.0, scale)} ({ends})"


def _percent(cell: Cell) -> str:
    numbers = (cell[name] for name in ("estimate", "standard_error", "lower", "upper"))
    return with_bound(*numbers, 100.0) + _mark(cell)


def _decimals_to(whole: float, part: float) -> int:
    gap = max(whole - part, 1e-6)
    return min(max(1 - math.floor(math.log10(gap)), 0), 6)


def _mark(cell: Cell) -> str:
    return " *" if cell["thin"] else ""


def _plain(value: float, decimals: int) -> str:
    text = f"{value:,.{decimals}f}"
    return text[1:] if text.startswith("-") and not any(c in "123456789" for c in text) else text


def _significant(value: float, digits: int = 4) -> str:
    if round(value, 6) == 0.0:
        return "0"
    decimals = min(max(digits - 1 - math.floor(math.log10(abs(value))), 0), 6)
    return _plain(round(value, decimals), decimals)
