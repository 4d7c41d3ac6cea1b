"""Stage 6: where collateral goes: to order books, the issuer, a backstop buyer, or nowhere.

A layout whose collateral all goes to its venue's own books traces nothing of this but the routes.
MODEL.md 2.6.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array

from deleverage.cascade.books import BACKSTOP, HOLD, REDEEM, BookRules, Facts, sale_routes
from deleverage.cascade.maps import Maps
from deleverage.cascade.primitives import ratio_or_zero, to_slot, total
from deleverage.policy import SaleRules


class SaleTerms(NamedTuple):
    """What a step offers for collateral off the books, `[I, column]`."""

    redemption: Array  # what the issuer pays
    backstop: Array  # what backstop buyers pay
    capacity: Array  # USD millions that they pay at most, per minute
    gate_open: Array  # of the entry's venue, 1 open
    paused: Array  # bool: nothing is sold, as the gate is shut


def sale_terms(
    maps: Maps, rules: SaleRules | None, index_price: Array, redemption: Array, gate_open: Array
) -> SaleTerms | None:
    """Prices and gates of a step; None where all collateral goes to books at any time.

    Args:
        maps: Relations of the layout.
        rules: Discounts, capacities, pauses.
        index_price: `[I, column]`.
        redemption: What the issuer pays (the fundamental otherwise), `[asset, column]`.
        gate_open: `[venue, column]`.

    Source: MODEL.md section 2.6.
    """
    if rules is None:
        return None
    issuer, gate = redemption[maps.index_asset], gate_open[maps.index_venue]
    fair = jnp.where(maps.index_pegged, issuer, index_price)
    return SaleTerms(
        redemption=issuer,
        backstop=(1 - rules.discount) * fair,
        capacity=rules.capacity,
        gate_open=gate,
        paused=(rules.pause > 0) & (gate == 0),
    )


def with_open_routes(maps: Maps, rules: BookRules, gate_open: Array) -> BookRules:
    """Routes of this step: through shut gates, the venue's own or another's, nothing is sold.

    Shares of the books that can be reached sum to 1.
    """
    facts = rules.facts
    if facts.route_market is None or not maps.any_spread:
        return rules
    home = to_slot(gate_open, facts.venue)
    slots = []
    for markets, shares in zip(facts.route_market, facts.route_share, strict=True):
        reached = []
        for market, share in zip(markets, shares, strict=True):
            own = maps.market_venue[market] == facts.venue
            there = to_slot(gate_open, maps.market_venue[market])
            reached.append(share * jnp.where(own, 1, home * there))
        all_of_it = total(reached)
        slots.append(jnp.stack([ratio_or_zero(part, all_of_it) for part in reached]))
    return replace(rules, facts=replace(facts, route_share=jnp.stack(slots)))


def filled_sales(facts: Facts, filled: Array | None = None) -> list[list[tuple[Any, Array]]]:
    """Order books and the shares of each collateral slot's sales that they take.

    Args:
        facts: Of some books.
        filled: Share of the orders that each order book took, `[market, column]`; None: all.
    """
    if filled is None:
        return sale_routes(facts)
    slots = []
    for shares in sale_routes(facts):
        taken = [share * to_slot(filled, market) for market, share in shares]
        sold = total(taken)
        slots.append(
            [(m, ratio_or_zero(part, sold)) for (m, _), part in zip(shares, taken, strict=True)]
        )
    return slots


def offered_prices(
    facts: Facts, price: Array, terms: SaleTerms | None, filled: Array | None = None
) -> list[Array]:
    """What a sold unit of each collateral slot brings, `[book, 1, column]`.

    Args:
        facts: Of some books.
        price: Of the order books, `[market, column]`: before the trade, or the average.
        terms: Those of the other buyers.
        filled: Share of the orders that each order book took; None: all.
    """
    on_books = [
        total([to_slot(price, market) * share for market, share in shares])
        for shares in filled_sales(facts, filled)
    ]
    if terms is None:
        return on_books
    offered = []
    for here, kind, entry in zip(on_books, facts.sale_kind, facts.collateral, strict=True):
        issuer, buyer = to_slot(terms.redemption, entry), to_slot(terms.backstop, entry)
        elsewhere = jnp.where(kind == BACKSTOP, buyer, here)
        offered.append(jnp.where(kind == REDEEM, issuer, elsewhere))
    return offered


def is_sellable(
    facts: Facts, terms: SaleTerms | None, halted: Array | None = None
) -> list[Array] | None:
    """Whether each collateral slot can be sold in this step, `[book, 1, column]` bool.

    Args:
        facts: Of some books.
        terms: Prices and gates of a step; None: all can be sold at any time.
        halted: Index entries whose breaker has tripped, `[I, column]` bool; None: no breakers.
    """
    if halted is not None:
        free = [~to_slot(halted, entry) for entry in facts.collateral]
        also = is_sellable(facts, terms)
        return free if also is None else [a & b for a, b in zip(free, also, strict=True)]
    if terms is None:
        return None
    sellable = []
    for kind, entry in zip(facts.sale_kind, facts.collateral, strict=True):
        reached = (kind != REDEEM) | (to_slot(terms.gate_open, entry) > 0)
        sellable.append((kind != HOLD) & reached & ~to_slot(terms.paused, entry))
    return sellable
