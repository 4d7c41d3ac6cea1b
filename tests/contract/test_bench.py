"""The programs that the benchmark sets beside the engine do what the oracle does."""

from __future__ import annotations

import dataclasses
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import reference
import worlds
from reference_world import maps_of, rules_of, shocks_of

from deleverage.config import build, load_config

ROOT = Path(__file__).parents[2]
BENCH, CORE = ROOT / "scripts" / "bench", ROOT / "configs" / "bench" / "core.yaml"
sys.path.insert(0, str(BENCH))

import agreement  # noqa: E402
import c_program  # noqa: E402
import compare as comparison  # noqa: E402
import counted  # noqa: E402
import machine  # noqa: E402
import numba_program  # noqa: E402
import numpy_program  # noqa: E402
import programs  # noqa: E402
from numpy_shocks import series_of  # noqa: E402

PATHS, POLICIES = 2, 3
DEEPEST = 1e6
FLOAT64 = np.dtype("float64")


@pytest.fixture(scope="module", params=[0, 7])
def case(request):
    world, policy = worlds.random_world(request.param)
    # arbitrage with a book of 1e12 moves notional that is rounding even in float64
    depth = np.minimum(policy.impact.depth, DEEPEST)
    policy = dataclasses.replace(policy, impact=dataclasses.replace(policy.impact, depth=depth))
    draws = worlds.random_draws(world, PATHS, request.param)
    inputs = reference.exogenous(world, draws)
    expected = reference.simulate_pair(world, policy, inputs)
    assert expected["least_margin_gap"].min() > 1e-8
    assert expected["least_branch_gap"].min() > 1e-8
    assert expected["liquidated_notional"].max() > 0.0
    assert expected["bad_debt"].max() > 0.0
    rules = [rules_of(policy, place) for place in range(POLICIES)]
    return world, draws, rules, expected


def assert_same(found, expected):
    missing = {"least_branch_gap", "paired_least_branch_gap", "paired_least_margin_gap"}
    assert found.keys() == expected.keys() - missing - numba_program.LEFT_OUT
    for name, values in found.items():
        np.testing.assert_allclose(
            values, expected[name], rtol=1e-9, atol=1e-9, equal_nan=True, err_msg=name
        )


def test_the_numpy_program_gives_the_oracles_outcomes(case):
    world, draws, rules, expected = case
    maps, venues = maps_of(world.layout), len(world.layout.venues)
    series = series_of(maps, shocks_of(world), venues, draws, FLOAT64)
    columns = [
        numpy_program.simulate(numpy_program.Constants(maps, one, FLOAT64), series) for one in rules
    ]
    assert_same(
        {n: np.stack([np.moveaxis(c[n], -1, 0) for c in columns]) for n in columns[0]}, expected
    )


def test_the_c_program_gives_the_oracles_outcomes(case, tmp_path):
    if machine.compiler() is None:
        pytest.skip(machine.NO_COMPILER)
    world, draws, rules, expected = case
    program = c_program.CProgram(
        maps_of(world.layout),
        shocks_of(world),
        rules,
        len(world.layout.venues),
        FLOAT64,
        world.merton is not None,
        tmp_path,
    )
    assert_same(program.simulate(POLICIES, draws), expected)
    # fewer policies than it was built for
    assert_same(program.simulate(1, draws), {n: v[:1] for n, v in expected.items()})


def test_what_numba_compiles_observes_what_the_oracle_observes(case):
    # the functions as they stand: compiling them takes a minute and changes nothing
    world, draws, rules, expected = case
    functions = types.SimpleNamespace(
        outcomes_of=numba_program.outcomes_of, exogenous_path=reference.exogenous_path
    )
    venues = len(world.layout.venues)
    found = numba_program.simulate(
        functions, maps_of(world.layout), shocks_of(world), rules, venues, draws
    )
    assert_same(found, expected)


def test_series_are_counted_once_a_path_and_steps_for_every_policy():
    # a tile of 128 paths and 16 lanes, 4 of them at once; a step of one column is 10 operations
    cost = {"columns": 512.0, "paths": 128.0, "operations": 5120.0, "series_operations": 128e3}
    assert counted.of_step(cost, "operations") == 10.0
    assert counted.of_series(cost, "operations") == 1000.0
    for policies, taken in {
        16: 240 * 10 + 1000 / 16,
        64: 240 * 10 + 4 * 1000 / 64,
        1: 4 * 240 * 10 + 1000,  # three lanes run along
        18: (20 * 240 * 10 + 2 * 1000) / 18,
    }.items():
        found = counted.of_path_policy(cost, "operations", 240, policies, 16)
        assert found == pytest.approx(taken)


def test_shares_of_the_peak_are_of_all_that_a_run_takes():
    cost = {"columns": 512.0, "paths": 128.0}
    cost |= {"operations": 5120.0, "series_operations": 128e3, "bytes": 512.0, "series_bytes": 0.0}
    row = {"path_policies_per_second": 1000.0, "policies": 16}
    found = comparison.shares(cost, {"operations": 1e7, "bytes": 1e6}, row)
    assert found["share_of_peak_operations"] == pytest.approx((2400 + 62.5) * 1000 / 1e7)
    assert found["share_of_peak_bytes"] == pytest.approx(240 * 1000 / 1e6)


def test_every_function_that_is_inlined_exists():
    names = {*reference.kernel_names(), *(one.__name__ for one in numba_program.OWN)}
    assert names >= numba_program.INLINED


def outcomes(gap, notional):
    return {"least_margin_gap": np.array([gap]), "bad_debt": np.array([notional])}


def test_columns_near_a_margin_are_counted_and_not_compared():
    expected = outcomes([1e-6, 0.1, 0.2, 0.3], [10.0, 10.0, 10.0, 10.0])
    found = outcomes([1e-6, 0.1, 0.2, 0.3], [99.0, 10.0, 10.001, 11.0])
    said = agreement.compare(found, expected)
    assert said["near"] == 0.25
    assert said["apart"] == pytest.approx(1 / 3)
    assert said["largest_error"] == pytest.approx(0.001 / 21.0)


def test_a_missing_number_is_apart():
    expected, found = outcomes([0.1, 0.1], [1.0, 1.0]), outcomes([0.1, 0.1], [1.0, np.nan])
    assert agreement.compare(found, expected)["apart"] == 0.5
    expected["bad_debt"][0, 1] = np.nan
    assert agreement.compare(found, expected)["apart"] == 0.0


def test_the_benchmarks_config_is_what_it_says_and_runs_small():
    config = load_config(CORE, ("time.steps=6", "scenario.shocks.macro.duration=1m"))
    built = build(config)
    layout = built.world.layout
    assert (len(layout.markets), len(layout.books) * layout.buckets) == (24, 256)
    assert load_config(CORE).time.steps == 240
    assert len(built.groups) == 1, "one program for all policies"
    assert np.shape(built.policy.books.cash)[-1] == 64
    program = programs.NumPy(built)
    program.draw(0, 8)
    found = program.run(2, 0, 8)
    assert found["liquidated_notional"].shape == (2, 8)
    assert found["liquidated_notional"].min() > 0.0
    if machine.compiler() is not None:
        other = programs.C(built)
        other.draw(0, 8)
        said = agreement.compare(other.run(2, 0, 8), found)
        assert said["apart"] == 0.0
