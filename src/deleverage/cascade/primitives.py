"""The operations that mix rows and cohorts; what else there is, is elementwise or a choice of rows.

Arrays end in a column's two axes, `[..., lane, path]`: what differs by policy only is `[..., lane,
1]` and what differs by path only `[..., 1, path]`, so that neither is stored for every column. A
driver may implement these operations otherwise (multiply-adds on chip), so that the stages stay as
they are.

Slots of books (and tiers of slots) are sequences of arrays `[book, bucket, column]`, not an axis:
on a CPU what is read with one slice of memory ran 13 times faster than slices of what was computed.
For the same reason a static choice of rows beats a product with a 0/1 matrix (five times).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.extend.core import Primitive
from jax.interpreters import mlir

from deleverage.cascade.once import once

COLUMN_AXES = 2
"""Trailing axes of every array: lane and path."""

BUCKET_AXIS = -1 - COLUMN_AXES
BOOK_AXIS = BUCKET_AXIS - 1
COHORT_AXES = -BOOK_AXIS
"""Trailing axes of what cohorts have: book, bucket, lane, path."""

FEW = 4
"""Rows that a result may be made of before a matrix product is cheaper."""


def contract(matrix: np.ndarray, rows: Array) -> Array:
    """Combine rows linearly: `[..., S] x [S, column] -> [..., column]`, in full precision.

    Args:
        matrix: Static weights; its leading axes become the result's.
        rows: One row per slot, `[S, column]`.
    """
    weights = matrix.reshape(prod(matrix.shape[:-1]), matrix.shape[-1])
    terms = int(np.count_nonzero(weights, axis=1).max(initial=0))
    columns = rows.shape[1:]
    if terms <= FEW:
        parts = [_nth_term(weights, rows, n) for n in range(terms)]
        mixed = reduce(jnp.add, parts) if parts else jnp.zeros((len(weights), *columns), rows.dtype)
    else:
        flat = rows.reshape(rows.shape[0], -1)
        factors = jnp.asarray(weights, rows.dtype)
        mixed = jnp.matmul(factors, flat, precision=jax.lax.Precision.HIGHEST)
    return mixed.reshape(*matrix.shape[:-1], *columns)


def _nth_term(weights: np.ndarray, rows: Array, n: int) -> Array:
    """The nth row that each result is made of, times its weight (0 where it has fewer)."""
    place = np.argsort(weights == 0, axis=1, kind="stable")[:, n].astype(np.int32)
    weight = np.take_along_axis(weights, place[:, None], axis=1)[:, 0]
    taken = rows[place]
    if (weight == 1).all():
        return taken
    weight = jnp.asarray(column_wise(weight), rows.dtype)
    # a weight of 0 stands for no row at all: what is not finite there must not spread
    return jnp.where(weight == 0, 0, weight * taken)


def column_wise(values: np.ndarray) -> np.ndarray:
    """A static number or mark a row, `[...] -> [..., 1, 1]`, to meet rows of columns."""
    return values[(..., *(None,) * COLUMN_AXES)]


def sum_rows(rows: Array) -> Array:
    """Sum of all rows, `[row, column] -> [column]`."""
    return contract(np.ones((1, rows.shape[0])), rows)[0]


def to_slot(rows: Array, place: np.ndarray | Array) -> Array:
    """A row for each book: `[row, column] -> [book, 1, column]` (1: buckets).

    Args:
        rows: One row a market, index entry or venue.
        place: Which row, `[book, 1, 1, 1]`, static, or traced for a single book.
    """
    return to_slots(rows, [place])[0]


def to_slots(rows: Array, places: Sequence[np.ndarray | Array]) -> list[Array]:
    """`to_slot` for each slot."""
    if not all(isinstance(place, np.ndarray) for place in places):
        picked = (jax.lax.dynamic_index_in_dim(rows, *place.ravel()) for place in places)
        return [row[:, None] for row in picked]

    def chosen(rows: Array) -> list[Array]:
        return [jnp.expand_dims(rows[place[:, 0, 0, 0]], BUCKET_AXIS) for place in places]

    # in memory: read as it is chosen, every number would be looked up on its own
    return once(chosen, rows) if places else []


def add_cohorts(rows: Array, place: np.ndarray | Array, cohorts: Array) -> Array:
    """Add cohorts to the row that each book names, buckets summed.

    Args:
        rows: What is added to, `[row, column]`.
        place: Which row, `[book, 1, 1, 1]`, static, or traced for a single book.
        cohorts: `[book, bucket, column]`.

    Returns:
        `[row, column]`.
    """
    summed = sum_buckets(cohorts)
    if isinstance(place, np.ndarray):
        return rows + contract(np.eye(rows.shape[0])[:, place[:, 0, 0, 0]], summed)
    (here,) = place.ravel()
    row = jax.lax.dynamic_index_in_dim(rows, here)
    return jax.lax.dynamic_update_index_in_dim(rows, row + summed, here, 0)


def add_slots(
    rows: Array, places: Sequence[np.ndarray | Array], cohorts: Sequence[Array]
) -> Array:
    """`add_cohorts` of every slot."""
    for place, values in zip(places, cohorts, strict=True):
        rows = add_cohorts(rows, place, values)
    return rows


def sum_buckets(cohorts: Array) -> Array:
    """`[book, bucket, column] -> [book, column]`."""
    return fold_p.bind(cohorts, pair=jax.lax.add)


def least_bucket(cohorts: Array) -> Array:
    """Minimum over buckets, `[book, bucket, column] -> [book, column]`."""
    return fold_p.bind(cohorts, pair=jax.lax.min)


def _fold(cohorts: Array, pair: Callable[[Array, Array], Array]) -> Array:
    """Bucket by bucket: on a CPU several times faster than a reduction of the axis."""
    return reduce(pair, [cohorts[:, k] for k in range(cohorts.shape[BUCKET_AXIS])])


def _folded(cohorts: Any, pair: Callable[[Array, Array], Array]) -> Any:
    shape = [size for axis, size in enumerate(cohorts.shape) if axis != 1]
    return cohorts.update(shape=tuple(shape))


fold_p = Primitive("fold")
"""The only operations that mix buckets: a driver that spreads them over threads has its own."""

fold_p.def_impl(jax.jit(_fold, static_argnames="pair"))
fold_p.def_abstract_eval(_folded)
mlir.register_lowering(fold_p, mlir.lower_fun(_fold, multiple_results=False))


def sum_cohorts(cohorts: Array) -> Array:
    """Sum over books and buckets, `[book, bucket, column] -> [column]`."""
    return sum_rows(sum_buckets(cohorts))


def total(slots: Sequence[Array]) -> Array | float:
    """Sum over slots; 0 where a book has none."""
    return reduce(jnp.add, slots) if len(slots) else 0.0


def least(terms: Sequence[Array]) -> Array:
    """Elementwise minimum of a few."""
    return reduce(jnp.minimum, terms)


def half_life_decay(minutes: Array | float, half_life: Array) -> Array:
    """What is left after some minutes, `2^(-minutes / half_life)`."""
    return jnp.exp2(-minutes / half_life)


def share_served(capacity: Array, wanted: Array) -> Array:
    """Share of what is wanted that a capacity serves, at most 1, and 1 where nothing is wanted."""
    return jnp.minimum(1, ratio_or_one(capacity, wanted))


def smoothed_variance(
    variance: Array, log_return: Array, smoothing: Array, minutes: float
) -> Array:
    r"""Realised variance per minute, an EMA: $v + \alpha (r^2 / h - v)$."""
    return variance + smoothing * (jnp.square(log_return) / minutes - variance)


def ratio_or_zero(numerator: Array, denominator: Array) -> Array:
    """`numerator / denominator`, and 0 where the denominator is 0."""
    safe = jnp.where(denominator == 0, 1, denominator)
    return jnp.where(denominator == 0, 0, numerator / safe)


def ratio_or_one(numerator: Array, denominator: Array) -> Array:
    """`numerator / denominator`, and 1 where the denominator is 0: all of nothing."""
    return jnp.where(denominator == 0, 1, ratio_or_zero(numerator, denominator))
