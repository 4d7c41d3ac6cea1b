"""Segregated margin: collateral that backs no perps. MODEL.md section 3, A24."""

import re
from pathlib import Path

import jax
import numpy as np
import pytest

from deleverage.config import build, load_config
from deleverage.errors import ConfigError

SMOKE = Path(__file__).parents[3] / "configs" / "smoke.yaml"
NO_LOOPS = (
    "scenario.books.usde_loops={kind: perp, venue: others, perps: BTC, open_interest: 1M,"
    " leverage: 5}"
)
LONGS_ON_CASH = "scenario.books.exchange_longs.collateral=USDT"
LONGS, LOOPS = 0, 4
EXCHANGE = ("exchange", "USDe")


def made(lever, *texts):
    """The smoke world with a policy `x`, the fourth."""
    built = build(load_config(SMOKE, [f"policies.x={lever}", *texts]))
    return built, built.policy, [index.split("/") for index in built.labels["index"]]


def test_perps_are_backed_by_cash_alone():
    built, policy, indices = made("{collateral: {USDe@exchange: {segregated: true}}}")
    books = policy.books
    # Half of the longs' own funds is apart: with half of the equity, half of the positions.
    np.testing.assert_allclose(
        books.position[0, LONGS, :, 3], 0.5 * books.position[0, LONGS, :, 0], rtol=1e-12
    )
    np.testing.assert_array_equal(books.cash[LONGS, :, 3], books.cash[LONGS, :, 0])
    assert not books.collateral[:, LONGS, :, 3].any()
    assert built.policy_variables["open_interest_forgone"][3] == pytest.approx(2000)
    # It is all there still, in its owners' hands.
    row = next(n for n, (venue, asset, *_) in enumerate(indices) if (venue, asset) == EXCHANGE)
    pledged = books.collateral[0, LONGS, :, 0].sum()
    assert policy.kept_apart.units[row] == pytest.approx([0, 0, 0, pledged])
    assert policy.kept_apart.units.sum() == pytest.approx(pledged)
    assert not policy.reporting.due_at_start[3]


def test_loans_stay_as_they_are():
    built, policy, _ = made("{collateral: {USDe: {segregated: true}}}")
    for leaf in (policy.books.collateral[0], policy.books.cash, policy.books.accounts):
        np.testing.assert_array_equal(leaf[LOOPS, ..., 3], leaf[LOOPS, ..., 0])
    ratio = policy.margin.ratio[0]
    np.testing.assert_array_equal(ratio[:, LOOPS, :, 3], ratio[:, LOOPS, :, 0])
    assert built.policy_variables["credit_forgone"][3] == 0


def test_held_positions_keep_it_apart_too():
    lever = "{collateral: {USDe: {segregated: true}}, participation: {kind: hold}}"
    built, policy, _ = made(lever)
    np.testing.assert_array_equal(policy.books.position[..., 3], policy.books.position[..., 0])
    assert not policy.books.collateral[:, LONGS, :, 3].any()
    pledged = policy.books.collateral[0, LONGS, :, 0].sum()
    assert policy.kept_apart.units.sum(axis=0)[3] == pytest.approx(pledged)
    assert built.policy_variables["open_interest_forgone"][3] == 0


def test_the_cap_of_the_venue_is_left_to_loans():
    _, policy, _ = made("{collateral: {USDe: {segregated: true, cap: 600M}}}")
    # Of 100M at leverage 2, 3, 4 loops pledge 300M, so that the cap grants all of it.
    np.testing.assert_allclose(policy.books.collateral[0, LOOPS, :3, 3].sum(), 300)
    np.testing.assert_array_equal(policy.margin.ratio[0, 0, LOOPS, 0, 3], 1.0)


def test_in_the_accounts_it_is_as_what_is_not_admitted():
    # Where nothing is lent, both leave the same accounts; only the owners' hands differ.
    texts = [NO_LOOPS, "policies.y={collateral: {USDe: {admitted: false}}}"]
    _, policy, _ = made("{collateral: {USDe: {segregated: true}}}", *texts)
    parts = ("books", "margin", "top_up", "liquidation", "index", "impact", "reporting")
    for leaf in jax.tree.leaves([getattr(policy, part) for part in parts]):
        np.testing.assert_array_equal(leaf[..., 3], leaf[..., 4])
    assert policy.kept_apart.units[..., 3].sum() > 0
    assert not policy.kept_apart.units[..., 4].any()


def test_a_hedged_book_shrinks_to_l_over_one_plus_l():
    # u = mm L / 1 before, mm L' / (1 - L') after, as the spot L' no longer counts.
    hedged = "{kind: hedged, venue: exchange, asset: USDe, open_interest: 160M, leverage: 0.8}"
    texts = [
        "scenario.markets.exchange/USDe/perp={depth_1pct: 20M, resilience_half_life: 5m}",
        "scenario.venues.exchange.maintenance.USDe=1%",
        "scenario.makers.max_share=100%",
        f"scenario.books.carry={hedged}",
    ]
    _, policy, _ = made("{collateral: {USDe: {segregated: true}}}", *texts)
    short = 200 * 0.8 / 1.8  # of own funds of 200M, in one bucket
    np.testing.assert_allclose(policy.books.position[0, 5, 0, 3], -short, rtol=1e-12)
    np.testing.assert_allclose(policy.books.cash[5, 0, 3], 200 - short, rtol=1e-12)
    assert not policy.books.collateral[:, 5, :, 3].any()


def test_a_policy_may_end_it():
    lever = "{collateral: {USDe: {segregated: false}}, participation: {upward: true}}"
    texts = ["scenario.venues.exchange.collateral.USDe.segregated=true"]
    built, policy, _ = made(lever, *texts)
    books = policy.books
    np.testing.assert_allclose(
        books.position[0, LONGS, :, 3], 2 * books.position[0, LONGS, :, 0], rtol=1e-9
    )
    assert not books.collateral[:, LONGS, :, 0].any()
    assert books.collateral[0, LONGS, :, 3].all()
    assert built.policy_variables["open_interest_forgone"][3] == pytest.approx(-4000)
    assert policy.kept_apart.units[..., 0].sum() == pytest.approx(
        books.collateral[0, LONGS, :, 3].sum()
    )


def test_without_it_nothing_is_traced():
    assert build(load_config(SMOKE)).policy.kept_apart is None


@pytest.mark.parametrize(
    ("texts", "sentence"),
    [
        (
            ["policies.x={collateral: {USDe: {segregated: true, admitted: false}}}"],
            "admitted: false with segregated",
        ),
        (
            ["policies.x={collateral: {USDe: {segregated: true}}}", LONGS_ON_CASH],
            "x.collateral.USDe.segregated: segregated margin of 'USDe', which backs no perps; "
            ".*which are none here",
        ),
        (
            ["scenario.venues.exchange.collateral.USDe.segregated=true", LONGS_ON_CASH],
            "exchange.collateral.USDe.segregated: .*'USDe@exchange', which backs no perps",
        ),
        (
            ["policies.x={collateral: {USDe: {segregated: true, haircut: 5%}}}", NO_LOOPS],
            "x.collateral.USDe.haircut: a haircut of 'USDe', .*backs no loans; .*segregated: false",
        ),
    ],
)
def test_what_means_nothing_is_refused(texts, sentence):
    with pytest.raises(ConfigError) as refused:
        build(load_config(SMOKE, texts))
    assert re.search(sentence, str(refused.value)), str(refused.value)
