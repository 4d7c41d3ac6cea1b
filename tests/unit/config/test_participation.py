"""Positions answer to rules: MODEL.md section 3."""

from pathlib import Path

import numpy as np
import pytest

from deleverage.config import build, load_config
from deleverage.errors import ConfigError

LIMITS = Path(__file__).parents[3] / "configs" / "limits"
SMOKE = LIMITS.parent / "smoke.yaml"


def books(config, *texts):
    built = build(load_config(LIMITS.parent / config, texts))
    return built, built.policy.books


def loop(haircut, leverage, *texts):
    """Leverage of a loan book under the second policy, with its own funds of 100."""
    built, sheets = books(
        "limits/common_random_numbers.yaml",
        "scenario.venues.v.loan_maintenance=3%",
        "scenario.books.loans.own_funds=100M",
        f"scenario.books.loans.leverage={leverage}",
        f"policies={{baseline: {{}}, p: {{collateral: {{A: {{haircut: {haircut}}}}}}}}}",
        *texts,
    )
    return built, sheets.collateral[0, 0, 0, 1] / 100, sheets.cash[0, 0, 1] / 100


@pytest.mark.parametrize("haircut", [0.02, 0.1, 0.5])
@pytest.mark.parametrize("leverage", [1.5, 3.5, 5.0])
def test_a_loop_becomes_l_over_one_plus_h_times_l_minus_one(haircut, leverage):
    _, held, cash = loop(haircut, leverage)
    assert held == pytest.approx(leverage / (1 + haircut * (leverage - 1)), rel=1e-12)
    assert cash == pytest.approx(-(held - 1), rel=1e-12)


def test_the_loop_cap_binds_afterwards():
    texts = ["scenario.books.loans.loop=true", "policies.p.leverage.loop_cap=2"]
    built, held, _ = loop(0.02, 3.5, *texts)
    assert held == pytest.approx(2.0, rel=1e-12)
    assert built.policy_variables["credit_forgone"] == pytest.approx([0, 150])


def test_no_loops_leave_own_funds_in_the_asset():
    texts = ["scenario.books.loans.loop=true", "policies.p.leverage.loop_cap=1"]
    _, held, cash = loop(0, 3.5, *texts)
    assert (held, cash) == (pytest.approx(1.0), pytest.approx(0.0, abs=1e-12))


def test_margin_use_is_the_baselines():
    built, sheets = books("smoke.yaml")
    rules, use = built.policy.margin, []
    for policy, own_ratio in ((0, 1.0), (2, 0.9)):
        position, pledged = sheets.position[0, 0, :, policy], sheets.collateral[0, 0, :, policy]
        accounts = sheets.accounts[0, :, policy]
        lines = rules.rate[0, :, 0, :, policy] * position
        lines = lines - rules.deduction[0, :, 0, :, policy] * accounts
        equity = sheets.cash[0, :, policy] + own_ratio * pledged
        use.append(lines.max(axis=0) / equity)
    np.testing.assert_allclose(use[1], use[0], rtol=1e-12)
    # Half of the collateral loses a tenth: positions fall by a twentieth, which is what is forgone.
    np.testing.assert_allclose(sheets.position[0, 0, :, 2], 0.95 * sheets.position[0, 0, :, 0])
    assert built.policy_variables["open_interest_forgone"] == pytest.approx([0, 0, 200])
    assert built.policy_variables["open_interest"] == pytest.approx([6000, 6000, 5800])


def test_hold_keeps_positions():
    built, sheets = books("smoke.yaml", "policies.no_parity.participation.kind=hold")
    np.testing.assert_array_equal(sheets.position[..., 2], sheets.position[..., 0])
    assert built.policy_variables["open_interest_forgone"][2] == 0


def test_a_laxer_rule_scales_nothing_up():
    _, sheets = books("smoke.yaml", "policies.x={collateral: {USDe: {haircut: 0}}}")
    np.testing.assert_array_equal(sheets.position[..., 3], sheets.position[..., 0])


def test_leverage_caps_bind():
    built, sheets = books("smoke.yaml", "policies.x={leverage: {cap: {BTC@exchange: 6}}}")
    own = sheets.cash[0, :, 0] + sheets.collateral[0, 0, :, 0]
    before, after = sheets.position[0, 0, :, 0] / own, sheets.position[0, 0, :, 3] / own
    np.testing.assert_allclose(after, np.minimum(before, 6))
    np.testing.assert_array_equal(sheets.position[0, 2, :, 3], sheets.position[0, 2, :, 0])
    assert built.policy_coords["leverage.cap.BTC@exchange"][3] == 6


@pytest.mark.parametrize(("lever", "held"), [("3", 2.66666667 / 1.03333333), ("2.3", 2.3), ("", 2)])
def test_a_higher_loop_cap_replaces_the_venues_where_loops_grow(lever, held):
    # margin use (L - 1) / (1 - h L) is 1 / 0.6 at L = 2 and h = 20%, and stays so at h = 2%
    texts = [
        "scenario.books.loans.loop=true",
        "scenario.venues.v.collateral.A.haircut=20%",
        "scenario.venues.v.leverage.loop_cap=2",
        "policies.p.participation.upward=true",
    ]
    texts += [f"policies.p.leverage.loop_cap={lever}"] if lever else []
    _, found, _ = loop("2%", 3.5, *texts)
    assert found == pytest.approx(held, rel=1e-8)


def test_a_higher_leverage_cap_replaces_the_venues_where_positions_grow():
    grows = "maintenance: {BTC: [[0, 0.25%], [1M, 0.5%]]}}, participation: {upward: true}"
    _, sheets = books(
        "smoke.yaml",
        "scenario.venues.exchange.leverage.cap={BTC@exchange: 6}",
        *(
            f"policies.{name}={{leverage: {{{cap}{grows}}}"
            for name, cap in {"x": "", "y": "cap: {BTC: 8}, ", "z": "cap: 1000, "}.items()
        ),
    )
    own = sheets.cash[0, :, 0] + sheets.collateral[0, 0, :, 0]
    base, x, y, z = (sheets.position[0, 0, :, place] / own for place in (0, 3, 4, 5))
    assert base.max() == pytest.approx(6)
    assert z.max() > 8
    np.testing.assert_allclose(x, np.minimum(z, 6))
    np.testing.assert_allclose(y, np.minimum(z, 8))


def test_the_baselines_own_caps_replace_the_venues():
    texts = ["scenario.venues.exchange.leverage.cap=6", "policies.baseline.leverage.cap=12"]
    _, sheets = books("smoke.yaml", *texts)
    own = sheets.cash[0, :, 0] + sheets.collateral[0, 0, :, 0]
    assert (sheets.position[0, 0, :, 0] / own).max() == pytest.approx(12)


CAPS = ("scenario.venues.exchange.leverage={cap: {BTC: 6}, loop_cap: 3}",)
RAISED = {
    "leverage: {cap: {BTC@exchange: 8}}": "a leverage cap of 8 above the 6 in force, which no posi",
    "leverage: {cap: {BTC@exchange: 8, BTC@others: 5}}": "BTC@exchange: a leverage cap of 8 above",
    "leverage: {loop_cap: 5}": "loop_cap: a loop_cap of 5 above the 3 in force, .*at most 3",
    "leverage: {loop_cap: 5}, participation: {upward: true}": "loop_cap of 5 above .*lower it",
}


@pytest.mark.parametrize("text", RAISED)
def test_a_cap_that_no_position_answers_to_is_refused(text):
    with pytest.raises(ConfigError, match=f"policies.x.leverage.*{RAISED[text]}"):
        load_config(SMOKE, [*CAPS, f"policies.x={{{text}}}"])


@pytest.mark.parametrize(
    "text",
    [
        "leverage: {cap: {BTC: 6}, loop_cap: 3}",  # as it is: one end of a sweep
        "leverage: {cap: {BTC@exchange: 5, BTC@others: 20}}",  # where there is no cap
        "leverage: {loop_cap: 5}, collateral: {USDe: {haircut: 0}}, participation: {upward: true}",
    ],
)
def test_caps_that_bind_or_may_bind_are_taken(text):
    load_config(SMOKE, [*CAPS, f"policies.x={{{text}}}"])


def test_a_higher_cap_beside_a_lower_one_in_one_book_is_taken():
    # the book's own funds cover each perp at its cap: 1 / (0.5 / 9 + 0.5 / 3)
    pair = "{kind: perp, venue: exchange, perps: {BTC: 50%, USDe: 50%}, open_interest: 10M"
    texts = [
        "scenario.markets.exchange/USDe/perp={depth_1pct: 20M, resilience_half_life: 5m}",
        "scenario.venues.exchange.maintenance.USDe=1%",
        f"scenario.books.pair={pair}, leverage: 6}}",
        "scenario.makers.max_share=100%",
        "scenario.venues.exchange.leverage.cap={BTC: 6, USDe: 6}",
        "policies.x={leverage: {cap: {BTC@exchange: 9, USDe: 3}}}",
    ]
    _, sheets = books("smoke.yaml", *texts)
    position, own = sheets.position[:, 5, 0, 3].sum(), sheets.cash[5, 0, 0]
    assert position / own == pytest.approx(4.5)


def test_uptake_scales_promoted_loops():
    built, sheets = books("smoke.yaml", "policies.x={marketing: {uptake: 25%}}")
    for leaf in (sheets.collateral[0], sheets.cash, sheets.accounts, sheets.budget):
        np.testing.assert_allclose(leaf[4, ..., 3], 0.25 * leaf[4, ..., 0])
        np.testing.assert_array_equal(leaf[:4, ..., 3], leaf[:4, ..., 0])
    assert built.policy_variables["credit_forgone"][3] == pytest.approx(150)


@pytest.mark.parametrize("cap", ["100M", "{depth_multiple: 5}"])
def test_a_cap_counts_its_share_of_what_is_pledged(cap):
    built, sheets = books("smoke.yaml", f"policies.x={{collateral: {{USDe: {{cap: {cap}}}}}}}")
    pledged = sheets.collateral[..., 3].sum()
    share = built.policy.margin.ratio[0, 0, [0, 4], 0, 3]
    np.testing.assert_allclose(share, 100 / pledged, rtol=1e-10)
    # The baseline has no cap on these books.
    np.testing.assert_array_equal(built.policy.baseline_margin.ratio[0, 0, [0, 4], 0, 3], 1.0)
    assert pledged < sheets.collateral[..., 0].sum()


def test_the_response_to_a_cap_is_a_fixed_point():
    _, sheets = books("smoke.yaml", "policies.x={collateral: {USDe: {cap: 100M}}}")
    share = 100 / sheets.collateral[..., 3].sum()
    held = np.array([33.3333333] * 3) * 1  # own funds of the three loop buckets
    leverage = sheets.collateral[0, 4, :3, 3] / held
    before = np.array([2.0, 3.0, 4.0])
    np.testing.assert_allclose(leverage, before / (1 + (1 - share) * (before - 1)), rtol=1e-7)


def test_not_admitted_collateral_counts_nothing_and_leaves_the_venue():
    built, sheets = books("smoke.yaml", "policies.x={collateral: {USDe: {admitted: false}}}")
    assert not sheets.collateral[..., 3].any()
    # Half of the longs' own funds was USDe: with half of the equity, half of the positions.
    np.testing.assert_allclose(sheets.position[0, 0, :, 3], 0.5 * sheets.position[0, 0, :, 0])
    np.testing.assert_array_equal(sheets.cash[0, :, 3], sheets.cash[0, :, 0])
    # Loops have nothing to borrow on: 100M at leverage 2, 3, 4 in equal parts owed 200M.
    np.testing.assert_allclose(sheets.cash[4, :, 3], 0, atol=1e-12)
    assert built.policy_variables["open_interest_forgone"][3] == pytest.approx(2000)
    assert built.policy_variables["credit_forgone"][3] == pytest.approx(200)
    assert not built.policy.reporting.due_at_start[3]


def test_held_positions_keep_collateral_that_counts_nothing():
    texts = "policies.x={collateral: {USDe: {admitted: false}}, participation: {kind: hold}}"
    built, sheets = books("smoke.yaml", texts)
    np.testing.assert_array_equal(sheets.collateral[..., 3], sheets.collateral[..., 0])
    assert not built.policy.margin.ratio[0, :, [0, 4], 0, 3].any()
    assert built.policy.reporting.due_at_start[3]  # the loops owe and have nothing that counts


def test_without_repledging_loops_are_unwound():
    built, sheets = books("smoke.yaml", "policies.x={leverage: {repledge: false}}")
    np.testing.assert_allclose(sheets.collateral[0, 4, :3, 3], 100 / 3)
    np.testing.assert_allclose(sheets.cash[4, :, 3], 0, atol=1e-12)
    np.testing.assert_array_equal(sheets.position[..., 3], sheets.position[..., 0])
    assert built.policy_variables["credit_forgone"][3] == pytest.approx(200)
    assert built.policy_variables["open_interest_forgone"][3] == 0


def test_maintenance_tables_are_a_lever():
    lever = "policies.x={leverage: {maintenance: {BTC@others: [[0, 1%], [2M, 4%]]}}}"
    built, sheets = books("smoke.yaml", lever)
    # Twice the rate on the others: half of the positions, each of 50k, all in the first tier.
    np.testing.assert_allclose(sheets.position[0, 2:4, :, 3], 0.5 * sheets.position[0, 2:4, :, 0])
    np.testing.assert_array_equal(sheets.position[0, :2, :, 3], sheets.position[0, :2, :, 0])
    assert built.policy_variables["open_interest_forgone"][3] == pytest.approx(1000)
    np.testing.assert_allclose(built.policy.margin.rate[0, :, 2, 0, 3], [0.01, 0.04])
    np.testing.assert_allclose(built.policy.margin.deduction[0, :, 2, 0, 3], [0, 2 * 0.03])
    np.testing.assert_allclose(built.policy.baseline_margin.rate[0, :, 2, 0, 3], [0.005, 0.005])


def test_positions_grow_on_request():
    texts = [f"policies.{name}={{leverage: {{maintenance: {{BTC@others: 0.25%}}}}" for name in "xy"]
    built, sheets = books(
        "smoke.yaml", texts[0] + ", participation: {upward: true}}", texts[1] + "}"
    )
    np.testing.assert_allclose(sheets.position[0, 2:4, :, 3], 2 * sheets.position[0, 2:4, :, 0])
    np.testing.assert_array_equal(sheets.position[..., 4], sheets.position[..., 0])
    # Longs of 2bn more on the others; nothing else changes.
    assert built.policy_variables["open_interest_forgone"][3:] == pytest.approx([-2000, 0])
    np.testing.assert_array_equal(sheets.position[0, :2, :, 3], sheets.position[0, :2, :, 0])


@pytest.mark.parametrize("leverage", [1.5, 3.0])
def test_a_loop_grows_when_its_haircut_goes(leverage):
    haircut = 0.1
    built, held, _ = loop(
        0,
        leverage,
        "scenario.venues.v.collateral.A={haircut: 10%}",
        "policies.p.participation.upward=true",
    )
    # (L' - 1) / 1 = (L - 1) / (1 - h L), with the same loan rate on both sides.
    assert held == pytest.approx(1 + (leverage - 1) / (1 - haircut * leverage), rel=1e-10)
    grown = 100 * (held - leverage)
    assert built.policy_variables["credit_forgone"][1] == pytest.approx(-grown, rel=1e-9)


MIGRATE = "leverage: {cap: {BTC@exchange: 2}}, participation: {kind: migrate, share: 40%}"


def test_what_migrates_is_conserved():
    built, sheets = books("smoke.yaml", f"policies.x={{{MIGRATE}}}")
    longs, shorts = (
        sheets.position[0, :4].sum(axis=1)[[0, 2]],
        sheets.position[0, [1, 3]].sum(axis=1),
    )
    own = sheets.cash[0, :, 0] + sheets.collateral[0, 0, :, 0]
    gone = 4000 - 2 * own.sum()  # every long of the exchange ends at leverage 2
    assert longs[0, 3] == pytest.approx(2 * own.sum())
    assert longs[1, 3] == pytest.approx(2000 + 0.4 * gone)
    # Shorts at leverage 5 end at 2 and move as well: 3/5 of 3,800.
    assert shorts[:, 3] == pytest.approx([-1520, -2000 - 0.4 * 2280])
    assert built.policy_variables["open_interest_forgone"][3] == pytest.approx(0.6 * gone)
    # Who arrives looks like who is there: accounts, own funds and top-up budgets grow alike.
    growth = (2000 + 0.4 * gone) / 2000
    for leaf in (sheets.position[0], sheets.cash, sheets.accounts, sheets.budget):
        np.testing.assert_allclose(leaf[2, :, 3], growth * leaf[2, :, 0])
    assert not built.policy.reporting.due_at_start[3]


def test_all_or_nothing_may_migrate():
    for share, forgone in (("0%", 1.0), ("100%", 0.0)):
        built, _ = books("smoke.yaml", f"policies.x={{{MIGRATE.replace('40%', share)}}}")
        capped, _ = books("smoke.yaml", "policies.x={leverage: {cap: {BTC@exchange: 2}}}")
        given = built.policy_variables["open_interest_forgone"][3]
        rescaled = capped.policy_variables["open_interest_forgone"][3]
        assert given == pytest.approx(forgone * rescaled, abs=1e-9)


def test_migrating_needs_somewhere_to_go():
    everywhere = MIGRATE.replace("{BTC@exchange: 2}", "2")
    with pytest.raises(
        ConfigError, match=r"x.participation: nowhere to migrate to for 'exchange_l"
    ):
        books("smoke.yaml", f"policies.x={{{everywhere}}}")
    loops = "leverage: {repledge: false}, participation: {kind: migrate, share: 1}"
    with pytest.raises(ConfigError, match="nowhere to migrate to for 'usde_loops', which gives up"):
        books("smoke.yaml", f"policies.x={{{loops}}}")


REFUSED = {
    "participation: {kind: migrate}": "no share with `migrate`",
    "participation: {share: 10%}": "a share with `rescale`",
    "participation: {kind: hold, upward: true}": "upward with `hold`",
    "leverage: {repledge: false, loop_cap: 2}": "repledge: false with a loop_cap",
    "leverage: {repledge: false}, participation: {kind: hold}": "a leverage cap with participation",
    "leverage: {maintenance: {USDe: 1%}}": "maintenance of 'USDe', which no perp",
    "collateral: {USDe: {admitted: false, haircut: 5%}}": "admitted: false with haircut",
}


@pytest.mark.parametrize("text", REFUSED)
def test_levers_without_effect_are_refused(text):
    with pytest.raises(ConfigError, match=f"policies.x.*{REFUSED[text]}"):
        books("smoke.yaml", f"policies.x={{{text}}}")


def test_a_venue_lists_what_it_admits():
    with pytest.raises(ConfigError, match=r"collateral\.USDe\.admitted: whether 'USDe' is adm"):
        books("smoke.yaml", "scenario.venues.exchange.collateral.USDe={admitted: false}")
