"""The shocks of a config as the numbers of `World`."""

from __future__ import annotations

import numpy as np

from deleverage.config.models import Config
from deleverage.config.names import Names
from deleverage.config.scenario import Pegged, Risk
from deleverage.config.shocks import (
    FixedSeverity,
    LognormalSeverity,
    NormalSeverity,
    ScheduledOutage,
    Severity,
)
from deleverage.world import Layout, Liquidity, Macro, Merton, Outage, World

MINUTES_PER_YEAR = 365 * 24 * 60


def build_world(config: Config, names: Names, layout: Layout) -> World:
    """The world of a layout: diffusion, macro shock, jumps, liquidity, outages."""
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
    return World(
        layout=layout,
        loading=_loading(config, names),
        drift=drift,
        anchor=anchor,
        macro=_macro(config, names),
        merton=_merton(config, names),
        liquidity=Liquidity(
            lowest=np.float64(drop.lowest),
            highest=np.float64(drop.highest),
            correlation=np.float64(drop.correlation),
            onset=np.float64(drop.onset),
            hold=np.float64(drop.hold),
            half_life=np.float64(drop.half_life),
        ),
        outages=tuple(
            Outage(
                venue=names.venues[outage.venue],
                random=not isinstance(outage, ScheduledOutage),
                start=np.float64(outage.start),
                length=np.float64(outage.length),
                rate=np.float64(0.0 if isinstance(outage, ScheduledOutage) else outage.rate),
            )
            for outage in shocks.outages
        ),
    )


def _loading(config: Config, names: Names) -> np.ndarray:
    """[asset, factor] per square root of a minute: a common factor, then one of each asset."""
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
    used = [column for column in columns.values() if column.any()]
    return np.stack(used or [columns[""]], axis=1)


def _per_asset(loadings: dict[str, float], names: Names) -> np.ndarray:
    return np.array([loadings.get(name, 0.0) for name in names.assets], dtype=np.float64)


def _law(severity: Severity) -> tuple[str, float, float, float]:
    if isinstance(severity, FixedSeverity):
        return "fixed", severity.value, 0.0, 0.0
    if isinstance(severity, NormalSeverity):
        return "normal", severity.mean, severity.deviation, 0.0
    if isinstance(severity, LognormalSeverity):
        return "lognormal", severity.median, severity.sigma, 0.0
    return "generalised_pareto", severity.threshold, severity.scale, severity.shape


def _macro(config: Config, names: Names) -> Macro:
    shock = config.scenario.shocks.macro
    law, a, b, c = _law(shock.severity)
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
    )


def _merton(config: Config, names: Names) -> Merton | None:
    jumps = config.scenario.shocks.merton
    if jumps is None:
        return None
    return Merton(
        rate=np.float64(jumps.rate),
        mean=np.float64(jumps.mean),
        deviation=np.float64(jumps.deviation),
        loading=_per_asset(jumps.loadings, names),
    )
