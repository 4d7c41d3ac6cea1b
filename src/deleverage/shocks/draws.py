"""Random numbers by global path id: the same for any tile, chunk, policy or order of work.

The key of a path is `key(seed) -> fold_in(stream) -> fold_in(path id)`. Every mechanism, and every
factor of the diffusion, has a stream of its own and a draw is counted from the start of its
stream: a mechanism, factor or outage added later, or a longer run, changes no draw made before.
"""

from __future__ import annotations

from functools import partial
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from deleverage.errors import ConfigError
from deleverage.shocks import sampling
from deleverage.state import Draws
from deleverage.world import Layout, World

GENERATOR = "philox4x32"
"""JAX's name of it. Three times cheaper here than threefry2x32: 11 ns a normal against 42."""

# Streams are part of every result: a number is never changed or used again.
MACRO = 0
JUMP_UNIFORM = 1
JUMP_NORMAL = 2
LIQUIDITY = 3
OUTAGE = 4
HALT = 5
CONGESTION = 6
GLITCH = 7
LOAD = 8
SCRAMBLE = 512  # of blocks of paths, not of paths
TILT = 513
TOTAL = 514
RESAMPLE = 515  # of populations, by the id of their first path
DIFFUSION = 1024  # of factor 0; those of the other factors follow

SEEDS = 2**32
"""Seeds lie in [0, SEEDS): JAX cuts larger ones to their low bits without a word."""


def draw_steps_per_step(layout: Layout) -> int:
    """Draw steps in one step.

    Raises:
        ConfigError: If the step is not a multiple of the draw step.
    """
    count = round(layout.step / layout.draw_step)
    if count < 1 or abs(count * layout.draw_step - layout.step) > 1e-9 * layout.step:
        raise ConfigError(
            f"The step is {layout.step:g} minutes, which is no multiple of the draw step of "
            f"{layout.draw_step:g} minutes; give a draw_step that divides the step."
        )
    return count


def draw(world: World, seed: int | Array, first_path: int | Array, paths: int, dtype: Any) -> Draws:
    """Draw the random numbers of `paths` consecutive path ids.

    Args:
        world: Tells how many numbers each mechanism needs.
        seed: In [0, 2^32); may be traced.
        first_path: Global id of the first path, in [0, 2^32); may be traced.
        paths: How many (static).
        dtype: Float type of the result. Normals are made in float32 whatever it is.

    Returns:
        Normals and uniforms, the path axis last.

    Raises:
        ConfigError: If an untraced seed or path id is out of range.

    Source: MODEL.md section 2.1.
    """
    ids = _uint32(first_path, "path id") + jnp.arange(paths, dtype=jnp.uint32)
    return draw_ids(world, seed, ids, dtype)


def draw_ids(world: World, seed: int | Array, ids: Array, dtype: Any) -> Draws:
    """Draw the random numbers of any path ids, uint32 `[path]`; see `draw`."""
    paths = ids.shape[0]
    steps = world.layout.steps * draw_steps_per_step(world.layout)
    factors, outages = world.loading.shape[1], len(world.outages)
    jumps = () if world.merton is None else (JUMP_UNIFORM, JUMP_NORMAL)
    failures = {
        name: (stream, (len(happen), *numbers))
        for name, stream, happen, numbers in (
            ("load", LOAD, world.load_outages, (2,)),
            ("halt", HALT, world.halts, (2,)),
            ("congestion", CONGESTION, world.congestions, (2,)),
            ("glitch", GLITCH, world.glitches, ()),
        )
        if happen
    }
    key = jax.random.key(_uint32(seed, "seed"), impl=GENERATOR)
    kind = None if world.sampling is None else world.sampling.kind
    turned: Array | int = 0  # what flips the bits of mirrored paths
    block, place = ids // sampling.BLOCK, ids % sampling.BLOCK
    if kind == "antithetic":
        turned = sampling.mirrored(ids)
        ids = ids & ~np.uint32(1)

    # Loops, because XLA would otherwise make the keys anew for every number, and the few numbers
    # of a path at every step that reads them. The series are stored when a scan takes them in.
    single = (MACRO, LIQUIDITY, OUTAGE, *(stream for stream, _ in failures.values()))
    streams = (*single, *jumps, *range(DIFFUSION, DIFFUSION + factors))
    keys = jax.lax.map(lambda stream: _path_keys(key, stream, ids), np.array(streams, np.uint32))
    few = max(2, 2 * outages, *(prod(shape) for _, shape in failures.values()))
    macro, liquidity, outage, *rest = jax.lax.map(
        lambda part: _bits(part, few) ^ turned, keys[: len(single)]
    )
    series = jax.vmap(lambda part: _bits(part, steps) ^ turned, out_axes=1)(keys[len(single) :])
    uniforms = {
        name: uniform(bits[: prod(shape)].reshape(*shape, paths), dtype)
        for (name, (_, shape)), bits in zip(failures.items(), rest, strict=True)
    }
    outage, diffusion = outage[: 2 * outages], normal(series[:, len(jumps) :], dtype)
    log_weight = None
    if kind in sampling.DIMENSIONS:
        scramble = _path_keys(key, np.uint32(SCRAMBLE), block)
        even = partial(sampling.even, scramble, place, sampling.DIMENSIONS[kind])
        macro = even(macro[:2], sampling.MACRO)
        if kind == "sobol":
            liquidity = even(liquidity[:1], sampling.LIQUIDITY)
            outage = even(outage, sampling.OUTAGES)
            totals = _bits(_path_keys(key, np.uint32(TOTAL), ids), factors)
            totals = normal(even(totals, sampling.FACTORS), dtype)
            diffusion = sampling.with_total(diffusion, totals)
    severity_time = uniform(macro[:2], dtype)
    if kind == "importance":
        chance = uniform(_bits(_path_keys(key, np.uint32(TILT), ids), 1)[0], dtype)
        tilted, log_weight = sampling.tilted(world.sampling, severity_time[0], chance)
        severity_time = severity_time.at[0].set(tilted)
    return Draws(
        diffusion=diffusion,
        macro=severity_time,
        jump_uniform=uniform(series[:, 0], dtype) if jumps else None,
        jump_normal=normal(series[:, 1], dtype) if jumps else None,
        liquidity=normal(liquidity[0], dtype),
        outage=uniform(outage.reshape(outages, 2, paths), dtype),
        log_weight=log_weight,
        **uniforms,
    )


def uniform(bits: Array, dtype: Any) -> Array:
    r"""Uniforms $(k + 1/2) / 2^{32}$ in (0, 1), never 0 or 1.

    The end at 0 has full resolution (the least value is 1.2e-10 in both precisions), so that is
    where the laws of `laws.py` put their bad tail. Near 1 float32 stops at $1 - 2^{-24}$.

    Args:
        bits: $k$, uint32, any shape.
        dtype: Float type of the result.
    """
    value = (bits.astype(dtype) + 0.5) * np.array(2.0**-32, dtype)
    return jnp.minimum(value, below_one(dtype))


def normal(bits: Array, dtype: Any) -> Array:
    r"""Standard normals $\sqrt 2\,\mathrm{erf}^{-1}(x)$ of uniforms $x$ in (-1, 1), by float32.

    They are symmetric about 0 and reach 5.4 standard deviations.

    Args:
        bits: Uint32, any shape.
        dtype: Float type to cast the float32 values to.
    """
    signed = jax.lax.bitcast_convert_type(bits, jnp.int32).astype(jnp.float32)
    value = (signed + np.float32(0.5)) * np.float32(2.0**-31)
    limit = below_one(np.float32)
    standard = np.float32(np.sqrt(2.0)) * jax.lax.erf_inv(jnp.clip(value, -limit, limit))
    return standard.astype(dtype)


@jax.jit
def uniform_of(seed: Array, stream: Array, path_id: Array) -> Array:
    """One uniform of a stream and a path id, float32; for the host. All three are uint32."""
    key = jax.random.key(seed, impl=GENERATOR)
    return uniform(_bits(_path_keys(key, stream, path_id[None]), 1)[0, 0], np.float32)


def _path_keys(key: Array, stream: Array, ids: Array) -> Array:
    """The key of a stream of each path, as words `[word, path]`."""

    def of_path(path_id: Array) -> Array:
        return jax.random.key_data(jax.random.fold_in(jax.random.fold_in(key, stream), path_id))

    return jax.vmap(of_path, out_axes=-1)(ids)


def _bits(keys: Array, count: int) -> Array:
    """The first `count` numbers of each key `[word, path]`, uint32 `[count, path]`.

    The path axis is last from the start, which is 4 times faster on a CPU than turning it there.
    """

    def of_path(words: Array) -> Array:
        key = jax.random.wrap_key_data(words, impl=GENERATOR)
        return jax.random.bits(key, (count,), jnp.uint32)

    return jax.vmap(of_path, in_axes=-1, out_axes=-1)(keys)


def below_one(dtype: Any) -> Any:
    """The largest float below 1."""
    return np.nextafter(np.array(1, dtype), np.array(0, dtype))


def _uint32(value: int | Array, what: str) -> Array:
    """Check a host integer, and pass on a traced one."""
    if isinstance(value, int | np.integer) and not 0 <= value < SEEDS:
        raise ConfigError(
            f"The {what} is {value}; it must lie in [0, {SEEDS}): choose a smaller one."
        )
    return jnp.asarray(value, jnp.uint32)
