"""The rules in force under a policy: the scenario's, with the policy's levers laid over them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

from deleverage.config.base import EVERYWHERE, lookup
from deleverage.config.issuers import Redemptions, redemptions
from deleverage.config.leverage import loop_cap, perp_cap
from deleverage.config.models import Config
from deleverage.config.names import IndexKey, Names
from deleverage.config.policies import PolicySpec
from deleverage.config.quantities import NEVER
from deleverage.config.rules import (
    PRODUCTS,
    VALUATIONS,
    WEIGHTS,
    CollateralRule,
    DynamicHaircut,
    IndexRule,
    IndexTerms,
    LiquidationRule,
    MaintenanceTable,
    MaintenanceTiers,
    Mark,
)
from deleverage.config.sales import Sale, liquidation_under, sales_under
from deleverage.config.scenario import Pegged
from deleverage.config.vaults import Vault, vault_under

Lines = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Credit:
    """What collateral counts for: ratios by size per account, and a cap of the venue."""

    tiers: Lines  # (usd_from, ratio)
    cap: float  # USD; 1e30: none
    admitted: bool = True
    segregated: bool = False  # from perps
    dynamic: DynamicHaircut | None = None


@dataclass(frozen=True)
class IndexWeights:
    """One index, resolved: weights that sum to 1, and what is done to their sum."""

    own: Mapping[str, float]  # by own pair
    others: float
    read: Mapping[str, float]  # by label of a spot book of any venue
    median: float
    median_of: Mapping[str, float]  # shares by label of a spot book of any venue
    reference: float
    redemption: float
    floor: float
    clamp: float
    component_clamp: float
    smoothing: float  # half-life, minutes; 0: none
    move_limit: float  # per minute; 1e30: none
    delay: int  # steps

    @property
    def from_books(self) -> float:
        """Weight of single books, whose prices may be far from the reference."""
        return sum(self.own.values()) + self.others + sum(self.read.values())


@dataclass(frozen=True)
class Rules:
    """All rules of one policy."""

    credit: Mapping[tuple[str, str], Credit]  # (venue, asset)
    index: Mapping[IndexKey, IndexWeights]
    mark: Mapping[str, Mark]  # by venue
    maintenance: Mapping[tuple[str, str], Lines]  # (venue, asset of a perp)
    leverage_cap: Mapping[tuple[str, str], float]  # (venue, asset of a perp)
    loop_cap: Mapping[str, float]
    liquidation: Mapping[str, LiquidationRule]
    sales: Mapping[tuple[str, str], Sale]  # (venue, asset) of what is accepted as collateral
    fund: Mapping[str, float]  # USD
    adl: Mapping[str, bool | str]  # False, or against which winners
    vault: Mapping[str, Vault]
    redemptions: Mapping[str, Redemptions]  # by pegged asset
    hedges: Mapping[str, Mapping[str, float]]  # shares by venue of an issuer's shorts, if set
    uptake: float
    rescales: bool
    upward: bool
    migrates: float  # share of what is forgone


def resolve(config: Config, names: Names, entry: PolicySpec) -> Rules:
    """The rules in force under an entry of the policy axis."""
    venues = config.scenario.venues
    perps = [(v, pair) for v, pair, kind in names.parts.values() if kind == "perp"]
    return Rules(
        credit={
            (venue, asset): _credit(rule, entry, names, venue, asset)
            for venue, spec in venues.items()
            for asset, rule in spec.collateral.items()
        },
        index={
            key: index_under(names, venues[key.venue].index.get(key.asset, IndexRule()), entry, key)
            for key in names.indices
        },
        mark={name: mark_under(entry, spec.mark, name) for name, spec in venues.items()},
        maintenance={
            (venue, asset): tiers
            for venue, asset in perps
            if (tiers := _maintenance(venues[venue].maintenance, entry, venue, asset)) is not None
        },
        leverage_cap={place: perp_cap(config, entry, place) for place in perps},
        loop_cap={name: loop_cap(config, entry, name) for name in venues},
        liquidation={
            name: liquidation_under(entry, spec.liquidation, name) for name, spec in venues.items()
        },
        sales=sales_under(config, entry),
        fund={
            name: _given(entry.backstop, name, "fund", spec.backstop.fund or 0.0)
            for name, spec in venues.items()
        },
        adl={
            name: _given(entry.backstop, name, "adl", spec.backstop.adl or False)
            for name, spec in venues.items()
        },
        vault={
            name: vault_under(
                spec.backstop.vault,
                entry.backstop[name].vault if name in entry.backstop else None,
            )
            for name, spec in venues.items()
        },
        redemptions={
            name: redemptions(asset.issuer, asset.redemption_capacity, entry.issuer.get(name))
            for name, asset in config.scenario.assets.items()
            if isinstance(asset, Pegged)
        },
        hedges={
            name: lever.hedge for name, lever in entry.issuer.items() if lever.hedge is not None
        },
        uptake=entry.marketing.uptake,
        rescales=entry.participation.kind != "hold",
        upward=entry.participation.upward,
        migrates=entry.participation.share or 0.0,
    )


def mark_under(entry: PolicySpec, rule: Mark, venue: str) -> Mark:
    """A venue's mark with what a policy sets of it."""
    change = entry.mark.get(venue)
    return rule if change is None else rule.model_copy(update=change.model_dump(exclude_none=True))


def _given(levers: Mapping, venue: str, field: str, default: Any) -> Any:
    value = getattr(levers[venue], field) if venue in levers else None
    return default if value is None else value


def _maintenance(
    own: Mapping[str, MaintenanceTiers], entry: PolicySpec, venue: str, asset: str
) -> Lines | None:
    tiers = lookup(entry.leverage.maintenance, asset, venue) or own.get(asset)
    return tiers.rows if isinstance(tiers, MaintenanceTable) else tiers


def collateral_under(
    rule: CollateralRule, entry: PolicySpec, venue: str, asset: str
) -> CollateralRule:
    """A policy's haircut or tiers replace the venue's, and end parity unless it is asked for."""
    for scope in (asset, f"{asset}@{venue}"):
        change = entry.collateral.get(scope)
        if change is None:
            continue
        values = {name: getattr(change, name) for name in change.model_fields_set}
        if any(values.get(name) is not None for name in VALUATIONS):
            values = dict.fromkeys((*VALUATIONS, "schedule")) | {"parity": False} | values
        rule = rule.model_copy(update=values)
    return rule


def _credit(
    given: CollateralRule, entry: PolicySpec, names: Names, venue: str, asset: str
) -> Credit:
    """What collateral counts for under a policy."""
    rule = collateral_under(given, entry, venue, asset)
    tiers: Lines = ((0.0, 1.0),) if rule.parity else rule.lines
    if rule.admitted is False:
        return Credit(((0.0, 0.0),), NEVER, admitted=False, segregated=bool(rule.segregated))
    cap = NEVER
    if rule.cap is not None and rule.cap.usd is not None:
        cap = rule.cap.usd
    elif rule.cap is not None:
        within = sum(names.depths[label] for label in names.own_books(venue, asset)) * 0.01
        cap = (rule.cap.depth_multiple or 0.0) * within
    return Credit(tiers, cap, segregated=bool(rule.segregated), dynamic=rule.dynamic)


def _overlaid(rule: IndexTerms, change: IndexTerms) -> IndexTerms:
    """A change that sets any weight replaces them all; where `own` is missing it takes the rest."""
    values = {name: getattr(change, name) for name in change.model_fields_set - set(PRODUCTS)}
    if any(values.get(name) is not None for name in WEIGHTS):
        values = dict.fromkeys(WEIGHTS) | {"hard_anchor": False} | values
    return rule.model_copy(update=values)


def index_terms(
    given: IndexRule, entry: PolicySpec, key: IndexKey
) -> tuple[IndexTerms, IndexTerms]:
    """The venue's rule with its product's over it, and with the policy's over both."""
    venue, asset, product = key
    before = reduce(_overlaid, given.layers(product))
    rule = before
    for scope in (asset, f"{asset}@{venue}"):
        change = entry.index.get(scope)
        if change is not None:
            rule = reduce(_overlaid, [rule, *change.layers(product)])
    return before, rule


def index_under(
    names: Names, given: IndexRule, entry: PolicySpec, key: IndexKey
) -> IndexWeights:
    """An index under a policy, with the books that there are."""
    venue, asset, _ = key
    before, rule = index_terms(given, entry, key)
    references = names.usd_books_elsewhere(venue, asset)
    pairs = names.own_pairs(venue, asset)
    move_limit, delay = rule.move_limit or NEVER, _delay_steps(names, rule, venue, asset)
    if rule.hard_anchor:
        return IndexWeights(
            {}, 0.0, {}, 0.0, {}, 0.0, 1.0, 0.0, NEVER, NEVER, 0.0, move_limit, delay
        )
    others, reference = rule.others or 0.0, rule.reference or 0.0
    redemption, median = rule.redemption or 0.0, rule.median or 0.0
    read = {names.read_book(asset, name): share for name, share in (rule.from_ or {}).items()}
    everywhere = [at for at in (f"{venue}/{asset}/spot", *references) if at in names.markets]
    for label in everywhere if rule.equal else ():
        read[label] = read.get(label, 0.0) + (rule.equal or 0.0) / len(everywhere)
    rest = 1.0 - others - sum(read.values()) - median - reference - redemption
    own = sum(rule.own.values()) if rule.own is not None else rest
    if all(getattr(rule, name) is None for name in WEIGHTS) and references:
        own, reference = 0.0, 1.0  # by default the reference, where there is one
    if not references:
        # A lone venue has no reference: that weight passes to its own book.
        own, reference, others = own + reference + others, 0.0, 0.0
    if own > 1e-12 and not pairs:
        names.config.source.refuse(
            ("scenario", "venues", venue, "index", asset),
            f"the index of '{asset}' on '{venue}' rests {own:.4g} on own books, which are none",
            "weights on prices that exist",
            "add a spot market of it there, or put the weight on reference",
        )
    shares = _own_shares(names, rule, before, venue, asset)
    return IndexWeights(
        own={pair: own * share for pair, share in shares.items()} if own > 1e-12 else {},
        others=others,
        read=read,
        median=median,
        median_of=names.median_books(asset, rule.median_of or {}) if median > 0 else {},
        reference=reference,
        redemption=redemption,
        floor=rule.floor or 0.0,
        clamp=(rule.clamp or NEVER) if references else NEVER,
        component_clamp=(rule.component_clamp or NEVER) if references else NEVER,
        smoothing=rule.smoothing or 0.0,
        move_limit=move_limit,
        delay=delay,
    )


def _delay_steps(names: Names, rule: IndexTerms, venue: str, asset: str) -> int:
    """A delay of the redemption price in steps."""
    if not rule.delay:
        return 0
    key, time = ("scenario", "venues", venue, "index", asset, "delay"), names.config.time
    if not (rule.redemption or rule.floor or rule.hard_anchor):
        names.config.source.refuse(
            key,
            f"a delay of the redemption price of '{asset}' on '{venue}', which nothing uses",
            "delay with redemption, floor or hard_anchor",
            "remove it, or give the redemption price a weight",
        )
    steps = round(rule.delay / time.step)
    if abs(rule.delay / time.step - steps) > 1e-9 * max(1, steps) or steps > time.steps:
        names.config.source.refuse(
            key,
            f"a delay of {rule.delay:g}m in steps of {time.step:g}m",
            f"whole steps, at most the run's {time.steps}",
            "make it a multiple of time.step",
        )
    return steps


def _own_shares(
    names: Names, rule: IndexTerms, before: IndexTerms, venue: str, asset: str
) -> dict[str, float]:
    """How the own weight is split over own pairs: as given, as it was before, or by depth."""
    for given in (rule.own, before.own):
        if given is not None and EVERYWHERE not in given and sum(given.values()) > 0:
            return {pair: weight / sum(given.values()) for pair, weight in given.items()}
    shares = names.shares(names.own_books(venue, asset))
    return dict(zip(names.own_pairs(venue, asset), shares, strict=True))
