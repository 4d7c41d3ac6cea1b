"""Issuer limits: a run on a liquid reserve, and a loss of backing, step by step."""

import numpy as np
import pytest

FLOAT32 = 1e-5


def test_a_reserve_is_redeemed_until_it_is_gone(limit):
    ds = limit("reserve_run").sel(path=0)
    assert ds.units_redeemed.sel(asset="USDe").values == pytest.approx([60.0, 200.0], rel=FLOAT32)
    # redeemed at par before the loss of a tenth, which comes after ten steps
    at_par = np.array([60.0, 100.0])
    backing = 0.9 * (1010.0 - at_par) / (1000.0 - at_par)
    assert backing == pytest.approx([0.90957447, 0.91])
    assert ds.least_backing.sel(asset="USDe").values == pytest.approx(backing, rel=FLOAT32)
    # least after the loss, on what the reserve leaves of the discount; else in the first step
    least = [backing[0] * np.exp(-0.14), np.exp(-0.19)]
    assert backing[1] * np.exp(-0.2 + 0.01 * 11) > least[1]
    trough = ds.trough_price.sel(market="v/USDe/spot").values
    assert trough == pytest.approx(least, rel=FLOAT32)
    below = ds.depeg_minutes.sel(peg="v/USDe", threshold=0.95).values
    still = np.sum(0.2 - 0.01 * np.arange(1, 41) > -np.log(0.95))
    assert still == 14
    assert below.tolist() == [20.0, still / 2]
    assert np.isnan(ds.least_backing.sel(asset=["USDT", "A"])).all()
    assert np.isnan(ds.units_redeemed.sel(asset=["USDT", "A"])).all()
    assert float(ds.liquidated_notional.max()) == 0.0
