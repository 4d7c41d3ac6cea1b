"""Two runs or policies side by side: pairing, significance over all rows."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr
from scipy.stats import binom, t

import deleverage as dl
from deleverage.analysis import compare, tail
from deleverage.errors import ConfigError

COUNT = 2000


def dataset(rng, shift=0.0, policies=("baseline", "floor"), common=None, count=COUNT):
    common = rng.standard_normal(count) if common is None else common[:count]
    debt = common + shift + 0.1 * rng.standard_normal((len(policies), count)) + 10
    return xr.Dataset(
        {
            "bad_debt": (("policy", "path"), debt, {"units": "million USD"}),
            "adl_loss": (("policy", "path"), np.maximum(debt - 11, 0)),
            "open_interest_forgone": ("policy", np.arange(len(policies)) + shift),
        },
        coords={"policy": list(policies), "status": (("policy", "path"), (debt * 0).astype("u1"))},
    )


def run(outcomes, seed=1, name="a", sampling=None):
    plan = SimpleNamespace(
        seed=seed, identity={"sampling": sampling or {"kind": "plain"}}, splitting={}
    )
    return SimpleNamespace(outcomes=outcomes, plan=plan, path=f"runs/{name}")


@pytest.fixture
def common():
    return np.random.default_rng(0).standard_normal(COUNT)


def pick(rows, quantity, policy="baseline"):
    (row,) = (row for row in rows if row["quantity"] == quantity and row["policy"] == policy)
    return row


def test_runs_of_one_seed_are_paired_on_the_paths_of_both(common):
    first = dataset(np.random.default_rng(1), 0.0, common=common)
    second = dataset(np.random.default_rng(2), 0.05, common=common, count=1500)
    rows = compare.runs(run(first), run(second))
    row = pick(rows, "bad_debt.mean", "floor")
    per_path = second.bad_debt[1] - first.bad_debt[1, :1500]
    assert row["difference"] == pytest.approx(per_path.mean().item())
    assert row["standard_error"] == pytest.approx(per_path.std(ddof=1).item() / math.sqrt(1500))
    assert (row["paired"], row["paths"], row["units"]) == (True, 1500, "million USD")
    assert (row["test"], row["missing"]) == ("t", 0)
    assert row["significant"]
    assert row["first"] == pytest.approx(first.bad_debt[1, :1500].mean().item())
    cost = pick(rows, "open_interest_forgone")
    assert (cost["difference"], cost["significant"], cost["p_value"]) == (0.05, True, 0.0)
    json.dumps(rows, allow_nan=False)


def with_ratios(rng, common, interest):
    """A dataset with liquidations, half of them exogenous, and open interest."""
    x = dataset(rng, common=common)
    shape = x.bad_debt.shape
    total = np.exp(common + 0.1 * rng.standard_normal(shape))
    alone = total * (0.5 + 0.05 * rng.standard_normal(shape))
    return x.assign(
        liquidated_units=(("policy", "path"), total, {"units": "million USD"}),
        exogenous_liquidations=(("policy", "path"), alone, {"units": "million USD"}),
        open_interest=("policy", np.asarray(interest, float), {"units": "million USD"}),
    )


@pytest.mark.parametrize("seed", [1, 2])
def test_ratios_are_compared_too_paired_where_the_draws_are_common(common, seed):
    paired = seed == 1
    first = with_ratios(np.random.default_rng(1), common, [100, 50])
    second = with_ratios(np.random.default_rng(2), common, [100, 40])
    rows = compare.runs(run(first), run(second, seed=seed))

    row = pick(rows, "bad_debt.mean.per_open_interest", "floor")
    each = [first.bad_debt[1] / 50, second.bad_debt[1] / 40]
    alone = [x.std(ddof=1).item() / math.sqrt(COUNT) for x in each]
    together = (each[1] - each[0]).std(ddof=1).item() / math.sqrt(COUNT)
    assert row["first"] == pytest.approx(each[0].mean().item())
    assert row["difference"] == pytest.approx((each[1] - each[0]).mean().item())
    expected = together if paired else math.hypot(*alone)
    assert row["standard_error"] == pytest.approx(expected)
    assert (row["units"], row["paired"]) == ("1", paired)

    row = pick(rows, "bad_debt.shortfall_99.per_open_interest")
    worst = pick(rows, "bad_debt.shortfall_99")
    for key in ("first", "second", "difference", "standard_error"):
        assert row[key] == pytest.approx(worst[key] / 100)

    row = pick(rows, "reproduction_number.ratio_of_means", "floor")
    terms, ratios = [], []
    for x in (first, second):
        total, alone = (x[n].values[1] for n in ("liquidated_units", "exogenous_liquidations"))
        ratios.append(1 - alone.mean() / total.mean())
        terms.append((total - alone - ratios[-1] * total) / total.mean())
    expected = (
        np.std(terms[1] - terms[0], ddof=1)
        if paired
        else math.hypot(*(np.std(one, ddof=1) for one in terms))
    )
    assert row["difference"] == pytest.approx(ratios[1] - ratios[0])
    assert row["standard_error"] == pytest.approx(expected / math.sqrt(COUNT))
    json.dumps(rows, allow_nan=False)


def test_a_ratio_to_no_open_interest_is_none_and_not_judged(common):
    first = with_ratios(np.random.default_rng(1), common, [100, 50])
    second = with_ratios(np.random.default_rng(2), common, [100, 0])
    row = pick(compare.runs(run(first), run(second)), "bad_debt.mean.per_open_interest", "floor")
    assert row["first"] is not None
    assert (row["second"], row["difference"], row["p_value"]) == (None, None, None)
    assert not row["significant"]


def test_runs_of_other_seeds_are_independent(common):
    first = dataset(np.random.default_rng(1), 0.0, common=common)
    second = dataset(np.random.default_rng(2), 0.05)
    row = pick(compare.runs(run(first), run(second, seed=2)), "bad_debt.mean")
    errors = [tail.mean(x.bad_debt).standard_error.values[0] for x in (first, second)]
    assert row["standard_error"] == pytest.approx(math.hypot(*errors))
    assert not row["paired"]
    assert not row["significant"]  # a twentieth of a deviation drowns in two samples of 2,000


def test_nothing_is_called_significant_where_nothing_changed(common):
    # 100 comparisons of two runs that differ by noise alone: at most one in twenty claims anything
    claims = 0
    for seed in range(100):
        one, other = (
            dataset(np.random.default_rng([seed, i]), common=common[:400], count=400)
            for i in (0, 1)
        )
        rows = compare.runs(run(one), run(other))
        claims += any(row["significant"] for row in rows)
    assert claims <= 5 + 4 * math.sqrt(100 * 0.05 * 0.95)


def test_two_policies_of_a_run(common):
    x = dataset(np.random.default_rng(1), common=common)
    row = pick(
        compare.policies(x, "baseline", "floor"), "bad_debt.shortfall_99", "baseline -> floor"
    )
    pair = tail.difference(x.bad_debt, "floor", "baseline", q=0.99)
    assert row["difference"] == pytest.approx(pair.estimate.item())
    assert row["standard_error"] == pytest.approx(pair.standard_error.item())
    same = compare.policies(x, "floor", "floor")
    assert not any(row["significant"] for row in same)
    with pytest.raises(ConfigError, match="policies are baseline, floor"):
        compare.policies(x, "baseline", "cap")


def test_runs_without_a_common_policy_are_refused(common):
    one = dataset(np.random.default_rng(1), common=common)
    other = dataset(np.random.default_rng(1), common=common, policies=("cap",))
    with pytest.raises(ConfigError, match="runs/a and runs/b share no policy"):
        compare.runs(run(one), run(other, name="b"))


def test_it_has_a_public_name():
    assert dl.compare is compare


def test_one_seed_under_two_kinds_of_sampling_is_neither_paired_nor_independent(common):
    x = dataset(np.random.default_rng(1), common=common)
    with pytest.raises(ConfigError, match="neither paired nor independent"):
        compare.runs(run(x), run(x, sampling={"kind": "sobol"}))


def test_few_blocks_judge_by_students_law():
    rng = np.random.default_rng(4)
    blocks = {"draw_block": ("path", np.arange(COUNT) // 500)}
    one, other = (dataset(rng, count=COUNT).assign_coords(blocks) for _ in range(2))
    row = pick(compare.compare(one, other, paired=True), "bad_debt.mean")
    terms = (other.bad_debt - one.bad_debt)[0].values.reshape(4, 500).mean(axis=1)
    error = terms.std(ddof=1) / 2
    assert row["standard_error"] == pytest.approx(error, rel=1e-9)
    expected = 2 * t.sf(abs(terms.mean()) / error, 3)
    assert row["p_value"] == pytest.approx(expected, rel=1e-9)
    assert "degrees" not in row


def test_outcomes_in_atoms_are_judged_by_what_the_paths_say():
    # of 40 paths the median is 0 and 1, of 6 the worst half is; a share that 5 paths tell apart
    count = 40
    first, second = np.zeros((1, count)), np.zeros((1, count))
    second[0, :36] = 1.0
    coords = {"policy": ["baseline"], "status": (("policy", "path"), np.zeros((1, count), "u1"))}
    x, y = (
        xr.Dataset({"bad_debt": (("policy", "path"), one)}, coords=coords)
        for one in (first, second)
    )
    flags = np.r_[np.ones(3), np.zeros(count - 3)][None].astype("u1")
    y = y.assign_coords(status=(("policy", "path"), flags))
    rows = compare.runs(run(x), run(y))
    median = pick(rows, "bad_debt.median")
    assert (median["difference"], median["standard_error"], median["test"]) == (1, 0, "intervals")
    # the binomial intervals of both meet where one of them reaches from 36 of 40 to the half
    reached = 4 * binom.cdf(4, count, 0.5)
    assert 0 < median["p_value"] <= 1.02 * reached
    assert (median["lower"], median["upper"]) == (1, 1)
    assert median["significant"]
    worst = pick(rows, "bad_debt.shortfall_99")
    assert (worst["thin"], worst["p_value"], worst["test"]) == (True, None, None)
    assert (median["first_flagged"], median["second_flagged"]) == (0, 3)
    said = compare.account(rows)
    assert "40 paths a policy, 0 flagged outcomes in the first and 3 in the second" in said
    assert "cannot be judged" in said
    json.dumps(rows, allow_nan=False)


def test_policies_of_other_levels_show_the_interval_of_what_has_no_error(common):
    x = dataset(np.random.default_rng(1), common=common)
    (row,) = compare.as_text([pick(compare.policies(x, "baseline", "floor"), "bad_debt.mean",
                                   "baseline -> floor") | {"significant": True}])  # fmt: skip
    assert " ± " in row["difference"]
