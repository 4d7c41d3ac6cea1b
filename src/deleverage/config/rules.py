"""The rules of a venue: prices, margin, liquidation, backstop. A policy changes some of them."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    SerializationInfo,
    Tag,
    field_serializer,
    model_validator,
)

from deleverage.config.base import EVERYWHERE, Change, Model, Scoped
from deleverage.config.presets import (
    CREDIT_TABLES,
    MAINTENANCE_TABLES,
    credit_tiers,
    for_asset,
    maintenance_tiers,
    named,
    published_rules,
    with_preset,
)
from deleverage.config.quantities import (
    AtLeastOne,
    Band,
    Duration,
    HalfLife,
    Money,
    Positive,
    PositiveDuration,
    PositiveMoney,
    PositiveRatio,
    PositiveShare,
    Ratio,
    Share,
    Smoothing,
    choice,
    conflict,
    refusal,
)

WEIGHTS = ("own", "others", "equal", "from_", "median", "reference", "redemption")
"""Keys of an index whose shares sum to 1."""

PRODUCTS = ("futures", "loans")
"""What a venue may keep an index of its own for."""

MarkKind = Annotated[str, choice("index", "last", "median")]
LiquidationKind = Annotated[str, choice("close", "target", "targeting")]
SaleKind = Annotated[str, choice("market", "spread", "redeem", "backstop", "hold")]


class MarkChange(Change):
    """The part of a mark rule that a policy sets on a venue."""

    preset: Annotated[str, named("mark rule", published_rules("mark"))] | None = None
    kind: MarkKind | None = None
    basis_half_life: HalfLife | None = None  # of the EMA of perp minus index in a `median`

    @model_validator(mode="before")
    @classmethod
    def _from_preset(cls, given: Any) -> Any:
        return with_preset("mark", given)


class Mark(MarkChange):
    """The price that a perp's margin is computed on, with the defaults of a venue."""

    kind: MarkKind = "median"
    basis_half_life: HalfLife = 0.5


def _any_book(weights: dict[str, float]) -> dict[str, float]:
    if not weights:
        raise conflict("no book came", "weights by VENUE or VENUE/PAIR", "name the median's books")
    return weights


class IndexTerms(Model):
    """How an index price is formed. Where `own` is missing it takes what the others leave."""

    preset: Annotated[str, named("index rule", published_rules("index"))] | None = None

    own: Scoped[Share] | None = None  # one share for all own pairs, or one per pair
    others: Share | None = None  # of the other venues' USD books, by depth
    equal: Share | None = None  # of all USD books, the venue's too, by equal parts
    from_: dict[str, Share] | None = Field(None, alias="from")  # books read, VENUE or VENUE/PAIR
    median: PositiveShare | None = None  # of the median of the books that `median_of` weighs
    median_of: Annotated[dict[str, Positive], AfterValidator(_any_book)] | None = None
    reference: Share | None = None
    redemption: Share | None = None
    floor: Share | None = None  # of the redemption price
    clamp: Band | None = None  # around the reference
    component_clamp: Band | None = None  # of each book's price, around the reference
    smoothing: Smoothing | None = None
    move_limit: Band | None = None  # per minute, against the last published price
    delay: Duration | None = None  # of the redemption price as the venue sees it
    hard_anchor: bool = False  # the redemption price and nothing else

    @model_validator(mode="before")
    @classmethod
    def _from_preset(cls, given: Any) -> Any:
        together = [name.rstrip("_") for name in WEIGHTS]
        return with_preset("index", given, together, {"median": "median_of"})

    @model_validator(mode="after")
    def _one_way(self) -> IndexTerms:
        allowed = {"preset", "hard_anchor", "delay", "move_limit", *PRODUCTS}
        others = self.model_fields_set - allowed
        if self.hard_anchor and others:
            raise conflict(
                f"hard_anchor with {', '.join(sorted(others))}",
                "hard_anchor alone",
                "remove one of the two",
            )
        if (self.median is None) != (self.median_of is None):
            raise conflict(
                "one of median and median_of without the other",
                "the median's share of the index, and the weights of the books in it",
                "write {median: 100%, median_of: {VENUE: 3, VENUE: 2}}",
            )
        return self


Rows = tuple[tuple[Money, Share], ...]


class MaintenanceTable(Model):
    """A maintenance table that a venue published."""

    table: Annotated[str, choice(*MAINTENANCE_TABLES)]
    symbol: Annotated[str, named("symbol", [symbol for _, symbol in maintenance_tiers()])]

    @property
    def rows(self) -> Rows:
        """Its rows, [usd_from, rate]."""
        return maintenance_tiers()[self.table, self.symbol]


class IndexRule(IndexTerms):
    """The index of an asset, and what differs from it by product."""

    futures: IndexTerms | None = None  # perps and what is pledged for them
    loans: IndexTerms | None = None  # what is pledged for loans

    @field_serializer("futures", "loans")
    def _as_said(self, terms: IndexTerms | None, info: SerializationInfo) -> Any:
        """What differs by product, null included, which takes out what holds for all products."""
        return terms and terms.model_dump(mode=info.mode, exclude_unset=True)

    def layers(self, product: str) -> list[IndexTerms]:
        """The terms for all products, then those of one."""
        own = getattr(self, product) if product else None
        return [self] if own is None else [self, own]


def _of_assets(rules: Any) -> Any:
    if not isinstance(rules, dict):
        return rules
    return {
        scope: for_asset("index", str(scope).partition("@")[0], rule, PRODUCTS)
        for scope, rule in rules.items()
    }


IndexTable = Annotated[dict[str, IndexRule], BeforeValidator(_of_assets)]
"""Index rules by `ASSET`, or `ASSET@VENUE`."""


def _tiers(value: Any) -> Any:
    return value if isinstance(value, list | tuple | dict | Model) else [[0, value]]


def _kind_of_tiers(value: Any) -> str:
    return "table" if isinstance(value, dict | Model) else "rows"


def _from_zero(rows: tuple[tuple[float, float], ...]) -> None:
    floors = [floor for floor, _ in rows]
    if not floors or floors[0] != 0 or any(low >= high for low, high in pairwise(floors)):
        raise refusal(
            floors, "tiers whose `usd_from` starts at 0 and rises", "sort the rows and begin at 0"
        )


def _rising(rows: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
    _from_zero(rows)
    if any(low > high for (_, low), (_, high) in pairwise(rows)):
        raise refusal(
            [rate for _, rate in rows], "rates that rise with size", "order the rates of the tiers"
        )
    return rows


def _falling(rows: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
    _from_zero(rows)
    if any(low < high for (_, low), (_, high) in pairwise(rows)):
        raise refusal(
            [ratio for _, ratio in rows],
            "ratios that fall with size",
            "order the ratios of the tiers",
        )
    return rows


MaintenanceTiers = Annotated[
    Annotated[Annotated[Rows, AfterValidator(_rising)], Tag("rows")]
    | Annotated[MaintenanceTable, Tag("table")],
    Discriminator(_kind_of_tiers),
    BeforeValidator(_tiers),
]
"""One rate, rows [usd_from, rate] per account, or the table of a venue."""
CollateralTiers = Annotated[Rows, AfterValidator(_falling)]


def _cap(value: Any) -> Any:
    return value if isinstance(value, dict | Model) else {"usd": value}


class CapRule(Model):
    """A cap in USD, or as a multiple of what the venue's own books take within 1%."""

    usd: PositiveMoney | None = None
    depth_multiple: Positive | None = None

    @model_validator(mode="after")
    def _one_way(self) -> CapRule:
        if (self.usd is None) == (self.depth_multiple is None):
            raise conflict(
                "neither or both of usd and depth_multiple", "one of them", "give one size"
            )
        return self


Cap = Annotated[CapRule, BeforeValidator(_cap)]


VALUATIONS = ("haircut", "tiers", "table")
"""Ways to say what collateral counts for."""


class DynamicHaircut(Model):
    """A haircut that rises with the volatility of the index price, held between reviews."""

    review: PositiveDuration
    reference: PositiveRatio  # volatility up to which it is as written, a year of 365 days
    power: Positive = 1.0  # of volatility over the reference
    cap: PositiveShare  # that it rises to at most
    half_life: Smoothing = 10.0  # of the average of squared returns; none: the last step alone


class CollateralRule(Model):
    """What a unit of collateral counts for."""

    haircut: Share | None = None
    tiers: CollateralTiers | None = None  # [usd_from, ratio] per account
    table: Annotated[str, choice(*CREDIT_TABLES)] | None = None  # that a venue published
    schedule: Annotated[str, named("schedule", [name for _, name in credit_tiers()])] | None = None
    dynamic: DynamicHaircut | None = None  # multiplies what is cut off; null: it stays
    parity: bool | None = None  # treated as cash, whatever its haircut
    cap: Cap | None = None  # pledged on the venue in all
    admitted: bool | None = None  # false: it counts nothing, and leaves the venue
    segregated: bool | None = None  # true: it backs no perps, and is not sold for their losses

    @model_validator(mode="after")
    def _one_way(self) -> CollateralRule:
        others = self.model_fields_set - {"admitted"}
        if self.admitted is False and others:
            raise conflict(
                f"admitted: false with {', '.join(sorted(others))}",
                "admitted: false alone",
                "remove one of the two",
            )
        ways = [name for name in VALUATIONS if getattr(self, name) is not None]
        if len(ways) > 1:
            raise conflict(" and ".join(ways), "one of them", "remove one of the two")
        if (self.table is None) != (self.schedule is None):
            raise conflict(
                "one of table and schedule without the other",
                "a table with the schedule in it that applies",
                "write {table: binance_collateral_ratio, schedule: asset_class_7}",
            )
        return self

    @property
    def lines(self) -> Rows:
        """Rows [usd_from, ratio] per account, parity left aside."""
        if self.table is not None and self.schedule is not None:
            return credit_tiers()[self.table, self.schedule]
        return self.tiers or ((0.0, 1.0 - (self.haircut or 0.0)),)


class LeverageRule(Change):
    """Caps on what an account may open."""

    cap: Scoped[Positive] | None = None
    loop_cap: AtLeastOne | None = None


class TopUp(Model):
    """Owners who add cash near liquidation."""

    rate: Ratio = 0.0  # share of the missing cash per minute
    warn: AtLeastOne = 1.0  # multiple of maintenance below which they act


class Breaker(Model):
    """A halt of liquidations while an index falls."""

    trigger: PositiveShare  # fall of the index within the window
    window: PositiveDuration
    halt: PositiveDuration


def _by_asset(value: Any) -> Any:
    is_one = isinstance(value, dict) and set(value) & set(Breaker.model_fields)
    return {EVERYWHERE: value} if is_one or isinstance(value, Breaker) else value


BreakerTable = Annotated[dict[str, Breaker], BeforeValidator(_by_asset)]
"""A breaker of all index prices, or by `ASSET` or `ASSET@VENUE`."""


class LiquidationChange(Change):
    """The part of the liquidation rules that an entry sets."""

    CLEARED = frozenset({"circuit_breaker"})

    kind: LiquidationKind | None = None
    pace: Ratio | None = None  # share of the initial position per minute
    target: AtLeastOne | None = None  # equity over maintenance that `target` restores
    fee: Share | None = None  # of perp notional
    collateral_fee: Share | None = None
    collateral_sale: Scoped[SaleKind] | None = None  # where collateral goes
    backstop_discount: Share | None = None  # off the redemption or index price
    backstop_capacity: Money | None = None  # USD per minute, of each asset on each venue
    pause_pegged_while_shut: bool | None = None  # no pegged sales while the venue's gate is shut
    circuit_breaker: BreakerTable | None = None  # null or {}: none


class LiquidationRule(LiquidationChange):
    """How accounts below maintenance are sold, with the defaults of a venue."""

    kind: LiquidationKind = "close"
    pace: Ratio = 1.0
    target: AtLeastOne = 1.5
    fee: Share = 0.0
    collateral_fee: Share = 0.0
    collateral_sale: Scoped[SaleKind] = Field(default_factory=dict)
    backstop_discount: Share = 0.0
    backstop_capacity: Money = 0.0
    pause_pegged_while_shut: bool = False
    circuit_breaker: BreakerTable = Field(default_factory=dict)


def _adl(value: Any) -> Any:
    if not any(value is kind or value == kind for kind in (True, False, "pro_rata", "queue")):
        raise refusal(value, "false, pro_rata or queue", "name one of them")
    return value


AdlKind = Annotated[bool | Literal["pro_rata", "queue"], BeforeValidator(_adl)]


class VaultRule(Change):
    """A liquidity vault that takes over perps of bankrupt accounts."""

    capacity: Money | None = None  # USD that it has at the start; 0: there is none
    half_life: HalfLife | None = None  # in which it works off half of what it holds; none: never

    @model_validator(mode="after")
    def _any(self) -> VaultRule:
        if not self.model_fields_set:
            raise conflict("a vault of nothing", "capacity and half_life", "give both")
        return self


class BackstopRule(Change):
    """Who pays when an account owes more than it has."""

    fund: Money | None = None
    vault: VaultRule | None = None  # a policy's is laid over the venue's
    adl: AdlKind | None = None  # true: pro_rata
