"""Histograms over the paths of a tile, at times through the run, made inside the program.

A quantity is put into bins of fixed edges; a tile hands out how many of its paths lie in each bin,
so that what is kept does not grow with the number of paths and is the same in any order of work.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from deleverage.cascade.flows import Flows
from deleverage.cascade.holdings import holdings
from deleverage.cascade.maps import Maps
from deleverage.cascade.primitives import sum_cohorts, sum_rows
from deleverage.policy import Policy
from deleverage.state import State
from deleverage.world import Layout


@dataclass(frozen=True)
class Bins:
    """Bins of one quantity; what lies outside falls into the outermost ones.

    Evenly spaced from `low` to `high`, or, with `log`, one bin from 0 to `low` and the others
    evenly spaced in the logarithm.
    """

    low: float
    high: float
    count: int
    log: bool = False

    @property
    def edges(self) -> np.ndarray:
        """Their edges, `[bin + 1]`."""
        if self.log:
            return np.append(0.0, np.geomspace(self.low, self.high, self.count))
        return np.linspace(self.low, self.high, self.count + 1)

    def place(self, values: Array) -> Array:
        """The bin of each value; `count`, which is none, for what is not a number."""
        width = (self.high - self.low) / self.count
        position = (values - self.low) * (1 / width)
        if self.log:
            scale = (self.count - 1) / np.log(self.high / self.low)
            position = 1 + jnp.log(jnp.maximum(values, 1e-30) * (1 / self.low)) * scale
        inside = jnp.clip(jnp.floor(position), 0, self.count - 1)
        return jnp.where(jnp.isnan(values), self.count, inside).astype(jnp.int32)


@dataclass(frozen=True)
class Timeline:
    """What is put into histograms, and when: at the end of every `every`-th step."""

    every: int
    bins: tuple[tuple[str, Bins], ...]


class Seen(NamedTuple):
    """What histograms need of a step."""

    index_price: Array  # [I, column]
    liquidity: Array  # [M, column] multiplier of depth
    liquidated: Array  # [column] forced notional


def seen(flows: Flows) -> Seen:
    """The part of a step's flows that histograms are made of."""
    return Seen(flows.index_price, flows.liquidity, sum_rows(flows.sales.notional_by_market))


def scan_stretches(
    advance: Callable, start: Any, series: Any, every: int, moment: Callable
) -> tuple[Any, tuple[Any, Any]]:
    """`lax.scan` over steps in stretches of `every`, with a look at the end of each.

    Args:
        advance: As for a scan; gives for each step a pair, what to stack and what to look at.
        start: Carry before the first step.
        series: Inputs, a leading axis of steps.
        every: Steps of a stretch; divides the number of steps.
        moment: Of the carry and what the steps of a stretch gave to look at.

    Returns:
        The last carry, what steps gave to stack, and moments, a leading axis of stretches.
    """

    def stretch(carry: Any, given: Any) -> tuple[Any, tuple[Any, Any]]:
        carry, (stacked, looked_at) = jax.lax.scan(advance, carry, given)
        return carry, (stacked, moment(carry, looked_at))

    cut = jax.tree.map(lambda leaf: leaf.reshape(-1, every, *leaf.shape[1:]), series)
    end, (stacked, moments) = jax.lax.scan(stretch, start, cut)
    joined = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), stacked)
    return end, (joined, moments)


def histograms_of(
    timeline: Timeline,
    layout: Layout,
    maps: Maps,
    policy: Policy,
    counted: Array,
    state: State,
    steps: Seen,
) -> dict[str, Array]:
    """Paths in each bin at a moment, by quantity, unsigned `[row, lane, bin]`.

    Args:
        timeline: Quantities and bins.
        layout: Static world.
        maps: Its relations.
        policy: Rules.
        counted: Whether a path belongs to the run, `[path]`; the last tile has further ones.
        state: After the moment's step.
        steps: Of the steps since the moment before, a leading axis of steps.
    """
    minutes = timeline.every * layout.step
    liquidated = jnp.sum(steps.liquidated, axis=0)
    values = {
        "price": state.markets.last_price,
        "index_price": steps.index_price[-1],
        "depth": steps.liquidity[-1],
        "liquidations": liquidated[None] / minutes,
    }
    wanted = dict(timeline.bins)
    if {"open_interest", "equity"} & set(wanted):
        held = holdings(layout, maps, policy, state)
        started = sum_cohorts(jnp.maximum(held.at_start, 0))
        values["open_interest"] = _share(held.open_interest, held.open_at_start)
        values["equity"] = _share(sum_cohorts(held.kept), started)
    return {
        name: _histogram(jnp.where(counted, bins.place(values[name]), bins.count), bins.count)
        for name, bins in wanted.items()
    }


def _share(values: Array, whole: Array) -> Array:
    return (values / jnp.where(whole == 0, 1, whole))[None]


def _histogram(place: Array, count: int) -> Array:
    """Paths in each bin, in the narrowest types: with bytes this takes half of the time."""
    narrow = jnp.uint8 if count < 256 else jnp.uint16
    sums = jnp.uint8 if place.shape[-1] < 256 else jnp.uint32
    is_here = place.astype(narrow)[..., None] == jnp.arange(count, dtype=narrow)
    return jnp.sum(is_here.astype(sums), axis=-2, dtype=sums)
