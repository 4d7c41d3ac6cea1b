"""Where a policy has collateral sold: order books, the issuer, backstop buyers, or nowhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deleverage.config.base import EVERYWHERE, laid_over, lookup
from deleverage.config.models import Config
from deleverage.config.policies import PolicySpec
from deleverage.config.rules import LiquidationRule
from deleverage.config.scenario import Pegged
from deleverage.config.source import Key


@dataclass(frozen=True)
class Sale:
    """What becomes of an asset on a venue when it is to be sold."""

    kind: str
    discount: float
    capacity: float  # USD per minute
    pauses: bool

    @property
    def is_plain(self) -> bool:
        """Whether it goes to order books at any time."""
        return self.kind in ("market", "spread") and not self.pauses


def liquidation_under(entry: PolicySpec, rule: LiquidationRule, venue: str) -> LiquidationRule:
    """A venue's rule with what a policy sets of it, of all venues and then of this one."""
    for change in (entry.liquidation, entry.liquidation.by_venue.get(venue)):
        if change is not None:
            fields = change.model_fields_set & set(LiquidationRule.model_fields)
            update = {name: getattr(change, name) for name in fields}
            if update.get("collateral_sale") is not None:
                sales = laid_over(rule.collateral_sale, update["collateral_sale"])
                update["collateral_sale"] = sales
            if update.get("circuit_breaker"):
                breakers = laid_over(rule.circuit_breaker, update["circuit_breaker"])
                update["circuit_breaker"] = breakers
            elif "circuit_breaker" in update:  # null or {}: none, whatever there was
                update["circuit_breaker"] = {}
            update = {name: value for name, value in update.items() if value is not None}
            rule = rule.model_copy(update=update)
    return rule


def sales_under(config: Config, entry: PolicySpec) -> dict[tuple[str, str], Sale]:
    """Every asset that a venue accepts: `redeem` for all assets means those with an issuer."""
    made = {}
    for venue, spec in config.scenario.venues.items():
        rule = liquidation_under(entry, spec.liquidation, venue)
        for asset in spec.collateral:
            pegged = isinstance(config.scenario.assets[asset], Pegged)
            kind = lookup(rule.collateral_sale, asset, venue) or "market"
            if kind == "redeem" and not pegged:
                kind = "market"
            made[venue, asset] = Sale(
                kind,
                rule.backstop_discount if kind == "backstop" else 0.0,
                rule.backstop_capacity if kind == "backstop" else 0.0,
                pegged and rule.pause_pegged_while_shut,
            )
    return made


def check_sales(checker: Any, entry: PolicySpec, key: Key) -> None:
    """Refuse sales that cannot be, and keys that change nothing.

    Args:
        checker: `checks.Checker`.
        entry: A policy.
        key: Where it was written.
    """
    scenario = checker.scenario
    rules = [(entry.liquidation, (*key, "liquidation"))]
    rules += [
        (rule, (*key, "liquidation", "by_venue", venue))
        for venue, rule in entry.liquidation.by_venue.items()
    ]
    rules += [
        (spec.liquidation, ("scenario", "venues", venue, "liquidation"))
        for venue, spec in scenario.venues.items()
    ]
    for rule, here in rules:
        for scope, kind in (rule.collateral_sale or {}).items():
            _check_scope(checker, scope, kind, (*here, "collateral_sale", scope))
        for scope in rule.circuit_breaker or {}:
            _check_breaker(checker, scope, (*here, "circuit_breaker", scope))
    sales = sales_under(checker.config, entry)
    _check_backstop(checker, sales, entry, key)
    pauses = [rule for rule, _ in rules if rule.pause_pegged_while_shut]
    if pauses and not any(sale.pauses for sale in sales.values()):
        checker.refuse(
            (*key, "liquidation", "pause_pegged_while_shut"),
            "pause_pegged_while_shut where no pegged asset is collateral",
            "it on venues that accept a pegged asset",
            "remove it",
        )


def _check_scope(checker: Any, scope: str, kind: str, key: Key) -> None:
    checker.scope(scope, key)
    asset, _, venue = scope.partition("@")
    accepted = {
        name: one
        for name, spec in checker.scenario.venues.items()
        for one in spec.collateral
        if venue in ("", name) and scope in (EVERYWHERE, one, f"{one}@{name}")
    }
    if not accepted:
        checker.refuse(
            key,
            f"sales of '{scope}', which no venue accepts as collateral",
            "assets that a venue accepts",
            "remove it, or let a venue accept it",
        )
    pegged = [
        one
        for spec in checker.scenario.venues.values()
        for one in spec.collateral
        if scope == EVERYWHERE or one == asset
        if isinstance(checker.scenario.assets[one], Pegged)
    ]
    if kind == "redeem" and not pegged:
        checker.refuse(
            key,
            "redeem for an asset without an issuer" if scope != EVERYWHERE else "redeem for none",
            "redeem for pegged assets",
            "use another kind of sale",
        )


def _check_breaker(checker: Any, scope: str, key: Key) -> None:
    checker.scope(scope, key)
    asset, _, venue = scope.partition("@")
    published = [(index.venue, index.asset) for index in checker.names.indices]
    if scope != EVERYWHERE and not any(
        one == asset and venue in ("", place) for place, one in published
    ):
        checker.refuse(
            key,
            f"a circuit breaker of '{scope}', of which no index is published",
            ", ".join(sorted({f"{one}@{place}" for place, one in published})),
            "use one of these",
        )


def _check_backstop(
    checker: Any, sales: Mapping[tuple[str, str], Sale], entry: PolicySpec, key: Key
) -> None:
    bought = [place for place, sale in sales.items() if sale.kind == "backstop"]
    for venue, asset in bought:
        if sales[venue, asset].capacity == 0:
            checker.refuse(
                (*key, "liquidation", "collateral_sale"),
                f"backstop for '{asset}' on '{venue}' without a backstop_capacity",
                "a capacity above 0, in USD per minute",
                "add `backstop_capacity: 10M`, or write `hold`",
            )
