"""What the books of a scenario hold, and what a scope such as `ASSET@VENUE` names of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from deleverage.config.base import EVERYWHERE
from deleverage.config.books import HedgedBook, LoanBook
from deleverage.config.scenario import Scenario

Place = tuple[str, str]
"""A venue and an asset."""


@dataclass(frozen=True)
class Uses:
    """What the books of a scenario hold, by venue."""

    venues: frozenset[str]  # with a book
    perps: frozenset[Place]
    pledged: frozenset[Place]
    sold: frozenset[Place]  # of what is pledged, that sale kinds are for: spot legs have none
    loops: frozenset[str]  # venues with one
    promotions: bool


def uses_of(scenario: Scenario) -> Uses:
    """What the books hold; the numeraire is cash, not collateral."""
    perps, pledged, sold = set(), set(), set()
    books = list(scenario.books.values())
    for book in books:
        hedged = isinstance(book, HedgedBook)
        mix = {book.asset: 1.0} if hedged else book.collateral or {}
        held = {(book.venue, asset) for asset, share in mix.items() if share}
        held = {place for place in held if scenario.assets[place[1]].kind != "numeraire"}
        pledged |= held
        if not hedged:
            sold |= held
        if not isinstance(book, LoanBook):
            names = [book.asset] if hedged else book.perps
            perps |= {(book.venue, asset) for asset in names}
    loans = [book for book in books if isinstance(book, LoanBook)]
    return Uses(
        venues=frozenset(book.venue for book in books),
        perps=frozenset(perps),
        pledged=frozenset(pledged),
        sold=frozenset(sold),
        loops=frozenset(book.venue for book in loans if book.loop),
        promotions=any(book.promoted for book in loans),
    )


def within(scope: str, places: Iterable[Place], venue: str = "") -> bool:
    """Whether `ASSET`, `ASSET@VENUE` or everything means one of some places, of a venue."""
    asset, _, at = scope.partition("@")
    return any(
        scope == EVERYWHERE or (one == asset and at in ("", place))
        for place, one in places
        if venue in ("", place)
    )


def listed(places: Iterable[Place], none: str) -> str:
    """Places as scopes, for a sentence; `none` where there are none."""
    return ", ".join(sorted(f"{asset}@{venue}" for venue, asset in places)) or none


def spot_venues(scenario: Scenario, asset: str) -> set[str]:
    """Venues with a spot book of an asset, in any quote."""
    labels = (label.split("/") for label in scenario.markets)
    return {
        venue for venue, pair, kind in labels if kind == "spot" and pair.split("-")[0] == asset
    }
