"""Runs that take as many paths as an error bar needs: same paths, same bytes, and it says why."""

import json
import math
import random

import numpy as np
import pytest
import xarray as xr
from fake_engine import FACTORY, FakeConfig, prepare
from small_runs import SMALL, SMOKE, stored

from deleverage import cli
from deleverage.analysis import tail
from deleverage.analysis.stopping import judge, sentence
from deleverage.config import load_config
from deleverage.config.paths import AdaptivePaths
from deleverage.errors import ConfigError, IncompleteRunError
from deleverage.results import finalize, open_run
from deleverage.results.plan import load_plan
from deleverage.sweep import execute, prepare_run, run, simulate
from deleverage.sweep.adaptive import next_checkpoint

MEAN = {"variable": "bad_debt", "measure": "probability", "above": 0.0, "relative_error": 0.05}


def rule(at_most: int = 4000, at_least: int = 100, **until) -> dict:
    return {"at_most": at_most, "at_least": at_least, "until": {**MEAN, **until}}


def few(**changes) -> FakeConfig:
    given = {"variables": ["bad_debt"], "unit_paths": 128, "rule": rule(), **changes}
    return FakeConfig(**given)


def go(config, out, **options):
    options = {"workers": 0, "progress": False, "simulator_factory": FACTORY, **options}
    return run(config, out, **options)


def errors_at(config: FakeConfig, paths: int) -> float:
    """The largest relative error over policies of the first paths, by hand."""
    whole = simulate(few(rule=None, paths=paths), simulator_factory=FACTORY)
    found = tail.probability(whole.bad_debt, above=0.0)
    return float((found.standard_error / found.estimate).max())


def test_checkpoints_are_half_as_many_units_again_in_whole_units():
    adaptive = AdaptivePaths.model_validate(rule(at_most=1000, at_least=100))
    seen, paths = [], 0
    while paths < 1000:
        paths = next_checkpoint(paths, adaptive, 64)
        seen.append(paths)
    assert seen == [128, 192, 320, 512, 768, 1000]


def test_a_first_look_has_a_hundred_points_in_the_tail():
    def fewest(**until):
        return AdaptivePaths.model_validate({"at_most": 10**7, "until": MEAN | until}).fewest

    assert fewest(measure="expected_shortfall", above=None, q=0.99) == 10_000
    assert fewest(measure="quantile", above=None, q=0.001) == 100_000
    assert fewest() == 1000
    at_most = AdaptivePaths.model_validate({"at_most": 300, "until": MEAN})
    assert at_most.fewest == 300


def test_a_run_ends_at_the_first_checkpoint_that_reaches_the_error(tmp_path):
    opened = go(few(), tmp_path)
    paths, found = opened.plan.paths, opened.plan.stopping
    assert opened.outcomes.sizes["path"] == paths < 4000
    assert found["reached"]
    checkpoints = [128, 256, 384, 640, 1024, 1536, 2304, 3456]
    expected = next(n for n in checkpoints if errors_at(few(), n) <= 0.05)
    assert paths == expected
    assert found["relative_error"] == pytest.approx(errors_at(few(), paths), rel=1e-12)
    root = xr.open_zarr(opened.path / "results.zarr")
    assert root.attrs["stopping"] == found
    assert root.attrs["complete"]
    assert root.sizes["path"] == paths


def test_its_arrays_are_those_of_a_run_of_that_many_paths(tmp_path):
    opened = go(few(), tmp_path / "rule")
    plain = go(few(rule=None, paths=opened.plan.paths), tmp_path / "plain")
    assert plain.path.name == opened.path.name
    differ = {
        name for name, content in stored(plain.path).items() if stored(opened.path)[name] != content
    }
    assert differ == {"zarr.json"}  # the rule, and the config with it


def test_workers_and_order_change_no_byte(tmp_path):
    expected = stored(go(few(), tmp_path / "alone").path)
    assert stored(go(few(), tmp_path / "workers", workers=2).path) == expected
    prepared = prepare(few())
    run_dir = prepare_run(prepared, tmp_path / "order")
    names = [unit.id for unit in load_plan(run_dir).units]
    random.Random(3).shuffle(names)
    execute(run_dir, 0, simulator_factory=FACTORY, progress=False, order=names)
    assert stored(go(few(), tmp_path / "order").path) == expected


def test_a_run_that_never_reaches_it_takes_all_and_says_so(tmp_path):
    opened = go(few(rule=rule(at_most=500, relative_error=0.001)), tmp_path)
    assert opened.plan.paths == 500
    assert not opened.plan.stopping["reached"]
    told = sentence(opened.plan.stopping, opened.plan.paths)
    assert told.startswith("took all 500 paths: the standard error of the probability of bad_debt")
    assert "raise paths.at_most to go on" in told


def test_more_is_allowed_later_and_gives_the_same_bytes(tmp_path):
    short = go(few(rule=rule(at_most=200)), tmp_path)
    assert not short.plan.stopping["reached"]
    longer = go(few(), tmp_path)
    assert longer.path == short.path
    assert stored(longer.path) == stored(go(few(), tmp_path / "fresh").path)


def test_a_smaller_error_later_gives_the_same_bytes(tmp_path):
    first = go(few(), tmp_path)
    strict = few(rule=rule(relative_error=0.035))
    second = go(strict, tmp_path)
    assert second.plan.paths > first.plan.paths
    assert stored(second.path) == stored(go(strict, tmp_path / "fresh").path)


def test_what_is_reached_stays_and_runs_nothing_again(tmp_path):
    opened = go(few(), tmp_path)
    log = (opened.path / "log.jsonl").read_text()
    assert go(few(), tmp_path).plan == opened.plan
    assert (opened.path / "log.jsonl").read_text() == log
    with pytest.raises(ConfigError, match=r"paths.at_most: 100 came, but .* already has"):
        go(few(rule=rule(at_most=100)), tmp_path)


def test_a_policy_added_later_is_looked_at_too(tmp_path):
    first = go(few(rule=rule(policies=["baseline"])), tmp_path)
    more = {"baseline": 0, "floor": 1, "third": 2}
    grown = go(few(policies=more), tmp_path)
    assert grown.plan.stopping["until"]["policies"] == "all"
    assert grown.plan.paths >= first.plan.paths
    assert grown.plan.stopping["reached"]
    assert not np.isnan(grown.outcomes.bad_debt.sel(policy="third").values).any()


def test_a_number_of_paths_takes_the_place_of_the_rule(tmp_path):
    opened = go(few(), tmp_path)
    plain = go(few(rule=None, paths=1500), tmp_path)
    assert plain.path == opened.path
    assert plain.plan.stopping == {}
    assert "stopping" not in xr.open_zarr(plain.path / "results.zarr").attrs
    assert plain.outcomes.sizes["path"] == 1500


def test_a_checkpoint_that_nobody_looked_at_is_not_the_end(tmp_path):
    run_dir = prepare_run(prepare(few()), tmp_path)
    execute(run_dir, 0, simulator_factory=FACTORY, progress=False)
    assert load_plan(run_dir).paths == 128
    with pytest.raises(IncompleteRunError, match="may need more paths"):
        finalize(run_dir)
    with pytest.raises(IncompleteRunError):
        open_run(run_dir)


def test_memory_takes_a_number():
    with pytest.raises(ConfigError, match="a sweep in memory takes a number of paths"):
        simulate(few(), simulator_factory=FACTORY)


@pytest.mark.parametrize(
    ("until", "words"),
    [
        ({"variable": "bad_det"}, "paths.until.variable: 'bad_det' is no outcome that this run"),
        ({"variable": "equity_lost"}, "'equity_lost' is no outcome that this run stores; allowed"),
        ({"variable": "outage_start"}, "'outage_start' is no outcome"),
        ({"policies": ["floo"]}, "paths.until.policies.0: the policy 'floo' is unknown"),
        ({"selection": {"market": "x"}}, "bad_debt has no market 'x'; allowed is"),
    ],
)
def test_a_rule_about_what_is_not_there_is_refused(tmp_path, until, words):
    with pytest.raises(ConfigError, match=words):
        go(few(rule=rule(**until)), tmp_path)
    assert not any(tmp_path.iterdir())


def outcomes(values) -> xr.Dataset:
    x = xr.DataArray(np.array(values, dtype=float), dims=("policy", "path"))
    return xr.Dataset({"bad_debt": x.assign_coords(policy=["baseline", "floor"])})


def until(**changes):
    return AdaptivePaths.model_validate(rule(**changes)).until


def test_the_policy_with_the_largest_error_decides():
    # errors of the mean of {0, 2} and {1, 3}, twice each: sqrt(4/3) / 2, over the means 1 and 2
    found = judge(
        outcomes([[0, 2, 0, 2], [1, 3, 1, 3]]),
        until(measure="mean", above=None, relative_error=0.5),
    )
    assert (found["policy"], found["reached"]) == ("baseline", False)
    assert found["relative_error"] == pytest.approx(math.sqrt(4 / 3) / 2)
    one = until(measure="mean", above=None, relative_error=0.5, policies=["floor"])
    assert judge(outcomes([[0, 2, 0, 2], [1, 3, 1, 3]]), one)["reached"]


def test_nothing_seen_is_no_small_error():
    found = judge(outcomes([[0, 0, 0, 0], [1, 1, 0, 1]]), until(relative_error=1.0))
    assert found == {
        "reached": False,
        "policy": "baseline",
        "estimate": 0.0,
        "standard_error": 0.0,
        "relative_error": None,
    }


def test_a_tail_that_is_too_thin_is_no_small_error():
    rows = np.ones((2, 400)) + np.arange(400) * 1e-9
    wanted = {"measure": "expected_shortfall", "above": None, "relative_error": 1.0}
    assert not judge(outcomes(rows), until(q=0.99, **wanted))["reached"]
    assert judge(outcomes(rows), until(q=0.9, **wanted))["reached"]


ENGINE = (
    *SMALL,
    "engine.unit_paths=8",
    "paths={at_most: 64, at_least: 16, until: {variable: liquidated_notional, "
    "relative_error: 30%, policies: [baseline]}}",
)


def test_the_engine_follows_a_rule_and_the_command_line_tells_it(tmp_path, capsys):
    config = load_config(SMOKE, ENGINE)
    opened = run(config, tmp_path, workers=0, progress=False)
    assert opened.plan.stopping["reached"]
    assert 16 <= opened.plan.paths < 64
    assert load_config(opened.path / "config.yaml").paths == config.paths
    again = simulate(config, paths=opened.plan.paths)
    np.testing.assert_array_equal(opened.outcomes.bad_debt.values, again.bad_debt.values)
    written = json.loads((opened.path / "plan.json").read_text())["stopping"]
    assert written["until"]["policies"] == ["baseline"]
    told = f"stopped at {opened.plan.paths} of at most 64 paths: the standard error of the mean of"
    sets = [word for value in ENGINE for word in ("--set", value)]
    for words, expected in (
        (["summary", opened.path], told),
        (["status", opened.path], told),
        (["plan", SMOKE, *sets], "16 to 64 paths, until the standard error of the mean of"),
        (["check", SMOKE, *sets], "64"),
    ):
        with pytest.raises(SystemExit) as end:
            cli.main([str(word) for word in words])
        assert not end.value.code
        assert expected in capsys.readouterr().out
