"""Shocks of a config as the numbers of `World`."""

from pathlib import Path

import numpy as np
from scipy import stats

from deleverage.config import build, load_config
from deleverage.shocks.laws import student_t

SMOKE = Path(__file__).parents[3] / "configs" / "smoke.yaml"
MACRO = "scenario.shocks.macro"


def loaded(*overrides):
    return load_config(SMOKE, overrides)


def rebuilt(config, folder):
    """The world of the config that a run writes down."""
    path = folder / "resolved.yaml"
    path.write_text(config.resolved_yaml())
    return build(load_config(path)).world


def test_a_student_t_severity(tmp_path):
    text = f"{MACRO}.severity={{kind: student_t, centre: 5%, scale: 3%, degrees: 3, cap: 60%}}"
    config = loaded(text)
    macro = build(config).world.macro
    assert (macro.law, macro.a, macro.b, macro.c, macro.cap) == ("student_t", 0.05, 0.03, 3, 0.6)
    found = student_t(macro.a, macro.b * np.sqrt(3), macro.quantile, np.array([0.01]))
    np.testing.assert_allclose(found, 0.05 + 0.03 * stats.t.isf(0.01, 3), rtol=1e-5)
    np.testing.assert_array_equal(rebuilt(config, tmp_path).macro.quantile, macro.quantile)


def test_a_profile_of_the_arrival(tmp_path):
    config = loaded(f"{MACRO}.duration=0m", f"{MACRO}.profile=[[0s, 10%], [90s, 0.5], [8m, 1]]")
    expected = [[0.0, 1.5, 8.0], [0.1, 0.5, 1.0]]
    np.testing.assert_allclose(build(config).world.macro.profile, expected)
    np.testing.assert_allclose(rebuilt(config, tmp_path).macro.profile, expected)
    assert build(loaded()).world.macro.profile is None


SHOCKS = "scenario.shocks"
FAILURES = (
    f"{SHOCKS}.halts=[{{kind: scheduled, venue: others, start: 2m, length: 90s}},"
    " {kind: random, venue: exchange, rate: 0.1, length: 3m}]",
    f"{SHOCKS}.congestions=[{{kind: scheduled, start: 1m, length: 5m, left: 20%}}]",
    f"{SHOCKS}.glitches=[{{venue: exchange, factor: 90%, start: 1m, length: 2m, probability: 30%}},"
    " {venue: exchange, asset: USDe, factor: 1.05, start: 3m, length: 30s}]",
    f"{SHOCKS}.sales=[{{market: exchange/BTC/perp, size: 250M, start: 1m, duration: 4m}}]",
)


def test_failures_and_sellers(tmp_path):
    config = loaded(*FAILURES)
    built = build(config)
    world = built.world
    assert [halt.venue for halt in world.halts] == [1, 0]
    assert [(h.random, h.start, h.length, h.rate) for h in world.halts] == [
        (False, 2.0, 1.5, 0.0),
        (True, 0.0, 3.0, 0.1),
    ]
    (jam,) = world.congestions
    assert (jam.random, jam.start, jam.length, jam.left) == (False, 1.0, 5.0, 0.2)
    every, one = world.glitches
    mine = [n for n, label in enumerate(built.labels["index"]) if label.startswith("exchange/")]
    assert list(every.indices) == mine
    assert [built.labels["index"][n] for n in one.indices] == ["exchange/USDe"]
    assert (every.factor, every.probability, one.probability) == (0.9, 0.3, 1.0)
    (sale,) = world.sales
    assert built.labels["market"][sale.market] == "exchange/BTC/perp"
    assert (sale.units, sale.start, sale.duration) == (250.0, 1.0, 4.0)
    again = rebuilt(config, tmp_path)
    assert (again.halts, again.glitches) == (world.halts, world.glitches)


def test_a_policy_without_failures_keeps_their_places_in_the_draws():
    nothing = "{halts: [], congestions: [], glitches: [], sales: []}"
    off = f"policies.calm={{scenario: {{shocks: {nothing}}}}}"
    built = build(loaded(*FAILURES, off))
    worlds = [own for _, _, _, own in built.groups if own is not None]
    assert len(worlds) == 1
    assert [float(np.squeeze(halt.length)) for halt in worlds[0].halts] == [0, 0]
    assert [float(np.squeeze(halt.rate)) for halt in worlds[0].halts] == [0, 0]
    assert float(np.squeeze(worlds[0].congestions[0].length)) == 0
    assert [float(np.squeeze(glitch.probability)) for glitch in worlds[0].glitches] == [0, 0]
    assert worlds[0].sales == ()


def test_an_outage_by_load(tmp_path):
    text = (
        f"{SHOCKS}.outages=[{{kind: load, venue: exchange, threshold: 40M, rate: 0.5, length: 5m,"
        " law: exponential}, {kind: scheduled, venue: others, start: 1m, length: 2m}]"
    )
    off = "policies.calm={scenario: {shocks: {outages: []}}}"
    config = loaded(text, off)
    built = build(config)
    (one,) = built.world.load_outages
    assert (one.venue, one.random, one.start, one.threshold) == (0, True, 0.0, 40.0)
    assert (one.rate, one.length) == (0.5, 5.0)
    assert [outage.venue for outage in built.world.outages] == [1]
    assert rebuilt(config, tmp_path).load_outages == built.world.load_outages
    ((_, _, _, own),) = built.groups
    assert own.load_outages[0].rate.tolist() == [0.5, 0.5, 0.5, 0]
    assert own.outages[0].length.tolist() == [2, 2, 2, 0]
