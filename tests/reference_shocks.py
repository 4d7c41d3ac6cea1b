"""The oracle's exogenous series: MODEL.md section 2.1 as scalar loops over one path."""

from __future__ import annotations

import math

import numpy as np
from reference_world import Shocks


def ndtr(x: float) -> float:
    """Standard normal distribution function."""
    return 0.5 * math.erfc(-x / math.sqrt(2.0))


def ndtri(u: float) -> float:
    """Its inverse: a rational start (Abramowitz, Stegun 26.2.23), then Newton steps on `erfc`."""
    tail = min(u, 1.0 - u)
    if tail == 0.5:
        return 0.0
    t = math.sqrt(-2.0 * math.log(tail))
    x = t - (2.515517 + t * (0.802853 + t * 0.010328)) / (
        1.0 + t * (1.432788 + t * (0.189269 + t * 0.001308))
    )
    for _ in range(20):
        # Newton on the log of the tail, which is nearly a parabola: safe far out as well.
        upper = 0.5 * math.erfc(x / math.sqrt(2.0))
        density = math.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi)
        change = (math.log(upper) - math.log(tail)) * upper / density
        x += change
        if abs(change) < 1e-15 * (1.0 + abs(x)):
            break
    return -x if u < 0.5 else x


def beta_fraction(a: float, b: float, x: float) -> float:
    """Continued fraction of the incomplete beta function (DLMF 8.17.22), from its 400th term up."""
    value = 1.0
    for n in range(400, 0, -1):
        m = n // 2
        if n % 2 == 0:
            term = m * (b - m) * x / ((a + 2 * m - 1.0) * (a + 2 * m))
        else:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1.0))
        value = 1.0 + term / value
    return 1.0 / value


def student_tail(t: float, degrees: float) -> float:
    """Probability of more than `t` > 0: half the incomplete beta function of its complement."""
    a, b = degrees / 2.0, 0.5
    x = degrees / (degrees + t * t)
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    log_front += a * math.log(x) + b * math.log(t * t / (degrees + t * t))
    if x < (a + 1.0) / (a + b + 2.0):
        return 0.5 * math.exp(log_front) * beta_fraction(a, b, x) / a
    return 0.5 - 0.5 * math.exp(log_front) * beta_fraction(b, a, t * t / (degrees + t * t)) / b


def student_upper(u: float, degrees: float) -> float:
    """What a Student-t variable exceeds with probability `u`."""
    tail = min(u, 1.0 - u)
    if tail == 0.5:
        return 0.0
    low, high = 0.0, 1.0
    while student_tail(high, degrees) > tail:
        low, high = high, 2.0 * high
    for _ in range(200):
        middle = 0.5 * (low + high)
        if middle in (low, high):
            break
        if student_tail(middle, degrees) > tail:
            low = middle
        else:
            high = middle
    return high if u < 0.5 else -high


def severity_of(shocks: Shocks, u: float) -> float:
    """Log drop of an asset with loading 1; the bad tail is at u -> 0."""
    if shocks.law == 0:
        severity = shocks.a
    elif shocks.law == 1:
        severity = shocks.a - shocks.b * ndtri(u)
    elif shocks.law == 2:
        severity = shocks.a * math.exp(-shocks.b * ndtri(u))
    elif shocks.law == 4:
        severity = shocks.a + shocks.b * student_upper(u, shocks.c)
    elif shocks.c == 0.0:
        severity = shocks.a - shocks.b * math.log(u)
    else:
        severity = shocks.a + shocks.b * math.expm1(-shocks.c * math.log(u)) / shocks.c
    return min(severity, shocks.cap)


def macro_drop(shocks: Shocks, severity: float, since: float) -> float:
    """Log drop of an asset with loading 1, `since` minutes after the shock."""
    if since <= 0.0:
        return 0.0
    arrived = 1.0 if shocks.duration == 0.0 else min(1.0, since / shocks.duration)
    if shocks.profile_share.shape[0] > 0:
        arrived = np.interp(since, shocks.profile_minutes, shocks.profile_share)
    healing = max(0.0, since - shocks.rebound_delay) / shocks.rebound_half_life
    return severity * (arrived - shocks.rebound * (1.0 - 2.0**-healing))


def volatility(shocks: Shocks, time: float, shock_time: float) -> float:
    """Multiplier of the diffusion in the interval that begins at `time`."""
    if time < shock_time:
        return 1.0
    age = (time - shock_time) / shocks.volatility_half_life
    return 1.0 + (shocks.volatility_multiplier - 1.0) * 2.0**-age


def increments(
    shocks: Shocks,
    g: float,
    nu: float,
    normals: np.ndarray,
    jump_uniform: float,
    jump_normal: float,
) -> np.ndarray:
    """Change of the log fundamental of every asset over one interval, the macro shock left out."""
    chance = 1.0 - math.exp(-shocks.jump_rate * g)
    change = np.zeros(shocks.drift.shape[0])
    for asset in range(change.shape[0]):
        diffusion, variance = 0.0, 0.0
        for factor in range(shocks.loading.shape[1]):
            diffusion += shocks.loading[asset, factor] * normals[factor]
            variance += shocks.loading[asset, factor] ** 2
        jump_loading = shocks.jump_loading[asset]
        jump = 0.0
        if jump_uniform < chance:
            jump = jump_loading * (shocks.jump_mean + shocks.jump_deviation * jump_normal)
        expected = math.exp(
            jump_loading * shocks.jump_mean + (jump_loading * shocks.jump_deviation) ** 2 / 2.0
        )
        jump -= math.log(1.0 + chance * (expected - 1.0))
        change[asset] = (
            nu * math.sqrt(g) * diffusion
            - nu * nu * g / 2.0 * variance
            + shocks.drift[asset] * g
            + jump
        )
    return change


def liquidity_drop(shocks: Shocks, worst: float, since: float) -> float:
    """Share of depth that is gone, `since` minutes after the shock."""
    if since <= 0.0:
        return 0.0
    arrived = 1.0 if shocks.drop_onset == 0.0 else min(1.0, since / shocks.drop_onset)
    recovery = max(0.0, since - shocks.drop_onset - shocks.drop_hold) / shocks.drop_half_life
    return worst * arrived * 2.0**-recovery


def outage_windows(shocks: Shocks, uniforms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Start and end of every outage in minutes; one that never starts does so at infinity."""
    starts = shocks.outage_start.copy()
    ends = np.empty(starts.shape[0])
    for outage in range(starts.shape[0]):
        length = shocks.outage_length[outage]
        if shocks.outage_random[outage]:
            rate = shocks.outage_rate[outage]
            starts[outage] += -math.log(uniforms[outage, 0]) / rate if rate > 0.0 else np.inf
            length *= -math.log(uniforms[outage, 1])
        ends[outage] = starts[outage] + length
    return starts, ends


def outage_coordinates(
    shocks: Shocks, starts: np.ndarray, ends: np.ndarray, venues: int, duration: float
) -> tuple[np.ndarray, np.ndarray]:
    """First start and minutes shut within the run, by venue; the union of all outages."""
    first = np.full(venues, np.nan)
    length = np.zeros(venues)
    for venue in range(venues):
        covered = 0.0
        for outage in np.argsort(starts):
            here = shocks.outage_venue[outage] == venue
            if here and starts[outage] < min(duration, ends[outage]) and ends[outage] > 0.0:
                if np.isnan(first[venue]):
                    first[venue] = starts[outage]
                end = min(ends[outage], duration)
                length[venue] += max(0.0, end - max(starts[outage], covered))
                covered = max(covered, end)
    return first, length


def exogenous_path(
    shocks: Shocks,
    steps: int,
    step: float,
    draw_step: float,
    venues: int,
    diffusion: np.ndarray,  # [G, factor]
    macro: np.ndarray,  # [2]
    jump_uniform: np.ndarray,  # [G]
    jump_normal: np.ndarray,  # [G]
    liquidity: float,
    outages: np.ndarray,  # [outages, 2]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float, float, np.ndarray, np.ndarray]:
    """Log fundamentals [T, A], depth drop [T], gates [T, V], and the path's coordinates."""
    assets = shocks.drift.shape[0]
    severity = severity_of(shocks, macro[0])
    shock_time = shocks.start + macro[1] * (shocks.latest - shocks.start)
    score = shocks.drop_correlation * -ndtri(macro[0])
    score += math.sqrt(1.0 - shocks.drop_correlation**2) * liquidity
    worst = shocks.drop_lowest + (shocks.drop_highest - shocks.drop_lowest) * ndtr(score)
    starts, ends = outage_windows(shocks, outages)

    log_fundamental = np.zeros((steps, assets))
    drop = np.zeros(steps)
    gate_open = np.ones((steps, venues))
    wandering = np.zeros(assets)
    intervals = round(step / draw_step)
    for t in range(steps):
        for i in range(t * intervals, (t + 1) * intervals):
            nu = volatility(shocks, i * draw_step, shock_time)
            wandering += increments(
                shocks, draw_step, nu, diffusion[i], jump_uniform[i], jump_normal[i]
            )
        time = (t + 1) * step
        fallen = macro_drop(shocks, severity, time - shock_time)
        for asset in range(assets):
            log_fundamental[t, asset] += shocks.replay[t, asset]
            for other in range(assets):
                log_fundamental[t, asset] += shocks.anchor[asset, other] * (
                    wandering[other] - fallen * shocks.macro_loading[other]
                )
        drop[t] = liquidity_drop(shocks, worst, time - shock_time)
        for outage in range(starts.shape[0]):
            if starts[outage] < time <= ends[outage]:
                gate_open[t, shocks.outage_venue[outage]] = 0.0
    first, length = outage_coordinates(shocks, starts, ends, venues, steps * step)
    return log_fundamental, drop, gate_open, severity, shock_time, first, length


def window_of(row: np.ndarray, uniforms: np.ndarray) -> tuple[float, float]:
    """Start and end of a failure; one that never starts does so at infinity."""
    random, start, length, rate = row
    if random == 0.0:
        return start, start + length
    if rate == 0.0:
        return np.inf, np.inf
    start -= math.log(uniforms[0]) / rate
    return start, start - math.log(uniforms[1]) * length


def failures_path(
    shocks: Shocks,
    steps: int,
    step: float,
    venues: int,
    markets: int,
    halts: np.ndarray,  # [halts, 2]
    congestions: np.ndarray,  # [congestions, 2]
    glitches: np.ndarray,  # [glitches]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Engines [T, V], capacity left [T], index factors [T, I], exogenous sales [T, M]."""
    engine_open, capacity_left = np.ones((steps, venues)), np.ones(steps)
    index_factor = np.ones((steps, shocks.glitch_indices.shape[1]))
    sales = np.zeros((steps, markets))
    for t in range(steps):
        time = (t + 1) * step
        for h in range(shocks.halts.shape[0]):
            start, end = window_of(shocks.halts[h], halts[h])
            if start < time <= end:
                engine_open[t, shocks.halt_venue[h]] = 0.0
        for c in range(shocks.congestions.shape[0]):
            start, end = window_of(shocks.congestions[c], congestions[c])
            if start < time <= end:
                capacity_left[t] = min(capacity_left[t], shocks.congestion_left[c])
        for g in range(shocks.glitches.shape[0]):
            start, length, probability, factor = shocks.glitches[g]
            if glitches[g] < probability and start < time <= start + length:
                for i in range(index_factor.shape[1]):
                    if shocks.glitch_indices[g, i]:
                        index_factor[t, i] *= factor
        for s in range(shocks.sales.shape[0]):
            units, start, duration = shocks.sales[s]
            overlap = min(time, start + duration) - max(time - step, start)
            sales[t, shocks.sale_market[s]] += units * max(0.0, overlap) / duration
    return engine_open, capacity_left, index_factor, sales


def load_path(shocks: Shocks, uniforms: np.ndarray) -> np.ndarray:
    """What the load outages of a path take [load outages, 5]; see `Series.load`."""
    load = np.zeros((shocks.load_outages.shape[0], 5))
    for outage in range(load.shape[0]):
        random, start, threshold, rate, length = shocks.load_outages[outage]
        if random != 0.0:
            length *= -math.log(uniforms[outage, 1])
        patience = -math.log(uniforms[outage, 0])
        load[outage] = np.array([start, threshold, rate, patience, length])
    return load
