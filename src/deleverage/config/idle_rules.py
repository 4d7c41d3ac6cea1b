"""Rules of venues that may change nothing: of what nobody holds there, or of a kind that is off."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from deleverage.config.base import EVERYWHERE
from deleverage.config.books import LoanBook
from deleverage.config.resolve import mark_under
from deleverage.config.rules import LiquidationRule, MarkChange
from deleverage.config.sales import liquidation_under, sales_under
from deleverage.config.scenario import Pegged, Scenario, Venue
from deleverage.config.setting import Setting, Suspect, is_set, is_written
from deleverage.config.source import Key
from deleverage.config.uses import within


def idle_rules(scenario: Scenario) -> Iterator[Suspect]:
    """What a scenario writes of its venues, and what each rule hangs on."""
    for name, venue in scenario.venues.items():
        key: Key = ("venues", name)
        yield from _of_any_book(name, venue, key)
        yield from _prices(scenario, name, venue, key)
        yield from _accounts(scenario, name, venue, key)
        yield from _liquidation(name, venue.liquidation, (*key, "liquidation"))
        if venue.backstop.adl is not None:
            yield Suspect(
                (*key, "backstop", "adl"),
                holds_perps(name),
                f"auto-deleveraging on '{name}', where nobody holds a perp",
                "it on venues where books hold perps",
            )


def holds_perps(venue: str) -> Callable[[Setting], bool]:
    """Whether a book of a venue holds a perp."""
    return lambda setting: within(EVERYWHERE, setting.uses.perps, venue)


def has_top_ups(venue: str) -> Callable[[Setting], bool]:
    """Whether owners on a venue may add cash: it has rate and warn, and one book a budget."""
    return lambda setting: has_budgets(venue)(setting) and all(
        is_written(setting.scenario.venues[venue].top_up, field) for field in ("rate", "warn")
    )


def has_budgets(venue: str) -> Callable[[Setting], bool]:
    """Whether a book of a venue has set cash aside."""
    return lambda setting: any(
        book.venue == venue and is_written(book, "top_up_budget")
        for book in setting.scenario.books.values()
    )


def _of_any_book(name: str, venue: Venue, key: Key) -> Iterator[Suspect]:
    parts = ("mark", "loan_maintenance", "leverage", "top_up", "liquidation", "backstop")
    for part in (*parts, "feed_cap"):
        if is_set(venue, part):
            yield Suspect(
                (*key, part),
                lambda setting: name in setting.uses.venues,
                f"{part} of '{name}', where no book is",
                "rules of venues with books",
                "remove it, or add a book there",
            )


def basis_without_median(mark: MarkChange, kind: str) -> tuple[str, str, str, str]:
    """The key that sets the basis of marks of a kind without one; came, allowed, what to do."""
    field = "basis_half_life" if mark.preset is None else "preset"
    return (
        field,
        f"a {field} of marks that are of kind `{kind}`",
        "it with `kind: median`",
        "remove it, or write `kind: median`",
    )


def _prices(scenario: Scenario, name: str, venue: Venue, key: Key) -> Iterator[Suspect]:
    if is_set(venue, "mark"):
        yield Suspect(
            (*key, "mark"),
            holds_perps(name),
            f"a mark on '{name}', where nobody holds a perp",
            "it on venues where books hold perps",
        )
    if is_set(venue.mark, "basis_half_life"):
        field, *sentence = basis_without_median(venue.mark, venue.mark.kind)
        yield Suspect(
            (*key, "mark", field),
            lambda setting: (
                mark_under(setting.entry, setting.scenario.venues[name].mark, name).kind
                == "median"
            ),
            *sentence,
        )
    markets = scenario.markets  # the same under all policies
    if is_set(venue, "basis_half_life"):
        yield Suspect(
            (*key, "basis_half_life"),
            lambda _: any(
                {f"{name}/{asset}/spot", f"{name}/{asset}/perp"} <= markets.keys()
                for asset in scenario.assets
            ),
            f"a basis_half_life of '{name}', where no asset has a spot and a perp book",
            "it where both are traded",
        )


def _accounts(scenario: Scenario, name: str, venue: Venue, key: Key) -> Iterator[Suspect]:
    for asset in venue.maintenance:
        if f"{name}/{asset}/perp" not in scenario.markets:  # the same under all policies
            yield Suspect(
                (*key, "maintenance", asset),
                lambda _: False,
                f"maintenance of '{asset}' on '{name}', which no perp there is written on",
                "it of underlyings of the venue's perps",
                "remove it, or add a market",
            )
    for scope in venue.leverage.cap or {}:
        yield Suspect(
            (*key, "leverage", "cap", scope),
            lambda setting, scope=scope: within(scope, setting.uses.perps, name),
            f"a leverage cap of '{scope}' on '{name}', of which nobody holds a perp there",
            "caps of perps that books hold",
        )
    if venue.leverage.loop_cap is not None:
        yield Suspect(
            (*key, "leverage", "loop_cap"),
            lambda setting: any(
                isinstance(book, LoanBook) and book.loop and book.venue == name
                for book in setting.scenario.books.values()
            ),
            f"a loop_cap on '{name}', where no book is a loop",
            "it on venues with `loop: true` books",
        )
    for field, other in (("rate", "warn"), ("warn", "rate")):
        if is_set(venue.top_up, field):
            yield Suspect(
                (*key, "top_up", field),
                lambda setting, other=other: is_written(
                    setting.scenario.venues[name].top_up, other
                ),
                f"a {field} of top-ups on '{name}' without a {other}",
                "both: below `warn` times the maintenance, above 1, owners add cash at the rate",
                f"remove it, or add `{other}`",
            )
    if is_set(venue.top_up, "rate"):
        yield Suspect(
            (*key, "top_up", "rate"),
            has_budgets(name),
            f"a rate of top-ups on '{name}', where no book has a top_up_budget",
            "it where books have a top_up_budget",
            "remove it, or add `top_up_budget` to a book",
        )


def _liquidation(name: str, rule: LiquidationRule, key: Key) -> Iterator[Suspect]:
    def rules(setting: Setting) -> LiquidationRule:
        own = setting.scenario.venues[name].liquidation
        return liquidation_under(setting.entry, own, name)

    def pledges(setting: Setting) -> bool:
        return within(EVERYWHERE, setting.uses.pledged, name)

    def is_bought(setting: Setting) -> bool:
        sales = sales_under(setting.config, setting.entry)
        return any(at == name and sale.kind == "backstop" for (at, _), sale in sales.items())

    needs: dict[str, tuple[Callable[[Setting], bool], str, str]] = {
        "target": (
            lambda setting: rules(setting).kind == "target",
            "where nothing is liquidated to a target",
            "it with `kind: target`",
        ),
        "fee": (holds_perps(name), "where nobody holds a perp", "it where books hold perps"),
        "collateral_fee": (
            pledges,
            "where nothing is pledged",
            "it where books pledge collateral",
        ),
        "pause_pegged_while_shut": (
            lambda setting: is_paused(setting, name),
            "where no pegged asset is sold, or no outage shuts the gate",
            "it where books pledge pegged assets that are not held, and shocks.outages name it",
        ),
    }
    for field in ("backstop_discount", "backstop_capacity"):
        needs[field] = (
            is_bought,
            "where nothing is sold to a backstop",
            "it with `collateral_sale: backstop`",
        )
    for field, (matters, came, allowed) in needs.items():
        if is_set(rule, field):
            yield Suspect((*key, field), matters, f"a {field} on '{name}' {came}", allowed)
    for scope in rule.collateral_sale:
        yield Suspect(
            (*key, "collateral_sale", scope),
            lambda setting, scope=scope: within(scope, setting.uses.sold, name),
            f"sales of '{scope}' on '{name}', which no book pledges there",
            "sales of what a book pledges",
        )
    for scope in rule.circuit_breaker:
        yield Suspect(
            (*key, "circuit_breaker", scope),
            lambda setting, scope=scope: within(
                scope, setting.uses.perps | setting.uses.pledged, name
            ),
            f"a circuit breaker of '{scope}' on '{name}', which no book holds there",
            "breakers of what a book holds",
        )


def is_paused(setting: Setting, name: str) -> bool:
    """Whether the venue sells something pegged, and its gate may shut."""
    sells = any(
        venue == name
        and sale.kind != "hold"
        and (venue, asset) in setting.uses.sold
        and isinstance(setting.scenario.assets[asset], Pegged)
        for (venue, asset), sale in sales_under(setting.config, setting.entry).items()
    )
    outages = setting.scenario.shocks.outages
    written = is_written(setting.scenario.shocks, "outages") and not outages
    return sells and (written or any(outage.venue == name for outage in outages))
