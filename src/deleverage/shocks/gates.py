"""Windows of failures, and when they shut a venue's transfer gate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from deleverage.world import Halt, Outage, Window


class Lasts(NamedTuple):
    """Minutes after the start between which a failure lasts; infinite: never. `[path]`."""

    start: Array
    end: Array


def window(failure: Window, uniforms: Array) -> Lasts:
    """When a failure begins and ends.

    Args:
        failure: Scheduled, or random with exponential start and length.
        uniforms: For the start and the length, `[2, path]`; scheduled failures read neither.

    Returns:
        Start and end, `[path]`.
    """
    if failure.random:
        wait, length = -jnp.log(uniforms)
        never = failure.rate == 0
        start = jnp.where(never, jnp.inf, failure.start + wait / jnp.where(never, 1, failure.rate))
        return Lasts(start, start + failure.length * length)
    start = jnp.broadcast_to(failure.start, uniforms.shape[1:])
    return Lasts(start, start + failure.length)


def by_venue(failures: Sequence[Outage | Halt], uniforms: Array, venues: int) -> list[list[Lasts]]:
    """When the failures of each venue last; `uniforms` are `[failure, 2, path]`."""
    found: list[list[Lasts]] = [[] for _ in range(venues)]
    for place, failure in enumerate(failures):
        found[failure.venue].append(window(failure, uniforms[place]))
    return found


def is_open(windows: Sequence[list[Lasts]], time: Array, paths: int) -> Array:
    """1 where none of a venue's failures lasts, else 0, `[time, venue, path]`."""
    always = jnp.zeros((time.shape[0], paths), time.dtype)
    shut = [is_shut(own, time).astype(time.dtype) if own else always for own in windows]
    return 1 - jnp.stack(shut, axis=1)


def is_shut(windows: list[Lasts], time: Array) -> Array:
    """Whether any failure lasts at a time: `start < time <= end`.

    Args:
        windows: At least one.
        time: Ends of steps, minutes, `[time, 1]`.

    Returns:
        `[time, path]`, bool.
    """
    shut = [(start < time) & (time <= end) for start, end in windows]
    return jnp.any(jnp.stack(shut), axis=0)


def first_start(windows: list[Lasts], duration: float) -> Array:
    """Start of the first of one venue's outages that begins within the run, NaN if none does.

    Args:
        windows: Of one venue, at least one.
        duration: Of the run, minutes.

    Returns:
        Minutes, `[path]`.
    """
    begins = [jnp.where(start < duration, start, jnp.inf) for start, _ in windows]
    earliest = jnp.min(jnp.stack(begins), axis=0)
    return jnp.where(jnp.isinf(earliest), jnp.nan, earliest)
