"""Issuers of pegged assets: what backs what they issued, what they redeem, who may run."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, model_validator

from deleverage.config.base import Change, Model
from deleverage.config.quantities import (
    NEVER,
    Money,
    PositiveMoney,
    Ratio,
    Share,
    conflict,
    refusal,
)

MINUTES_PER_DAY = 24 * 60


class Run(Model):
    """Holders who sell a discounted pegged asset where they hold it."""

    float_share: Share  # of the supply, with those who may run
    rate: Ratio  # share of it sold per minute and unit of discount beyond the tolerance
    tolerance: Share = 0.0  # discount below which they keep it


class IssuerSpec(Model):
    """An issuer whose backing may fall short."""

    supply: PositiveMoney  # at the start, at starting prices
    backing: Ratio = 1.0  # over the supply at the start, at least 1
    reserve_share: Share | None = None  # of the supply, that can be redeemed; None: all of it
    run: Run | None = None

    @model_validator(mode="after")
    def _backed(self) -> IssuerSpec:
        if self.backing < 1:
            raise refusal(
                self.backing,
                "a backing of at least 100% of the supply, as prices start at par",
                "let a `backing` shock take it away",
            )
        return self


def _whole(mix: dict[str, float]) -> dict[str, float]:
    if abs(sum(mix.values()) - 1) > 1e-9:
        raise refusal(
            f"{sum(mix.values()):.10g}", "shares by venue that sum to 1", "change one of them"
        )
    return mix


HedgeMix = Annotated[dict[str, Share], AfterValidator(_whole)]


class IssuerLever(Change):
    """What a policy asks of an issuer."""

    reserve_share: Share | None = None
    capacity: Money | None = None  # USD per minute
    hedge: HedgeMix | None = None  # shares of its shorts by venue

    @model_validator(mode="after")
    def _any(self) -> IssuerLever:
        if not self.model_fields_set:
            raise conflict(
                "an issuer without a lever", "reserve_share, capacity or hedge", "give one"
            )
        return self


class Redemptions(Model):
    """What an issuer redeems under a policy, USD."""

    capacity: float  # per minute
    reserve: float  # in all


def redemptions(
    spec: IssuerSpec | None, capacity: float | None, lever: IssuerLever | None
) -> Redemptions:
    """What an issuer redeems: at the pace given, or its liquid reserve over a day (A29).

    Args:
        spec: The issuer's, if it is modelled.
        capacity: The scenario's, USD per minute.
        lever: The policy's.
    """
    share = None if spec is None else spec.reserve_share
    if lever is not None:
        share = share if lever.reserve_share is None else lever.reserve_share
        capacity = capacity if lever.capacity is None else lever.capacity
    reserve = NEVER if spec is None or share is None else share * spec.supply
    if capacity is None:
        capacity = 0.0 if reserve == NEVER else reserve / MINUTES_PER_DAY
    return Redemptions(capacity=capacity, reserve=reserve)
