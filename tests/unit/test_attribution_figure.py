"""The figure of an attribution shows every cause in every measure."""

import numpy as np
import pytest

from deleverage.report import attribution_figure


def test_a_panel_a_measure_with_a_bar_a_cause():
    row = {"units": "million USD", "total": 10.0, "paths": 64, "thin": False}
    row["total_standard_error"] = 0.5
    rows = [
        {**row, "variable": variable, "measure": "mean", "cause": cause, "share": share}
        | {"lower": share - 1, "upper": share + 1}
        for variable in ("bad_debt", "liquidated_notional", "trough_price")
        for cause, share in (("outage", 7.0), ("leverage", 3.0))
    ]
    figure = attribution_figure(rows)
    shown = [panel for panel in figure.axes if panel.get_visible()]
    assert len(shown) == 3
    assert [bar.get_width() for bar in shown[1].patches] == [7.0, 3.0]
    assert [text.get_text() for text in shown[0].get_yticklabels()] == ["outage", "leverage"]
    assert shown[0].get_title(loc="left") == "bad_debt\nmean: 10.00 ± 0.50 million USD"
    assert shown[0].get_ylim()[0] > shown[0].get_ylim()[1]  # the first cause on top


def test_a_share_that_is_not_known_leaves_no_bar():
    row = {"variable": "x", "measure": "mean", "cause": "a", "units": "1", "total": 0.0, "paths": 2}
    row |= {"total_standard_error": None, "thin": False}
    figure = attribution_figure([{**row, "share": None, "lower": None, "upper": None}])
    assert figure.axes[0].patches[0].get_width() != pytest.approx(0)  # NaN, not nothing


def test_a_share_of_too_few_paths_has_a_star_and_no_dot():
    row = {"variable": "x", "measure": "mean", "units": "1", "paths": 2, "thin": True}
    row |= {"total": 3.0, "total_standard_error": None, "share": 3.0, "lower": None, "upper": None}
    figure = attribution_figure([{**row, "cause": "a"}])
    (panel,) = figure.axes
    assert panel.get_title(loc="left") == "x\nmean: 3.000 *"
    assert "* fewer than 10 paths" in figure.get_supxlabel()
    assert all(np.size(line.get_xdata()) == 0 for line in panel.lines[1:])
