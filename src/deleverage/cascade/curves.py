"""Order books whose depth changes with the distance from the fundamental. MODEL.md 2.7.

A curve is odd: the units that move a book from its fundamental to `y`, its inverse, its slope, and
what an order gets on the way from one displacement to another. Its numbers are those of a step: the
liquidity multiplier is in them.
"""

from __future__ import annotations

from abc import abstractmethod
from functools import reduce
from math import factorial

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array

from deleverage.cascade.primitives import ratio_or_one, ratio_or_zero, total

SMALL = 0.1
"""Log moves below this are summed as a series: the closed form would be a small difference."""

SERIES = tuple((-1) ** k * (k - 1) / factorial(k) for k in range(2, 12))
"""Of `(1 - (1 + w) e^-w) / w^2`: `(-1)^k (k - 1) / k!` from k = 2 on."""


class Curve(eqx.Module):
    """How far units move some order books, `[book, column]`."""

    @abstractmethod
    def units_to(self, displacement: Array) -> Array:
        """Net units sold between the fundamental and a displacement, `G^-1`."""

    @abstractmethod
    def displacement_at(self, units: Array) -> Array:
        """The displacement after net units, `G`."""

    @abstractmethod
    def depth_at(self, displacement: Array) -> Array:
        """Units per unit of log price there, the inverse of the slope of `G`."""

    @abstractmethod
    def paid(self, before: Array, after: Array) -> tuple[Array, Array]:
        """Units between two displacements, and what they bring at a price of 1 before."""


class Root(Curve):
    r"""Depth that grows linearly with the distance: impact of the square root of size.

    $$G^{-1}(y) = D\,(y + y |y| / 2a)$$

    Source: MODEL.md section 2.7; Toth et al. (2011), Donier et al. (2015).
    """

    depth: Array  # D at the fundamental
    reach: Array  # a

    def units_to(self, displacement: Array) -> Array:
        """See `Curve`."""
        return self.depth * displacement * (1 + jnp.abs(displacement) / (2 * self.reach))

    def displacement_at(self, units: Array) -> Array:
        """See `Curve`."""
        linear = units / self.depth
        square = 1 + 2 * jnp.abs(linear) / self.reach
        return 2 * linear / (1 + square * jax.lax.rsqrt(square))

    def depth_at(self, displacement: Array) -> Array:
        """See `Curve`."""
        return self.depth * (1 + jnp.abs(displacement) / self.reach)

    def paid(self, before: Array, after: Array) -> tuple[Array, Array]:
        """See `Curve`."""
        units, proceeds = [], []
        for side, beyond in ((1, jnp.maximum), (-1, jnp.minimum)):
            start, stop = beyond(before, 0), beyond(after, 0)
            width, slope = stop - start, side / self.reach
            at_start = 1 + slope * start
            units.append(width * (at_start + slope * width / 2))
            received = at_start * _mean(width) + slope * width * _first_moment(width)
            proceeds.append(jnp.exp(before - start) * width * received)
        return self.depth * total(units), self.depth * total(proceeds)


class Profile(Curve):
    """Measured depth: constant between given distances, nothing beyond the last."""

    distance: Array  # [N, book, column] log distances, rising, the last one repeated
    units: Array  # [N, book, column] up to there

    def units_to(self, displacement: Array) -> Array:
        """See `Curve`."""
        return _interpolated(displacement, self.distance, self.units)

    def displacement_at(self, units: Array) -> Array:
        """See `Curve`."""
        return _interpolated(units, self.units, self.distance)

    def depth_at(self, displacement: Array) -> Array:
        """See `Curve`."""
        away, depth = jnp.abs(displacement), self._depth()
        here = depth[0]
        for near, far, further in zip(
            self.distance[:-1], self.distance[1:], depth[1:], strict=True
        ):
            here = jnp.where((away >= near) & (far > near), further, here)
        return here

    def paid(self, before: Array, after: Array) -> tuple[Array, Array]:
        """See `Curve`."""
        units, proceeds = [], []
        near = jnp.zeros_like(self.distance[0])
        for far, depth in zip(self.distance, self._depth(), strict=True):
            for low, high in ((near, far), (-far, -near)):
                start, stop = jnp.clip(before, low, high), jnp.clip(after, low, high)
                width = stop - start
                units.append(depth * width)
                proceeds.append(units[-1] * jnp.exp(before - start) * _mean(width))
            near = far
        return total(units), total(proceeds)

    def _depth(self) -> list[Array]:
        """Units per unit of log price of every stretch; 0 of the empty ones."""
        return [
            ratio_or_zero(units, width)
            for units, width in zip(_stretches(self.units), _stretches(self.distance), strict=True)
        ]


def _stretches(nodes: Array) -> list[Array]:
    """Differences of neighbouring nodes, the first from 0."""
    return [nodes[0], *(nodes[n] - nodes[n - 1] for n in range(1, nodes.shape[0]))]


def _interpolated(value: Array, nodes: Array, heights: Array) -> Array:
    """The odd piecewise linear function through (0, 0) and the nodes, constant beyond them."""
    size, near, parts = jnp.abs(value), jnp.zeros_like(nodes[0]), []
    widths, rises = _stretches(nodes), _stretches(heights)
    for far, width, rise in zip(nodes, widths, rises, strict=True):
        parts.append(jnp.clip(size - near, 0, width) * ratio_or_zero(rise, width))
        near = far
    return jnp.sign(value) * total(parts)


def _mean(width: Array) -> Array:
    """Mean of `e^-t` over `[0, w]`."""
    return ratio_or_one(-jnp.expm1(-width), width)


def _first_moment(width: Array) -> Array:
    """Integral of `t e^-t` over `[0, w]`, over `w^2`."""
    series = reduce(lambda so_far, term: so_far * width + term, reversed(SERIES))
    exact = ratio_or_zero(_mean(width) - jnp.exp(-width), width)
    return jnp.where(jnp.abs(width) < SMALL, series, exact)
