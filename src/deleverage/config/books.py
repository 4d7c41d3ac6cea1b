"""Books of a scenario: portfolios on one venue, spread over leverage buckets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from deleverage.config.base import Model
from deleverage.config.quantities import (
    MATCH,
    NonNegative,
    OpenInterest,
    Positive,
    PositiveMoney,
    Ratio,
    Share,
    SignedRatio,
    choice,
    conflict,
)


class LognormalLeverage(Model):
    """Lognormal over what is traded, cut into equal-weight quantiles."""

    kind: Literal["lognormal"]
    median: Positive
    sigma: NonNegative
    max: Positive
    min: NonNegative = 0.0


class BucketLeverage(Model):
    """Explicit buckets; missing weights are equal."""

    kind: Literal["buckets"]
    values: tuple[Positive, ...]
    weights: tuple[NonNegative, ...] | None = None

    @model_validator(mode="after")
    def _matching(self) -> BucketLeverage:
        if not self.values:
            raise conflict("no leverage", "at least one leverage", "add a value")
        if self.weights is not None and len(self.weights) != len(self.values):
            raise conflict(
                f"{len(self.weights)} weights for {len(self.values)} values",
                "one weight per value",
                "make the lists equally long",
            )
        return self


def _plain(value: Any) -> Any:
    return value if isinstance(value, dict | Model) else {"kind": "buckets", "values": [value]}


Leverage = Annotated[
    LognormalLeverage | BucketLeverage, BeforeValidator(_plain), Field(discriminator="kind")
]


def _single(value: Any) -> Any:
    return {value: 1.0} if isinstance(value, str) else value


Side = Annotated[str, choice("long", "short")]
MarginKind = Annotated[str, choice("cross", "isolated")]
Weights = Annotated[dict[str, SignedRatio], BeforeValidator(_single)]
Mix = Annotated[dict[str, Share], BeforeValidator(_single)]


class _Common(Model):
    venue: str
    leverage: Leverage
    position_size: PositiveMoney = 50_000.0  # per account, of perps or of pledged assets
    top_up_budget: Ratio = 0.0  # share of own funds


class PerpBook(_Common):
    """Perps on collateral; own funds follow from open interest and leverage."""

    kind: Literal["perp"]
    perps: Weights  # signed shares of the notional, absolute sum 1, or one asset
    side: Side = "long"  # `short` turns the signs
    open_interest: OpenInterest  # `match` takes what the perp lacks
    match_share: Share = 1.0  # of what it lacks
    collateral: Mix | None = None  # shares of own funds; None: all in the numeraire
    entry: Positive = 1.0  # entry price over the starting price
    margin: MarginKind = "cross"  # `isolated`: each position has its own share of the collateral

    def positions(self) -> dict[str, PerpBook]:
        """A book of each perp alone, by asset, with its share of size and of collateral.

        Each position counts as an account. Source: MODEL.md section 3, A42 and A43.
        """
        return {
            asset: self.model_copy(
                update={
                    "perps": {asset: 1.0 if weight > 0 else -1.0},
                    "open_interest": abs(weight) * self.open_interest,
                    "position_size": abs(weight) * self.position_size,
                }
            )
            for asset, weight in self.perps.items()
            if weight != 0
        }


class LoanBook(_Common):
    """Collateral bought with borrowed cash. Exactly one of `own_funds` and `assets` sizes it."""

    kind: Literal["loan"]
    collateral: Mix
    own_funds: PositiveMoney | None = None
    assets: PositiveMoney | None = None
    loop: bool = False  # the loop cap applies
    promoted: bool = False  # its size follows the promotion's uptake

    @model_validator(mode="after")
    def _sized(self) -> LoanBook:
        if (self.own_funds is None) == (self.assets is None):
            raise conflict(
                "neither or both of own_funds and assets", "exactly one of them", "give one size"
            )
        return self


class HedgedBook(_Common):
    """Spot held against a short of the same asset; the leverage is the short over own funds."""

    kind: Literal["hedged"]
    asset: str
    issuer: str | None = None  # the pegged asset that it backs
    open_interest: PositiveMoney
    entry: Positive = 1.0


BookSpec = Annotated[PerpBook | LoanBook | HedgedBook, Field(discriminator="kind")]


def is_divisible(book: BookSpec) -> bool:
    """Whether margin isolated by position is another than cross margin: of several perps."""
    return isinstance(book, PerpBook) and len(book.perps) > 1


def held(books: Mapping[str, BookSpec]) -> dict[str, BookSpec]:
    """Books as they are held: one of each position, `BOOK-ASSET`, where margin is isolated."""
    found: dict[str, BookSpec] = {}
    for name, book in books.items():
        apart = isinstance(book, PerpBook) and is_divisible(book) and book.margin == "isolated"
        if apart and book.open_interest != MATCH:  # which is refused of several perps
            alone = book.positions()
            found |= {f"{name}-{asset}": position for asset, position in alone.items()}
        else:
            found[name] = book
    return found
