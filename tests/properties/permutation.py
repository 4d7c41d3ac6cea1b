"""The same world with its books, assets, venues, markets and index entries listed otherwise."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np

from deleverage.policy import Policy
from deleverage.world import Layout


class Order(NamedTuple):
    """For each new place, the old one."""

    books: tuple[int, ...]
    assets: tuple[int, ...]
    venues: tuple[int, ...]
    markets: tuple[int, ...]
    entries: tuple[int, ...]


def permuted_layout(layout: Layout, order: Order) -> Layout:
    """Every list of the layout in the new order, every reference with it."""
    asset, venue, market, entry = (
        {old: new for new, old in enumerate(places)} | {-1: -1} for places in order[1:]
    )

    def all_of(table: dict[int, int], places: Any) -> tuple[int, ...]:
        return tuple(table[place] for place in places)

    indices = tuple(
        dataclasses.replace(
            layout.indices[i],
            venue=venue[layout.indices[i].venue],
            asset=asset[layout.indices[i].asset],
            sources=all_of(market, layout.indices[i].sources),
            references=all_of(market, layout.indices[i].references),
        )
        for i in order.entries
    )
    markets = tuple(
        dataclasses.replace(m, venue=venue[m.venue], asset=asset[m.asset], quote=market[m.quote])
        for m in (layout.markets[place] for place in order.markets)
    )
    books = tuple(
        dataclasses.replace(
            b,
            venue=venue[b.venue],
            perps=all_of(market, b.perps),
            collateral=all_of(entry, b.collateral),
        )
        for b in (layout.books[place] for place in order.books)
    )
    return dataclasses.replace(
        layout,
        venues=tuple(layout.venues[v] for v in order.venues),
        assets=tuple(layout.assets[a] for a in order.assets),
        pegged=all_of(asset, layout.pegged),
        markets=markets,
        indices=indices,
        books=books,
        perp_index=tuple(entry[layout.perp_index[m]] for m in order.markets),
        mark_kinds=tuple(layout.mark_kinds[m] for m in order.markets),
        sales=tuple(
            tuple((market[m], share) for m, share in layout.sales[i]) for i in order.entries
        ),
        basis_pairs=tuple(all_of(market, pair) for pair in layout.basis_pairs),
        arbitrage_groups=tuple(all_of(market, group) for group in layout.arbitrage_groups),
        pegs=tuple((venue[v], asset[a]) for v, a in layout.pegs),
        peg_markets=all_of(market, layout.peg_markets),
    )


def permuted_policy(policy: Policy, order: Order) -> Policy:
    """Every leaf along the new order."""

    def along(part: Any, **axes: tuple[int, tuple[int, ...]]) -> Any:
        moved = {
            name: np.take(getattr(part, name), places, axis=axis)
            for name, (axis, places) in axes.items()
            if getattr(part, name) is not None  # of kinds that are off
        }
        return dataclasses.replace(part, **moved)

    def each(part: Any, axis: int, places: tuple[int, ...]) -> Any:
        return along(part, **{f.name: (axis, places) for f in dataclasses.fields(part)})

    books, markets, entries = order.books, order.markets, order.entries
    return dataclasses.replace(
        policy,
        books=each(policy.books, -3, books),
        margin=each(policy.margin, -3, books),
        baseline_margin=each(policy.baseline_margin, -3, books),
        top_up=each(policy.top_up, -3, books),
        liquidation=each(policy.liquidation, -3, books),
        index=along(
            policy.index,
            **{
                field.name: (-2, markets if field.name == "basis_smoothing" else entries)
                for field in dataclasses.fields(policy.index)
            },
        ),
        impact=each(policy.impact, -2, markets),
        healing=along(policy.healing, resilience_half_life=(-2, markets)),
        backstop=each(policy.backstop, -2, order.venues),
        reporting=along(policy.reporting, feed_cap=(-2, markets)),
    )


def permuted_inputs(inputs: dict[str, np.ndarray], order: Order) -> dict[str, np.ndarray]:
    """Exogenous series along the new order."""
    return {
        **inputs,
        "log_fundamental": inputs["log_fundamental"][:, list(order.assets)],
        "gate_open": inputs["gate_open"][:, list(order.venues)],
    }
