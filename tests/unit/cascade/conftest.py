"""One path of the tiny world as the kernel holds it: eager arrays, one lane, one path."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from worlds import TINY_LAYOUT, tiny_world

from deleverage.cascade.books import rules_of
from deleverage.cascade.maps import maps_of
from deleverage.cascade.start import initial_state
from deleverage.cascade.worklist import Drive


def tiny(layout: Any = TINY_LAYOUT, **changes: Any) -> SimpleNamespace:
    world, policy = tiny_world(**changes)
    policy = jax.tree.map(lambda leaf: jnp.asarray(leaf)[..., None], policy)
    maps = maps_of(layout)
    rules = rules_of(layout, maps.facts, policy)
    state = initial_state(layout, policy, 1, Drive())
    return SimpleNamespace(
        layout=layout, world=world, maps=maps, policy=policy, rules=rules, state=state
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
    """Numbers as rows of one lane and path."""
    return lambda *values: jnp.asarray(values)[:, None, None]
