"""Populations, their weights, and what the pilot finds, on normals alone."""

import numpy as np
import pytest
from fake_splitting import Normals, normals, populations, splitting
from scipy.stats import norm

from deleverage.errors import RunError
from deleverage.sweep.pilot import ACCEPTED, PILOT, find_levels

ERRORS = 4


def by_replicate(found, block, values):
    """Weighted sums over the paths of each replicate, over their number."""
    weights = np.exp(found["log_weight"].astype(float))
    return (weights * values).reshape(-1, block).mean(axis=1)


@pytest.fixture(scope="module")
def poor():
    """Populations of eight paths at thresholds that many do not reach."""
    scheme = splitting((0.8, 1.6, 2.4), 0.7, 0.5, 8)
    return scheme.simulate(range(2), range(0, 32 * 1500)), 32


def test_every_mean_is_unbiased_though_populations_are_tiny_and_die_out(poor):
    found, block = poor
    x, other = found["bad_debt"]
    dead = np.isneginf(found["log_weight"]).reshape(-1, block)[:, -8:].all(axis=1)
    assert 0.1 < dead.mean() < 0.9
    # shares above and below each threshold add up: weights average to 1 in each replicate
    np.testing.assert_allclose(by_replicate(found, block, 1.0), 1.0, rtol=1e-6)
    for values, expected in (
        (x, 0.0),
        (x**2, 1.0),
        (other, 0.0),
        (found["severity"] ** 2, 1.0),
        (np.exp(1.5 * x), np.exp(1.125)),
        (x > 0.8, norm.sf(0.8)),
        (x > 2.4, norm.sf(2.4)),
        (x > 2.7, norm.sf(2.7)),
        ((x > 2) * (other > 4), chance_of_both(2, 4)),
    ):
        sums = by_replicate(found, block, values)
        error = sums.std(ddof=1) / len(sums) ** 0.5
        assert abs(sums.mean() - expected) < ERRORS * error, (sums.mean(), expected, error)


def chance_of_both(first, second):
    """P(z > first, z + w > second)."""
    z = np.linspace(first, 9, 20_001)
    return np.trapezoid(norm.pdf(z) * norm.sf(second - z), z)


def test_levels_stand_for_the_paths_between_their_thresholds(poor):
    found, block = poor
    x = found["bad_debt"][0].reshape(-1, block)
    stands = np.isfinite(found["log_weight"]).reshape(-1, block)
    for number, (low, high) in enumerate(((-np.inf, 0.8), (0.8, 1.6), (1.6, 2.4), (2.4, np.inf))):
        level = slice(8 * number, 8 * number + 8)
        values = x[:, level][stands[:, level]]
        assert np.all((values > low) & (values <= high))
        alive = stands[:, level].any(axis=1)
        inside = (x[:, level] > low)[alive]
        assert inside.all()


def test_the_first_population_is_plain_and_others_keep_some_of_their_parents(poor):
    found, block = poor
    np.testing.assert_array_equal(
        found["bad_debt"][0].reshape(-1, block)[:5, :8],
        np.stack([normals(np.arange(8) + 32 * r)[0] for r in range(5)]),
    )
    second = found["severity"].reshape(-1, block)[:, 8:16]  # four parents, two moves of each
    assert 0.1 < np.mean(second[:, :4] == second[:, 4:]) < 0.9  # moves that were not made


def test_cutting_changes_no_bit_and_the_policy_may_lie_elsewhere():
    scheme = splitting((0.8, 1.5), 0.7, 0.25, 16, policy=2)
    whole = scheme.simulate(range(3), range(0, 4 * 48))
    part = scheme.simulate(range(1, 2), range(48, 3 * 48))
    assert whole["bad_debt"].shape == (3, 192)
    np.testing.assert_array_equal(part["bad_debt"], whole["bad_debt"][1:2, 48:144])
    for name in ("severity", "log_weight"):
        np.testing.assert_array_equal(part[name], whole[name][48:144])
    with pytest.raises(ValueError, match="whole replicates of 48"):
        scheme.simulate(range(3), range(0, 40))


def test_any_path_is_found_again_with_where_it_lay_in_its_tile():
    scheme = splitting((0.8, 1.5), 0.7, 0.25, 16)
    whole = scheme.simulate(range(2), range(96))["bad_debt"]
    columns = set()
    for path in range(96):
        outcomes, record = scheme.watch(1, path)
        assert outcomes["bad_debt"] == whole[1, path]
        columns.add(int(record["column"]))
    assert columns == set(range(4))


def test_a_pilot_finds_quantiles_and_shorter_moves_on_ids_of_its_own():
    simulator = Normals()
    make = populations(5, 0.1, 2000, simulator=simulator)
    levels = find_levels(make)
    assert simulator.least_id == PILOT
    chances = np.array([norm.sf(level.threshold) for level in levels])
    shares = chances / np.append(1.0, chances[:-1])
    # binomial, times three for what neighbours in a chain have in common
    assert np.all(np.abs(shares - 0.1) < ERRORS * 3 * (0.09 / 2000) ** 0.5)
    spreads = [level.spread for level in levels]
    assert spreads == sorted(spreads, reverse=True)
    last = levels[-1]
    people = make.parents(make.plain(range(1), 0), levels[0].threshold, 2000)
    stays = []
    for move in range(20):  # as often made, in the end, as it was tuned to be
        people, made = make.moved(range(1), people, 4000 + 200 * move, levels[0])
        stays.append(made.mean())
    assert np.mean(stays) == pytest.approx(ACCEPTED, abs=0.1)
    assert last.spread < levels[0].spread


def test_an_outcome_that_goes_no_further_has_fewer_levels():
    make = populations(3, 0.1, 200, simulator=Normals(cap=2.0))
    with pytest.raises(RunError, match=r"beyond 1 of them 0\.1 .*same bad_debt, 2.*levels: 1"):
        find_levels(make)


def test_resampling_takes_each_path_equally_often():
    make = populations(1, 0.25, 16)
    people = make.plain(range(1), 0)
    beyond = np.flatnonzero(people.response > 0)
    taken = np.zeros(16)
    for first in range(400):
        parents = make.parents(people, 0.0, first)
        for response in parents.response:
            taken[people.response == response] += 1
    assert taken[beyond].sum() == 1600
    share = 4 / beyond.size
    error = (share * (1 - share) / 400) ** 0.5  # less, as draws are even
    assert np.all(np.abs(taken[beyond] / 400 - share) < ERRORS * error)
    assert make.parents(people, 99.0, 0) is None
