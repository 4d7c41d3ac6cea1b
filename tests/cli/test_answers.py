"""The commands that answer questions from a run with causes."""

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from small_runs import SMALL, SMOKE, as_options, with_causes

import deleverage as dl
from deleverage import cli
from deleverage.errors import RunError
from deleverage.sweep.replay import Replayer

SETTINGS = ("--paths", "64", *as_options(SMALL))


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Path:
    """A small world with two causes."""
    return with_causes(tmp_path_factory.mktemp("config"))


@pytest.fixture(scope="module")
def made(config, tmp_path_factory) -> Path:
    """Its finished run."""
    out = tmp_path_factory.mktemp("runs")
    with pytest.raises(SystemExit) as end:
        cli.main(["run", str(config), *SETTINGS, "--workers", "0", "--out", str(out)])
    assert not end.value.code
    (run,) = out.iterdir()
    return run


def test_attribute_gives_rows_that_add_up(call, made):
    code, out, _ = call("attribute", made, "--json")
    assert code == 0
    found = json.loads(out)
    rows = [row for row in found["rows"] if row["measure"] == "mean"]
    assert [row["cause"] for row in rows] == ["outage", "own_book"]
    assert {"variable", "measure", "cause", "share", "standard_error", "total"} <= set(rows[0])
    assert sum(row["share"] for row in rows) == pytest.approx(rows[0]["total"], abs=1e-9)
    assert rows[0]["variable"] == "liquidated_notional"
    assert len(found["interactions"]) == 3  # a pair of causes a measure
    chances = found["causation"]
    assert [row["cause"] for row in chances] == ["outage", "own_book"]
    assert chances[0]["variable"] == "trough_price[exchange/USDe/spot]"


def test_attribute_prints_a_table_a_measure_and_draws_it(call, made, tmp_path):
    file = tmp_path / "shares.png"
    code, out, _ = call("attribute", made, "--figure", file)
    assert code == 0
    assert file.stat().st_size > 10_000
    assert "mean of liquidated_notional, million USD" in out
    assert "probability below 0.9 of trough_price[exchange/USDe/spot]" in out
    assert "64 paths a combination" in out


def test_attribute_of_a_config_continues_its_run(call, config, made):
    words = ("attribute", config, *SETTINGS, "--workers", "0", "--out", made.parent, "--json")
    code, out, _ = call(*words)
    assert code == 0
    assert json.loads(out)["run"] == str(made)


@pytest.mark.parametrize(
    ("option", "value"),
    [("--set", "seed=1"), ("--paths", "8"), ("--workers", "0"), ("--out", "runs")],
)
def test_attribute_of_a_run_takes_no_option_of_a_config(call, made, option, value):
    code, out, said = call("attribute", made, option, value)
    assert (code, out) == (2, "")
    assert said.startswith(f"error: {option} came with the run directory {made}, which is made")
    assert f"allowed is {option} with a config; leave it out" in said


def test_a_config_without_causes_is_refused_before_it_runs(call, tmp_path):
    code, _, said = call("attribute", SMOKE, "--out", tmp_path)
    assert code == 2
    assert "names no causes" in said
    assert list(tmp_path.iterdir()) == []


def test_compare_two_policies_and_a_run_with_itself(call, made):
    words = ("compare", made, "--policy", "baseline", "--policy", "none", "--json")
    code, out, _ = call(*words)
    assert code == 0
    rows = {row["quantity"]: row for row in json.loads(out)["rows"]}
    mean = rows["liquidated_notional.mean"]
    assert mean["policy"] == "baseline -> none"
    assert mean["difference"] == pytest.approx(mean["second"] - mean["first"])
    code, out, _ = call("compare", made, made)
    assert code == 0
    assert "0 of" in out
    code, _, said = call("compare", made)
    assert code == 2
    assert "name two runs" in said


def test_frontier_lists_policies_with_their_costs(call, made):
    code, out, _ = call("frontier", made, "--measure", "mean", "--json")
    assert code == 0
    rows = json.loads(out)["rows"]
    assert {row["policy"] for row in rows} == {"baseline", "outage", "own_book", "none"}
    assert any(row["on_front"] for row in rows)
    for row in rows:
        assert row["risk_lower"] < row["risk"] < row["risk_upper"]
        assert row["probability_lower"] <= row["probability"] <= row["probability_upper"]
        assert (row["paths"], row["missing"], row["thin"]) == (64, 0, False)
        assert row["flagged"] >= 0
    code, out, _ = call("frontier", made, "--variable", "liquidated_notional")
    assert code == 0
    assert "dominated by" in out
    # 64 paths tell nothing of one in a hundred: no number looks exact, and a note says why
    assert "risk: expected shortfall 99% of liquidated notional, million USD; low is good; ±" in out
    assert "64 paths a policy, " in out
    assert "flagged outcomes over all policies" in out
    assert "Fewer than 10 paths lie beyond this level" in out
    code, out, _ = call("frontier", made, "--variable", "liquidated_notional", "--json")
    found = json.loads(out)
    assert found["thin"]
    assert {row["risk_standard_error"] for row in found["rows"]} == {None}
    assert {row["probability"] for row in found["rows"]} == {None}


def test_frontier_takes_thresholds_of_a_probability(call, made):
    words = ("frontier", made, "--measure", "probability")
    code, out, _ = call(*words, "--above", "2000")
    assert code == 0
    assert "risk: probability of bad debt" in out
    code, _, said = call(*words)
    assert code == 2
    assert "write above=0" in said
    code, _, said = call("frontier", made, "--below", "2000")
    assert code == 2
    assert "`below` came beside the measure 'expected_shortfall'; allowed is a threshold of" in said


def test_frontier_knows_which_values_are_good_or_asks(call, made):
    words = ("frontier", made, "--measure", "mean", "--json", "--variable")
    assert json.loads(call(*words, "trough_price")[1])["good"] == "high"
    assert json.loads(call(*words, "liquidated_notional")[1])["good"] == "low"
    code, _, said = call(*words, "peak_time")
    assert code == 2
    assert "whether low or high values of peak_time are good is not known" in said
    assert call(*words, "peak_time", "--good", "high")[0] == 0


def test_frontier_takes_one_place_or_says_that_it_sums(call, made):
    words = ("frontier", made, "--measure", "mean", "--variable", "trough_price")
    assert "mean of trough price, summed over market; high is good" in call(*words)[1].replace(
        ", 1;", ";"
    )
    of_one = (*words, "--at", "market=exchange/USDe/spot")
    assert "mean of trough price at exchange/USDe/spot" in call(*of_one)[1]
    found = json.loads(call(*of_one, "--json")[1])
    assert (found["selection"], found["summed"]) == ({"market": "exchange/USDe/spot"}, [])
    stored = dl.open_run(made).outcomes.trough_price.sel(market="exchange/USDe/spot").mean("path")
    for row in found["rows"]:
        assert row["risk"] == pytest.approx(float(stored.sel(policy=row["policy"])), rel=1e-6)
    for wrong in ("exchange/USDe/spot", "market=", "=x"):
        code, _, said = call(*words, "--at", wrong)
        assert code == 2
        assert f"'{wrong}' came; allowed is DIM=LABEL" in said
    code, _, said = call(*words, "--at", "market=nowhere")
    assert code == 2
    assert "trough_price has no market 'nowhere'; allowed are" in said


def test_replay_writes_out_the_stored_path(call, made, tmp_path):
    of_policy = dl.open_run(made).outcomes.sel(policy="own_book")
    number = int(np.argmax(of_policy.liquidated_notional.values))
    words = ("replay", made, "--policy", "own_book", "--path", number, "--out", tmp_path)
    code, out, _ = call(*words)
    assert code == 0
    assert f"path {number} under own_book" in out
    assert "the first to fail" in out
    path = xr.open_zarr(tmp_path / f"own_book-{number}.zarr", consolidated=False)
    stored = of_policy.isel(path=number)
    assert path.sizes["time"] == 12
    lowest = path.closing_price.min("time")
    assert lowest.values.tobytes() == stored.trough_price.values.tobytes()
    assert path.outcome_bad_debt.values.tobytes() == stored.bad_debt.values.tobytes()
    assert bool((path.is_due.values[path.equity.values < path.maintenance_margin.values] > 0).all())
    assert (tmp_path / f"own_book-{number}.png").stat().st_size > 10_000


def test_replay_of_the_worst_paths(call, made, tmp_path):
    words = ("replay", made, "--worst", "2", "--by", "bad_debt", "--out", tmp_path, "--json")
    code, out, _ = call(*words)
    assert code == 0
    debt = dl.open_run(made).outcomes.bad_debt.sel(policy="baseline")
    paths = [one["path"] for one in json.loads(out)["paths"]]
    assert paths == np.argsort(-debt.values, kind="stable")[:2].tolist()


def test_an_outcome_that_is_not_the_stored_one_is_an_error(made):
    run = dl.open_run(made)
    replayer = Replayer(run)
    stored = run.outcomes.isel(policy=0, path=0).load()
    outcomes, _ = replayer._simulator.watch(0, 0)
    replayer._verify(stored, outcomes, "baseline", 0)
    other = {**outcomes, "bad_debt": np.nextafter(outcomes["bad_debt"], np.float32(1e9))}
    with pytest.raises(RunError, match="bad_debt of path 0 under baseline is stored as"):
        replayer._verify(stored, other, "baseline", 0)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "name one path by `--path N`"),
        (("--worst", "2"), "name one path by"),
        (("--path", "2", "--at", "exchange"), "name one path by"),
        (("--path", "64"), "path is 64, but this run has the paths 0 to 63"),
        (("--path", "0", "--policy", "floor"), "policy 'floor' is not in this run"),
        (("--worst", "1", "--by", "debt"), "`by` is 'debt'"),
    ],
)
def test_what_cannot_be_replayed_is_one_sentence(call, made, words, sentence):
    code, _, said = call("replay", made, *words)
    assert code == 2
    assert sentence in said
