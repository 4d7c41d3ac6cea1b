"""A policy: the levers that one entry of the policy axis sets on top of the scenario's rules."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, model_validator

from deleverage.config.base import Change, Model, Scoped
from deleverage.config.books import MarginKind
from deleverage.config.issuers import IssuerLever
from deleverage.config.quantities import Positive, Share, choice, conflict
from deleverage.config.rules import (
    BackstopRule,
    CollateralRule,
    IndexTable,
    LeverageRule,
    LiquidationChange,
    MaintenanceTiers,
    MarkChange,
)


class LiquidationLever(LiquidationChange):
    """Liquidation rules on all venues, and on single ones."""

    by_venue: dict[str, LiquidationChange] = Field(default_factory=dict)


class Marketing(Model):
    """How far promotions were taken up, relative to the scenario."""

    uptake: Share = 1.0


class LeverageLever(LeverageRule):
    """Caps, whether loops may pledge what they bought, and maintenance tables of perps."""

    margin: MarginKind | None = None  # of all books with several perps
    repledge: bool | None = None  # false: loops are unwound to leverage 1
    maintenance: dict[str, MaintenanceTiers] = Field(default_factory=dict)  # instead of the venues'

    @model_validator(mode="after")
    def _one_way(self) -> LeverageLever:
        if self.repledge is False and self.loop_cap is not None:
            raise conflict(
                "repledge: false with a loop_cap", "one of them", "remove one of the two"
            )
        return self


ParticipationKind = Annotated[str, choice("rescale", "hold", "migrate")]


class Participation(Model):
    """How initial positions answer to the rules."""

    kind: ParticipationKind = "rescale"
    upward: bool = False  # positions grow, too, where a policy asks for less margin
    share: Share | None = None  # of what is forgone, that moves to other venues

    @model_validator(mode="after")
    def _fits(self) -> Participation:
        if self.upward and self.kind == "hold":
            raise conflict(
                "upward with `hold`, which keeps every position",
                "upward with `rescale` or `migrate`",
                "remove one of the two",
            )
        if (self.kind == "migrate") != (self.share is not None):
            raise conflict(
                f"{'no' if self.share is None else 'a'} share with `{self.kind}`",
                "a share with `migrate`, and with it alone",
                "write {kind: migrate, share: 50%}",
            )
        return self


class ScenarioChange(Change):
    """Overrides of the scenario itself: any part of it, laid over it, and a factor on depth.

    The parts are read together with the scenario's own, by `Config.under`; null takes a key out.
    """

    CLEARED = frozenset({"assets", "venues", "markets", "buckets", "books", "makers", "shocks"})

    depth_factor: Scoped[Positive] | None = None  # on what the order books then say of depth
    assets: dict[str, Any] | None = None
    venues: dict[str, Any] | None = None
    markets: dict[str, Any] | None = None
    buckets: int | None = None
    books: dict[str, Any] | None = None
    makers: dict[str, Any] | None = None
    shocks: dict[str, Any] | None = None

    @property
    def parts(self) -> dict[str, Any]:
        """What is laid over the scenario, as it was written."""
        return {name: getattr(self, name) for name in sorted(self.model_fields_set - {_FACTOR})}


_FACTOR = "depth_factor"


class PolicySpec(Model):
    """One entry of the policy axis; keys of collateral and index are ASSET or ASSET@VENUE."""

    collateral: dict[str, CollateralRule] = Field(default_factory=dict)
    index: IndexTable = Field(default_factory=dict)
    mark: dict[str, MarkChange] = Field(default_factory=dict)  # by venue
    leverage: LeverageLever = LeverageLever()
    liquidation: LiquidationLever = LiquidationLever()
    backstop: dict[str, BackstopRule] = Field(default_factory=dict)
    issuer: dict[str, IssuerLever] = Field(default_factory=dict)  # by pegged asset
    marketing: Marketing = Marketing()
    participation: Participation = Participation()
    scenario: ScenarioChange = ScenarioChange()

    def levers(self) -> dict[str, Any]:
        """What the entry sets, by dotted lever, as plain values (of the scenario: as written)."""
        flat: dict[str, Any] = {}

        def walk(value: Any, key: str) -> None:
            if isinstance(value, dict):
                for name, child in value.items():
                    walk(child, key if name == "*" else f"{key}.{name}" if key else name)
            else:
                flat[key] = value

        walk(self.model_dump(exclude_unset=True), "")
        return flat
