"""Stage 3 by hand: reference, raw index, clamp, EMA, floor, marks (MODEL.md 2.3)."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from worlds import RANDOM_LAYOUT

from deleverage.cascade.index import mark_price, publish, reference_price
from deleverage.cascade.maps import maps_of
from deleverage.cascade.median import lower_weighted_median

LATER = ("move_limit", "delay", "component_clamp", "median_weight", "median_share")
"""Leaves that are None where they are off."""
BTC, USDE = 0, 1  # index entries of the exchange


# references of ETH on the exchange: market 1 with 45% of the depth, market 2 with 55%
@pytest.mark.parametrize(
    ("perps_venue", "elsewhere", "median"),
    [(0.9, 1.0, 1.0), (1.0, 0.9, 0.9), (0.95, 0.95, 0.95), (0.5, 1.5, 1.5)],
)
def test_the_reference_is_the_lower_weighted_median(perps_venue, elsewhere, median):
    price = np.ones((12, 1, 1))
    price[1], price[2] = perps_venue, elsewhere
    reference = reference_price(maps_of(RANDOM_LAYOUT), jnp.asarray(price))
    assert reference[0, 0, 0] == pytest.approx(median)


def test_of_two_halves_the_lower_price_counts_and_a_lone_venue_has_none():
    price = np.ones((12, 1, 1))
    price[0], price[2] = 0.8, 0.9  # the references of ETH on the perp venue, one half each
    reference = reference_price(maps_of(RANDOM_LAYOUT), jnp.asarray(price))
    assert reference[3, 0, 0] == pytest.approx(0.8)
    assert reference[5, 0, 0] == 0


@pytest.mark.parametrize(
    ("prices", "weights", "median"),
    [
        # 3, 2, 2, 1, 1, 1, 1 as published: half of 11 is reached with the third of the books
        ((0.9, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5), (3, 2, 2, 1, 1, 1, 1), 1.1),
        ((1.5, 1.0, 1.1, 1.2, 1.3, 1.4, 0.9), (3, 2, 2, 1, 1, 1, 1), 1.2),
        ((0.5, 0.9, 1.0), (3, 2, 1), 0.5),  # of two halves the lower
        ((0.9, 1.0), (1, 2), 1.0),
        ((0.1, 0.9, 1.0), (0, 2, 1), 0.9),  # without a weight a book has no say
        ((1.0, 1.0, 0.7), (1, 1, 3), 0.7),
        ((0.8, 0.8, 0.9), (1, 1, 1), 0.8),
    ],
)
def test_a_weighted_median(prices, weights, median):
    share = np.array(weights)[:, None, None, None] / sum(weights)
    found = lower_weighted_median(jnp.asarray(prices)[:, None, None, None], jnp.asarray(share))
    assert found.ravel() == pytest.approx([median])


def published(case, column, first=False, own=0.65, t=1, state=None, **rules):
    """Own USDe price against 1 elsewhere; the EMA stands at 1."""
    extra = {name: rules.pop(name) for name in LATER if name in rules}
    world = case(**{f"index__{name}": value for name, value in rules.items()})
    for name, value in extra.items():
        index = dataclasses.replace(
            world.policy.index,
            **{
                name: value
                if isinstance(value, jnp.ndarray)
                else jnp.full_like(world.policy.index.floor, value)
            },
        )
        world.policy = dataclasses.replace(world.policy, index=index)
    world.state = dataclasses.replace(
        world.state, markets=dataclasses.replace(world.state.markets, **(state or {}))
    )
    price = column(0.8, 0.9, own, 1.0, 0.82)  # BTC here, there; USDe here, there; perp
    redemption = column(1.0, 0.85, 1.0)
    return publish(
        world.layout,
        world.maps,
        world.policy.index,
        world.state.markets,
        price,
        redemption,
        jnp.array(0 if first else t),
    )


def weights(own, other):
    """`[source, index entry, policy]` for USDe; BTC rests on its own book."""
    return np.array([[[1.0], [own]], [[0.0], [other]]])


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ({}, 0.65),
        ({"weight": weights(0.5, 0.5)}, 0.825),
        ({"weight": weights(0.25, 0.0), "reference_weight": 0.75}, 0.25 * 0.65 + 0.75),
        ({"weight": weights(0.4, 0.0), "redemption_weight": 0.6}, 0.4 * 0.65 + 0.6),
        ({"clamp": 0.05}, 0.95),
        ({"clamp": 0.5}, 0.65),
        ({"smoothing": 0.25}, 1 - 0.25 * 0.35),
        ({"smoothing": 0.25, "clamp": 0.1}, 1 - 0.25 * 0.1),
        ({"floor": 0.97}, 0.97),
        ({"floor": 0.6}, 0.65),
        ({"smoothing": 0.25, "floor": 0.97}, 0.97),
    ],
)
def test_an_index_price(case, column, rules, expected):
    assert published(case, column, **rules).index_price[USDE, 0, 0] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("own", "band", "expected"),
    [
        (0.65, 0.03, 0.25 * 0.97 + 0.75),  # the median elsewhere is 1
        (0.98, 0.03, 0.25 * 0.98 + 0.75),
        (1.3, 0.03, 0.25 * 1.03 + 0.75),
    ],
)
def test_a_book_counts_only_near_the_median(case, column, own, band, expected):
    rules = {"weight": weights(0.25, 0.75), "component_clamp": band}
    found = published(case, column, own=own, **rules)
    assert found.index_price[USDE, 0, 0] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("share", "weight", "band", "expected"),
    [
        ((1.0, 0.0), 1.0, 1e30, 0.65),
        ((0.5, 0.5), 1.0, 1e30, 0.65),  # of two halves the lower
        ((0.4, 0.6), 1.0, 1e30, 1.0),
        ((0.6, 0.4), 0.3, 1e30, 0.7 * 1.0 + 0.3 * 0.65),
        ((0.6, 0.4), 0.3, 0.03, 0.7 * 1.0 + 0.3 * 0.65),  # what it reads is not clamped
        ((0.0, 0.0), 0.0, 1e30, 1.0),  # an index without a median
    ],
)
def test_a_weighted_median_in_an_index(case, column, share, weight, band, expected):
    shares = np.zeros((2, 2, 1, 1))
    shares[:, USDE, 0, 0] = share
    world = {"weight": weights(0.0, 1.0 - weight), "component_clamp": band}
    found = published(
        case,
        column,
        **world,
        median_weight=jnp.array([0.0, weight])[:, None, None],
        median_share=jnp.asarray(shares),
    )
    assert found.index_price[USDE, 0, 0] == pytest.approx(expected, rel=1e-6)
    # without a median: its own book, within the band around 0.9
    assert found.index_price[BTC, 0, 0] == pytest.approx(max(0.8, 0.9 * (1 - band)))


def test_an_average_starts_at_the_first_raw_index(case, column):
    seen = published(case, column, first=True, smoothing=0.25)
    assert seen.smoothed_index[USDE, 0, 0] == pytest.approx(0.65)


def test_the_floor_is_not_remembered(case, column):
    seen = published(case, column, floor=0.97)
    assert seen.index_price[USDE, 0, 0] == pytest.approx(0.97)
    assert seen.smoothed_index[USDE, 0, 0] == pytest.approx(0.65)


@pytest.mark.parametrize(
    ("own", "last", "rules", "expected"),
    [
        (0.65, 0.9, {}, 0.9 * (1 - 0.1 * 0.5)),  # 10% a minute in steps of half a minute
        (0.65, 0.67, {}, 0.65),
        (1.2, 0.9, {}, 0.9 * (1 + 0.1 * 0.5)),
        (0.65, 0.9, {"floor": 0.97}, 0.97),  # the floor may exceed the limit
        (0.65, 0.9, {"smoothing": 0.01}, 0.9 * (1 + 0.1 * 0.5)),  # the EMA comes first: 0.9965
    ],
)
def test_an_index_moves_no_faster_than_its_limit(case, column, own, last, rules, expected):
    state = {"published_index": column(last, last)}
    seen = published(case, column, own=own, state=state, move_limit=0.1, **rules)
    assert seen.index_price[USDE, 0, 0] == pytest.approx(expected, rel=1e-6)
    assert seen.last_index[USDE, 0, 0] == pytest.approx(expected, rel=1e-6)
    ema = 1 + rules.get("smoothing", 1.0) * (own - 1)
    assert seen.smoothed_index[USDE, 0, 0] == pytest.approx(ema)  # not what was published


def test_the_first_index_has_no_limit(case, column):
    state = {"published_index": column(1.0, 1.0)}
    seen = published(case, column, first=True, state=state, move_limit=0.1)
    assert seen.index_price[USDE, 0, 0] == pytest.approx(0.65)


@pytest.mark.parametrize("t", [7, 8, 9])
@pytest.mark.parametrize(("delay", "seen"), [(0, 1.0), (1, 0.6), (2, 0.5), (3, 0.4)])
def test_a_redemption_price_is_seen_late(case, column, t, delay, seen):
    # a ring of four steps: 0.4, 0.5 and 0.6 in the three before, today's 1.0 goes over the oldest
    ring = jnp.zeros((4, 2, 1, 1))
    for back, price in ((3, 0.4), (2, 0.5), (1, 0.6)):
        ring = ring.at[(t - back) % 4].set(price)
    found = published(
        case,
        column,
        t=t,
        state={"redemption": ring},
        delay=delay,
        weight=weights(0.0, 0.0),
        redemption_weight=np.array([[0.0], [1.0]]),
    )
    assert found.index_price[USDE, 0, 0] == pytest.approx(seen)
    assert found.fair_price[USDE, 0, 0] == 1.0  # never late
    assert found.redemption[t % 4, USDE, 0, 0] == 1.0


def test_the_fair_price_leaves_the_venue_out(case, column):
    fair = published(case, column, floor=0.97).fair_price
    assert fair[USDE, 0, 0] == 1.0  # what the issuer pays
    assert fair[BTC, 0, 0] == pytest.approx(0.9)  # the price elsewhere


@pytest.mark.parametrize(
    ("kind", "last", "expected"),
    [
        ("index", 0.7, 0.8),
        ("last", 0.7, 0.7),
        ("median", 0.7, 0.78),  # of index + basis 0.78, last 0.7, index 0.8
        ("median", 0.79, 0.79),
        ("median", 0.9, 0.8),
    ],
)
def test_a_mark_price(case, column, kind, last, expected):
    layout = dataclasses.replace(case().layout, mark_kinds=("", "", "", "", kind))
    index, basis = column(0, 0, 0, 0, 0.8), column(0, 0, 0, 0, -0.02)
    mark = mark_price(layout, index, basis, column(0, 0, 0, 0, last))
    assert mark[4, 0, 0] == pytest.approx(expected)


def test_the_basis_is_averaged_before_the_mark(case, column):
    seen = published(case, column, basis_smoothing=0.5)
    assert seen.basis[:, 0, 0] == pytest.approx([0, 0, 0, 0, 0.5 * (0.82 - 0.8)], abs=1e-7)
    assert seen.mark_price[:, 0, 0] == pytest.approx([0, 0, 0, 0, 0.8])
