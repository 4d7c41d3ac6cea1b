"""Laws of the macro shock's severity, by inverse distribution function.

Each law takes the numbers `a`, `b`, `c` of `world.Macro` and a uniform `u`, and is worst as u -> 0,
where uniforms have full resolution.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import Array
from jax.scipy.special import ndtri


def fixed(a: Any, b: Any, c: Any, u: Array) -> Array:
    """The same severity `a` on every path."""
    return jnp.broadcast_to(jnp.asarray(a, u.dtype), u.shape)


def normal(a: Any, b: Any, c: Any, u: Array) -> Array:
    r"""Normal with mean `a` and standard deviation `b`: $a - b\,\Phi^{-1}(u)$."""
    return a - b * ndtri(u)


def lognormal(a: Any, b: Any, c: Any, u: Array) -> Array:
    r"""Lognormal with median `a` and standard deviation `b` of the log: $a e^{-b\Phi^{-1}(u)}$."""
    return a * jnp.exp(-b * ndtri(u))


def generalised_pareto(a: Any, b: Any, c: Any, u: Array) -> Array:
    r"""Generalised Pareto with threshold `a`, scale `b`, shape `c`: $a + b\,(u^{-c} - 1)/c$.

    Shape 0 is its limit, the exponential $a - b \log u$. Small shapes lose no digits.
    """
    log_tail = -jnp.log(u)
    is_exponential = c == 0
    shape = jnp.where(is_exponential, 1, c)
    excess = jnp.where(is_exponential, log_tail, jnp.expm1(shape * log_tail) / shape)
    return a + b * excess


LAWS: dict[str, Callable[[Any, Any, Any, Array], Array]] = {
    "fixed": fixed,
    "normal": normal,
    "lognormal": lognormal,
    "generalised_pareto": generalised_pareto,
}
"""By the name `world.Macro.law` carries."""
