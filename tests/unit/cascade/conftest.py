"""One path of the tiny world as the kernel holds it: eager arrays, one column."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from worlds import TINY_LAYOUT, tiny_world

from deleverage.cascade.blocks import split_by_block
from deleverage.cascade.maps import maps_of
from deleverage.cascade.step import initial_state


def tiny(layout: Any = TINY_LAYOUT, **changes: Any) -> SimpleNamespace:
    world, policy = tiny_world(**changes)
    policy = jax.tree.map(jnp.asarray, policy)
    maps = maps_of(layout)
    blocks = split_by_block(policy, maps)
    state = initial_state(layout, policy, blocks, jnp.ones(1))
    return SimpleNamespace(
        layout=layout, world=world, maps=maps, policy=policy, blocks=blocks, state=state
    )


@pytest.fixture(scope="session")
def case() -> Any:
    """The tiny world with some leaves changed, as `worlds.tiny_world` names them."""
    return tiny


@pytest.fixture(scope="session")
def case_of_books() -> Any:
    """The same with fields of every book changed: `target=True`, `hedged=True`."""

    def changed(book_fields: dict[str, Any], **changes: Any) -> SimpleNamespace:
        books = tuple(dataclasses.replace(b, **book_fields) for b in TINY_LAYOUT.books)
        return tiny(dataclasses.replace(TINY_LAYOUT, books=books), **changes)

    return changed


@pytest.fixture(scope="session")
def column() -> Any:
    """Numbers as rows of one path."""
    return lambda *values: jnp.asarray(values)[:, None]
