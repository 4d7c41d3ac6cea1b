"""Stage 3: the reference, the published index and the perp mark. MODEL.md 2.3."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from deleverage.cascade.maps import Maps
from deleverage.cascade.primitives import contract, least, total
from deleverage.policy import IndexRules
from deleverage.state import Markets
from deleverage.world import Layout

HALF = 0.5 - 1e-6
"""A cumulative weight that counts as half: float sums of shares may fall a rounding short."""


class Published(NamedTuple):
    """Prices that margin is computed on, per index entry and per market."""

    index_price: Array  # [I, path] what collateral is valued on
    mark_price: Array  # [M, path] what a perp's margin is computed on (0 for spot)
    fair_price: Array  # [I, path] redemption or reference price: the venue's own rules left out
    smoothed_index: Array  # [I, path] next state
    basis: Array  # [M, path] next state


def publish(
    layout: Layout,
    maps: Maps,
    rules: IndexRules,
    markets: Markets,
    price: Array,
    redemption_price: Array,
    first: Array,
) -> Published:
    """Form the index prices, then the marks.

    Args:
        layout: Static world.
        maps: Its relations.
        rules: Weights, clamp, smoothing, floor.
        markets: State of the order books (EMAs, last prices).
        price: Stage-2 prices, `[market, path]`.
        redemption_price: What the issuer pays (the fundamental otherwise), `[asset, path]`.
        first: Whether this is the first step, scalar bool.

    Source: MODEL.md section 2.3.
    """
    reference = reference_price(maps, price)
    redemption = contract(maps.index_asset, redemption_price)
    raw = (
        total(rules.weight * contract(maps.source, price))
        + rules.reference_weight * reference
        + rules.redemption_weight * redemption
    )
    band = rules.clamp * reference
    clamped = jnp.where(
        maps.has_reference, jnp.clip(raw, reference - band, reference + band), raw
    )
    before = jnp.where(first, raw, markets.smoothed_index)
    smoothed = before + rules.smoothing * (clamped - before)
    index_price = jnp.maximum(smoothed, rules.floor * redemption)

    underlying = contract(maps.perp_underlying, index_price)
    basis = markets.basis + rules.basis_smoothing * (price - underlying - markets.basis)
    mark = mark_price(layout, underlying, basis, markets.last_price)
    fair = jnp.where(
        maps.index_pegged, redemption, jnp.where(maps.has_reference, reference, raw)
    )
    is_perp = maps.perp > 0
    return Published(
        index_price, jnp.where(is_perp, mark, 0), fair, smoothed, jnp.where(is_perp, basis, 0)
    )


def reference_price(maps: Maps, price: Array) -> Array:
    """Lower weighted median of the other venues' spot prices, `[index, path]`; 0 where none.

    The least price whose cumulative weight reaches half, by pairwise comparison.

    Source: MODEL.md section 2.3.
    """
    candidates = contract(maps.reference, price)  # [N, I, path]
    share = jnp.asarray(maps.reference_share, price.dtype)
    chosen = []
    for candidate in candidates:
        weight = total(jnp.where(candidates <= candidate, share, 0))
        chosen.append(jnp.where(weight >= HALF, candidate, jnp.inf))
    return jnp.where(maps.has_reference, least(jnp.stack(chosen)), 0)


def mark_price(layout: Layout, index: Array, basis: Array, last: Array) -> Array:
    """Perp mark by kind: `index`, `last`, or the median of index + basis, last and index."""
    kinds = np.array(layout.mark_kinds)[:, None]
    fair = index + basis
    low, high = jnp.minimum(fair, index), jnp.maximum(fair, index)
    median = jnp.clip(last, low, high)
    return jnp.where(kinds == "median", median, jnp.where(kinds == "last", last, index))


