"""Price limits: slicing, pace against resilience, and the feedback of a threshold cascade.

Sources: Obizhaeva and Wang (2013) for an exponentially resilient linear book; the fixed point of
a mean-field threshold cascade, y = shock + kQ F(y).
"""

import numpy as np
import pytest

FLOAT32 = 1e-5
PERP = "v/A/perp"


def displacement(price):
    """Log distance below the start, of an asset whose fundamental does not move."""
    return -np.log(price.astype(np.float64))


def test_slicing_changes_neither_displacement_nor_cash(limit):
    ds = limit("slicing")
    kq = 0.1  # 1bn over 10bn
    ends = displacement(ds.trough_price.sel(market=PERP, path=0))
    assert ends.values == pytest.approx([kq, kq], rel=FLOAT32)
    # all orders get the average price along the curve; the position had 1M of own funds
    owed = 1000 * (1 - (1 - np.exp(-kq)) / kq) - 1
    assert ds.bad_debt.sel(path=0).values == pytest.approx([owed, owed], rel=FLOAT32)
    one_after_the_other = ds.trough_time.sel(market=PERP, path=0).values
    assert one_after_the_other == pytest.approx([1.0, 0.02], rel=FLOAT32)


def test_slicing_changes_nothing_on_a_root_or_a_measured_book(limit):
    ds = limit("book_shapes").sel(path=0)
    ends = {
        venue: displacement(ds.trough_price.sel(market=f"{venue}/A/perp")).values
        for venue in ("root", "thick", "thin")
    }
    # y + y^2 / 0.1 = 1000 / 2000
    root = (-1 + np.sqrt(1 + 4 * 0.5 / 0.1)) * 0.05
    assert ends["root"] == pytest.approx([root, root], rel=FLOAT32)
    # units at 5%, 20%, 60%: of 300, 500, 1200M and the mean of 1 - d over each stretch of log price
    y = -np.log1p(-np.array([0.0, 0.05, 0.2, 0.6]))
    q = np.cumsum([0.0, *np.array([300, 500, 1200]) * np.diff(y) / [0.05, 0.15, 0.4]])
    assert q[2] < 1000 < q[3]
    thick = np.interp(1000, q, y)
    assert ends["thick"] == pytest.approx([thick, thick], rel=FLOAT32)
    # the book takes 600M of USD and no more, and not a unit more in one order than in fifty
    assert ends["thin"] == pytest.approx([y[-1], y[-1]], rel=FLOAT32)
    assert (ds.status.values & 2).tolist() == [2, 2]
    sold = ds.liquidated_notional_by_market.sel(market="thin/A/perp", policy="one_order")
    assert float(sold) == pytest.approx(0.3 * q[-1], rel=FLOAT32)  # units at the stage-2 price 1


def test_what_a_book_of_any_kind_pays_is_the_same_in_slices(limit):
    # cash of all three sellers is in the bad debt: 1000M at the entry, less what was paid for it
    ds = limit("book_shapes").sel(path=0)
    a, end = 0.05, 0.05 * (np.sqrt(1 + 4 * 0.5 / 0.1) - 1)
    grid = np.linspace(0, end, 20001)
    root = 2000 * np.trapezoid(np.exp(-grid) * (1 + grid / a), grid)
    y = -np.log1p(-np.array([0.0, 0.05, 0.2, 0.6]))
    density = np.array([300, 500, 1200]) / [0.05, 0.15, 0.4]
    q = np.cumsum([0.0, *density * np.diff(y)])
    left = 1000 - q[2]
    thick = 800 + density[2] * np.exp(-y[2]) * -np.expm1(-left / density[2])
    thin_units = 0.3 * q[-1]
    thin = 600 + (1000 - thin_units) * np.exp(-y[-1])  # what is left counts at the last price
    owed = sum(1000 - paid - 1 for paid in (root, thick, thin))
    assert ds.bad_debt.values == pytest.approx([owed, owed], rel=FLOAT32)


def peak(kq, rho, tau, n):
    """Peak displacement of `kq` sold in `n` equal orders over `tau`, each before the book heals."""
    return kq / n * (1 - np.exp(-rho * tau)) / (1 - np.exp(-rho * tau / n))


def test_pace_against_resilience(limit):
    ds = limit("liquidation_pace")
    peaks = displacement(ds.wick_price.sel(market=PERP, path=0))
    expected = [peak(0.1, 2.0, 1.0, 50), peak(0.1, 2.0, 0.1, 5)]
    assert peaks.values == pytest.approx(expected, rel=FLOAT32)


def test_an_exogenous_seller_meets_the_same_closed_form(limit):
    ds = limit("exogenous_seller").sel(policy="baseline", path=0)
    expected = peak(0.1, 2.0, 1.0, 50)
    for market in ("v/A/spot", PERP):
        found = displacement(ds.wick_price.sel(market=market))
        # a step's share is a difference of times near 1 over steps of 0.02, in float32
        assert float(found) == pytest.approx(expected, rel=FLOAT32), market
    assert float(ds.liquidated_notional) == 0
    assert float(ds.wick_price.sel(market="w/A/spot")) == 1


@pytest.mark.parametrize(
    ("tau", "continuous"),
    [(1.0, 0.0432332358), (0.1, 0.0906346235)],  # kQ (1 - e^(-rho tau)) / (rho tau)
)
def test_pace_tends_to_continuous_selling(tau, continuous):
    assert peak(0.1, 2.0, tau, 10**6) == pytest.approx(continuous, rel=1e-5)


@pytest.mark.slow
def test_a_fast_pace_in_small_steps(limit):
    ds = limit("liquidation_pace", "time.step=0.002m")
    fast = displacement(ds.wick_price.sel(market=PERP, path=0, policy="fast"))
    assert float(fast) == pytest.approx(peak(0.1, 2.0, 0.1, 50), rel=FLOAT32)


def test_mean_field_cascade(limit):
    ds = limit("mean_field").sel(policy="baseline", path=0)
    shock, kq, buckets = 0.08, 0.10, 100
    # y = shock + kQ (y - 0.05) / 0.2
    fixed_point = (shock - kq * 0.25) / (1 - kq / 0.2)
    assert fixed_point == pytest.approx(0.11)
    drop = float(displacement(ds.trough_price.sel(market="v/A/spot")))
    assert drop == pytest.approx(fixed_point, rel=FLOAT32)
    accounts = 100e6 / 50e3  # of 50k each, in 100 equal buckets
    assert float(ds.liquidated_accounts) / accounts == pytest.approx(0.30, abs=1 / buckets)
    assert drop / shock == pytest.approx(1.375, rel=FLOAT32)
    # 1.35485 to five digits
    amplified = (1 - np.exp(-fixed_point)) / (1 - np.exp(-shock))
    assert amplified == pytest.approx(1.35485, rel=1e-5)
    assert float(ds.amplification.sel(market="v/A/spot")) == pytest.approx(amplified, rel=FLOAT32)
    assert float(ds.reproduction_number) == pytest.approx(1 - 15 / 30, rel=FLOAT32)
    assert int(ds.status) == 0
