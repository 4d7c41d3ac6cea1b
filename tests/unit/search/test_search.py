"""A search of a problem whose front is known: how near it comes, its budget, interruptions."""

import json
import shutil

import numpy as np
import pytest
from fake_search import BEST_FIT, FACTORY, SearchConfig, asked, truth
from small_runs import stored

from deleverage.errors import ConfigError, RunError
from deleverage.search import search
from deleverage.search.refine import propose, scaled_to_front, weightings
from deleverage.sweep import run


def go(config, out):
    return search(config, out, workers=0, progress=False, simulator_factory=FACTORY)


def of_points(found):
    """The front without the baseline, which is on it as it costs nothing."""
    kept = found.front.on_front & (found.front["round"] >= 0)
    return found.front.where(kept, drop=True)


def gap(found):
    """Mean distance of the risks found from the known front at the same cost."""
    front = of_points(found)
    return float((front.risk - (1.0 - np.sqrt(front.open_interest_forgone))).mean())


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return go(SearchConfig(search=asked()), tmp_path_factory.mktemp("search"))


def test_refinement_comes_nearer_to_the_known_front_than_a_sweep_of_the_same_size(found, tmp_path):
    sweep = asked(budget={"policies": 64, "paths": 50}, sweep=64)
    swept = go(SearchConfig(search=sweep), tmp_path)
    assert 0 <= gap(found) < min(0.02, gap(swept) / 5)
    front = of_points(found)
    assert front.sizes["policy"] >= 15
    # spread along the whole front, not gathered in one place
    costs = np.sort(front.open_interest_forgone.values)
    assert costs[0] < 0.1
    assert costs[-1] > 0.9
    assert np.diff(costs).max() < 0.25
    assert abs(front.fit - BEST_FIT).median() < 0.05


def test_the_budget_is_spent_exactly_and_in_whole_blocks(found):
    rounds = json.loads((found.folder / "rounds.json").read_text())
    # beside the baseline, 15 fill the block that 16 points of the sweep began
    assert [len(points) for points in rounds] == [16, 15, 16, 1]
    assert found.tried.plan.policies[0] == "baseline"
    assert (len(found.tried.plan.policies), found.tried.plan.paths) == (49, 50)
    assert len(set(found.tried.plan.policies)) == 49
    assert found.fresh.plan.paths == 200
    assert (found.front.attrs["tried"], found.front.attrs["rounds"]) == (48, 4)


def test_the_front_is_simulated_again_on_other_draws(found):
    assert found.fresh.plan.seed == found.tried.plan.seed + 1
    assert found.front.policy.values[0] == "baseline"
    assert set(found.fresh.plan.policies) == set(found.front.policy.values)
    assert found.front["round"].values[0] == -1
    searched = found.front.searched_on_front.values
    assert searched[1:].all()
    np.testing.assert_allclose(found.front.flattery, 0.0, atol=1e-6)  # there is no noise


def test_what_was_chosen_by_luck_is_not_as_good_on_fresh_draws(tmp_path):
    # 50 draws of deviation 2: an error of 0.28 that choosing the least of 48 turns into flattery
    config = SearchConfig(search=asked(), noise=2.0, paths=5000)
    front = go(config, tmp_path).front
    mean, error = (front.attrs[f"mean_flattery{end}"] for end in ("", "_standard_error"))
    assert mean > 4 * error > 0
    chosen = front.where(front.searched_on_front, drop=True)
    assert mean == pytest.approx(chosen.flattery.mean().item())
    beyond = front.attrs["flattery_beyond_baseline"]
    own = front.flattery.sel(policy="baseline").item()
    assert beyond == pytest.approx(mean - own)
    # the fresh risk is the truth within its errors, the searched one is not
    off = (chosen.risk - truth(chosen.reach, chosen.fit)) / chosen.risk_standard_error
    assert (off**2).mean() < 1 + 4 * np.sqrt(2 / off.size)
    then = chosen.searched_risk - truth(chosen.reach, chosen.fit)
    assert (then / chosen.searched_risk_standard_error).mean() < -0.5
    np.testing.assert_allclose(
        chosen.flattery_standard_error,
        np.hypot(chosen.risk_standard_error, chosen.searched_risk_standard_error),
    )


def test_a_search_killed_in_any_round_ends_at_the_same_files(found, tmp_path, monkeypatch):
    from deleverage.search import driver

    config = SearchConfig(search=asked())
    out = tmp_path / "killed"
    for calls in (1, 2, 2, 2, 2):  # in the sweep, in each round after it, on fresh draws
        left = calls

        def dies(asked, *arguments, **options):
            nonlocal left
            left -= 1
            made = run(asked, *arguments, **options)
            if not left:
                # the run has grown, and one of its units is not done
                max((made.path / "done").rglob("p*.json")).unlink()
                raise RunError("killed")
            return made

        monkeypatch.setattr(driver, "run", dies)
        with pytest.raises(RunError, match="killed"):
            go(config, out)
    monkeypatch.undo()
    again = go(config, out)
    assert stored(again.tried.path) == stored(found.tried.path)
    assert stored(again.fresh.path) == stored(found.fresh.path)
    assert again.front.identical(found.front)
    rounds = (again.folder / "rounds.json").read_text()
    assert rounds == (found.folder / "rounds.json").read_text()
    # killed after the points were chosen, before they were simulated
    shutil.rmtree(again.tried.path)
    assert go(config, out).front.identical(found.front)


def test_another_budget_is_another_search(found, tmp_path):
    config = SearchConfig(search=asked(budget={"policies": 16, "paths": 50}))
    smaller = go(config, found.folder.parent)
    assert smaller.folder != found.folder
    assert smaller.front.attrs["rounds"] == 1


def test_a_search_is_refused_where_it_cannot_measure(tmp_path):
    config = SearchConfig()
    with pytest.raises(ConfigError, match="has no `search`"):
        go(config, tmp_path)
    config = SearchConfig(search=asked(), variables=["adl_loss", "open_interest_forgone"])
    with pytest.raises(ConfigError, match=r"search: 'bad_debt' is measured.*add it there"):
        go(config, tmp_path)
    constant = asked(risk={"variable": "fund_size"})
    with pytest.raises(ConfigError, match="the same on every path"):
        go(SearchConfig(search=constant, variables=None), tmp_path)
    for risk, sentence in (
        ({"variable": "peak_time"}, r"of 'peak_time' are good is not known; add `good: low`"),
        ({"variable": "trough_price"}, r"of the mean of 'trough_price' a high one is good"),
        ({"variable": "bad_debt", "measure": "probability", "below": 1}, "a high one is good"),
        ({"variable": "peak_time", "good": "high"}, "a high one is good"),
    ):
        with pytest.raises(ConfigError, match=sentence):
            go(SearchConfig(search=asked(risk=risk), variables=None), tmp_path)
    assert not list(tmp_path.glob("*/fake*"))


@pytest.mark.parametrize("sweep", [16, 4])
def test_ranges_with_fewer_policies_than_are_to_be_tried_are_refused(sweep, tmp_path):
    high = 1.001 if sweep == 16 else 1.005  # four digits are written: 4 and 36 points
    narrow = asked(levers={"reach": [1, high], "fit": [1, high]}, sweep=sweep)
    with pytest.raises(ConfigError, match=r"policies that differ .*widen them"):
        go(SearchConfig(search=narrow), tmp_path)


def test_a_run_of_a_search_is_refused(tmp_path):
    config = SearchConfig(search=asked())
    with pytest.raises(ConfigError, match="which `deleverage search` does"):
        run(config, tmp_path, workers=0, progress=False, simulator_factory=FACTORY)


def test_objectives_are_scaled_to_the_front():
    values = np.array([[1.0, 8.0], [3.0, 4.0], [5.0, 9.0], [100.0, 100.0], [2.0, 9.0]])
    front = np.array([True, True, False, False, False])
    scaled = scaled_to_front(values, front)
    np.testing.assert_allclose(scaled[:3], [[0, 1], [1, 0], [1, 1.25]])
    np.testing.assert_allclose(scaled[3], [1.0, 1.25])  # cut off at the front's end or the median
    same = scaled_to_front(np.ones((3, 2)), np.array([True, True, True]))
    assert (same == 0).all()  # a cost that no lever moves


def test_weightings_cover_the_simplex():
    weights = weightings(16, 3, [0, 1])
    np.testing.assert_allclose(weights.sum(1), 1)
    assert weights.shape == (16, 3)
    np.testing.assert_allclose(weights.mean(0), 1 / 3, atol=0.1)
    assert weightings(1, 2, [0]).shape == (1, 2)


def test_proposals_keep_a_distance_and_depend_on_the_seed_alone():
    rng = np.random.default_rng(0)
    points = rng.random((20, 2))
    values = np.stack([points[:, 0], (1 - points[:, 0]) + (points[:, 1] - 0.5) ** 2], axis=1)
    front = np.zeros(20, bool)
    front[:3] = True
    one, other = (propose(points, values, front, 8, [1, 2]) for _ in range(2))
    assert (one == other).all()
    assert not (one == propose(points, values, front, 8, [1, 3])).all()
    every = np.vstack([points, one])
    distance = np.linalg.norm(every[:, None] - every[None], axis=2)[20:]
    distance[np.arange(8), np.arange(20, 28)] = np.inf
    assert distance.min() >= 2e-3
    assert ((one >= 0) & (one <= 1)).all()
