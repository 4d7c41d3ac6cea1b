"""The front of risk and cost against sets worked by hand."""

import math

import numpy as np
import pytest
import xarray as xr
from scipy.stats import norm, t

import deleverage as dl
from deleverage.analysis import tail
from deleverage.analysis.frontier_table import table
from deleverage.errors import ConfigError
from deleverage.results.schema import GOOD, VARIABLES


def dataset(risk, cost, credit=None, noise=0.0, count=4000):
    rng = np.random.default_rng(0)
    common = rng.standard_normal(count)
    own = noise * rng.standard_normal((len(risk), count))
    debt = np.asarray(risk)[:, None] + common - common.mean() + own
    credit = np.zeros(len(cost)) if credit is None else credit
    return xr.Dataset(
        {
            "bad_debt": (("policy", "path"), debt, {"units": "million USD"}),
            "open_interest_forgone": ("policy", np.asarray(cost, float), {"units": "million USD"}),
            "credit_forgone": ("policy", np.asarray(credit, float)),
        },
        coords={"policy": [f"p{i}" for i in range(len(risk))]},
    )


def test_the_front_by_hand():
    # p1 costs more than p0 for less risk; p2 is beaten by both p1 and p3; p4 by p0 at equal cost
    x = dataset([10, 7, 8, 3, 11], [0, 1, 2, 2, 0])
    found = dl.frontier.frontier(x, measure="mean")
    assert found.on_front.values.tolist() == [True, True, False, True, False]
    assert found.dominated_by.values.tolist() == ["", "", "p3", "", "p0"]
    np.testing.assert_allclose(found.excess, [0, 0, 5, 0, 1], atol=1e-9)
    assert found.probability.values.tolist() == [1, 1, 0, 1, 0]
    assert found.risk.attrs["units"] == "million USD"
    assert found.open_interest_forgone.values.tolist() == [0, 1, 2, 2, 0]


def test_a_second_cost_keeps_on_the_front_what_is_cheaper_there():
    x = dataset([10, 7, 8], [0, 1, 2], [3, 2, 0])
    found = dl.frontier.frontier(x, measure="mean")
    assert found.on_front.all()


def test_equal_policies_do_not_beat_each_other():
    found = dl.frontier.frontier(dataset([5, 5], [1, 1]), measure="mean")
    assert found.on_front.all()
    assert (found.probability == 1).all()


def test_the_probability_of_being_on_the_front_is_that_of_the_paired_difference():
    # p1 costs more; it is on the front where its risk is below that of p0
    x = dataset([5.0, 4.99], [0, 1], noise=1.0)
    found = dl.frontier.frontier(x, measure="mean")
    pair = tail.difference(x.bad_debt, "p0", "p1", "mean")
    expected = norm.cdf(pair.estimate.item() / pair.standard_error.item())
    assert found.probability.values[0] == 1.0
    assert found.probability.values[1] == pytest.approx(
        expected, abs=4 * math.sqrt(0.25 / 4000) + 0.02
    )


def test_the_excess_has_the_error_of_the_paired_difference():
    x = dataset([5.0, 6.0], [0, 1], noise=0.5)
    found = dl.frontier.frontier(x, q=0.95)
    pair = tail.difference(x.bad_debt, "p1", "p0", q=0.95)
    assert found.excess.values[1] == pytest.approx(pair.estimate.item())
    error = found.excess_standard_error.values[1]
    assert error == pytest.approx(pair.standard_error.item(), rel=0.1)
    assert (found.excess_standard_error.values[0], found.excess.values[0]) == (0.0, 0.0)


def test_a_selection_takes_labels_before_the_rest_is_summed():
    x = dataset([5.0, 6.0], [0, 1])
    parts = xr.concat([x.bad_debt, 3 * x.bad_debt], xr.DataArray(["a", "b"], dims="venue"))
    by_venue = x.assign(bad_debt=parts)
    found = dl.frontier.frontier(by_venue, measure="mean", selection={"venue": "b"})
    np.testing.assert_allclose(found.risk, [15, 18])
    with pytest.raises(ConfigError, match="bad_debt has no venue 'c'; allowed are a, b"):
        dl.frontier.frontier(by_venue, measure="mean", selection={"venue": "c"})


def test_other_dimensions_are_summed_and_unknown_names_refused():
    x = dataset([5.0, 6.0], [0, 1])
    by_venue = x.assign(bad_debt=x.bad_debt.expand_dims(venue=2) / 2)
    one, other = (dl.frontier.frontier(y, measure="mean") for y in (x, by_venue))
    np.testing.assert_allclose(one.risk, other.risk)
    with pytest.raises(ConfigError, match="'debt' is not stored"):
        dl.frontier.frontier(x, "debt")
    with pytest.raises(ConfigError, match="varies over"):
        dl.frontier.frontier(x, costs=["bad_debt"])


def test_where_a_risk_has_no_error_no_chance_is_told():
    x = dataset([10, 7], [0, 1], count=50)
    found = dl.frontier.frontier(x, q=0.995)
    assert found.on_front.values.tolist() == [True, True]
    assert np.isnan(found.risk_standard_error).all()
    assert np.isnan(found.probability).all()


def test_what_no_path_tells_apart_may_be_better_or_worse():
    # p1 is p0 at a cost; p2 costs more still and is better on every path, by one amount
    x = dataset([5.0, 5.0, 4.0], [0, 1, 2])
    found = dl.frontier.frontier(x, measure="mean")
    assert found.on_front.values.tolist() == [True, False, True]
    assert found.probability.values.tolist() == [1, 0, 1]
    bound = 1 - 0.025 ** (1 / 4000)  # of the draws
    np.testing.assert_allclose(found.probability_lower, [1 - bound, 0, 0], rtol=1e-9)
    np.testing.assert_allclose(found.probability_upper, [1, 1, 1], rtol=1e-9)
    # a policy that costs more is beaten in every draw by one that differs with an error
    x = dataset([5.0, 6.0], [0, 1], noise=0.1)
    found = dl.frontier.frontier(x, measure="mean")
    assert found.probability.values.tolist() == [1, 0]
    assert found.probability_upper.values[1] == pytest.approx(bound, rel=1e-9)


def test_shares_that_no_path_tells_apart_have_an_excess_with_a_width():
    hit = np.zeros((2, 1000))
    hit[:, :20] = 1.0
    x = dataset([0, 0], [0, 1], count=1000).assign(bad_debt=(("policy", "path"), hit))
    arguments = {"measure": "probability", "q": None, "above": 0.5}
    found = dl.frontier.frontier(x, **arguments).isel(policy=1)
    alone = tail.probability(x.bad_debt, above=0.5).isel(policy=1)
    for end in ("lower", "upper"):
        assert found[f"risk_{end}"].item() == alone[end].item()
    bound = 1 - 0.025 ** (1 / 1000)
    ends = [found[f"excess_{end}"].item() for end in ("lower", "upper")]
    assert ends == pytest.approx([-bound, bound], rel=1e-12)
    assert (found.excess.item(), found.dominated_by.item()) == (0.0, "p0")
    none = dl.frontier.frontier(x * 0 + x.open_interest_forgone * 0, costs=(), **arguments)
    assert none.risk_upper.values == pytest.approx(bound, rel=1e-12)


def test_paths_that_are_flagged_or_missing_are_counted():
    x = dataset([5.0, 6.0], [0, 1], noise=0.1, count=100)
    x.bad_debt[0, 3] = math.nan
    status = np.zeros((2, 100), np.uint8)
    status[1, :7] = 1
    x = x.assign_coords(status=(("policy", "path"), status))
    found = dl.frontier.frontier(x, measure="mean")
    assert (found.attrs["paths"], found.attrs["missing"]) == (99, 1)
    assert found.flagged.values.tolist() == [0, 7]


@pytest.mark.parametrize("blocks", [4, 8, 20])
def test_from_few_blocks_the_probability_is_that_of_student(blocks):
    rng = np.random.default_rng(blocks)
    means = rng.standard_normal((2, blocks)) + np.array([[0.5], [0.0]])
    x = dataset([0, 0], [0, 1], count=10 * blocks)
    x = x.assign(bad_debt=(("policy", "path"), np.repeat(means, 10, axis=1)))
    x = x.assign_coords(draw_block=("path", np.arange(10 * blocks) // 10))
    found = dl.frontier.frontier(x, measure="mean", costs=["open_interest_forgone"])
    pair = tail.difference(x.bad_debt, "p0", "p1", "mean")
    expected = t.cdf(pair.estimate.item() / pair.standard_error.item(), blocks - 1)
    assert found.probability.values[1] == pytest.approx(expected, abs=4 * math.sqrt(0.25 / 4000))


def test_of_prices_high_is_good_and_the_low_tail_is_bad():
    # p1 costs more and falls less; p2 costs more still and falls further than p0
    x = dataset([10, 12, 9], [0, 1, 2]).rename(bad_debt="trough_price")
    found = dl.frontier.frontier(x, "trough_price", "mean", None)
    assert found.on_front.values.tolist() == [True, True, False]
    assert found.dominated_by.values.tolist() == ["", "", "p1"]
    np.testing.assert_allclose(found.excess, [0, 0, 3], atol=1e-9)
    assert found.probability.values.tolist() == [1, 1, 0]
    assert found.attrs["good"] == "high"
    assert [row["policy"] for row in table(found)] == ["p1", "p0", "p2"]
    worst = dl.frontier.frontier(x, "trough_price", q=0.95)
    lower = tail.expected_shortfall(x.trough_price, 0.95, tail="lower")
    np.testing.assert_allclose(worst.risk, lower.estimate)
    chance = dl.frontier.frontier(x, "trough_price", "probability", None, below=10.0)
    assert chance.attrs["good"] == "low"
    asked = dl.frontier.frontier(x, "trough_price", "mean", None, good="low")
    assert asked.on_front.values.tolist() == [True, False, True]


def test_the_excess_of_a_high_measure_is_by_how_much_it_is_lower():
    x = dataset([5.0, 4.0], [0, 1], noise=0.5).rename(bad_debt="trough_price")
    found = dl.frontier.frontier(x, "trough_price", "mean", None).isel(policy=1)
    pair = tail.difference(x.trough_price, "p0", "p1", "mean")
    assert found.excess.item() == pytest.approx(pair.estimate.item())
    assert found.excess_lower.item() < found.excess.item() < found.excess_upper.item()


def test_what_is_neither_good_nor_bad_is_asked_for():
    x = dataset([5.0, 6.0], [0, 1]).rename(bad_debt="trough_time")
    with pytest.raises(ConfigError, match=r"values of trough_time are good.*--good low"):
        dl.frontier.frontier(x, "trough_time", "mean", None)
    assert dl.frontier.frontier(x, "trough_time", "mean", None, good="high").on_front.all()
    with pytest.raises(ConfigError, match="good is 'least', but"):
        dl.frontier.frontier(x, "trough_time", "mean", None, good="least")
    with pytest.raises(ConfigError, match="values of this outcome are good"):
        tail.ranking(x.trough_time.rename(None), "mean")


def test_the_schema_names_only_what_is_stored():
    assert set(GOOD) <= set(VARIABLES)
