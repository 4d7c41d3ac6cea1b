"""`deleverage search` on a small world of the engine's own."""

import json
import math
from pathlib import Path

import pytest
from small_runs import SMALL, SMOKE, as_options, with_search

from deleverage import cli
from deleverage.results import open_run

SETTINGS = as_options(
    [
        *SMALL,
        "search.risk.variable=liquidated_notional",
        "search.risk.q=90%",
        "search.budget.policies=15",
    ]
)


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    """The command line of a search that is done."""
    folder = tmp_path_factory.mktemp("search")
    file = with_search(folder)
    words = ["search", file, *SETTINGS, "--paths", 96, "--workers", 0, "--out", folder / "runs"]
    with pytest.raises(SystemExit) as end:
        cli.main([str(word) for word in words])
    assert not end.value.code
    return words


def test_a_search_lists_its_front_with_errors_on_both_draws(call, words):
    code, out, _ = call(*words, "--json")
    assert code == 0
    found = json.loads(out)
    assert (found["tried"], found["rounds"]) == (15, 3)
    assert (found["searched_paths"], found["fresh_paths"]) == (64, 96)
    tried, fresh = (
        open_run(next(Path(found["folder"]).glob(f"{name}-*"))) for name in ("smoke", "smoke.fresh")
    )
    assert len(tried.plan.policies) == 18  # three are listed
    assert tried.plan.paths == 64
    assert fresh.plan.seed == tried.plan.seed + 1
    rows = found["rows"]
    assert {row["policy"] for row in rows} == set(fresh.plan.policies)
    front = [row for row in rows if row["on_front"]]
    # along a front of one cost, less risk costs more
    costs = [row["open_interest_forgone"] for row in front]
    assert costs == sorted(costs, reverse=True)
    assert len(front) > 2
    for row in rows:
        assert row["risk_standard_error"] > 0
        assert row["flattery"] == pytest.approx(row["risk"] - row["searched_risk"])
        assert row["flattery_standard_error"] == pytest.approx(
            math.hypot(row["risk_standard_error"], row["searched_risk_standard_error"])
        )
        assert ("leverage.cap=" in row["policy"]) == (row["round"] >= 0)


def test_a_search_prints_a_table_and_draws_it(call, words, tmp_path):
    file = tmp_path / "front.png"
    code, out, _ = call(*words, "--figure", file)
    assert code == 0
    assert "15 policies tried in 3 rounds of 64 paths each" in out
    assert "on 96 fresh paths" in out
    assert "Fresh draws: 96 paths a policy, " in out
    assert file.stat().st_size > 10_000


def test_a_run_of_a_search_is_refused(call, words, tmp_path):
    code, _, said = call("run", *words[1:-1], tmp_path)
    assert code == 2
    assert "`deleverage search` does" in said
    assert list(tmp_path.iterdir()) == []
    code, _, said = call("search", SMOKE, "--out", tmp_path)
    assert code == 2
    assert "add `search:" in said
