"""The only operations that mix slots; everything else in the cascade is elementwise on paths.

A driver may implement them otherwise (matmul here; unrolled multiply-adds on chip), so that the
stages stay as they are. On a CPU contractions run as matrix products: reductions over a middle
axis measured 3 to 5 times slower, and fuse badly with what feeds them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array


def contract(matrix: np.ndarray, rows: Array) -> Array:
    """Combine rows linearly: `[..., S] x [S, path] -> [..., path]`, in full precision.

    Args:
        matrix: Static weights; its leading axes become the result's.
        rows: One row per slot, `[S, path]`.
    """
    weights = jnp.asarray(matrix.reshape(-1, matrix.shape[-1]), rows.dtype)
    mixed = jnp.matmul(weights, rows, precision=jax.lax.Precision.HIGHEST)
    return mixed.reshape(*matrix.shape[:-1], rows.shape[-1])


def sum_rows(rows: Array) -> Array:
    """Sum of all rows, `[row, path] -> [path]`."""
    return contract(np.ones((1, rows.shape[0])), rows)[0]


def spread(matrix: np.ndarray, rows: Array) -> Array:
    """`contract` to slots of cohorts, `[..., S] x [S, path] -> [..., 1, path]` (1: buckets)."""
    return contract(matrix, rows)[..., None, :]


def gather(matrices: Sequence[np.ndarray], cohorts: Sequence[Array]) -> Array:
    """Sum cohorts of all blocks into rows, buckets included.

    Args:
        matrices: Per block `[R, ...]`, the other axes those of its cohorts without bucket and path.
        cohorts: Per block `[..., bucket, path]`.

    Returns:
        `[R, path]`.
    """
    parts = []
    for matrix, values in zip(matrices, cohorts, strict=True):
        if values.size:
            flat = matrix.reshape(matrix.shape[0], -1)
            flat = np.repeat(flat, values.shape[-2], axis=1)
            parts.append(contract(flat, values.reshape(-1, values.shape[-1])))
    if not parts:  # no block has such slots: a world without perps, or without collateral
        return jnp.zeros((matrices[0].shape[0], cohorts[0].shape[-1]), cohorts[0].dtype)
    return reduce(jnp.add, parts)


def total(slots: Array) -> Array:
    """Sum over the leading slot axis (at most three long, so unrolled)."""
    if slots.shape[0] == 0:
        return jnp.zeros(slots.shape[1:], slots.dtype)
    return reduce(jnp.add, [slots[j] for j in range(slots.shape[0])])


def least(slots: Array) -> Array:
    """Minimum over the leading slot axis."""
    return reduce(jnp.minimum, [slots[j] for j in range(slots.shape[0])])


def any_true(flags: Sequence[Array]) -> Array:
    """Whether any cohort of any block and path is marked, a scalar: is there work at all?"""
    return reduce(jnp.logical_or, [jnp.any(flag) for flag in flags], jnp.array(False))


def half_life_decay(minutes: Array | float, half_life: Array) -> Array:
    """What is left after some minutes, `2^(-minutes / half_life)`."""
    return jnp.exp2(-minutes / half_life)


def ratio_or_zero(numerator: Array, denominator: Array) -> Array:
    """`numerator / denominator`, and 0 where the denominator is 0."""
    safe = jnp.where(denominator == 0, 1, denominator)
    return jnp.where(denominator == 0, 0, numerator / safe)
