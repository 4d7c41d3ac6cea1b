"""Levers of a policy that would change nothing in its scenario, which are refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from deleverage.config.base import EVERYWHERE, Model
from deleverage.config.idle_indices import (
    ALLOWED,
    ANCHORED,
    CLAMPS,
    IDLE,
    anchored,
    binds,
    cuts,
    is_anchored,
    terms_of,
)
from deleverage.config.idle_rules import basis_without_median, is_paused
from deleverage.config.issuers import redemptions
from deleverage.config.leverage import check_leverage
from deleverage.config.models import Config
from deleverage.config.names import IndexKey, Names
from deleverage.config.policies import PolicySpec
from deleverage.config.resolve import collateral_under, mark_under
from deleverage.config.rules import VALUATIONS, CollateralRule, LiquidationChange
from deleverage.config.sales import liquidation_under, sales_under
from deleverage.config.setting import Setting
from deleverage.config.source import Key
from deleverage.config.uses import Uses, listed, uses_of, within


def check_effects(config: Config, names: Names, entry: PolicySpec, key: Key) -> None:
    """Refuse a lever that cannot change anything, whatever its value.

    Args:
        config: With the entry's own scenario.
        names: Of the run's scenario, which has the same markets.
        entry: A policy.
        key: Where it was written.
    """
    _Effects(config, names, entry, key, uses_of(config.scenario)).check()


@dataclass(frozen=True)
class _Effects:
    """One entry in its scenario."""

    config: Config
    names: Names
    entry: PolicySpec
    key: Key
    uses: Uses

    def check(self) -> None:
        self._index()
        self._depth()
        self._marks()
        self._leverage()
        self._collateral()
        self._backstop()
        self._liquidation(self.entry.liquidation, (*self.key, "liquidation"), "")
        for venue, rule in self.entry.liquidation.by_venue.items():
            self._liquidation(rule, (*self.key, "liquidation", "by_venue", venue), venue)
        self._redemptions()
        marketing = self.entry.marketing.model_fields_set
        if "uptake" in marketing and not self.uses.promotions:
            self.refuse(
                ("marketing", "uptake"),
                "an uptake of promotions where no book is promoted",
                "it in a scenario with `promoted: true` loans",
                "remove it",
            )

    def refuse(self, key: Key, came: str, allowed: str, advice: str) -> NoReturn:
        """Raise the ConfigError of a key of the entry."""
        self.config.source.refuse((*self.key, *key), came, allowed, advice)

    def _index(self) -> None:
        setting = Setting(self.config, self.entry, self.uses)
        for scope, rule in self.entry.index.items():
            asset, _, venue = scope.partition("@")
            venues = [venue] if venue else self.config.scenario.venues
            for product, terms in terms_of(rule).items():
                self._sets_something(terms, ("index", scope, *filter(None, [product])))
                keys = [IndexKey(one, asset, product) for one in venues]
                fixed = is_anchored(self.names, setting, keys)
                for field in ANCHORED:
                    if getattr(terms, field) is not None and fixed:
                        here = ("index", scope, *filter(None, [product]), field)
                        self.refuse(here, *anchored(field, f"'{scope}'"))
                for field in CLAMPS:
                    idle = not any(cuts(self.names, setting, field, key) for key in keys)
                    if binds(terms, field) and idle:
                        here = ("index", scope, *filter(None, [product]), field)
                        self.refuse(here, f"a {field} of '{scope}', {IDLE}", ALLOWED, "remove it")

    def _depth(self) -> None:
        self._names_something(self.entry.scenario.depth_factor, ("scenario", "depth_factor"))
        markets = self.config.scenario.markets
        books = [label.split("/")[:2] for label, book in markets.items() if book.has_impact]
        places = [(venue, pair.partition("-")[0]) for venue, pair in books]
        for scope in self.entry.scenario.depth_factor or {}:
            if not within(scope, places):
                self.refuse(
                    ("scenario", "depth_factor", scope),
                    f"a factor on the depth of '{scope}', which has no order book of finite depth "
                    "there",
                    listed(places, "assets with such order books, which are none"),
                    "use one of these",
                )

    def _marks(self) -> None:
        for venue, change in self.entry.mark.items():
            self._sets_something(change, ("mark", venue))
            if not within(EVERYWHERE, self.uses.perps, venue):
                self.refuse(
                    ("mark", venue),
                    f"a mark on '{venue}', where nobody holds a perp",
                    ", ".join(sorted({place for place, _ in self.uses.perps})) or "venues of perps",
                    "remove it",
                )
            kind = mark_under(self.entry, self.config.scenario.venues[venue].mark, venue).kind
            if change.basis_half_life is not None and kind != "median":
                name, *sentence = basis_without_median(change, kind)
                self.refuse(("mark", venue, name), *sentence)

    def _leverage(self) -> None:
        self._names_something(self.entry.leverage.cap, ("leverage", "cap"))
        check_leverage(self.config, self.entry, self.key)

    def _collateral(self) -> None:
        for scope, rule in self.entry.collateral.items():
            self._sets_something(rule, ("collateral", scope))
            if not within(scope, self.uses.pledged):
                self.refuse(
                    ("collateral", scope),
                    f"a rule of '{scope}', which no book pledges there",
                    listed(self.uses.pledged, "collateral that a book holds, which is none"),
                    "remove it, or add such a book",
                )
            self._admitted(scope, rule)
            valued = [name for name in VALUATIONS if getattr(rule, name) is not None]
            if rule.parity and valued:
                self.refuse(
                    ("collateral", scope, valued[0]),
                    f"a {valued[0]} of '{scope}', which the policy treats as cash",
                    f"`{valued[0]}` or `parity: true`",
                    "remove one of the two",
                )

    def _admitted(self, scope: str, rule: CollateralRule) -> None:
        """What a key says of collateral that another key of the policy does not admit."""
        asset, _, venue = scope.partition("@")
        admits = [
            collateral_under(spec.collateral[asset], self.entry, name, asset).admitted is not False
            for name, spec in self.config.scenario.venues.items()
            if venue in ("", name) and asset in spec.collateral
        ]
        said = [name for name in type(rule).model_fields if getattr(rule, name) is not None]
        said = [name for name in said if name != "admitted"]
        if said and not any(admits):
            self.refuse(
                ("collateral", scope, said[0]),
                f"a {said[0]} of '{scope}', which the policy does not admit",
                f"`{said[0]}` of what is admitted",
                "remove one of the two, or write `admitted: true`",
            )

    def _backstop(self) -> None:
        for venue, rule in self.entry.backstop.items():
            if venue not in self.uses.venues:
                self._empty(("backstop", venue), venue)
            self._sets_something(rule, ("backstop", venue))
            if rule.adl is not None and not within(EVERYWHERE, self.uses.perps, venue):
                self.refuse(
                    ("backstop", venue, "adl"),
                    f"auto-deleveraging on '{venue}', where nobody holds a perp",
                    "it on venues where books hold perps",
                    "remove it",
                )

    def _sets_something(self, rule: Model, key: Key) -> None:
        if not rule.model_fields_set:
            self.refuse(
                key,
                "an empty mapping",
                f"one of {', '.join(f.alias or n for n, f in type(rule).model_fields.items())}",
                "set one, or remove it",
            )

    def _names_something(self, values: Mapping[str, Any] | None, key: Key) -> None:
        if values is not None and not values:
            self.refuse(
                key, "an empty mapping", "values by ASSET or ASSET@VENUE", "name one, or remove it"
            )

    def _empty(self, key: Key, venue: str) -> NoReturn:
        self.refuse(
            key,
            f"rules of '{venue}', where no book is",
            ", ".join(sorted(self.uses.venues)),
            "remove them, or add a book there",
        )

    def _liquidation(self, rule: LiquidationChange, key: Key, venue: str) -> None:
        """A policy's rules of all venues, or of one."""
        key = key[len(self.key) :]
        if venue and venue not in self.uses.venues:
            self._empty(key, venue)
        if venue:
            self._sets_something(rule, key)
        places = [one for one in self.uses.venues if venue in ("", one)]
        specs = self.config.scenario.venues
        kinds = {liquidation_under(self.entry, specs[at].liquidation, at).kind for at in places}
        sales = sales_under(self.config, self.entry)
        sales = {place: sale for place, sale in sales.items() if venue in ("", place[0])}
        bought = any(sale.kind == "backstop" for sale in sales.values())
        setting = Setting(self.config, self.entry, self.uses)
        where = f" on '{venue}'" if venue else ""
        perps = within(EVERYWHERE, self.uses.perps, venue)
        pledges = within(EVERYWHERE, self.uses.pledged, venue)
        needs: Mapping[str, tuple[bool, str, str]] = {
            "target": (
                "target" in kinds,
                f"a target{where} where nothing is liquidated to a target",
                "it with `kind: target`",
            ),
            "fee": (
                perps,
                f"a fee on perps{where}, which nobody holds",
                "it where books hold perps",
            ),
            "collateral_fee": (
                pledges,
                f"a collateral_fee{where} where nothing is pledged",
                "it where books pledge collateral",
            ),
            "backstop_discount": (
                bought,
                f"a backstop_discount{where} where nothing is sold to a backstop",
                "it with `collateral_sale: backstop`",
            ),
            "backstop_capacity": (
                bought,
                f"a backstop_capacity{where} where nothing is sold to a backstop",
                "it with `collateral_sale: backstop`",
            ),
        }
        for name, (applies, came, allowed) in needs.items():
            if getattr(rule, name) is not None and not applies:
                self.refuse((*key, name), came, allowed, "remove it")
        if rule.pause_pegged_while_shut and not any(is_paused(setting, at) for at in places):
            self.refuse(
                (*key, "pause_pegged_while_shut"),
                f"pause_pegged_while_shut{where} where no pegged asset is sold, or no outage shuts "
                "the gate",
                "it where books pledge pegged assets that are not held, and shocks.outages name it",
                "remove it",
            )
        self._names_something(rule.collateral_sale, (*key, "collateral_sale"))
        for scope in rule.collateral_sale or {}:
            if not within(scope, self.uses.sold, venue):
                self.refuse(
                    (*key, "collateral_sale", scope),
                    f"sales of {'collateral' if scope == EVERYWHERE else repr(scope)}{where}, "
                    "which no book pledges there",
                    listed(self.uses.sold, "collateral that a book holds, which is none"),
                    "remove it, or add such a book",
                )

        held = self.uses.perps | self.uses.pledged
        for scope in rule.circuit_breaker or {}:
            if not within(scope, held, venue):
                self.refuse(
                    (*key, "circuit_breaker", scope),
                    f"a circuit breaker of {scope!r}{where}, which no book holds there",
                    listed(held, "what a book holds, which is nothing"),
                    "remove it, or add such a book",
                )

    def _redemptions(self) -> None:
        """Sales to an issuer that redeems nothing would only ever wait."""
        for (venue, asset), sale in sales_under(self.config, self.entry).items():
            if sale.kind != "redeem" or (venue, asset) not in self.uses.sold:
                continue
            spec: Any = self.config.scenario.assets[asset]
            lever = self.entry.issuer.get(asset)
            if redemptions(spec.issuer, spec.redemption_capacity, lever).capacity == 0:
                here: Key = ("liquidation", "collateral_sale")
                if self.entry.liquidation.collateral_sale is None and lever is not None:
                    here = ("issuer", asset, "capacity")
                self.refuse(
                    here,
                    f"redeem for '{asset}' on '{venue}', whose issuer redeems nothing",
                    "an issuer with a capacity above 0, in USD per minute",
                    f"add `issuer: {{{asset}: {{capacity: 10M}}}}`, or write `hold`",
                )
