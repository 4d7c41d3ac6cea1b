import dataclasses

import pytest
from fake_engine import FakeConfig, prepare

from deleverage.errors import ConfigError, RunError
from deleverage.results.plan import Plan
from deleverage.results.schema import VARIABLES
from deleverage.results.store import MAX_CHUNK_BYTES, assert_aligned
from deleverage.sweep.plan import continue_plan, plan_run


def make(**changes) -> Plan:
    config = FakeConfig(**changes)
    prepared = prepare(config)
    return plan_run(config, prepared.built, prepared.simulator.fingerprint())


MANY = {f"p{i}": i for i in range(40)}


def test_units_cover_every_path_and_policy_once():
    plan = make(paths=1000, policies=MANY)
    cells = [(p, x) for unit in plan.units for p in unit.policies for x in unit.paths]
    assert len(cells) == len(set(cells)) == 40 * 1000
    assert {len(unit.policies) for unit in plan.units} == {16, 8}


@pytest.mark.parametrize("paths", [1, 8, 100, 200, 20_000, 1_000_000])
def test_units_are_whole_tiles_and_whole_chunks_by_default(paths):
    plan = make(paths=paths, unit_paths=None)
    assert plan.path_block % plan.tile_paths == 0
    assert_aligned(plan)
    assert all(unit.paths.start % plan.tile_paths == 0 for unit in plan.units)


def test_a_block_that_cuts_a_chunk_is_found():
    plan = make(paths=200)

    class Cut(Plan):
        def chunks(self, variable):
            return tuple(48 if n == 64 else n for n in super().chunks(variable))

    cut = Cut(**{f.name: getattr(plan, f.name) for f in dataclasses.fields(plan)})
    with pytest.raises(RunError, match="not whole chunks of 48"):
        assert_aligned(cut)


def test_default_blocks_keep_chunks_under_the_limit():
    config = FakeConfig(paths=10**6, unit_paths=None)
    prepared = prepare(config)
    prepared.built.labels["market"] = [f"m{i}" for i in range(5000)]
    plan = plan_run(config, prepared.built, {})
    chunk = plan.chunks(VARIABLES["trough_price"])
    assert 0 < 4 * chunk[0] * chunk[1] * chunk[2] <= MAX_CHUNK_BYTES


def test_unit_paths_must_be_whole_tiles():
    with pytest.raises(ConfigError, match=r"engine.unit_paths: 20 came.*multiples of.*8"):
        make(unit_paths=20)


def test_a_plan_survives_its_file():
    plan = make()
    assert Plan.from_json(plan.to_json()) == plan


def test_an_unknown_market_is_refused():
    with pytest.raises(ConfigError, match=r"results.markets: 'x' is not a market"):
        make(markets=["x"])


def test_paths_and_policies_leave_the_directory_as_it_is_and_the_seed_does_not():
    name = make().directory_name
    assert make(paths=500, policies=MANY).directory_name == name
    assert make(seed=2).directory_name != name


def test_blocks_stay_as_first_planned(tmp_path):
    old, new = make(paths=64, unit_paths=None), make(paths=5000, unit_paths=None)
    assert new.path_block != old.path_block
    assert continue_plan(old, new, tmp_path).path_block == old.path_block


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"seed": 2}, ConfigError, "belongs to another config: seed was 1 there and is 2 here"),
        ({"scenario": "storm"}, ConfigError, 'scenario.kind was "calm" there and is "storm" here'),
        ({"paths": 100}, ConfigError, "paths: 100 came, but .* already has 200"),
        ({"policies": {"baseline": 0}}, ConfigError, "'floor' is missing"),
        ({"policies": {"baseline": 0, "floor": 2}}, ConfigError, "'floor' has changed"),
        ({"policies": {"baseline": 0, "a": 2, "floor": 1}}, ConfigError, "'floor' has moved"),
        ({"backend": "gpu"}, RunError, "begun with backend 'cpu', this machine has 'gpu'"),
    ],
)
def test_a_run_that_cannot_be_continued_says_why(tmp_path, changes, error, words):
    with pytest.raises(error, match=words):
        continue_plan(make(), make(**changes), tmp_path)


def test_a_complete_run_may_be_reopened_on_another_backend(tmp_path):
    plan = continue_plan(make(), make(backend="gpu"), tmp_path, complete=True)
    assert plan.fingerprint == make().fingerprint
