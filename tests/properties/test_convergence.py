"""Halving the step on one Brownian path."""

from __future__ import annotations

import dataclasses
import itertools

import kernel
import numpy as np
import pytest
import reference
import worlds

from deleverage.policy import Policy
from deleverage.world import World

PATHS = 128
HORIZON = 4.0
STEPS = (0.5, 0.25, 0.125)
DRAW_STEP = 0.125


def crash(step: float) -> tuple[World, Policy]:
    """A fall of 12% within a minute and a half on leveraged longs, in steps of `step` minutes."""
    layout = dataclasses.replace(
        worlds.TINY_LAYOUT, step=step, steps=round(HORIZON / step), draw_step=DRAW_STEP
    )
    world, policy = worlds.tiny_world(
        loading=np.array([[0.0], [0.01], [0.0]]),
        macro__a=0.12,
        macro__start=0.25,
        macro__latest=0.25,
        macro__duration=1.5,
        macro__loading=np.array([0.0, 1.0, 0.0]),
        impact__depth=1500.0,
        liquidation__pace=0.5,
        healing__resilience_half_life=2.0,
        healing__basis_half_life=0.5,
        healing__arbitrage_half_life=1.0,
        healing__arbitrage_capital=50.0,
        healing__redemption_capacity=5.0,
        backstop__fund=2.0,
    )
    return dataclasses.replace(world, layout=layout), policy


@pytest.fixture(scope="module")
def ends():
    """By step: displacements, contracts left and their cash at the horizon, paths last."""
    found = []
    for step in STEPS:
        world, policy = crash(step)
        # the same numbers for every step, as the grid of draws is the same
        inputs = reference.exogenous(world, worlds.random_draws(world, PATHS, seed=1))
        state = kernel.trajectory(world.layout, policy, inputs)[1]
        accounts = state.accounts
        found.append(
            {
                "displacement": state.markets.displacement[-1],
                "contracts": accounts.contracts[-1].reshape(-1, PATHS),
                "cash": accounts.cash[-1].reshape(-1, PATHS),
            }
        )
    return found


@pytest.mark.parametrize("name", ["displacement", "contracts", "cash"])
def test_halving_the_step_converges_on_one_brownian_path(ends, name):
    changes = [
        np.abs(fine[name] - coarse[name]).sum(axis=0) for coarse, fine in itertools.pairwise(ends)
    ]
    for coarser, finer in itertools.pairwise(changes):
        # margins are met at the ends of steps only: strong order one half at least, so a change
        # shrinks by a factor of sqrt(2) on average over paths, within 4 standard errors
        excess = np.sqrt(2.0) * finer - coarser
        assert excess.mean() <= 4.0 * excess.std(ddof=1) / np.sqrt(PATHS)
        assert finer.mean() > 0.0
