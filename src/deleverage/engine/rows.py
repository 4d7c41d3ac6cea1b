"""Evaluates a program row by row: every operation becomes operations on one vector of threads.

A fused kernel gives each bucket of each path a thread and holds no matrix. Here an array
`[slots..., bucket, lane, path]` is a NumPy object array `[slots..., lane]` of rows, each a vector
`(buckets, paths)` or a scalar that all threads share. What moves slots (reshape, slice, choose,
concatenate, broadcast) moves objects and costs nothing, products with a static matrix unroll into
multiply-adds, reductions over slots into pairs, a fold over buckets is one reduction over threads,
and the rest is elementwise and keeps its own primitive.

Where a program asks whether any path needs something, every path decides for itself.

The axes of threads are told by their sizes in the traced program, which no other axis may have.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial, reduce
from math import prod
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

BUCKETS, PATHS = 1009, 2003
"""Sizes of the axes of threads in a program that is traced for this: primes, unlike any size."""

Rows = np.ndarray
"""Object array of rows."""

ELEMENTWISE = frozenset(
    "abs add and bitcast_convert_type ceil clamp convert_element_type div eq exp exp2 expm1 floor"
    " ge gt integer_pow is_finite le log log1p logistic lt max min mul ne neg nextafter not or pow"
    " rem rsqrt select_n shift_left sign sqrt square sub tanh xor".split()
)
CALLS = ("jit", "pjit", "closed_call", "custom_jvp_call")
REDUCTIONS: dict[str, Callable[[Any, Any], Any]] = {
    "reduce_sum": lax.add,
    "reduce_max": lax.max,
    "reduce_min": lax.min,
    "reduce_or": lax.bitwise_or,
    "reduce_and": lax.bitwise_and,
}
THREADS: dict[Any, Callable[..., Any]] = {lax.add: jnp.sum, lax.min: jnp.min, lax.max: jnp.max}


def pack(values: Sequence[Any], shape: tuple[int, ...]) -> Rows:
    """An object array; item by item, so that NumPy does not look into a row."""
    rows = np.empty(len(values), object)
    for place, value in enumerate(values):
        rows[place] = value
    return rows.reshape(shape)


def slots(shape: Sequence[int]) -> tuple[int, ...]:
    """A shape without the axes of threads."""
    return tuple(size for size in shape if size not in (BUCKETS, PATHS))


class Unlowered(NotImplementedError):
    """A program does what no kernel of rows can."""


class Evaluator(NamedTuple):
    """Evaluates on vectors of threads of one shape, `(buckets, paths)`."""

    width: tuple[int, ...]

    def evaluate(self, closed: Any, arguments: Sequence[Rows]) -> list[Rows]:
        """The outputs of a closed jaxpr as rows, from its inputs as rows."""
        return self._evaluate(closed.jaxpr, list(map(_constant, closed.consts)), arguments)

    def whole(self, row: Any) -> Any:
        """A row as a vector, if all threads share it."""
        return row if jnp.shape(row) else jnp.full(self.width, row, jnp.result_type(row))

    def _evaluate(self, jaxpr: Any, consts: list[Rows], arguments: Sequence[Rows]) -> list[Rows]:
        known: dict[Any, Rows] = {}

        def read(atom: Any) -> Rows:
            if hasattr(atom, "val"):  # a literal
                return _constant(np.asarray(atom.val, atom.aval.dtype))
            return known[atom]

        known.update(zip(jaxpr.constvars, consts, strict=True))
        known.update(zip(jaxpr.invars, arguments, strict=True))
        for equation in jaxpr.eqns:
            results = self._apply(equation, [read(atom) for atom in equation.invars])
            known.update(zip(equation.outvars, results, strict=True))
        return [read(atom) for atom in jaxpr.outvars]

    def _apply(self, equation: Any, operands: list[Rows]) -> list[Rows]:
        name, params = equation.primitive.name, equation.params
        if name == "once":  # its jaxpr is open: what it closes over comes first
            given = params["consts"]
            return self._evaluate(params["jaxpr"], operands[:given], operands[given:])
        if name in CALLS:
            inner = params.get("jaxpr", params.get("call_jaxpr"))
            if hasattr(inner, "consts"):
                return self.evaluate(inner, operands)
            return self._evaluate(inner, [], operands)
        if name == "scan":
            return self._loop(equation, operands)
        shape = slots(equation.outvars[0].aval.shape)
        if name in ELEMENTWISE:
            bound = partial(equation.primitive.bind, **params)
            return [self._each(bound, _met(equation, operands), shape)]
        if name in REDUCTIONS:
            return [self._reduce(equation, operands[0], shape)]
        if name == "fold":
            across = partial(self._across, params["pair"])
            return [self._each(across, [operands[0]], shape)]
        if name == "dot_general":
            return [self._contract(equation, operands, shape)]
        if name in ("dynamic_slice", "dynamic_update_slice", "gather", "scatter"):
            return [getattr(self, f"_{name}")(equation, operands, shape)]
        if name == "unstack":
            axis = _slot_axis(equation.invars[0].aval.shape, params["axis"])
            cut = np.moveaxis(operands[0], axis, 0)
            return [cut[n : n + 1].reshape(shape) for n in range(len(equation.outvars))]
        if name not in MOVES:
            raise Unlowered(f"there is no rule for {name}")
        return [MOVES[name](equation, operands, shape)]

    def _each(self, function: Callable[..., Any], operands: list[Rows], shape: tuple) -> Rows:
        """Elementwise; a row that stands in many places is computed once."""
        wide = [np.broadcast_to(operand, shape) for operand in operands]
        made: dict[tuple[int, ...], Any] = {}
        values = []
        for place in np.ndindex(*shape):
            given = [operand[place] for operand in wide]
            key = tuple(map(id, given))
            if key not in made:
                made[key] = self._one(function, given)
            values.append(made[key])
        return pack(values, shape)

    def _one(self, function: Callable[..., Any], values: list[Any]) -> Any:
        """One row; numbers known beforehand are computed beforehand."""
        if all(isinstance(value, np.generic) for value in values):
            with jax.ensure_compile_time_eval():
                return np.asarray(function(*map(jnp.asarray, values)))[()]
        if any(jnp.shape(value) for value in values):
            values = list(map(self.whole, values))
        return function(*values)

    def _across(self, pair: Callable[[Any, Any], Any], row: Any) -> Any:
        """A reduction over the buckets of each path, known to all their threads."""
        folded = THREADS[pair](self.whole(row), axis=0)
        return jnp.broadcast_to(folded[None], self.width)

    def _reduce(self, equation: Any, rows: Rows, shape: tuple[int, ...]) -> Rows:
        pair, axes = REDUCTIONS[equation.primitive.name], equation.params["axes"]
        source = equation.invars[0].aval.shape
        if any(source[axis] == PATHS for axis in axes) and pair not in (lax.bitwise_or,):
            raise Unlowered(f"{equation.primitive.name} over paths")
        places = [_slot_axis(source, axis) for axis in axes if source[axis] not in (BUCKETS, PATHS)]
        cut = np.moveaxis(rows, places, range(len(places))).reshape(-1, *shape)
        columns = [cut[(slice(None), *place)] for place in np.ndindex(*shape)]
        whole = [reduce(lambda a, b: self._one(pair, [a, b]), column) for column in columns]
        if any(source[axis] == BUCKETS for axis in axes):
            if pair is lax.bitwise_or:  # threads hold no mask as a number
                whole = [self._one(lambda row: jnp.where(row, 1, 0), [row]) for row in whole]
                whole = [self._one(partial(self._across, lax.max), [row]) > 0 for row in whole]
            else:
                whole = [self._across(pair, row) for row in whole]
        return pack(whole, shape)

    def _contract(self, equation: Any, operands: list[Rows], shape: tuple[int, ...]) -> Rows:
        """A product with a matrix, unrolled; zeros cost nothing and ones no multiplication."""
        dimensions = equation.params["dimension_numbers"]
        (left, right), (batch, _) = dimensions
        matrix, rows = operands
        if left != (matrix.ndim - 1,) or right != (0,) or batch or rows.ndim != 1:
            raise Unlowered(f"a product with dimensions {dimensions}")
        nothing = equation.outvars[0].aval.dtype.type(0)
        results = []
        for place in np.ndindex(*shape):
            terms = [
                row if weight == 1 else self._one(lax.mul, [weight, row])
                for weight, row in zip(matrix[place], rows, strict=True)
                if weight != 0
            ]
            results.append(reduce(lambda a, b: self._one(lax.add, [a, b]), terms or [nothing]))
        return pack(results, shape)

    def _loop(self, equation: Any, operands: list[Rows]) -> list[Rows]:
        """A loop of a known number of passes, over a carry of rows."""
        params = equation.params
        fixed, carried = params["num_consts"], params["num_carry"]
        if params["reverse"] or len(operands) > fixed + carried:
            raise Unlowered("a scan over series")
        consts, start = operands[:fixed], operands[fixed:]
        avals = [variable.aval for variable in equation.outvars]
        flat = [
            jnp.asarray(row, aval.dtype) if not aval.shape else self.whole(row)
            for rows, aval in zip(start, avals, strict=True)
            for row in rows.ravel()
        ]

        def unpacked(flat: Sequence[Any]) -> list[Rows]:
            here, found = iter(flat), []
            for rows in start:
                found.append(pack([next(here) for _ in range(rows.size)], rows.shape))
            return found

        def body(_: Any, flat: list[Any]) -> list[Any]:
            after = self.evaluate(params["jaxpr"], [*consts, *unpacked(flat)])
            rows = [row for rows in after for row in rows.ravel()]
            return [
                self.whole(row) if before.shape else row
                for row, before in zip(rows, flat, strict=True)
            ]

        return unpacked(lax.fori_loop(0, params["length"], body, flat))

    def _where_at(self, place: Any, number: int, yes: Any, no: Any) -> Any:
        """`yes` where a place that is known to the kernel alone has this number."""
        if isinstance(place, np.generic):
            return yes if place == number else no
        return self._one(lambda at, a, b: jnp.where(at == number, a, b), [place, yes, no])

    def _pick(self, cut: Rows, place: Any) -> Any:
        """One of the first axis' rows, `[n]`."""
        if isinstance(place, np.generic):
            return cut[int(np.clip(place, 0, len(cut) - 1))]
        found = cut[0]
        for number in range(1, len(cut)):
            found = self._where_at(place, number, cut[number], found)
        return found

    def _dynamic_slice(self, equation: Any, operands: list[Rows], shape: tuple) -> Rows:
        rows, *places = operands
        source, sizes = equation.invars[0].aval.shape, equation.params["slice_sizes"]
        for axis, (size, taken) in enumerate(zip(source, sizes, strict=True)):
            if size == taken:
                continue
            if taken != 1:
                raise Unlowered("a slice of several rows at a place known late")
            at, place = _slot_axis(source, axis), places[axis][()]
            cut = np.moveaxis(rows, at, 0)
            others = np.ndindex(*cut.shape[1:])
            picked = [self._pick(cut[(slice(None), *other)], place) for other in others]
            rows = np.expand_dims(pack(picked, cut.shape[1:]), at)
        return rows.reshape(shape)

    def _dynamic_update_slice(self, equation: Any, operands: list[Rows], shape: tuple) -> Rows:
        rows, update, *places = operands
        source, taken = (variable.aval.shape for variable in equation.invars[:2])
        cut = [axis for axis in range(len(source)) if source[axis] != taken[axis]]
        if len(cut) > 1 or (cut and taken[cut[0]] != 1):
            raise Unlowered("a change of several rows at a place known late")
        if not cut:
            return np.broadcast_to(update.reshape(shape), shape)
        return self._replaced(rows, _slot_axis(source, cut[0]), places[cut[0]][()], update)

    def _replaced(self, rows: Rows, axis: int, place: Any, update: Rows) -> Rows:
        """Rows with those at a place of an axis replaced."""
        turned = np.moveaxis(rows, axis, 0)
        other = np.broadcast_to(update.reshape(turned.shape[1:]), turned.shape[1:])
        values = [
            self._where_at(place, at[0], other[at[1:]], turned[at])
            for at in np.ndindex(*turned.shape)
        ]
        return np.moveaxis(pack(values, turned.shape), 0, axis)

    def _gather(self, equation: Any, operands: list[Rows], shape: tuple) -> Rows:
        """A choice along the first axis."""
        numbers = equation.params["dimension_numbers"]
        if numbers.collapsed_slice_dims != (0,) or numbers.start_index_map != (0,):
            raise Unlowered(f"a choice of {numbers}")
        rows, places = operands
        chosen = [
            self._pick(rows[(slice(None), *other)], place)
            for place in places[..., 0].ravel()
            for other in np.ndindex(*rows.shape[1:])
        ]
        if len(chosen) != prod(shape):
            raise Unlowered("a choice of another row for each column of rows")
        return pack(chosen, shape)

    def _scatter(self, equation: Any, operands: list[Rows], shape: tuple) -> Rows:
        """One row of the first axis replaced."""
        numbers = equation.params["dimension_numbers"]
        rows, places, update = operands
        if numbers.scatter_dims_to_operand_dims != (0,) or places.size != 1:
            raise Unlowered(f"a change at {numbers}")
        return self._replaced(rows, 0, places.ravel()[0], update)


def _constant(values: Any) -> Rows:
    values = np.asarray(values)
    if slots(values.shape) != values.shape:
        raise Unlowered("a constant that differs between threads")
    return pack([values[place] for place in np.ndindex(*values.shape)], values.shape)


def _slot_axis(shape: Sequence[int], axis: int) -> int:
    """Where an axis of an array is among its slots."""
    if shape[axis] in (BUCKETS, PATHS):
        raise Unlowered("a choice of threads")
    return len(slots(shape[:axis]))


def _met(equation: Any, operands: list[Rows]) -> list[Rows]:
    """Operands without axes of length 1 that meet an axis of threads."""
    target, met = equation.outvars[0].aval.shape, []
    for variable, rows in zip(equation.invars, operands, strict=True):
        source = variable.aval.shape
        if len(source) == len(target):
            pairs = zip(source, target, strict=True)
            rows = rows.reshape([one for one, whole in pairs if whole not in (BUCKETS, PATHS)])
        met.append(rows)
    return met


def _broadcast(equation: Any, operands: list[Rows], shape: tuple[int, ...]) -> Rows:
    source, target = equation.invars[0].aval.shape, equation.outvars[0].aval.shape
    wide = np.ones(len(shape), int)
    for size, axis in zip(source, equation.params["broadcast_dimensions"], strict=True):
        if target[axis] not in (BUCKETS, PATHS):
            wide[_slot_axis(target, axis)] = size
    return np.broadcast_to(operands[0].reshape(wide), shape)


def _reshape(equation: Any, operands: list[Rows], shape: tuple[int, ...]) -> Rows:
    source, target = equation.invars[0].aval.shape, equation.outvars[0].aval.shape
    threads = [[size for size in one if size in (BUCKETS, PATHS)] for one in (source, target)]
    if threads[0] != threads[1] or prod(shape) != operands[0].size:
        raise Unlowered(f"a reshape from {source} to {target}")
    return operands[0].reshape(shape)


def _slice(equation: Any, operands: list[Rows], shape: tuple[int, ...]) -> Rows:
    params, source = equation.params, equation.invars[0].aval.shape
    starts, stops = params["start_indices"], params["limit_indices"]
    strides = params["strides"] or (1,) * len(starts)
    cuts = [
        slice(start, stop, stride)
        for size, start, stop, stride in zip(source, starts, stops, strides, strict=True)
        if size not in (BUCKETS, PATHS)
    ]
    taken = operands[0][tuple(cuts)]
    if taken.shape != shape:
        raise Unlowered("a slice of threads")
    return taken


def _concatenate(equation: Any, operands: list[Rows], shape: tuple[int, ...]) -> Rows:
    axis = _slot_axis(equation.outvars[0].aval.shape, equation.params["dimension"])
    return np.concatenate(operands, axis)


def _stack(equation: Any, operands: list[Rows], shape: tuple[int, ...]) -> Rows:
    axis = _slot_axis(equation.outvars[0].aval.shape, equation.params["axis"])
    return np.stack(operands, axis)


def _transpose(equation: Any, operands: list[Rows], shape: tuple[int, ...]) -> Rows:
    source, order = equation.invars[0].aval.shape, equation.params["permutation"]
    threads = [axis for axis in order if source[axis] in (BUCKETS, PATHS)]
    if threads != sorted(threads):
        raise Unlowered("a transpose of threads")
    kept = [axis for axis in order if axis not in threads]
    return operands[0].transpose([_slot_axis(source, axis) for axis in kept])


def _same(equation: Any, operands: list[Rows], shape: tuple[int, ...]) -> Rows:
    return operands[0]


def _iota(equation: Any, operands: list[Rows], shape: tuple[int, ...]) -> Rows:
    params = equation.params
    axis = _slot_axis(params["shape"], params["dimension"])
    return _constant(np.indices(shape)[axis].astype(params["dtype"]))


MOVES: dict[str, Callable[[Any, list[Rows], tuple[int, ...]], Rows]] = {
    "broadcast_in_dim": _broadcast,
    "reshape": _reshape,
    "squeeze": _reshape,
    "expand_dims": _reshape,
    "slice": _slice,
    "concatenate": _concatenate,
    "stack": _stack,
    "transpose": _transpose,
    "iota": _iota,
    "copy": _same,
    "copy_p": _same,
    "stop_gradient": _same,
    "optimization_barrier": _same,
}
