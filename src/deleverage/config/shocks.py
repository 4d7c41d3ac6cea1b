"""The shocks of a scenario: the macro shock, jumps, liquidity, outages."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from deleverage.config.base import Model
from deleverage.config.quantities import (
    NEVER,
    Duration,
    HalfLife,
    NonNegative,
    Positive,
    PositiveDuration,
    PositiveMoney,
    PositiveRatio,
    Ratio,
    Share,
    SignedRatio,
    choice,
    conflict,
    quantity,
)
from deleverage.config.series import digest


class FixedSeverity(Model):
    """The same severity on every path."""

    kind: Literal["fixed"]
    value: SignedRatio = 0.0
    cap: Ratio = NEVER


class NormalSeverity(Model):
    """Normally distributed."""

    kind: Literal["normal"]
    mean: SignedRatio
    deviation: Ratio
    cap: Ratio = NEVER


class LognormalSeverity(Model):
    """Lognormally distributed."""

    kind: Literal["lognormal"]
    median: Ratio
    sigma: NonNegative  # of the log
    cap: Ratio = NEVER


class ParetoSeverity(Model):
    """Generalised Pareto."""

    kind: Literal["generalised_pareto"]
    threshold: SignedRatio
    scale: Ratio
    shape: Positive
    cap: Ratio = NEVER


Degrees = Annotated[
    float,
    quantity(
        {"": 1.0}, "degrees of freedom in [1, 10000]", "give a number", low=1.0, high=10000.0
    ),
]


class StudentSeverity(Model):
    """Student-t distributed about a centre."""

    kind: Literal["student_t"]
    centre: SignedRatio
    scale: Ratio
    degrees: Degrees
    cap: Ratio = NEVER


Severity = Annotated[
    FixedSeverity | NormalSeverity | LognormalSeverity | ParetoSeverity | StudentSeverity,
    Field(discriminator="kind"),
]


class Rebound(Model):
    """The part of the drop that comes back."""

    share: Share = 0.0
    delay: Duration = 0.0
    half_life: HalfLife = 1.0


class VolatilityBurst(Model):
    """Volatility multiplier at the macro shock, decaying to 1."""

    multiplier: Ratio = 1.0
    half_life: HalfLife = 60.0


class MacroShock(Model):
    """News that moves fundamentals by `severity * loading` of log price."""

    severity: Severity = FixedSeverity(kind="fixed")
    start: Duration = 0.0
    latest: Duration | None = None  # a random time between start and latest
    loadings: dict[str, SignedRatio] = Field(default_factory=dict)
    duration: Duration = 0.0  # minutes over which it arrives
    profile: tuple[tuple[Duration, Share], ...] | None = None  # or shares arrived, by time
    rebound: Rebound = Rebound()
    volatility: VolatilityBurst = VolatilityBurst()

    @model_validator(mode="after")
    def _forward(self) -> MacroShock:
        if self.latest is not None and self.latest < self.start:
            raise conflict(
                f"latest {self.latest:g}m before start {self.start:g}m",
                "a latest time not before the start",
                "give a later `latest`",
            )
        return self

    @model_validator(mode="after")
    def _arriving(self) -> MacroShock:
        if self.profile is None:
            return self
        if self.duration:
            raise conflict(
                "a duration and a profile", "one of the two", "remove `duration` or `profile`"
            )
        minutes, shares = [p[0] for p in self.profile], [p[1] for p in self.profile]
        rising = all(a < b for a, b in pairwise(minutes))
        kept = all(a <= b for a, b in pairwise(shares))
        if not self.profile or minutes[0] != 0 or shares[-1] != 1 or not rising or not kept:
            points = ", ".join(f"[{m:g}m, {100 * s:g}%]" for m, s in self.profile)
            raise conflict(
                f"the profile {points or 'without points'}",
                "points [time, share], times rising from 0m and shares never falling, to 100%",
                "write [[0m, 0], [5m, 30%], [30m, 100%]]",
            )
        return self


class MertonJumps(Model):
    """Jumps common to all assets with a loading."""

    rate: NonNegative  # per minute
    mean: SignedRatio
    deviation: Ratio
    loadings: dict[str, SignedRatio]


Drop = Annotated[
    float,
    quantity(
        {"": 1.0, "%": 1e-2}, "a share of depth in [0, 0.9999]", "write 95%", low=0.0, high=0.9999
    ),
]
Correlation = Annotated[
    float,
    quantity(
        {"": 1.0, "%": 1e-2}, "a correlation in [-1, 1]", "write 70% or 0.7", low=-1.0, high=1.0
    ),
]


class LiquidityDrop(Model):
    """Loss of depth after the macro shock, tied to its severity."""

    lowest: Share = 0.0
    highest: Drop = 0.0
    correlation: Correlation = 0.0
    onset: Duration = 0.0
    hold: Duration = 0.0
    half_life: HalfLife = 30.0

    @model_validator(mode="after")
    def _ordered(self) -> LiquidityDrop:
        if self.lowest > self.highest:
            raise conflict(
                f"lowest {self.lowest:g} above highest {self.highest:g}",
                "a lowest drop not above the highest",
                "swap the two",
            )
        return self


class Scheduled(Model):
    """A failure at a set time."""

    kind: Literal["scheduled"]
    start: Duration
    length: PositiveDuration


class Random(Model):
    """A failure at an exponential time, for an exponential length."""

    kind: Literal["random"]
    start: Duration = 0.0  # from when on
    rate: NonNegative  # per minute
    length: PositiveDuration  # mean


class ScheduledOutage(Scheduled):
    """A transfer gate shut at a set time."""

    venue: str


class RandomOutage(Random):
    """A transfer gate shut at an exponential time, for an exponential length."""

    venue: str


LengthLaw = Annotated[str, choice("fixed", "exponential")]


class LoadOutage(Model):
    """A transfer gate that shuts under the load of the venue's liquidations."""

    kind: Literal["load"]
    venue: str
    start: Duration = 0.0  # from when on load counts
    threshold: PositiveMoney  # USD liquidated per minute above which it may happen
    rate: Positive  # hazard per minute at twice the threshold
    length: PositiveDuration  # or its mean
    law: LengthLaw = "fixed"  # of the length


Outage = Annotated[ScheduledOutage | RandomOutage | LoadOutage, Field(discriminator="kind")]


class ScheduledHalt(Scheduled):
    """A liquidation engine halted at a set time."""

    venue: str


class RandomHalt(Random):
    """A liquidation engine halted at an exponential time, for an exponential length."""

    venue: str


Halt = Annotated[ScheduledHalt | RandomHalt, Field(discriminator="kind")]


class ScheduledCongestion(Scheduled):
    """Networks jammed at a set time."""

    left: Share  # of redemptions and cross-venue arbitrage


class RandomCongestion(Random):
    """Networks jammed at an exponential time, for an exponential length."""

    left: Share  # of redemptions and cross-venue arbitrage


Congestion = Annotated[ScheduledCongestion | RandomCongestion, Field(discriminator="kind")]


class Glitch(Model):
    """Wrong index prices of a venue."""

    venue: str
    asset: str | None = None  # None: all that the venue publishes
    factor: PositiveRatio  # on the raw index
    start: Duration
    length: PositiveDuration
    probability: Share = 1.0  # that it happens on a path


class Sale(Model):
    """A seller from outside, who sells evenly over some time whatever the price."""

    market: str
    size: PositiveMoney  # USD at the starting price
    start: Duration = 0.0
    duration: PositiveDuration


LostShare = Annotated[
    float,
    quantity(
        {"": 1.0, "%": 1e-2}, "a share in [0, 0.9999]", "write 30%", low=0.0, high=0.9999
    ),
]


class ScheduledLoss(Model):
    """A share of what backs a pegged asset, lost at a set time."""

    kind: Literal["scheduled"]
    asset: str
    share: LostShare
    start: Duration
    duration: Duration = 0.0  # minutes over which it comes out


class MacroLoss(Model):
    """The same with the macro shock."""

    kind: Literal["macro"]
    asset: str
    share: LostShare
    delay: Duration = 0.0
    duration: Duration = 0.0


Loss = Annotated[ScheduledLoss | MacroLoss, Field(discriminator="kind")]


def _columns(value: Any) -> Any:
    """A list of assets as a mapping to columns of the same names."""
    if isinstance(value, list | tuple) and all(isinstance(name, str) for name in value):
        return {name: name for name in value}
    return value


SERIES = "shocks.replay.file"
"""Where a scenario names the file that its fundamentals follow."""


class Replay(Model):
    """Fundamentals that follow a given series, on every path."""

    file: str  # CSV or zarr, its path relative to the file that names it
    sha256: str | None = None  # of the file; found where it is not given
    assets: Annotated[dict[str, str], BeforeValidator(_columns)]  # to columns
    residual: bool = False  # whether the assets' own volatility is added
    longest_gap: PositiveDuration | None = None  # between rows; None: twice the median

    @model_validator(mode="before")
    @classmethod
    def _hashed(cls, value: Any) -> Any:
        if not isinstance(value, dict) or not isinstance(value.get("file"), str):
            return value
        path, given = Path(value["file"]), value.get("sha256")
        if not path.exists():
            raise conflict(
                f"the file '{path}' does not exist",
                "a CSV file or a zarr group, its path relative to the file that names it",
                "mend the path",
            )
        try:
            found = digest(path)
        except OSError as error:
            raise conflict(
                f"'{path}', which cannot be read ({error.strerror or type(error).__name__})",
                "a CSV file or a zarr group",
                "let it be read",
            ) from None
        if given is not None and given != found:
            raise conflict(
                f"'{path}' with the hash {found[:12]}, not {str(given)[:12]}",
                "the series that the config was made with",
                "restore the file, or remove `sha256`",
            )
        return value | {"sha256": found}

    @model_validator(mode="after")
    def _of_something(self) -> Replay:
        if not self.assets:
            raise conflict("a replay of no asset", "at least one", "name one, or remove `replay`")
        return self


class Shocks(Model):
    """All exogenous shocks."""

    macro: MacroShock = MacroShock()
    merton: MertonJumps | None = None
    replay: Replay | None = None
    liquidity: LiquidityDrop = LiquidityDrop()
    outages: tuple[Outage, ...] = ()
    halts: tuple[Halt, ...] = ()
    congestions: tuple[Congestion, ...] = ()
    glitches: tuple[Glitch, ...] = ()
    sales: tuple[Sale, ...] = ()
    backing: tuple[Loss, ...] = ()
