"""Labels of a config and their numbers: markets, index entries, pairs."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from deleverage.config.books import BookSpec, HedgedBook, LoanBook
from deleverage.config.models import Config
from deleverage.config.order_books import OrderBook, ProfileImpact, order_book
from deleverage.config.rules import PRODUCTS
from deleverage.config.scenario import Numeraire


class IndexKey(NamedTuple):
    """What an index is of: for one product, or for all (``)."""

    venue: str
    asset: str
    product: str = ""

    @property
    def label(self) -> str:
        """`venue/asset`, and the product where it has an index of its own."""
        return "/".join(filter(None, self))


class Names:
    """What stands where: assets, venues, markets and index entries by label.

    Args:
        config: The config.
        published: Index entries to publish though nothing in the scenario needs
            them, which another scenario of the run does.

    Raises:
        ConfigError: a market's label, depth or quote is not allowed.
    """

    def __init__(self, config: Config, published: Iterable[IndexKey] = ()):
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
        self.uses = self._uses()
        self.indices = {
            entry: number for number, entry in enumerate(self._entries(list(published)))
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
        if quote in (self.numeraire, asset):
            what = "the numeraire" if quote == self.numeraire else "the asset itself"
            self.config.source.refuse(
                key,
                f"the market '{label}', quoted in {what}",
                "cross pairs of two assets, as a pair without a quote is in USD",
                f"write {venue}/{asset}/spot",
            )
        if quote and quote not in self.assets:
            near = difflib.get_close_matches(quote, self.assets, n=1)
            self.config.source.refuse(
                key,
                f"the quote asset '{quote}' is unknown",
                ", ".join(one for one in self.assets if one not in (asset, self.numeraire)),
                f"did you mean '{near[0]}'?" if near else "use one of these",
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
        book = order_book(spec)
        if book.distance and abs(spec.displacement) > book.distance[-1]:
            self.config.source.refuse(
                ("scenario", "markets", label, "displacement"),
                f"a start at {spec.displacement:g}, beyond the last of the book's levels",
                f"a log distance of at most {book.distance[-1]:.4g} either way",
                "begin within what was measured",
            )
        return book

    def _uses(self) -> dict[tuple[str, str], set[str]]:
        """Products that need an index of an asset on a venue; none: a venue names it alone."""
        scenario = self.config.scenario
        uses: dict[tuple[str, str], set[str]] = {
            (venue, asset): set() for venue, spec in scenario.venues.items() for asset in spec.index
        }
        for venue, pair, kind in self.parts.values():
            if kind == "perp":
                uses.setdefault((venue, pair), set()).add("futures")
        for book in scenario.books.values():
            mix = [book.asset] if isinstance(book, HedgedBook) else list(book.collateral or {})
            product = product_of(book)
            for asset in mix:
                uses.setdefault((book.venue, asset), set()).add(product)
        return uses

    def _entries(self, published: list[IndexKey]) -> Iterator[IndexKey]:
        """Index entries: underlyings of perps, collateral of books, and what venues name."""
        for venue in self.venues:
            for asset in self.assets:
                given = [key for key in published if key[:2] == (venue, asset)]
                used = self.uses.get((venue, asset))
                if asset == self.numeraire or (used is None and not given):
                    continue
                products = (used or set()) | {key.product for key in given} - {""}
                if not self._differs(venue, asset) and not any(key.product for key in given):
                    yield IndexKey(venue, asset)
                    continue
                yield from (IndexKey(venue, asset, one) for one in PRODUCTS if one in products)

    def _differs(self, venue: str, asset: str) -> bool:
        """Whether the venue's rule or any policy's is another for some product."""
        rules = [self.config.scenario.venues[venue].index.get(asset)]
        for entry in self.config.entries.values():
            rules += [entry.index.get(scope) for scope in (asset, f"{asset}@{venue}")]
        return any(rule.futures or rule.loans for rule in rules if rule is not None)

    def index_of(self, venue: str, asset: str, product: str) -> int:
        """Number of the index that a product of a venue goes by."""
        whole = IndexKey(venue, asset)
        return self.indices[whole if whole in self.indices else whole._replace(product=product)]

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

    def shares(self, labels: Sequence[str]) -> list[float]:
        """Shares of order books, by label, in the depth of all of them; they sum to 1.

        To twelve digits: books that are all deeper by one factor then have the same shares, for
        which policies that differ in it share a program. The deepest takes what rounding left.
        """
        depths = [self.depths[label] for label in labels]
        shares = [float(f"{depth / sum(depths):.12g}") for depth in depths]
        if depths:
            deepest = depths.index(max(depths))
            shares[deepest] += 1.0 - math.fsum(shares)
        return shares

    def usd_books_elsewhere(self, venue: str, asset: str) -> list[str]:
        """Labels of an asset's USD spot books on the other venues."""
        labels = (f"{other}/{asset}/spot" for other in self.venues if other != venue)
        return [label for label in labels if label in self.markets]

    def venue_of(self, exchange: str) -> str | None:
        """The venue that an exchange is, or that stands for it; None: there is none."""
        if exchange in self.venues:
            return exchange
        venues = self.config.scenario.venues.items()
        return next((name for name, spec in venues if exchange in spec.stands_for), None)

    def median_books(self, asset: str, weights: Mapping[str, float]) -> dict[str, float]:
        """Shares of the spot books, by label, in a median of those named; of those there are."""
        found: dict[str, float] = {}
        for key, weight in weights.items():
            exchange, _, pair = key.partition("/")
            label = f"{self.venue_of(exchange)}/{pair or asset}/spot"
            if label in self.markets:
                found[label] = found.get(label, 0.0) + weight
        total = sum(found.values())
        return {label: weight / total for label, weight in found.items()}

    def read_book(self, asset: str, key: str) -> str:
        """Label of the spot book that `VENUE` or `VENUE/PAIR` names in an index of an asset."""
        venue, _, pair = key.partition("/")
        return f"{venue}/{pair or asset}/spot"


def product_of(book: BookSpec) -> str:
    """Which of a venue's indices a book's collateral is valued on."""
    return "loans" if isinstance(book, LoanBook) else "futures"
