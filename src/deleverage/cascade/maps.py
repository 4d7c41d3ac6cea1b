"""Static relations: which rows of markets, index entries, assets and venues belong together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jax import Array

from deleverage.cascade.books import Facts, facts_of, padded
from deleverage.cascade.parts import Stretch, stretches
from deleverage.cascade.primitives import column_wise, contract
from deleverage.world import Layout


@dataclass(frozen=True, eq=False)
class Maps:
    """One array of rows, or of marks `[..., 1, 1]`, per relation of a `Layout`."""

    assets: int
    venues: int
    market_asset: np.ndarray  # [M] row of each market's asset
    market_venue: np.ndarray  # [M]
    quote: np.ndarray  # [M] the market that turns a cross pair into USD; M for the others
    is_perp: np.ndarray  # [M, 1, 1] bool
    index_asset: np.ndarray  # [I]
    index_venue: np.ndarray  # [I]
    source: np.ndarray  # [S, I] markets, padded with 0 (the weights there are 0)
    reference: np.ndarray  # [N, I] markets, padded with 0
    reference_share: np.ndarray  # [N, I, 1, 1], 0 where padded
    has_reference: np.ndarray  # [I, 1, 1] bool
    index_pegged: np.ndarray  # [I, 1, 1] bool
    perp_underlying: np.ndarray  # [M] index entry, 0 for spot
    peg_asset: np.ndarray  # [pegs]
    peg_market: np.ndarray  # [pegs]
    root_books: np.ndarray  # rows of markets of impact kind `sqrt`
    profile_books: np.ndarray  # of kind `profile`
    any_spread: bool  # collateral that is sold on other venues
    any_off_book: bool  # collateral that is sold, but on no order book
    facts: Facts
    pledges: np.ndarray  # [B] bool: books with collateral
    stretches: tuple[Stretch, ...]


@lru_cache(maxsize=32)
def maps_of(layout: Layout) -> Maps:
    """Build the relations of a layout (cached: a layout is hashable)."""
    markets, indices = layout.markets, layout.indices
    references = padded([i.references for i in indices])
    sales = {kind for book in layout.books for kind in book.sales}
    shares = padded([i.reference_shares for i in indices], float)
    return Maps(
        assets=len(layout.assets),
        venues=len(layout.venues),
        market_asset=_places(m.asset for m in markets),
        market_venue=_places(m.venue for m in markets),
        quote=_places(len(markets) if m.quote < 0 else m.quote for m in markets),
        is_perp=column_wise(np.array([m.is_perp for m in markets])),
        index_asset=_places(i.asset for i in indices),
        index_venue=_places(i.venue for i in indices),
        source=padded([i.sources for i in indices]),
        reference=references,
        reference_share=column_wise(shares),
        has_reference=column_wise(np.array([bool(i.references) for i in indices])),
        index_pegged=column_wise(np.array([i.asset in layout.pegged for i in indices])),
        perp_underlying=_places(max(entry, 0) for entry in layout.perp_index),
        peg_asset=_places(asset for _, asset in layout.pegs),
        peg_market=_places(layout.peg_markets),
        root_books=_places(n for n, m in enumerate(markets) if m.impact == "sqrt"),
        profile_books=_places(n for n, m in enumerate(markets) if m.impact == "profile"),
        any_spread="spread" in sales,
        any_off_book=bool({"redeem", "backstop"} & sales),
        facts=facts_of(layout),
        pledges=np.array([bool(book.collateral) for book in layout.books]),
        stretches=tuple(stretches(layout)),
    )


def one_hot(places: np.ndarray, width: int) -> np.ndarray:
    """Rows with a 1 in the given column, `[...] -> [..., width]`."""
    return np.eye(width)[places]


def by_venue(maps: Maps, rows: Array) -> Array:
    """Sums over a venue's markets, `[market, column] -> [venue, column]`."""
    return contract(one_hot(maps.market_venue, maps.venues).T, rows)


def pegged_spot(layout: Layout, maps: Maps) -> np.ndarray:
    """Spot books of each pegged asset, 0 or 1, `[pegged, market]`."""
    spot = ~maps.is_perp[:, 0, 0]
    return (spot & (maps.market_asset == np.array(layout.pegged)[:, None])).astype(np.float64)


def _places(rows: Iterable[int]) -> np.ndarray:
    """Rows to choose: 32 bits, whether or not floats have 64."""
    return np.array(list(rows), np.int32)
