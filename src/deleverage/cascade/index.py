"""Stage 3: the reference, the published index and the perp mark. MODEL.md 2.3."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from deleverage.cascade.haircuts import Scaling
from deleverage.cascade.maps import Maps
from deleverage.cascade.median import lower_weighted_median
from deleverage.cascade.once import once
from deleverage.cascade.primitives import column_wise, total
from deleverage.policy import IndexRules
from deleverage.state import Markets
from deleverage.world import Layout


class Published(NamedTuple):
    """Prices that margin is computed on, per index entry and per market."""

    index_price: Array  # [I, column] what collateral is valued on
    mark_price: Array  # [M, column] what a perp's margin is computed on (0 for spot)
    fair_price: Array  # [I, column] redemption or reference price: the venue's own rules left out
    smoothed_index: Array  # [I, column] next state
    basis: Array  # [M, column] next state
    last_index: Array | None = None  # [I, column] next state
    redemption: Array | None = None  # [L, I, column] next state
    haircuts: Scaling | None = None  # of what is pledged, where haircuts are dynamic


def publish(
    layout: Layout,
    maps: Maps,
    rules: IndexRules,
    markets: Markets,
    price: Array,
    redemption_price: Array,
    t: Array,
    factor: Array | None = None,
) -> Published:
    """Form the index prices, then the marks.

    Args:
        layout: Static world.
        maps: Its relations.
        rules: Weights, clamp, smoothing, floor.
        markets: State of the order books (EMAs, last prices).
        price: Stage-2 prices, `[market, column]`.
        redemption_price: What the issuer pays (the fundamental otherwise), `[asset, column]`.
        t: Number of the step.
        factor: Of glitches on the raw index, `[index, column]`; None: none.

    Source: MODEL.md section 2.3, A10, A15 and A16.
    """
    reference = once(partial(reference_price, maps), price)
    redemption, ring = redemption_price[maps.index_asset], markets.redemption
    seen = redemption
    if rules.delay is not None:
        ring, seen = seen_late(rules.delay, ring, redemption, t)
    components = price[maps.source]
    if rules.component_clamp is not None:
        wide = rules.component_clamp * reference
        inside = jnp.clip(components, reference - wide, reference + wide)
        components = jnp.where(maps.has_reference, inside, components)
    raw = (
        total(rules.weight * components)
        + rules.reference_weight * reference
        + rules.redemption_weight * seen
    )
    if rules.median_weight is not None:
        # unclamped: a median does not care how far off the books beside it are
        median = once(lower_weighted_median, price[maps.source], rules.median_share)
        raw = raw + jnp.where(rules.median_weight > 0, rules.median_weight * median, 0)
    band = rules.clamp * reference
    shown = raw if factor is None else raw * factor
    clamped = jnp.where(
        maps.has_reference, jnp.clip(shown, reference - band, reference + band), shown
    )
    first = t == 0
    before = jnp.where(first, raw, markets.smoothed_index)
    # not a step from the one before: that would leave 0 of a price too small to be told from it
    smoothed = (1 - rules.smoothing) * before + rules.smoothing * clamped
    limited = smoothed
    if rules.move_limit is not None:
        last, band = markets.published_index, rules.move_limit * layout.step
        limited = jnp.clip(smoothed, last * (1 - band), last * (1 + band))
        limited = jnp.where(first, smoothed, limited)
    index_price = once(jnp.maximum, limited, rules.floor * seen)

    underlying = index_price[maps.perp_underlying]
    basis = markets.basis + rules.basis_smoothing * (price - underlying - markets.basis)
    mark = mark_price(layout, underlying, basis, markets.last_price)
    fair = jnp.where(
        maps.index_pegged, redemption, jnp.where(maps.has_reference, reference, raw)
    )
    return Published(
        index_price,
        jnp.where(maps.is_perp, mark, 0),
        fair,
        smoothed,
        jnp.where(maps.is_perp, basis, 0),
        None if rules.move_limit is None else index_price,
        ring,
    )


def seen_late(
    delay: Array, ring: Array, redemption: Array, t: Array
) -> tuple[Array, Array]:
    """Redemption prices as they were some steps ago, and the ring with today's in it.

    Args:
        delay: Whole steps, `[index, lane, 1]`.
        ring: The last steps' prices, the starting one where there were none, `[L, index, column]`.
        redemption: This step's, `[index, column]`.
        t: Number of the step.

    Returns:
        The ring and the prices seen, `[index, column]`.

    Source: MODEL.md section 2.3.
    """
    length, *rows = ring.shape
    now = jnp.broadcast_to(redemption, rows)[None]
    ring = jax.lax.dynamic_update_slice_in_dim(ring, now, t % length, 0)
    place = jnp.broadcast_to(jnp.mod(t - delay.astype(jnp.int32), length), rows)
    return ring, jnp.take_along_axis(ring, place[None], axis=0)[0]


def reference_price(maps: Maps, price: Array) -> Array:
    """Lower weighted median of the other venues' spot prices, `[index, column]`; 0 where none.

    Source: MODEL.md section 2.3.
    """
    if not maps.has_reference.any():
        return jnp.zeros((len(maps.has_reference), *price.shape[1:]), price.dtype)
    candidates = once(lambda price: price[maps.reference], price)  # [N, I, column]
    share = jnp.asarray(maps.reference_share, price.dtype)
    return jnp.where(maps.has_reference, lower_weighted_median(candidates, share), 0)


def mark_price(layout: Layout, index: Array, basis: Array, last: Array) -> Array:
    """Perp mark by kind: `index`, `last`, or the median of index + basis, last and index."""
    kinds = column_wise(np.array(layout.mark_kinds))
    fair = index + basis
    low, high = jnp.minimum(fair, index), jnp.maximum(fair, index)
    median = jnp.clip(last, low, high)
    return jnp.where(kinds == "median", median, jnp.where(kinds == "last", last, index))


