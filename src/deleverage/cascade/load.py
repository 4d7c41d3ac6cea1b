"""Transfer gates that shut under the load of liquidations. MODEL.md 2.1 and 2.10.

Without load outages gates are exogenous and nothing of this is state.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import Array

from deleverage.cascade.maps import one_hot
from deleverage.cascade.primitives import contract
from deleverage.state import Inputs, LoadState
from deleverage.world import Layout

SHARE_OF_STEP = 1e-3
"""A last step that is longer by this than what is left of an outage is still shut."""


class Load(NamedTuple):
    """What load outages take, `[load outage, column]`."""

    start: Array  # minutes from when on load counts
    threshold: Array  # USD millions per minute
    rate: Array  # per minute at twice the threshold
    patience: Array  # hazard at which it begins
    length: Array  # minutes


class LoadOutages(eqx.Module):
    """The load outages of a run."""

    numbers: Array  # [load outage, 5, column]
    venues: tuple[int, ...] = eqx.field(static=True)

    @property
    def load(self) -> Load:
        """By field."""
        return Load(*(self.numbers[:, field] for field in range(len(Load._fields))))


def no_load(outages: LoadOutages, venues: int, columns: tuple[int, int]) -> LoadState:
    """Before the first step."""
    kind = outages.numbers.dtype
    nothing = jnp.zeros((len(outages.venues), *columns), kind)
    return LoadState(nothing, nothing + jnp.inf, jnp.zeros((venues, *columns), kind))


def gates_under_load(
    layout: Layout, outages: LoadOutages, state: LoadState, gate_open: Array, t: Array
) -> tuple[Array, LoadState]:
    """Gates of a step, shut by exogenous outages or by load, and the count of shut steps.

    Args:
        layout: Static world.
        outages: What they take.
        state: When they began.
        gate_open: Exogenous, `[venue, column]`.
        t: Step number, counted from 0.

    Source: MODEL.md section 2.1.
    """
    since = (t + 1 - state.steps) * layout.step
    shut = (since > 0) & (since <= outages.load.length + SHARE_OF_STEP * layout.step)
    venues = one_hot(np.array(outages.venues, np.int32), len(layout.venues)).T
    by_load = contract(venues, shut.astype(gate_open.dtype)) > 0
    gate_open = jnp.where(by_load, 0, gate_open)
    return gate_open, replace(state, shut=state.shut + 1 - gate_open)


def add_load(
    layout: Layout, outages: LoadOutages, state: LoadState, forced: Array, t: Array
) -> LoadState:
    r"""Hazard after a step's liquidations; an outage begins at its end.

    $$H \leftarrow H + h\,\lambda \max(0,\; L / (h\,\bar L) - 1)$$

    Args:
        layout: Static world, with the step $h$.
        outages: Rate $\lambda$, threshold $\bar L$ and the hazard that each path stands.
        state: So far.
        forced: Forced notional $L$ of the step, of each venue's own books wherever it is sold
            (A11), `[venue, column]`.
        t: Step number, counted from 0.

    Source: MODEL.md section 2.1.
    """
    load, minutes = outages.load, layout.step
    strain = forced[np.array(outages.venues, np.int32)] / (minutes * load.threshold) - 1
    counts = (t + 1) * minutes > load.start
    grown = state.hazard + jnp.where(counts, minutes * load.rate * jnp.maximum(strain, 0), 0)
    begins = jnp.isinf(state.steps) & (grown >= load.patience)
    return replace(state, hazard=grown, steps=jnp.where(begins, t + 1, state.steps))


def outages_seen(
    layout: Layout, inputs: Inputs, outages: LoadOutages | None, end: LoadState | None
) -> dict[str, Array]:
    """First start and minutes shut of each venue's outages, `[venue, column]`.

    The minutes are those of the steps in which the gate is shut, so outages count once where
    they overlap.

    Source: MODEL.md section 2.1.
    """
    venues, *columns = inputs.gate_open.shape[1:]
    first = inputs.outage_start
    if first is None:
        first = jnp.full((venues, *columns), jnp.nan, inputs.gate_open.dtype)
    if outages is None:
        shut = jnp.sum(1 - inputs.gate_open, axis=0)
        return {"outage_start": first, "outage_length": layout.step * shut}
    earliest = [jnp.broadcast_to(row, end.shut.shape[1:]) for row in first]
    began = jnp.where(end.steps < layout.steps, end.steps * layout.step, jnp.nan)
    for venue, start in zip(outages.venues, began, strict=True):
        earliest[venue] = jnp.fmin(earliest[venue], start)
    return {"outage_start": jnp.stack(earliest), "outage_length": layout.step * end.shut}
