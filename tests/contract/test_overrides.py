"""Entries that override the scenario: common draws, worlds of their own, one program for all."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest
from kernel import shocks
from small_runs import SMALL, SMOKE

from deleverage.config import build, load_config
from deleverage.engine import Simulator, program
from deleverage.errors import ConfigError
from deleverage.shocks.draws import draw
from deleverage.sweep import prepare_run
from deleverage.sweep.worker import engine

JUMPING = (
    *SMALL,
    "scenario.shocks.merton={rate: 0.1, mean: -1%, deviation: 2%, loadings: {BTC: 1}}",
    "results.variables=all",
    "dtype=float64",
)
PATHS = range(16)

OVERRIDES = {
    "mild": "shocks: {macro: {severity: {median: 4%}}}",
    "no_outage": "shocks: {outages: []}",
    "calm": "shocks: {merton: null, macro: {volatility: {multiplier: 1}}, liquidity: null}",
    "wild": "assets: {BTC: {volatility: 90%}}",
}
OTHER_VALUES = {
    "mild": "shocks: {macro: {severity: {median: 5%}}}",
    "wild": "assets: {BTC: {volatility: 80%}}",
}


def config(*texts: str, **overrides: str) -> Any:
    entries = [f"policies.{name}={{scenario: {{{text}}}}}" for name, text in overrides.items()]
    return load_config(SMOKE, (*JUMPING, *entries, *texts), paths=len(PATHS))


@pytest.fixture(scope="module")
def built() -> Any:
    return build(config(**OVERRIDES))


@pytest.fixture(scope="module")
def outcomes(built: Any) -> dict[str, np.ndarray]:
    return Simulator(built).simulate(range(7), PATHS)


def lane(group: Any, place: int) -> Any:
    return jax.tree.map(lambda leaf: leaf[..., place], group[3])


def test_overrides_share_a_program_with_the_scenarios_own_beside_them(built):
    ((world, _, places, own),) = built.groups
    assert places == [0, 1, 2, 3, 4, 5, 6]
    assert own.macro.a.tolist() == [0.16, 0.16, 0.16, 0.04, 0.16, 0.16, 0.16]
    assert own.outages[0].length.tolist() == [6, 6, 6, 6, 0, 6, 6]
    assert own.merton.rate.tolist() == [0.1, 0.1, 0.1, 0.1, 0.1, 0, 0.1]
    assert world.macro.a == 0.16  # what path coordinates tell of


def test_draws_are_common_whatever_is_switched_off():
    without = ("shocks: {macro: {severity: {kind: fixed, value: 0}}}", "shocks: {merton: null}")
    switched = build(config(quiet=without[0], jumpless=without[1]))
    base = switched.world
    drawn = draw(base, 5, 0, 8, np.float64)
    series = shocks(base, drawn)
    for place, name in enumerate(("quiet", "jumpless")):
        (group,) = [one for one in switched.groups if 3 + place in one[2]]
        own = lane(group, group[2].index(3 + place))
        again = draw(own, 5, 0, 8, np.float64)
        for mine, theirs in zip(jax.tree.leaves(again), jax.tree.leaves(drawn), strict=True):
            np.testing.assert_array_equal(mine, theirs, err_msg=name)
        if name == "quiet":
            found = shocks(own, again)
            risk = base.layout.assets.index("BTC")
            arrived = np.minimum(1, np.arange(1, 13) * base.layout.step / 2)[:, None]
            news = np.where(arrived > 0, series["severity"] * arrived, 0)
            np.testing.assert_allclose(
                found["log_fundamental"][:, risk] - news,
                series["log_fundamental"][:, risk],
                rtol=1e-12,
                atol=1e-14,
            )


@pytest.mark.parametrize("name", OVERRIDES)
def test_an_entry_is_what_its_scenario_gives_alone(outcomes, built, name):
    place = built.labels["policy"].index(name)
    texts = {
        "mild": ["scenario.shocks.macro.severity.median=4%"],
        "no_outage": ["scenario.shocks.outages=[]"],
        "calm": [
            "scenario.shocks.merton.rate=0",
            "scenario.shocks.macro.volatility.multiplier=1",
            "scenario.shocks.liquidity={}",
        ],
        "wild": ["scenario.assets.BTC.volatility=90%"],
    }[name]
    alone = Simulator(build(config(*texts))).simulate(range(1), PATHS)
    for variable in ("liquidated_notional", "trough_price", "trough_index", "bad_debt"):
        np.testing.assert_allclose(
            outcomes[variable][place], alone[variable][0], rtol=1e-9, atol=1e-9, err_msg=variable
        )
    assert not np.array_equal(outcomes["trough_price"][place], outcomes["trough_price"][0])


def test_the_scenarios_own_entries_keep_their_bytes_and_the_coordinates(outcomes):
    alone = build(config())
    assert alone.groups[0][3] is None  # another program, with one world for all
    before = Simulator(alone).simulate(range(3), PATHS)
    for name, values in before.items():
        found = outcomes[name] if name in COORDINATES else outcomes[name][:3]
        assert found.tobytes() == values.tobytes(), name


COORDINATES = ("severity", "shock_time", "log_weight")


def test_other_values_trace_nothing(outcomes, monkeypatch):
    seen = []
    original = program.run_paths
    monkeypatch.setattr(program, "run_paths", lambda *a: (seen.append(1), original(*a))[1])
    other = config(**OTHER_VALUES)
    Simulator(build(other)).simulate(range(5), range(8))
    assert not seen


def test_an_override_of_books_answers_to_policies_and_counts_what_it_forgoes():
    no_loops = build(config(no_loops="books: {usde_loops: null}"))
    assert len(no_loops.groups) == 2
    (_, before, *_), (world, policy, places, own) = no_loops.groups
    assert (places, own) == ([3], None)  # the shocks are the run's
    assert len(world.layout.books) == len(no_loops.world.layout.books) - 1
    np.testing.assert_array_equal(policy.books.cash[..., 0], before.books.cash[:4, :, 0])
    assert no_loops.policy_variables["credit_forgone"][3] == 0  # against its own scenario
    assert no_loops.labels == build(config(x="buckets: 3, books: {usde_loops: null}")).labels | {
        "policy": no_loops.labels["policy"]
    }


def test_swept_causes_are_coordinates():
    swept = config(
        'sweep.grid={"scenario.shocks.macro.severity.median": [4%, 8%], "liquidation.pace": [1]}'
    )
    coordinate = build(swept).policy_coords["scenario.shocks.macro.severity.median"]
    np.testing.assert_allclose(coordinate, [0.16, 0.16, 0.16, 0.04, 0.08])


def test_hashes_cover_overrides_however_they_are_written():
    hashes = [
        config(mild=f"shocks: {{macro: {{severity: {{median: {text}}}}}}}").policy_hashes()["mild"]
        for text in ("4%", "0.04", "5%")
    ]
    assert hashes[0] == hashes[1] != hashes[2]
    assert config(**OVERRIDES).identity() == config().identity()


def test_a_run_goes_on_only_under_the_same_override(tmp_path):
    prepare_run(engine(config(mild=OVERRIDES["mild"])), tmp_path)
    prepare_run(engine(config(mild=OVERRIDES["mild"], no_outage=OVERRIDES["no_outage"])), tmp_path)
    with pytest.raises(ConfigError, match="'mild' has changed"):
        prepare_run(engine(config(mild=OTHER_VALUES["mild"])), tmp_path)


def test_a_resolved_config_keeps_its_overrides(tmp_path):
    before = config(**OVERRIDES)
    (tmp_path / "config.yaml").write_text(before.resolved_yaml())
    assert load_config(tmp_path / "config.yaml").policy_hashes() == before.policy_hashes()


SENTENCES = {
    "shocks: {macro: {severity: {medium: 4%}}}": "severity.medium: .*mean `median`",
    "shocks: {macro: {severity: {median: 4}, speed: 1}}": "speed: .*unknown",
    "shock: {}": "shock: .*mean `shocks`",
    "shocks: {macro: {severity: {median: 16%}}}": "leaves the scenario as it is; .*remove it",
    "shocks: {outages: [{kind: scheduled, venue: here, start: 1m, length: 1m}]}": "venue 'here' is",
    "markets: {exchange/BTC/spot: null}": "other markets .exchange/BTC/spot.; .*side by side",
    "assets: {ETH: {kind: risk}}": "other assets .ETH.",
    "books: {exchange_shorts: null}": "positions of exchange/BTC/perp do not balance",
}


@pytest.mark.parametrize("text", SENTENCES)
def test_a_wrong_override_is_one_sentence(text):
    with pytest.raises(ConfigError, match=f"policies.x.scenario.*{SENTENCES[text]}"):
        build(config(x=text))


def test_the_baseline_is_the_scenario():
    with pytest.raises(ConfigError, match=r"policies.baseline.scenario: the baseline overrides"):
        config(baseline="shocks: {outages: []}")
