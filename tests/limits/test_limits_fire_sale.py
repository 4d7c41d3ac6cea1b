"""Fire sale limits: leverage targeting in one round, and its spiral.

Source: Greenwood, Landier and Thesmar (2015), whose sales are linear in simple returns.
"""

import numpy as np
import pytest

from deleverage.config import build
from deleverage.engine import Simulator

FLOAT32 = 1e-5
EPSILON = float(np.finfo(np.float32).eps)


def test_one_round_of_two_banks(limit, load_limit):
    ds = limit("fire_sale").sel(path=0, policy="baseline")
    assets, weights = np.array([100.0, 80.0]), np.array([[0.6, 0.4], [0.25, 0.75]])
    sales = (9 * assets * (weights @ [0.05, 0.0])) @ weights
    assert sales == pytest.approx([18.45, 17.55])
    shocked = np.array([0.95, 1.0])
    sold = ds.liquidated_notional_by_market.sel(market=["v/A/spot", "v/B/spot"]).values
    assert sold / shocked == pytest.approx(sales, rel=FLOAT32)
    # a price near 1 has 24 binary digits, which are 17 of a displacement near 0.004: its rounding
    # is 1.6e-5 of that, so it is read where the engine keeps it, and the price from it
    _, record = Simulator(build(load_limit("fire_sale"))).watch(0, 0)
    displaced = record["displacement"][-1].astype(float)
    assert displaced == pytest.approx([0.00369, 0.008775], rel=FLOAT32)
    trough = ds.trough_price.sel(market=["v/A/spot", "v/B/spot"]).values
    assert trough == pytest.approx(shocked * np.exp([-0.00369, -0.008775]), rel=4 * EPSILON)
    assert float(ds.bad_debt) == 0.0
    assert float(ds.wrongful_liquidations.sum()) == 0.0
    assert float(ds.open_interest_change) == 0.0  # of perps, which nobody holds


def test_the_spiral_of_one_bank(limit, load_limit):
    # the stable root of S = 900 (1 - 0.99 e^(-S/2000)), by iteration
    root = 0.0
    for _ in range(200):
        root = 900 * (1 - 0.99 * np.exp(-root / 2000))
    assert root == pytest.approx(16.1784, abs=1e-4)
    _, record = Simulator(build(load_limit("fire_sale_spiral"))).watch(0, 0)
    sold = record["units_sold"].sum(axis=1)
    assert sold[0] == pytest.approx(9.0, rel=1e-12)
    assert sold.sum() == pytest.approx(root, rel=1e-9)
    ds = limit("fire_sale_spiral").sel(path=0, policy="baseline")
    assert float(ds.reproduction_number) == pytest.approx(1 - 9 / root, rel=FLOAT32)
    assert int(ds.status) == 0


def test_a_small_spiral_is_the_linear_one(load_limit):
    shock = 1e-6  # of which the second order of e^(-S/2000) is nothing
    severity = float(-np.log1p(-shock))
    config = load_limit("fire_sale_spiral", f"scenario.shocks.macro.severity.value={severity!r}")
    _, record = Simulator(build(config)).watch(0, 0)
    sold = record["units_sold"].sum(axis=1)
    total = 9 / (1 - 0.45)
    assert total == pytest.approx(16.3636363636)
    assert sold.sum() == pytest.approx(total * shock / 0.01, rel=1e-5)
    assert 1 - sold[0] / sold.sum() == pytest.approx(0.45, rel=1e-5)
