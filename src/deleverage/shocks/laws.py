"""Laws of the macro shock's severity, by inverse distribution function.

Each law takes three numbers, those of `world.Macro` unless it says otherwise, and a uniform `u`. It
is worst as u -> 0, where uniforms have full resolution.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import ndtri

FARTHEST = 6.5
"""Normal score beyond every uniform: the least one, 2^-33, lies at 6.28."""

COEFFICIENTS = 40
"""Of the Student-t quantile; more change no digit of float64 from one degree of freedom up."""


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


def student_t(a: Any, b: Any, c: Any, u: Array) -> Array:
    r"""Student-t with centre `a` and scale `b`, whatever its degrees of freedom.

    $$a + b \sinh(z\,s(z)), \quad z = -\Phi^{-1}(u)$$

    No closed form holds for all degrees, and a quantile grows too fast to be interpolated. Its
    inverse hyperbolic sine over the normal score $z$ of the same rank is an even function that
    hardly bends, so that one polynomial in $z^2$ gives tail and centre to the last digits.

    Args:
        a: Centre.
        b: Scale times the root of the degrees of freedom.
        c: `student_t_coefficients` of $s$, `[n]`.
        u: Uniforms, worst at 0.
    """
    score = -ndtri(u)
    x = 2 * (score / FARTHEST) ** 2 - 1
    after, here = jnp.zeros_like(x), jnp.zeros_like(x)
    for n in range(c.shape[0] - 1, 0, -1):  # Clenshaw
        after, here = here, 2 * x * here - after + c[n]
    return a + b * jnp.sinh(score * (x * here - after + c[0]))


def student_t_coefficients(degrees: float) -> np.ndarray:
    r"""Chebyshev coefficients, in $2 (z/6.5)^2 - 1$, of what `student_t` multiplies the score by.

    $$s(z) = \operatorname{asinh}(t(z) / \sqrt\nu) / z$$

    $t(z)$ is the Student-t quantile of the rank of the normal score $z$, in float64 by the inverse
    of the incomplete beta function. What is left of it is wrong by less than 4e-11 of itself in
    float64, and in float32 by 5e-6 at one degree of freedom and 2e-6 from three up.

    Args:
        degrees: $\nu$, from 1 to 10000.

    Returns:
        `[40]`.
    """
    from scipy.special import betaincinv, erf, ndtr

    nodes = np.cos(np.pi * (np.arange(COEFFICIENTS) + 0.5) / COEFFICIENTS)
    score = FARTHEST * np.sqrt((nodes + 1) / 2)
    # t^2 / (nu + t^2) of the rank, from the side on which the rank has all its digits
    far = betaincinv(degrees / 2, 0.5, 2 * ndtr(-np.maximum(score, 1)))
    near = betaincinv(0.5, degrees / 2, erf(np.minimum(score, 1) / np.sqrt(2)))
    square = np.where(score < 1, near / (1 - near), (1 - far) / far)
    values = np.arcsinh(np.sqrt(square)) / score
    return np.polynomial.chebyshev.chebfit(nodes, values, COEFFICIENTS - 1)


LAWS: dict[str, Callable[[Any, Any, Any, Array], Array]] = {
    "fixed": fixed,
    "normal": normal,
    "lognormal": lognormal,
    "generalised_pareto": generalised_pareto,
    "student_t": student_t,
}
"""By the name `world.Macro.law` carries."""
