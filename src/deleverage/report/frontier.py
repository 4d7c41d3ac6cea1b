"""A figure of risk against what it costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from deleverage.analysis.frontier_table import risk_in_words
from deleverage.report.figures import ACCENT, INK, PALE

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure


def frontier_figure(front: xr.Dataset, tried: xr.Dataset | None = None) -> Figure:
    """Risk over each cost: what was tried, the front, and the front on fresh draws.

    Args:
        front: What `deleverage.analysis.frontier.frontier` returns, or the `front` of a search.
        tried: The former, of all policies that were tried.

    Returns:
        A panel a cost that differs between policies. Error bars are intervals of the level of
        `front`; a thin line joins a policy's risk on the draws that chose it to that on fresh ones.
    """
    from matplotlib.figure import Figure

    every = front if tried is None else tried
    costs = [name for name in front.attrs["costs"] if np.ptp(every[name].values) > 0]
    costs = costs or front.attrs["costs"][:1]
    figure = Figure(figsize=(5.5 * len(costs), 4.5), layout="constrained")
    panels = figure.subplots(1, len(costs), sharey=True, squeeze=False).ravel()
    best = front.on_front.values
    for panel, name in zip(panels, costs, strict=True):
        cost = front[name].values
        if tried is not None:
            panel.plot(
                tried[name], tried.risk, "o", color=PALE, alpha=0.6, markersize=3, label="tried"
            )
        if "searched_risk" in front:
            ends = np.stack([front.searched_risk.values, front.risk.values])
            panel.plot(np.stack([cost, cost]), ends, color=ACCENT, linewidth=0.8, alpha=0.5)
            panel.plot(
                cost,
                front.searched_risk,
                "o",
                mfc="none",
                color=ACCENT,
                markersize=4,
                label="on the draws that chose it",
            )
        for which, color, label in ((best, INK, "on the front"), (~best, PALE, "beaten")):
            risk = front.risk.values[which]
            below, above = (
                np.maximum(sign * (front[f"risk_{end}"].values[which] - risk), 0.0)
                for sign, end in ((-1, "lower"), (1, "upper"))
            )
            if which.any():
                panel.errorbar(
                    cost[which],
                    risk,
                    yerr=[below, above],
                    fmt="o",
                    color=color,
                    markersize=4,
                    capsize=2,
                    linewidth=1,
                    label=label,
                )
        unit = front[name].attrs.get("units", "")
        panel.set_xlabel(f"{name.replace('_', ' ')}{f', {unit}' if unit else ''}")
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(color="#e4e7eb", linewidth=0.8)
        panel.set_axisbelow(True)
    panels[0].set_ylabel(risk_in_words(front))
    panels[0].legend(frameon=False, fontsize=8)
    figure.supxlabel(_account(front), fontsize=8, color=INK)
    return figure


def _account(front: xr.Dataset) -> str:
    notes = front.attrs
    text = f"{notes['paths']:,} paths a policy, common draws; {notes['level']:.0%} intervals"
    if "thin_tail" in notes:
        text += " (fewer than 10 paths lie beyond this level)"
    if "tried" not in notes:
        return text
    return f"{notes['tried']:,} tried on {notes['searched_paths']:,} paths; fresh draws: {text}"
