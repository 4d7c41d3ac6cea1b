"""Caps on leverage: which are in force under a policy, and levers of them that change nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn

from deleverage.config.base import EVERYWHERE, lookup
from deleverage.config.books import HedgedBook, LoanBook
from deleverage.config.models import Config
from deleverage.config.policies import PolicySpec
from deleverage.config.quantities import NEVER
from deleverage.config.source import Key
from deleverage.config.uses import Place, Uses, listed, uses_of, within


def perp_cap(config: Config, entry: PolicySpec, place: Place) -> float:
    """Most leverage in a perp, by venue and asset: the entry's cap where it has one.

    Args:
        config: With the entry's scenario.
        entry: A policy.
        place: Venue and asset.
    """
    venue, asset = place
    own = lookup(entry.leverage.cap, asset, venue)
    given = lookup(config.scenario.venues[venue].leverage.cap, asset, venue)
    return next((cap for cap in (own, given) if cap is not None), NEVER)


def loop_cap(config: Config, entry: PolicySpec, venue: str) -> float:
    """Most leverage of a loop on a venue; 1 where what was bought may not be pledged again."""
    if entry.leverage.repledge is False:
        return 1.0
    return entry.leverage.loop_cap or config.scenario.venues[venue].leverage.loop_cap or NEVER


def check_leverage(config: Config, entry: PolicySpec, key: Key) -> None:
    """Refuse caps of what nobody holds, and caps above those in force where no position grows.

    Args:
        config: With the entry's scenario.
        entry: A policy.
        key: Where it was written.

    Raises:
        ConfigError: There is one.
    """
    uses = uses_of(config.scenario)
    for scope in entry.leverage.cap or {}:
        if not within(scope, uses.perps):
            config.source.refuse(
                (*key, "leverage", "cap", scope),
                f"a leverage cap of '{scope}', of which nobody holds a perp",
                listed(uses.perps, "perps that a book holds, which are none"),
                "use one of these",
            )
    if entry.leverage.loop_cap is not None and not uses.loops:
        config.source.refuse(
            (*key, "leverage", "loop_cap"),
            "a loop_cap where no book is a loop",
            "it in a scenario with `loop: true` books",
            "remove it",
        )
    # the baseline's own caps are what its books are sized under
    if key != ("policies", "baseline") and not _may_grow(entry):
        _perps_bind(config, entry, key)
        _loops_bind(config, entry, key, uses)


def _may_grow(entry: PolicySpec) -> bool:
    """Whether positions may exceed the baseline's: asked for, and less margin may be needed."""
    parts = {"collateral", "issuer", "marketing"} & entry.model_fields_set
    return entry.participation.upward and bool(parts or entry.leverage.maintenance)


def _perps_bind(config: Config, entry: PolicySpec, key: Key) -> None:
    """Refuse caps that are higher where they count, in books of which no perp's is lower."""
    baseline = config.policies["baseline"]
    portfolios = []
    for book in config.scenario.books.values():
        if not isinstance(book, LoanBook):
            assets = [book.asset] if isinstance(book, HedgedBook) else book.perps
            portfolios.append([(book.venue, asset) for asset in assets])
    caps = {
        place: (perp_cap(config, baseline, place), perp_cap(config, entry, place))
        for portfolio in portfolios
        for place in portfolio
    }
    for scope in entry.leverage.cap or {}:
        there = {place for place in caps if _scope_of(entry.leverage.cap, place) == scope}
        around = {place for held in portfolios if there & set(held) for place in held}
        higher = [caps[place] for place in there if caps[place][1] > caps[place][0]]
        if higher and all(own >= before for before, own in (caps[place] for place in around)):
            most, own = max(higher)
            _refuse(config, (*key, "leverage", "cap", scope), f"a leverage cap of {own:g}", most)


def _scope_of(caps: Mapping[str, float] | None, place: Place) -> str | None:
    """The key that counts for a perp."""
    venue, asset = place
    scopes = (f"{asset}@{venue}", asset, EVERYWHERE)
    return next((scope for scope in scopes if scope in (caps or {})), None)


def _loops_bind(config: Config, entry: PolicySpec, key: Key, uses: Uses) -> None:
    own, baseline = entry.leverage.loop_cap, config.policies["baseline"]
    most = max((loop_cap(config, baseline, venue) for venue in uses.loops), default=NEVER)
    if own is not None and own > most:
        _refuse(config, (*key, "leverage", "loop_cap"), f"a loop_cap of {own:g}", most)


def _refuse(config: Config, key: Key, came: str, most: float) -> NoReturn:
    config.source.refuse(
        key,
        f"{came} above the {most:g} in force, which no position answers to",
        f"at most {most:g}, or more where positions grow: with `participation: {{upward: true}}` "
        "beside a lever that asks for less margin",
        "lower it",
    )
