"""All that a block of paths is given from outside, whatever the policy. MODEL.md 2.1."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from deleverage.shocks import diffusion, failures, gates, jumps, liquidity, macro, sales
from deleverage.shocks.backing import backing_kept
from deleverage.shocks.draws import draw_steps_per_step
from deleverage.state import Draws, Inputs, PathCoordinates
from deleverage.world import World


def exogenous(world: World, draws: Draws, dtype: Any) -> tuple[Inputs, PathCoordinates]:
    """Turn draws into prices, liquidity, gates and failures; pure, for any number of paths.

    Args:
        world: Layout (static) and shocks (traced).
        draws: Of a block of paths.
        dtype: Float type of the kernel.

    Returns:
        Series by step and the coordinates of each path.
    """
    layout = world.layout
    world = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), world)
    severity_uniform, time_uniform = draws.macro
    severity = macro.severity(world.macro, severity_uniform)
    shock_time = macro.shock_time(world.macro, time_uniform)

    # Host products in float64, so that 30 s steps are the same minutes in both precisions.
    time = jnp.asarray(np.arange(1, layout.steps + 1) * layout.step, dtype)[:, None]
    since = time - shock_time

    wandering = _walk(world, draws, shock_time, dtype)
    if world.replay is not None:
        wandering = wandering + world.replay[..., None]
    news = macro.log_drop(world.macro, severity, since)
    news_loading = _follow(world.anchor, world.macro.loading)
    worst = liquidity.worst_drop(world.liquidity, severity_uniform, draws.liquidity)
    gate_open, outage_start = _gates(world, draws, time)

    inputs = Inputs(
        log_fundamental=wandering - news_loading[:, None] * news[:, None],
        liquidity_drop=liquidity.drop(world.liquidity, worst, since),
        gate_open=gate_open,
        backing_kept=backing_kept(world.backing, len(layout.pegged), time, shock_time)
        if world.backing
        else None,
        engine_open=failures.engine_open(world, draws, time),
        capacity_left=failures.capacity_left(world, draws, time),
        index_factor=failures.index_factor(world, draws, time),
        sales=sales.units_sold(world, time, draws.macro.shape[-1]),
        outage_start=outage_start,
        load=failures.load_outages(world, draws),
        load_venues=tuple(outage.venue for outage in world.load_outages),
    )
    coordinates = PathCoordinates(
        severity=severity,
        shock_time=shock_time,
        log_weight=jnp.zeros_like(severity) if draws.log_weight is None else draws.log_weight,
    )
    return inputs, coordinates


def _follow(anchor: Array, numbers: Array) -> Array:
    """What an asset takes over from its anchor.

    Increments are linear in the loadings, the variance and the drift, so anchoring these few
    numbers anchors the whole log price, at no cost per step and with the anchor's very bytes.
    """
    return jnp.matmul(anchor, numbers, precision=jax.lax.Precision.HIGHEST)


def _walk(world: World, draws: Draws, shock_time: Array, dtype: Any) -> Array:
    """Log fundamentals at the ends of steps without the macro drop, `[step, asset, path]`."""
    layout, interval = world.layout, world.layout.draw_step
    count = draw_steps_per_step(layout)
    begins = jnp.asarray(np.arange(layout.steps * count) * interval, dtype)[:, None]
    multiplier = diffusion.volatility_multiplier(world.macro, begins - shock_time)

    loading = _follow(world.anchor, world.loading)
    variance = _follow(world.anchor, jnp.sum(world.loading**2, axis=1))
    trend = world.drift * interval
    jump_loading, jump = jnp.zeros_like(trend), jnp.zeros_like(multiplier)
    if world.merton is not None:
        trend = trend - jumps.compensation(world.merton, interval)
        jump_loading = _follow(world.anchor, world.merton.loading)
        jump = jumps.jump_size(world.merton, interval, draws.jump_uniform, draws.jump_normal)
    trend = _follow(world.anchor, trend)

    def advance(level: Array, interval_draws: tuple[Array, ...]) -> tuple[Array, Array]:
        normals, multiplier, jump = interval_draws
        change = diffusion.log_change(loading, variance, multiplier, normals, interval)
        level = level + (change + trend[:, None] + jump_loading[:, None] * jump)
        return level, level

    # A scan, not `cumsum` (ten times slower on a CPU), and with the draws as its input: computed
    # outside, XLA would make every normal anew for each asset that loads on it.
    start = jnp.zeros((len(layout.assets), draws.macro.shape[-1]), dtype)
    _, levels = jax.lax.scan(advance, start, (draws.diffusion, multiplier, jump))
    return levels[count - 1 :: count]


def _gates(world: World, draws: Draws, time: Array) -> tuple[Array, Array]:
    """Gates `[step, venue, path]`; the first start of their outages `[venue, path]`."""
    layout = world.layout
    paths = draws.macro.shape[-1]
    outages = gates.by_venue(world.outages, draws.outage, len(layout.venues))
    never = jnp.full(paths, jnp.nan, time.dtype)
    duration = layout.steps * layout.step
    starts = [gates.first_start(own, duration) if own else never for own in outages]
    return gates.is_open(outages, time, paths), jnp.stack(starts)
