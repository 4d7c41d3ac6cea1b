"""A frontier as rows for JSON and for a terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from deleverage.analysis.columns import with_error

if TYPE_CHECKING:
    import xarray as xr

Row = dict[str, Any]
TOO_FEW = "* Fewer than 10 paths lie beyond this level: run more paths before trusting it."


def table(front: xr.Dataset) -> list[Row]:
    """Rows for JSON, the front first, by rising risk; None for what is not finite."""
    names = [
        *("on_front", "risk", "risk_standard_error", *front.attrs["costs"], "probability"),
        *("excess", "excess_standard_error", "dominated_by"),
    ]
    rows = [
        {"policy": str(label)} | {name: number(front[name].values[i].item()) for name in names}
        for i, label in enumerate(front.policy.values)
    ]
    return sorted(rows, key=lambda row: (not row["on_front"], row["risk"] or 0.0))


def shown(front: xr.Dataset, rows: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Rows of `table` as a terminal shows them: numbers with errors, a star where thin."""
    return [
        {
            "policy": row["policy"],
            "on_front": "yes" if row["on_front"] else "no",
            "risk": marked(front, row["risk"], row["risk_standard_error"]),
            **{name: row[name] for name in front.attrs["costs"]},
            "probability": row["probability"],
            "excess": ""
            if row["on_front"]
            else marked(front, row["excess"], row["excess_standard_error"]),
            "dominated_by": row["dominated_by"],
        }
        for row in rows
    ]


def legend(front: xr.Dataset) -> str:
    """What the columns mean, and how far they can be trusted."""
    text = (
        f"risk: {risk_in_words(front)}, {front.attrs['paths']:,} paths a policy; ± standard error\n"
        "probability: of being on the front, given the errors\n"
        "excess: risk above that of the policy that dominates it"
    )
    return f"{text}\n{TOO_FEW}" if "thin_tail" in front.attrs else text


def risk_in_words(front: xr.Dataset) -> str:
    """What risk is measured on, how, and in which unit."""
    notes, unit = front.attrs, front.risk.attrs.get("units", "")
    level = f" {100.0 * notes['q']:.4g}%" if "q" in notes else ""
    name = f"{notes['measure']}{level} of {notes['variable']}".replace("_", " ")
    return f"{name}{f', {unit}' if unit else ''}"


def marked(front: xr.Dataset, value: float | None, error: float | None) -> str:
    """A number with its error, and a star where the sample is too small for its level."""
    return with_error(value, error) + (" *" if "thin_tail" in front.attrs else "")


def number(value: Any) -> Any:
    """What JSON knows: None for what is not finite."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
