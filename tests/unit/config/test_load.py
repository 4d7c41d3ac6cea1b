"""Reading a config: includes, overrides, identity, hashes, what is written back."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from deleverage.config import load_config
from deleverage.config.names import Names
from deleverage.config.resolve import resolve
from deleverage.config.rules import Breaker, DynamicHaircut, VaultRule
from deleverage.errors import ConfigError

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


def labels(*texts):
    return list(load_config(SMOKE, texts).entries)[3:]


def test_a_zip_reads_its_lists_side_by_side():
    config = load_config(
        SMOKE,
        ['sweep.zip={"collateral.USDe@exchange.haircut": [0, 5%], "leverage.cap.BTC": [10, 5]}'],
    )
    assert list(config.entries)[3:] == [
        "collateral.USDe@exchange.haircut=0,leverage.cap.BTC=10",
        "collateral.USDe@exchange.haircut=5%,leverage.cap.BTC=5",
    ]
    entry = list(config.entries.values())[4]
    assert entry.collateral["USDe@exchange"].haircut == 0.05
    assert entry.leverage.cap == {"BTC": 5.0}


def test_a_grid_multiplies_the_rows_of_a_zip():
    made = labels(
        'sweep={grid: {"liquidation.pace": [0.5, 1]}, '
        'zip: {"collateral.USDe.haircut": [0, 5%], "marketing.uptake": [1, 50%]}}'
    )
    assert made == [
        "liquidation.pace=0.5,collateral.USDe.haircut=0,marketing.uptake=1",
        "liquidation.pace=0.5,collateral.USDe.haircut=5%,marketing.uptake=50%",
        "liquidation.pace=1,collateral.USDe.haircut=0,marketing.uptake=1",
        "liquidation.pace=1,collateral.USDe.haircut=5%,marketing.uptake=50%",
    ]


SOBOL = (
    'sweep.sobol={{ranges: {{"collateral.USDe.haircut": [0, 20%], "liquidation.pace": [0.2, 1]}}, '
    "count: {}, seed: {}}}"
)


def points(count, seed=3):
    entries = list(load_config(SMOKE, [SOBOL.format(count, seed)]).entries.values())[3:]
    return [(entry.collateral["USDe"].haircut, entry.liquidation.pace) for entry in entries]


def test_sobol_points_are_balanced_and_extend():
    eight = points(8)
    for low, high, values in [(0, 0.2, [a for a, _ in eight]), (0.2, 1, [b for _, b in eight])]:
        strata = sorted(int((value - low) / (high - low) * 8) for value in values)
        assert strata == list(range(8))  # one in each eighth of the range
    assert points(16)[:8] == eight
    assert points(8, seed=4) != eight


def test_sobol_labels_show_what_is_simulated():
    made = labels(SOBOL.format(16, 1))
    assert len(set(made)) == 16
    first = load_config(SMOKE, [SOBOL.format(16, 1)]).entries[made[0]]
    haircut, pace = (part.partition("=")[2] for part in made[0].split(","))
    assert haircut.endswith("%")
    assert first.collateral["USDe"].haircut == float(haircut[:-1]) / 100
    assert first.liquidation.pace == float(pace)


def test_a_sweep_is_written_back(tmp_path):
    texts = [SOBOL.format(4, 1), 'sweep.zip={"marketing.uptake": [50%, 10%]}']
    config = load_config(SMOKE, texts)
    (tmp_path / "config.yaml").write_text(config.resolved_yaml())
    assert load_config(tmp_path / "config.yaml").policy_hashes() == config.policy_hashes()


def test_labels_of_mappings_and_lists_are_readable():
    made = labels('sweep.grid={"collateral.USDe": [{tiers: [[0, 1], [1M, 50%]]}, {parity: false}]}')
    assert made == ["collateral.USDe={tiers:[[0 1] [1M 50%]]}", "collateral.USDe={parity:false}"]


LEVERS = {
    "collateral.USDe.haircut=5%": ("collateral", "USDe", "haircut", 0.05),
    "collateral.USDe@exchange.tiers=[[0, 90%], [1M, 50%]]": (
        *("collateral", "USDe@exchange", "tiers"),
        ((0.0, 0.9), (1e6, 0.5)),
    ),
    "collateral.USDe.parity=false": ("collateral", "USDe", "parity", False),
    "collateral.USDe@exchange.cap=30M": ("collateral", "USDe@exchange", "cap", "usd", 3e7),
    "collateral.USDe.cap.depth_multiple=2": ("collateral", "USDe", "cap", "depth_multiple", 2.0),
    "collateral.USDe={parity: false, dynamic: {review: 5m, reference: 20%, cap: 50%}}": (
        *("collateral", "USDe", "dynamic"),
        DynamicHaircut(review="5m", reference="20%", cap="50%"),
    ),
    "collateral.USDe.admitted=false": ("collateral", "USDe", "admitted", False),
    "collateral.USDe@exchange.segregated=true": (
        *("collateral", "USDe@exchange", "segregated"),
        True,
    ),
    "leverage.repledge=false": ("leverage", "repledge", False),
    "leverage.maintenance.BTC@others=1%": (
        *("leverage", "maintenance", "BTC@others"),
        ((0.0, 0.01),),
    ),
    "participation.upward=true": ("participation", "upward", True),
    "participation={kind: migrate, share: 50%}": ("participation", "share", 0.5),
    "index.USDe@exchange.reference=20%": ("index", "USDe@exchange", "reference", 0.2),
    "index.USDe.floor=97%": ("index", "USDe", "floor", 0.97),
    "mark.exchange.kind=last": ("mark", "exchange", "kind", "last"),
    "leverage.cap=5": ("leverage", "cap", "*", 5.0),
    "leverage.cap.BTC@exchange=5": ("leverage", "cap", "BTC@exchange", 5.0),
    "leverage.loop_cap=2": ("leverage", "loop_cap", 2.0),
    "liquidation.kind=target": ("liquidation", "kind", "target"),
    "liquidation.by_venue.others.pace=10%": ("liquidation", "by_venue", "others", "pace", 0.1),
    "liquidation.collateral_sale=redeem": ("liquidation", "collateral_sale", "*", "redeem"),
    "liquidation.collateral_sale.USDe@exchange=hold": (
        *("liquidation", "collateral_sale", "USDe@exchange"),
        "hold",
    ),
    "liquidation.circuit_breaker={BTC: {trigger: 5%, window: 5m, halt: 2m}}": (
        *("liquidation", "circuit_breaker", "BTC"),
        Breaker(trigger="5%", window="5m", halt="2m"),
    ),
    "liquidation.pause_pegged_while_shut=true": ("liquidation", "pause_pegged_while_shut", True),
    "backstop.exchange.fund=1bn": ("backstop", "exchange", "fund", 1e9),
    "backstop.exchange.adl=true": ("backstop", "exchange", "adl", True),
    "backstop.exchange.vault={capacity: 1bn, half_life: 5m}": (
        *("backstop", "exchange", "vault"),
        VaultRule(capacity="1bn", half_life="5m"),
    ),
    "issuer.USDe.capacity=3M": ("issuer", "USDe", "capacity", 3e6),
    "marketing.uptake=50%": ("marketing", "uptake", 0.5),
    "participation.kind=hold": ("participation", "kind", "hold"),
    "scenario.depth_factor=2": ("scenario", "depth_factor", "*", 2.0),
    "scenario.assets.BTC.volatility=80%": ("scenario", "assets", "BTC", "volatility", "80%"),
    "scenario.venues.exchange.feed_cap=1M": (
        *("scenario", "venues", "exchange", "feed_cap"),
        "1M",
    ),
    "scenario.markets.exchange/BTC/spot.depth_1pct=90M": (
        *("scenario", "markets", "exchange/BTC/spot", "depth_1pct"),
        "90M",
    ),
    "scenario.buckets=5": ("scenario", "buckets", 5),
    "scenario.books.usde_loops=null": ("scenario", "books", "usde_loops", None),
    "scenario.makers.max_share=20%": ("scenario", "makers", "max_share", "20%"),
    "scenario.shocks.outages=[]": ("scenario", "shocks", "outages", []),
    "scenario.depth_factor.BTC@others=2": ("scenario", "depth_factor", "BTC@others", 2.0),
}


@pytest.mark.parametrize("text", LEVERS)
def test_set_and_sweeps_reach_every_lever(text):
    *path, wanted = LEVERS[text]
    lever, _, value = text.partition("=")
    config = load_config(SMOKE, [f"policies.x.{text}", f"sweep.grid.{lever}=[{value}]"])
    for found in list(config.entries.values())[-2:]:
        for name in path:
            found = found[name] if isinstance(found, dict) else getattr(found, name)
        assert found == wanted


AMOUNTS = {
    *("by_venue", "pace", "target", "fee", "collateral_fee"),
    "margin",  # of books with several perps, of which this config has none: test_isolated.py
    *("backstop_discount", "backstop_capacity"),  # of a kind of sale that no sweep of one names
}
"""Parts of the liquidation lever that are numbers beside its kinds."""


def test_every_lever_is_tried_above():
    from deleverage.config.policies import PolicySpec

    tried = {tuple(part for part in path[:2]) for path in LEVERS.values()}
    for name, field in PolicySpec.model_fields.items():
        inner = getattr(field.annotation, "model_fields", {})
        for lever in set(inner) - AMOUNTS:
            assert (name, lever) in tried
        assert name in {first for first, _ in tried}


def test_set_finds_names_with_dots(tmp_path):
    path = tmp_path / "dots.yaml"
    text = SMOKE.read_text().replace("  no_parity:", "  v1.2:")
    path.write_text(text + 'sweep: {grid: {"liquidation.pace": [1]}}\n')
    config = load_config(
        path, ["policies.v1.2.marketing.uptake=50%", "sweep.grid.liquidation.pace=[0.5, 0.25]"]
    )
    assert config.policies["v1.2"].marketing.uptake == 0.5
    assert list(config.entries)[3:] == ["liquidation.pace=0.5", "liquidation.pace=0.25"]


CLEARED = "scenario.venues.exchange.index.USDe="
NULLS = {  # what an entry or a venue takes out, and how the index of USDe says so
    "of the venue": (CLEARED + "{own: 1, floor: 90%}", "policies.x.index.USDe.floor=null"),
    "of a preset": (
        CLEARED + "{preset: okx_2023, component_clamp: null}",
        "policies.x.index.USDe.move_limit=1%",
    ),
    "of all products": (
        CLEARED + "{own: 1, floor: 90%, loans: {floor: null}}",
        "policies.x.index.USDe.move_limit=1%",
    ),
}


@pytest.mark.parametrize("case", NULLS)
def test_null_is_written_out_where_it_takes_something_out(case, tmp_path):
    config = load_config(SMOKE, NULLS[case])
    (tmp_path / "again.yaml").write_text(config.resolved_yaml())
    again = load_config(tmp_path / "again.yaml")
    for label, entry in config.entries.items():
        ours = resolve(config, Names(config), entry).index
        assert resolve(again, Names(again), again.entries[label]).index == ours
    assert (again.identity(), again.policy_hashes()) == (config.identity(), config.policy_hashes())
    # and is not the same as nothing, which leaves it in
    kept = [re.sub(r"(, )?\w+: null", "", text) for text in NULLS[case] if "=null" not in text]
    other = load_config(SMOKE, [*kept, *(["policies.x={}"] if len(kept) < 2 else [])])
    assert (other.identity(), other.policy_hashes()) != (config.identity(), config.policy_hashes())


def test_a_point_of_a_sweep_may_be_the_scenario_as_it_is():
    depth = "scenario.markets.exchange/BTC/spot.depth_1pct"
    config = load_config(SMOKE, [f"sweep.grid.{depth}=[25M, 50M, 100M]"])
    found = {
        label: config.under(label).scenario.markets["exchange/BTC/spot"].depth_1pct
        for label in config.entries
        if depth in label
    }
    assert found == {f"{depth}=25M": 25e6, f"{depth}=50M": 50e6, f"{depth}=100M": 100e6}
    with pytest.raises(ConfigError, match="an override that leaves the scenario as it is"):
        load_config(SMOKE, [f"policies.x.{depth}=50M"])


def test_margin_may_be_swept_where_it_means_something():
    both = "sweep.grid.leverage.margin=[cross, isolated]"
    with pytest.raises(ConfigError, match=r"leverage\.margin: cross margin where no book"):
        load_config(SMOKE, [both])
    config = load_config(SMOKE.parent / "oct10.yaml", ["policies={baseline: {}}", both])
    assert list(config.entries) == ["baseline", "leverage.margin=cross", "leverage.margin=isolated"]
    assert config.under("leverage.margin=cross") is config
    assert len(config.under("leverage.margin=isolated").scenario.held) > len(config.scenario.held)
