"""Dynamic haircuts that never rise change no bit, and those that rise change margins."""

from __future__ import annotations

import dataclasses

import kernel
import numpy as np
import reference
import worlds

from deleverage.policy import HaircutRules


def test_haircuts_that_never_rise_are_those_that_are_written():
    world, policy = worlds.random_world(3)
    inputs = reference.exogenous(world, worlds.random_draws(world, 4, 3))
    shape, margin = policy.index.floor.shape, policy.margin
    rules = HaircutRules(*(np.full(shape, value) for value in (1e-8, 0.0, 1.0, 1.0, 1.0)))
    granted = np.ones_like(margin.ratio[:, 0])
    neutral = dataclasses.replace(
        policy, haircuts=rules, margin=dataclasses.replace(margin, granted=granted)
    )
    rising = dataclasses.replace(
        neutral, haircuts=dataclasses.replace(rules, power=np.ones(shape), cap=0.5 + 0 * rules.cap)
    )
    written = kernel.simulate(world.layout, policy, inputs)
    for name, found in kernel.simulate(world.layout, neutral, inputs).items():
        np.testing.assert_array_equal(found, written[name], name)
    found = kernel.simulate(world.layout, rising, inputs)
    assert (found["liquidated_notional"] != written["liquidated_notional"]).any()
