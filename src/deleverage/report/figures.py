"""Figures that set the policies of a run side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from deleverage.analysis import tail

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

INK, ACCENT, PALE = "#1f2933", "#b4432f", "#9aa5b1"
FAN = (INK, ACCENT, "#2f6fb4", "#3d8b5a", "#8a5fb0", "#b58a1f")
FAN_LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)


def policy_figure(
    outcomes: xr.Dataset, peg_market: str, q: float = 0.95, baseline: str = "baseline"
) -> Figure:
    """Trough of a pegged asset and change of the liquidation tail, policy by policy.

    Args:
        outcomes: A run's dataset, dims `policy`, `path`.
        peg_market: Label of the pegged asset's book, such as "exchange/USDe/spot".
        q: Level of the expected shortfall of liquidated notional.
        baseline: Policy the differences are taken against, on common draws.

    Returns:
        Two panels sharing the policy axis: median and 5-95% range of the trough over paths, and
        the paired difference of expected shortfall with its 95% interval.
    """
    from matplotlib.figure import Figure

    policies = [str(label) for label in outcomes.policy.values]
    row = np.arange(len(policies))
    trough = outcomes.trough_price.sel(market=peg_market)
    low, middle, high = (trough.quantile(level, "path").values for level in (0.05, 0.5, 0.95))
    liquidated = outcomes.liquidated_notional
    differences = [
        tail.difference(liquidated, policy, baseline, "expected_shortfall", q=q)
        for policy in policies
    ]
    change, lower, upper = (
        np.array([float(d[name]) for d in differences]) / 1e3
        for name in ("estimate", "lower", "upper")
    )

    figure = Figure(figsize=(10, 0.32 * len(policies) + 1.6), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    left.hlines(row, low, high, color=PALE, linewidth=4)
    left.plot(middle, row, "o", color=INK, markersize=6)
    left.set_title("Lowest price over paths: median, 5 to 95%", fontsize=10, loc="left")
    left.set_xlabel(f"{peg_market}, ratio to the start")
    right.axvline(0, color=PALE, linewidth=1)
    right.errorbar(
        change, row, xerr=[change - lower, upper - change], fmt="o", color=ACCENT, capsize=3
    )
    right.set_title(
        f"Worst {1 - q:.0%} of paths against {baseline}, 95% interval",
        fontsize=10,
        loc="left",
    )
    right.set_xlabel("expected shortfall of liquidated notional, USD bn")
    left.set_yticks(row, policies)
    left.invert_yaxis()
    for axis in (left, right):
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="x", color="#e4e7eb", linewidth=0.8)
        axis.set_axisbelow(True)
    flagged = int((outcomes.status.values != 0).sum())
    figure.supxlabel(
        f"{outcomes.sizes['path']:,} paths a policy, common draws; {flagged:,} flagged outcomes, "
        "included",
        fontsize=8,
        color=INK,
    )
    return figure


def timeline_figure(
    timeline: xr.Dataset, market: str, index: str, policies: Sequence[str] = ("baseline",)
) -> Figure:
    """Price, index and liquidations through time: medians in bands of 25-75% and 5-95% of paths.

    Args:
        timeline: Of a run, `open_run(...).timeline`.
        market: Label of the order book whose price is shown.
        index: Label of the index that is shown, such as "exchange/USDe".
        policies: Those that are laid over one another, up to six.

    Returns:
        Three panels sharing the time axis.
    """
    from matplotlib.figure import Figure

    panels = (
        (timeline.price.sel(market=market), f"{market}, ratio to the start"),
        (timeline.index_price.sel(index=index), f"index {index}, ratio to the start"),
        (timeline.liquidations / 1e3, "liquidated, USD bn a minute"),
    )
    figure = Figure(figsize=(9, 8), layout="constrained")
    axes = figure.subplots(len(panels), 1, sharex=True)
    for axis, (values, title) in zip(axes, panels, strict=True):
        for policy, color in zip(policies, FAN, strict=False):
            lines = {q: values.sel(policy=policy, quantile=q).values for q in FAN_LEVELS}
            time = timeline.time.values
            axis.fill_between(time, lines[0.05], lines[0.95], color=color, alpha=0.12, linewidth=0)
            axis.fill_between(time, lines[0.25], lines[0.75], color=color, alpha=0.25, linewidth=0)
            axis.plot(time, lines[0.5], color=color, linewidth=1.8, label=policy)
        axis.set_title(title, fontsize=10, loc="left")
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="y", color="#e4e7eb", linewidth=0.8)
        axis.set_axisbelow(True)
    axes[0].legend(frameon=False, fontsize=9)
    axes[-1].set_xlabel("minutes since the start")
    figure.supxlabel(
        f"{timeline.attrs['paths']:,} paths a policy; median, 25 to 75% and 5 to 95% of paths at "
        "each time",
        fontsize=8,
        color=INK,
    )
    return figure
