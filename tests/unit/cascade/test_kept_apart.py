"""Collateral kept apart loses value in its owners' hands: MODEL.md section 3, A24."""

import jax.numpy as jnp
import pytest

from deleverage.cascade.segregated import lost_apart
from deleverage.policy import KeptApart


def test_it_loses_what_its_venues_books_fall(case, column):
    world = case()
    sales, venue = world.layout.sales, world.maps.index_venue
    price = jnp.ones((len(world.layout.markets), 1, 1))
    entry = next(n for n, books in enumerate(sales) if books)
    market, share = sales[entry][0]
    price = price.at[market].set(0.7)
    units = jnp.zeros((len(sales), 1, 1)).at[entry].set(50.0)
    lost = column(*[3.0] * len(world.layout.venues))
    found = lost_apart(world.layout, world.maps, KeptApart(units), price, lost)
    # 50 units on a book that ends 30% lower, weighted by what is sold there
    assert found[venue[entry], 0, 0] == pytest.approx(3.0 + 50.0 * 0.3 * share)
    assert float(found.sum() - lost.sum()) == pytest.approx(50.0 * 0.3 * share)
    assert lost_apart(world.layout, world.maps, None, price, lost) is lost
