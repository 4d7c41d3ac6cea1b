"""The macro shock: when it comes, how bad it is, how the drop arrives and comes back."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from deleverage.errors import ConfigError
from deleverage.shocks.laws import LAWS
from deleverage.world import Macro


def severity(macro: Macro, u: Array) -> Array:
    """Log drop of an asset with loading 1.

    Args:
        macro: Law, its numbers and the cap.
        u: Uniforms, `[path]`, worst at 0.

    Returns:
        The severity, at most the cap, `[path]`.

    Raises:
        ConfigError: If there is no such law.
    """
    if macro.law not in LAWS:
        raise ConfigError(f"The severity law is '{macro.law}'; choose one of {', '.join(LAWS)}.")
    numbers = (macro.a, macro.b, macro.c)
    if macro.law == "student_t":
        numbers = (macro.a, macro.b * jnp.sqrt(macro.c), macro.quantile)
    return jnp.minimum(LAWS[macro.law](*numbers, u), macro.cap)


def shock_time(macro: Macro, u: Array) -> Array:
    """Minutes from the start of the run to the shock, uniform on [start, latest], `[path]`."""
    return macro.start + u * (macro.latest - macro.start)


def log_drop(macro: Macro, severity: Array, since: Array) -> Array:
    r"""Log drop of an asset with loading 1, some time after the shock.

    $$S\,\bigl(g(\tau) - \rho\,(1 - 2^{-\max(0,\,\tau - \delta)/\eta})\bigr)$$

    Args:
        macro: Duration or profile of the arrival $g$; rebound $\rho$, its delay $\delta$ and
            half-life $\eta$, minutes.
        severity: $S$, `[path]`.
        since: $\tau$, minutes since the shock, `[time, path]`.

    Returns:
        The drop, 0 before the shock, `[time, path]`.

    Source: MODEL.md section 2.1.
    """
    recovered = 1 - jnp.exp2(-jnp.maximum(0, since - macro.rebound_delay) / macro.rebound_half_life)
    if macro.profile is None:
        arrived = arrival(since, macro.duration)
    else:
        arrived = arrival_by_profile(since, *macro.profile)
    drop = severity * (arrived - macro.rebound * recovered)
    return jnp.where(since > 0, drop, 0)


def arrival(since: Array, duration: Array) -> Array:
    """Share of a change that has arrived `since` minutes after it began; duration 0: all of it."""
    at_once = duration == 0
    return jnp.where(at_once, 1, jnp.minimum(1, since / jnp.where(at_once, 1, duration)))


def arrival_by_profile(since: Array, minutes: Array, share: Array) -> Array:
    r"""Share of a change that has arrived, linear between given points.

    $$s_0 + \sum_k (s_k - s_{k-1})\,
    \operatorname{clip}\Bigl(\frac{\tau - m_{k-1}}{m_k - m_{k-1}},\,0,\,1\Bigr)$$

    Args:
        since: $\tau$, minutes since the change began, `[time, path]`.
        minutes: $m$, rising from 0, `[n]`.
        share: $s$ arrived by then, `[n]`.

    Returns:
        `[time, path]`.
    """
    arrived = jnp.broadcast_to(share[0], since.shape)
    for k in range(1, share.shape[0]):
        way = (since - minutes[k - 1]) / (minutes[k] - minutes[k - 1])
        arrived = arrived + (share[k] - share[k - 1]) * jnp.clip(way, 0, 1)
    return arrived
