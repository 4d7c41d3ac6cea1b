"""The account of a path that was made up by hand, and which paths are the worst."""

import matplotlib
import numpy as np
import pytest
import xarray as xr

from deleverage.analysis.chronicle import account, events
from deleverage.errors import ConfigError
from deleverage.report.trajectory import trajectory_figure
from deleverage.sweep.replay import worst_paths

MARKETS = ["exchange/BTC/perp", "exchange/USDe/spot"]


@pytest.fixture
def path():
    """Ten minutes: a gate shut in 3 to 5, longs due from 2, loops from 6, a broken book from 7."""
    steps = 10
    due = np.zeros((steps, 2, 3), bool)
    due[1:4, 0, :2] = True
    due[5:, 1, 0] = True
    displacement = np.zeros((steps, 2))
    displacement[6:, 1] = [0.08, 0.3, 0.2, 0.1]
    gate = np.ones((steps, 2))
    gate[2:5, 0] = 0
    fund = np.full((steps, 2), 5.0)
    fund[7:, 0] = 0
    closing = np.exp(-displacement)
    return xr.Dataset(
        {
            "gate_open": (("time", "venue"), gate),
            "is_due": (("time", "book", "bucket"), due),
            "displacement": (("time", "market"), displacement),
            "closing_price": (("time", "market"), closing),
            "fundamental": (("time", "asset"), np.ones((steps, 2))),
            "units_sold": (("time", "market"), displacement * 10),
            "fund": (("time", "venue"), fund),
            "outcome_bad_debt": ((), 12.3),
        },
        coords={
            "time": np.arange(1.0, steps + 1),
            "edge": np.arange(0.0, steps + 1),
            "venue": ["exchange", "others"],
            "market": MARKETS,
            "asset": ["BTC", "USDe"],
            "book": ["longs", "loops"],
            "book_venue": ("book", ["exchange", "exchange"]),
            "peg": ["exchange/USDe"],
            "peg_market": ("peg", [MARKETS[1]]),
        },
        attrs={"policy": "baseline", "path": 7, "start": "2025-10-10T20:50:00Z"},
    )


def test_events_come_in_order_and_say_who_failed_first(path):
    found = [(event.minutes, event.text) for event in events(path)]
    assert found == [
        (
            2.0,
            "accounts of longs on exchange begin to be liquidated, 2 of 3 groups in the end "
            "(the first to fail)",
        ),
        (3.0, "transfers of exchange are shut, until 5.0 min"),
        (6.0, "accounts of loops on exchange begin to be liquidated, 1 of 3 groups in the end"),
        (7.0, "the book of exchange/USDe/spot breaks: 5% below its fundamental"),
        (7.0, "exchange/USDe falls below 0.95 of its peg"),
        (
            8.0,
            "exchange/USDe/spot is furthest below its fundamental, 26%, at 0.741 of the start",
        ),
        (8.0, "the insurance fund of exchange is empty"),
        (8.0, "exchange/USDe falls below 0.9 of its peg"),
    ]


def test_the_account_has_the_clock_and_the_totals(path):
    text = account(path)
    assert text.startswith("path 7 under baseline\n")
    assert "20:53:00      3.0 min  transfers of exchange are shut" in text
    assert text.endswith("bad debt: 12.3 million USD\n")


def test_a_calm_path_says_so(path):
    calm = path.isel(time=[0])
    assert "nothing was liquidated, no book broke and no gate shut" in account(calm)


def test_the_figure_has_three_panels(path):
    matplotlib.use("agg")
    figure = trajectory_figure(path)
    assert [len(axis.lines) for axis in figure.axes] == [2, 0, 1]


def test_worst_paths_are_large_losses_and_low_troughs():
    outcomes = xr.Dataset(
        {
            "bad_debt": (("policy", "path"), [[1.0, 5.0, 3.0, np.nan]]),
            "equity_lost": (("policy", "path", "venue"), [[[1, 2], [5, 0], [3, 3], [0, 0]]]),
            "trough_price": (
                ("policy", "path", "market"),
                [[[0.9, 0.8], [0.7, 1], [1, 0.6], [1, 1]]],
            ),
        },
        coords={"policy": ["baseline"], "venue": ["a", "b"], "market": MARKETS},
    )
    assert worst_paths(outcomes, "baseline", "bad_debt", 9) == [1, 2, 0]
    assert worst_paths(outcomes, "baseline", "equity_lost", 2) == [2, 1]
    assert worst_paths(outcomes, "baseline", "equity_lost", 2, at="b") == [2, 0]
    assert worst_paths(outcomes, "baseline", "trough_price", 2) == [2, 1]
    assert worst_paths(outcomes, "baseline", "trough_price", 1, at=MARKETS[0]) == [1]
    with pytest.raises(ConfigError, match="has no label 'c'; it has a, b"):
        worst_paths(outcomes, "baseline", "equity_lost", at="c")


def test_worst_paths_of_splitting_are_different_trajectories():
    # path 0 has the weight 0; 2 and 3 repeat 1, 4 has its draws apart, 5 its wick, 6 its replicate
    outcomes = xr.Dataset(
        {
            "bad_debt": (("policy", "path"), [[9.0, 5, 5, 5, 5, 5, 5, 1]]),
            "wick_price": (("policy", "path", "market"), np.full((1, 8, 2), 0.5)),
        },
        coords={
            "policy": ["baseline"],
            "market": MARKETS[:2],
            "severity": ("path", [3.0, 2, 2, 2, 1, 2, 2, 0]),
            "log_weight": ("path", [-np.inf, -1, -1, -2, -1, -1, -1, 0]),
            "draw_block": ("path", [0, 0, 0, 0, 0, 0, 1, 1]),
        },
        attrs={"sampling": "splitting"},
    )
    outcomes.wick_price[0, 5, 1] = 0.4
    assert worst_paths(outcomes, "baseline", "bad_debt", 3) == [1, 4, 5]
    assert worst_paths(outcomes, "baseline", "bad_debt", 9) == [1, 4, 5, 6, 7]
    # paths that were drawn each by itself may end alike, and only a weight of 0 leaves one out
    assert worst_paths(outcomes.drop_attrs(), "baseline", "bad_debt", 3) == [1, 2, 3]
