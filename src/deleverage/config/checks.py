"""Whether the names in a config fit together: assets, venues, markets, books, policies."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import NoReturn

from deleverage.config import segregated
from deleverage.config.base import EVERYWHERE
from deleverage.config.books import BookSpec, HedgedBook, LoanBook, PerpBook, is_divisible
from deleverage.config.haircuts import check_haircuts
from deleverage.config.issuers import IssuerLever
from deleverage.config.models import Config
from deleverage.config.names import IndexKey, Names
from deleverage.config.policies import PolicySpec
from deleverage.config.replay import log_series
from deleverage.config.rules import PRODUCTS, IndexRule, IndexTerms
from deleverage.config.sales import check_sales
from deleverage.config.scenario import Numeraire, Pegged, Scenario
from deleverage.config.search import Search
from deleverage.config.source import Key
from deleverage.config.sweep import label_of
from deleverage.config.timeline import steps_between
from deleverage.config.vaults import check_vaults

SLOTS = 3
"""Perps, or collateral assets, that one book may hold."""


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
        self._scenario()
        for label, entry in self.config.entries.items():
            key = self.config.key_of(label)
            self._policy(entry, key)
            if entry.scenario.parts:
                self._override(label, (*key, "scenario"))
            elif entry.leverage.margin is not None:
                self._override(label, (*key, "leverage", "margin"))
        if self.config.search is not None:
            self._search(self.config.search)
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
        self._shocks()
        self._books()

    def _override(self, label: str, key: Key) -> None:
        """An entry's own scenario: sound, and with the labels that the dataset has."""
        if label == "baseline":
            self.refuse(
                key,
                "the baseline overrides the scenario",
                "overrides in the other policies, as the baseline is the scenario",
                "change the scenario itself",
            )
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

    def scope(self, scope: str, key: Key) -> None:
        """Refuse `ASSET@VENUE` of an unknown asset or venue."""
        asset, _, venue = scope.partition("@")
        if scope != EVERYWHERE:
            self.asset(asset, key)
        if venue:
            self.venue(venue, key)

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
                        self.refuse(
                            (*key, part, asset),
                            f"'{asset}' is the numeraire",
                            "other assets, as it is cash at price 1",
                            "remove it",
                        )
            for asset, pledged in venue.collateral.items():
                if pledged.admitted is not None:
                    self.refuse(
                        (*key, "collateral", asset, "admitted"),
                        f"whether '{asset}' is admitted, at a venue that lists it",
                        "admitted in a policy, which withdraws what the venue accepts",
                        "remove it, or remove the asset from the venue's collateral",
                    )
            segregated.check_venue(self, name, (*key, "collateral"))
            for asset, rule in venue.index.items():
                self._index_rule(rule, asset, name, (*key, "index", asset))
            for scope in venue.leverage.cap or {}:
                self.scope(scope, (*key, "leverage", "cap", scope))

    def _index_rule(self, rule: IndexRule, asset: str, venue: str | None, key: Key) -> None:
        """Check the terms of all products, and of each that differs."""
        self._index(rule, asset, venue, key)
        for product in PRODUCTS:
            terms = getattr(rule, product)
            if terms is None:
                continue
            uses = (
                products
                for (place, of), products in self.names.uses.items()
                if of == asset and venue in (None, place)
            )
            if not any(product in products for products in uses):
                self.refuse(
                    (*key, product),
                    f"an index of '{asset}' for {product}, which nothing there goes by",
                    "futures for perps and what margins them, loans for what is borrowed against",
                    "remove it, or add such a book",
                )
            self._index(terms, asset, venue, (*key, product))

    def _index(self, rule: IndexTerms, asset: str, venue: str | None, key: Key) -> None:
        pegged = isinstance(self.scenario.assets[asset], Pegged)
        if (rule.redemption or rule.floor or rule.hard_anchor) and not pegged:
            self.refuse(
                key,
                f"a redemption price for '{asset}', which has no issuer",
                "redemption, floor and hard_anchor for pegged assets",
                "remove it or make the asset pegged",
            )
        venues = [venue] if venue else list(self.scenario.venues)
        pairs = {pair for place in venues for pair in self.names.own_pairs(place, asset)}
        for pair in rule.own or {}:
            if pair != EVERYWHERE:
                self.known(pair, sorted(pairs), (*key, "own", pair), "pair")
        own = None if rule.own is None else sum(rule.own.values())
        for name in rule.from_ or {}:
            place, _, pair = name.partition("/")
            self.venue(place, (*key, "from", name))
            there = self.names.own_pairs(place, asset)
            if (pair or asset) not in there:
                self.refuse(
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
            self.refuse(
                key,
                f"weights that sum to {total:.10g}",
                "weights own + others + equal + from + reference + redemption that sum to 1",
                "change one of them, or leave out own, which then takes the rest",
            )
        if own == 0 and total == 0:  # pragma: no cover - the sum above refuses it
            raise AssertionError

    def _shocks(self) -> None:
        shocks, key = self.scenario.shocks, ("scenario", "shocks")
        loaded = [("macro", shocks.macro.loadings)]
        if shocks.merton is not None:
            loaded.append(("merton", shocks.merton.loadings))
        for part, loadings in loaded:
            for asset in loadings:
                self.asset(asset, (*key, part, "loadings", asset))
                if self.scenario.assets[asset].kind != "risk":
                    self.refuse(
                        (*key, part, "loadings", asset),
                        f"'{asset}' is not a risk asset",
                        "assets of kind risk, which pegged ones follow",
                        "remove it",
                    )
        log_series(self.config, self.names)
        for part in ("outages", "halts", "glitches"):
            for number, failure in enumerate(getattr(shocks, part)):
                self.venue(failure.venue, (*key, part, number, "venue"))
        for number, glitch in enumerate(shocks.glitches):
            indices = [one.asset for one in self.names.indices if one.venue == glitch.venue]
            if not indices:
                self.refuse(
                    (*key, "glitches", number, "venue"),
                    f"'{glitch.venue}' publishes no index",
                    "a venue that does",
                    "remove the glitch or name another venue",
                )
            if glitch.asset is not None:
                self.known(glitch.asset, indices, (*key, "glitches", number, "asset"), "index")
        for number, sale in enumerate(shocks.sales):
            self.known(sale.market, self.names.markets, (*key, "sales", number, "market"), "market")
        assets = self.scenario.assets.values()
        moved = any(isinstance(a, Pegged) or getattr(a, "arbitrage", None) for a in assets)
        if shocks.congestions and not moved:
            self.refuse(
                (*key, "congestions"),
                "a congestion where nothing is redeemed or moved between venues",
                "a congestion in a scenario with a pegged asset or with arbitrage",
                "remove it, or give an asset `arbitrage`",
            )
        for number, loss in enumerate(shocks.backing):
            here: Key = (*key, "backing", number, "asset")
            self.asset(loss.asset, here)
            asset = self.scenario.assets[loss.asset]
            if not isinstance(asset, Pegged) or asset.issuer is None:
                self.refuse(
                    here,
                    f"a loss of what backs '{loss.asset}', whose issuer is not modelled",
                    "pegged assets with an `issuer`",
                    f"add scenario.assets.{loss.asset}.issuer: {{supply: ...}}",
                )

    def _books(self) -> None:
        if not self.scenario.books:
            self.refuse(("scenario", "books"), "no book came", "at least one", "add a book")
        for name, book in self.scenario.books.items():
            key: Key = ("scenario", "books", name)
            self.venue(book.venue, (*key, "venue"))
            if isinstance(book, HedgedBook):
                self._hedged(book, key)
                perps, mix = {book.asset: -1.0}, {book.asset: 1.0}
                places = {"perps": (*key, "asset"), "collateral": (*key, "asset")}
            else:
                perps = {} if isinstance(book, LoanBook) else book.perps
                mix = book.collateral or {}
                for weights, part in ((perps, "perps"), (book.collateral, "collateral")):
                    if weights == {} and part in type(book).model_fields:
                        self.refuse((*key, part), "an empty mapping", "weights", "name an asset")
                places = {"perps": (*key, "perps"), "collateral": (*key, "collateral")}
                self._sums_to_one(perps, places["perps"], "absolute weights")
                self._sums_to_one(mix, places["collateral"], "shares")
            for asset in perps:
                self.asset(asset, places["perps"])
                label = f"{book.venue}/{asset}/perp"
                self.known(label, self.names.markets, places["perps"], "market")
            for asset in mix:
                self.asset(asset, places["collateral"])
                if asset != self.names.numeraire:
                    self._accepted(asset, book.venue, places["collateral"])
            self._margin(name, book, key)
            for slots, what in (
                (perps, "perps"),
                (set(mix) - {self.names.numeraire}, "collateral assets"),
            ):
                if len(slots) > SLOTS:
                    self.refuse(key, f"{len(slots)} {what}", f"at most {SLOTS}", "split the book")

    def _margin(self, name: str, book: BookSpec, key: Key) -> None:
        """Refuse isolated margin that isolates nothing, or whose books have the names of others."""
        if not isinstance(book, PerpBook) or book.margin != "isolated":
            return
        if not is_divisible(book):
            self.refuse(
                (*key, "margin"),
                f"isolated margin of '{name}', which holds one perp",
                "it for books of several perps, as one position has its collateral alone anyway",
                "remove it",
            )
        for asset in book.positions():
            if f"{name}-{asset}" in self.scenario.books:
                self.refuse(
                    (*key, "margin"),
                    f"isolated margin of '{name}' beside a book '{name}-{asset}'",
                    "another name for that book, which the position alone is to have",
                    "rename one of the two",
                )

    def _hedged(self, book: HedgedBook, key: Key) -> None:
        if book.issuer is None:
            return
        self.asset(book.issuer, (*key, "issuer"))
        asset = self.scenario.assets[book.issuer]
        if not isinstance(asset, Pegged) or asset.issuer is None:
            self.refuse(
                (*key, "issuer"),
                f"a hedge of '{book.issuer}', whose issuer is not modelled",
                "pegged assets with an `issuer`",
                f"add scenario.assets.{book.issuer}.issuer: {{supply: ...}}",
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

    def _sums_to_one(self, weights: dict[str, float], key: Key, what: str) -> None:
        total = sum(abs(weight) for weight in weights.values())
        if weights and abs(total - 1) > 1e-9:
            self.refuse(
                key,
                f"{what} that sum to {total:.10g}",
                f"{what} that sum to 1",
                "change one of them",
            )

    def _accepted(self, asset: str, venue: str, key: Key) -> None:
        accepted = self.scenario.venues[venue].collateral
        if asset not in accepted:
            self.refuse(
                key,
                f"'{asset}' is not accepted as collateral on '{venue}'",
                ", ".join(accepted) or "the numeraire alone",
                f"add it to scenario.venues.{venue}.collateral",
            )
        if not self.names.own_pairs(venue, asset):
            self.refuse(
                key,
                f"'{asset}' has no spot book on '{venue}' to be sold on",
                "collateral with a spot book on its venue",
                f"add the market {venue}/{asset}/spot",
            )

    def _policy(self, entry: PolicySpec, key: Key) -> None:
        for scope in entry.collateral:
            self.scope(scope, (*key, "collateral", scope))
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
            self.scope(scope, (*key, "index", scope))
            asset, _, venue = scope.partition("@")
            self._index_rule(rule, asset, venue or None, (*key, "index", scope))
            venues = [venue] if venue else list(self.scenario.venues)
            if not any((name, asset) in self.names.uses for name in venues):
                self.refuse(
                    (*key, "index", scope),
                    f"no index of '{scope}' is published",
                    ", ".join(f"{asset}@{venue}" for venue, asset in self.names.uses),
                    "use one of these",
                )
        for scope in entry.leverage.cap or {}:
            self.scope(scope, (*key, "leverage", "cap", scope))
        for scope in entry.leverage.maintenance:
            here = (*key, "leverage", "maintenance", scope)
            self.scope(scope, here)
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
