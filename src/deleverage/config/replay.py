"""A replayed series as log prices at the ends of steps, or the sentence that says why not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import numpy as np
from pydantic_core import PydanticCustomError

from deleverage.config.names import Names
from deleverage.config.scenario import Risk
from deleverage.config.series import TIME, column_names, read_series
from deleverage.config.source import Key

if TYPE_CHECKING:
    from deleverage.config.models import Config

WIDE = 2.0
"""Spacings this much wider than the median are gaps, unless the config says how long one may be."""

KEY: Key = ("scenario", "shocks", "replay")


def log_series(config: Config, names: Names) -> np.ndarray | None:
    """Log price over the start at the ends of steps, linear between rows, `[step, asset]`.

    Assets that are not replayed, and pegged ones, have 0.

    Raises:
        ConfigError: The series does not fit the scenario or the run.
    """
    replay = config.scenario.shocks.replay
    if replay is None:
        return None
    assets = list(replay.assets)
    for asset in assets:
        _check_asset(config, asset)
    path = Path(replay.file)
    try:
        known = column_names(path)
        for asset, column in [(None, TIME), *replay.assets.items()]:
            key = KEY if asset is None else (*KEY, "assets", asset)
            if column not in known:
                columns = ", ".join(known) or "a file with columns, as this one is empty"
                _refuse(config, key, f"no column '{column}' in {path.name}", columns)
            if known.count(column) > 1:
                came = f"{known.count(column)} columns '{column}' in {path.name}"
                _refuse(config, key, came, "each column once", "rename or remove one")
        minutes, prices = read_series(path, list(replay.assets.values()), config.time.start)
    except PydanticCustomError as error:
        found = error.context or {}
        config.source.refuse(
            (*KEY, "file"), str(found["came"]), str(found["allowed"]), str(found["advice"])
        )
    _check_times(config, minutes)
    for asset, row in zip(assets, prices, strict=True):
        wrong = np.flatnonzero(~(np.isfinite(row) & (row > 0)))
        if wrong.size:
            place = int(wrong[0])
            _refuse(
                config,
                (*KEY, "assets", asset),
                f"the price {row[place]:g} at {minutes[place]:g}m (row {place + 1})",
                "prices above 0 in every row",
                "fill or cut the series",
            )
    ends = np.arange(1, config.time.steps + 1) * config.time.step
    series = np.zeros((config.time.steps, len(names.assets)))
    for asset, row in zip(assets, np.log(prices), strict=True):
        begin = np.interp(0.0, minutes, row)
        series[:, names.assets[asset]] = np.interp(ends, minutes, row) - begin
    return series


def _refuse(
    config: Config, key: Key, came: str, allowed: str, advice: str = "use one of these"
) -> NoReturn:
    config.source.refuse(key, came, allowed, advice)


def _check_asset(config: Config, name: str) -> None:
    """Refuse an asset that is no risk asset, or whose own numbers say what the series says."""
    scenario, key = config.scenario, (*KEY, "assets", name)
    asset = scenario.assets.get(name)
    if not isinstance(asset, Risk):
        risky = [one for one, spec in scenario.assets.items() if isinstance(spec, Risk)]
        _refuse(config, key, f"'{name}' is no risk asset of the scenario", ", ".join(risky))
    shocks = scenario.shocks
    jumps = {} if shocks.merton is None else shocks.merton.loadings
    for part, loadings in (("macro", shocks.macro.loadings), ("merton", jumps)):
        if loadings.get(name):
            _refuse(
                config,
                ("scenario", "shocks", part, "loadings", name),
                f"a shock of '{name}', which replays a series",
                "loadings of assets that replay none, as the series holds its shocks",
                "set it to 0 or do not replay the asset",
            )
    if asset.drift:
        _refuse(
            config,
            ("scenario", "assets", name, "drift"),
            f"a drift of '{name}', which replays a series",
            "drifts of assets that replay none",
            "remove it",
        )
    residual = shocks.replay is not None and shocks.replay.residual
    if bool(asset.volatility) != residual:
        _refuse(
            config,
            ("scenario", "assets", name, "volatility"),
            f"a volatility of {100 * asset.volatility:g}% beside a series, residual: {residual}",
            "0 without `residual`, and above 0 with it",
            "set `volatility: 0`, or `residual: true` to add a diffusion to the series",
        )


def _check_times(config: Config, minutes: np.ndarray) -> None:
    """Refuse times that do not rise, leave gaps, or do not cover the run."""
    end = config.time.steps * config.time.step
    key = (*KEY, "file")
    spacing = np.diff(minutes)
    falls = np.flatnonzero(~(spacing > 0))
    if falls.size:
        place = int(falls[0])
        _refuse(
            config,
            key,
            f"the time {minutes[place + 1]:g}m after {minutes[place]:g}m (row {place + 2})",
            "times that rise",
            "sort the rows and leave each time once",
        )
    if minutes.size < 2 or minutes[0] > 0 or minutes[-1] < end - 1e-9:
        covered = f"{minutes[0]:g}m to {minutes[-1]:g}m" if minutes.size else "no time"
        _refuse(
            config,
            key,
            f"a series that covers {covered}",
            f"one that covers the run, 0m to {end:g}m",
            "give a longer series, fewer steps or another start",
        )
    replay = config.scenario.shocks.replay
    longest = None if replay is None else replay.longest_gap
    longest = WIDE * float(np.median(spacing)) if longest is None else longest
    gaps = np.flatnonzero(spacing > longest * (1 + 1e-9))
    if gaps.size:
        place = int(gaps[0])
        _refuse(
            config,
            key,
            f"a gap of {spacing[place]:g}m after {minutes[place]:g}m (row {place + 1})",
            f"rows at most {longest:g}m apart",
            "fill the gap, or say in `longest_gap` how long one may be",
        )
