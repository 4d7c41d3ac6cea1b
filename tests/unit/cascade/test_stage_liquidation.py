"""Stages 6 and 7 by hand: orders of due cohorts and their price (MODEL.md 2.6, 2.7).

The tiny world: book 0 holds longs (100, 80, 60), book 1 as many shorts, book 2 loans on 50 each.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

from deleverage.cascade.impact import execute, local_depth
from deleverage.cascade.liquidation import collateral_to_sell, perps_to_close, share_to_shed
from deleverage.cascade.margin import Assessment, SlotPrices
from deleverage.cascade.parts import Part

MINUTES = 0.5
LONGS, SHORTS, LOANS = 0, 1, 2


def assessment(shape, equity=0.0, maintenance=5.0, value=0.0, credit=0.0):
    """The same numbers for all cohorts; one perp slot takes all of the maintenance."""
    full = [jnp.full(shape, float(x)) for x in (equity, maintenance, credit, value)]
    return Assessment(full[0], full[1], [full[1]], full[2], full[3])


def closed(world, due=True, held=None, **values):
    """Contracts that longs and shorts close, `[book, bucket]`."""
    accounts = world.state.accounts
    if held is not None:
        accounts = eqx.tree_at(lambda a: a.contracts, accounts, held)
    shape = accounts.cash.shape
    book, accounts = Part().take((world.rules, accounts))
    orders = perps_to_close(
        book, accounts, assessment(shape, **values), jnp.full(shape, due), MINUTES
    )
    return orders[0][..., 0, 0]


@pytest.mark.parametrize(
    ("pace", "share"),
    [(0.5, 0.25), (1.0, 0.5), (2.0, 1.0), (9.0, 1.0), (0.0, 0.0)],
)
def test_close_takes_a_share_of_the_starting_position(case, pace, share):
    orders = closed(case(liquidation__pace=pace))
    assert orders[LONGS] == pytest.approx(share * np.array([100.0, 80.0, 60.0]))
    assert orders[SHORTS] == pytest.approx(-share * np.array([100.0, 80.0, 60.0]))


def test_who_is_not_due_closes_nothing(case):
    assert not np.any(closed(case(), due=False))


def test_the_last_order_is_what_is_left(case):
    world = case(liquidation__pace=0.5)
    # below the pace; a remainder of 0.005 of 100 goes too; one of 0.05 stays
    held = jnp.array([[10.0, 20.005, 15.05], [-10.0, -20.005, -15.05], [0.0] * 3])
    held = held[None, ..., None, None]
    orders = closed(world, held=held)
    assert orders[LONGS] == pytest.approx([10.0, 20.005, 15.0])
    assert orders[SHORTS] == pytest.approx([-10.0, -20.005, -15.0])


@pytest.mark.parametrize(
    ("equity", "share"),
    [(2.0, (7.5 - 2) / 7.5), (-1.0, 1.0), (4.9, (7.5 - 4.9) / 7.5)],
)
def test_target_restores_one_and_a_half_times_maintenance(case_of_books, equity, share):
    orders = closed(case_of_books({"target": True}), equity=equity)
    assert orders[LONGS] == pytest.approx(share * np.array([100.0, 80.0, 60.0]), rel=1e-5)


def test_target_keeps_to_the_pace(case_of_books):
    orders = closed(case_of_books({"target": True}, liquidation__pace=0.2), equity=2.0)
    assert orders[LONGS] == pytest.approx([10.0, 8.0, 6.0])


def sold(world, cash, price=0.8, due=True, taken_over=False, **values):
    """Collateral that each book sells, `[book, bucket]`."""
    accounts = world.state.accounts
    shape = accounts.cash.shape
    accounts = eqx.tree_at(lambda a: a.taken_over, accounts, jnp.full(shape, taken_over))
    book, accounts = Part().take((world.rules, accounts))
    orders = collateral_to_sell(
        book,
        accounts,
        assessment(shape, **values),
        jnp.full(shape, due),
        [jnp.zeros(shape)],
        jnp.full(shape, float(cash)),
        [jnp.full((shape[0], 1, 1, 1), price)],
        MINUTES,
    )
    return orders[0][..., 0, 0]


@pytest.mark.parametrize(
    ("cash", "pace", "units"),
    [
        (-30.0, 9.0, 37.5),  # raises 30 at 0.8
        (-50.0, 9.0, 50.0),  # not enough: all of it
        (-39.999, 9.0, 50.0),  # a remainder of 0.00125 of 50 goes too
        (-30.0, 0.5, 12.5),  # a quarter of the start
        (5.0, 9.0, 0.0),  # nothing to raise
    ],
)
def test_collateral_is_sold_for_the_cash_that_is_missing(case, cash, pace, units):
    orders = sold(case(liquidation__pace=pace), cash)
    assert orders[LOANS] == pytest.approx([units] * 3, rel=1e-5)


def test_collateral_waits_for_a_margin_call_and_goes_whole_when_taken_over(case):
    world = case(liquidation__pace=9.0)
    assert not np.any(sold(world, -30.0, due=False))
    assert sold(world, 5.0, taken_over=True)[LOANS] == pytest.approx([50.0] * 3)


def test_target_sells_collateral_until_it_is_restored(case_of_books):
    world = case_of_books({"target": True}, liquidation__pace=9.0)
    # a USD sold frees its haircut of 5% and 1.5 x 5% of debt: 0.125; 1.5 x 2 - 1 = 2 are missing
    orders = sold(world, -30.0, equity=1.0, maintenance=2.0, value=40.0, credit=38.0)
    assert orders[LOANS] == pytest.approx([2 / 0.125 / 0.8] * 3, rel=1e-4)


def test_the_spot_leg_follows_its_short(case_of_books):
    world = case_of_books({"hedged": True})
    accounts = world.state.accounts
    half = eqx.tree_at(lambda a: a.contracts, accounts, accounts.contracts * 0.5)
    world.state = eqx.tree_at(lambda s: s.accounts, world.state, half)
    orders = sold(world, 0.0, due=False)[:2]
    pledged = np.array([[30.0, 16.0, 9.0], [60.0, 48.0, 36.0]])
    assert orders == pytest.approx(pledged / 2)


def test_depth_falls_with_liquidity(case):
    rules = case(impact__depth=400.0, impact__sensitivity=0.5).policy.impact
    depth = local_depth(rules, jnp.array([[0.8]]))
    assert depth.multiplier[0, 0, 0] == pytest.approx(0.6)
    assert depth.local[0, 0, 0] == pytest.approx(240.0)
    assert depth.inverse[0, 0, 0] == pytest.approx(1 / 240)


@pytest.mark.parametrize(
    ("units", "rise", "average"),
    [
        (40.0, 0.1, 0.9 * (1 - np.exp(-0.1)) / 0.1),
        (-40.0, -0.1, 0.9 * (np.exp(0.1) - 1) / 0.1),
        (0.0, 0.0, 0.9),
        (4e-6, 1e-8, 0.9),  # where 1 - exp would cancel
        (800.0, 2.0, 0.9 * (1 - np.exp(-2)) / 2),
    ],
)
def test_orders_get_the_average_along_the_curve(case, column, units, rise, average):
    rules = case(impact__depth=400.0).policy.impact
    depth = local_depth(rules, jnp.array([[0.0]]))
    found = execute(depth, column(*[0.9] * 5), column(*[units] * 5))
    assert found[0][0, 0, 0] == pytest.approx(rise, rel=1e-5)
    assert found[1][0, 0, 0] == pytest.approx(average, rel=1e-5)


def test_slices_end_where_one_order_ends(case, column):
    rules = case(impact__depth=400.0).policy.impact
    depth = local_depth(rules, jnp.array([[0.0]]))
    y, cash = 0.0, 0.0
    for part in (10.0, 25.0, 5.0):
        rise, average = execute(depth, column(*[np.exp(-y)] * 5), column(*[part] * 5))
        y, cash = y + float(rise[0, 0, 0]), cash + part * float(average[0, 0, 0])
    assert y == pytest.approx(0.1, rel=1e-5)
    assert cash == pytest.approx(400 * (1 - np.exp(-0.1)), rel=1e-5)


@pytest.mark.parametrize(
    ("mark", "index", "longs", "shorts", "loans"),
    [
        # longs of 100 on 30: (10/3 x (10 + 3) - 10) / 100; loans of 50 on 20: 1.5 x 10%
        (0.9, 0.9, 1 / 3, 0.0, 0.15),
        # shorts of 100 on 60 that lose 10 and have grown by 10: (10 + 10/6 x 10) / 100
        (1.1, 1.0, 0.0, 4 / 15, 0.0),
    ],
)
def test_targeting_sheds_what_holds_leverage(case_of_books, mark, index, longs, shorts, loans):
    world = case_of_books({"targeting": True})
    book, accounts = Part().take((world.rules, world.state.accounts))
    at = [jnp.full((3, 1, 1, 1), price) for price in (index, mark)]
    shed = share_to_shed(book, accounts, SlotPrices([at[0]], [at[1]]))[:, 0, 0, 0]
    assert shed == pytest.approx([longs, shorts, loans], rel=1e-5)
    # and less what is sold already
    less = eqx.tree_at(lambda a: a.contracts, accounts, [accounts.contracts[0] * 0.9])
    shed = share_to_shed(book, less, SlotPrices([at[0]], [at[1]]))[:, 0, 0, 0]
    left = [max(longs - 0.1, 0), max(shorts - 0.1, 0), loans]
    assert shed == pytest.approx(left, rel=1e-5, abs=1e-7)
