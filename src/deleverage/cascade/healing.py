"""Stage 8: resilience and arbitrage bring prices back. MODEL.md 2.8."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import Array

from deleverage.cascade.impact import Depth
from deleverage.cascade.maps import Maps
from deleverage.cascade.primitives import contract, half_life_decay, ratio_or_zero
from deleverage.policy import HealingRules
from deleverage.world import Layout


def heal(
    layout: Layout,
    maps: Maps,
    rules: HealingRules,
    depth: Depth,
    displacement: Array,
    gate_open: Array,
) -> Array:
    """Displacements after resilience, basis, cross-venue and redemption arbitrage, in this order.

    Args:
        layout: Static world.
        maps: Its relations.
        rules: Half-lives and capacities.
        depth: Of this step.
        displacement: After the orders, `[market, path]`.
        gate_open: `[venue, path]`, 1 open.

    Returns:
        `[market, path]`.

    Source: MODEL.md section 2.8.
    """
    minutes = layout.step
    open_here = contract(maps.market_venue, gate_open)
    y = displacement * half_life_decay(minutes * depth.multiplier, rules.resilience_half_life)
    if layout.basis_pairs:
        y = close_basis(layout, rules.basis_half_life, depth, y, minutes)
    if layout.arbitrage_groups:
        y = equalise_venues(layout, rules, depth, y, open_here, minutes)
    if layout.pegged:
        y = redeem_discount(layout, maps, rules.redemption_capacity, depth, y, open_here, minutes)
    return y


def close_basis(
    layout: Layout, half_life: Array, depth: Depth, y: Array, minutes: float
) -> Array:
    """Buy the cheaper and sell the dearer of a venue's spot and perp; needs no transfer."""
    spot = _one_hot([pair[0] for pair in layout.basis_pairs], y.shape[0])
    perp = _one_hot([pair[1] for pair in layout.basis_pairs], y.shape[0])
    gap = contract(perp - spot, y)
    slope = contract(perp + spot, depth.inverse)
    units = (1 - half_life_decay(minutes, half_life)) * ratio_or_zero(gap, slope)
    return y + depth.inverse * contract((spot - perp).T, units)


def equalise_venues(
    layout: Layout, rules: HealingRules, depth: Depth, y: Array, open_here: Array, minutes: float
) -> Array:
    """Move spot displacements of open venues towards their depth-weighted mean."""
    member = _membership(layout.arbitrage_groups, y.shape[0])
    weight = open_here * depth.local
    joint = contract(member, weight)
    rough = ratio_or_zero(contract(member, weight * y), joint)
    # a second mean, of what the first left: else an almost infinitely deep book's move, and what
    # it would cost, is the rounding of the first
    offset = y - contract(member.T, rough)
    mean = ratio_or_zero(contract(member, weight * offset), joint)
    speed = 1 - half_life_decay(minutes, rules.arbitrage_half_life)
    move = open_here * contract(member.T, speed) * (contract(member.T, mean) - offset)
    bought = contract(member, jnp.maximum(-move, 0) * depth.local)
    funded = jnp.minimum(1, _or_one(rules.arbitrage_capital * minutes, bought))
    return y + contract(member.T, funded) * move


def redeem_discount(
    layout: Layout,
    maps: Maps,
    capacity: Array,
    depth: Depth,
    y: Array,
    open_here: Array,
    minutes: float,
) -> Array:
    """Buy discounted pegged assets and redeem them with the issuer, never past the peg."""
    spot = maps.market_asset * (1 - maps.perp)
    member = spot.T[np.array(layout.pegged)]  # [pegged, M]
    discount = open_here * jnp.maximum(y, 0)
    wanted = contract(member, discount * depth.local)
    served = jnp.minimum(1, _or_one(capacity * minutes, wanted))
    return y - contract(member.T, served) * discount


def _or_one(numerator: Array, denominator: Array) -> Array:
    return jnp.where(denominator == 0, 1, ratio_or_zero(numerator, denominator))


def _one_hot(columns: list[int], width: int) -> np.ndarray:
    return np.eye(width)[np.array(columns)]


def _membership(groups: tuple[tuple[int, ...], ...], width: int) -> np.ndarray:
    member = np.zeros((len(groups), width))
    for row, group in enumerate(groups):
        member[row, list(group)] = 1
    return member
