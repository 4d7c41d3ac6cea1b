"""Published rules by name: what they stand for, and what may be laid over them."""

import math
import re
from pathlib import Path

import numpy as np
import pytest

from deleverage.config import build, load_config
from deleverage.config.names import Names
from deleverage.config.presets import listed, published_rules
from deleverage.config.resolve import resolve
from deleverage.config.rules import IndexRule, Mark
from deleverage.errors import ConfigError

SMOKE = Path(__file__).parents[3] / "configs" / "smoke.yaml"


@pytest.mark.parametrize("name", published_rules("index"))
def test_every_index_rule_is_complete(name):
    rule = IndexRule(preset=name)
    shares = [sum((rule.own or {}).values()), *map(share_of(rule), ("others", "equal"))]
    shares += map(share_of(rule), ("median", "reference", "redemption"))
    shares += [float(rule.hard_anchor)]
    assert sum(shares) == pytest.approx(1)
    assert IndexRule(**rule.model_dump(mode="json", exclude_none=True)) == rule


def share_of(rule):
    return lambda name: getattr(rule, name) or 0.0


@pytest.mark.parametrize(
    ("name", "window"),
    [("binance_until_2025_09_18", 60), ("binance_since_2025_09_18", 30)],
)
def test_a_moving_average_has_the_mean_age_of_its_window(name, window):
    half_life = round(math.log(2) * window / 2)  # to the second
    assert Mark(preset=name).basis_half_life == pytest.approx(half_life / 60)


def test_the_day_goes_by_what_was_published():
    venues = load_config(SMOKE.parent / "oct10.yaml").scenario.venues
    assert venues["exchange"].mark.basis_half_life == pytest.approx(10 / 60)
    assert venues["perp_venue"].mark.basis_half_life == pytest.approx(104 / 60)


def test_presets_are_listed_with_their_sources():
    rows = {(row["key"], row["preset"]): row["source"] for row in listed()}
    for key in ("index", "mark"):
        for name in published_rules(key):
            assert rows[key, name]


def test_what_stands_beside_a_preset_goes_over_it():
    rule = IndexRule(preset="okx_2023", component_clamp="1%")
    assert (rule.equal, rule.component_clamp) == (1.0, 0.01)
    rule = IndexRule(preset="okx_2023", own="100%")  # weights are one whole
    assert (rule.equal, rule.component_clamp) == (None, 0.03)
    assert rule.own == {"*": 1.0}
    assert Mark(preset="hyperliquid", kind="last").kind == "last"


def test_a_preset_reaches_the_kernel():
    texts = ["policies.x={index: {USDe: {preset: okx_2023}}}"]
    texts += ["scenario.venues.exchange.mark={preset: binance_since_2025_09_18}"]
    built = build(load_config(SMOKE, texts))
    entry = built.labels["index"].index("exchange/USDe")
    rules = built.policy.index
    np.testing.assert_allclose(rules.weight[:, entry, 3], [0.5, 0.5])
    assert rules.component_clamp[entry].tolist() == [1e30, 1e30, 1e30, 0.03]
    perp = built.labels["market"].index("exchange/BTC/perp")
    assert rules.basis_smoothing[perp, 0] == pytest.approx(1 - 2 ** -(30 / 10))
    assert build(load_config(SMOKE)).policy.index.component_clamp is None


@pytest.mark.parametrize(
    ("scope", "band"), [("BTC", 0.01), ("BTC@exchange", 0.01), ("USDe", 0.03)]
)
def test_a_preset_may_say_otherwise_of_an_asset(scope, band):
    # F080: 1% for BTC and ETH, 3% for the rest
    rule = f"{{{scope}: {{preset: binance_outliers_2025}}}}"
    built = build(load_config(SMOKE, [f"policies.x={{index: {rule}}}"]))
    entry = built.labels["index"].index(f"exchange/{scope.partition('@')[0]}")
    assert built.policy.index.component_clamp[entry, 3] == pytest.approx(band)


def test_what_stands_beside_it_goes_over_that_too_and_it_holds_for_a_product():
    text = "policies.x={index: {BTC: {preset: binance_outliers_2025, component_clamp: 2%}}}"
    assert load_config(SMOKE, [text]).policies["x"].index["BTC"].component_clamp == 0.02
    text = "policies.x={index: {BTC: {futures: {preset: binance_outliers_2025}}}}"
    rule = load_config(SMOKE, [text]).policies["x"].index["BTC"]
    assert (rule.component_clamp, rule.futures.component_clamp) == (None, 0.01)


def test_a_policy_and_a_sweep_name_a_published_mark():
    config = load_config(
        SMOKE,
        [
            "policies.x.mark.exchange.preset=hyperliquid",
            "policies.y.mark.exchange={preset: hyperliquid, basis_half_life: 1m}",
            "sweep.grid.mark.exchange.preset=[hyperliquid, binance_since_2025_09_18]",
        ],
    )
    names = Names(config)
    found = {
        label: resolve(config, names, entry).mark["exchange"].basis_half_life
        for label, entry in config.entries.items()
    }
    assert found["baseline"] == 0.5
    assert found["x"] == found["mark.exchange.preset=hyperliquid"] == pytest.approx(104 / 60)
    assert found["mark.exchange.preset=binance_since_2025_09_18"] == pytest.approx(10 / 60)
    assert found["y"] == 1.0


def test_another_preset_in_an_override_replaces_what_the_first_one_wrote():
    mark = "scenario.venues.exchange.mark={preset: binance_since_2025_09_18}"
    change = "policies.x.scenario.venues.exchange.mark"

    def mark_under(text):
        return load_config(SMOKE, [mark, text]).under("x").scenario.venues["exchange"].mark

    assert mark_under(f"{change}={{preset: hyperliquid}}").basis_half_life * 60 == 104
    beside = mark_under(f"{change}={{basis_half_life: 1m}}")
    assert (beside.preset, beside.basis_half_life) == ("binance_since_2025_09_18", 1.0)


STANDING = (
    "scenario.venues.exchange.stands_for=[Binance]",
    "scenario.venues.others.stands_for=[OKX, Bybit, Kraken, KuCoin, Gate, MEXC]",
)
ORACLE = "policies.x={index: {USDe: {preset: hyperliquid_oracle}}}"


def test_published_weights_go_to_the_venues_that_stand_for_exchanges():
    built = build(load_config(SMOKE, [*STANDING, ORACLE]))
    entry, rules = built.labels["index"].index("exchange/USDe"), built.policy.index
    books = [built.labels["market"][m] for m in built.world.layout.indices[entry].sources]
    shares = dict(zip(books, rules.median_share[:, entry, 3], strict=True))
    assert shares == pytest.approx(
        {"exchange/USDe/spot": 3 / 11, "others/USDe/spot": 8 / 11}
    )
    assert rules.median_weight[entry].tolist() == [0.0, 0.0, 0.0, 1.0]
    assert not rules.weight[:, entry, 3].any()
    assert build(load_config(SMOKE)).policy.index.median_weight is None


def test_an_exchange_whose_venue_has_no_such_book_has_no_say():
    elsewhere = [
        "scenario.venues.others.stands_for=[OKX, Bybit, KuCoin, Gate, MEXC]",
        "scenario.venues.empty={stands_for: [Kraken]}",
    ]
    built = build(load_config(SMOKE, [STANDING[0], *elsewhere, ORACLE]))
    entry, rules = built.labels["index"].index("exchange/USDe"), built.policy.index
    assert rules.median_share[:, entry, 3].tolist() == pytest.approx([3 / 10, 7 / 10])


def test_weights_beside_a_preset_take_its_median_away():
    assert IndexRule(preset="hyperliquid_oracle", own="100%").median_of is None
    rule = IndexRule(preset="hyperliquid_oracle", median_of={"exchange": 3, "others": 2})
    assert (rule.median, rule.median_of) == (1.0, {"exchange": 3.0, "others": 2.0})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "policies.x={index: {USDe: {preset: okx}}}",
            "the index rule 'okx' is unknown; .*okx_2023",
        ),
        (
            "scenario.venues.exchange.mark={preset: binance_2025}",
            "the mark rule 'binance_2025' is unknown; .*did you mean 'binance_",
        ),
        (
            "policies.x={index: {USDe: {preset: binance_wbeth_until_2025_10}}}",
            "the pair 'WBETH' is unknown",
        ),
        (
            "policies.x={index: {USDe: {preset: binance_lst_since_2025_10, floor: 97%}}}",
            "hard_anchor with floor",
        ),
        (
            ORACLE,
            "median_of.Binance: 'Binance', which no venue is or stands for; .*exchange, others; "
            ".*stands_for: .Binance. at the one",
        ),
        (
            "policies.x={index: {USDe: {median: 50%}}}",
            "one of median and median_of without the other",
        ),
        (
            "policies.x={index: {USDe: {median: 50%, median_of: {}}}}",
            "no book came; allowed is weights by VENUE",
        ),
        (
            "policies.x={index: {USDe: {median: 50%, median_of: {exchange/USDe-BTC: 1}}}}",
            "'exchange' has no spot book of 'USDe-BTC' to read; .*exchange/USDe",
        ),
        (
            "policies.x={index: {USDe: {median: 50%, median_of: {exchange: 0}}}}",
            "0 came",
        ),
        (
            "policies.x={index: {USDe: {own: 60%, median: 50%, median_of: {others: 1}}}}",
            "weights that sum to 1.1; .*from . median . reference",
        ),
        (
            "scenario.venues.exchange.stands_for=[others]",
            "'others', which another venue is or stands for",
        ),
        (
            "scenario.venues.exchange.stands_for=[Binance, Binance]",
            "'Binance', which another venue is or stands for, or which stands twice",
        ),
    ],
)
def test_what_is_refused(text, said):
    with pytest.raises(ConfigError) as caught:
        load_config(SMOKE, [text])
    assert re.search(said, str(caught.value)), str(caught.value)
