"""What is carried from step to step, with feedback and without: the same for every driver."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from deleverage.cascade.flows import Flows
from deleverage.cascade.load import LoadOutages, no_load
from deleverage.cascade.maps import maps_of
from deleverage.cascade.outcome import Tally, empty_tally, observe
from deleverage.cascade.start import initial_state
from deleverage.cascade.step import StepInputs, step
from deleverage.cascade.worklist import Drive
from deleverage.policy import Policy
from deleverage.state import State
from deleverage.world import Layout


class Fixed(NamedTuple):
    """What no step changes."""

    policy: Policy  # leaves [..., lane, 1]
    load: LoadOutages | None  # [..., 1, path]


class Coupled(NamedTuple):
    """The run with feedback: states, and what is recorded of them."""

    layout: Layout
    one_by_one: bool

    def begin(self, fixed: Fixed, columns: tuple[int, int]) -> tuple[State, Tally]:
        """Before the first step."""
        state = _initial(self.layout, fixed, columns, self.drive)
        maps, dtype = maps_of(self.layout), state.fund.dtype
        return state, empty_tally(self.layout, maps, fixed.policy, columns, dtype)

    def advance(
        self, fixed: Fixed, carry: tuple[State, Tally], given: StepInputs
    ) -> tuple[tuple[State, Tally], Flows]:
        """One step."""
        state, tally = carry
        layout, policy = self.layout, fixed.policy
        given = replace(given, load=fixed.load)
        following, flows = step(layout, policy, state, given, self.drive)
        maps = maps_of(layout)
        tally = observe(layout, maps, policy, tally, flows, given.t, self.drive)
        return (following, tally), flows

    @property
    def drive(self) -> Drive:
        """How its steps are run."""
        return Drive(feedback=True, one_by_one=self.one_by_one)


class Paired(NamedTuple):
    """The run without feedback on the same draws: states, units sold, lowest fundamentals.

    Load shuts no gate in it. Source: MODEL.md section 2.1, A11.
    """

    layout: Layout
    one_by_one: bool

    def begin(
        self, fixed: Fixed, columns: tuple[int, int]
    ) -> tuple[State, Array, Array | None]:
        """Before the first step."""
        state = _initial(self.layout, fixed._replace(load=None), columns, self.drive)
        dtype, lowest = state.fund.dtype, None
        # what issuers pay depends on the policy: only then are prices not the series alone
        if fixed.policy.issuer is not None:
            lowest = jnp.full((len(self.layout.assets), *columns), jnp.inf, dtype)
        return state, jnp.zeros(columns, dtype), lowest

    def advance(
        self, fixed: Fixed, carry: tuple[State, Array, Array | None], given: StepInputs
    ) -> tuple[tuple[State, Array, Array | None], None]:
        """One step."""
        state, units, lowest = carry
        following, flows = step(self.layout, fixed.policy, state, given, self.drive)
        if lowest is not None:
            lowest = jnp.minimum(lowest, flows.fundamental)
        return (following, units + flows.sales.units, lowest), None

    @property
    def drive(self) -> Drive:
        """How its steps are run."""
        return Drive(feedback=False, one_by_one=self.one_by_one)


def _initial(layout: Layout, fixed: Fixed, columns: tuple[int, int], drive: Drive) -> State:
    start = initial_state(layout, fixed.policy, columns[1], drive)
    if fixed.load is None:
        return start
    return replace(start, load=no_load(fixed.load, len(layout.venues), columns))


def fuse(loop: Coupled | Paired, fixed: Fixed, series: StepInputs, **options: Any) -> Any:
    """The carry after the last step, all of it in one kernel; see `fused.run_fused`.

    Raises:
        Unlowered: The layout does what no kernel can.
    """
    from deleverage.engine.fused import run_fused
    from deleverage.engine.rows import BUCKETS, PATHS

    wide = loop._replace(layout=replace(loop.layout, buckets=BUCKETS))
    shape = jax.ShapeDtypeStruct

    def of_lane(leaf: Array) -> Any:
        return shape((*leaf.shape[:-2], 1, leaf.shape[-1]), leaf.dtype)

    def of_cohorts(leaf: Array) -> Any:
        *slots, buckets, _, _ = leaf.shape
        several = buckets == loop.layout.buckets > 1
        return shape((*slots, BUCKETS if several else buckets, 1, 1), leaf.dtype)

    def of_step(leaf: Array) -> Any:
        return shape((*leaf.shape[1:-2], 1, PATHS) if leaf.ndim > 1 else (), leaf.dtype)

    policy = jax.tree.map(of_lane, fixed.policy)
    policy = replace(policy, books=jax.tree.map(of_cohorts, fixed.policy.books))
    load = jax.tree.map(lambda leaf: shape((*leaf.shape[:-2], 1, PATHS), leaf.dtype), fixed.load)
    traced = Fixed(policy, load)
    begun = jax.eval_shape(lambda fixed: wide.begin(fixed, (1, PATHS)), traced)

    def advance(fixed: Fixed, carry: Any, given: StepInputs) -> Any:
        (after, *others), _ = wide.advance(fixed, carry, given)
        before = carry[0]
        # room that a step writes before it reads it: where nothing is written in place, none
        return (replace(after, orders=before.orders, deficit=before.deficit), *others)

    lanes, paths = fixed.policy.reporting.due_at_start.shape[-2], series.liquidity_drop.shape[-1]
    given = (fixed, loop.begin(fixed, (lanes, paths)), series)
    return run_fused(advance, given, (traced, begun, jax.tree.map(of_step, series)), **options)
