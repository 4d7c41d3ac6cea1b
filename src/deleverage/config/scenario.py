"""The scenario: assets and their issuers, venues and their rules, markets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from deleverage.config.base import Model, lookup
from deleverage.config.books import BookSpec, held, is_divisible
from deleverage.config.issuers import IssuerSpec
from deleverage.config.order_books import MarketSpec
from deleverage.config.quantities import (
    NEVER,
    HalfLife,
    Money,
    MoneyOrNone,
    Ratio,
    Real,
    Share,
    whole,
)
from deleverage.config.rules import (
    BackstopRule,
    CollateralRule,
    IndexTable,
    LeverageRule,
    LiquidationRule,
    MaintenanceTiers,
    Mark,
    TopUp,
)
from deleverage.config.shocks import Shocks


class Arbitrage(Model):
    """Cross-venue spot arbitrage of an asset."""

    half_life: HalfLife
    capital: Money  # USD per minute


class Numeraire(Model):
    """The asset that everything is counted in; its price is 1."""

    kind: Literal["numeraire"]


class Risk(Model):
    """An asset with a price of its own."""

    kind: Literal["risk"]
    volatility: Ratio = 0.0  # a year of 365 days
    market_correlation: Share = 1.0  # with the common factor
    drift: Real = 0.0  # of log price beyond the martingale, per minute
    arbitrage: Arbitrage | None = None


class Pegged(Model):
    """An asset whose issuer pays what its anchor is worth."""

    kind: Literal["pegged"]
    anchor: str
    redemption_capacity: Money | None = None  # USD per minute; None: the liquid reserve in a day
    issuer: IssuerSpec | None = None  # None: its backing is never short, and nobody runs
    arbitrage: Arbitrage | None = None


Asset = Annotated[Numeraire | Risk | Pegged, Field(discriminator="kind")]


class Venue(Model):
    """A venue and the rules that were in force there."""

    stands_for: tuple[str, ...] = ()  # exchanges: in published weights their say is the venue's
    mark: Mark = Mark()
    index: IndexTable = Field(default_factory=dict)
    collateral: dict[str, CollateralRule] = Field(
        default_factory=dict
    )  # what is accepted, and at what haircut
    maintenance: dict[str, MaintenanceTiers] = Field(default_factory=dict)  # per underlying
    loan_maintenance: Share = 0.0  # per USD of debt
    leverage: LeverageRule = LeverageRule()
    top_up: TopUp = TopUp()
    liquidation: LiquidationRule = LiquidationRule()
    backstop: BackstopRule = BackstopRule()
    basis_half_life: HalfLife = NEVER  # of spot against perp
    feed_cap: MoneyOrNone = NEVER  # USD per minute and market that the public feed shows at most


Buckets = Annotated[int, whole("a number of leverage buckets", low=1, high=1024)]


class Makers(Model):
    """Market makers: the balancing account of every perp."""

    max_share: Share = 0.1  # of the larger side of a perp's open interest


class Scenario(Model):
    """The world that every policy is put into."""

    assets: dict[str, Asset]
    venues: dict[str, Venue]
    markets: dict[str, MarketSpec]  # VENUE/ASSET/spot, VENUE/ASSET-QUOTE/spot, VENUE/ASSET/perp
    buckets: Buckets = 8
    books: dict[str, BookSpec]
    makers: Makers = Makers()
    shocks: Shocks = Shocks()

    @property
    def held(self) -> dict[str, BookSpec]:
        """Its books, those with isolated margin by position."""
        return held(self.books)

    def with_depths(self, factors: Mapping[str, float] | None) -> Scenario:
        """The same with order books that many times as deep, by scope; None: as it is."""
        markets = {}
        for label, book in self.markets.items():
            venue, _, rest = label.partition("/")
            asset = rest.partition("/")[0].partition("-")[0]
            factor = lookup(factors, asset, venue)
            markets[label] = book if factor is None else book.deeper(factor)
        return self.model_copy(update={"markets": markets})

    def under_margin(self, kind: str | None) -> Scenario:
        """The same with another kind of margin for all books of several perps; None: as it is."""
        if kind is None:
            return self
        books = {
            name: book.model_copy(update={"margin": kind}) if is_divisible(book) else book
            for name, book in self.books.items()
        }
        return self.model_copy(update={"books": books})
