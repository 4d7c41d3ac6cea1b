"""Assets, books and markets of which a key may change nothing: what it hangs on is missing."""

from __future__ import annotations

from collections.abc import Iterator

from deleverage.config.books import HedgedBook, PerpBook
from deleverage.config.quantities import MATCH
from deleverage.config.scenario import Numeraire, Pegged, Risk, Scenario
from deleverage.config.setting import Setting, Suspect, is_set, is_written
from deleverage.config.source import Key
from deleverage.config.uses import spot_venues


def idle_world(scenario: Scenario) -> Iterator[Suspect]:
    """What a scenario writes of its assets, books and markets, and what it hangs on."""
    yield from _assets(scenario)
    yield from _books(scenario)
    for label, market in scenario.markets.items():
        if is_set(market, "sensitivity"):
            yield Suspect(
                ("markets", label, "sensitivity"),
                has_liquidity_drop,
                f"a sensitivity of '{label}' to a liquidity drop that there is not",
                "it with `shocks.liquidity.highest`",
                "remove it, or write `highest`",
            )


def _assets(scenario: Scenario) -> Iterator[Suspect]:
    for name, asset in scenario.assets.items():
        key: Key = ("assets", name)
        if isinstance(asset, Risk) and is_set(asset, "market_correlation"):
            yield Suspect(
                (*key, "market_correlation"),
                lambda setting, name=name: is_written(setting.scenario.assets[name], "volatility"),
                f"a market_correlation of '{name}', which has no volatility",
                "it with a volatility",
                "remove it, or add `volatility`",
            )
        if not isinstance(asset, Numeraire) and asset.arbitrage is not None:
            yield Suspect(
                (*key, "arbitrage"),
                lambda setting, name=name: is_arbitraged(setting, name),
                f"arbitrage of '{name}', which has no spot books in USD on two venues",
                "it for what is traded on two venues",
                "remove it, or add a market",
            )
        if not isinstance(asset, Pegged):
            continue
        if asset.issuer is not None and is_set(asset.issuer, "backing"):
            yield Suspect(
                (*key, "issuer", "backing"),
                lambda setting, name=name: _may_fall_short(setting, name),
                f"a backing of '{name}' that nothing takes away",
                "it beside a `backing` shock or a hedge of the issuer's",
                "remove it, or add a shock",
            )
        if spot_venues(scenario, name):
            continue
        given: dict[Key, tuple[object, str]] = {
            ("redemption_capacity",): (asset.redemption_capacity, "a redemption_capacity of"),
            ("issuer", "run"): (asset.issuer and asset.issuer.run, "a run on"),
        }
        for field, (value, what) in given.items():
            if value is not None:
                yield Suspect(
                    (*key, *field),
                    lambda _: False,  # all policies have the same markets
                    f"{what} '{name}', which has no spot book",
                    "it for what is traded on a spot book",
                    "remove it, or add a market",
                )


def _books(scenario: Scenario) -> Iterator[Suspect]:
    for name, book in scenario.books.items():
        key: Key = ("books", name)
        if is_set(book, "top_up_budget"):
            yield Suspect(
                (*key, "top_up_budget"),
                lambda setting, venue=book.venue: is_written(
                    setting.scenario.venues[venue].top_up, "rate"
                ),
                f"a top_up_budget of '{name}' on '{book.venue}', where nobody tops up",
                "it on venues with a top_up.rate",
                f"remove it, or add `rate` to scenario.venues.{book.venue}.top_up",
            )
        if isinstance(book, PerpBook) and is_set(book, "match_share"):
            yield Suspect(
                (*key, "match_share"),
                lambda setting, name=name: _matches(setting, name),
                f"a match_share of '{name}', whose open interest is given",
                "it with `open_interest: match`",
            )


def _may_fall_short(setting: Setting, name: str) -> bool:
    """Whether what backs a pegged asset can change other than by redemptions at what it is."""
    shocked = any(loss.asset == name for loss in setting.scenario.shocks.backing)
    books = setting.scenario.books.values()
    return shocked or any(isinstance(book, HedgedBook) and book.issuer == name for book in books)


def _matches(setting: Setting, name: str) -> bool:
    book = setting.scenario.books.get(name)
    return isinstance(book, PerpBook) and book.open_interest == MATCH


def has_liquidity_drop(setting: Setting) -> bool:
    """Whether depth falls with the macro shock, or is kept from it by `{}` or a 0."""
    shocks = setting.scenario.shocks
    empty = is_written(shocks, "liquidity") and not shocks.liquidity.model_fields_set
    return empty or is_written(shocks.liquidity, "highest")


def is_arbitraged(setting: Setting, name: str) -> bool:
    """Whether an asset is moved between two venues."""
    scenario = setting.scenario
    asset = scenario.assets[name]
    if isinstance(asset, Numeraire) or asset.arbitrage is None:
        return False
    return sum(f"{venue}/{name}/spot" in scenario.markets for venue in scenario.venues) > 1
