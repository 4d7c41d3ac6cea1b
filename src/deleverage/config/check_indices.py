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
    read = sum((rule.from_ or {}).values())
    shares = (rule.others, rule.equal, rule.reference, rule.redemption)
    rest = read + sum(share or 0.0 for share in shares)
    total = rest + (own or 0.0)
    if total > 1 + 1e-9 or (own is not None and abs(total - 1) > 1e-9):
        checker.refuse(
            key,
            f"weights that sum to {total:.10g}",
            "weights own + others + equal + from + reference + redemption that sum to 1",
            "change one of them, or leave out own, which then takes the rest",
        )
    if own == 0 and total == 0:  # pragma: no cover - the sum above refuses it
        raise AssertionError
