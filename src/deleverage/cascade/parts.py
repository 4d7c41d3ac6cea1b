"""Parts of all cohorts: one cohort, one book, some neighbouring books, or everything.

Stages are written for sequences of slots, each `[book, bucket, column]`. A part cuts these out of
whole arrays, which have the slots as leading axes, and puts them back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from deleverage.cascade.primitives import BOOK_AXIS, BUCKET_AXIS, COHORT_AXES
from deleverage.world import Book, Layout


def _by_slot(leaf: Array | np.ndarray, cut: Callable, place: tuple[int, ...] = ()) -> Any:
    """Leading axes as nested tuples of what is cut out at each of their places."""
    depth = len(place)
    if np.ndim(leaf) - depth == COHORT_AXES:
        return cut(leaf, place)
    return tuple(_by_slot(leaf, cut, (*place, n)) for n in range(np.shape(leaf)[depth]))


class Part(NamedTuple):
    """One cohort, by its book and bucket; a book, where the bucket is None; or everything."""

    book: Array | None = None
    bucket: Array | None = None

    def take(self, tree: Any) -> Any:
        """This part of arrays `[..., book, bucket, column]`, leading axes as nested tuples."""
        return jax.tree.map(lambda leaf: _by_slot(leaf, self._cut), tree)

    def put(self, whole: Array, part: Any) -> Array:
        """The whole with this part of it replaced."""
        if self.book is None:
            return _stacked(part)
        for place, values in _places(part):
            values = jnp.broadcast_to(values, self._size(whole))[(None,) * len(place)]
            start = (*map(jnp.int32, place), *self._start(whole))
            whole = jax.lax.dynamic_update_slice(whole, values, start)
        return whole

    def put_fields(self, whole: Any, part: Any, *names: str) -> Any:
        """The whole with this part of some of its fields replaced; the others are not copied."""
        changed = {name: self.put(getattr(whole, name), getattr(part, name)) for name in names}
        return replace(whole, **changed)

    def _cut(self, leaf: Array | np.ndarray, place: tuple[int, ...]) -> Array | np.ndarray:
        if self.book is None:
            return leaf[place] if place else leaf
        leaf = jnp.asarray(leaf)
        start = (*map(jnp.int32, place), *self._start(leaf))
        size = (*(1 for _ in place), *self._size(leaf))
        return jax.lax.dynamic_slice(leaf, start, size)[(0,) * len(place)]

    def _start(self, leaf: Array) -> tuple[Array, ...]:
        zero = jnp.zeros_like(self.book)
        one_bucket = self.bucket is not None and leaf.shape[BUCKET_AXIS] > 1
        return (self.book, self.bucket if one_bucket else zero, zero, zero)

    def _size(self, leaf: Array) -> tuple[int, ...]:
        _, buckets, *columns = leaf.shape[BOOK_AXIS:]
        return (1, 1 if self.bucket is not None else buckets, *columns)


def _places(part: Any, place: tuple[int, ...] = ()) -> list[tuple[tuple[int, ...], Array]]:
    if not isinstance(part, tuple | list):
        return [(place, part)]
    return [each for n, inner in enumerate(part) for each in _places(inner, (*place, n))]


def _stacked(part: Any) -> Array:
    if isinstance(part, tuple | list):
        return jnp.stack([_stacked(inner) for inner in part])
    return part


@dataclass(frozen=True)
class Stretch:
    """Neighbouring books with the same numbers of slots: no empty slot is valued."""

    first: int
    stop: int
    perps: int  # slots a book
    collaterals: int

    def take(self, tree: Any) -> Any:
        """Its books, of arrays `[..., book, bucket, column]`, leading axes as nested tuples."""
        return jax.tree.map(lambda leaf: _by_slot(leaf, self._cut), tree)

    def _cut(self, leaf: Array | np.ndarray, place: tuple[int, ...]) -> Array | np.ndarray:
        return leaf[(*place, slice(self.first, self.stop))]


def stretches(layout: Layout) -> list[Stretch]:
    """The stretches of a layout, in its order of books."""
    found, start = [], 0
    for (perps, collaterals), group in groupby(layout.books, _slots_of):
        stop = start + len(list(group))
        found.append(Stretch(start, stop, perps, collaterals))
        start = stop
    return found


def by_slots(layout: Layout) -> list[int]:
    """Places of the books in the order that makes the fewest stretches."""
    return sorted(range(len(layout.books)), key=lambda place: _slots_of(layout.books[place]))


def _slots_of(book: Book) -> tuple[int, int]:
    return len(book.perps), len(book.collateral)
