"""The commands that answer questions from a run with causes."""

import json
from pathlib import Path

import pytest

from deleverage import cli

SMOKE = Path(__file__).parents[2] / "configs" / "smoke.yaml"
CAUSES = """\
  baseline: {}
attribution:
  causes:
    outage: {scenario: {shocks: {outages: []}}}
    own_book: {index: {USDe: {redemption: 100%, floor: 97%}}}
  measures:
    - {variable: liquidated_notional}
    - variable: trough_price
      measure: probability
      below: 0.9
      selection: {market: exchange/USDe/spot}
"""
SMALL = ("--paths", "64", "--set", "time.steps=6", "--set", "engine.tile_paths=16")


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Path:
    """A small world with two causes."""
    text = SMOKE.read_text()
    file = tmp_path_factory.mktemp("config") / "causes.yaml"
    file.write_text(text[: text.index("  baseline: {}")] + CAUSES)
    return file


@pytest.fixture(scope="module")
def made(config, tmp_path_factory) -> Path:
    """Its finished run."""
    out = tmp_path_factory.mktemp("runs")
    with pytest.raises(SystemExit) as end:
        cli.main(["run", str(config), *SMALL, "--workers", "0", "--out", str(out)])
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
    assert len(found["interactions"]) == 2
    chances = found["causation"]
    assert [row["cause"] for row in chances] == ["outage", "own_book"]
    assert chances[0]["variable"] == "trough_price[exchange/USDe/spot]"


def test_attribute_prints_a_table_a_measure(call, made):
    code, out, _ = call("attribute", made)
    assert code == 0
    assert "mean of liquidated_notional, million USD" in out
    assert "probability below 0.9 of trough_price[exchange/USDe/spot]" in out
    assert "64 paths a combination" in out


def test_attribute_of_a_config_continues_its_run(call, config, made):
    words = ("attribute", config, *SMALL, "--workers", "0", "--out", made.parent, "--json")
    code, out, _ = call(*words)
    assert code == 0
    assert json.loads(out)["run"] == str(made)


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
    code, out, _ = call("frontier", made, "--variable", "liquidated_notional")
    assert code == 0
    assert "dominated by" in out
