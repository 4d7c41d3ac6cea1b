"""Histograms through time: which quantities, in which bins, how often."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator

from deleverage.config.base import Model
from deleverage.config.presets import named
from deleverage.config.quantities import (
    Money,
    NonNegative,
    PositiveDuration,
    refusal,
    whole,
)

if TYPE_CHECKING:
    from deleverage.config.models import Time
    from deleverage.engine.timeline import Timeline

QUANTITIES = ("price", "index_price", "depth", "liquidations", "open_interest", "equity")
MOST_TIMES = 60
"""Moments that are kept where the config does not say how often."""


def _rising(ends: tuple[float, float]) -> tuple[float, float]:
    if ends[0] >= ends[1]:
        raise refusal(list(ends), "a low end below the high one", "write [low, high]")
    return ends


def _positive(ends: tuple[float, float]) -> tuple[float, float]:
    if ends[0] <= 0:
        raise refusal(list(ends), "a low end above 0", "write [10k, 100bn]")
    return _rising(ends)


Span = Annotated[tuple[NonNegative, NonNegative], AfterValidator(_rising)]
MoneySpan = Annotated[tuple[Money, Money], AfterValidator(_positive)]
BinCount = Annotated[int, whole("a number of bins from 2 to 1000", low=2, high=1000)]


class TimelineSpec(Model):
    """`timeline: true` takes all of this as it stands."""

    every: PositiveDuration | None = None  # None: at most 60 moments
    quantities: tuple[Annotated[str, named("quantity", QUANTITIES)], ...] = QUANTITIES
    bins: BinCount = 64
    ratio: Span = (0.0, 1.25)  # of prices, indices, depth, open interest and equity to the start
    liquidations: MoneySpan = (1e4, 1e11)  # USD per minute, evenly in the logarithm


def switch(value: Any) -> Any:
    """`true` for the defaults, `false` for none."""
    return {True: {}, False: None}[value] if isinstance(value, bool) else value


def build_timeline(spec: TimelineSpec, time: Time) -> Timeline:
    """The spec in steps and USD millions."""
    from deleverage.engine.timeline import Bins, Timeline

    ratio = Bins(*spec.ratio, spec.bins)
    money = Bins(*(end / 1e6 for end in spec.liquidations), spec.bins, log=True)
    every = steps_between(spec, time)
    assert every is not None, "checked with the config"
    kept = [name for name in QUANTITIES if name in spec.quantities]
    return Timeline(
        every, tuple((name, money if name == "liquidations" else ratio) for name in kept)
    )


def steps_between(spec: TimelineSpec, time: Time) -> int | None:
    """Steps from one moment to the next, which divide the run; None where `every` does not."""
    if spec.every is None:
        fewest = -(-time.steps // MOST_TIMES)
        return next(n for n in range(fewest, time.steps + 1) if time.steps % n == 0)
    count = round(spec.every / time.step)
    fits = count >= 1 and abs(count * time.step - spec.every) <= 1e-9 * spec.every
    return count if fits and time.steps % count == 0 else None
