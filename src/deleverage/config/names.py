"""Labels of a config and their numbers: markets, index entries, pairs."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator

from deleverage.config.books import HedgedBook
from deleverage.config.models import Config
from deleverage.config.order_books import OrderBook, ProfileImpact, order_book
from deleverage.config.scenario import Numeraire


class Names:
    """What stands where: assets, venues, markets and index entries by label.

    Args:
        config: The config.
        published: Index entries (venue, asset) to publish though nothing in the scenario needs
            them, which another scenario of the run does.

    Raises:
        ConfigError: a market's label, depth or quote is not allowed.
    """

    def __init__(self, config: Config, published: Iterable[tuple[str, str]] = ()):
        scenario = config.scenario
        self.config = config
        self.assets = {name: number for number, name in enumerate(scenario.assets)}
        self.venues = {name: number for number, name in enumerate(scenario.venues)}
        self.numeraire = next(n for n, a in scenario.assets.items() if isinstance(a, Numeraire))
        self.markets = {label: number for number, label in enumerate(scenario.markets)}
        self.parts: dict[str, tuple[str, str, str]] = {}
        for label in scenario.markets:
            self.parts[label] = self._split(label)
        self.order_books = {label: self._order_book(label) for label in scenario.markets}
        self.depths = {label: book.nominal for label, book in self.order_books.items()}
        self.indices: dict[tuple[str, str], int] = {
            entry: number for number, entry in enumerate(self._entries(set(published)))
        }

    def _split(self, label: str) -> tuple[str, str, str]:
        key = ("scenario", "markets", label)
        venue, _, rest = label.partition("/")
        pair, _, kind = rest.partition("/")
        asset, _, quote = pair.partition("-")
        fits = venue in self.venues and kind in ("spot", "perp") and not (quote and kind == "perp")
        if not fits or asset not in self.assets or asset == self.numeraire:
            parts = [*self.venues, *(a for a in self.assets if a != self.numeraire), "spot", "perp"]
            wrong = [p for p in (venue, asset, kind) if p not in parts]
            near = difflib.get_close_matches(wrong[0], parts, n=1) if wrong else []
            self.config.source.refuse(
                key,
                f"the market '{label}'" + (f" ('{wrong[0]}' is unknown)" if wrong else ""),
                "VENUE/ASSET/spot, VENUE/ASSET-QUOTE/spot or VENUE/ASSET/perp of the scenario's "
                "venues and assets",
                f"did you mean '{near[0]}'?" if near else "mend the label",
            )
        if quote and f"{venue}/{quote}/spot" not in self.config.scenario.markets:
            self.config.source.refuse(
                key,
                f"the quote asset '{quote}' has no spot book in USD on '{venue}'",
                "cross pairs whose quote asset is traded there",
                f"add the market {venue}/{quote}/spot",
            )
        return venue, pair, kind

    def _order_book(self, label: str) -> OrderBook:
        spec = self.config.scenario.markets[label]
        measured = isinstance(spec.impact, ProfileImpact)
        if not measured and (spec.depth is None) == (spec.depth_1pct is None):
            self.config.source.refuse(
                ("scenario", "markets", label),
                "neither or both of depth and depth_1pct",
                "exactly one of them",
                "give the depth once",
            )
        return order_book(spec)

    def _entries(self, wanted: set[tuple[str, str]]) -> Iterator[tuple[str, str]]:
        """Index entries: underlyings of perps, collateral of books, and what venues name."""
        scenario = self.config.scenario
        for venue, pair, kind in self.parts.values():
            if kind == "perp":
                wanted.add((venue, pair))
        for book in scenario.books.values():
            if isinstance(book, HedgedBook):
                wanted.add((book.venue, book.asset))
            else:
                wanted.update((book.venue, asset) for asset in book.collateral or {})
        for venue, spec in scenario.venues.items():
            wanted.update((venue, asset) for asset in spec.index)
        for venue in self.venues:
            for asset in self.assets:
                if (venue, asset) in wanted and asset != self.numeraire:
                    yield venue, asset

    def own_pairs(self, venue: str, asset: str) -> list[str]:
        """Pairs (`WBETH`, `WBETH-ETH`) of an asset's spot books on a venue."""
        return [
            pair
            for place, pair, kind in self.parts.values()
            if place == venue and kind == "spot" and pair.partition("-")[0] == asset
        ]

    def own_books(self, venue: str, asset: str) -> list[str]:
        """Labels of an asset's spot books on a venue, in any quote."""
        return [f"{venue}/{pair}/spot" for pair in self.own_pairs(venue, asset)]

    def usd_books_elsewhere(self, venue: str, asset: str) -> list[str]:
        """Labels of an asset's USD spot books on the other venues."""
        labels = (f"{other}/{asset}/spot" for other in self.venues if other != venue)
        return [label for label in labels if label in self.markets]
