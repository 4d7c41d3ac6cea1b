"""The summary table: what it measures, how it reads, and the comparison with the day."""

import json
import warnings

import numpy as np
import pytest
import xarray as xr

from deleverage.analysis import tail
from deleverage.analysis.columns import columns, with_bound, with_error
from deleverage.analysis.measures import Quantile
from deleverage.analysis.quantities import Quantity, headline_markets
from deleverage.analysis.summary import (
    as_text,
    comparison_as_text,
    observed_comparison,
    summary,
    table,
)
from deleverage.errors import ConfigError

COUNT = 4000
POLICIES = ["baseline", "redemption_index", "floor"]
MARKETS = ["exchange/BTC/perp", "exchange/USDe/spot", "others/USDe/spot", "exchange/ETH/perp"]


@pytest.fixture(scope="module")
def outcomes():
    rng = np.random.default_rng(0)
    severity = rng.lognormal(0, 1, COUNT)

    def by_policy(*scales):
        return np.stack([severity * scale for scale in scales]).astype(np.float32)

    def amount(values, *dims):
        return (("policy", "path", *dims), values, {"units": "million USD"})

    adl = np.maximum(by_policy(1, 1, 0) - 3, 0)
    depeg = np.maximum(rng.normal(-1, 1, (3, COUNT, 2, 3)), 0).astype(np.float32)
    return xr.Dataset(
        {
            "bad_debt": amount(by_policy(300, 50, 0)),
            "liquidated_notional": amount(by_policy(15_000, 9_000, 8_000)),
            "collateral_sold": amount(rng.random((3, COUNT, 2)).astype(np.float32), "asset"),
            "trough_price": (
                ("policy", "path", "market"),
                rng.random((3, COUNT, 4)).astype(np.float32),
            ),
            "depeg_minutes": (("policy", "path", "peg", "threshold"), depeg),
            "equity_lost": amount(
                np.stack([by_policy(900, 500, 100), by_policy(90, 80, 70)], axis=-1), "venue"
            ),
            "open_interest": (
                ("policy",),
                np.array([8000, 4000, 0], np.float32),
                {"units": "million USD"},
            ),
            "liquidated_units": amount(by_policy(16_000, 10_000, 0)),
            "exogenous_liquidations": amount(by_policy(4_000, 4_000, 0)),
            "adl_notional": amount(adl),
            "adl_loss": amount(adl / 2),
            "socialised_loss": amount(np.maximum(by_policy(1, 0, 0) - 2, 0)),
            "open_interest_forgone": (("policy",), np.array([0, 120.5, 4000], np.float32)),
        },
        coords={
            "policy": POLICIES,
            "market": MARKETS,
            "peg": ["exchange/USDe", "exchange/WBETH"],
            "threshold": np.array([0.99, 0.95, 0.90], np.float32),
            "status": (("policy", "path"), (rng.random((3, COUNT)) < 0.01).astype(np.uint8)),
            "log_weight": ("path", np.zeros(COUNT, np.float32)),
        },
    )


def pick(found, quantity, name="estimate"):
    return found[name].sel(quantity=quantity).values


def test_each_number_is_that_of_the_tail_measure(outcomes):
    found = summary(outcomes)
    debt = outcomes.bad_debt
    shortfall = tail.expected_shortfall(debt, 0.99)
    for name in ("estimate", "standard_error", "lower", "upper", "paths", "flagged"):
        np.testing.assert_array_equal(
            pick(found, "bad_debt.shortfall_99", name), shortfall[name].values
        )
    np.testing.assert_array_equal(
        pick(found, "bad_debt.quantile_95"), tail.quantile(debt, 0.95).estimate
    )
    np.testing.assert_array_equal(
        pick(found, "collateral_sold.mean"),
        tail.mean(outcomes.collateral_sold.sum("asset")).estimate,
    )
    difference = tail.difference(outcomes.liquidated_notional, "floor", "baseline", q=0.99)
    column = "liquidated_notional.shortfall_99.difference"
    assert pick(found, column)[2] == difference.estimate.item()
    assert pick(found, column, "standard_error")[2] == difference.standard_error.item()
    assert pick(found, column)[0] == 0.0
    usde = outcomes.trough_price.sel(market="others/USDe/spot")
    np.testing.assert_array_equal(
        pick(found, "trough_price.others/USDe/spot.quantile_1"), tail.quantile(usde, 0.01).estimate
    )
    depeg = outcomes.depeg_minutes.isel(peg=0, threshold=1)
    np.testing.assert_array_equal(
        pick(found, "depeg.exchange/USDe.0.95.probability"), (depeg > 0).mean("path")
    )
    beyond = (outcomes.adl_loss + outcomes.socialised_loss > 0).mean("path")
    np.testing.assert_array_equal(pick(found, "bad_debt_beyond_fund.probability"), beyond)
    assert pick(found, "open_interest_forgone").tolist() == [0.0, 120.5, 4000.0]
    assert pick(found, "open_interest_forgone", "standard_error").tolist() == [0.0] * 3
    assert not any(name.startswith("wrongful") for name in found.quantity.values)


def test_the_reproduction_number_is_a_ratio_of_means(outcomes):
    found = summary(outcomes)
    column = "reproduction_number.ratio_of_means"
    total, alone = outcomes.liquidated_units, outcomes.exogenous_liquidations
    ratio = tail.ratio_of_means(alone[:2], total[:2])
    np.testing.assert_allclose(pick(found, column)[:2], 1 - ratio.estimate)
    np.testing.assert_allclose(pick(found, column, "lower")[:2], 1 - ratio.upper)
    np.testing.assert_allclose(
        pick(found, column, "standard_error")[:2], ratio.standard_error, atol=1e-9
    )
    # nothing was liquidated under the third policy
    assert [pick(found, column, n)[2] for n in ("estimate", "standard_error")] == [0.0, 0.0]
    assert found.units.sel(quantity=column).item() == "1"
    assert found.measure.sel(quantity=column).item() == "ratio of means"


def test_losses_per_open_interest(outcomes):
    found = summary(outcomes)
    lost = outcomes.equity_lost.sum("venue")
    for variable, x in (("bad_debt", outcomes.bad_debt), ("equity_lost", lost)):
        for name, measured in (
            ("mean", tail.mean(x)),
            ("shortfall_99", tail.expected_shortfall(x, 0.99)),
        ):
            column = f"{variable}.{name}.per_open_interest"
            for number in ("estimate", "standard_error", "lower", "upper"):
                each = pick(found, column, number)
                np.testing.assert_array_equal(each[:2], measured[number][:2] / [8000, 4000])
                assert np.isnan(each[2])  # no open interest, nothing to lose it on
            assert pick(found, column, "missing").tolist() == [0, 0, 0]
            assert found.units.sel(quantity=column).item() == "1"
    assert "% of OI" in as_text(table(found))
    none = outcomes.assign(open_interest=outcomes.open_interest * 0)
    assert not any("per_open" in name for name in summary(none).quantity.values)


def test_a_ratio_of_means_is_of_means(outcomes):
    with pytest.raises(ConfigError, match="ratio of means"):
        Quantity("share", ("bad_debt",), Quantile(0.9), over="liquidated_units")


def test_only_what_was_stored_is_measured(outcomes):
    found = summary(outcomes[["bad_debt"]])
    assert [str(name).split(".")[0] for name in found.quantity.values] == ["bad_debt"] * 5
    assert "bad debt" in as_text(table(found))


def test_dask_gives_the_same(outcomes):
    xr.testing.assert_identical(summary(outcomes), summary(outcomes.chunk(policy=2, path=1000)))


def test_own_quantities_and_another_baseline(outcomes):
    own = Quantity("debt", ("bad_debt",), Quantile(0.9), difference=True)
    found = summary(outcomes, measures=[own], baseline="floor")
    assert found.estimate.shape == (3, 1)
    assert found.estimate.sel(policy="floor").item() == 0.0
    with pytest.raises(ConfigError, match="none of the policies"):
        summary(outcomes, measures=[own], baseline="none")


def test_a_summary_without_policies_is_refused(outcomes):
    with pytest.raises(ConfigError, match="labelled dimension 'policy'"):
        summary(outcomes.isel(policy=0))


def test_headline_markets(outcomes):
    assert headline_markets(outcomes) == MARKETS[:3]
    other = outcomes[["trough_price"]].isel(market=[3])
    assert headline_markets(other) == MARKETS[3:]


def test_rows_are_valid_json(outcomes):
    few = outcomes.isel(path=slice(0, 50))
    bounds = summary(few)
    rows = table(bounds)
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows
    assert rows[0]["bad_debt.quantile_99"]["upper"] is None  # 50 paths do not bound it
    assert rows[1]["policy"] == "redemption_index"
    assert rows[1]["flagged"] == int((few.status[1] != 0).sum())


def test_text_fits_the_terminal_and_says_what_is_thin(outcomes):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        text = as_text(table(summary(outcomes)))
        thin = as_text(table(summary(outcomes.isel(path=slice(0, 300)))))
    for page in (text, thin):
        assert max(map(len, page.splitlines())) <= 120
        assert "liquidated" in page
        assert "flagged" in page
    lines = text.splitlines()
    floor = next(line for line in lines if line.startswith("floor"))
    assert "±" in floor
    assert "< 0.092" in floor  # no ADL on any path: the exact bound, not 0 ± 0
    assert "*" not in text
    assert "* Fewer than 10 paths" in thin


@pytest.mark.parametrize("width", [40, 120])
def test_columns_that_do_not_fit_follow_in_tables_below(outcomes, width):
    rows = table(summary(outcomes))
    lines = as_text(rows, width).splitlines()
    assert max(map(len, lines)) <= width
    heads = [line for line in lines if line.startswith("policy")]
    assert 1 < len(heads) < len(columns(rows))
    shown = " ".join(heads)
    for word in ("number", "% of OI", "USD bn", "USD m"):
        assert shown.count(word) == sum(c.heading.endswith(word) for c in columns(rows))


def test_missing_paths_show(outcomes):
    partial = outcomes[["bad_debt"]].copy(deep=True)
    partial["bad_debt"][1, :100] = np.nan
    found = summary(partial)
    assert pick(found, "bad_debt.mean", "missing").tolist() == [0, 100, 0]
    assert "/ 100" in as_text(table(found))


@pytest.mark.parametrize(
    ("estimate", "error", "text"),
    [
        (24.2912, 0.4732, "24.29 ± 0.47"),
        (4065.3, 221.4, "4,065 ± 221"),
        (-81.34, 4.41, "-81.3 ± 4.4"),
        (-0.001, 0.4, "0.00 ± 0.40"),
        (0.0, 0.0, "0"),
        (1e-9, 1e-10, "0"),
        (2.0, 1e-9, "2.000"),
        (None, None, "-"),
    ],
)
def test_the_error_decides_the_digits(estimate, error, text):
    assert with_error(estimate, error) == text


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ((0.5, 0.01, 0.48, 0.52), "0.500 ± 0.010"),
        ((0.0, 0.0, 0.0, 0.0037), "< 0.0037"),
        ((1.0, 0.0, 0.9963, 1.0), "> 0.9963"),
        ((0.0, 0.0, -0.0037, 0.0037), "0 (-0.0037 to 0.0037)"),
        ((0.0, 0.0, 0.0, 0.0), "0"),
        ((2.0, 0.0, 2.0, 2.0), "2.000"),
        ((2.0, None, None, None), "2.000"),
        ((None, None, None, None), "-"),
    ],
)
def test_without_an_error_the_interval_is_shown(numbers, text):
    assert with_bound(*numbers) == text


def test_the_baseline_beside_the_day(outcomes):
    facts = [
        {
            "label": "liquidated notional",
            "variable": "liquidated_notional",
            "selection": {},
            "observed": "19 bn",
            "low": 10_000,
            "high": 25_000,
        },
        {
            "label": "USDe",
            "variable": "trough_price",
            "selection": {"market": "exchange/USDe/spot"},
            "observed": "0.65",
            "low": 0.6,
            "high": 0.7,
        },
        {
            "label": "USDe below 0.95",
            "variable": "depeg_minutes",
            "selection": {"peg": "exchange/USDe", "threshold": 0.95},
            "observed": "40 minutes",
            "low": 30,
            "high": 50,
        },
        {"label": "a", "variable": "peak_time", "observed": "-", "low": 0, "high": 1},
        {
            "label": "b",
            "variable": "trough_price",
            "selection": {"market": "x/Y/spot"},
            "observed": "-",
            "low": 0,
            "high": 1,
        },
    ]
    rows = observed_comparison(outcomes, facts)
    day = outcomes.liquidated_notional[0]
    assert rows[0]["median"] == float(np.sort(day)[COUNT // 2 - 1])
    assert rows[0]["quantile_5"] < rows[0]["median"] < rows[0]["quantile_95"]
    assert rows[0]["lower"] < rows[0]["median"] < rows[0]["upper"]
    assert min(rows[0][f"quantile_{q}_standard_error"] for q in (5, 95)) > 0
    assert rows[0]["flagged"] >= 0
    assert [row["agrees"] for row in rows] == [True, False, False, None, None]
    assert rows[3]["note"] == "not stored"
    assert rows[4]["note"] == "no market x/Y/spot"
    text = comparison_as_text(rows)
    assert "not stored" in text
    assert max(map(len, text.splitlines())) <= 120
    with pytest.raises(ConfigError, match="lacks observed, low, high"):
        observed_comparison(outcomes, [{"label": "a", "variable": "bad_debt"}])
    with pytest.raises(ConfigError, match="only 'path' may be left"):
        observed_comparison(outcomes, [facts[1] | {"selection": None}])
    with pytest.raises(ConfigError, match="its policies are"):
        observed_comparison(outcomes, facts, baseline="none")
