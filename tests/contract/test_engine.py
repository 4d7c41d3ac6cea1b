"""What the engine promises: the same bytes however a run is cut, one trace, bounded memory.

A small world of configs/smoke.yaml, so that one program, compiled once, serves most tests.
"""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
import pytest
import xarray as xr
from ruamel.yaml import YAML
from small_runs import SMALL, SMOKE

from deleverage.config import Config, build, load_config
from deleverage.engine import Simulator, program
from deleverage.engine.simulator import Group
from deleverage.results.opening import open_run
from deleverage.shocks.lineage import Lineage
from deleverage.sweep import execute, memory, prepare_run, run, simulate
from deleverage.sweep.worker import engine

if TYPE_CHECKING:
    from deleverage.config import Built

PATHS = 24
TIGHT_GAP = 1e-5


def small(*overrides: str, paths: int = PATHS) -> Config:
    return load_config(SMOKE, (*SMALL, "results.variables=all", *overrides), paths=paths)


def with_policies(config: Config, folder: Path, policies: dict[str, Any]) -> Config:
    """The config with other policies, through a file as a user would change them."""
    yaml = YAML(typ="safe", pure=True)
    yaml.sort_base_mapping_type_on_output = False  # the order of policies matters
    content = yaml.load(config.resolved_yaml())
    content["policies"] = policies
    text = io.StringIO()
    yaml.dump(content, text)
    path = folder / "config.yaml"
    path.write_text(text.getvalue())
    return load_config(path)


def arrays(ds: xr.Dataset) -> dict[str, np.ndarray]:
    return {str(name): ds[name].values for name in [*ds.data_vars, *ds.coords]}


def assert_same_bytes(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    assert set(one) == set(other)
    different = [
        name
        for name, values in one.items()
        if values.dtype.kind in "fiu" and values.tobytes() != other[name].tobytes()
    ]
    assert not different


@pytest.fixture(scope="module")
def built() -> Built:
    return build(small())


@pytest.fixture(scope="module")
def simulator(built: Built) -> Simulator:
    return Simulator(built)


@pytest.fixture(scope="module")
def outcomes(simulator: Simulator) -> dict[str, np.ndarray]:
    return simulator.simulate(range(3), range(PATHS))


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """The whole sweep in this process, one unit."""
    folder = tmp_path_factory.mktemp("whole")
    return arrays(run(small(), out=folder, workers=0, progress=False).outcomes.load())


def test_the_small_world_has_a_crash(outcomes):
    """Else equal bytes would say little."""
    assert np.all(np.mean(outcomes["liquidated_notional"] > 0, axis=1) > 0.5)
    assert np.any(outcomes["bad_debt"] > 0)
    assert np.any(outcomes["adl_notional"] > 0)
    assert len(np.unique(outcomes["trough_price"][:, :, 0])) > PATHS


def test_the_size_and_order_of_units_change_no_byte(stored, tmp_path):
    run_dir = prepare_run(engine(small("engine.unit_paths=8")), tmp_path)
    names = [unit.id for unit in open_run(run_dir, allow_partial=True).plan.units]
    assert len(names) == 3
    execute(run_dir, 0, order=names[::-1], progress=False)
    cut = run(small("engine.unit_paths=8"), out=tmp_path, workers=0, progress=False)
    assert_same_bytes(arrays(cut.outcomes.load()), stored)


def test_worker_processes_change_no_byte(stored, tmp_path):
    config = small("engine.unit_paths=8")
    shared = run(config, out=tmp_path, workers=2, progress=False)
    assert_same_bytes(arrays(shared.outcomes.load()), stored)


def test_threads_change_no_byte(stored, monkeypatch):
    monkeypatch.setattr(memory, "worker_count", lambda units: 3)
    assert_same_bytes(arrays(simulate(small("engine.unit_paths=8"))), stored)


def test_more_paths_continue_a_run(stored, tmp_path):
    for paths in (12, PATHS):
        grown = run(
            small("engine.unit_paths=8", paths=paths), out=tmp_path, workers=0, progress=False
        )
    assert_same_bytes(arrays(grown.outcomes.load()), stored)


def test_appended_policies_leave_the_others_as_they_are(stored, tmp_path):
    config = small()
    listed = {"baseline": {}, "slow": {"liquidation": {"pace": 0.1}}}
    before = run(with_policies(config, tmp_path, listed), out=tmp_path, workers=0, progress=False)
    old = arrays(before.outcomes.load())
    more = {**listed, "floor": {"index": {"USDe": {"floor": 0.97}}}}
    after = run(with_policies(config, tmp_path, more), out=tmp_path, workers=0, progress=False)
    new = arrays(after.outcomes.load().isel(policy=slice(2)))
    old = {name: values for name, values in old.items() if name in new}
    new = {name: values for name, values in new.items() if name in old}
    assert_same_bytes(new, old)
    # and the first policy is that of a run with quite other company
    for name in ("liquidated_notional", "bad_debt", "trough_price"):
        assert new[name][0].tobytes() == stored[name][0].tobytes()


def test_another_tile_agrees_to_rounding(outcomes):
    other = Simulator(build(small("engine.tile_paths=12"))).simulate(range(3), range(PATHS))
    tight = np.minimum(outcomes["least_margin_gap"], other["least_margin_gap"]) < TIGHT_GAP
    print(f"{tight.mean():.1%} of the path-policies come within {TIGHT_GAP} of a margin call")
    assert tight.mean() < 0.05
    assert np.array_equal(outcomes["status"][~tight], other["status"][~tight])
    for name in ("liquidated_notional", "bad_debt", "trough_price", "trough_index", "equity_lost"):
        one, two = outcomes[name][~tight], other[name][~tight]
        np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-5 * np.abs(one).max())


def test_who_keeps_nothing_of_the_paired_run_gets_the_rest_without_it(outcomes):
    config = small("results.variables=[liquidated_units, trough_price]")
    found = Simulator(build(config)).simulate(range(3), range(PATHS))
    kept = {name: values for name, values in outcomes.items() if name not in program.PAIRED}
    assert len(kept) == len(outcomes) - 3
    assert_same_bytes(found, kept)


def test_float64_agrees_with_float32(outcomes):
    config = small("dtype=float64")
    precise = Simulator(build(config)).simulate(range(3), range(8))
    assert precise["bad_debt"].dtype == np.float64
    loose = precise["least_margin_gap"] > 1e-4
    assert loose.mean() > 0.8
    for name in ("liquidated_notional", "trough_price"):
        one, two = precise[name][loose], outcomes[name][:, :8][loose]
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-4 * np.abs(one).max())


@pytest.fixture
def traces(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry a time that the program is traced."""
    seen: list[int] = []
    original = program.run_paths

    def counted(*arguments: Any, **options: Any) -> Any:
        seen.append(1)
        return original(*arguments, **options)

    monkeypatch.setattr(program, "run_paths", counted)
    monkeypatch.setenv("DELEVERAGE_CACHE", "off")  # what is stored would not be traced anyway
    return seen


def test_no_number_of_a_policy_or_a_shock_traces_again(built, simulator, outcomes, traces):
    def nudged(leaf: Any) -> Any:
        return np.asarray(leaf) * 1.001

    def values(groups: list[Group]) -> Any:
        changed = type("Plan", (), vars(built) | {"groups": groups})
        changed.seed, changed.dtype, changed.tile_paths = 7, built.dtype, built.tile_paths
        changed.driver, changed.paired = built.driver, built.paired
        return Simulator(changed).simulate(range(3), range(8))

    (group,) = [Group(*group) for group in built.groups]
    moved = values([Group(*jax.tree.map(nudged, group[:2]), group.members)])
    assert not traces
    assert not np.array_equal(moved["trough_price"], outcomes["trough_price"][:, :8])


def test_other_values_in_a_config_do_not_trace_again(outcomes, traces):
    changed = small(
        "seed=5",
        "scenario.shocks.macro.severity.median=9%",
        "scenario.shocks.liquidity.highest=70%",
        "scenario.venues.exchange.liquidation.pace=0.3",
        "scenario.markets.exchange/BTC/perp.depth_1pct=90M",
        "policies.redemption_index.index.USDe.floor=90%",
    )
    Simulator(build(changed)).simulate(range(3), range(8))
    assert not traces


def test_another_number_of_steps_is_another_program(traces):
    Simulator(build(small("time.steps=2"))).simulate(range(3), range(8))
    assert len(traces) == 1


def test_what_a_step_costs_is_the_same_however_many_there_are(simulator):
    many = simulator.cost()
    few, most = (Simulator(build(small(f"time.steps={steps}"))).cost() for steps in (2, 22))
    assert many["operations"] == pytest.approx(few["operations"], rel=0.005)
    # draws and series: the same for each further step, beside what a path has once
    for name in ("series_operations", "series_bytes"):
        ten = many[name] - few[name]
        assert ten > 0.0
        assert most[name] - many[name] == pytest.approx(ten, rel=0.01)
    assert (many["columns"], many["paths"]) == (4 * 8, 8)


@pytest.mark.parametrize(("policy", "path"), [(0, 0), (2, 13), (1, PATHS - 1)])
def test_watching_repeats_a_path_bit_for_bit(simulator, outcomes, policy, path):
    again, record = simulator.watch(policy, path)
    for name, values in again.items():
        kept = outcomes[name][policy, path]
        assert np.asarray(values).tobytes() == np.asarray(kept).tobytes(), name
    assert len(record["closing_price"]) == 12
    assert np.array_equal(record["closing_price"].min(axis=0), again["trough_price"])
    assert np.array_equal(record["traded_price"].min(axis=0), again["wick_price"])
    assert np.array_equal(record["index_price"].min(axis=0), again["trough_index"])
    due = any(np.any(block) for block in record["is_due"])
    assert due == (again["liquidated_notional"] > 0)
    for equity, maintenance, block in zip(
        record["equity"], record["maintenance_margin"], record["is_due"], strict=True
    ):
        assert np.all(block[equity < maintenance])


def test_watching_does_not_trace_again(simulator, outcomes, traces):
    simulator.watch(1, 9)
    assert not traces


def test_a_policy_that_is_not_there_cannot_be_watched(simulator):
    with pytest.raises(ValueError, match="no policy number 3; there are 3"):
        simulator.watch(3, 0)


def test_blocks_start_on_a_tile(simulator):
    with pytest.raises(ValueError, match="starts at 4, which is no multiple of the tile's 8"):
        simulator.simulate(range(3), range(4, 12))


MEMORY = f"""
import resource, sys
sys.path[:0] = {[str(folder) for folder in Path(__file__).parents[:2]]!r}
from test_engine import build, small
from deleverage.engine import Simulator

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

simulator = Simulator(build(small()))
simulator.simulate(range(3), range(64))
before = peak()
for first in range(64, 2048, 64):
    simulator.simulate(range(3), range(first, first + 64))
print(peak() - before)
"""


def test_memory_does_not_grow_with_the_number_of_paths(outcomes):
    done = subprocess.run(
        [sys.executable, "-c", MEMORY], capture_output=True, text=True, timeout=300, check=True
    )
    megabytes = float(done.stdout)
    assert megabytes < 32


def test_paths_that_inherit_nothing_are_the_plain_ones_also_in_a_broken_tile():
    built = build(small())
    simulator = Simulator(built)
    plain = simulator.simulate(range(2), range(8, 21))
    ids = np.zeros((64, 13), np.uint32)
    spread = np.zeros((64, 13))
    ids[0], spread[0] = range(8, 21), 1
    found = simulator.simulate(range(2), range(13), Lineage(ids, spread))
    assert set(found) == set(plain)
    for name, values in found.items():  # another program: other low bits
        np.testing.assert_allclose(values, plain[name], rtol=1e-4, atol=1e-4, err_msg=name)
    # who shares a tile with a path, and where it lies there, makes no bit of difference
    alone = simulator.simulate(range(2), range(1), Lineage(ids[:, 9:10], spread[:, 9:10]))
    for name, values in alone.items():
        axis = 1 if name not in ("severity", "shock_time", "log_weight") else 0
        assert values.tobytes() == found[name].take([9], axis=axis).tobytes(), name
