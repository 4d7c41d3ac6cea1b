"""Whether index rules weigh what is there, to a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deleverage.config.base import EVERYWHERE
from deleverage.config.rules import PRODUCTS, IndexRule, IndexTerms
from deleverage.config.scenario import Pegged
from deleverage.config.source import Key

if TYPE_CHECKING:
    from deleverage.config.checks import Checker


def check_index_rule(
    checker: Checker, rule: IndexRule, asset: str, venue: str | None, key: Key
) -> None:
    """Check the terms of all products, and of each that differs."""
    _index(checker, rule, asset, venue, key)
    for product in PRODUCTS:
        terms = getattr(rule, product)
        if terms is None:
            continue
        uses = (
            products
            for (place, of), products in checker.names.uses.items()
            if of == asset and venue in (None, place)
        )
        if not any(product in products for products in uses):
            checker.refuse(
                (*key, product),
                f"an index of '{asset}' for {product}, which nothing there goes by",
                "futures for perps and what margins them, loans for what is borrowed against",
                "remove it, or add such a book",
            )
        _index(checker, terms, asset, venue, (*key, product))


def _index(checker: Checker, rule: IndexTerms, asset: str, venue: str | None, key: Key) -> None:
    pegged = isinstance(checker.scenario.assets[asset], Pegged)
    if (rule.redemption or rule.floor or rule.hard_anchor) and not pegged:
        checker.refuse(
            key,
            f"a redemption price for '{asset}', which has no issuer",
            "redemption, floor and hard_anchor for pegged assets",
            "remove it or make the asset pegged",
        )
    venues = [venue] if venue else list(checker.scenario.venues)
    pairs = {pair for place in venues for pair in checker.names.own_pairs(place, asset)}
    for pair in rule.own or {}:
        if pair != EVERYWHERE:
            checker.known(pair, sorted(pairs), (*key, "own", pair), "pair")
    own = None if rule.own is None else sum(rule.own.values())
    for name in rule.from_ or {}:
        place, _, pair = name.partition("/")
        checker.venue(place, (*key, "from", name))
        there = checker.names.own_pairs(place, asset)
        if (pair or asset) not in there:
            checker.refuse(
                (*key, "from", name),
                f"'{place}' has no spot book of '{pair or asset}' to read",
                ", ".join(f"{place}/{one}" for one in there) or f"venues that trade {asset}",
                "name a book that exists",
            )
    _median(checker, rule, asset, key)
    read = sum((rule.from_ or {}).values())
    shares = (rule.others, rule.equal, rule.median, rule.reference, rule.redemption)
    rest = read + sum(share or 0.0 for share in shares)
    total = rest + (own or 0.0)
    if total > 1 + 1e-9 or (own is not None and abs(total - 1) > 1e-9):
        checker.refuse(
            key,
            f"weights that sum to {total:.10g}",
            "weights own + others + equal + from + median + reference + redemption that sum to 1",
            "change one of them, or leave out own, which then takes the rest",
        )
    if own == 0 and total == 0:  # pragma: no cover - the sum above refuses it
        raise AssertionError


def _median(checker: Checker, rule: IndexTerms, asset: str, key: Key) -> None:
    """Refuse a median of books that are not there; an exchange that lists none has no say."""
    if rule.median_of is None:
        return
    venues = checker.scenario.venues
    known = [*venues, *(name for venue in venues.values() for name in venue.stands_for)]
    for name in rule.median_of:
        exchange, _, pair = name.partition("/")
        if exchange not in known:
            checker.refuse(
                (*key, "median_of", name),
                f"'{exchange}', which no venue is or stands for",
                ", ".join(known),
                f"name a venue, or write stands_for: [{exchange}] at the one that quotes for it",
            )
        there = checker.names.own_pairs(checker.names.venue_of(exchange), asset)
        if (pair or asset) not in there and (pair or exchange in venues):
            checker.refuse(
                (*key, "median_of", name),
                f"'{exchange}' has no spot book of '{pair or asset}' to read",
                ", ".join(f"{exchange}/{one}" for one in there) or f"venues that trade {asset}",
                "name a book that exists",
            )
    if not checker.names.median_books(asset, rule.median_of):
        checker.refuse(
            (*key, "median_of"),
            f"a median of '{asset}' over venues of which none has a spot book of it",
            ", ".join(venue for venue in venues if asset in checker.names.own_pairs(venue, asset))
            or "assets with a spot book",
            "name a venue that trades it",
        )
