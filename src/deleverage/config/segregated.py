"""Collateral that is segregated from perps: where that means something."""

from __future__ import annotations

from typing import Any

from deleverage.config.books import HedgedBook, LoanBook
from deleverage.config.policies import PolicySpec
from deleverage.config.rules import VALUATIONS
from deleverage.config.scenario import Scenario
from deleverage.config.source import Key


def check_venue(checker: Any, venue: str, key: Key) -> None:
    """Refuse a venue that segregates what backs no perps there.

    Args:
        checker: `checks.Checker`.
        venue: Its name.
        key: Where its collateral is written.
    """
    for asset, rule in checker.scenario.venues[venue].collateral.items():
        if rule.segregated and "perps" not in _uses(checker.scenario, venue, asset):
            _refuse(checker, f"{asset}@{venue}", (*key, asset, "segregated"))
        apart = rule.segregated and _uses(checker.scenario, venue, asset) == {"perps"}
        entries = checker.config.entries.values()
        if (
            rule.dynamic is not None
            and apart
            and all(_is_segregated(checker.scenario, entry, venue, asset) for entry in entries)
        ):
            checker.refuse(
                (*key, asset, "dynamic"),
                f"a dynamic haircut of '{asset}@{venue}', which every policy segregates from perps "
                "and which backs no loans",
                "it on collateral that backs something",
                "remove it, or write `segregated: false`",
            )


def check_policy(checker: Any, entry: PolicySpec, key: Key) -> None:
    """Refuse a policy that segregates what backs no perps, or values what then backs nothing.

    Args:
        checker: `checks.Checker`.
        entry: A policy.
        key: Where it was written.
    """
    scenario = checker.scenario
    for scope, change in entry.collateral.items():
        asset, _, venue = scope.partition("@")
        places = [venue] if venue else list(scenario.venues)
        uses = {place: found for place in places if (found := _uses(scenario, place, asset))}
        here = (*key, "collateral", scope)
        if change.segregated is not None and not any("perps" in found for found in uses.values()):
            _refuse(checker, scope, (*here, "segregated"))
        valued = [
            name for name in (*VALUATIONS, "cap", "dynamic") if getattr(change, name) is not None
        ]
        apart = [
            found == {"perps"} and _is_segregated(scenario, entry, place, asset)
            for place, found in uses.items()
        ]
        if valued and apart and all(apart):
            checker.refuse(
                (*here, valued[0]),
                f"a {valued[0]} of '{scope}', which is segregated from perps and backs no loans",
                f"`{valued[0]}` of collateral that backs something",
                "remove it, or write `segregated: false`",
            )


def _refuse(checker: Any, scope: str, key: Key) -> None:
    pledged = {
        f"{asset}@{venue}"
        for venue, spec in checker.scenario.venues.items()
        for asset in spec.collateral
        if "perps" in _uses(checker.scenario, venue, asset)
    }
    checker.refuse(
        key,
        f"segregated margin of '{scope}', which backs no perps",
        ", ".join(sorted(pledged)) or "collateral of books with perps, which are none here",
        "remove it, as loans have only what they are backed by",
    )


def _uses(scenario: Scenario, venue: str, asset: str) -> set[str]:
    """What an asset backs on a venue: `perps`, `loans`."""
    found = set()
    for book in scenario.books.values():
        mix = {book.asset: 1.0} if isinstance(book, HedgedBook) else book.collateral or {}
        if book.venue == venue and mix.get(asset):
            found.add("loans" if isinstance(book, LoanBook) else "perps")
    return found


def _is_segregated(scenario: Scenario, entry: PolicySpec, venue: str, asset: str) -> bool:
    given = scenario.venues[venue].collateral[asset].segregated
    for scope in (asset, f"{asset}@{venue}"):
        change = entry.collateral.get(scope)
        if change is not None and change.segregated is not None:
            given = change.segregated
    return bool(given)
