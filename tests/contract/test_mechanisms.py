"""The table of what mechanisms cost has a row for every one, and in each row it is switched on."""

from __future__ import annotations

import argparse
import json
import re
import sys
import zlib
from functools import cache
from pathlib import Path

import jax
import numpy as np
import pytest
from config_keys import keys_of_schema, keys_of_value
from small_runs import SMALL, SMOKE

from deleverage.config import load_config
from deleverage.config.policies import PolicySpec, ScenarioChange
from deleverage.config.scenario import Scenario

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "configs" / "bench" / "mechanisms.yaml"
SCRIPT = ROOT / "scripts" / "bench" / "mechanisms.py"
sys.path.insert(0, str(SCRIPT.parent))

import mechanisms  # noqa: E402
from mechanism_rows import (  # noqa: E402
    BASELINE,
    BY_LANE,
    paths_changed,
    row_config,
    row_hash,
    row_lanes,
    row_names,
    same_program,
)

PATHS = 8
ROWS = row_names(CONFIG)

NO_MECHANISM = {
    # one way of saying what another says
    "BackstopRule.adl=pro_rata": "`true`, which the scenario writes",
    "LeverageLever.margin=cross": "the kind of the scenario's books, which a lever may only change",
    "LinearImpact.kind": "the kind of every book that says none",
    "LiquidationChange.collateral_sale=market": "where collateral goes that nothing is said of",
    "LoanBook.assets": "the size of a loan book in other words than own_funds",
    "MarketSpec.depth": "depth_1pct in other words",
    # numbers of what is there anyway
    "FixedSeverity.cap": "a cap on a number",
    "HedgedBook.entry": "an entry price",
    "LognormalLeverage.min": "an end of the distribution",
    "MarketSpec.displacement": "a price at the start",
    "PerpBook.entry": "an entry price",
    "PerpBook.match_share": "a size",
    # parts of the scenario, whose own keys are asked for
    **{f"ScenarioChange.{name}": "a part of it" for name in Scenario.model_fields},
}
"""Keys and words that need no row, and why."""


@cache
def baseline():
    return row_lanes(CONFIG, BASELINE, PATHS)


def test_every_kind_and_key_of_the_schema_has_a_row():
    asked = keys_of_schema(Scenario) | keys_of_schema(PolicySpec)
    listed = load_config(CONFIG).policies.values()
    used = set().union(*map(keys_of_value, listed))
    for name in ROWS:
        config = row_config(CONFIG, name)
        used |= keys_of_value(config.scenario).union(*map(keys_of_value, config.policies.values()))
    assert {"MertonJumps", "MarkChange.kind=last", "VaultRule.capacity"} <= asked
    assert asked - used - NO_MECHANISM.keys() == set(), "add a row to configs/bench/mechanisms.yaml"
    parts = {f"ScenarioChange.{name}" for name in ScenarioChange.model_fields}
    assert NO_MECHANISM.keys() - parts - (asked - used) == set(), "has a row now"


@pytest.mark.parametrize("name", [name for name in ROWS if name != BASELINE])
def test_a_row_is_another_world_than_the_baseline(name):
    lanes = row_lanes(CONFIG, name, PATHS)
    ((_, policy, members, own),) = lanes.groups
    assert len(members) == np.shape(policy.reporting.due_at_start)[-1] == 16
    assert (own is not None) == (name in BY_LANE)
    ours, theirs = (jax.tree.leaves(one.groups) for one in (lanes, baseline()))
    differs = any(not np.array_equal(a, b) for a, b in zip(ours, theirs, strict=False))
    assert differs or not same_program(lanes, baseline())
    assert row_hash(CONFIG, name) != row_hash(CONFIG, BASELINE)


def test_what_an_entry_overrides_is_the_runs_own_scenario_in_its_row():
    config = row_config(CONFIG, "merton_jumps")
    assert config.scenario.shocks.merton.rate == 0.05
    assert list(config.policies) == [BASELINE]
    both = row_config(CONFIG, "liquid_reserve")
    assert both.scenario.assets["USDe"].issuer.supply == 14e9
    assert not both.policies["liquid_reserve"].scenario.parts
    assert both.policies["liquid_reserve"].issuer["USDe"].reserve_share == 0.002
    deeper = row_config(CONFIG, "depth_factor")
    assert deeper.policies["depth_factor"].scenario.depth_factor == {"*": 2.0}


def test_rows_that_differ_in_numbers_alone_share_the_baselines_program():
    assert same_program(row_lanes(CONFIG, "slow_liquidation", PATHS), baseline())
    assert not same_program(row_lanes(CONFIG, "vault", PATHS), baseline())
    assert not same_program(row_lanes(CONFIG, "timeline", PATHS), baseline())
    assert not same_program(row_lanes(CONFIG, "slow_liquidation", 2 * PATHS), baseline())


def test_a_changed_path_is_one_on_which_an_outcome_is_another():
    before = {
        "liquidated_notional": np.array([[1.0, 2.0, 0.0, 5.0]] * 2),
        "trough_price": np.array([[[1.0, 0.9], [1.0, 0.9], [np.nan, 0.9], [1.0, 0.9]]] * 2),
        "severity": np.array([1.0, 2.0, 3.0, 4.0]),
        "by_index": np.ones((2, 4, 1)),
    }
    assert paths_changed(before, before) == 0
    after = {name: values.copy() for name, values in before.items()} | {
        "severity": np.zeros(4),  # of the path
        "by_index": np.zeros((2, 4, 2)),  # of other indices
        "outage_start": np.ones((2, 4)),  # that only one of them has
    }
    after["liquidated_notional"][:, 1] *= 1 + 1e-5  # rounding
    assert paths_changed(before, after) == 0
    after["trough_price"][0, 3, 1] = 0.8
    after["trough_price"][1, 2] = 0.5  # of another lane, which is the same entry
    assert paths_changed(before, after) == 0.25
    after["trough_price"][0, 2, 0] = 0.5
    assert paths_changed(before, after) == 0.5


def small_config(folder: Path, policies: str) -> Path:
    """A config whose rows all run by one program, that of the tests' small world."""
    file = folder / f"{zlib.crc32(policies.encode())}.yaml"
    config = load_config(SMOKE, (*SMALL, f"policies={{baseline: {{}}, {policies}}}"))
    file.write_text(config.resolved_yaml())
    return file


@pytest.fixture
def table_of(tmp_path, monkeypatch, capsys):
    """Runs the script here, its workers beside it: exit code, what it printed, what it said."""

    def run(config, *words, workers=0):
        options = [f"--config={config}", f"--json={tmp_path / 'rows.json'}"]
        sizes = ["--paths=8", "--repeats=2", f"--workers={workers}"]
        monkeypatch.setattr(sys, "argv", [SCRIPT.name, *words, *options, *sizes])
        try:
            code = mechanisms.main()
        except SystemExit as stopped:
            code = stopped.code
        return code, *capsys.readouterr()

    return run


def test_rows_are_measured_once_and_again_when_they_change(tmp_path, table_of):
    file = tmp_path / "rows.json"
    config = small_config(tmp_path, "slower: {liquidation: {pace: 10%}}")
    code, printed, said = table_of(config, "slower", workers=1)
    assert code == 0, said
    assert "compiled slower" in said
    head, _, line = printed.splitlines()
    assert head == "| entry | over baseline | spread | program | paths that differ |"
    assert re.fullmatch(r"\| slower \| [\d.]+ \| [\d.]+ \| the baseline's \| [1-9]\d*% \|", line)
    assert "timed slower" in said
    (row,) = json.loads(file.read_text())["rows"]
    assert row["over_baseline"] > 0
    assert row["spread"] >= 1
    assert row["seconds"] > 0
    assert table_of(config, "slower") == (0, printed, "")

    stuck = "stuck: {leverage: {cap: 2}, participation: {kind: migrate, share: 50%}}"
    config = small_config(tmp_path, f"slower: {{liquidation: {{pace: 20%}}}}, {stuck}")
    code, printed, said = table_of(config, "stuck", "slower", "baseline")
    assert code == 1
    assert re.search("error: stuck: ConfigError: .*nowhere to migrate to", said)
    assert [line.split()[1] for line in printed.splitlines()[2:]] == ["baseline", "slower"]
    report = json.loads(file.read_text())
    changed = {one["mechanism"]: one["paths_changed"] > 0 for one in report["rows"]}
    assert changed == {"slower": True, "baseline": False}
    assert report["rows"][0]["config"] != row["config"]

    other = json.dumps(report | {"kernel": "another"})
    file.write_text(other)
    code, _, _ = table_of(config, "slower")
    assert "were measured with kernel another, these would be with" in code
    assert file.read_text() == other


def test_a_worker_that_dies_fails_its_row_alone(tmp_path):
    nowhere = argparse.Namespace(config=tmp_path, paths=8)
    worker = mechanisms._Restarting(10**6, nowhere)  # no machine has such a core
    for _ in range(2):
        assert worker.ask({"time": "vault", "repeats": 1}) == {
            "error": "A worker ended with code 1; see above."
        }


def test_a_name_that_is_no_row_and_a_file_that_is_no_report_are_refused(tmp_path, table_of):
    config = small_config(tmp_path, "slower: {liquidation: {pace: 10%}}")
    code, _, _ = table_of(config, "slow")
    assert "'slow' is no row of" in code
    assert "baseline, slower, timeline, float64" in code
    (tmp_path / "rows.json").write_text("[]")
    code, _, _ = table_of(config, "slower")
    assert "is no report of this script" in code
    assert (tmp_path / "rows.json").read_text() == "[]"
