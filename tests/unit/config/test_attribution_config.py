"""Causes in a config: the combinations they become, and what is refused."""

from pathlib import Path

import pytest
from small_runs import with_causes

from deleverage.config import build, load_config
from deleverage.config.attribution import coalition_label
from deleverage.errors import ConfigError

CONFIGS = Path(__file__).parents[3] / "configs"
CAUSES = """\
  baseline: {collateral: {USDe: {haircut: 20%}}}
attribution:
  causes:
    outage: {scenario: {shocks: {outages: null}}}
    own_book: {index: {USDe: {floor: 97%}}}
  measures:
    - {variable: bad_debt, measure: expected_shortfall, q: 90%}
    - {variable: trough_price, measure: probability, below: 0.9}
"""


def written(tmp_path, old="", new=""):
    assert old in CAUSES
    return with_causes(tmp_path, CAUSES.replace(old, new, 1) if old else CAUSES)


def test_every_combination_is_an_entry_of_the_policy_axis(tmp_path):
    config = load_config(written(tmp_path))
    assert list(config.entries) == ["baseline", "outage", "own_book", "none"]
    assert [coalition_label(("outage", "own_book"), n) for n in range(4)] == [
        "none",
        "outage",
        "own_book",
        "baseline",
    ]
    without_own_book, without_outage, without = list(config.entries.values())[1:]
    for entry in (without_own_book, without_outage, without):
        assert entry.participation.kind == "hold"
        assert entry.collateral["USDe"].haircut == 0.2  # the baseline's own levers stay
    assert without_own_book.index["USDe"].floor == without.index["USDe"].floor == 0.97
    assert not without_outage.index
    assert config.under("outage") is config
    assert config.under("own_book").scenario.shocks.outages == ()
    assert build(config).labels["policy"] == list(config.entries)


def test_the_causes_are_written_back_with_their_nulls(tmp_path):
    config = load_config(written(tmp_path))
    again = tmp_path / "again.yaml"
    again.write_text(config.resolved_yaml())
    assert load_config(again).policy_hashes() == config.policy_hashes()
    assert load_config(again).attribution == config.attribution


def test_what_is_measured_does_not_change_what_a_run_stands_for(tmp_path):
    one = load_config(written(tmp_path))
    other = load_config(written(tmp_path, "q: 90%", "q: 95%"))
    assert one.identity() == other.identity()
    assert one.policy_hashes() == other.policy_hashes()


def test_the_shipped_causes_fill_every_lane_of_one_program():
    built = build(load_config(CONFIGS / "attribution.yaml"))
    assert [places for _, _, places, _ in built.groups] == [list(range(64))]


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("own_book:", "none:", "a cause called 'none'; .*choose another name"),
        ("own_book:", '"a+b":', "a cause called 'a.b'"),
        ("{index: {USDe: {floor: 97%}}}", "{}", "the cause 'own_book' with {}"),
        ("{floor: 97%}", "{flor: 97%}", r"causes\.own_book\.index\.USDe\.flor: .*mean `floor`"),
        ("{floor: 97%}", "{floor: 97}", r"own_book\.index\.USDe\.floor: 97 came"),
        (
            "{index: {USDe: {floor: 97%}}}",
            "{scenario: {shocks: {outages: []}}}",
            r"own_book: 'scenario\.shocks\.outages' is overridden without 'outage' too",
        ),
        ("q: 90%", "q: 0", "q 0.*between 0 and 1"),
        (", below: 0.9", "", "a probability without one threshold"),
        (
            "attribution:",
            "  outage: {}\nattribution:",
            "the policy 'outage' has the label of a comb",
        ),
        ("measure: expected_shortfall", "measure: var", "'var' came; .*'quantile'"),
    ],
)
def test_bad_causes_are_one_sentence(tmp_path, old, new, sentence):
    with pytest.raises(ConfigError, match=sentence):
        load_config(written(tmp_path, old, new))
