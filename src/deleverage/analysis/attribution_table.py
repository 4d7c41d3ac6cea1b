"""Rows of an attribution for JSON and for a terminal: every measure, cause by cause."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from deleverage.analysis.attribution import decompose
from deleverage.analysis.batches import batched
from deleverage.analysis.causation import probabilities
from deleverage.analysis.coalitions import Game, of_dataset
from deleverage.analysis.columns import with_bound, with_error
from deleverage.analysis.estimate import ThinTailWarning
from deleverage.analysis.measures import Probability, by_name
from deleverage.analysis.thin import STAR
from deleverage.errors import ConfigError

if TYPE_CHECKING:
    import xarray as xr

    from deleverage.config.attribution import Attribution
    from deleverage.config.measure import MeasureSpec

Row = dict[str, Any]
_NUMBERS = ("", "_standard_error", "_lower", "_upper")


def attribute(
    outcomes: xr.Dataset, attribution: Attribution | None, level: float = 0.95
) -> dict[str, list[Row]]:
    """All measures that the config asks for, split over its causes.

    Returns:
        `rows`: variable, measure, cause, share with standard_error, lower and upper, total with
        total_standard_error, units, paths, missing, flagged (over all combinations) and thin.
        `interactions`: variable, measure, cause, other, interaction with standard_error, lower and
        upper. `causation`, of probabilities: variable, measure, cause, necessary and sufficient
        with theirs and the paths that they are shares of.

    Raises:
        ConfigError: The config names no causes, no measures, or one that the run does not store.
    """
    attribution = required(attribution)
    found: dict[str, list[Row]] = {"rows": [], "interactions": [], "causation": []}
    causes = tuple(attribution.causes)
    for wanted in attribution.measures:
        if wanted.variable not in outcomes:
            raise ConfigError(
                f"attribution.measures: {wanted.variable!r} is not stored; this run stores "
                f"{', '.join(map(str, outcomes))}."
            )
        game = of_dataset(outcomes, causes, wanted.variable, wanted.selection)
        for kind, rows in _of_measure(game, wanted, level).items():
            found[kind] += rows
    return found


def required(attribution: Attribution | None) -> Attribution:
    """The causes and measures of a config.

    Raises:
        ConfigError: It names none.
    """
    if attribution is None or not attribution.measures:
        raise ConfigError(
            f"the config names no {'measures of its attribution' if attribution else 'causes'}; "
            "add `attribution: {causes: ..., measures: [...]}` to it."
        )
    return attribution


def _of_measure(game: Game, wanted: MeasureSpec, level: float) -> dict[str, list[Row]]:
    what = by_name(wanted.measure, wanted.q, wanted.tail, wanted.above, wanted.below)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ThinTailWarning)  # `thin` says so
        shares = decompose(game, batched(game.outcome, what), what, level)
    name = {"variable": _variable(wanted), "measure": _measure(wanted)}
    total = {
        "total": float(shares.total),
        "total_standard_error": _number(shares.total_standard_error.item()),
        "units": shares.share.attrs.get("units", "1"),
        **{name: int(shares.attrs[name]) for name in ("paths", "missing", "flagged")},
        "thin": "thin_tail" in shares.attrs,
    }
    rows = [
        {**name, "cause": cause, **_numbers(shares, "share", i), **total}
        for i, cause in enumerate(game.causes)
    ]
    pairs = [
        {
            **name,
            "cause": cause,
            "other": other,
            **_numbers(shares, "interaction", (i, j)),
        }
        for i, cause in enumerate(game.causes)
        for j, other in enumerate(game.causes)
        if i < j
    ]
    causation: list[Row] = []
    if isinstance(what, Probability):
        chances = probabilities(game, what, level)
        causation = [
            {
                **name,
                "cause": cause,
                **{
                    f"{kind}{end}": _number(chances[f"{kind}{end}"].values[i])
                    for kind in ("necessary", "sufficient")
                    for end in _NUMBERS
                },
                **{
                    f"{kind}_paths": int(chances[f"{kind}_paths"])
                    for kind in ("necessary", "sufficient")
                },
            }
            for i, cause in enumerate(game.causes)
        ]
    return {"rows": rows, "interactions": pairs, "causation": causation}


def as_text(found: Mapping[str, Sequence[Row]], width: int = 120) -> str:
    """One table a measure: causes by size of their share, with what they make of the total."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    page = io.StringIO()
    console = Console(file=page, width=width, force_terminal=False, color_system=None)
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in found["rows"]:
        groups.setdefault((row["variable"], row["measure"]), []).append(row)
    for (variable, measure), rows in groups.items():
        chances = {
            row["cause"]: row
            for row in found["causation"]
            if (row["variable"], row["measure"]) == (variable, measure)
        }
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
        table.add_column("cause")
        for heading in ("share", "of total", *(("necessary", "sufficient") if chances else ())):
            table.add_column(heading, justify="right", no_wrap=True)
        total = rows[0]["total"]
        for row in sorted(rows, key=lambda row: -abs(row["share"] or 0.0)):
            part = "-" if not total or row["share"] is None else f"{row['share'] / total:.1%}"
            ends = (row[name] for name in ("share", "standard_error", "lower", "upper"))
            cells = [with_bound(*ends), part]
            if chances:
                one = chances[row["cause"]]
                cells += [
                    with_bound(*(one[f"{kind}{end}"] for end in _NUMBERS))
                    for kind in ("necessary", "sufficient")
                ]
            table.add_row(row["cause"], *cells)
        unit = "" if rows[0]["units"] == "1" else f", {rows[0]['units']}"
        thin = " *" if rows[0]["thin"] else ""
        console.print(f"{measure} of {variable}{unit}{thin}", highlight=False, markup=False)
        console.print(
            f"from none to all causes: {with_error(total, rows[0]['total_standard_error'])}",
            highlight=False,
        )
        console.print(table)
        console.print()
    flagged = max(row["flagged"] for row in found["rows"])
    note = (
        f"{found['rows'][0]['paths']:,} paths a combination, common draws, {flagged:,} flagged "
        "outcomes over all combinations (included); ± standard error."
    )
    if found["causation"]:
        note += (
            "\nnecessary: of the paths on which it happens with all causes, the share on which it "
            "does not without this one. sufficient: of those on which it does not with none, the "
            "share on which it does with this one alone."
        )
    if any(row["thin"] for row in found["rows"]):
        note += f"\n{STAR}"
    console.print(note, highlight=False)
    return "\n".join(line.rstrip() for line in page.getvalue().splitlines()) + "\n"


def _variable(wanted: MeasureSpec) -> str:
    where = ",".join(str(label) for label in wanted.selection.values())
    return f"{wanted.variable}[{where}]" if where else wanted.variable


def _measure(wanted: MeasureSpec) -> str:
    if wanted.measure == "probability":
        side = f"above {wanted.above:g}" if wanted.above is not None else f"below {wanted.below:g}"
        return f"probability {side}"
    if wanted.measure == "mean":
        return "mean"
    lower = " lower" if wanted.tail == "lower" and wanted.measure == "expected_shortfall" else ""
    return f"{wanted.measure}{lower} {wanted.q:g}"


def _numbers(found: xr.Dataset, name: str, place: Any) -> Row:
    values = {end: float(found[f"{name}{end}"].values[place]) for end in _NUMBERS}
    return {
        name: _number(values[""]),
        **{end.removeprefix("_"): _number(values[end]) for end in _NUMBERS[1:]},
    }


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) and not math.isnan(value) else None
