"""Order books: how far an order moves them, from a depth, or from measured cumulative depths."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from deleverage.config.base import Model
from deleverage.config.presets import named, order_book_profiles
from deleverage.config.quantities import (
    INFINITE_USD,
    NEVER,
    Depth,
    HalfLife,
    Positive,
    PositiveMoney,
    PositiveRatio,
    PositiveShare,
    Share,
    SignedRatio,
    Smoothing,
    conflict,
    refusal,
)

NEAR = 0.01
"""Log distance within which depth is compared between books, of `depth_1pct` too."""


class LinearImpact(Model):
    """The same depth at every distance."""

    kind: Literal["linear"] = "linear"


class SqrtImpact(Model):
    """Depth that grows linearly with the distance, so that impact is the root of the size."""

    kind: Literal["sqrt"]
    reach: PositiveShare = 0.01  # log distance from the fundamental at which depth has doubled


def _rising(rows: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
    for place, what in ((0, "distances"), (1, "cumulative USD")):
        column = [0.0, *(row[place] for row in rows)]
        if len(column) == 1 or any(low >= high for low, high in pairwise(column)):
            raise refusal(column[1:], f"{what} above 0 that rise", "order the rows by distance")
    if rows[-1][0] >= 1:
        raise refusal(rows[-1][0], "distances below 100% of the price", "end the book above 0")
    return rows


Levels = Annotated[tuple[tuple[Share, PositiveMoney], ...], AfterValidator(_rising)]


class ProfileImpact(Model):
    """Measured depth: what stands within given distances, the bid side for both sides (A12)."""

    kind: Literal["profile"]
    levels: Levels | None = None  # [distance below the mid, USD up to there in all]
    preset: Annotated[str, named("order book", order_book_profiles())] | None = None
    scale: Positive = 1.0  # of all amounts

    @model_validator(mode="after")
    def _one_way(self) -> ProfileImpact:
        if (self.levels is None) == (self.preset is None):
            raise conflict(
                "neither or both of levels and preset", "one of them", "give the book once"
            )
        return self


Impact = Annotated[LinearImpact | SqrtImpact | ProfileImpact, Field(discriminator="kind")]


class Thinning(Model):
    """Depth that falls while the market moves more than it usually does."""

    strength: Positive  # depth is divided by 1 + strength (realised / normal variance - 1)
    volatility: PositiveRatio  # normal, a year of 365 days
    half_life: Smoothing = 5.0  # of the average of squared returns; none: the last step alone
    least: PositiveShare = 0.02  # of depth, that stays in any case (event_facts.csv F076)


class MarketSpec(Model):
    """An order book; `depth` is USD per unit of log price, `depth_1pct` USD within 1%."""

    depth: Depth | None = None
    depth_1pct: Depth | None = None
    impact: Impact = LinearImpact()
    thinning: Thinning | None = None
    sensitivity: Share = 1.0  # of its depth to the liquidity drop
    resilience_half_life: HalfLife = NEVER
    displacement: SignedRatio = 0.0  # starting log distance below the fundamental

    @model_validator(mode="after")
    def _one_depth(self) -> MarketSpec:
        given = (self.depth is not None) + (self.depth_1pct is not None)
        if isinstance(self.impact, ProfileImpact) and given:
            raise conflict(
                "a depth besides the levels of a profile", "one of them", "remove the depth"
            )
        return self

    @property
    def has_impact(self) -> bool:
        """Whether its depth is finite."""
        return max(self.depth or 0.0, self.depth_1pct or 0.0) < INFINITE_USD

    def deeper(self, factor: float) -> MarketSpec:
        """The same book with that many times the depth; one without impact stays as it is."""
        if not self.has_impact:
            return self
        if isinstance(self.impact, ProfileImpact):
            scaled = self.impact.model_copy(update={"scale": self.impact.scale * factor})
            return self.model_copy(update={"impact": scaled})
        given = {"depth": self.depth, "depth_1pct": self.depth_1pct}
        return self.model_copy(
            update={name: usd * factor for name, usd in given.items() if usd is not None}
        )


@dataclass(frozen=True)
class OrderBook:
    """A market's curve: USD per unit of log price at the fundamental, and what else it takes."""

    kind: str
    depth: float
    nominal: float  # mean depth up to `NEAR`: what shares and caps go by
    reach: float = 1.0
    distance: tuple[float, ...] = ()  # log
    units: tuple[float, ...] = ()  # USD at starting prices up to there


def order_book(spec: MarketSpec) -> OrderBook:
    """The curve that a market's numbers stand for."""
    if isinstance(spec.impact, ProfileImpact):
        return _profile(spec.impact)
    if isinstance(spec.impact, SqrtImpact):
        thicker = 1 + NEAR / (2 * spec.impact.reach)
        depth = _depth(spec) if spec.depth is not None else _depth(spec) / thicker
        return OrderBook("sqrt", depth, depth * thicker, reach=spec.impact.reach)
    return OrderBook("linear", _depth(spec), _depth(spec))


def _depth(spec: MarketSpec) -> float:
    if spec.depth is not None:
        return spec.depth
    assert spec.depth_1pct is not None
    return min(spec.depth_1pct / NEAR, INFINITE_USD)


def _profile(impact: ProfileImpact) -> OrderBook:
    r"""Cumulative USD at distances as cumulative units at log distances.

    A stretch between `d_0` and `d_1` with `C` USD in it, of even depth in log price, holds `C (y_1
    - y_0) / (d_1 - d_0)` units: `C` is the integral of depth times `e^-y`, and `e^-y = 1 - d`.
    """
    rows: Any = impact.levels or order_book_profiles()[str(impact.preset)]
    distance, units, before = [0.0], [0.0], (0.0, 0.0)
    for share, usd in rows:
        away = -math.log1p(-share)
        part = impact.scale * (usd - before[1]) / (share - before[0])
        units.append(units[-1] + part * (away - distance[-1]))
        distance.append(away)
        before = (share, usd)
    within = 0.0
    for (near, below), (far, above) in pairwise(zip(distance, units, strict=True)):
        within += (above - below) * min(1.0, max(0.0, (NEAR - near) / (far - near)))
    return OrderBook(
        "profile",
        units[1] / distance[1],
        within / NEAR,
        distance=tuple(distance[1:]),
        units=tuple(units[1:]),
    )
