"""A factor on depth is the scenario with the depths that it makes, however they are written."""

from pathlib import Path

import jax
import numpy as np
import pytest

from deleverage.config import build, load_config
from deleverage.errors import ConfigError
from deleverage.world import INFINITE_DEPTH

CONFIGS = Path(__file__).parents[3] / "configs"
SMOKE = CONFIGS / "smoke.yaml"
PROFILE = "{kind: profile, preset: btc_average_venue_2025_10, scale: %g}"
WORLD = [
    # two venues for medians of the others to weigh, two pairs to split sales and own weights over
    "scenario.venues.third={}",
    "scenario.markets.third/BTC/spot={depth_1pct: 11M}",
    "scenario.markets.third/USDe/spot={depth_1pct: 13M}",
    "scenario.markets.exchange/USDe-BTC/spot={depth: 700M}",
    "scenario.markets.others/BTC/spot={depth_1pct: 41M, impact: {kind: sqrt, reach: 2%}}",
    f"scenario.markets.exchange/BTC/perp={{impact: {PROFILE % 1}}}",
    "scenario.venues.exchange.index.USDe={own: 50%, others: 50%}",
]
RULES = (
    "collateral: {USDe@exchange: {cap: {depth_multiple: 2}}}, "
    "liquidation: {by_venue: {exchange: {collateral_sale: spread}}}"
)
SPELLINGS = {
    "{USDe@exchange: 0.1}": "exchange/USDe/spot: {depth_1pct: 2M}, "
    "exchange/USDe-BTC/spot: {depth: 70M}",
    "{BTC: 3, BTC@others: 5}": "exchange/BTC/spot: {depth_1pct: 150M}, "
    f"exchange/BTC/perp: {{impact: {PROFILE % 3}}}, others/BTC/spot: {{depth_1pct: 205M}}, "
    "others/BTC/perp: {depth_1pct: 500M}, third/BTC/spot: {depth_1pct: 33M}",
}


def entries(*policies, world=WORLD):
    """The config of smoke's baseline and other policies, and what it amounts to."""
    listed = ", ".join(["baseline: {}", *policies])
    config = load_config(SMOKE, [*world, f"policies={{{listed}}}"])
    return config, build(config)


@pytest.mark.parametrize("factor", SPELLINGS)
def test_a_factor_on_depth_is_the_world_with_those_depths_written(factor):
    config, built = entries(
        f"factor: {{scenario: {{depth_factor: {factor}}}, {RULES}}}",
        f"written: {{scenario: {{markets: {{{SPELLINGS[factor]}}}}}, {RULES}}}",
        f"without: {{{RULES}}}",
    )
    (group,) = [group for group in built.groups if 1 in group[2]]
    assert 2 in group[2]  # one layout: shares of sales and of reference books
    one, other = (list(group[2]).index(place) for place in (1, 2))
    for leaf in jax.tree.leaves(group[1]):
        np.testing.assert_array_equal(leaf[..., one], leaf[..., other])
    for values in built.policy_variables.values():
        assert values[1] == values[2]
    hashes = config.policy_hashes()
    assert hashes["factor"] == hashes["written"] != hashes["without"]


def test_a_cap_by_depth_goes_by_the_depth_that_is_there():
    _, built = entries(
        f"tenth: {{scenario: {{depth_factor: {{USDe@exchange: 0.1}}}}, {RULES}}}",
        f"whole: {{{RULES}}}",
        world=(),
    )
    for place, within in {1: 2.0, 2: 20.0}.items():  # USD millions within 1%
        (group,) = [group for group in built.groups if place in group[2]]
        lane = list(group[2]).index(place)
        pledged = group[1].books.collateral[..., lane].sum(axis=-1)  # [slot, book], all of it USDe
        credit = group[1].margin.ratio[:, 0, :, 0, lane] * pledged
        assert credit.sum() == pytest.approx(2 * within)


def test_books_that_are_all_deeper_by_a_factor_share_the_program():
    factors = [0.1, 0.3, 0.7, 1.0, 1.7, 3.0]
    policies = [f"x{n}: {{scenario: {{depth_factor: {by}}}}}" for n, by in enumerate(factors)]
    config, built = entries(*policies)
    ((_, policy, places, own),) = built.groups
    assert list(places) == list(range(7))
    assert own is None
    depth = policy.impact.depth
    np.testing.assert_allclose(depth[:, 1:], depth[:, :1] * np.array(factors), rtol=1e-15)
    (index,) = [i for i in built.world.layout.indices if len(i.reference_shares) > 1][:1]
    assert sum(index.reference_shares) == pytest.approx(1.0, abs=1e-15)
    assert config.under("x3") is config


def test_a_book_without_impact_stays_so():
    infinite = "scenario.markets.exchange/BTC/spot={depth: infinite}"
    policy = "x: {scenario: {depth_factor: {BTC: 0.5}}}"
    _, built = entries(policy, world=[infinite])
    row = built.labels["market"].index("exchange/BTC/spot")
    assert built.policy.impact.depth[row].tolist() == [INFINITE_DEPTH, INFINITE_DEPTH]
    with pytest.raises(ConfigError, match=r"the depth of 'BTC@exchange', .* of finite depth"):
        entries(
            "x: {scenario: {depth_factor: {BTC@exchange: 0.5}}}",
            world=[infinite, "scenario.markets.exchange/BTC/perp={depth: infinite}"],
        )


def test_the_baseline_is_the_scenario_with_its_own_depths():
    with pytest.raises(ConfigError, match="the baseline overrides the scenario"):
        load_config(SMOKE, ["policies.baseline={scenario: {depth_factor: 2}}"])
