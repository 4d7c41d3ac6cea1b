"""The shocks of a config as the numbers of `World`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from deleverage.config.models import Config
from deleverage.config.names import Names
from deleverage.config.replay import log_series
from deleverage.config.sampling import ImportanceSampling
from deleverage.config.scenario import Pegged, Risk
from deleverage.config.shocks import (
    FixedSeverity,
    LognormalSeverity,
    Loss,
    MacroLoss,
    NormalSeverity,
    Severity,
    Shocks,
    StudentSeverity,
)
from deleverage.shocks.laws import student_t_coefficients
from deleverage.world import (
    BackingLoss,
    Congestion,
    Glitch,
    Halt,
    Layout,
    Liquidity,
    LoadOutage,
    Macro,
    Merton,
    Outage,
    Sale,
    Sampling,
    World,
)

T = TypeVar("T")

MINUTES_PER_YEAR = 365 * 24 * 60


def build_world(config: Config, names: Names, layout: Layout, base: Config | None = None) -> World:
    """The world of a layout: diffusion, macro shock, jumps, liquidity, outages.

    Args:
        config: The config.
        names: Its labels.
        layout: The layout.
        base: The config whose scenario this one overrides, if it does. What the override leaves
            out keeps its place with neutral numbers, so that every draw means the same in both.

    Source: MODEL.md section 4, A34.
    """
    assets = config.scenario.assets
    shocks = config.scenario.shocks
    anchor = np.eye(len(assets))
    drift = np.zeros(len(assets))
    for name, asset in assets.items():
        row = names.assets[name]
        if isinstance(asset, Pegged):
            anchor[row] = 0.0
            anchor[row, names.assets[asset.anchor]] = 1.0
        elif isinstance(asset, Risk):
            drift[row] = asset.drift
    drop = shocks.liquidity
    series = log_series(config, names)
    return World(
        layout=layout,
        loading=_loading(config, names, base or config),
        drift=drift,
        anchor=anchor,
        replay=None if series is None else series @ anchor.T,
        macro=_macro(config, names, base or config),
        merton=_merton(config, names, base or config),
        liquidity=Liquidity(
            lowest=np.float64(drop.lowest),
            highest=np.float64(drop.highest),
            correlation=np.float64(drop.correlation),
            onset=np.float64(drop.onset),
            hold=np.float64(drop.hold),
            half_life=np.float64(drop.half_life),
        ),
        **_failures(names, shocks, (base or config).scenario.shocks),
        sales=tuple(
            Sale(
                market=names.markets[sale.market],
                units=np.float64(sale.size / 1e6),
                start=np.float64(sale.start),
                duration=np.float64(sale.duration),
            )
            for sale in shocks.sales
        ),
        backing=tuple(_loss(names, layout, loss) for loss in shocks.backing),
        sampling=_sampling(config),
    )


def _sampling(config: Config) -> Sampling | None:
    sampling = config.sampling
    if isinstance(sampling, ImportanceSampling):
        return Sampling(sampling.kind, np.float64(sampling.shift), np.float64(sampling.plain_share))
    # splitting draws plain paths and lets others inherit from them
    return None if sampling.kind in ("plain", "splitting") else Sampling(sampling.kind)


def _loss(names: Names, layout: Layout, loss: Loss) -> BackingLoss:
    return BackingLoss(
        asset=layout.pegged.index(names.assets[loss.asset]),
        with_macro=isinstance(loss, MacroLoss),
        share=np.float64(loss.share),
        start=np.float64(loss.delay if isinstance(loss, MacroLoss) else loss.start),
        duration=np.float64(loss.duration),
    )


def _failures(names: Names, shocks: Shocks, base: Shocks) -> dict[str, tuple[Any, ...]]:
    """Outages, halts, congestions and glitches, in the places of the base's."""

    def of_venue(failure: Any) -> tuple[str, str]:
        return failure.kind, failure.venue

    by_load, others = (
        [[one for one in part.outages if (one.kind == "load") == load] for part in (shocks, base)]
        for load in (True, False)
    )
    return {
        "outages": tuple(
            Outage(venue=names.venues[one.venue], **_window(one, happens))
            for one, happens in _places(*others, of_venue)
        ),
        "load_outages": tuple(
            LoadOutage(
                venue=names.venues[one.venue],
                random=one.law == "exponential",
                start=np.float64(one.start),
                threshold=np.float64(one.threshold / 1e6),
                rate=np.float64(one.rate if happens else 0.0),
                length=np.float64(one.length),
            )
            for one, happens in _places(
                *by_load, lambda failure: (failure.kind, failure.venue, failure.law)
            )
        ),
        "halts": tuple(
            Halt(venue=names.venues[one.venue], **_window(one, happens))
            for one, happens in _places(shocks.halts, base.halts, of_venue)
        ),
        "congestions": tuple(
            Congestion(left=np.float64(one.left), **_window(one, happens))
            for one, happens in _places(
                shocks.congestions, base.congestions, lambda failure: failure.kind
            )
        ),
        "glitches": tuple(
            Glitch(
                indices=tuple(
                    row
                    for published, row in names.indices.items()
                    if published.venue == one.venue and one.asset in (None, published.asset)
                ),
                start=np.float64(one.start),
                length=np.float64(one.length),
                probability=np.float64(one.probability if happens else 0.0),
                factor=np.float64(one.factor),
            )
            for one, happens in _places(
                shocks.glitches, base.glitches, lambda failure: (failure.venue, failure.asset)
            )
        ),
    }


def _window(failure: Any, happens: bool) -> dict[str, Any]:
    """The fields of a `Window`; one that does not happen has no length and no rate."""
    random = failure.kind == "random"
    return {
        "random": random,
        "start": np.float64(failure.start),
        "length": np.float64(failure.length if happens else 0.0),
        "rate": np.float64(failure.rate if random and happens else 0.0),
    }


def _places(
    failures: Sequence[T], base: Sequence[T], marks: Callable[[T], Any]
) -> list[tuple[T, bool]]:
    """Failures in the places of the base's, each with whether it happens; others follow.

    Args:
        failures: Those of the scenario.
        base: Those of the scenario that it overrides.
        marks: What two failures share that are one and the same to the draws.
    """
    left, placed = list(failures), []
    for before in base:
        alike = [one for one in left if marks(one) == marks(before)]
        same = before if before in left else alike[0] if alike else None
        if same is not None:
            left.remove(same)
        placed.append((before if same is None else same, same is not None))
    return placed + [(one, True) for one in left]


def _loading(config: Config, names: Names, base: Config) -> np.ndarray:
    """[asset, factor] per square root of a minute: the base's factors, then further ones."""
    columns, before = _factors(config, names), _factors(base, names)
    nothing = np.zeros(len(names.assets))
    return np.stack([columns.get(name, nothing) for name in {**before, **columns}], axis=1)


def _factors(config: Config, names: Names) -> dict[str, np.ndarray]:
    """Loadings of the assets by factor: a common one, then one of each asset."""
    columns = {"": np.zeros(len(names.assets))}
    for name, asset in config.scenario.assets.items():
        if not isinstance(asset, Risk) or asset.volatility == 0:
            continue
        deviation = asset.volatility / np.sqrt(MINUTES_PER_YEAR)
        columns[""][names.assets[name]] = deviation * asset.market_correlation
        own = deviation * np.sqrt(1 - asset.market_correlation**2)
        if own > 0:
            columns[name] = np.zeros(len(names.assets))
            columns[name][names.assets[name]] = own
    used = {name: column for name, column in columns.items() if column.any()}
    return used or {"": columns[""]}


def _per_asset(loadings: dict[str, float], names: Names) -> np.ndarray:
    return np.array([loadings.get(name, 0.0) for name in names.assets], dtype=np.float64)


def _law(severity: Severity) -> tuple[str, float, float, float]:
    if isinstance(severity, FixedSeverity):
        return "fixed", severity.value, 0.0, 0.0
    if isinstance(severity, NormalSeverity):
        return "normal", severity.mean, severity.deviation, 0.0
    if isinstance(severity, LognormalSeverity):
        return "lognormal", severity.median, severity.sigma, 0.0
    if isinstance(severity, StudentSeverity):
        return "student_t", severity.centre, severity.scale, severity.degrees
    return "generalised_pareto", severity.threshold, severity.scale, severity.shape


def _macro(config: Config, names: Names, base: Config) -> Macro:
    shock = config.scenario.shocks.macro
    law, a, b, c = _law(shock.severity)
    if law == "fixed":  # the limit of every law at no scale, so that it needs no other program
        law, _, _, c = _law(base.scenario.shocks.macro.severity)
        c = c if law == "student_t" else 0.0  # else a shape that multiplies nothing
    latest = shock.start if shock.latest is None else shock.latest
    return Macro(
        law=law,
        a=np.float64(a),
        b=np.float64(b),
        c=np.float64(c),
        cap=np.float64(shock.severity.cap),
        start=np.float64(shock.start),
        latest=np.float64(latest),
        loading=_per_asset(shock.loadings, names),
        duration=np.float64(shock.duration),
        rebound=np.float64(shock.rebound.share),
        rebound_delay=np.float64(shock.rebound.delay),
        rebound_half_life=np.float64(shock.rebound.half_life),
        volatility_multiplier=np.float64(shock.volatility.multiplier),
        volatility_half_life=np.float64(shock.volatility.half_life),
        quantile=student_t_coefficients(c) if law == "student_t" else None,
        profile=None if shock.profile is None else np.array(shock.profile, np.float64).T,
    )


def _merton(config: Config, names: Names, base: Config) -> Merton | None:
    own = config.scenario.shocks.merton
    jumps = own or base.scenario.shocks.merton
    if jumps is None:
        return None
    return Merton(
        rate=np.float64(0.0 if own is None else jumps.rate),
        mean=np.float64(jumps.mean),
        deviation=np.float64(jumps.deviation),
        loading=_per_asset(jumps.loadings, names),
    )
