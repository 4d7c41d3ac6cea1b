"""Outages: when a venue's transfer gate is shut."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from deleverage.world import Outage


class Window(NamedTuple):
    """Minutes after the start between which one outage lasts; infinite: never. `[path]`."""

    start: Array
    end: Array


def window(outage: Outage, uniforms: Array) -> Window:
    """When an outage begins and ends.

    Args:
        outage: Scheduled, or random with exponential start and length.
        uniforms: For the start and the length, `[2, path]`; scheduled outages read neither.

    Returns:
        Start and end, `[path]`.
    """
    if outage.random:
        wait, length = -jnp.log(uniforms)
        never = outage.rate == 0
        start = jnp.where(never, jnp.inf, outage.start + wait / jnp.where(never, 1, outage.rate))
        return Window(start, start + outage.length * length)
    start = jnp.broadcast_to(outage.start, uniforms.shape[1:])
    return Window(start, start + outage.length)


def is_shut(windows: list[Window], time: Array) -> Array:
    """Whether any outage shuts a gate: `start < time <= end`.

    Args:
        windows: Of one venue, at least one.
        time: Ends of steps, minutes, `[time, 1]`.

    Returns:
        `[time, path]`, bool.
    """
    shut = [(start < time) & (time <= end) for start, end in windows]
    return jnp.any(jnp.stack(shut), axis=0)


def first_start(windows: list[Window], duration: float) -> Array:
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
