"""Splitting with the engine: the same bytes however a run is cut, growth, replay, other worlds."""

import numpy as np
import pytest
from small_runs import SMALL, SMOKE, stored

from deleverage import compare, tail
from deleverage.config import load_config
from deleverage.errors import ConfigError, RunError
from deleverage.results import finalize, open_run
from deleverage.sweep import execute, prepare_run, run, simulate
from deleverage.sweep.replay import Replayer
from deleverage.sweep.worker import engine

SPLIT = (
    *SMALL,
    "sampling.kind=splitting",
    "sampling.variable=liquidated_notional",
    "sampling.policy=no_parity",
    "sampling.levels=2",
    "sampling.share=50%",
    "sampling.paths_per_level=16",
    "results.variables=[liquidated_notional, bad_debt, trough_price, outage_start]",
)
BLOCK = 48
UNIT = f"engine.unit_paths={BLOCK}"


def small(*overrides: str, paths: int = 4 * BLOCK):
    return load_config(SMOKE, (*SPLIT, *overrides), paths=paths)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return run(small(UNIT), tmp_path_factory.mktemp("split"), workers=0, progress=False)


def test_a_run_holds_weights_and_blocks_that_average_to_one(whole):
    ds = whole.outcomes
    weights = np.exp(ds.log_weight.values.astype(float)).reshape(-1, BLOCK)
    np.testing.assert_allclose(weights.mean(axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(ds.draw_block.values, np.arange(4 * BLOCK) // BLOCK)
    thresholds = whole.plan.splitting["thresholds"]
    assert ds.attrs["splitting"] == whole.plan.splitting
    assert thresholds[0] < thresholds[1]
    split = ds.liquidated_notional.sel(policy="no_parity").values.reshape(-1, BLOCK)
    assert np.all(split[:, 16:32] > thresholds[0])
    assert np.all(split[:, 32:] > thresholds[1])
    assert np.any(split[:, :16] < thresholds[0])
    found = tail.probability(ds.liquidated_notional, above=thresholds[1])
    assert 0.05 < float(found.estimate.sel(policy="no_parity")) < 0.6


def finalized(run_dir):
    finalize(run_dir)
    return run_dir


def test_paths_are_split_on_an_outcome_that_is_not_stored():
    """This one needs the run without feedback, which nothing that is stored needs."""
    ds = simulate(small("sampling.variable=exogenous_liquidations", paths=2 * BLOCK))
    assert "exogenous_liquidations" not in ds
    weights = np.exp(ds.log_weight.values.astype(float)).reshape(-1, BLOCK)
    np.testing.assert_allclose(weights.mean(axis=1), 1, rtol=1e-6)
    assert np.all(np.any(weights[:, :16] == 0, axis=1))  # what has gone on counts further down


def test_units_order_a_worker_and_memory_change_no_byte(whole, tmp_path):
    wide = small(f"engine.unit_paths={2 * BLOCK}")
    run_dir = prepare_run(engine(wide), tmp_path)
    execute(run_dir, 1, progress=False, order=["p0000-x000001", "p0000-x000000"])
    other = open_run(finalized(run_dir)).outcomes
    memory = simulate(small())
    for name in (*whole.outcomes.data_vars, "log_weight", "severity", "status"):
        expected = whole.outcomes[name].values.tobytes()
        assert other[name].values.tobytes() == expected, name
        assert memory[name].values.tobytes() == expected, name
    assert memory.attrs["splitting"] == whole.plan.splitting


def test_a_run_grows_by_replicates_under_its_first_levels(whole, tmp_path):
    begun = run(small(UNIT, paths=2 * BLOCK), tmp_path, workers=0, progress=False)
    grown = run(small(UNIT), tmp_path, workers=0, progress=False)
    assert grown.path == begun.path
    assert grown.plan.splitting == begun.plan.splitting
    assert stored(grown.path) == stored(whole.path)


def test_any_stored_path_replays_bit_for_bit(whole):
    replayer = Replayer(whole)
    sold = whole.outcomes.liquidated_notional
    split = sold.sel(policy="no_parity").values
    stayed = 40 + np.flatnonzero(split[32:40] == split[40:48])  # a move that was not made
    assert stayed.size
    for path in (3, 17, 31, 40, stayed[0], BLOCK + 33):
        for policy in ("baseline", "no_parity"):
            found = replayer.replay(policy, path)  # refuses another outcome than the stored one
            assert found.outcome_liquidated_notional == sold.sel(policy=policy)[path]


def test_a_policy_in_another_world_meets_the_same_draws(tmp_path):
    text = SMOKE.read_text() + "  no_outage: {scenario: {shocks: {outages: []}}}\n"
    file = tmp_path / "worlds.yaml"
    file.write_text(text)
    config = load_config(file, (*SPLIT, UNIT), paths=2 * BLOCK)
    found = run(config, tmp_path, workers=0, progress=False)
    replayer = Replayer(found)
    for path in (40, 90):
        one, other = (replayer.replay(policy, path) for policy in ("baseline", "no_outage"))
        np.testing.assert_allclose(one.fundamental, other.fundamental, rtol=2e-6)
        assert not one.gate_open.values.all()
        assert other.gate_open.values.all()


def test_runs_of_one_seed_pair_only_under_the_same_levels(whole, tmp_path):
    rows = compare.runs(whole, whole)
    assert all(row["difference"] == 0 for row in rows if row["difference"] is not None)
    fast = small(UNIT, "scenario.shocks.macro.duration=3m", paths=2 * BLOCK)
    other = run(fast, tmp_path, workers=0, progress=False)
    with pytest.raises(ConfigError, match="split at other levels"):
        compare.runs(whole, other)


def test_what_cannot_be_split_says_so_before_it_begins(tmp_path):
    flat = small("sampling.variable=halted_minutes", paths=2 * BLOCK)
    with pytest.raises(RunError, match=r"beyond 0 of them 0\.5 .*same halted_minutes, 0"):
        run(flat, tmp_path, workers=0, progress=False)
    assert list(tmp_path.iterdir()) == []
