"""Margin limits: isolated positions, the index algebra, deleveraging and a vault before it."""

import numpy as np
import pytest

from deleverage.config import build
from deleverage.engine import Simulator

FLOAT32 = 1e-5


def test_an_isolated_long_is_liquidated_below_its_price(limit):
    # equity 0.1 + (P - 1) against 0.005 P
    price = 0.9 / 0.995
    assert price == pytest.approx(0.904522613, rel=1e-9)
    assert -np.log(price) == pytest.approx(0.1003479738, rel=1e-9)
    below = limit("isolated_long")
    above = limit("isolated_long", "scenario.shocks.macro.severity.value=0.10034")
    assert float(below.liquidated_accounts.sum()) == 100e6 / 50e3
    assert float(above.liquidated_accounts.sum()) == 0
    assert float(above.liquidated_notional.sum()) == 0


def test_the_index_weight_decides_who_is_liquidated(limit):
    # equity 900 I - 600 against 5% of 2400: due where I < 0.8, I = 1 - 0.35 w
    assert 0.2 / 0.35 == pytest.approx(0.5714285714, rel=1e-9)
    ds = limit("index_algebra").isel(path=0)
    liquidated = dict(zip(ds.policy.values, ds.liquidated_accounts.values > 0, strict=True))
    assert liquidated == {
        "baseline": True,
        "own_below": False,
        "own_above": True,
        "floor_saves": False,
        "floor_fails": True,
    }
    index = ds.trough_index.sel(index="v/P").values
    expected = [0.65, 1 - 0.35 * 0.5714, 1 - 0.35 * 0.5715, 0.8001, 0.7999]
    assert index == pytest.approx(expected, rel=FLOAT32)
    # what was liquidated was sound at the redemption price: the index is to blame
    wrongful = ds.wrongful_liquidations.sel(cause="index").values
    assert wrongful == pytest.approx(ds.liquidated_notional.values, rel=FLOAT32)


@pytest.mark.parametrize(
    ("policy", "closed"),
    [("baseline", [30.0, 15.0, 9.0, 6.0]), ("queue", [0.0, 30.0, 30.0, 0.0])],
)
def test_winners_are_deleveraged_pro_rata_or_in_their_order(limit, load_limit, policy, closed):
    ds = limit("adl").sel(policy=policy, path=0)
    owed = 60 * 0.2 - 6
    assert float(ds.bad_debt) == pytest.approx(owed, rel=FLOAT32)
    assert float(ds.adl_loss) == pytest.approx(owed, rel=FLOAT32)
    assert float(ds.adl_notional) == pytest.approx(60 * 0.8, rel=FLOAT32)
    nothing = ("insurance_drawn", "socialised_loss", "unabsorbed_loss", "adl_overshoot_contracts")
    assert [float(ds[name]) for name in nothing] == [0] * 4
    # profit of the closed contracts beyond the loss
    assert float(ds.adl_overshoot_wealth) == pytest.approx(60 * 0.2 - owed, rel=FLOAT32)

    lane = ["baseline", "queue"].index(policy)
    _, record = Simulator(build(load_limit("adl"))).watch(lane, 0)
    contracts = record["contracts"]  # [step, perp slot, book, bucket]
    longs, shorts = contracts[-1, 0].astype(float)
    winners = np.array([100.0, 50.0, 30.0, 20.0])
    assert longs == pytest.approx(0.0)
    assert winners + shorts == pytest.approx(closed, rel=FLOAT32, abs=1e-5)


def test_a_vault_takes_over_half_at_the_bankruptcy_price(limit, load_limit):
    ds = limit("adl").sel(policy="vault", path=0)
    assert float(ds.bad_debt) == pytest.approx(6.0, rel=FLOAT32)
    paid = [float(ds[name]) for name in ("vault_paid", "adl_loss")]
    assert paid == pytest.approx([3.0, 3.0], rel=FLOAT32)
    assert float(ds.vault_taken.sel(venue="v")) == pytest.approx(30 * 0.8, rel=FLOAT32)
    assert float(ds.vault_loss.sel(venue="v")) == pytest.approx(30 * (0.9 - 0.8), rel=FLOAT32)
    assert float(ds.adl_notional) == pytest.approx(30 * 0.8, rel=FLOAT32)
    _, record = Simulator(build(load_limit("adl"))).watch(2, 0)
    longs, shorts = record["contracts"][-1, 0].astype(float)
    assert longs == pytest.approx(0.0)
    closed = np.array([100.0, 50.0, 30.0, 20.0]) + shorts
    assert closed == pytest.approx([15.0, 7.5, 4.5, 3.0], rel=FLOAT32)


@pytest.mark.parametrize("fall", [0.15, 0.0954])  # 1 - 0.904522613 is 0.0954774
def test_a_position_with_margin_of_its_own_falls_alone(limit, fall):
    ds = limit("isolated_pair", f"scenario.shocks.macro.severity.value={-np.log1p(-fall):.17g}")
    ds = ds.isel(path=0)
    assert float(ds.liquidated_notional.sel(policy="baseline")) == 0.0
    assert float(ds.bad_debt.sel(policy="baseline")) == 0.0
    isolated = ds.sel(policy="isolated")
    owed = 50 * (fall - 0.1)
    assert float(isolated.bad_debt) == pytest.approx(max(owed, 0.0), rel=FLOAT32)
    called = fall > 0.1
    assert float(isolated.liquidated_accounts) == pytest.approx(2000.0 * called)
    longs = isolated.liquidated_notional_by_market.sel(market=["v/A/perp", "v/B/perp"]).values
    assert (longs > 0).tolist() == [called, False]
