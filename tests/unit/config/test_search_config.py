"""A search in a config: what it becomes, and what is refused."""

import pytest
from small_runs import SEARCH, SMOKE, with_search

from deleverage.config import load_config
from deleverage.errors import ConfigError


def written(tmp_path, old="", new="", also=""):
    assert old in SEARCH
    search = SEARCH.replace(old, new, 1) if old else SEARCH
    return with_search(tmp_path, search + also)


def test_points_become_policies_of_a_plain_run(tmp_path):
    config = load_config(written(tmp_path))
    assert list(config.entries) == ["baseline", "redemption_index", "no_parity"]
    first = config.search.first_points()
    assert len(first) == 8
    point = {"leverage.cap": 7.5, "liquidation.by_venue.exchange.pace": "20%"}
    round_one = config.trying({"a": point}, "smoke.b", 64, 3)
    assert (round_one.name, round_one.paths, round_one.seed) == ("smoke.b", 64, 3)
    assert round_one.search is None
    assert list(round_one.entries)[-1] == "a"
    assert round_one.entries["a"].leverage.cap == {"*": 7.5}
    assert list(config.entries)[-1] == "no_parity"
    again = tmp_path / "again.yaml"
    again.write_text(round_one.resolved_yaml())
    assert load_config(again).policy_hashes() == round_one.policy_hashes()
    assert load_config(again).identity() == round_one.identity()


def test_levers_are_written_at_the_share_of_their_range(tmp_path):
    levers = load_config(written(tmp_path)).search.levers
    pace = levers["liquidation.by_venue.exchange.pace"]
    assert [pace.at(share) for share in (0, 0.5, 1)] == ["5%", "27.5%", "50%"]
    assert pace.share_of("27.5%") == 0.5
    cap = levers["leverage.cap"]
    assert cap.at(1 / 3) == 8.0
    assert cap.share_of(cap.at(0.25)) == pytest.approx(0.25)


def test_a_search_changes_nothing_of_what_a_run_stands_for(tmp_path):
    assert (
        load_config(written(tmp_path)).identity() == load_config(SMOKE).identity()
    )


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (
            "leverage.cap:",
            "leverage.cap.BTX:",
            "search.levers.leverage.cap.BTX: the asset 'BTX' is unknown",
        ),
        ("leverage.cap:", "leverage.kap:", r"search.levers.leverage.kap: the key 'kap' is unknown"),
        (".exchange.pace:", ".venue.pace:", r"search.levers.*'venue' is unknown"),
        ("[2, 20]", "[20, 2]", "a low end below the high one"),
        ("[2, 20]", "[-2, 20]", r"search.levers.leverage.cap: .*-2"),
        ("sweep: 8", "sweep: 32", "a sweep of 32 in a budget of 24 policies"),
        ("sweep: 8", "sweep: 2", r"a sweep of 2 points over 2 lever.s.; .*at least 4 points"),
        ("sweep: 8", "sweep: 12", "a power of two"),
        ("[open_interest_forgone]", "[]", "a cost, each once"),
        ("[open_interest_forgone]", "[bad_debt]", "'bad_debt' came.*open_interest_forgone"),
        ("q: 99%", "q: 99%, tail: lower", "a probability below a threshold instead"),
        (", q: 99%", "", "add q to expected_shortfall"),
        ("budget: {policies: 24, paths: 64}", "budget: {policies: 24}", "`paths` is missing"),
    ],
)
def test_a_wrong_search_is_refused_in_one_sentence(tmp_path, old, new, sentence):
    with pytest.raises(ConfigError, match=sentence) as error:
        load_config(written(tmp_path, old, new))
    assert "search.yaml:" in str(error.value)


def test_a_search_beside_a_sweep_is_refused(tmp_path):
    file = written(tmp_path, also="sweep: {grid: {leverage.cap: [3, 5]}}\n")
    with pytest.raises(ConfigError, match="a search beside a sweep"):
        load_config(file)


def test_a_policy_with_the_label_of_a_point_is_refused(tmp_path):
    file = written(tmp_path)
    label = '"leverage.cap=2.0,liquidation.by_venue.exchange.pace=5%"'
    file.write_text(file.read_text().replace("  no_parity:", f"  {label}: {{}}\n  no_parity:"))
    with pytest.raises(ConfigError, match=r"the label 'leverage.cap=2.0,.*other labels"):
        load_config(file)
