"""Which cohorts a stage has work for.

In a step hardly any cohort has anything to do: of a book and bucket, no column in 24 of 25. The
stages that sell and settle therefore visit the cohorts that need them, one after the other (on a
CPU), or take all at once (where every pass of a loop would cost a round trip). The stages are the
same: they work on part of the cohorts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax import Array

from deleverage.cascade.parts import Part

Carry = TypeVar("Carry")


class Drive(NamedTuple):
    """How the step is run; static."""

    feedback: bool = True
    """False: the paired run, whose orders move no price and of which only units are recorded."""

    one_by_one: bool = True
    """Whether cohorts with work are visited in a loop, or all of them at once."""


class Worklist(NamedTuple):
    """Books, or cohorts, to visit."""

    work: Array  # bool, [book], or [book x bucket]
    any: Array  # bool: whether there is work at all
    buckets: int  # 0: the places are of books


def cohorts_with(work: Array) -> Worklist:
    """The cohorts `[book, bucket]` that have work in any column."""
    return Worklist(work.ravel(), jnp.any(work), work.shape[1])


def books_with(work: Array) -> Worklist:
    """The books `[book]` that have work."""
    return Worklist(work, jnp.any(work), 0)


def visit(
    drive: Drive, places: Worklist, body: Callable[[Part, Carry], Carry], carry: Carry
) -> Carry:
    """Run a body on what has work, in its order.

    A loop, not a `cond` around all: a loop changes its carry in place, while both branches of a
    `cond` write a result, a copy where nothing happens. For that, what the body reads of the arrays
    it writes must be computed `once`.

    Args:
        drive: One by one, or all at once (then the body must leave alone what has no work).
        places: Which.
        body: Takes the part and the carry, returns the carry.
        carry: Whole arrays, and sums.
    """
    if not drive.one_by_one:
        return body(Part(), carry)
    size = places.work.shape[0]
    every = jnp.arange(size, dtype=jnp.int32)

    def following(place: Array | int) -> Array:
        return jnp.min(jnp.where(places.work & (every > place), every, size))

    def step(state: tuple[Array, Carry]) -> tuple[Array, Carry]:
        place, carry = state
        part = Part(place)
        if places.buckets:
            part = Part(place // places.buckets, place % places.buckets)
        return following(place), body(part, carry)

    start = (following(-1), carry)
    return jax.lax.while_loop(lambda state: state[0] < size, step, start)[1]


def where_needed(
    drive: Drive, needed: Array, work: Callable[[], Carry], idle: Callable[[], Carry]
) -> Carry:
    """What some column needs, or else what costs nothing.

    Args:
        drive: All at once: a branch would wait for the host to read the condition, so the work is
            done in any case.
        needed: Scalar bool.
        work: Gives what `idle` gives, but for rounding, where it is not needed.
        idle: Of no cost.
    """
    return jax.lax.cond(needed, work, idle) if drive.one_by_one else work()


def when(
    drive: Drive, condition: Array, body: Callable[[Carry], Carry], carry: Carry
) -> Carry:
    """Run a body if the condition holds: a loop of one pass or none, for the reason in `visit`.

    Args:
        drive: All at once: the body is run in any case and must change nothing without work.
        condition: Scalar bool.
        body: Takes and returns the carry.
        carry: Arrays.
    """
    if not drive.one_by_one:
        return body(carry)
    passes = condition.astype(jnp.int32)
    return jax.lax.fori_loop(0, passes, lambda _, given: body(given), carry)
