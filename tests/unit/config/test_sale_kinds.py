"""Levers of where collateral goes: `liquidation.collateral_sale` and what belongs to it."""

from pathlib import Path

import pytest

from deleverage.config import build, load_config
from deleverage.config.base import lookup
from deleverage.config.names import Names
from deleverage.config.resolve import resolve
from deleverage.errors import ConfigError

SMOKE = Path(__file__).parents[3] / "configs" / "smoke.yaml"
LEVER = "policies.no_parity.liquidation."


def built(*values):
    """The policy `no_parity` with levers set, its books' sale kinds and its rules of sales."""
    made = build(load_config(SMOKE, [LEVER + value for value in values]))
    place = list(made.config.entries).index("no_parity")
    world, policy = next((group[0], group[1]) for group in made.groups if place in group[2])
    return [book.sales for book in world.layout.books], policy.sales, world.layout


def test_by_default_all_collateral_goes_to_the_venues_own_books():
    kinds, sales, layout = built()
    assert set(kinds) == {()}
    assert sales is None
    assert layout.spread_sales == ()


@pytest.mark.parametrize("value", ["redeem", "{USDe: redeem}", "{USDe@exchange: redeem}"])
def test_a_kind_holds_for_all_assets_or_for_one(value):
    kinds, sales, _ = built(f"collateral_sale={value}")
    assert set(kinds) == {(), ("redeem",)}
    assert sales is not None


def test_spread_shares_by_depth_over_all_venues():
    kinds, sales, layout = built("collateral_sale=spread")
    assert ("spread",) in kinds
    assert sales is None  # gates matter, rules do not
    for shares in layout.spread_sales:
        assert sum(share for _, share in shares) == pytest.approx(1.0)


def test_a_backstop_has_a_discount_and_a_capacity():
    _, sales, layout = built(
        "collateral_sale={USDe: backstop}", "backstop_capacity=10M", "backstop_discount=2%"
    )
    row = [layout.assets[index.asset] for index in layout.indices].index("USDe")
    assert sales.capacity[row].max() == 10.0
    assert sales.discount[row].max() == 0.02
    assert sales.pause.max() == 0.0


def test_a_pause_is_of_pegged_assets_alone():
    kinds, sales, layout = built("pause_pegged_while_shut=true")
    assert set(kinds) == {()}
    pegged = [index.asset in layout.pegged for index in layout.indices]
    assert (sales.pause.max(axis=1) <= pegged).all()
    assert sales.pause.max() == 1.0


def test_breakers_are_in_steps():
    made = build(
        load_config(
            SMOKE,
            [LEVER + "circuit_breaker={BTC@exchange: {trigger: 5%, window: 5m, halt: 100s}}"],
        )
    )
    (world, policy, *_) = made.groups[1]
    layout = world.layout
    assert made.groups[0][0].layout.breaker_steps == 0
    assert layout.breaker_steps == 10
    for row, index in enumerate(layout.indices):
        on = (layout.venues[index.venue], layout.assets[index.asset]) == ("exchange", "BTC")
        trigger = 0.05 if on else 2.0
        assert policy.breakers.trigger[row].tolist() == [trigger]
        assert policy.breakers.halt[row].tolist() == [4.0 if on else 0.0]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (["circuit_breaker={USDT: {trigger: 5%, window: 1m, halt: 1m}}"], "of which no index is"),
        (["circuit_breaker={trigger: 0, window: 1m, halt: 1m}"], "trigger: 0 came"),
        (["collateral_sale=redem"], "'redem' came; allowed is one of `market`, `spread`, `red"),
        (["collateral_sale={USDx: hold}"], "the asset 'USDx' is unknown.*mean 'USDe'"),
        (["collateral_sale={BTC: hold}"], "sales of 'BTC', which no venue accepts.*remove it"),
        (["collateral_sale={USDe: backstop}"], "'USDe' on 'exchange' without a backstop_capacity"),
        (["backstop_capacity=10M"], "backstop_capacity where nothing is sold to a backstop"),
        (["backstop_discount=1%"], "backstop_discount where nothing is sold to a backstop"),
    ],
)
def test_what_cannot_be_is_refused(values, sentence):
    with pytest.raises(ConfigError, match=sentence):
        built(*values)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("collateral_sale={USDe: redeem}", "redeem for an asset without an issuer"),
        ("pause_pegged_while_shut=true", "no pegged asset is collateral"),
    ],
)
def test_redeem_and_pause_need_an_issuer(value, sentence):
    other = "scenario.assets.USDe={kind: risk, volatility: 10%}"
    with pytest.raises(ConfigError, match=sentence):
        build(load_config(SMOKE, [other, f"policies.baseline.liquidation.{value}"]))


VENUE = "scenario.venues.exchange.liquidation."
BREAKER = "{trigger: 5%, window: 5m, halt: 5m}"


def rules_of(*values, policy="no_parity"):
    """Where USDe goes on the exchange under a policy, and the exchange's breaker of BTC."""
    config = load_config(SMOKE, values)
    rules = resolve(config, Names(config), config.entries[policy])
    breakers = rules.liquidation["exchange"].circuit_breaker
    return rules.sales["exchange", "USDe"].kind, lookup(breakers, "BTC", "exchange")


COVERED = {  # keys of an earlier layer, and of a later one that covers them
    "a policy over its venue": (
        VENUE + "collateral_sale={USDe@exchange: hold}",
        LEVER + "collateral_sale={USDe: spread}",
    ),
    "all assets over one": (
        VENUE + "collateral_sale={USDe: hold}",
        LEVER + "collateral_sale=spread",
    ),
    "one venue over all": (
        LEVER + "collateral_sale={USDe@exchange: redeem}",
        LEVER + "by_venue.exchange.collateral_sale={USDe: spread}",
    ),
    "one asset over all": (
        VENUE + "collateral_sale=hold",
        LEVER + "collateral_sale={USDe@exchange: spread}",
    ),
}


@pytest.mark.parametrize("case", COVERED)
def test_a_later_layer_covers_more_specific_keys_of_an_earlier_one(case):
    before, after = COVERED[case]
    assert rules_of(before)[0] != "spread"
    assert rules_of(before, after)[0] == "spread"


def test_within_a_layer_the_most_specific_key_holds():
    values = "collateral_sale={'*': hold, USDe: redeem, USDe@exchange: spread}"
    assert rules_of(LEVER + values)[0] == "spread"


def test_breakers_are_covered_alike():
    before = VENUE + f"circuit_breaker={{BTC@exchange: {BREAKER}}}"
    for scope in ("BTC", "'*'"):
        after = LEVER + f"circuit_breaker={{{scope}: {BREAKER.replace('5%', '9%')}}}"
        assert rules_of(before, after)[1].trigger == 0.09
    other = LEVER + f"circuit_breaker={{USDe: {BREAKER}}}"
    assert rules_of(before, other)[1].trigger == 0.05


@pytest.mark.parametrize("nothing", ["null", "{}"])
@pytest.mark.parametrize("at", ["", "by_venue.exchange."])
def test_a_policy_switches_a_breaker_off(nothing, at):
    before = VENUE + f"circuit_breaker={BREAKER}"
    assert rules_of(before)[1].trigger == 0.05
    assert rules_of(before, f"{LEVER}{at}circuit_breaker={nothing}")[1] is None
    grid = f"sweep.grid.liquidation.{at}circuit_breaker=[{nothing}, {BREAKER}]"
    label = f"liquidation.{at}circuit_breaker={nothing}"
    assert rules_of(before, grid, policy=label)[1] is None
    # on one venue, over what the policy says of all
    off = f"{LEVER}by_venue.others.circuit_breaker={nothing}"
    assert rules_of(f"{LEVER}circuit_breaker={BREAKER}", off)[1].trigger == 0.05
