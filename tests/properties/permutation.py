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
        spread_sales=tuple(
            tuple((market[m], share) for m, share in layout.spread_sales[i])
            for i in (order.entries if layout.spread_sales else ())
        ),
    )


# Axes of the leaves of a policy and of exogenous series, counted from the end; None: in no order
BY_PART = {
    "books": (-3, "books"),
    "margin": (-3, "books"),
    "baseline_margin": (-3, "books"),
    "top_up": (-3, "books"),
    "liquidation": (-3, "books"),
    "index": (-2, "entries"),
    "breakers": (-2, "entries"),
    "haircuts": (-2, "entries"),
    "sales": (-2, "entries"),
    "kept_apart": (-2, "entries"),
    "impact": (-2, "markets"),
    "thinning": (-2, "markets"),
    "backstop": (-2, "venues"),
    "vault": (-2, "venues"),
    "healing": None,
    "issuer": None,  # pegged assets stay in their order
    "reporting": None,
}
BY_FIELD = {
    ("index", "basis_smoothing"): (-2, "markets"),
    ("healing", "resilience_half_life"): (-2, "markets"),
    ("reporting", "feed_cap"): (-2, "markets"),
}
BY_SERIES = {
    "log_fundamental": (-2, "assets"),
    "gate_open": (-2, "venues"),
    "engine_open": (-2, "venues"),
    "outage_start": (-2, "venues"),
    "index_factor": (-2, "entries"),
    "sales": (-2, "markets"),
    "liquidity_drop": None,
    "capacity_left": None,
    "backing_kept": None,
    "load": None,
}


def permuted_policy(policy: Policy, order: Order) -> Policy:
    """Every leaf along the new order; a part that this file does not know is an error."""

    def moved(part: str, rules: Any) -> Any:
        leaves = {}
        for field in dataclasses.fields(rules):
            axis = BY_FIELD.get((part, field.name), BY_PART[part])
            leaf = getattr(rules, field.name)
            if axis is not None and leaf is not None:  # None: of kinds that are off
                leaves[field.name] = np.take(leaf, getattr(order, axis[1]), axis=axis[0])
        return dataclasses.replace(rules, **leaves)

    parts = {f.name: getattr(policy, f.name) for f in dataclasses.fields(policy)}
    return dataclasses.replace(
        policy, **{name: moved(name, part) for name, part in parts.items() if part is not None}
    )


def permuted_inputs(inputs: dict[str, np.ndarray], order: Order) -> dict[str, np.ndarray]:
    """Exogenous series along the new order."""
    turned = {}
    for name, values in inputs.items():
        if name == "load_venues":
            turned[name] = [order.venues.index(venue) for venue in values]
        elif BY_SERIES[name] is None:
            turned[name] = values
        else:
            axis, places = BY_SERIES[name]
            turned[name] = np.take(values, getattr(order, places), axis=axis)
    return turned
