"""Stages 7 and 8: what is left of measured books, which have an end. MODEL.md 2.7 and 2.8.

A layout without books of kind `profile` has no such end: nothing of this is traced.
"""

from __future__ import annotations

from functools import reduce
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from deleverage.cascade.impact import Depth, OrderBooks, with_rows
from deleverage.cascade.primitives import ratio_or_zero, share_served

LEAST_ROOM = 1e-4
"""Share of a book below which what is left of it counts as nothing."""


class Fills(NamedTuple):
    """Shares of the orders that each book takes, `[market, column]`."""

    sells: Array
    buys: Array
    unfilled: Array  # [column] bool: anything left


def fill_shares(books: OrderBooks, sold: Array, bought: Array) -> Fills:
    r"""What is left of a book at each end, pro rata over the orders on the longer side.

    $$\phi_{sell} = (q_N - G^{-1}(y) + B) / S \quad\text{where}\quad S - B > q_N - G^{-1}(y)$$

    Args:
        books: At the start of the orders.
        sold: $S$, units of all sell orders, `[market, column]`.
        bought: $B$, of all buy orders.

    Source: MODEL.md section 2.7.
    """
    rows, curve = books.maps.profile_books, books.profile()
    before, end = curve.units_to(books.displacement[rows]), curve.units[-1]
    down, up = _room(end - before, end), _room(end + before, end)
    offered, wanted = sold[rows], bought[rows]
    too_many, too_few = offered - wanted > down, wanted - offered > up
    sells = jnp.where(too_many, ratio_or_zero(down + wanted, offered), 1)
    buys = jnp.where(too_few, ratio_or_zero(up + offered, wanted), 1)
    whole = jnp.ones_like(sold)
    return Fills(
        with_rows(whole, rows, sells),
        with_rows(whole, rows, buys),
        jnp.any(too_many | too_few, axis=0),
    )


def _room(left: Array, end: Array) -> Array:
    return jnp.where(left < LEAST_ROOM * end, 0, left)


class Reach(NamedTuple):
    """How far books can go on the way that arbitrage would push them."""

    share: Array  # [market, column] of the way
    short: Array  # [column] bool: a book ends before it


def reach(depth: Depth, y: Array, move: Array) -> Reach:
    r"""The share of a move of displacements that ends no book: `(y_N - y) / move` at most.

    A move that ends up to a rounding of the book beyond it is no order that lacks something.

    Args:
        depth: With the ends of books.
        y: Displacement before the move, `[market, column]`.
        move: Of the displacement, positive where it is sold.

    Source: MODEL.md section 2.8.
    """
    ahead = jnp.maximum(depth.end - jnp.sign(move) * y, 0)
    wanted = jnp.abs(move)
    lacks = wanted - ahead > LEAST_ROOM * depth.end
    return Reach(share_served(ahead, wanted), jnp.any(lacks, axis=0))


def in_any(*unfilled: Array | None) -> Array | None:
    """Columns in which any of the orders lack something; None where none can."""
    given = [columns for columns in unfilled if columns is not None]
    return reduce(jnp.logical_or, given) if given else None
