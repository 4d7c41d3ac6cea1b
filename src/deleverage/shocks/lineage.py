"""Draws that a path inherits and moves a little: what splitting makes its paths of.

A path of a later population is no fresh one. It takes the draws of a parent and moves each towards
a fresh number of its own id; its parent may itself be such a path. The ids along this line, and how
far each moved, say all about its draws, whatever else is simulated beside it.
"""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import ndtr, ndtri

from deleverage.shocks.draws import below_one, draw_ids
from deleverage.state import Draws
from deleverage.world import World

NORMALS = ("diffusion", "jump_normal", "liquidity")
"""Fields of `Draws` that are normals; the others are uniforms."""

LEAST = 2.0**-33
"""The least plain uniform: no path goes beyond it (A45)."""


class Lineage(eqx.Module):
    """Ancestors of paths, the eldest first and each path itself last.

    The eldest has spread 1: it is a plain path. Rows behind the last one have spread 0.
    """

    ids: Any  # uint32 [generation, path]
    spread: Any  # [generation, path], of each one's own draws, in [0, 1]


def inherited(world: World, seed: int | Array, lineage: Lineage, dtype: Any) -> Draws:
    r"""The draws of paths that moved away from their ancestors'.

    With the spread $\sigma$ of a generation and the normal scores $\xi$ of its own draws,

    $$z \leftarrow \sqrt{1 - \sigma^2}\,z + \sigma\,\xi,$$

    which leaves standard normals standard normal; uniforms move by their scores. A path without a
    parent has its plain draws, bit for bit.

    Args:
        world: Tells how many numbers each mechanism needs.
        seed: In [0, 2^32); may be traced.
        lineage: Ids and spreads.
        dtype: Float type of the result.

    Returns:
        Normals and uniforms, the path axis last.

    Source: MODEL.md section 2.1; Neal 1999, Cotter et al. 2013 (preconditioned Crank-Nicolson).
    """
    spread = jnp.asarray(lineage.spread, dtype)
    own = jnp.asarray(lineage.ids)

    def move(generation: Array, line: tuple[Draws, Draws]) -> tuple[Draws, Draws]:
        eldest, scores = line
        new = draw_ids(world, seed, own[generation], dtype)
        moved = spread[generation]
        kept = jnp.sqrt((1 - moved) * (1 + moved))
        return (
            jax.tree.map(lambda old, one: jnp.where(generation == 0, one, old), eldest, new),
            jax.tree.map(lambda old, one: kept * old + moved * one, scores, _scores(new)),
        )

    places = jnp.arange(spread.shape[0])[:, None]
    generations = jnp.max(jnp.where(spread > 0, places + 1, 0))
    shapes = jax.eval_shape(lambda ids: draw_ids(world, seed, ids, dtype), own[0])
    nothing = jax.tree.map(lambda one: jnp.zeros(one.shape, one.dtype), shapes)
    # one loop from the eldest on, so that the making of draws is compiled once
    eldest, scores = jax.lax.fori_loop(0, generations, move, (nothing, nothing))
    has_parent = jnp.any(spread[1:] > 0, axis=0)
    return jax.tree.map(
        lambda plain, moved: jnp.where(has_parent, moved, plain), eldest, _of_scores(scores, dtype)
    )


def _scores(draws: Draws) -> Draws:
    """Draws as standard normals."""
    return _by_field(draws, ndtri)


def _of_scores(scores: Draws, dtype: Any) -> Draws:
    most, least = below_one(dtype), np.array(LEAST, dtype)
    return _by_field(scores, lambda score: jnp.clip(ndtr(score), least, most))


def _by_field(draws: Draws, change: Any) -> Draws:
    """Draws with their uniforms changed."""
    fields = {
        name: value if name in NORMALS or value is None else change(value)
        for name, value in vars(draws).items()
    }
    return Draws(**fields)
