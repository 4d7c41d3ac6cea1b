"""Evaluates a jaxpr row by row: every operation becomes operations on `[path]` vectors.

A kernel on a GPU holds one vector of paths a register and knows no matrix of them. Here an array
`[..., path]` is a NumPy object array `[...]` of rows, each a vector `[path]` or a scalar that all
paths share. What moves slots (reshape, slice, concatenate, broadcast) moves objects and costs
nothing; contractions with a static matrix unroll into multiply-adds, reductions over slots into
pairs; the rest is elementwise and keeps its own primitive. So the stages that pass through here
need nothing of a backend but elementwise arithmetic.

Where the cascade skips work that no path of the tile needs (`cond` on an `any` over paths), every
path decides for itself: both branches are computed and a select takes one. That this gives the
same numbers says that no path's outcome depends on its neighbours.

The path axis is told by its size, which no other axis may have.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, reduce
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

ELEMENTWISE = frozenset(
    "abs add and ceil clamp div eq exp exp2 floor ge gt integer_pow is_finite"
    " le log logistic lt max min mul ne neg or pow rem rsqrt sign sqrt square sub tanh"
    " xor".split()
)
CALLS = ("jit", "pjit", "closed_call", "custom_jvp_call", "remat", "checkpoint")
ONCE = "once"  # the cascade's own boundary: what is inside it, and nothing else
REDUCTIONS: dict[str, Callable[[Any, Any], Any]] = {
    "reduce_sum": lax.add,
    "reduce_max": lax.max,
    "reduce_min": lax.min,
    "reduce_or": lax.bitwise_or,
    "reduce_and": lax.bitwise_and,
}


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


def to_rows(values: Any, paths: int) -> np.ndarray:
    """`[..., path]` as rows, anything else as scalars."""
    shape = without_paths(np.shape(values), paths)
    return pack([values[place] for place in np.ndindex(*shape)], shape)


def from_rows(rows: np.ndarray, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """Rows as one array of the given shape."""
    width = shape[rows.ndim :]
    if not rows.size:
        return jnp.zeros(shape, dtype)
    flat = [jnp.broadcast_to(jnp.asarray(row, dtype), width) for row in rows.ravel()]
    return jnp.stack(flat).reshape(shape)


def pack(values: list[Any], shape: tuple[int, ...]) -> np.ndarray:
    """An object array; item by item, so that NumPy does not look into a row."""
    rows = np.empty(len(values), object)
    for place, value in enumerate(values):
        rows[place] = value
    return rows.reshape(shape)


def without_paths(shape: tuple[int, ...], paths: int) -> tuple[int, ...]:
    """A shape without its path axis, which must be the last."""
    if paths not in shape:
        return shape
    if shape.index(paths) != len(shape) - 1:
        raise NotImplementedError(f"{shape}: the path axis is not the last")
    return shape[:-1]


def evaluate(closed: Any, arguments: list[np.ndarray], paths: int) -> list[np.ndarray]:
    """The outputs of a closed jaxpr as rows, from its inputs as rows."""
    return _evaluate(closed.jaxpr, [to_rows(c, paths) for c in closed.consts], arguments, paths)


def _evaluate(
    jaxpr: Any, consts: list[np.ndarray], arguments: list[np.ndarray], paths: int
) -> list[np.ndarray]:
    known: dict[Any, np.ndarray] = {}

    def read(atom: Any) -> np.ndarray:
        if hasattr(atom, "val"):  # a literal
            return to_rows(np.asarray(atom.val, atom.aval.dtype), paths)
        return known[atom]

    known.update(zip(jaxpr.constvars, consts, strict=True))
    known.update(zip(jaxpr.invars, arguments, strict=True))
    for equation in jaxpr.eqns:
        operands = [read(atom) for atom in equation.invars]
        results = _apply(equation, operands, paths)
        known.update(zip(equation.outvars, results, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _apply(equation: Any, operands: list[np.ndarray], paths: int) -> list[np.ndarray]:
    name, params = equation.primitive.name, equation.params
    if name in CALLS:
        inner = params.get("jaxpr", params.get("call_jaxpr"))
        return _evaluate(inner.jaxpr, [to_rows(c, paths) for c in inner.consts], operands, paths)
    if name == ONCE:
        given, jaxpr = operands[: params["consts"]], params["jaxpr"]
        return _evaluate(jaxpr, given, operands[params["consts"] :], paths)
    shape = without_paths(equation.outvars[0].aval.shape, paths)
    if name in REWRITES:
        rewritten = partial(REWRITES[name], **params)
        return [_each(rewritten, operands, shape, paths)]
    if name in ELEMENTWISE:

        def bound(*values: Any) -> Any:
            return equation.primitive.bind(*values, **params)

        return [_each(bound, operands, shape, paths)]
    if name in REDUCTIONS:
        return [_reduce(equation, operands[0], shape, paths)]
    if name == "cond":
        index, *given = operands
        taken = [evaluate(branch, given, paths) for branch in params["branches"]]
        return [_choose(index, no, yes, paths) for no, yes in zip(*taken, strict=True)]
    if name == "fold":
        along = np.moveaxis(operands[0], 1, 0)
        columns = [along[(slice(None), *place)] for place in np.ndindex(*shape)]

        def join(a: Any, b: Any) -> Any:
            return _one(params["pair"], [a, b], paths)

        return [pack([reduce(join, column) for column in columns], shape)]
    if name == "dot_general":
        return [_contract(equation, operands, shape, paths)]
    if name == "unstack":
        cut = np.moveaxis(operands[0], params["axis"], 0)
        return [cut[i : i + 1].reshape(shape) for i in range(len(equation.outvars))]
    if name not in MOVES:
        raise NotImplementedError(f"the stages now use {name}; say here what it does to rows")
    return [MOVES[name](equation, operands, shape)]


def _reduce(equation: Any, rows: np.ndarray, shape: tuple[int, ...], paths: int) -> np.ndarray:
    name, axes = equation.primitive.name, equation.params["axes"]
    source = equation.invars[0].aval.shape
    slots = [axis for axis in axes if source[axis] != paths]
    if len(slots) < len(axes) and name != "reduce_or":
        raise NotImplementedError(f"{name} over the path axis")
    kept = np.moveaxis(rows, slots, range(len(slots))).reshape(-1, *shape)

    def pair(a: Any, b: Any) -> Any:
        return _one(REDUCTIONS[name], [a, b], paths)

    columns = [kept[(slice(None), *place)] for place in np.ndindex(*shape)]
    return pack([reduce(pair, column) for column in columns], shape)


def _choose(index: np.ndarray, no: np.ndarray, yes: np.ndarray, paths: int) -> np.ndarray:
    def choose(which: Any, a: Any, b: Any) -> Any:
        return select(which != 0, a, b)

    which = index[()]
    pairs = zip(no.ravel(), yes.ravel(), strict=True)
    return pack([a if a is b else _one(choose, [which, a, b], paths) for a, b in pairs], no.shape)


def _each(
    function: Callable[..., Any], operands: list[np.ndarray], shape: tuple[int, ...], paths: int
) -> np.ndarray:
    # `[..., 1]` meets `[..., path]` without a broadcast of its own
    shared = [o.reshape(o.shape[:-1]) if o.ndim > len(shape) else o for o in operands]
    operands = [np.broadcast_to(operand, shape) for operand in shared]
    return pack(
        [
            _one(function, [operand[place] for operand in operands], paths)
            for place in np.ndindex(*shape)
        ],
        shape,
    )


def _one(function: Callable[..., Any], values: list[Any], paths: int) -> Any:
    """One row; scalars known beforehand are computed beforehand, others meet vectors as such."""
    if not any(isinstance(value, jax.core.Tracer) or np.ndim(value) for value in values):
        with jax.ensure_compile_time_eval():
            return np.asarray(function(*map(jnp.asarray, values)))[()]
    if any(np.ndim(value) for value in values):
        values = [v if np.ndim(v) else jnp.full((paths,), v, v.dtype) for v in values]
    return function(*values)


def _contract(
    equation: Any, operands: list[np.ndarray], shape: tuple[int, ...], paths: int
) -> np.ndarray:
    """A product with a matrix, unrolled; zeros cost nothing and ones no multiplication."""
    dimensions = equation.params["dimension_numbers"]
    (left, right), (batch, _) = dimensions
    matrix, rows = operands
    if left != (matrix.ndim - 1,) or right != (0,) or batch or rows.ndim != 1:
        raise NotImplementedError(f"a product with dimensions {dimensions}")
    nothing = equation.outvars[0].aval.dtype.type(0)
    results = []
    for place in np.ndindex(*shape):
        terms = [
            row if weight == 1 else _one(lax.mul, [weight, row], paths)
            for weight, row in zip(matrix[place], rows, strict=True)
            if weight != 0
        ]
        results.append(reduce(lambda a, b: _one(lax.add, [a, b], paths), terms or [nothing]))
    return pack(results, shape)


def _broadcast(equation: Any, operands: list[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    source, target = equation.invars[0].aval.shape, equation.params["broadcast_dimensions"]
    rows = operands[0]
    wide = np.ones(len(shape), int)
    for axis, place in enumerate(target):
        if axis < rows.ndim and place < len(shape):
            wide[place] = source[axis]
    return np.broadcast_to(rows.reshape(wide), shape)


def _reshape(equation: Any, operands: list[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    if prod(shape) != operands[0].size:
        raise NotImplementedError(f"a reshape to {equation.outvars[0].aval.shape} of rows")
    return operands[0].reshape(shape)


def _slice(equation: Any, operands: list[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    params = equation.params
    strides = params["strides"] or (1,) * len(params["start_indices"])
    cuts = map(slice, params["start_indices"], params["limit_indices"], strides)
    taken = operands[0][tuple(cuts)[: operands[0].ndim]]
    if taken.shape != shape:
        raise NotImplementedError(f"a slice of paths to {shape}")
    return taken


def _dynamic_slice(
    equation: Any, operands: list[np.ndarray], shape: tuple[int, ...]
) -> np.ndarray:
    """A slice whose place is known beforehand."""
    rows, *places = operands
    sizes = equation.params["slice_sizes"][: rows.ndim]
    starts = [int(place[()]) for place in places[: rows.ndim]]
    taken = rows[tuple(slice(at, at + size) for at, size in zip(starts, sizes, strict=True))]
    if taken.shape != shape:
        raise NotImplementedError(f"a slice of paths to {shape}")
    return taken


def _gather(equation: Any, operands: list[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """A choice of rows that is known beforehand."""
    numbers = equation.params["dimension_numbers"]
    if numbers.collapsed_slice_dims != (0,) or numbers.start_index_map != (0,):
        raise NotImplementedError(f"a choice of {numbers}")
    rows, place = operands
    return rows[place[..., 0].astype(int)].reshape(shape)


MOVES: dict[str, Callable[[Any, list[np.ndarray], tuple[int, ...]], np.ndarray]] = {
    "broadcast_in_dim": _broadcast,
    "reshape": _reshape,
    "squeeze": _reshape,
    "expand_dims": _reshape,
    "slice": _slice,
    "dynamic_slice": _dynamic_slice,
    "gather": _gather,
    "concatenate": lambda e, operands, shape: np.concatenate(operands, e.params["dimension"]),
    "stack": lambda e, operands, shape: np.stack(operands, e.params["axis"]),
    "transpose": lambda e, operands, shape: operands[0].transpose(
        [axis for axis in e.params["permutation"] if axis < operands[0].ndim]
    ),
    "copy": lambda e, operands, shape: operands[0],
    "copy_p": lambda e, operands, shape: operands[0],
    "stop_gradient": lambda e, operands, shape: operands[0],
}
