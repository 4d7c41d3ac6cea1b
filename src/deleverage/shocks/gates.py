"""Windows of failures, and when they shut a venue's transfer gate."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from deleverage.world import Window


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
