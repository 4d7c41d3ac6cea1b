"""Stage 7: price impact, the same however an order is sliced. MODEL.md 2.7."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from deleverage.cascade.curves import Curve, Profile, Root
from deleverage.cascade.maps import Maps
from deleverage.cascade.primitives import ratio_or_one
from deleverage.policy import ImpactRules


class Depth(NamedTuple):
    """Order books' depth in this step, `[market, column]`."""

    multiplier: Array  # liquidity l in (0, 1]
    local: Array  # USD millions per unit of log price
    inverse: Array  # its inverse
    end: Array | None = None  # displacement at which a book ends, of healing; None: none does


def local_depth(rules: ImpactRules, liquidity_drop: Array) -> Depth:
    """Depth after the liquidity drop; of books that are not linear, at the fundamental."""
    multiplier = 1 - rules.sensitivity * liquidity_drop
    local = rules.depth * multiplier
    return Depth(multiplier, local, 1 / local)


def execute(depth: Depth, price: Array, units_sold: Array) -> tuple[Array, Array]:
    r"""Move linear books and find the average price of the step's orders.

    $$dy = Q / D, \qquad A = P\,(1 - e^{-dy}) / dy$$

    Args:
        depth: Of this step.
        price: Stage-2 prices, `[market, column]`.
        units_sold: $Q$, net units sold, `[market, column]`.

    Returns:
        The rise of the displacement and the average price, both `[market, column]`.

    Source: MODEL.md section 2.7; A3 (a cross pair's orders leave the book of its quote alone).
    """
    rise = units_sold * depth.inverse
    return rise, price * ratio_or_one(-jnp.expm1(-rise), rise)


class OrderBooks(NamedTuple):
    """Order books of every kind at the start of a step's orders."""

    maps: Maps
    rules: ImpactRules
    depth: Depth  # of this step, at the fundamental
    displacement: Array  # y, `[market, column]`

    def execute(self, price: Array, units_sold: Array) -> tuple[Array, Array]:
        """Move books of all kinds; see `execute`, which does it for linear ones."""
        rise, average = execute(self.depth, price, units_sold)
        for rows, curve, start, stop in self._walks(units_sold):
            units, proceeds = curve.paid(start, stop)
            rise = with_rows(rise, rows, stop - start)
            average = with_rows(average, rows, price[rows] * ratio_or_one(proceeds, units))
        return rise, average

    def depth_at(self, displacement: Array) -> Depth:
        """Local depth at a displacement: what healing trades against."""
        local = self.depth.local
        for rows, curve in self.curves():
            local = with_rows(local, rows, curve.depth_at(displacement[rows]))
        if local is self.depth.local:
            return self.depth
        return self.depth._replace(local=local, inverse=1 / local, end=self._end())

    def moved(self, units_sold: Array) -> Array:
        """Displacements after net units sold, `[market, column]`; for orders without a price."""
        after = self.displacement + units_sold * self.depth.inverse
        for rows, _, start, stop in self._walks(units_sold):
            after = with_rows(after, rows, self.displacement[rows] + (stop - start))
        return after

    def _walks(self, units_sold: Array) -> Iterator[tuple[np.ndarray, Curve, Array, Array]]:
        """Along each kind of curve, from which displacement to which net units sold move books."""
        for rows, curve in self.curves():
            before = curve.units_to(self.displacement[rows])
            # not y itself: beyond its end a book counts as at it, and no order means no move
            start = curve.displacement_at(before)
            yield rows, curve, start, curve.displacement_at(before + units_sold[rows])

    def _end(self) -> Array | None:
        rows = self.maps.profile_books
        if not len(rows):
            return None
        last = self.rules.distance[-1]
        return with_rows(jnp.full_like(last, jnp.inf), rows, last[rows])

    def curves(self) -> Iterator[tuple[np.ndarray, Curve]]:
        """Rows and curve of each kind that is not linear."""
        if len(self.maps.root_books):
            rows = self.maps.root_books
            yield rows, Root(self.depth.local[rows], self.rules.reach[rows])
        if len(self.maps.profile_books):
            yield self.maps.profile_books, self.profile()

    def profile(self) -> Profile:
        """The measured curves of their books."""
        rows = self.maps.profile_books
        return Profile(
            self.rules.distance[:, rows], self.rules.units[:, rows] * self.depth.multiplier[rows]
        )


def with_rows(whole: Array, rows: np.ndarray, values: Array) -> Array:
    """The whole with some rows replaced, as a choice of rows."""
    place = np.arange(whole.shape[0], dtype=np.int32)
    place[rows] = whole.shape[0] + np.arange(len(rows), dtype=np.int32)
    columns = jnp.broadcast_shapes(whole.shape[1:], values.shape[1:])
    both = [jnp.broadcast_to(part, (len(part), *columns)) for part in (whole, values)]
    return jnp.concatenate(both)[place]
