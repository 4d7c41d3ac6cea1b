"""A figure of one replayed path."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from deleverage.report.figures import FAN, INK, PALE

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

MOST_MARKETS = 5
STYLES = ("-", "--", "-.", ":", "-")
"""Lines of markets that trade one asset against two others nearly coincide."""


def trajectory_figure(path: xr.Dataset) -> Figure:
    """Prices, forced sales and accounts under liquidation over the minutes of a path.

    Args:
        path: What `deleverage.sweep.replay.replay` returns.

    Returns:
        Three panels sharing the clock, shut gates shaded.
    """
    from matplotlib.figure import Figure

    time = path.time.values
    figure = Figure(figsize=(9, 8), layout="constrained")
    prices, sales, accounts = figure.subplots(3, 1, sharex=True)
    lowest = path.closing_price.min("time").values
    shown = np.argsort(lowest)[:MOST_MARKETS]
    for market, color, style in zip(shown, FAN, STYLES, strict=False):
        name = str(path.market.values[market])
        line = {"color": color, "linestyle": style, "linewidth": 1.4}
        prices.plot(time, path.closing_price.values[:, market], label=name, **line)
    prices.set_title("Closing prices, ratio to the start: the lowest", fontsize=10, loc="left")
    prices.legend(fontsize=8, frameon=False)
    sold = path.units_sold.sum("market").values
    sales.bar(time, sold, width=np.diff(path.edge.values), color=INK)
    sales.set_title("Net sales a step, USD m at starting prices", fontsize=10, loc="left")
    due = path.is_due.values.astype(bool)
    share = due.any(axis=2).sum(axis=1) / due.shape[1]
    accounts.plot(time, 100.0 * share, color=INK)
    accounts.set_title("Books with accounts under liquidation, %", fontsize=10, loc="left")
    accounts.set_xlabel("minutes")
    shut = (path.gate_open.values < 0.5).any(axis=1)
    for axis in (prices, sales, accounts):
        axis.fill_between(
            time, 0, 1, where=shut, transform=axis.get_xaxis_transform(), color=PALE, alpha=0.25
        )
        axis.spines[["top", "right"]].set_visible(False)
    figure.suptitle(
        f"Path {path.attrs['path']} under {path.attrs['policy']}; shaded: transfers shut",
        fontsize=10,
        x=0.01,
        ha="left",
    )
    return figure
