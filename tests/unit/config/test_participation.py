"""Positions answer to rules: MODEL.md section 3."""

from pathlib import Path

import numpy as np
import pytest

from deleverage.config import build, load_config

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
