"""The index at a given state, and the draws: what may not move them."""

from __future__ import annotations

import dataclasses

import equinox as eqx
import jax
import kernel
import numpy as np
import worlds
from hypothesis import given, settings
from hypothesis import strategies as st

from deleverage.cascade.index import publish
from deleverage.cascade.maps import maps_of
from deleverage.shocks.draws import draw
from deleverage.state import Draws, Markets

LAYOUT = worlds.RANDOM_LAYOUT
seeds = st.integers(0, 2**31 - 1)


@eqx.filter_jit
def published(rules, markets, price, redemption, first):
    return publish(LAYOUT, maps_of(LAYOUT), rules, markets, price, redemption, 1 - first)


def at_random(seed: int) -> tuple:
    """Rules, state and prices of one column in the range a crash may bring."""
    rng = np.random.default_rng(seed)
    _, policy = worlds.random_world(seed)
    m, i = len(LAYOUT.markets), len(LAYOUT.indices)
    zeros = np.zeros((m, 1, 1))
    markets = Markets(
        displacement=zeros,
        last_price=rng.uniform(0.3, 1.2, (m, 1, 1)),
        smoothed_index=rng.uniform(0.3, 1.2, (i, 1, 1)),
        basis=rng.uniform(-0.1, 0.1, (m, 1, 1)),
        maker_units=zeros,
        maker_cash=zeros,
    )
    price = rng.uniform(0.3, 1.2, (m, 1, 1))
    redemption = rng.uniform(0.8, 1.1, (len(LAYOUT.assets), 1, 1))
    rules = jax.tree.map(lambda leaf: leaf[..., None], kernel.single(policy).index)
    return rules, markets, price, redemption


@settings(max_examples=100)
@given(seed=seeds, low=st.floats(0.0, 1.0), rise=st.floats(0.0, 0.5), first=st.booleans())
def test_a_higher_floor_never_lowers_the_index(seed, low, rise, first):
    rules, markets, price, redemption = at_random(seed)
    first = np.asarray(first)
    with jax.enable_x64(True):
        found = [
            published(
                dataclasses.replace(rules, floor=np.full_like(rules.floor, floor)),
                markets,
                price,
                redemption,
                first,
            ).index_price
            for floor in (low, low + rise)
        ]
    assert (np.asarray(found[1]) >= np.asarray(found[0])).all()


@settings(max_examples=100)
@given(seed=seeds, floor=st.floats(0.5, 1.0), fall=st.floats(0.01, 1.0))
def test_a_floor_holds_on_the_redemption_price_however_far_books_fall(seed, floor, fall):
    rules, markets, price, redemption = at_random(seed)
    rules = dataclasses.replace(rules, floor=np.full_like(rules.floor, floor))
    owed = redemption[[entry.asset for entry in LAYOUT.indices]]
    with jax.enable_x64(True):
        for books in (price, price * fall):
            index = published(rules, markets, books, redemption, np.asarray(False)).index_price
            assert (np.asarray(index) >= floor * owed).all()


@eqx.filter_jit
def numbers(world, seed, first_path) -> Draws:
    return draw(world, seed, first_path, 8, np.float32)


@settings(max_examples=30)
@given(
    seed=st.integers(0, 2**32 - 1),
    first=st.integers(0, 2**32 - 16),
    shift=st.integers(0, 7),
    other=seeds,
)
def test_draws_depend_on_seed_and_path_id_only(seed, first, shift, other):
    world, _ = worlds.random_world(1)
    another, _ = worlds.random_world(other % 1000)  # numbers of a world change no draw
    ours = jax.tree.leaves(
        numbers(kernel.cast(world, "float32"), np.uint32(seed), np.uint32(first))
    )
    theirs = jax.tree.leaves(
        numbers(kernel.cast(another, "float32"), np.uint32(seed), np.uint32(first + shift))
    )
    for block, shifted in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(block[..., shift:], shifted[..., : 8 - shift])
