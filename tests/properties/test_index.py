"""The index at a given state, and the draws: what may not move them."""

from __future__ import annotations

import dataclasses
from typing import Any

import equinox as eqx
import jax
import kernel
import numpy as np
import pytest
import worlds
from hypothesis import given, settings
from hypothesis import strategies as st

from deleverage.cascade.index import publish
from deleverage.cascade.maps import maps_of
from deleverage.shocks.draws import draw
from deleverage.state import Draws, Markets

WORLDS = {"default_kinds": worlds.random_world, "every_kind": worlds.full_world}
kinds = pytest.mark.parametrize("make", WORLDS.values(), ids=WORLDS)
seeds = st.integers(0, 2**31 - 1)


@eqx.filter_jit
def published(layout, rules, markets, price, redemption, first):
    return publish(layout, maps_of(layout), rules, markets, price, redemption, 1 - first)


def at_random(make: Any, seed: int) -> tuple:
    """Layout, rules of all policies, state and prices in the range a crash may bring."""
    rng = np.random.default_rng(seed)
    world, policy = make(seed)
    layout, lanes = world.layout, policy.reporting.due_at_start.shape[-1]
    m, i = len(layout.markets), len(layout.indices)
    zeros = np.zeros((m, lanes, 1))
    ring = (layout.delay_steps + 1, i, lanes, 1)
    markets = Markets(
        displacement=zeros,
        last_price=rng.uniform(0.3, 1.2, zeros.shape),
        smoothed_index=rng.uniform(0.3, 1.2, (i, lanes, 1)),
        basis=rng.uniform(-0.1, 0.1, zeros.shape),
        maker_units=zeros,
        maker_cash=zeros,
        published_index=None
        if policy.index.move_limit is None
        else rng.uniform(0.3, 1.2, (i, lanes, 1)),
        redemption=None if policy.index.delay is None else rng.uniform(0.8, 1.1, ring),
    )
    price = rng.uniform(0.3, 1.2, zeros.shape)
    redemption = rng.uniform(0.8, 1.1, (len(layout.assets), lanes, 1))
    rules = jax.tree.map(lambda leaf: leaf[..., None], policy.index)
    return layout, rules, markets, price, redemption


@kinds
@settings(max_examples=100)
@given(seed=seeds, low=st.floats(0.0, 1.0), rise=st.floats(0.0, 0.5), first=st.booleans())
def test_a_higher_floor_never_lowers_the_index(make, seed, low, rise, first):
    layout, rules, *state = at_random(make, seed)
    with jax.enable_x64(True):
        found = [
            published(
                layout,
                dataclasses.replace(rules, floor=np.full_like(rules.floor, floor)),
                *state,
                np.asarray(first),
            ).index_price
            for floor in (low, low + rise)
        ]
    assert (np.asarray(found[1]) >= np.asarray(found[0])).all()


@kinds
@settings(max_examples=100)
@given(seed=seeds, floor=st.floats(0.5, 1.0), fall=st.floats(0.01, 1.0))
def test_a_floor_holds_on_the_redemption_price_however_far_books_fall(make, seed, floor, fall):
    layout, rules, markets, price, redemption = at_random(make, seed)
    rules = dataclasses.replace(rules, floor=np.full_like(rules.floor, floor))
    owed = redemption[[entry.asset for entry in layout.indices]]
    if rules.delay is not None:  # the price that the venue sees, in the second step
        ring = markets.redemption.copy()
        ring[1] = owed
        place = (1 - rules.delay.astype(int)) % len(ring)
        owed = np.take_along_axis(ring, np.broadcast_to(place, owed.shape)[None], axis=0)[0]
    with jax.enable_x64(True):
        for books in (price, price * fall):
            found = published(layout, rules, markets, books, redemption, np.asarray(False))
            assert (np.asarray(found.index_price) >= floor * owed).all()


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
