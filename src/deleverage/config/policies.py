"""A policy: the levers that one entry of the policy axis sets on top of the scenario's rules."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from deleverage.config.base import Model, Scoped
from deleverage.config.quantities import Positive, Share, choice
from deleverage.config.rules import (
    BackstopRule,
    CollateralRule,
    IndexRule,
    LeverageRule,
    LiquidationChange,
)


class LiquidationLever(LiquidationChange):
    """Liquidation rules on all venues, and on single ones."""

    by_venue: dict[str, LiquidationChange] = Field(default_factory=dict)


class Marketing(Model):
    """How far promotions were taken up, relative to the scenario."""

    uptake: Share = 1.0


ParticipationKind = Annotated[str, choice("rescale", "hold")]


class Participation(Model):
    """How initial positions answer to the rules."""

    kind: ParticipationKind = "rescale"


class ScenarioChange(Model):
    """Overrides of the scenario itself: a factor on depth, and any part of it, laid over it.

    The parts are read together with the scenario's own, by `Config.under`; null takes a key out.
    """

    depth_factor: Scoped[Positive] | None = None
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
    index: dict[str, IndexRule] = Field(default_factory=dict)
    leverage: LeverageRule = LeverageRule()
    liquidation: LiquidationLever = LiquidationLever()
    backstop: dict[str, BackstopRule] = Field(default_factory=dict)
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
