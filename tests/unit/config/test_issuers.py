"""Issuers in a config: what becomes of supply, reserve, run and hedge."""

from pathlib import Path

import numpy as np
import pytest

from deleverage.config import build, load_config
from deleverage.errors import ConfigError

SMOKE = Path(__file__).parents[3] / "configs" / "smoke.yaml"
ISSUER = (
    "scenario.assets.USDe={kind: pegged, anchor: USDT, issuer: {supply: 1.44bn, backing: 101%,"
    " reserve_share: 10%, run: {float_share: 30%, rate: 2, tolerance: 1%}}}"
)
LOSS = "scenario.shocks.backing=[{kind: scheduled, asset: USDe, share: 10%, start: 5m}]"
HEDGES = [
    f"scenario.books.hedge_{venue}={{kind: hedged, venue: {venue}, asset: BTC, issuer: USDe,"
    f" open_interest: {size}, leverage: 1}}"
    for venue, size in (("exchange", "300M"), ("others", "100M"))
]
BTC = "scenario.venues.{}.collateral.BTC={{haircut: 0}}"


def built(*changes):
    return build(load_config(SMOKE, [ISSUER, LOSS, *changes]))


def test_an_issuer_becomes_units_and_its_reserve_a_pace():
    policy = built("policies.fast.issuer.USDe={reserve_share: 1%, capacity: 5M}").groups[0][1]
    rules = policy.issuer
    assert rules.supply[0] == pytest.approx(1440.0)
    assert rules.backing[0] == pytest.approx(1440 * 1.01)
    assert rules.free_float[0] == pytest.approx(1440 * 0.3)
    # the baseline first, the entry last
    assert rules.reserve[0, [0, -1]] == pytest.approx([144.0, 14.4])
    assert policy.healing.redemption_capacity[0, [0, -1]] == pytest.approx([0.1, 5.0])


def test_a_lever_is_for_the_scenario_of_its_own_entry():
    lever = "policies.x={scenario: {assets: {USDe: {issuer: {supply: 1.44bn}}}}, issuer: {USDe: {"
    found = build(load_config(SMOKE, [f"{lever}reserve_share: 1%}}}}}}"]))
    last = len(found.labels["policy"]) - 1
    ((_, policy, *_),) = [group for group in found.groups if last in group[2]]
    assert policy.issuer.reserve[0, -1] == pytest.approx(14.4)
    # of which nothing is left to hold where the entry takes the book out
    scenario = "books: {usde_loops: null, exchange_longs: {collateral: USDT}}"
    out = f"policies.x={{scenario: {{{scenario}}}, leverage: {{repledge: false}}}}"
    with pytest.raises(ConfigError, match="repledge where no book is a loop"):
        load_config(SMOKE, [out])


def test_without_an_issuer_nothing_is_modelled():
    assert build(load_config(SMOKE)).groups[0][1].issuer is None


def test_a_policy_moves_the_hedge_between_venues():
    both = [BTC.format(venue) for venue in ("exchange", "others")]
    lever = "policies.moved={issuer: {USDe: {hedge: {exchange: 25%, others: 75%}}}, " + (
        "participation: {kind: hold}}"
    )
    found = built(*both, *HEDGES, lever)
    world, policy, *_ = found.groups[0]
    layout = world.layout
    assert [book.issuer for book in layout.books] == [-1, -1, -1, -1, -1, 0, 0]
    size = np.abs(policy.books.position[0, 5:]).sum(axis=1)
    assert size[:, 0] == pytest.approx([300.0, 100.0])
    assert size[:, -1] == pytest.approx([100.0, 300.0])
