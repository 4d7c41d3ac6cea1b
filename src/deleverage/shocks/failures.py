"""Failures other than outages: halted engines, congestion, wrong indices. MODEL.md 2.1."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from deleverage.shocks.gates import Lasts, by_venue, is_open, is_shut, window
from deleverage.state import Draws
from deleverage.world import World


def engine_open(world: World, draws: Draws, time: Array) -> Array | None:
    """Whether each venue's liquidation engine works, `[time, venue, path]` of 1 and 0.

    Args:
        world: Halts.
        draws: Their uniforms.
        time: Ends of steps, minutes, `[time, 1]`.

    Returns:
        None where no engine ever halts.
    """
    if not world.halts:
        return None
    halted = by_venue(world.halts, draws.halt, len(world.layout.venues))
    return is_open(halted, time, draws.halt.shape[-1])


def capacity_left(world: World, draws: Draws, time: Array) -> Array | None:
    """Share of redemptions and cross-venue arbitrage that goes through, `[time, path]`.

    The least of the congestions that last. Args: as in `engine_open`.
    """
    if not world.congestions:
        return None
    left = jnp.ones((time.shape[0], draws.congestion.shape[-1]), time.dtype)
    for place, congestion in enumerate(world.congestions):
        jammed = is_shut([window(congestion, draws.congestion[place])], time)
        left = jnp.minimum(left, jnp.where(jammed, congestion.left, 1))
    return left


def index_factor(world: World, draws: Draws, time: Array) -> Array | None:
    """Factor on raw indices, `[time, index, path]`; glitches that last at once multiply.

    Args: as in `engine_open`.
    """
    if not world.glitches:
        return None
    shape = (time.shape[0], draws.glitch.shape[-1])
    rows = [jnp.ones(shape, time.dtype) for _ in world.layout.indices]
    for glitch, uniform in zip(world.glitches, draws.glitch, strict=True):
        start = jnp.where(uniform < glitch.probability, glitch.start, jnp.inf)
        factor = jnp.where(is_shut([Lasts(start, start + glitch.length)], time), glitch.factor, 1)
        for entry in glitch.indices:
            rows[entry] = rows[entry] * factor
    return jnp.stack(rows, axis=1)


def load_outages(world: World, draws: Draws) -> Array | None:
    """What each path's load outages take, `[load outage, 5, path]`, fields of `cascade.load.Load`.

    Returns:
        None where load shuts no gate.
    """
    if not world.load_outages:
        return None
    rows = []
    for outage, uniforms in zip(world.load_outages, draws.load, strict=True):
        patience, length = -jnp.log(uniforms)
        length = outage.length * (length if outage.random else 1)
        fields = (outage.start, outage.threshold, outage.rate, patience, length)
        rows.append(jnp.stack([jnp.broadcast_to(field, patience.shape) for field in fields]))
    return jnp.stack(rows)
