"""A figure of what each cause contributed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from deleverage.analysis.columns import with_error
from deleverage.report.figures import ACCENT, INK, PALE

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def attribution_figure(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Shares of every cause in every measure, each with its 95% interval.

    Args:
        rows: `rows` of `deleverage.analysis.attribution_table.attribute`.

    Returns:
        A panel a measure, the causes in the config's order, the total in the title. A bar without
        a dot has no error.
    """
    from matplotlib.figure import Figure

    measures: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        measures.setdefault((row["variable"], row["measure"]), []).append(row)
    causes = [row["cause"] for row in next(iter(measures.values()))]
    columns = min(len(measures), 2)
    lines = -(-len(measures) // columns)
    size = (5.5 * columns, (0.35 * len(causes) + 1.1) * lines)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(lines, columns, sharey=True, squeeze=False).ravel()
    place = np.arange(len(causes))
    for panel, ((variable, measure), own) in zip(panels, measures.items(), strict=False):
        share, lower, upper = (
            np.array([np.nan if row[name] is None else row[name] for row in own], dtype=float)
            for name in ("share", "lower", "upper")
        )
        panel.axvline(0, color=PALE, linewidth=1)
        panel.barh(place, share, color=PALE, height=0.6)
        known = np.isfinite(lower) & np.isfinite(upper)
        ends = np.stack([share - lower, upper - share])[:, known]
        panel.errorbar(share[known], place[known], xerr=ends, fmt="o", color=ACCENT, capsize=3)
        unit = "" if own[0]["units"] == "1" else f" {own[0]['units']}"
        total = with_error(own[0]["total"], own[0]["total_standard_error"])
        panel.set_title(
            f"{variable}\n{measure}: {total}{unit}{' *' if own[0]['thin'] else ''}",
            fontsize=9,
            loc="left",
            color=INK,
        )
        panel.spines[["top", "right"]].set_visible(False)
        panel.tick_params(labelsize=8)
    for panel in panels[len(measures) :]:
        panel.set_visible(False)
    panels[0].set_yticks(place, causes)
    panels[0].invert_yaxis()
    note = (
        f"exact Shapley values over all combinations, {rows[0]['paths']:,} paths each on common "
        "draws; 95% intervals"
    )
    if any(row["thin"] for row in rows):
        note += "\n* fewer than 10 paths lie beyond this level, too few for an error to trust"
    figure.supxlabel(note, fontsize=8, color=INK)
    return figure
