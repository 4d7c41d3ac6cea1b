r"""Paths that are not drawn each by itself: mirrored, spread evenly, or tilted to the bad side.

A path's draws still depend on the seed and its global id alone: evenness is sought inside fixed
blocks of ids, and one block knows nothing of the others. Every single path keeps the law of a plain
one (importance: up to its weight), so every mean over paths keeps its expectation.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import ndtr, ndtri

from deleverage.world import Sampling

DIGITS = 10
BLOCK = 2**DIGITS
"""Paths that strata and Sobol points are spread over; a block is a replicate."""

DIMENSIONS = {"stratified": 1, "sobol": 21}
"""Coordinates of a path that are spread: the first of them is the severity's uniform."""

MACRO, LIQUIDITY = range(2), range(2, 3)
# The others alternate, so that a factor or an outage added later moves none of those before.
FACTORS, OUTAGES = range(3, 21, 2), range(4, 21, 2)

# Polynomials and first direction numbers of dimensions 2 to 21 (degree, coefficients, m).
# Source: Joe and Kuo 2008, table new-joe-kuo-6.
_JOE_KUO = (
    (1, 0, (1,)),
    (2, 1, (1, 3)),
    (3, 1, (1, 3, 1)),
    (3, 2, (1, 1, 1)),
    (4, 1, (1, 1, 3, 3)),
    (4, 4, (1, 3, 5, 13)),
    (5, 2, (1, 1, 5, 5, 17)),
    (5, 4, (1, 1, 5, 5, 5)),
    (5, 7, (1, 1, 7, 11, 19)),
    (5, 11, (1, 1, 5, 1, 1)),
    (5, 13, (1, 1, 1, 3, 11)),
    (5, 14, (1, 3, 5, 5, 31)),
    (6, 1, (1, 3, 3, 9, 7, 49)),
    (6, 13, (1, 1, 1, 15, 21, 21)),
    (6, 16, (1, 3, 1, 13, 27, 49)),
    (6, 19, (1, 1, 1, 15, 7, 5)),
    (6, 22, (1, 3, 1, 15, 13, 25)),
    (6, 25, (1, 1, 5, 5, 19, 61)),
    (7, 1, (1, 3, 7, 11, 23, 15, 103)),
    (7, 4, (1, 3, 7, 13, 13, 15, 69)),
)


def mirrored(ids: Array) -> Array:
    """What turns the bits of every second path id over, so that u becomes 1 - u and Z -Z."""
    return jnp.where(ids & 1, np.uint32(2**32 - 1), np.uint32(0))


def directions() -> np.ndarray:
    """Direction numbers of the Sobol sequence: the first ten, as numbers of ten bits.

    Returns:
        uint32 `[dimension, bit of the point's number]`.
    """
    found = [[1] * DIGITS]
    for degree, inner, first in _JOE_KUO:
        m = list(first)
        for k in range(degree, DIGITS):
            value = m[k - degree] ^ (m[k - degree] << degree)
            for j in range(1, degree):
                if inner >> (degree - 1 - j) & 1:
                    value ^= m[k - j] << j
            m.append(value)
        found.append(m)
    shifts = DIGITS - 1 - np.arange(DIGITS)
    return (np.array([m[:DIGITS] for m in found], np.int64) << shifts).astype(np.uint32)


def even(keys: Array, place: Array, spread: int, bits: Array, dimensions: range) -> Array:
    """Random bits whose first ten are those of scrambled Sobol points; the rest stays.

    Scrambling is nested (Owen 1995): whether a binary digit is flipped is drawn for each value of
    the digits before it. Of a point of 1,024 the digits beyond the tenth are then independent
    anyway, which is what plain bits are.

    Args:
        keys: Words of the key of each path's block, `[word, path]`.
        place: Of each path in its block, `[path]`.
        spread: Dimensions of the scheme; those from here on stay as they are.
        bits: uint32 `[row, path]`.
        dimensions: Of each row; rows without one stay as they are.
    """
    rows = [d for d in dimensions if d < spread][: bits.shape[0]]
    if not rows:
        return bits
    points = _points(place, directions()[rows])
    numbers = np.array(rows, np.uint32)[:, None] << np.uint32(DIGITS)
    level = np.arange(DIGITS, dtype=np.uint32)
    # the digits before each one, led by a 1 so that no two levels share a number
    before = (points[:, None] >> (DIGITS - level)[:, None]) | (np.uint32(1) << level)[:, None]
    flips = _flips(keys, numbers[..., None] | before) << (DIGITS - 1 - level)[:, None]
    points = points ^ jnp.sum(flips, axis=1, dtype=jnp.uint32)
    kept = bits[: len(rows)] >> DIGITS
    return bits.at[: len(rows)].set((points << (32 - DIGITS)) | kept)


def with_total(normals: Array, totals: Array) -> Array:
    r"""Normals whose sum over the intervals is given; what is left of them stays.

    $$Z_i + (\sqrt n\,T - \sum_j Z_j) / n$$

    Deviations from the mean are independent of the mean, so this is the law of plain normals. Only
    the total is spread evenly, not the way to it (A44).

    Args:
        normals: Z, `[interval, factor, path]`.
        totals: T, standard normals, `[factor, path]`.
    """
    count = normals.shape[0]
    # A scan: a reduction would be rounded by how many paths there are.
    total, _ = jax.lax.scan(lambda total, z: (total + z, None), jnp.zeros_like(totals), normals)
    return normals + (totals * (1 / count) ** 0.5 - total * (1 / count))


def tilted(sampling: Sampling, u: Array, chance: Array) -> tuple[Array, Array]:
    r"""The severity's uniform with its normal score shifted, save on a share of the paths.

    With the share a of plain paths and shift d, the score $z = -\Phi^{-1}(u)$ has the density
    $a\varphi(z) + (1 - a)\varphi(z - d)$, so its weight $1 / (a + (1 - a)\,e^{dz - d^2/2})$ is
    at most 1/a. No score goes beyond that of the least plain uniform (A45).

    Args:
        sampling: Shift and share.
        u: Uniforms, `[path]`.
        chance: Uniforms that decide which paths are plain, `[path]`.

    Returns:
        The uniform, and the log of the weight, `[path]`.

    Source: Hesterberg 1995 (defensive mixtures).
    """
    shift, share = (jnp.asarray(x, u.dtype) for x in (sampling.shift, sampling.plain_share))
    plain = chance < share
    score = jnp.where(plain, 0, shift) - ndtri(u)
    moved = jnp.maximum(ndtr(-score), np.array(2.0**-33, u.dtype))
    likelihood = jnp.logaddexp(jnp.log(share), jnp.log1p(-share) + shift * (score - shift / 2))
    return jnp.where(plain, u, moved), -likelihood


def _points(place: Array, columns: np.ndarray) -> Array:
    """Points of a digital net as numbers of ten bits, `[dimension, path]`."""
    points = jnp.zeros((columns.shape[0], *place.shape), jnp.uint32)
    for bit in range(DIGITS):
        has = (place >> bit) & 1
        points = points ^ (has * columns[:, bit, None])
    return points


def _flips(keys: Array, numbers: Array) -> Array:
    """A random bit for each number under each path's key, `[..., path]`."""

    def of_path(words: Array, numbers: Array) -> Array:
        key: Any = jax.random.wrap_key_data(words, impl="philox4x32")
        own = jax.vmap(lambda number: jax.random.bits(jax.random.fold_in(key, number)))
        return own(numbers.reshape(-1)).reshape(numbers.shape) >> 31

    return jax.vmap(of_path, in_axes=-1, out_axes=-1)(keys, numbers)
