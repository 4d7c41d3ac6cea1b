"""Issuers by hand: what they pay, what they redeem, who runs (MODEL.md 2.1 and 2.8)."""

from dataclasses import replace
from functools import partial

import jax.numpy as jnp
import numpy as np
import pytest

from deleverage.cascade.healing import heal
from deleverage.cascade.hedge import after_hedging, hedge_worth
from deleverage.cascade.impact import OrderBooks, local_depth
from deleverage.cascade.issuer import (
    after_news,
    after_redemptions,
    redemption_capacity,
    redemption_prices,
)
from deleverage.cascade.liquidation import hedge_excess
from deleverage.cascade.parts import Stretch
from deleverage.cascade.runs import holders_run
from deleverage.policy import HealingRules, IssuerRules
from deleverage.shocks.backing import backing_kept
from deleverage.state import IssuerState
from deleverage.world import BackingLoss


def units(number):
    return jnp.full((1, 1, 1), number)


def issuer(backing=100.0, supply=100.0, reserve=1e30, free_float=0.0, hedge=0.0, ratio=1.0):
    return IssuerState(*map(units, (backing, ratio, supply, reserve, free_float, hedge)))


@pytest.mark.parametrize(
    ("backing", "supply", "pays"),
    [
        *[(100.0, 100.0, 1.0), (120.0, 100.0, 1.0), (70.0, 100.0, 0.7), (0.0, 100.0, 1e-6)],
        (2e-4, 5e-4, 0.4),  # five millionths of the supply are left
        *[(3e-5, 5e-5, 0.9), (0.0, 0.0, 0.9)],  # a rounding, and nothing: paid as the last units
    ],
)
def test_an_issuer_pays_what_is_behind_a_unit_and_no_more_than_the_anchor(
    case, column, backing, supply, pays
):
    given = column(1.1, 0.8, 1.1)  # USD at 1.1 of nothing: the anchor's price is passed on
    told = after_news(issuer_rules(), issuer(backing, supply, ratio=0.9), None)
    found = redemption_prices(case().layout, told, given)
    assert found[:, 0, 0] == pytest.approx([1.1, 0.8, 1.1 * pays])


def test_news_takes_backing_and_no_supply():
    told = after_news(issuer_rules(), issuer(), jnp.full((1, 1), 0.7))
    assert float(told.backing.item()) == pytest.approx(70.0)
    assert float(told.ratio.item()) == pytest.approx(0.7)
    assert float(told.supply.item()) == 100.0


def test_redemptions_pay_what_is_behind_a_unit(case):
    # 10 units at 0.8 leave 72 behind 90: as much behind each as before
    left = after_redemptions(issuer(80.0, reserve=15.0, ratio=0.8), units(10.0), units(0.0))
    assert [x.item() for x in (left.backing, left.supply, left.reserve)] == pytest.approx(
        [72.0, 90.0, 5.0]
    )


def test_redemptions_at_par_of_what_is_backed_by_more_leave_more_behind_each(case):
    left = after_redemptions(issuer(110.0), units(50.0), units(0.0))
    assert left.backing.item() / left.supply.item() == pytest.approx(60.0 / 50.0)


@pytest.mark.parametrize(
    ("reserve", "supply", "most"), [(1e30, 100.0, 2.0), (1.5, 100.0, 1.5), (9.0, 0.5, 0.5)]
)
def test_an_issuer_redeems_no_more_than_pace_reserve_and_supply(reserve, supply, most):
    pace = HealingRules(*[None] * 4, redemption_capacity=jnp.full((1, 1, 1), 4.0))
    assert redemption_capacity(pace, issuer(supply=supply, reserve=reserve), 0.5).item() == most


def healed(case, column, y, state, **rules):
    world = case(
        impact__depth=np.full((5, 1), 100.0),
        healing__redemption_capacity=10.0,  # 5 a step
    )
    asked = issuer_rules(**rules)
    runs = None
    depths = local_depth(world.policy.impact, jnp.zeros((1, 1)))
    if rules:
        books = OrderBooks(world.maps, world.policy.impact, depths, column(*y))
        runs = partial(holders_run, world.layout, world.maps, asked, state, books, 0.5)
    return heal(
        world.layout,
        world.maps,
        world.policy.healing,
        depths,
        column(*y),
        column(1.0, 1.0),
        issuer=state,
        runs=runs,
    )


def issuer_rules(run_rate=0.0, run_tolerance=0.0):
    at = [jnp.full((1, 1, 1), x) for x in (100.0, 100.0, 1e30, 0.0, run_rate, run_tolerance)]
    return IssuerRules(*at)


def test_a_reserve_that_is_used_up_leaves_the_discount(case, column):
    # 10 and 2 wanted, 3 left: a quarter of each
    after = healed(case, column, [0.0, 0.0, 0.1, 0.02, 0.0], issuer(reserve=3.0))
    assert after.displacement[2:4, 0, 0] == pytest.approx([0.075, 0.015])
    assert after.bought.item() == pytest.approx(3.0)


def test_what_is_redeemed_is_what_was_bought(case, column):
    after = healed(case, column, [0.0, 0.0, 0.02, -0.02, 0.0], issuer())
    assert after.bought.item() == pytest.approx(2.0)
    assert after.displacement[2:4, 0, 0] == pytest.approx([0.0, -0.02])


def test_holders_sell_beyond_their_tolerance_where_they_hold(case, column):
    # nothing to redeem; each book has half of the float of 60; discounts of 10% and 1%
    y = -np.log([0.9, 0.99])
    rules = {"run_rate": 0.4, "run_tolerance": 0.02}
    state = issuer(reserve=0.0, free_float=60.0)
    after = healed(case, column, [0.0, 0.0, *y, 0.0], state, **rules)
    sold = 0.4 * 0.5 * 60 / 2 * 0.08
    assert after.sold[:, 0, 0] == pytest.approx([0, 0, sold, 0, 0], abs=1e-7)
    assert after.displacement[2:4, 0, 0] == pytest.approx([y[0] + sold / 100, y[1]])


def test_losses_come_out_at_their_time():
    # 30% at minute 1, and 20% over two minutes from 0.5 after the macro shock at 1
    losses = (BackingLoss(0, False, 0.3, 1.0, 0.0), BackingLoss(1, True, 0.2, 0.5, 2.0))
    time = jnp.arange(1.0, 9.0)[:, None] * 0.5
    kept = np.cumprod(backing_kept(losses, 2, time, jnp.array([1.0])), axis=0)[:, :, 0]
    assert kept[:, 0] == pytest.approx([1, 1, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7])
    assert kept[:, 1] == pytest.approx([1, 1, 1, 0.95, 0.9, 0.85, 0.8, 0.8])


def hedge(case_of_books, **changes):
    """The tiny world's shorts, with the spot that they hedge, as the hedge of USDe's issuer."""
    world = case_of_books({"hedged": True}, backstop__adl=1.0, **changes)
    books = list(world.layout.books)
    books[1] = replace(books[1], issuer=0)
    books = tuple(books)
    return replace(world.layout, books=books), world


def test_gains_of_a_hedge_belong_to_the_backing_at_the_price_of_the_anchor(case_of_books, column):
    # short 240 at 1 against 144 of USDe: at 0.8 the short gains 48, at 0.9 the USDe loses 14.4
    layout, world = hedge(case_of_books)
    price, start = column(0.8, 0.8, 0.9, 0.9, 0.8), column(1.0, 1.0, 1.0, 1.0, 1.0)
    accounts = world.state.accounts
    before = hedge_worth(layout, world.rules, accounts, start)
    assert before.item() == pytest.approx(144.0)
    state = issuer(hedge=144.0)
    after = after_hedging(
        layout, world.rules, state, accounts, accounts, price, column(1.0, 1.0, 2.0)
    )
    assert after.hedge.item() == pytest.approx(144.0 + 48.0 - 14.4)
    assert after.backing.item() == pytest.approx(100.0 + (48.0 - 14.4) / 2)


def test_top_ups_of_a_hedge_come_out_of_the_backing(case_of_books, column):
    layout, world = hedge(case_of_books)
    before = replace(world.state.accounts, budget=jnp.full((3, 3, 1, 1), 5.0))
    after = replace(before, budget=before.budget - 2.0, cash=before.cash + 2.0)
    price = column(1.0, 1.0, 1.0, 1.0, 1.0)
    found = after_hedging(
        layout, world.rules, issuer(hedge=144.0), before, after, price, column(1.0, 1.0, 1.0)
    )
    assert found.hedge.item() == pytest.approx(150.0)
    assert found.backing.item() == pytest.approx(100.0)


def test_a_hedge_that_is_lost_is_worth_nothing(case_of_books, column):
    layout, world = hedge(case_of_books)
    lost = replace(world.state.accounts, taken_over=jnp.ones((3, 3, 1, 1), bool))
    price = column(1.0, 1.0, 1.0, 1.0, 1.0)
    given = (world.rules, issuer(hedge=144.0), world.state.accounts, lost, price)
    found = after_hedging(layout, *given, column(1.0, 1.0, 1.0))
    assert found.backing.item() == 0.0


def test_spot_is_sold_after_its_short_was_deleveraged(case_of_books):
    # ADL took 40 of the first short of 100: so goes the same share of the spot that it hedged
    _, world = hedge(case_of_books)
    contracts = world.state.accounts.contracts.at[0, 1, 0].set(-60.0)
    held = replace(world.state.accounts, contracts=contracts)
    part = Stretch(1, 2, 1, 1)
    book, mine = part.take((world.rules, held))
    spot = world.policy.books.collateral[0, 1, :, 0, 0]
    excess = np.asarray(hedge_excess(book.start, mine)[0, :, 0, 0])
    assert excess == pytest.approx([0.4 * float(spot[0]), 0.0, 0.0], abs=1e-5)
