"""Static matrices that move rows between markets, index entries, books and venues."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from deleverage.world import Layout


@dataclass(frozen=True, eq=False)
class Block:
    """Books with the same number of perp and collateral slots: no cohort computes an empty slot."""

    books: tuple[int, ...]  # places in the layout
    perps: int  # slots a book, Jp
    collaterals: int  # Jc
    market: np.ndarray  # [Jp, B, M] the perp of a slot
    underlying: np.ndarray  # [Jp, B, I] its underlying's index entry
    collateral: np.ndarray  # [Jc, B, I]
    sale: np.ndarray  # [Jc, B, M] shares of a sale
    asset: np.ndarray  # [Jc, B, A]
    pegged: np.ndarray  # [Jc, B, 1, 1] bool
    venue: np.ndarray  # [B, V]
    hedged: np.ndarray  # [B, 1, 1] bool
    target: np.ndarray  # [B, 1, 1] bool: liquidation kind

    @property
    def is_loan(self) -> bool:
        """Whether its books hold no perps, so that collateral is what is liquidated."""
        return self.perps == 0


@dataclass(frozen=True, eq=False)
class Maps:
    """One 0/1 or share matrix per relation of a `Layout`."""

    market_asset: np.ndarray  # [M, A]
    market_venue: np.ndarray  # [M, V]
    quote: np.ndarray  # [M, M] the book that turns a cross pair into USD
    perp: np.ndarray  # [M, 1] 1 for perps
    index_asset: np.ndarray  # [I, A]
    source: np.ndarray  # [S, I, M]
    reference: np.ndarray  # [N, I, M]
    reference_share: np.ndarray  # [N, I, 1]
    has_reference: np.ndarray  # [I, 1] bool
    index_pegged: np.ndarray  # [I, 1] bool
    perp_underlying: np.ndarray  # [M, I]
    blocks: tuple[Block, ...]

    @property
    def orders_perp(self) -> list[np.ndarray]:
        """Per block `[M, Jp, B]`: perp slots back to their markets."""
        return [np.moveaxis(block.market, -1, 0) for block in self.blocks]

    @property
    def orders_collateral(self) -> list[np.ndarray]:
        """Per block `[M, Jc, B]`: collateral slots to the books they are sold on."""
        return [np.moveaxis(block.sale, -1, 0) for block in self.blocks]

    @property
    def assets_collateral(self) -> list[np.ndarray]:
        """Per block `[A, Jc, B]`: collateral slots to their assets."""
        return [np.moveaxis(block.asset, -1, 0) for block in self.blocks]

    @property
    def venue_books(self) -> list[np.ndarray]:
        """Per block `[V, B]`."""
        return [block.venue.T for block in self.blocks]

    @property
    def everybody(self) -> list[np.ndarray]:
        """Per block `[1, B]`: all cohorts into one row."""
        return [np.ones((1, len(block.books))) for block in self.blocks]

    @property
    def venue_markets(self) -> np.ndarray:
        """`[V, M]`."""
        return self.market_venue.T


@lru_cache(maxsize=32)
def maps_of(layout: Layout) -> Maps:
    """Build the matrices of a layout (cached: a layout is hashable)."""
    markets, indices = layout.markets, layout.indices
    sources = max(len(i.sources) for i in indices)
    references = max(1, max(len(i.references) for i in indices))

    source = np.zeros((sources, len(indices), len(markets)))
    reference = np.zeros((references, len(indices), len(markets)))
    share = np.zeros((references, len(indices), 1))
    for i, entry in enumerate(indices):
        for s, m in enumerate(entry.sources):
            source[s, i, m] = 1
        for n, (m, weight) in enumerate(
            zip(entry.references, entry.reference_shares, strict=True)
        ):
            reference[n, i, m] = 1
            share[n, i] = weight

    return Maps(
        market_asset=_one_hot([m.asset for m in markets], len(layout.assets)),
        market_venue=_one_hot([m.venue for m in markets], len(layout.venues)),
        quote=_one_hot([m.quote for m in markets], len(markets)),
        perp=np.array([[float(m.is_perp)] for m in markets]),
        index_asset=_one_hot([i.asset for i in indices], len(layout.assets)),
        source=source,
        reference=reference,
        reference_share=share,
        has_reference=np.array([[bool(i.references)] for i in indices]),
        index_pegged=np.array([[i.asset in layout.pegged] for i in indices]),
        perp_underlying=_one_hot(layout.perp_index, len(indices)),
        blocks=tuple(_block(layout, places) for places in _same_slots(layout)),
    )


def _same_slots(layout: Layout) -> list[tuple[int, ...]]:
    """Places of the books, grouped by their numbers of slots, in the order of first appearance."""
    groups: dict[tuple[int, int], list[int]] = {}
    for place, book in enumerate(layout.books):
        groups.setdefault((len(book.perps), len(book.collateral)), []).append(place)
    return [tuple(places) for places in groups.values()]


def _block(layout: Layout, places: tuple[int, ...]) -> Block:
    books = [layout.books[place] for place in places]
    perps, collaterals = len(books[0].perps), len(books[0].collateral)
    sale = np.zeros((collaterals, len(books), len(layout.markets)))
    for b, book in enumerate(books):
        for j, entry in enumerate(book.collateral):
            for market, share in layout.sales[entry]:
                sale[j, b, market] += share

    def slots(columns: list[list[int]], count: int, width: int) -> np.ndarray:
        rows = [_one_hot([book[j] for book in columns], width) for j in range(count)]
        return np.array(rows).reshape(count, len(books), width)

    held = [[layout.indices[i].asset for i in book.collateral] for book in books]
    underlying = [[layout.perp_index[m] for m in book.perps] for book in books]
    asset = slots(held, collaterals, len(layout.assets))
    pegged = np.array([[a in layout.pegged for a in assets] for assets in held], bool)
    return Block(
        books=places,
        perps=perps,
        collaterals=collaterals,
        market=slots([list(book.perps) for book in books], perps, len(layout.markets)),
        underlying=slots(underlying, perps, len(layout.indices)),
        collateral=slots([list(b.collateral) for b in books], collaterals, len(layout.indices)),
        sale=sale,
        asset=asset,
        pegged=pegged.reshape(len(books), collaterals).T[:, :, None, None],
        venue=_one_hot([book.venue for book in books], len(layout.venues)),
        hedged=np.array([book.hedged for book in books])[:, None, None],
        target=np.array([book.target for book in books])[:, None, None],
    )


def _one_hot(columns: list[int] | tuple[int, ...], width: int) -> np.ndarray:
    """Rows with a 1 in the given column; a negative column leaves the row zero."""
    matrix = np.zeros((len(columns), width))
    for row, column in enumerate(columns):
        if column >= 0:
            matrix[row, column] = 1
    return matrix
