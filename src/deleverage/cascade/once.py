"""Compute once what several places read: a boundary that XLA fuses nothing across.

XLA fuses a value into each place that reads it, and computes it anew in each. Through chains of
chosen rows the work multiplies (healing took 300 us a step instead of 20), and where a loop changes
an array in place, a late reader forces a copy of it. `lax.optimization_barrier` holds on a GPU; the
CPU compiler drops it before it fuses, so there the boundary is a branch that is always taken, for a
reason the compiler cannot see.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.extend.core import Primitive
from jax.interpreters import mlir

once_p = Primitive("once")
once_p.multiple_results = True


def once(function: Callable[..., Any], *arguments: Any) -> Any:
    """`function(*arguments)`; what goes in and what comes out is in memory.

    Args:
        function: Pure; arrays that it closes over count as arguments.
        *arguments: Trees of arrays; those of NumPy are static and stay what they are.
    """
    leaves, structure = jax.tree.flatten(arguments)
    traced = [jnp.asarray(leaf) for leaf in leaves if not isinstance(leaf, np.ndarray)]
    outcome = None

    def flat(*given: Array) -> list[Array]:
        nonlocal outcome
        here = iter(given)
        whole = [leaf if isinstance(leaf, np.ndarray) else next(here) for leaf in leaves]
        results, outcome = jax.tree.flatten(function(*jax.tree.unflatten(structure, whole)))
        return [jnp.asarray(result) for result in results]

    closed = jax.make_jaxpr(flat)(*traced)
    results = once_p.bind(*closed.consts, *traced, jaxpr=closed.jaxpr, consts=len(closed.consts))
    return jax.tree.unflatten(outcome, results)


def _evaluate(*operands: Array, jaxpr: Any, consts: int) -> list[Array]:
    return jax.core.eval_jaxpr(jaxpr, operands[:consts], *operands[consts:])


def _abstract(*operands: Any, jaxpr: Any, consts: int) -> list[Any]:
    return [variable.aval for variable in jaxpr.outvars]


def _barrier(*operands: Array, **params: Any) -> list[Array]:
    return jax.lax.optimization_barrier(_evaluate(*operands, **params))


def _branch(*operands: Array, jaxpr: Any, consts: int) -> list[Array]:
    probe = jnp.ravel(max(operands, key=jnp.size))[0].astype(jnp.float32)
    always = (probe <= probe) | (probe != probe)  # a number, or not a number

    def taken(given: list[Array]) -> list[Array]:
        return _evaluate(*given, jaxpr=jaxpr, consts=consts)

    def never(given: list[Array]) -> list[Array]:
        return [jnp.zeros(v.aval.shape, v.aval.dtype) for v in jaxpr.outvars]

    return jax.lax.cond(always, taken, never, list(operands))


once_p.def_impl(jax.jit(_evaluate, static_argnames=("jaxpr", "consts")))
once_p.def_abstract_eval(_abstract)
mlir.register_lowering(once_p, mlir.lower_fun(_barrier, multiple_results=True))
mlir.register_lowering(once_p, mlir.lower_fun(_branch, multiple_results=True), platform="cpu")
