"""A frontier as rows for JSON and for a terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from deleverage.analysis.columns import with_bound
from deleverage.analysis.thin import STAR

if TYPE_CHECKING:
    import xarray as xr

Row = dict[str, Any]
_NUMBERS = ("", "_standard_error", "_lower", "_upper")
ALIKE = (
    "† No path tells its risk from that of a policy that costs no more: it may be better or worse."
)


def table(front: xr.Dataset) -> list[Row]:
    """Rows for JSON, the front first, from the best risk on; None for what is not finite.

    A row has policy, on_front, risk with risk_standard_error, risk_lower and risk_upper, the costs,
    probability with its ends, excess as risk, dominated_by, paths, flagged, missing and thin.
    """
    names = [
        "on_front",
        *(f"risk{end}" for end in _NUMBERS),
        *front.attrs["costs"],
        *(f"probability{end}" for end in ("", "_lower", "_upper")),
        *(f"excess{end}" for end in _NUMBERS),
        *("dominated_by", "flagged"),
    ]
    rows = [
        {"policy": str(label)}
        | {name: number(front[name].values[i].item()) for name in names}
        | {name: front.attrs[name] for name in ("paths", "missing")}
        | {"thin": "thin_tail" in front.attrs}
        for i, label in enumerate(front.policy.values)
    ]
    sign = 1.0 if front.attrs["good"] == "low" else -1.0
    return sorted(rows, key=lambda row: (not row["on_front"], sign * (row["risk"] or 0.0)))


def shown(front: xr.Dataset, rows: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Rows of `table` as a terminal shows them: numbers with errors, a star where thin."""
    return [
        {
            "policy": row["policy"],
            "on_front": "yes" if row["on_front"] else "no",
            "risk": marked(front, row, "risk"),
            **{name: row[name] for name in front.attrs["costs"]},
            "probability": chance(row),
            "excess": "" if row["on_front"] else marked(front, row, "excess"),
            "dominated_by": row["dominated_by"],
        }
        for row in rows
    ]


def legend(front: xr.Dataset, rows: Sequence[Mapping[str, Any]]) -> str:
    """What the columns mean, and how far they can be trusted."""
    lines = [
        f"risk: {risk_in_words(front)}; {front.attrs['good']} is good; ± standard error",
        counts(front),
        "probability: of being on the front, given the errors",
        "excess: risk beyond that of the policy that dominates it",
        *notes(front, rows),
    ]
    return "\n".join(lines)


def counts(front: xr.Dataset) -> str:
    """Paths behind the numbers, and how many of them are flagged."""
    flagged = int(front.flagged.sum())
    missing = front.attrs["missing"]
    left_out = f", {missing:,} more left out as missing under some policy" if missing else ""
    return (
        f"{front.attrs['paths']:,} paths a policy{left_out}, {flagged:,} flagged outcomes over all "
        "policies (included)."
    )


def notes(front: xr.Dataset, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What must be said of some rows."""
    alike = any(_is_open(row) for row in rows)
    return [
        *([ALIKE] if alike else []),
        *([STAR] if "thin_tail" in front.attrs else []),
    ]


def chance(row: Mapping[str, Any]) -> str:
    """The probability of being on the front; where no path tells policies apart its two ends."""
    value, lower, upper = (row[f"probability{end}"] for end in ("", "_lower", "_upper"))
    if value is None:
        return "-"
    if _is_open(row):
        return f"{lower:.2g} to {upper:.2g} †"
    return with_bound(value, None, lower, upper) if value in (0.0, 1.0) else f"{value:.2g}"


def _is_open(row: Mapping[str, Any]) -> bool:
    """Whether the interval is wider than draws make it: the sample tells policies not apart."""
    lower, upper = row["probability_lower"], row["probability_upper"]
    return lower is not None and upper - lower > 0.1


def risk_in_words(front: xr.Dataset) -> str:
    """What risk is measured on, how, and in which unit."""
    notes, unit = front.attrs, front.risk.attrs.get("units", "")
    level = f" {100.0 * notes['q']:.4g}%" if "q" in notes else ""
    name = f"{notes['measure']}{level} of {notes['variable']}".replace("_", " ")
    places = "".join(f" at {label}" for label in notes["selection"].values())
    summed = f", summed over {' and '.join(notes['summed'])}" if notes["summed"] else ""
    return f"{name}{places}{summed}{f', {unit}' if unit else ''}"


def marked(front: xr.Dataset, row: Mapping[str, Any], name: str) -> str:
    """A number of a row with its error, and a star where the sample is too small for its level."""
    numbers = (row[f"{name}{end}"] for end in _NUMBERS)
    return with_bound(*numbers) + (" *" if "thin_tail" in front.attrs else "")


def number(value: Any) -> Any:
    """What JSON knows: None for what is not finite."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
