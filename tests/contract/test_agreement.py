"""The kernel against the oracle on random worlds, and policies that Hypothesis pushes further."""

from __future__ import annotations

import collections
import dataclasses
from typing import Any

import jax
import kernel
import numpy as np
import pytest
import reference
import worlds
from hypothesis import Phase, assume, event, given, settings
from hypothesis import strategies as st
from outcome_bounds import broken

from deleverage.policy import Policy
from deleverage.results.schema import VARIABLES
from deleverage.world import World

EXAMPLES = 30
PATHS = 2
OBSERVED = 0
"""A world of every kind that no rounding decides, in which funds pay and winners are closed."""

NEAR = 1e-5
"""A path this close to a threshold (relative) may fall on either side by rounding alone."""

TOLERANCE = {"float64": 1e-10, "float32": 1e-4}
MOST_NEAR = 0.25
"""Share of worlds that may be drawn again: 6 columns x 2 sides, each with some 10^3 comparisons."""

DEEPEST = 1e6
"""USD millions: arbitrage with a book of 1e12 moves notional that is rounding even in float64."""

PHASES = (Phase.explicit, Phase.generate)  # each example is a second of the oracle: no shrinking

TIMES = {"peak_time", "trough_time"}
PRICES = {"trough_price", "wick_price", "trough_index"}
EXACT = {"status", "liquidated_accounts", "depeg_minutes", "outage_start", "outage_length"}
GAPS = {"least_branch_gap", "paired_least_branch_gap", "paired_least_margin_gap"}
"""What only the oracle says: how near a path is to a threshold."""

COORDINATES = ("severity", "shock_time", "log_weight")
"""Of paths, whatever the policy: compared with the exogenous series."""

SEEN: collections.Counter[tuple[str, str]] = collections.Counter()
"""Worlds by kinds, and how many of them were near."""

factors = st.floats(0.25, 4.0)
perturbations = st.fixed_dictionaries(
    {
        ("impact", "depth"): factors,
        ("liquidation", "pace"): factors,
        ("liquidation", "target"): st.floats(1.0, 2.0),
        ("liquidation", "fee"): factors,
        ("margin", "rate"): st.floats(0.5, 1.5),
        ("margin", "ratio"): st.floats(0.6, 1.0),
        ("index", "floor"): st.floats(0.0, 1.0),
        ("index", "clamp"): factors,
        ("healing", "resilience_half_life"): factors,
        ("healing", "redemption_capacity"): factors,
        ("backstop", "fund"): st.floats(0.0, 2.0),
        ("books", "budget"): factors,
    }
)
seeds = st.integers(0, 2**31 - 1)


def perturbed(policy: Policy, changes: dict[tuple[str, str], float]) -> Policy:
    """Leaves times a number each."""
    for (part, field), factor in changes.items():
        rules = getattr(policy, part)
        rules = dataclasses.replace(rules, **{field: getattr(rules, field) * factor})
        policy = dataclasses.replace(policy, **{part: rules})
    return policy


def scale_of(name: str, expected: dict[str, np.ndarray], policy: Policy) -> np.ndarray:
    """What the rounding of an outcome is relative to, besides the outcome itself."""
    value = expected[name]
    gross = kernel.gross_exposure(policy)[:, None] * np.ones(value.shape[:2])
    if name in PRICES | {"open_interest_change"}:
        scale = np.ones(value.shape[:2])
    elif name in ("long_share", "peak_window_share", "reproduction_number"):
        # a quotient errs by the error of its numerator over its denominator
        total = expected["liquidated_units"]
        scale = gross / np.where(total > 0.0, total, 1.0)
    elif name == "least_margin_gap":
        # an equity's error over the maintenance: its distance from one maintenance, at most
        smallest = min(float(np.min(policy.margin.rate)), float(np.min(policy.margin.loan_rate)))
        scale = np.full(value.shape[:2], 1.0 / smallest)
    elif name == "amplification":
        drawdown = 1.0 - expected["trough_price"]
        return np.abs(value / np.where(drawdown == 0.0, 1.0, drawdown))
    else:
        scale = gross
    return scale.reshape(scale.shape + (1,) * (value.ndim - 2))


def is_tie(
    name: str, world: World, policy: Policy, inputs: Any, place: tuple[int, ...], found: float
) -> bool:
    """Whether the extreme is reached at `found` minutes too, but for rounding."""
    layout, rows = world.layout, reference.maps_of(world.layout)
    history = reference.trajectory(world, policy, inputs, place[0], place[1])
    step = round(found / layout.step) - 1
    if name == "trough_time":
        price = history["price_after"][:, place[2]]
        return bool(price[step] <= price.min() * (1.0 + 1e-6))
    rules = reference.rules_of(policy, place[0])
    record = reference.History(**history)
    forced = np.zeros(layout.steps)
    for t in range(layout.steps):
        for b in range(len(layout.books)):
            for k in range(layout.buckets):
                sales = reference.reference_outcomes.forced_sales(
                    rows, rules, record, t, b, k, history["price"][t]
                )
                forced[t] += sales.sum() + reference.reference_outcomes.forced_off_book(
                    rows, rules, record, t, b, k, history["price"][t]
                )
    windows = np.array(
        [forced[max(0, t - layout.window_steps + 1) : t + 1].sum() for t in range(layout.steps)]
    )
    return bool(windows[step] >= windows.max() * (1.0 - 1e-6))


def disagreements(
    world: World,
    policy: Policy,
    inputs: Any,
    expected: dict[str, np.ndarray],
    dtype: str,
    found: dict[str, np.ndarray] | None = None,
) -> list[str]:
    """One line for each outcome that differs by more than the precision explains."""
    if found is None:
        found = kernel.simulate(world.layout, policy, inputs, dtype)
    assert found.keys() == expected.keys() - GAPS
    lines = []
    for name in sorted(found):
        ours, theirs = found[name].astype(float), expected[name]
        assert ours.shape == theirs.shape, name
        if name in EXACT | TIMES:
            allowed = TOLERANCE[dtype] * np.abs(theirs)
        else:
            floor = kernel.rounding(world.layout, dtype) * scale_of(name, expected, policy)
            allowed = np.maximum(TOLERANCE[dtype] * np.abs(theirs), floor)
        same = (np.abs(ours - theirs) <= allowed) | (ours == theirs)
        same |= np.isnan(ours) & np.isnan(theirs)
        for place in map(tuple, np.argwhere(~same)):
            if name in TIMES and is_tie(name, world, policy, inputs, place, ours[place]):
                continue
            where = f"{name}{[int(i) for i in place]}"
            lines.append(f"{dtype} {where}: {ours[place]} is not {theirs[place]}")
    return lines


WORLDS = {"default_kinds": worlds.random_world, "every_kind": worlds.full_world}
kinds = pytest.mark.parametrize("make", WORLDS.values(), ids=WORLDS)


def expectation(
    oracle: Any, make: Any, seed: int, changes: dict[tuple[str, str], float]
) -> tuple[World, Policy, Any, dict[str, np.ndarray]]:
    """A world, a changed policy, series, and what the oracle makes of them."""
    world, policy = make(seed)
    policy = perturbed(policy, changes)
    depth = np.minimum(policy.impact.depth, DEEPEST)
    policy = dataclasses.replace(policy, impact=dataclasses.replace(policy.impact, depth=depth))
    inputs = oracle.exogenous(world, worlds.random_draws(world, PATHS, seed))
    return world, policy, inputs, oracle.simulate_pair(world, policy, inputs)


def both(*case: Any) -> list[str]:
    """Disagreements in both precisions."""
    return disagreements(*case, "float64") + disagreements(*case, "float32")


def compare(
    oracle: Any, make: Any, seed: int, changes: dict[tuple[str, str], float]
) -> None:
    world, policy, inputs, expected = expectation(oracle, make, seed, changes)
    SEEN["worlds", make.__name__] += 1
    gaps = [values for name, values in expected.items() if name.endswith("_gap")]
    near = bool(min(gap.min() for gap in gaps) < NEAR)
    SEEN["near", make.__name__] += near
    event("near a threshold" if near else "compared")
    assume(not near)
    lines = both(world, policy, inputs, expected)
    assert not lines, "\n".join([f"seed {seed}, {changes}", *lines])


@kinds
@settings(max_examples=EXAMPLES, phases=PHASES)
@given(seed=seeds, changes=perturbations)
def test_the_kernel_agrees_with_the_oracle(make, seed, changes):
    compare(reference, make, seed, changes)


def test_rounding_leaves_no_contract_that_a_deficit_is_charged_for():
    """One of 600 worlds in which an account has lost all its contracts but for 1e-17 of them."""
    changes = {
        ("index", "clamp"): 2.4601117850148357,
        ("index", "floor"): 1.0036713484068907e-26,
        ("backstop", "fund"): 1.0856608332389557,
        ("books", "budget"): 2.4601117850148357,
        ("liquidation", "pace"): 0.25000000000000006,
        ("liquidation", "target"): 1.9611327963716751,
        ("liquidation", "fee"): 2.115694649242329,
        ("margin", "rate"): 0.99999,
        ("margin", "ratio"): 0.917532996795418,
        ("healing", "redemption_capacity"): 0.917532996795418,
        ("healing", "resilience_half_life"): 3.474854443566075,
        ("impact", "depth"): 0.99999,
    }
    assert not both(*expectation(reference, worlds.full_world, 88002, changes))


@kinds
@pytest.mark.slow
@settings(max_examples=10 * EXAMPLES, phases=PHASES)
@given(seed=seeds, changes=perturbations)
def test_the_kernel_agrees_with_the_compiled_oracle_on_many_worlds(make, seed, changes):
    compare(reference.compiled(), make, seed, changes)


@kinds
def test_few_worlds_are_too_near_a_threshold_to_compare(make, record_property):
    near, seen = (SEEN[count, make.__name__] for count in ("near", "worlds"))
    if not seen:
        pytest.skip("no world of these kinds has been compared in this session")
    share = near / seen
    record_property("share_near_a_threshold", share)
    print(f"{near} of {seen} worlds lie within {NEAR:g} of a threshold")
    assert share < MOST_NEAR


@pytest.fixture(scope="module")
def observed() -> tuple[World, Policy, Any, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """A world of every kind, what the oracle observes of it, and what the kernel does."""
    world, policy = worlds.full_world(OBSERVED)
    inputs = reference.exogenous(world, worlds.random_draws(world, PATHS, OBSERVED))
    expected = reference.simulate_pair(world, policy, inputs)
    return world, policy, inputs, expected, kernel.simulate(world.layout, policy, inputs)


def test_every_stored_variable_is_compared(observed):
    *_, expected, found = observed
    by_path = {name for name, variable in VARIABLES.items() if variable.by_path}
    assert by_path - set(COORDINATES) <= found.keys()
    assert found.keys() == expected.keys() - GAPS
    # what differs by policy alone is known before any path: tests/unit/config
    assert VARIABLES.keys() - by_path == {
        *("open_interest", "open_interest_forgone", "credit_forgone", "fund_size", "vault_size")
    }


def test_a_wrong_value_of_any_variable_is_noticed(observed):
    world, policy, inputs, expected, found = observed
    assert not disagreements(world, policy, inputs, expected, "float64", found)
    for name, values in found.items():
        moved = values * 1.001 + 0.001
        if name in TIMES:  # of which a step either way is the next one
            moved = np.where(values > world.layout.step, values - world.layout.step, np.inf)
        wrong = {**found, name: np.where(np.isnan(values), 0.0, moved)}
        lines = disagreements(world, policy, inputs, expected, "float64", wrong)
        assert len(lines) == values.size, name
        assert all(line.startswith(f"float64 {name}[") for line in lines)


def test_what_is_said_by_venue_sums_to_what_is_said_in_all(observed):
    *_, found = observed
    for name in ("insurance_drawn", "adl_notional"):
        by_venue = found[f"{name}_by_venue"]
        assert (by_venue > 0.0).any(), name
        np.testing.assert_allclose(by_venue.sum(axis=-1), found[name], rtol=1e-12)


def test_a_watched_path_shows_the_gates_that_load_has_shut(observed):
    world, policy, inputs, expected, _ = observed
    layout = world.layout
    exogenous = layout.step * (1.0 - inputs["gate_open"]).sum(axis=0).T
    by_load = (expected["outage_length"] > exogenous).any(axis=-1)
    assert by_load.any()
    for lane, path in np.argwhere(by_load)[:2]:
        outcomes, record = kernel.watch(layout, policy, inputs, lane, path)
        shut = layout.step * (1.0 - record["gate_open"]).sum(axis=0)
        np.testing.assert_allclose(shut, outcomes["outage_length"][lane, path], rtol=1e-12)


@kinds
@settings(max_examples=EXAMPLES)
@given(seed=seeds, changes=perturbations)
def test_outcomes_keep_to_their_definitions_under_every_policy(make, seed, changes):
    world, policy = make(seed)
    policy = perturbed(policy, changes)
    inputs = reference.exogenous(world, worlds.random_draws(world, PATHS, seed))
    for dtype in ("float64", "float32"):
        found = kernel.simulate(world.layout, policy, inputs, dtype)
        assert not broken(world.layout, policy, found, dtype)


def test_outcomes_out_of_their_bounds_are_noticed(observed):
    world, policy, _, _, found = observed
    assert not broken(world.layout, policy, found, "float64")
    for name, values in found.items():
        # far too much, or less than nothing, is impossible of whatever has a bound
        wrong = [{**found, name: 0.0 * values + value} for value in (-3.0, 1e9)]
        unbounded = {"vault_loss", "equity_lost", "amplification"}
        caught = [bool(broken(world.layout, policy, one, "float64")) for one in wrong]
        assert any(caught) == (name not in unbounded), name


@settings(max_examples=20)
@given(seed=seeds, order=st.permutations(range(3)))
def test_the_order_of_policies_changes_no_outcome(seed, order):
    world, policy = worlds.random_world(seed)
    inputs = reference.exogenous(world, worlds.random_draws(world, PATHS, seed))
    straight = kernel.simulate(world.layout, policy, inputs)
    turned = kernel.simulate(
        world.layout, jax.tree.map(lambda leaf: leaf[..., list(order)], policy), inputs
    )
    assume(straight["least_margin_gap"].min() > NEAR)
    error = kernel.rounding(world.layout)
    for name, values in turned.items():
        if name not in TIMES:  # which jump where two steps tie
            theirs = straight[name]
            allowed = error * (np.abs(theirs) + scale_of(name, straight, policy))
            same = (np.abs(values - theirs[list(order)]) <= allowed[list(order)]) | (
                np.isnan(values) & np.isnan(theirs[list(order)])
            )
            assert same.all(), name


@kinds
@pytest.mark.parametrize("seed", range(6))
def test_all_cohorts_at_once_give_what_visits_to_those_with_work_give(make, seed):
    # the way of a GPU, where a loop over cohorts would be a round trip for each
    world, policy = make(seed)
    inputs = reference.exogenous(world, worlds.random_draws(world, PATHS, seed))
    visited = kernel.simulate(world.layout, policy, inputs)
    at_once = kernel.simulate(world.layout, policy, inputs, one_by_one=False)
    expected = reference.simulate_pair(world, policy, inputs)
    gaps = [values for name, values in expected.items() if name.endswith("_gap")]
    clear = np.min(gaps, axis=0) > NEAR  # columns whose outcome no rounding decides
    assert clear.any()
    error = kernel.rounding(world.layout)
    for name, values in at_once.items():
        ours = visited[name]
        allowed = error * (np.abs(ours) + scale_of(name, visited, policy))
        same = (np.abs(values - ours) <= allowed) | (np.isnan(values) & np.isnan(ours))
        for place in map(tuple, np.argwhere(~same)):
            tie = name in TIMES and is_tie(name, world, policy, inputs, place, values[place])
            assert tie or not clear[place[:2]], name


@pytest.mark.parametrize("seed", [8, 43])
def test_an_infinitely_deep_book_makes_no_noise_in_float32(seed):
    # arbitrage with it: the notional bought must not be depth times the rounding of a mean
    world, policy = worlds.random_world(seed)
    assert policy.impact.depth.max() > 1e10
    inputs = reference.exogenous(world, worlds.random_draws(world, PATHS, seed))
    exact = kernel.simulate(world.layout, policy, inputs)
    found = kernel.simulate(world.layout, policy, inputs, "float32")
    np.testing.assert_allclose(
        found["trough_price"], exact["trough_price"], rtol=TOLERANCE["float32"]
    )


@pytest.mark.parametrize(
    "law",
    [
        *("fixed", "normal", "lognormal", "generalised_pareto", "student_t"),
        *("profile", "failures", "replay"),
    ],
)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_exogenous_series_agree_with_the_oracle(law, dtype):
    eps = float(np.finfo(dtype).eps)
    for seed in range(20):
        if law == "profile":
            world = worlds.with_profile(worlds.random_world(seed)[0], seed)
        elif law == "replay":
            world = worlds.with_replay(worlds.random_world(seed)[0], seed)
        elif law == "failures":
            world, _ = worlds.full_world(seed)
        else:
            world, _ = worlds.random_world(seed, law=law)
        draws = worlds.random_draws(world, 8, seed)
        expected = reference.exogenous(world, draws)
        found = kernel.shocks(world, draws, dtype)
        layout = world.layout
        for name in ("log_fundamental", "liquidity_drop", *COORDINATES[:2]):
            difference = np.abs(found[name] - expected[name])
            # sums of a few terms of order one a step; the normal quantile costs some dozen ulps
            assert difference.max() <= layout.steps * 64 * eps, (name, seed)
        np.testing.assert_array_equal(found["gate_open"], expected["gate_open"])
        for name in ("engine_open", "capacity_left", "index_factor", "sales", "load"):
            assert (found.get(name) is None) == (name not in expected) == (law != "failures")
            if law == "failures":
                # a sale's share of a step is a difference of times over its duration
                # of a load outage, thresholds of some dozen millions
                scale = 100.0 if name in ("sales", "load") else 1.0
                difference = np.abs(found[name] - expected[name])
                assert difference.max() <= layout.steps * 64 * eps * scale, (name, seed)
        np.testing.assert_allclose(
            found["outage_start"], expected["outage_start"], rtol=64 * eps, atol=64 * eps
        )
        assert not found[COORDINATES[2]].any()
