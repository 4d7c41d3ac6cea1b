"""The fused driver: the whole loop over steps in one kernel, a block's state on the chip.

`lax.scan` over steps launches kernels in every step and takes the state from memory and back. Here
one Triton kernel (Pallas) runs all steps of a block of paths under one lane: a thread is one bucket
of one path and keeps its part of the state, a number a book or market, in registers (what they do
not hold spills to the nearest cache); sums over buckets are reductions over threads. Series and
rules are read in each step, the state is read before the first and written after the last.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.extend.core import ClosedJaxpr
from jax.interpreters.partial_eval import dce_jaxpr

from deleverage.engine.rows import BUCKETS, Evaluator, Rows, Unlowered, pack, slots

THREADS = 128
"""Of a block: four warps."""


class Leaf(NamedTuple):
    """One array of the program, `[step], slots..., bucket, lane, path` and as a kernel takes it."""

    shape: tuple[int, ...]  # as traced: of one step and one lane, axes of threads by their sizes
    dtype: Any
    by_step: bool

    @property
    def stored(self) -> Any:
        """Type in memory: a mask is a number there."""
        return jnp.int32 if self.dtype == bool else self.dtype

    def packed(self, values: Any) -> Any:
        """The whole array as `[step, row, bucket, lane, path]`, steps only of a series."""
        axes = values.shape[1:] if self.by_step else values.shape
        rows, buckets = prod(slots(self.shape)), 1
        if BUCKETS in self.shape:
            buckets = axes[-3]
        shape = (rows, buckets, *((1,) * (2 - len(axes)) + axes)[-2:])
        steps = values.shape[:1] if self.by_step else ()
        return values.reshape(*steps, *shape).astype(self.stored)

    def spec(self, shape: Sequence[int], paths: int) -> pl.BlockSpec:
        """The block of one lane and some paths of what is packed."""
        *whole, lanes, columns = shape

        def place(lane: Any, block: Any) -> tuple[Any, ...]:
            zeros = (0,) * len(whole)
            return (*zeros, lane if lanes > 1 else 0, block if columns > 1 else 0)

        return pl.BlockSpec((*whole, 1, paths if columns > 1 else 1), place)

    def read(self, ref: Any, width: tuple[int, int], step: Any = None) -> Rows:
        """Its rows, of a block and a step."""
        several = [size > 1 for size in (ref.shape[-3], ref.shape[-1])]
        places = (slice(None) if several[0] else 0, 0, slice(None) if several[1] else 0)
        start = () if step is None else (step,)
        rows = []
        for row in range(prod(slots(self.shape))):
            value = ref[(*start, row, *places)]
            if any(several) and not all(several):
                value = value[:, None] if several[0] else value[None, :]
            value = jnp.broadcast_to(value, width) if any(several) else value
            rows.append(value > 0 if self.dtype == bool else value)
        return pack(rows, slots(self.shape))

    def write(self, ref: Any, rows: Sequence[Any], width: tuple[int, int]) -> None:
        """Write its rows to a block; what all buckets share once."""
        first = lax.broadcasted_iota(jnp.int32, width, 0) == 0
        for place, row in enumerate(rows):
            if self.dtype == bool:
                row = jnp.where(row, 1, 0)
            row = row.astype(self.stored)
            if BUCKETS in self.shape:
                ref[place, :, 0, :] = row
            else:
                ref[place, 0, 0, :] = jnp.sum(jnp.where(first, row, 0), axis=0)


def run_fused(
    advance: Callable[[Any, Any, Any], Any],
    given: tuple[Any, Any, Any],
    traced: tuple[Any, Any, Any],
    interpret: bool = False,
) -> Any:
    """Take all steps in one kernel.

    Args:
        advance: One step, of what never changes, the carry and the step's inputs; gives the carry.
        given: What never changes and the carry before the first step, leaves that end in `lane,
            path`; and the inputs, with a leading axis of steps, which end so too or are numbers.
        traced: Their shapes as the program of a thread has them: of one lane and one step, and
            with the sizes of `rows` for buckets and paths.
        interpret: Run the kernel's program on any backend, as operations of XLA.

    Returns:
        The carry after the last step.

    Raises:
        Unlowered: The program, or its sizes, fit no such kernel.
    """
    shapes, structure = jax.tree.flatten(traced)
    ours = [len(jax.tree.leaves(part)) for part in traced]
    carried = range(ours[0], ours[0] + ours[1])
    leaves = [
        Leaf(tuple(one.shape), jnp.dtype(one.dtype), place >= carried.stop)
        for place, one in enumerate(shapes)
    ]
    whole = [jnp.asarray(leaf) for leaf in jax.tree.leaves(given)]
    closed = jax.make_jaxpr(
        lambda *flat: jax.tree.leaves(advance(*jax.tree.unflatten(structure, flat)))
    )(*shapes)
    changes = [
        place
        for place, after in zip(carried, closed.jaxpr.outvars, strict=True)
        if after is not closed.jaxpr.invars[place]
    ]
    needed, used = _needed(closed, [place in changes for place in carried])
    packed = {
        place: leaf.packed(whole[place])
        for place, leaf in enumerate(leaves)
        if used[place] or place in changes
    }
    lanes, paths = whole[carried.start].shape[-2:]
    width = _width(max(array.shape[-3] for array in packed.values()), paths)
    evaluator = Evaluator(width)
    steps = whole[carried.stop].shape[0]

    def kernel(*refs: Any) -> None:
        source = dict(zip(packed, refs[: len(packed)], strict=True))

        def read(place: int, step: Any = None) -> Rows:
            leaf = leaves[place]
            return leaf.read(source[place], width, step if leaf.by_step else None)

        def following(step: Any, carry: list[Any]) -> list[Any]:
            known = dict(zip(changes, _cut(carry, [leaves[p] for p in changes]), strict=True))
            arguments = [
                known[place] if place in known else read(place, step)
                for place in range(len(leaves))
                if used[place]
            ]
            after = evaluator.evaluate(needed, arguments)
            return [
                evaluator.whole(row).astype(leaves[place].dtype)
                for place, rows in zip(changes, after, strict=True)
                for row in rows.ravel()
            ]

        start = [evaluator.whole(row) for place in changes for row in read(place).ravel()]
        end = lax.fori_loop(jnp.int32(0), jnp.int32(steps), following, start)
        found = _cut(end, [leaves[place] for place in changes])
        for place, rows, ref in zip(changes, found, refs[len(packed) :], strict=True):
            leaves[place].write(ref, list(rows.ravel()), width)

    specs = {place: leaves[place].spec(array.shape, width[1]) for place, array in packed.items()}
    # a state that lanes or paths share at the start differs between them in the end
    ends = {place: (*packed[place].shape[:-2], lanes, paths) for place in changes}
    ended = pl.pallas_call(
        kernel,
        out_shape=[jax.ShapeDtypeStruct(ends[p], leaves[p].stored) for p in changes],
        grid=(lanes, paths // width[1]),
        in_specs=list(specs.values()),
        out_specs=[leaves[p].spec(ends[p], width[1]) for p in changes],
        interpret=interpret,
        **({} if interpret else {"compiler_params": _triton()}),
    )(*packed.values())
    for place, array in zip(changes, ended, strict=True):
        whole[place] = array.reshape(whole[place].shape).astype(leaves[place].dtype)
    return jax.tree.unflatten(jax.tree.structure(given[1]), [whole[place] for place in carried])


def _needed(closed: Any, outputs: list[bool]) -> tuple[Any, list[bool]]:
    """The program without what no output needs, and which inputs are left."""
    jaxpr, used = dce_jaxpr(closed.jaxpr, outputs)
    return ClosedJaxpr(jaxpr, closed.consts), used


def _cut(flat: Sequence[Any], leaves: Sequence[Leaf]) -> list[Rows]:
    """Rows one after the other as those of each leaf."""
    here = iter(flat)
    shapes = [slots(leaf.shape) for leaf in leaves]
    return [pack([next(here) for _ in range(prod(shape))], shape) for shape in shapes]


def _width(buckets: int, paths: int) -> tuple[int, int]:
    """Buckets and paths of a block."""
    columns = THREADS // buckets
    if buckets & (buckets - 1) or not columns or paths % columns:
        raise Unlowered(
            f"{buckets} buckets and {paths} paths make no blocks of {THREADS} threads; both must "
            f"be powers of two, the buckets at most {THREADS}"
        )
    return buckets, columns


def _triton() -> Any:
    from jax.experimental.pallas import triton

    return triton.CompilerParams(num_warps=THREADS // 32, num_stages=1)
