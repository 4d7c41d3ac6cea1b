"""Stage 8: resilience and arbitrage bring prices back. MODEL.md 2.8."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from deleverage.cascade.impact import Depth
from deleverage.cascade.issuer import redemption_capacity
from deleverage.cascade.maps import Maps, one_hot, pegged_spot
from deleverage.cascade.once import once
from deleverage.cascade.primitives import (
    contract,
    half_life_decay,
    ratio_or_one,
    ratio_or_zero,
    share_served,
)
from deleverage.cascade.room import in_any, reach
from deleverage.cascade.runs import HoldersRun
from deleverage.policy import HealingRules
from deleverage.state import IssuerState
from deleverage.world import Layout

Runs = Callable[[Array], HoldersRun]


class Healed(NamedTuple):
    """Order books after stage 8, and what was traded in pegged assets."""

    displacement: Array  # [market, column]
    bought: Array | None  # units bought to be redeemed, [pegged, column]
    sold: Array | None  # units that holders sold, [market, column]
    unfilled: Array | None  # [column] bool: a book ended before arbitrage or a run did


def heal(
    layout: Layout,
    maps: Maps,
    rules: HealingRules,
    depth: Depth,
    displacement: Array,
    gate_open: Array,
    redeemed: Array | None = None,
    left: Array | None = None,
    issuer: IssuerState | None = None,
    runs: Runs | None = None,
) -> Healed:
    """Displacements after resilience, basis, cross-venue and redemption arbitrage, in this order.

    Last, holders of what is still discounted run.

    Args:
        layout: Static world.
        maps: Its relations.
        rules: Half-lives and capacities.
        depth: Of this step, at the displacement after the orders in all parts (A14).
        displacement: After the orders, `[market, column]`.
        gate_open: `[venue, column]`, 1 open.
        redeemed: Units that stage 6 has redeemed already, `[pegged, column]`; None: none.
        left: Share of redemptions and cross-venue arbitrage that congestion leaves, `[column]`;
            None: all.
        issuer: What issuers can still redeem after that; None: no end to it.
        runs: What holders sell, and what that does to books, by displacement; or None.

    Source: MODEL.md section 2.8.
    """
    minutes = layout.step
    open_here = gate_open[maps.market_venue]
    y = displacement * half_life_decay(minutes * depth.multiplier, rules.resilience_half_life)
    short: list[Array | None] = []
    if layout.basis_pairs:
        y, lacks = close_basis(layout, rules.basis_half_life, depth, y, minutes)
        short.append(lacks)
    if layout.arbitrage_groups:
        y, lacks = equalise_venues(layout, rules, depth, y, open_here, minutes, left)
        short.append(lacks)
    bought = sold = None
    if layout.pegged:
        capacity = redemption_capacity(rules, issuer, minutes, redeemed, left)
        y, bought = redeem_discount(layout, maps, capacity, depth, y, open_here)
    if runs is not None:
        y, sold, lacks = once(runs, y)
        short.append(lacks)
    return Healed(y, bought, sold, in_any(*short))


def close_basis(
    layout: Layout, half_life: Array, depth: Depth, y: Array, minutes: float
) -> tuple[Array, Array | None]:
    """Buy the cheaper and sell the dearer of a venue's spot and perp; needs no transfer.

    Returns:
        Displacements, and whether a book ended before that, `[column]` bool; None: none ends.
    """
    pairs = zip(*layout.basis_pairs, strict=True)
    spot, perp = (one_hot(np.array(places), y.shape[0]) for places in pairs)

    def units_bought(y: Array, inverse: Array) -> Array:
        gap, slope = contract(perp - spot, y), contract(perp + spot, inverse)
        return (1 - half_life_decay(minutes, half_life)) * ratio_or_zero(gap, slope)

    units = once(units_bought, y, depth.inverse)
    if depth.end is None:
        return y + depth.inverse * contract((spot - perp).T, units), None

    def within_reach(y: Array, depth: Depth, units: Array) -> tuple[Array, Array]:
        move = depth.inverse * contract((spot - perp).T, units)
        share, lacks = reach(depth, y, move)
        both = jnp.minimum(contract(spot, share), contract(perp, share))
        return y + move * contract((spot + perp).T, both), lacks

    return once(within_reach, y, depth, units)


def equalise_venues(
    layout: Layout,
    rules: HealingRules,
    depth: Depth,
    y: Array,
    open_here: Array,
    minutes: float,
    left: Array | None = None,
) -> tuple[Array, Array | None]:
    """Move spot displacements of open venues towards their depth-weighted mean.

    Returns:
        As `close_basis`.
    """
    member = _membership(layout.arbitrage_groups, y.shape[0])
    speed = 1 - half_life_decay(minutes, rules.arbitrage_half_life)

    def mean_of(y: Array, weight: Array) -> Array:
        return ratio_or_zero(contract(member, weight * y), contract(member, weight))

    def move(y: Array, rough: Array, weight: Array, speed: Array) -> Array:
        # a second mean, of what the first left: else an almost infinitely deep book's move, and
        # what it would cost, is the rounding of the first
        offset = y - contract(member.T, rough)
        mean = once(mean_of, offset, weight)
        return open_here * contract(member.T, speed) * (contract(member.T, mean) - offset)

    def funded(moves: Array, local: Array) -> Array:
        bought = contract(member, jnp.maximum(-moves, 0) * local)
        return share_served(rules.arbitrage_capital * minutes, bought)

    weight = open_here * depth.local
    moves = once(move, y, once(mean_of, y, weight), weight, speed)
    share = once(funded, moves, depth.local)
    share = share if left is None else share * left
    if depth.end is None:
        return y + contract(member.T, share) * moves, None

    def within_reach(y: Array, depth: Depth, moves: Array, share: Array) -> tuple[Array, Array]:
        moves = contract(member.T, share) * moves
        taken, lacks = reach(depth, y, moves)

        def filled(one_side: Array) -> Array:
            units = one_side * depth.local
            return ratio_or_one(contract(member, taken * units), contract(member, units))

        # the longer side is cut to the shorter: as much is bought as is sold
        sold, bought = filled(jnp.maximum(moves, 0)), filled(jnp.maximum(-moves, 0))
        cut = [ratio_or_one(jnp.minimum(sold, bought), side) for side in (sold, bought)]
        sells, buys = (contract(member.T, part) for part in cut)
        return y + moves * taken * jnp.where(moves > 0, sells, buys), lacks

    return once(within_reach, y, depth, moves, share)


def redeem_discount(
    layout: Layout,
    maps: Maps,
    capacity: Array,
    depth: Depth,
    y: Array,
    open_here: Array,
) -> tuple[Array, Array]:
    """Buy discounted pegged assets and redeem them with the issuer, never past the peg.

    Returns:
        Displacements, and the units redeemed, `[pegged, column]`.
    """
    member = pegged_spot(layout, maps)

    def serve(discount: Array, local: Array) -> tuple[Array, Array]:
        wanted = contract(member, discount * local)
        return share_served(capacity, wanted), jnp.minimum(capacity, wanted)

    discount = open_here * jnp.maximum(y, 0)
    served, redeemed = once(serve, discount, depth.local)
    return y - contract(member.T, served) * discount, redeemed


def _membership(groups: tuple[tuple[int, ...], ...], width: int) -> np.ndarray:
    member = np.zeros((len(groups), width))
    for row, group in enumerate(groups):
        member[row, list(group)] = 1
    return member
