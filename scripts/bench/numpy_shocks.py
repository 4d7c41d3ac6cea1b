"""Stage 1 of the NumPy program: exogenous prices, liquidity and gates from draws. MODEL.md 2.1."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from reference_world import Maps, Shocks
from scipy.special import ndtr, ndtri


class Series(NamedTuple):
    """What every policy reads."""

    fundamental: np.ndarray  # [step, asset, path]
    drop: np.ndarray  # [step, path]
    gate_open: np.ndarray  # [step, venue, path]


def series_of(maps: Maps, shocks: Shocks, venues: int, draws: Any, dtype: Any) -> Series:
    """The exogenous series of a block of paths."""
    draws = {name: _typed(getattr(draws, name), dtype) for name in vars(draws)}
    count, g = round(maps.step / maps.draw_step), maps.draw_step
    u, u_time = draws["macro"]
    shock_time = shocks.start + u_time * (shocks.latest - shocks.start)
    time = ((np.arange(maps.steps) + 1) * maps.step).astype(dtype)[:, None]
    since = time - shock_time

    begins = (np.arange(maps.steps * count) * g).astype(dtype)[:, None]
    age = (begins - shock_time) / shocks.volatility_half_life
    rise = (shocks.volatility_multiplier - 1) * np.exp2(-np.maximum(age, 0))
    nu = np.where(begins >= shock_time, 1 + rise, 1).astype(dtype)
    # increments are linear in what the anchor passes on, so anchor these few numbers
    loading = (shocks.anchor @ shocks.loading).astype(dtype)
    variance = (shocks.anchor @ (shocks.loading**2).sum(axis=1)).astype(dtype)
    trend = shocks.anchor @ (shocks.drift * g - _compensation(shocks, g))
    changes = np.sqrt(g, dtype=dtype) * nu[:, None] * (loading @ draws["diffusion"])
    changes -= (nu * nu * dtype.type(g / 2))[:, None] * variance[:, None]
    changes += trend.astype(dtype)[:, None]
    if draws["jump_uniform"] is not None:
        size = shocks.jump_mean + shocks.jump_deviation * draws["jump_normal"]
        jumps = np.where(draws["jump_uniform"] < -np.expm1(-shocks.jump_rate * g), size, 0)
        changes += (shocks.anchor @ shocks.jump_loading).astype(dtype)[:, None] * jumps[:, None]
    level = np.cumsum(changes, axis=0, dtype=dtype)[count - 1 :: count]
    level -= (shocks.anchor @ shocks.macro_loading).astype(dtype)[:, None] * _news(
        shocks, u, since
    )[:, None]
    return Series(
        np.exp(level).astype(dtype),
        _drop(shocks, u, draws["liquidity"], since).astype(dtype),
        _gates(maps, shocks, venues, draws["outage"], time).astype(dtype),
    )


def _typed(values: Any, dtype: Any) -> Any:
    return None if values is None else np.asarray(values, dtype)


def _compensation(shocks: Shocks, g: float) -> np.ndarray:
    exponent = shocks.jump_loading * shocks.jump_mean
    exponent = exponent + (shocks.jump_loading * shocks.jump_deviation) ** 2 / 2
    return np.log1p(-np.expm1(-shocks.jump_rate * g) * np.expm1(exponent))


def _news(shocks: Shocks, u: np.ndarray, since: np.ndarray) -> np.ndarray:
    """Log drop of an asset with loading 1, `[step, path]`."""
    if shocks.law == 0:
        severity = np.full_like(u, shocks.a)
    elif shocks.law == 1:
        severity = shocks.a - shocks.b * ndtri(u)
    elif shocks.law == 2:
        severity = shocks.a * np.exp(-shocks.b * ndtri(u))
    elif shocks.c == 0:
        severity = shocks.a - shocks.b * np.log(u)
    else:
        severity = shocks.a + shocks.b * np.expm1(-shocks.c * np.log(u)) / shocks.c
    severity = np.minimum(severity, shocks.cap)
    recovered = np.maximum(0, since - shocks.rebound_delay) / shocks.rebound_half_life
    fallen = _arrived(since, shocks.duration) - shocks.rebound * (1 - np.exp2(-recovered))
    return np.where(since > 0, severity * fallen, 0).astype(u.dtype)


def _arrived(since: np.ndarray, duration: float) -> Any:
    return np.minimum(1, since / duration) if duration > 0 else 1.0


def _drop(shocks: Shocks, u: np.ndarray, normals: np.ndarray, since: np.ndarray) -> np.ndarray:
    rho = shocks.drop_correlation
    score = np.sqrt(1 - rho * rho) * normals - rho * ndtri(u)
    worst = shocks.drop_lowest + (shocks.drop_highest - shocks.drop_lowest) * ndtr(score)
    recovering = np.maximum(0, since - shocks.drop_onset - shocks.drop_hold)
    gone = worst * _arrived(since, shocks.drop_onset)
    return np.where(since > 0, gone * np.exp2(-recovering / shocks.drop_half_life), 0)


def _gates(
    maps: Maps, shocks: Shocks, venues: int, uniforms: np.ndarray, time: np.ndarray
) -> np.ndarray:
    gate = np.ones((maps.steps, venues, uniforms.shape[-1]), time.dtype)
    for n, venue in enumerate(shocks.outage_venue):
        start, length = shocks.outage_start[n], shocks.outage_length[n]
        if shocks.outage_random[n]:
            rate = shocks.outage_rate[n]
            start = start - np.log(uniforms[n, 0]) / rate if rate > 0 else np.inf
            length = -np.log(uniforms[n, 1]) * length
        gate[:, venue] *= ~((start < time) & (time <= start + length))
    return gate
