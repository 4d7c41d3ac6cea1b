"""Whether the names in a config fit together: assets, venues, markets, books, policies."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import NoReturn

from deleverage.config import segregated
from deleverage.config.base import EVERYWHERE
from deleverage.config.books import BookSpec, HedgedBook, LoanBook
from deleverage.config.check_books import check_books
from deleverage.config.check_indices import check_index_rule
from deleverage.config.check_shocks import check_shocks
from deleverage.config.effects import check_effects
from deleverage.config.haircuts import check_haircuts
from deleverage.config.idle import check_idle, check_idle_override
from deleverage.config.issuers import IssuerLever
from deleverage.config.models import Config
from deleverage.config.names import IndexKey, Names
from deleverage.config.policies import PolicySpec
from deleverage.config.sales import check_sales
from deleverage.config.sampling import check_sampling
from deleverage.config.scenario import Numeraire, Pegged, Scenario
from deleverage.config.search import Search
from deleverage.config.source import Key
from deleverage.config.sweep import label_of
from deleverage.config.timeline import steps_between
from deleverage.config.vaults import check_vaults


def check(config: Config) -> None:
    """Refuse a config whose parts name what does not exist or do not add up.

    Raises:
        ConfigError: the first such place.
    """
    Checker(config).run()


class Checker:
    """The checks, each on one part of the config."""

    def __init__(self, config: Config):
        self.config = config
        self.scenario: Scenario = config.scenario
        self.source = config.source

    def run(self) -> None:
        """Check every part, from assets up to policies."""
        if "baseline" not in self.config.policies:
            self.refuse(
                ("policies",),
                "the policy `baseline` is missing",
                "a config with a baseline, to which the others are compared",
                "add `baseline: {}`",
            )
        for name in (self.config.name, *self.scenario.assets, *self.scenario.venues):
            if not name or set(name) & set("/@.-* \t\n") - (
                {"-", "."} if name == self.config.name else set()
            ):
                self.refuse(
                    (), f"the name '{name}'", "a name without / @ . - * or spaces", "rename"
                )
        for label in self.config.policies:
            if not label.strip() or not label.isprintable():
                came = f"a policy with the label {label!r}"
                self.refuse(("policies",), came, "labels in print", "rename it")
        if self.config.policies["baseline"].participation.model_fields_set:
            self.refuse(
                ("policies", "baseline", "participation"),
                "participation of the baseline",
                "it in other policies, whose positions answer to what differs from the baseline",
                "remove it",
            )
        self._scenario()
        for label, entry in self.config.entries.items():
            key = self.config.key_of(label)
            there = self
            if entry.scenario.parts:
                there = self._override(label, (*key, "scenario"))
            elif entry.leverage.margin is not None:
                there = self._override(label, (*key, "leverage", "margin"))
            elif entry.scenario.depth_factor is not None:  # sound, whatever the factor
                self._is_no_baseline(label, (*key, "scenario", "depth_factor"))
            # of causes that are combined one may take out what another's lever is for
            (self if self.config.is_combination(label) else there)._policy(entry, key)
            if not self.config.is_combination(label):
                check_effects(self.config.under(label), self.names, entry, key)
                if entry.scenario.parts:
                    check_idle_override(self.config.under(label), self.names, entry)
        if self.config.search is not None:
            self._search(self.config.search)
        else:
            check_idle(self.config, self.names)
        check_sampling(self.config)
        time, timeline = self.config.time, self.config.results.timeline
        if timeline is not None and steps_between(timeline, time) is None:
            self.refuse(
                ("results", "timeline", "every"),
                f"every {timeline.every:g}m in {time.steps} steps of {time.step:g}m",
                "a whole number of steps that divides the run",
                f"write {time.step:g}m, or leave it out",
            )
        if self.config.results.markets != "all":
            for number, market in enumerate(self.config.results.markets):
                self.known(market, self.names.markets, ("results", "markets", number), "market")

    def _search(self, search: Search) -> None:
        """The policies at both ends of all ranges: if they fit, so does what lies between."""
        rows = [
            {lever: span.at(end) for lever, span in search.levers.items()} for end in (0.0, 1.0)
        ]
        ends = {label_of(row): row for row in rows}
        for label in ends:
            if label in self.config.policies:
                self.refuse(("policies", label), f"the label '{label}'", "other labels", "rename")
        config = self.config
        check(config.trying(ends, config.name, config.paths, config.seed))

    def _scenario(self, published: Iterable[IndexKey] = ()) -> None:
        self._assets()
        self.names = Names(self.config, published)
        self._venues()
        check_shocks(self)
        check_books(self)

    def _override(self, label: str, key: Key) -> Checker:
        """An entry's own scenario: sound, and with the labels that the dataset has; its checker."""
        self._is_no_baseline(label, key)
        variant = Checker(self.config.under(label))
        variant._scenario(self.names.indices)
        for what in ("assets", "venues", "markets", "indices"):
            before, after = (list(getattr(one, what)) for one in (self.names, variant.names))
            if before != after:
                changed = sorted(map(str, set(before) ^ set(after)))
                self.refuse(
                    key,
                    f"an override with other {what} ({', '.join(changed) or 'in another order'})",
                    "the scenario's own, since all policies are stored side by side",
                    "give the scenario all of them, and switch off here what this policy lacks",
                )
        kinds = [
            {name: asset.kind for name, asset in one.scenario.assets.items()}
            for one in (self, variant)
        ]
        if kinds[0] != kinds[1]:
            self.refuse(
                (*key, "assets"),
                "an asset of another kind",
                "the kinds of the scenario",
                "add an asset of the other kind to the scenario",
            )
        return variant

    def _is_no_baseline(self, label: str, key: Key) -> None:
        if label == "baseline":
            self.refuse(
                key,
                "the baseline overrides the scenario",
                "overrides in the other policies, as the baseline is the scenario",
                "change the scenario itself",
            )

    def refuse(self, key: Key, came: str, allowed: str, advice: str) -> NoReturn:
        """Raise the ConfigError of a key."""
        self.source.refuse(key, came, allowed, advice)

    def known(self, name: str, names: Iterable[str], key: Key, what: str) -> None:
        """Refuse a name that is not among the known ones."""
        names = list(names)
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
            advice = f"did you mean '{near[0]}'?" if near else "use one of these"
            self.refuse(key, f"the {what} '{name}' is unknown", ", ".join(names), advice)

    def asset(self, name: str, key: Key) -> None:
        """Refuse an unknown asset."""
        self.known(name, self.scenario.assets, key, "asset")

    def venue(self, name: str, key: Key) -> None:
        """Refuse an unknown venue."""
        self.known(name, self.scenario.venues, key, "venue")

    def scope(self, scope: str, key: Key, whole: bool = True) -> None:
        """Refuse `ASSET@VENUE` of an unknown asset or venue, and all assets unless `whole`."""
        asset, at, venue = scope.partition("@")
        if scope != EVERYWHERE or not whole:
            self.asset(asset, key)
        if at:
            self.venue(venue, key)

    def _is_cash(self, asset: str, key: Key) -> NoReturn:
        allowed = "other assets, as it is cash at price 1"
        self.refuse(key, f"'{asset}' is the numeraire", allowed, "remove it")

    def _assets(self) -> None:
        counted = [n for n, asset in self.scenario.assets.items() if isinstance(asset, Numeraire)]
        if len(counted) != 1:
            self.refuse(
                ("scenario", "assets"),
                f"{len(counted)} assets of kind numeraire came",
                "exactly one",
                "add `USDT: {kind: numeraire}` or remove the others",
            )
        for name, asset in self.scenario.assets.items():
            key: Key = ("scenario", "assets", name)
            if not isinstance(asset, Pegged):
                continue
            self.asset(asset.anchor, (*key, "anchor"))
            if isinstance(self.scenario.assets[asset.anchor], Pegged):
                self.refuse(
                    (*key, "anchor"),
                    f"the anchor '{asset.anchor}' is pegged itself",
                    "a numeraire or risk asset",
                    f"anchor it to what '{asset.anchor}' is anchored to",
                )

    def _venues(self) -> None:
        for name, venue in self.scenario.venues.items():
            key: Key = ("scenario", "venues", name)
            for part in ("collateral", "maintenance", "index"):
                for asset in getattr(venue, part):
                    self.asset(asset, (*key, part, asset))
                    if asset == self.names.numeraire:
                        self._is_cash(asset, (*key, part, asset))
            for asset, pledged in venue.collateral.items():
                if pledged.admitted is not None:
                    self.refuse(
                        (*key, "collateral", asset, "admitted"),
                        f"whether '{asset}' is admitted, at a venue that lists it",
                        "admitted in a policy, which withdraws what the venue accepts",
                        "remove it, or remove the asset from the venue's collateral",
                    )
            self._exchanges(name, venue.stands_for, (*key, "stands_for"))
            segregated.check_venue(self, name, (*key, "collateral"))
            for asset, rule in venue.index.items():
                check_index_rule(self, rule, asset, name, (*key, "index", asset))
            for scope in venue.leverage.cap or {}:
                self.scope(scope, (*key, "leverage", "cap", scope))

    def _exchanges(self, name: str, exchanges: tuple[str, ...], key: Key) -> None:
        """Refuse an exchange that another venue is, or stands for too."""
        others = {
            exchange
            for venue, spec in self.scenario.venues.items()
            if venue != name
            for exchange in (venue, *spec.stands_for)
        }
        for exchange in exchanges:
            if exchange in others or exchanges.count(exchange) > 1:
                self.refuse(
                    key,
                    f"'{exchange}', which another venue is or stands for, or which stands twice",
                    "each exchange at one venue",
                    "remove it from one of them",
                )

    def _issuer(self, name: str, lever: IssuerLever, key: Key) -> None:
        self.asset(name, key)
        asset = self.scenario.assets[name]
        if not isinstance(asset, Pegged):
            self.refuse(key, f"'{name}' has no issuer", "pegged assets", "remove it")
        if lever.reserve_share is not None and asset.issuer is None:
            self.refuse(
                (*key, "reserve_share"),
                f"a reserve of '{name}', whose issuer is not modelled",
                "pegged assets with an `issuer`",
                f"add scenario.assets.{name}.issuer: {{supply: ...}}",
            )

        for venue in lever.hedge or {}:
            self.venue(venue, (*key, "hedge", venue))
            books = self.scenario.books.values()
            if not any(_hedges(book, name) and book.venue == venue for book in books):
                self.refuse(
                    (*key, "hedge", venue),
                    f"a hedge of '{name}' on '{venue}', where its issuer has no book",
                    "venues with a `hedged` book of that issuer",
                    f"add a book {{kind: hedged, venue: {venue}, issuer: {name}, ...}}",
                )

    def _policy(self, entry: PolicySpec, key: Key) -> None:
        for scope in entry.collateral:
            self.scope(scope, (*key, "collateral", scope), whole=False)
            asset, _, venue = scope.partition("@")
            venues = [venue] if venue else self.scenario.venues
            if not any(asset in self.scenario.venues[name].collateral for name in venues):
                self.refuse(
                    (*key, "collateral", scope),
                    f"'{scope}' is collateral nowhere in the scenario",
                    "assets that a venue accepts",
                    "remove it, or let a venue accept it",
                )
        segregated.check_policy(self, entry, key)
        for scope, rule in entry.index.items():
            self.scope(scope, (*key, "index", scope), whole=False)
            asset, _, venue = scope.partition("@")
            if asset == self.names.numeraire:
                self._is_cash(asset, (*key, "index", scope))
            check_index_rule(self, rule, asset, venue or None, (*key, "index", scope))
            venues = [venue] if venue else list(self.scenario.venues)
            if not any((name, asset) in self.names.uses for name in venues):
                self.refuse(
                    (*key, "index", scope),
                    f"no index of '{scope}' is published",
                    ", ".join(f"{asset}@{venue}" for venue, asset in self.names.uses),
                    "use one of these",
                )
        for venue in entry.mark:
            self.venue(venue, (*key, "mark", venue))
        for scope in entry.leverage.cap or {}:
            self.scope(scope, (*key, "leverage", "cap", scope))
        for scope in entry.leverage.maintenance:
            here = (*key, "leverage", "maintenance", scope)
            self.scope(scope, here, whole=False)
            asset, _, venue = scope.partition("@")
            perps = [(v, pair) for v, pair, kind in self.names.parts.values() if kind == "perp"]
            if not any(pair == asset and venue in ("", v) for v, pair in perps):
                self.refuse(
                    here,
                    f"maintenance of '{scope}', which no perp is written on",
                    ", ".join(sorted({f"{pair}@{v}" for v, pair in perps})),
                    "use one of these",
                )
        loops = [
            book
            for book in self.scenario.books.values()
            if isinstance(book, LoanBook) and book.loop
        ]
        if entry.leverage.repledge is not None and not loops:
            self.refuse(
                (*key, "leverage", "repledge"),
                "repledge where no book is a loop",
                "repledge in a scenario with `loop: true` books",
                "remove it",
            )
        for scope in entry.scenario.depth_factor or {}:
            self.scope(scope, (*key, "scenario", "depth_factor", scope))
        for venue in entry.liquidation.by_venue:
            self.venue(venue, (*key, "liquidation", "by_venue", venue))
        check_sales(self, entry, key)
        check_haircuts(self, entry, key)
        check_vaults(self, entry, key)
        for name, lever in entry.issuer.items():
            self._issuer(name, lever, (*key, "issuer", name))
        for venue in entry.backstop:
            self.venue(venue, (*key, "backstop", venue))
        leverage = entry.leverage
        capped = leverage.cap is not None or leverage.loop_cap is not None
        capped = capped or leverage.repledge is False
        if capped and entry.participation.kind == "hold":
            self.refuse(
                (*key, "leverage"),
                "a leverage cap with participation `hold`",
                "caps with `rescale`, as `hold` keeps every position",
                "remove one of the two",
            )


def _hedges(book: BookSpec, asset: str) -> bool:
    """Whether a book is the hedge of an asset's issuer."""
    return isinstance(book, HedgedBook) and book.issuer == asset
