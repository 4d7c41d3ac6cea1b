"""Order books that are not linear, by hand (MODEL.md 2.7)."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from worlds import TINY_LAYOUT

from deleverage.cascade.curves import Profile, Root
from deleverage.cascade.impact import OrderBooks, local_depth
from deleverage.cascade.room import fill_shares

ROOT = Root(jnp.array([[[1000.0]]]), jnp.array([[[0.05]]]))
# 100 units up to 0.1, another 300 up to 0.4; the last distance is repeated
PROFILE = Profile(
    jnp.array([0.1, 0.4, 0.4])[:, None, None, None],
    jnp.array([100.0, 400.0, 400.0])[:, None, None, None],
)


def at(value):
    return jnp.array([[[float(value)]]])


@pytest.mark.parametrize(
    ("curve", "displacement", "units", "depth"),
    [
        (ROOT, 0.05, 1000 * (0.05 + 0.025), 2000),  # depth has doubled at the reach
        (ROOT, 0.0, 0, 1000),
        (ROOT, -0.1, -1000 * (0.1 + 0.1), 3000),
        (PROFILE, 0.05, 50, 1000),
        (PROFILE, 0.2, 200, 1000),
        (PROFILE, -0.3, -300, 1000),
        (PROFILE, 0.4, 400, 1000),
    ],
)
def test_units_and_displacement_are_inverse(curve, displacement, units, depth):
    assert float(curve.units_to(at(displacement)).item()) == pytest.approx(units, rel=1e-5)
    found = curve.displacement_at(at(units)).item()
    assert found == pytest.approx(displacement, rel=1e-5, abs=1e-7)
    assert curve.depth_at(at(displacement)).item() == pytest.approx(depth, rel=1e-5)


def test_a_profile_ends():
    assert PROFILE.displacement_at(at(1e6)).item() == pytest.approx(0.4)
    assert PROFILE.displacement_at(at(-1e6)).item() == pytest.approx(-0.4)
    assert PROFILE.units_to(at(3.0)).item() == pytest.approx(400.0)


@pytest.mark.parametrize("curve", [ROOT, PROFILE])
@pytest.mark.parametrize(
    ("before", "after"), [(0.0, 0.3), (0.02, 0.021), (-0.2, 0.25), (0.3, -0.05), (0.1, 0.1)]
)
def test_what_is_paid_is_the_integral_along_the_curve(curve, before, after):
    # the trapezoid rule on a grid that holds the places where depth jumps
    grid = np.sort(np.concatenate([np.linspace(before, after, 4001), [0.0, 0.1, -0.1]]))
    grid = grid[(grid >= min(before, after)) & (grid <= max(before, after))]
    middle = (grid[1:] + grid[:-1]) / 2
    shape = (len(middle), 1, 1)
    reach = jnp.broadcast_to(0.05, shape)
    wide = Root(jnp.broadcast_to(1000.0, shape), reach)
    if curve is PROFILE:
        wide = Profile(*(jnp.broadcast_to(n, (3, *shape)) for n in (curve.distance, curve.units)))
    depth = np.asarray(wide.depth_at(jnp.asarray(middle)[:, None, None]))[:, 0, 0]
    sign = np.sign(after - before)
    units, paid = curve.paid(at(before), at(after))
    weights = depth * np.diff(grid) * sign
    assert units.item() == pytest.approx(weights.sum(), rel=1e-4, abs=1e-6)
    assert paid.item() == pytest.approx(
        (weights * np.exp(before - middle)).sum(), rel=1e-4, abs=1e-6
    )


def order_books(case, displacement):
    """The tiny world whose perp is the profile above."""
    markets = TINY_LAYOUT.markets
    layout = dataclasses.replace(
        TINY_LAYOUT, markets=(*markets[:-1], dataclasses.replace(markets[-1], impact="profile"))
    )
    world = case(layout)
    impact = dataclasses.replace(
        world.policy.impact,
        distance=jnp.broadcast_to(PROFILE.distance, (3, 5, 1, 1)),
        units=jnp.broadcast_to(PROFILE.units, (3, 5, 1, 1)),
    )
    depth = local_depth(impact, jnp.array([[0.0]]))
    y = jnp.zeros((5, 1, 1)).at[4].set(displacement)
    return OrderBooks(world.maps, impact, depth, y)


@pytest.mark.parametrize(
    ("displacement", "sold", "bought", "sells", "buys"),
    [
        (0.0, 400.0, 0.0, 1.0, 1.0),
        (0.0, 500.0, 0.0, 0.8, 1.0),
        (0.0, 500.0, 50.0, 0.9, 1.0),  # what buyers take makes room
        (0.0, 0.0, 1000.0, 1.0, 0.4),
        (0.2, 400.0, 0.0, 0.5, 1.0),
        (0.4, 10.0, 0.0, 0.0, 1.0),
        (0.7, 10.0, 0.0, 0.0, 1.0),  # what begins beyond its end
        (0.4, 10.0, 5.0, 0.5, 1.0),
        (0.2, 0.0, 700.0, 1.0, 600 / 700),
        (0.39999, 100.0, 0.0, 0.0, 1.0),  # less than 1e-4 of the book is nothing
    ],
)
def test_orders_beyond_the_end_are_filled_pro_rata(
    case, displacement, sold, bought, sells, buys
):
    books = order_books(case, displacement)
    one = jnp.zeros((5, 1, 1))
    fills = fill_shares(books, one.at[4].set(sold), one.at[4].set(bought))
    assert fills.sells[:, 0, 0].tolist() == pytest.approx([1, 1, 1, 1, sells], abs=1e-5)
    assert fills.buys[:, 0, 0].tolist() == pytest.approx([1, 1, 1, 1, buys], abs=1e-5)
    assert fills.unfilled.item() == (min(sells, buys) < 1)


def test_no_order_moves_no_book_even_beyond_its_end(case):
    books = order_books(case, 0.7)
    rise, average = books.execute(jnp.full((5, 1, 1), 0.5), jnp.zeros((5, 1, 1)))
    assert not rise.any()
    assert average[:, 0, 0].tolist() == [0.5] * 5


def test_local_depth_of_each_kind(case):
    books = order_books(case, 0.0)
    depth = books.depth_at(jnp.full((5, 1, 1), 0.2))
    assert depth.local[4].item() == pytest.approx(1000.0)
    assert depth.inverse[4].item() == pytest.approx(1e-3)
    assert depth.local[0].item() == pytest.approx(1e12)
