"""Outage windows, worked by hand on steps of one minute that end at 1, 2, ..., 10."""

import jax.numpy as jnp
import numpy as np
import pytest
from shock_worlds import outage, sample, world

from deleverage.shocks.gates import window

TEN = {"steps": 10, "step": 1.0}


def gates(*outages, **parts):
    _, inputs, _ = sample(world(outages=outages, **(TEN | parts)), paths=4)
    return inputs.gate_open, inputs.outage_start


def shut_minutes(gate_open, venue=0, path=0):
    return [step + 1 for step in np.flatnonzero(gate_open[:, venue, path] == 0)]


def test_without_outages_every_gate_is_open():
    gate_open, start = gates()
    assert gate_open.shape == (10, 2, 4)
    assert np.all(gate_open == 1)
    assert np.all(np.isnan(start))


@pytest.mark.parametrize(
    ("outages", "minutes", "first"),
    [
        # shut where start < t <= start + length
        ([outage(start=2.0, length=3.0)], [3, 4, 5], 2.0),
        ([outage(start=2.5, length=2.0)], [3, 4], 2.5),
        ([outage(start=0.0, length=1.0)], [1], 0.0),
        ([outage(start=8.0, length=100.0)], [9, 10], 8.0),
        # between two ends of steps: it began, and shut nothing
        ([outage(start=2.25, length=0.5)], [], 2.25),
        # begins at the end of the run, or after it
        ([outage(start=10.0, length=5.0)], [], np.nan),
        ([outage(start=30.0, length=5.0)], [], np.nan),
        # overlapping outages count once; the earliest gives the start
        (
            [outage(start=4.0, length=3.0), outage(start=2.0, length=3.0)],
            [3, 4, 5, 6, 7],
            2.0,
        ),
        ([outage(start=1.0, length=1.0), outage(start=7.0, length=2.0)], [2, 8, 9], 1.0),
        ([outage(start=30.0, length=1.0), outage(start=7.0, length=2.0)], [8, 9], 7.0),
    ],
)
def test_scheduled_windows(outages, minutes, first):
    gate_open, start = gates(*outages)
    assert shut_minutes(gate_open) == minutes
    np.testing.assert_array_equal(start[0], first)
    # the other venue stays open
    assert shut_minutes(gate_open, venue=1) == []
    assert np.all(np.isnan(start[1]))


def test_random_windows_are_exponential():
    u = jnp.asarray([[np.exp(-1.0), 0.5], [np.exp(-2.0), 0.5]], jnp.float32)
    start, end = window(outage(random=True, start=3.0, length=5.0, rate=0.25), u)
    np.testing.assert_allclose(start, [3 + 4, 3 + 4 * np.log(2)], rtol=1e-6)
    np.testing.assert_allclose(end - start, [10, 5 * np.log(2)], rtol=1e-6)


def test_a_rate_of_0_never_starts():
    gate_open, start = gates(outage(random=True, length=5.0, rate=0.0))
    assert np.all(gate_open == 1)
    assert np.all(np.isnan(start))


def test_a_random_outage_that_is_seen_begins_within_the_run():
    gate_open, start = gates(
        outage(1, random=True, start=1.0, length=4.0, rate=0.3),
        outage(1, random=True, length=2.0, rate=0.2),
        step=0.5,
    )
    assert np.any(gate_open[:, 1] == 0)
    assert not np.any((gate_open == 0).any(axis=0) & np.isnan(start))
    assert np.all(np.isnan(start) | ((start >= 0) & (start < 5)))
