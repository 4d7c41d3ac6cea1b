"""Figures that set the policies of a run side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from deleverage.analysis import tail

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

INK, ACCENT, PALE = "#1f2933", "#b4432f", "#9aa5b1"


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
