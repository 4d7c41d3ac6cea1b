"""What heals goes no further than measured books do, by hand (MODEL.md 2.8).

Markets: BTC spot on the exchange and elsewhere, USDe on both, the perp; steps of half a minute.
"""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from worlds import TINY_LAYOUT

from deleverage.cascade.healing import equalise_venues, heal
from deleverage.cascade.impact import OrderBooks, local_depth
from deleverage.cascade.room import reach
from deleverage.cascade.runs import holders_run
from deleverage.policy import IssuerRules
from deleverage.state import IssuerState

NEVER = 1e30
DEPTHS = np.array([100.0, 300.0, 100.0, 100.0, 300.0])
"""Units per unit of log price, of measured books in their first stretch."""


def order_books(case, y, ends, groups=TINY_LAYOUT.arbitrage_groups, **rules):
    """The tiny world with measured books: `ends` are distances and units of stretches by market."""
    markets = tuple(
        dataclasses.replace(market, impact="profile" if m in ends else "linear")
        for m, market in enumerate(TINY_LAYOUT.markets)
    )
    layout = dataclasses.replace(TINY_LAYOUT, markets=markets, arbitrage_groups=groups)
    world = case(
        layout,
        impact__depth=DEPTHS[:, None],
        **{f"healing__{name}": value for name, value in rules.items()},
    )
    one_stretch = ((1.0,), (1.0,))
    nodes = [ends.get(m, one_stretch) for m in range(5)]
    levels = max(len(distance) for distance, _ in nodes)
    table = [[row + row[-1:] * (levels - len(row)) for row in pair] for pair in nodes]
    table = jnp.asarray(table)  # [market, 2, level]
    impact = dataclasses.replace(
        world.policy.impact,
        distance=table[:, 0].T[..., None, None],
        units=table[:, 1].T[..., None, None],
    )
    depth = local_depth(impact, jnp.zeros((1, 1)))
    books = OrderBooks(world.maps, impact, depth, jnp.asarray(y)[:, None, None])
    return world, books


def healed(case, y, ends, **rules):
    world, books = order_books(case, y, ends, **rules)
    y, gates = books.displacement, jnp.ones((2, 1, 1))
    after = heal(
        world.layout, world.maps, world.policy.healing, books.depth_at(y), y, gates
    )
    return after.displacement[:, 0, 0], after.unfilled.item()


def flat(end, market):
    """A book of one stretch as deep as the linear one in its place."""
    return {market: ((end,), (end * DEPTHS[market],))}


@pytest.mark.parametrize(
    ("spot", "perp", "ends", "units", "short"),
    [
        (0.08, 0.28, flat(0.5, 0), 7.5, False),  # half of the gap at 1/100 + 1/300
        (0.08, 0.28, flat(0.1, 0), 2.0, True),  # the spot book ends after 0.02
        (0.1, 0.3, flat(0.1, 0), 0.0, True),  # has ended
        (0.3, 0.5, flat(0.1, 0), 0.0, True),  # began beyond its end
        (-0.15, 0.05, flat(0.1, 4), 7.5, False),  # 0.025 bought of 0.15 to the upper end
        (-0.15, -0.09, flat(0.1, 4), 2.25, False),
        (-0.45, -0.09, flat(0.1, 4), 3.0, True),  # the perp's upper end is 0.01 away
        (0.28, 0.08, flat(0.1, 4), -6.0, True),  # bought on spot, and 0.02 sold on the perp
        (0.1, 0.1, flat(0.1, 0), 0.0, False),  # nothing wanted
        # spot would go 1e-6 too far: a rounding of the book is no order that lacks something
        (0.1 - 0.075 + 1e-6, 0.225 + 1e-6, flat(0.1, 0), 7.5, False),
    ],
)
def test_the_basis_closes_as_far_as_both_books_go(case, spot, perp, ends, units, short):
    after, lacks = healed(case, [spot, 0.0, 0.0, 0.0, perp], ends, basis_half_life=0.5)
    assert after[0] == pytest.approx(spot + units / 100, abs=2e-6)
    assert after[4] == pytest.approx(perp - units / 300, abs=2e-6)
    assert lacks == short


@pytest.mark.parametrize(
    ("y", "ends", "capital", "units", "short"),
    [
        # halfway to the mean of 0.025: 3.75 bought on the exchange
        ([0.1, 0.0], flat(0.05, 1), 1e6, 3.75, False),
        ([0.1, 0.0], flat(0.01, 1), 1e6, 3.0, True),  # as many bought as the other book takes
        ([0.1, 0.0], flat(0.01, 1), 5.0, 2.5, False),  # capital ends first
        ([-0.1, 0.0], flat(0.01, 1), 1e6, -3.0, True),  # bought elsewhere up to its upper end
        ([0.1, 0.02], flat(0.01, 1), 1e6, 0.0, True),  # began beyond its end
    ],
)
def test_venues_are_pulled_together_as_far_as_their_books_go(
    case, y, ends, capital, units, short
):
    after, lacks = healed(
        case,
        [*y, 0.0, 0.0, 0.0],
        ends,
        arbitrage_half_life=0.5,
        arbitrage_capital=capital,
    )
    assert after[0] == pytest.approx(y[0] - units / 100, abs=1e-7)
    assert after[1] == pytest.approx(y[1] + units / 300, abs=1e-7)
    assert lacks == short


@pytest.mark.parametrize(("end", "units"), [(1.0, [-12, 9, 3]), (0.02, [-9, 6, 3])])
def test_what_one_book_cannot_take_is_not_bought_and_the_others_trade_on(case, end, units):
    # one venue at 0.3, the mean is 0.06: half of the way buys 12 there and sells 9 and 3; the
    # second book, where it ends, takes 6, and so 9 are bought
    world, books = order_books(
        case,
        [0.3, 0.0, 0.0, 0.0, 0.0],
        flat(end, 1),
        groups=((0, 1, 2),),
        arbitrage_half_life=0.5,
        arbitrage_capital=1e6,
    )
    y = books.displacement
    everywhere = jnp.ones((5, 1, 1))
    depth = books.depth_at(y)
    after, lacks = equalise_venues(
        world.layout, world.policy.healing, depth, y, everywhere, 0.5
    )
    sold = np.asarray((after - y) * depth.local)[:3, 0, 0]
    assert sold == pytest.approx(units, rel=1e-5)
    assert lacks.item() == (end < 0.03)


def test_a_book_of_another_kind_has_no_end(case):
    _, books = order_books(case, [0.0] * 5, flat(0.1, 0))
    far = reach(books.depth_at(books.displacement), books.displacement, jnp.full((5, 1, 1), 1e6))
    assert far.share[:, 0, 0].tolist() == pytest.approx([1e-7, 1, 1, 1, 1])
    assert far.short.item()


# 100 units up to 0.1, another 300 up to 0.2
STEEP = {2: ((0.1, 0.2), (100.0, 400.0))}


@pytest.mark.parametrize(
    ("y", "wanted", "sold", "after", "short"),
    [
        (0.05, 25.0, 25.0, 0.075, False),
        (0.05, 100.0, 100.0, 0.1 + 50 / 3000, False),  # beyond the first stretch it is deeper
        (0.05, 349.0, 349.0, 0.2 - 1 / 3000, False),  # at 350 a rounding decides on the flag
        (0.05, 500.0, 350.0, 0.2, True),
        (0.2, 10.0, 0.0, 0.2, True),
        (0.3, 10.0, 0.0, 0.3, True),  # began beyond its end
        (0.0, 0.0, 0.0, 0.0, False),  # nobody runs at the peg
    ],
)
def test_holders_keep_what_a_book_does_not_take(case, y, wanted, sold, after, short):
    world, books = order_books(case, [0.0, 0.0, y, 0.0, 0.0], STEEP)
    one = jnp.ones((1, 1, 1))
    # half of the float is on the book, and all of it runs for each unit of discount
    held = 2 * wanted / -np.expm1(-y) if y else 60.0
    issuer = IssuerState(one, one, one, one, held * one, 0 * one)
    rules = IssuerRules(one, one, one, one, 1e9 * one, 0 * one)
    run = holders_run(world.layout, world.maps, rules, issuer, books, 0.5, books.displacement)
    assert run.sold[:, 0, 0] == pytest.approx([0, 0, sold, 0, 0], rel=1e-5)
    assert run.displacement[:, 0, 0] == pytest.approx([0, 0, after, 0, 0], rel=1e-5)
    assert run.unfilled.item() == short


def test_a_run_beyond_root_books_goes_along_their_curve(case, column):
    markets = tuple(
        dataclasses.replace(market, impact="sqrt" if m == 2 else "linear")
        for m, market in enumerate(TINY_LAYOUT.markets)
    )
    world = case(dataclasses.replace(TINY_LAYOUT, markets=markets), impact__depth=DEPTHS[:, None])
    impact = dataclasses.replace(world.policy.impact, reach=jnp.full((5, 1, 1), 0.05))
    books = OrderBooks(
        world.maps, impact, local_depth(impact, jnp.zeros((1, 1))), column(0, 0, 0.1, 0, 0)
    )
    # G^-1(0.1) = 100 (0.1 + 0.1) = 20 and 10 more: y (1 + 10 y) = 0.3
    after = books.moved(column(0.0, 0.0, 10.0, 0.0, 6.0))[:, 0, 0]
    assert after == pytest.approx([0, 0, (np.sqrt(13) - 1) / 20, 0, 0.02], rel=1e-5)
