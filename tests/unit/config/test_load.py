"""Reading a config: includes, overrides, identity, hashes, what is written back."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from deleverage.config import load_config

ROOT = Path(__file__).parents[3]
SMOKE = ROOT / "configs" / "smoke.yaml"


def test_reading_a_config_does_not_start_jax():
    code = (
        "import sys; from deleverage.config import load_config; "
        f"load_config({str(SMOKE)!r}); print('jax' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_overrides_apply_in_order_after_includes(tmp_path):
    head, scenario = SMOKE.read_text().split("scenario:\n")
    scenario, policies = scenario.split("\npolicies:\n")
    (tmp_path / "inner.yaml").write_text(scenario)
    path = tmp_path / "outer.yaml"
    path.write_text(f"{head}scenario:\n  include: inner.yaml\n  buckets: 6\npolicies:\n{policies}")
    config = load_config(path, ["time.steps=5", "time.steps=7", "scenario.buckets=9"], paths=12)
    assert load_config(path).scenario.buckets == 6
    assert (config.time.steps, config.scenario.buckets, config.paths) == (7, 9, 12)


def test_an_override_may_add_a_policy():
    config = load_config(SMOKE, ["policies.x={collateral: {USDe: {haircut: 20%}}}"])
    assert config.policies["x"].collateral["USDe"].haircut == 0.2


def test_what_is_written_back_is_the_same_config(tmp_path):
    config = load_config(SMOKE, ['sweep.grid={"collateral.USDe.haircut": [0, 5%]}'])
    path = tmp_path / "config.yaml"
    path.write_text(config.resolved_yaml())
    again = load_config(path)
    assert again.resolved_yaml() == config.resolved_yaml()
    assert again.identity() == config.identity()
    assert again.policy_hashes() == config.policy_hashes()


def test_the_identity_leaves_out_paths_and_policies_but_not_the_baseline():
    config = load_config(SMOKE)
    identity = config.identity()
    json.dumps(identity, allow_nan=False)
    same = ["paths=9", "policies.no_parity.collateral.USDe.parity=true", "policies.x={}"]
    assert load_config(SMOKE, same).identity() == identity
    other = [
        "seed=1",
        "time.steps=25",
        "results.markets=[exchange/BTC/spot]",
        "engine.tile_paths=8",
    ]
    for text in [*other, "policies.baseline={marketing: {uptake: 0.5}}"]:
        assert load_config(SMOKE, [text]).identity() != identity, text


def test_only_a_changed_policy_changes_its_hash():
    before = load_config(SMOKE).policy_hashes()
    after = load_config(SMOKE, ["policies.no_parity.collateral.USDe.parity=true"]).policy_hashes()
    assert {name for name in before if before[name] != after[name]} == {"no_parity"}


def test_how_a_value_is_written_does_not_change_the_identity():
    config = load_config(SMOKE)
    texts = ["time.step=0.5m", "scenario.venues.exchange.backstop.fund=20000k"]
    assert load_config(SMOKE, texts).identity() == config.identity()


def test_a_config_is_frozen():
    config = load_config(SMOKE)
    with pytest.raises(ValueError, match="frozen"):
        config.seed = 1


def test_a_grid_is_appended_with_readable_labels():
    grid = 'sweep.grid={"collateral.USDe.haircut": [0, 5%], "liquidation.pace": [0.25, 1.0]}'
    config = load_config(SMOKE, [grid])
    assert list(config.entries)[3:] == [
        "collateral.USDe.haircut=0,liquidation.pace=0.25",
        "collateral.USDe.haircut=0,liquidation.pace=1.0",
        "collateral.USDe.haircut=5%,liquidation.pace=0.25",
        "collateral.USDe.haircut=5%,liquidation.pace=1.0",
    ]
    assert list(config.entries.values())[5].collateral["USDe"].haircut == 0.05
