"""The engine's evaluation by rows on threads of one path each, in operations that Mosaic GPU has.

Buckets are slots here, so a row is a vector `[path]`, and what that compiler does not lower is
written in what it does. That both evaluators give the same numbers says that no path's outcome
depends on its neighbours, and that the stages need nothing of a backend but such rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial, reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from deleverage.engine import rows as engine
from deleverage.engine.rows import Evaluator, Rows, pack


def expm1(x: Any, **_: Any) -> Any:
    """`exp(x) - 1`, which Mosaic GPU does not lower: a Taylor polynomial where that cancels.

    Nine terms leave less than a float32 rounding for |x| < 1/2.
    """
    series = jnp.ones_like(x)
    for term in range(9, 1, -1):
        series = 1 + x * series / term
    return jnp.where(jnp.abs(x) < 0.5, x * series, jnp.exp(x) - 1)


def log1p(x: Any, **_: Any) -> Any:
    """`log(1 + x)`, which Mosaic GPU does not lower: corrected for what `1 + x` rounds off."""
    whole = 1 + x
    lost = x - (whole - 1)
    return jnp.log(whole) + lost / whole


def is_finite(x: Any) -> Any:
    """Whether a value is finite, by comparison."""
    return jnp.abs(x) < jnp.inf


def invert(x: Any) -> Any:
    """`not` of a mask: Mosaic GPU takes masks to select by, and holds none as numbers."""
    return lax.select(x, jnp.zeros(x.shape), jnp.ones(x.shape)) > 0


def convert(x: Any, *, new_dtype: Any, **params: Any) -> Any:
    """Another type; a mask by selecting 1 or 0."""
    if x.dtype != bool:
        return lax.convert_element_type_p.bind(x, new_dtype=new_dtype, **params)
    return lax.select(x, jnp.ones(x.shape, new_dtype), jnp.zeros(x.shape, new_dtype))


def select(which: Any, no: Any, yes: Any) -> Any:
    """`select_n` of two; of masks by logic."""
    if no.dtype != bool:
        return lax.select(which, yes, no)
    return (which & yes) | (invert(which) & no)


REWRITES: dict[str, Callable[..., Any]] = {
    "expm1": expm1,
    "log1p": log1p,
    "is_finite": is_finite,
    "not": invert,
    "convert_element_type": convert,
    "select_n": select,
}


class PathEvaluator(Evaluator):
    """Evaluates on vectors of paths, `(paths,)`."""

    def _apply(self, equation: Any, operands: list[Rows]) -> list[Rows]:
        name, params = equation.primitive.name, equation.params
        shape = engine.slots(equation.outvars[0].aval.shape)
        if name in REWRITES:
            return [self._each(partial(REWRITES[name], **params), operands, shape)]
        if name == "fold":
            pair = partial(lambda pair, a, b: self._one(pair, [a, b]), params["pair"])
            along = np.moveaxis(operands[0], 1, 0)
            columns = [along[(slice(None), *place)] for place in np.ndindex(*shape)]
            return [pack([reduce(pair, column) for column in columns], shape)]
        return super()._apply(equation, operands)


def trace(function: Callable[..., Any], leaves: Sequence[Any], paths: int) -> Any:
    """The program of a function of arrays `[..., path]` or scalars, for evaluators of rows."""
    shapes = [
        jax.ShapeDtypeStruct((*leaf.shape[:-1], engine.PATHS) if leaf.ndim else (), leaf.dtype)
        for leaf in leaves
    ]
    assert all(leaf.shape[-1:] in ((), (paths,)) for leaf in leaves)
    return jax.make_jaxpr(function)(*shapes)


def to_rows(values: Any) -> Rows:
    """`[..., path]`, or a scalar, as rows."""
    shape = np.shape(values)[:-1]
    return pack([values[place] for place in np.ndindex(*shape)], shape)


def from_rows(rows: Rows, aval: Any, paths: int) -> jax.Array:
    """Rows of an output `[..., path]`, or one without paths, as an array."""
    width = (paths,) if engine.PATHS in aval.shape else ()
    if not rows.size:
        return jnp.zeros((*rows.shape, *width), aval.dtype)
    flat = [jnp.broadcast_to(jnp.asarray(row, aval.dtype), width) for row in rows.ravel()]
    return jnp.stack(flat).reshape(*rows.shape, *width)
