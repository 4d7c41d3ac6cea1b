"""Tables that a venue published: used by name, row by row as in the file that ships."""

import csv
from pathlib import Path

import numpy as np
import pytest

from deleverage.config import build, load_config
from deleverage.config.presets import listed
from deleverage.errors import ConfigError

ROOT = Path(__file__).parents[3]
SMOKE = ROOT / "configs" / "smoke.yaml"


def rows(name):
    text = (ROOT / "src" / "deleverage" / "data" / f"{name}.csv").read_text()
    return list(csv.DictReader(text.splitlines()))


def margin(text):
    return build(load_config(SMOKE, [text])).policy.margin


@pytest.mark.parametrize("symbol", ["BTCUSDT", "ETHUSDT", "SMALL_ALT_EXAMPLE", "MID_ALT_EXAMPLE"])
def test_maintenance_is_the_published_table(symbol):
    table = f"{{table: binance_usdm, symbol: {symbol}}}"
    found = margin(f"scenario.venues.others.maintenance.BTC={table}")
    book = 2  # the others' longs
    rate, deduction = found.rate[0, :, book, 0, 0], found.deduction[0, :, book, 0, 0]
    published = [
        row for row in rows("binance_usdm_margin_tiers") if row["symbol"].startswith(symbol)
    ]
    np.testing.assert_array_equal(
        rate, [float(row["maintenance_margin_rate"]) for row in published]
    )
    for row in published:
        # At the middle of a tier: all that lies in the tiers below at their rates, as published.
        size = 0.5 * (float(row["position_floor_usdt"]) + float(row["position_cap_usdt"])) / 1e6
        due, left = 0.0, size
        for tier in published:
            width = (float(tier["position_cap_usdt"]) - float(tier["position_floor_usdt"])) / 1e6
            inside = min(left, width)
            due, left = due + inside * float(tier["maintenance_margin_rate"]), left - inside
        assert (rate * size - deduction).max() == pytest.approx(due, rel=1e-12)


@pytest.mark.parametrize("schedule", ["asset_class_6", "asset_class_10", "rank_80", "rank_100"])
def test_credit_is_the_published_table(schedule):
    table = f"{{table: binance_collateral_ratio, schedule: {schedule}}}"
    found = margin(f"policies.x={{collateral: {{USDe: {table}}}}}")
    ratio, addition = found.ratio[0, :, 0, 0, 3], found.addition[0, :, 0, 0, 3]
    published = [
        row
        for row in rows("binance_collateral_ratio_tiers")
        if row["class"].partition(" ")[0] == schedule
    ]
    np.testing.assert_array_equal(ratio, [float(row["collateral_ratio"]) for row in published])
    credit = 0.0
    for row in published[:-1]:
        width = (float(row["tier_cap_usd"]) - float(row["tier_floor_usd"])) / 1e6
        credit += width * float(row["collateral_ratio"])
        value = float(row["tier_cap_usd"]) / 1e6
        assert (ratio * value + addition).min() == pytest.approx(credit, rel=1e-12)


def test_a_table_is_a_lever_and_ends_parity():
    found = margin(
        "policies.x={leverage: {maintenance: {BTC: {table: binance_usdm, symbol: BTCUSDT}}}}"
    )
    assert found.rate[0, :, 0, 0, 3].tolist()[:3] == [0.004, 0.005, 0.0065]
    assert found.rate[0, 0, 0, 0, 0] == 0.005  # the baseline keeps the venue's
    table = "{table: binance_collateral_ratio, schedule: asset_class_7}"
    found = margin(f"policies.x={{collateral: {{USDe@exchange: {table}}}}}")
    assert found.ratio[0, 1, 0, 0, 3] == 0.8
    swept = load_config(SMOKE, [f"sweep.grid.collateral.USDe=[{table}, {{haircut: 5%}}]"])
    assert list(swept.entries)[3] == (
        "collateral.USDe={table:binance_collateral_ratio schedule:asset_class_7}"
    )


def test_the_resolved_config_says_where_the_rows_come_from(tmp_path):
    table = "{table: binance_usdm, symbol: ETHUSDT}"
    config = load_config(SMOKE, [f"scenario.venues.others.maintenance.BTC={table}"])
    (tmp_path / "config.yaml").write_text(config.resolved_yaml())
    assert "table: binance_usdm" in config.resolved_yaml()
    assert load_config(tmp_path / "config.yaml").identity() == config.identity()


def test_every_table_is_listed_with_its_announcement():
    found = {(row["key"], row["preset"]): row["source"] for row in listed()}
    assert found["maintenance", "binance_usdm BTCUSDT"].startswith("Update_on_the_Collateral_Ratio")
    assert found["collateral", "binance_collateral_ratio rank_100"].endswith(".md")
    assert sum(key == "maintenance" for key, _ in found) == 4
    assert sum(key == "collateral" for key, _ in found) == 9


REFUSED = {
    "maintenance.BTC={table: binance_usdm, symbol: BTCUSD}": "mean 'BTCUSDT'",
    "maintenance.BTC={table: binance, symbol: BTCUSDT}": "table: 'binance' came; .*`binance_usdm`",
    "collateral.USDe={table: binance_collateral_ratio}": "one of table and schedule without",
    "collateral.USDe={table: binance_collateral_ratio, schedule: asset_class_5}": "mean 'asset_cl",
    "collateral.USDe={table: binance_collateral_ratio, schedule: rank_70, haircut: 5%}": (
        "haircut and table; "
    ),
}


@pytest.mark.parametrize("text", REFUSED)
def test_a_wrong_table_is_one_sentence(text):
    policy = "{collateral: {USDe: {parity: false}}}"  # where the venue's USDe is laid over
    with pytest.raises(ConfigError, match=f"scenario.venues.exchange.*{REFUSED[text]}"):
        load_config(SMOKE, [f"scenario.venues.exchange.{text}", f"policies.no_parity={policy}"])
