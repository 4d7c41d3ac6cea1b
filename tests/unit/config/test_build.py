"""Arrays by hand, from a world small enough to compute on paper."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deleverage.config import build, load_config
from deleverage.errors import ConfigError
from deleverage.world import INFINITE_DEPTH

CONFIGS = Path(__file__).parents[3] / "configs"
SMOKE = CONFIGS / "smoke.yaml"


@pytest.fixture(scope="module")
def smoke():
    return build(load_config(SMOKE))


def test_labels_stand_in_the_order_of_the_config(smoke):
    assert smoke.labels["policy"] == ["baseline", "redemption_index", "no_parity"]
    assert smoke.labels["index"] == ["exchange/BTC", "exchange/USDe", "others/BTC"]
    assert smoke.labels["peg"] == ["exchange/USDe", "others/USDe"]
    assert smoke.labels["market"][1] == "exchange/BTC/perp"
    assert smoke.start.isoformat() == "2025-10-10T20:50:00+00:00"


def test_every_leaf_is_float64_and_ends_in_the_policy_axis(smoke):
    import jax

    for leaf in jax.tree.leaves(smoke.policy):
        assert leaf.dtype == np.float64
        assert leaf.shape[-1] == 3
        assert np.isfinite(leaf).all()


def test_a_perp_book_by_hand(smoke):
    books = smoke.policy.books
    longs = books.position[0, 0, :, 0]
    np.testing.assert_allclose(longs, 1000.0)  # 4bn over four buckets of equal notional
    # Quantiles 1/8, 3/8, 5/8, 7/8 of a lognormal with median 10 and sigma 0.6.
    leverage = 10 * np.exp(
        0.6 * np.array([-1.1503493804, -0.3186393640, 0.3186393640, 1.1503493804])
    )
    own = longs / leverage
    np.testing.assert_allclose(books.cash[0, :, 0], own / 2)
    np.testing.assert_allclose(books.collateral[0, 0, :, 0], own / 2)
    np.testing.assert_allclose(books.budget[0, :, 0], own / 10)
    np.testing.assert_allclose(books.accounts[0, :, 0], 1000 / 0.05)


def test_a_loan_book_by_hand(smoke):
    books = smoke.policy.books
    own = 100 / 3  # in each of three buckets, at leverage 2, 3, 4
    np.testing.assert_allclose(books.collateral[0, 4, :, 0], own * np.array([2, 3, 4, 0]))
    np.testing.assert_allclose(books.cash[4, :, 0], -own * np.array([1, 2, 3, 0]))


def test_matched_shorts_take_their_share_and_makers_the_rest(smoke):
    sums = smoke.policy.books.position[0, ..., 0].sum(axis=1)
    np.testing.assert_allclose(sums, [4000, -3800, 2000, -2000, 0])
    assert smoke.account["positions"]["exchange/BTC/perp"]["market_makers"] == pytest.approx(-200)


def test_a_hedged_book_and_entry_prices_by_hand():
    text = (
        "scenario.books.carry={kind: hedged, venue: exchange, asset: BTC, open_interest: 100M, "
        "leverage: 2, entry: 1.1}"
    )
    accept = "scenario.venues.exchange.collateral.BTC={haircut: 5%}"
    built = build(load_config(SMOKE, [text, accept]))
    books = built.policy.books
    assert built.world.layout.books[5].hedged
    assert books.position[0, 5, 0, 0] == -100
    assert books.collateral[0, 5, 0, 0] == 100
    assert books.entry[0, 5, 0, 0] == 1.1
    # Own funds 50 at starting prices: 100 of spot, 50 of debt, less the short's profit of 10.
    assert books.cash[5, 0, 0] == pytest.approx(-60)


def test_tiers_meet_where_they_change(smoke):
    rate = smoke.policy.margin.rate[0, :, 0, 0, 0]
    deduction = smoke.policy.margin.deduction[0, :, 0, 0, 0]
    np.testing.assert_allclose(rate, [0.005, 0.01])
    np.testing.assert_allclose(deduction, [0, 0.005])  # both lines give 0.005 at 1 million USD


def test_falling_ratios_by_hand():
    text = "policies.x={collateral: {USDe: {tiers: [[0, 1], [200k, 80%], [1M, 50%]]}}}"
    margin = build(load_config(SMOKE, [text])).policy.margin
    ratio, addition = margin.ratio[0, :, 0, 0, 3], margin.addition[0, :, 0, 0, 3]
    np.testing.assert_allclose(ratio, [1, 0.8, 0.5])
    value = np.array([0.1, 0.2, 0.6, 1.0, 2.0])[:, None]
    credit = (ratio * value + addition).min(axis=1)
    np.testing.assert_allclose(credit, [0.1, 0.2, 0.52, 0.84, 1.34])


def test_diffusion_has_the_configured_volatility():
    text = "scenario.assets.ETH={kind: risk, volatility: 80%, market_correlation: 60%}"
    built = build(load_config(SMOKE, [text]))
    covariance = built.world.loading @ built.world.loading.T * 365 * 24 * 60
    # Assets USDT, BTC, USDe, ETH; BTC moves with the common factor alone.
    assert covariance[1, 1] == pytest.approx(0.6**2)
    assert covariance[3, 3] == pytest.approx(0.8**2)
    assert covariance[1, 3] == pytest.approx(0.6 * 0.6 * 0.8)
    assert not covariance[[0, 2]].any()


def test_a_pegged_asset_moves_with_its_anchor():
    world = build(load_config(CONFIGS / "oct10.yaml")).world
    assets = world.layout.assets
    row = world.anchor[assets.index("WBETH")]
    assert row[assets.index("ETH")] == 1
    assert row.sum() == 1


def test_index_weights_by_hand():
    built = build(load_config(CONFIGS / "oct10.yaml"))
    entry = built.labels["index"].index("exchange/WBETH")
    sources = [built.labels["market"][m] for m in built.world.layout.indices[entry].sources]
    assert sources == ["exchange/WBETH/spot", "exchange/WBETH-ETH/spot"]
    rules, policies = built.policy.index, built.labels["policy"]
    np.testing.assert_allclose(rules.weight[:, entry, 0], [0.2, 0.8])
    anchored = policies.index("anchored_staked")
    np.testing.assert_allclose(rules.weight[:, entry, anchored], 0)
    assert rules.redemption_weight[entry, anchored] == 1
    total = rules.weight.sum(axis=0) + rules.reference_weight + rules.redemption_weight
    np.testing.assert_allclose(total, 1)
    usde, half = (
        built.labels["index"].index("exchange/USDe"),
        policies.index("redemption_and_floor"),
    )
    assert rules.redemption_weight[usde, half] == 0.5
    assert rules.weight[0, usde, half] == 0.5
    assert rules.floor[usde, half] == 0.97


def test_smoothing_is_a_half_life():
    built = build(load_config(SMOKE, ["policies.x={index: {USDe: {smoothing: 1m}}}"]))
    assert built.policy.index.smoothing[1, 3] == pytest.approx(1 - 2**-0.5)
    assert built.policy.index.smoothing[1, 0] == 1


def test_an_index_reads_named_venues():
    rule = "{from: {others: 60%}, redemption: 10%}"
    built = build(load_config(SMOKE, [f"policies.x={{index: {{USDe@exchange: {rule}}}}}"]))
    entry = built.labels["index"].index("exchange/USDe")
    sources = [built.labels["market"][m] for m in built.world.layout.indices[entry].sources]
    assert sources == ["exchange/USDe/spot", "others/USDe/spot"]
    np.testing.assert_allclose(built.policy.index.weight[:, entry, 3], [0.3, 0.6])
    np.testing.assert_allclose(built.policy.index.weight[:, entry, 0], [1, 0])
    assert built.policy.index.redemption_weight[entry, 3] == 0.1
    assert built.policy_coords["index.USDe@exchange.from.others"][3] == 0.6


def test_futures_and_loans_may_go_by_different_indices():
    rule = "{floor: 90%, loans: {floor: 97%, reference: 1}}"
    built = build(load_config(SMOKE, [f"policies.x={{index: {{USDe: {rule}}}}}"]))
    assert built.labels["index"] == [
        *("exchange/BTC", "exchange/USDe/futures", "exchange/USDe/loans", "others/BTC"),
    ]
    layout, index = built.world.layout, built.policy.index
    kinds = {built.labels["index"][book.collateral[0]] for book in layout.books if book.is_loan}
    assert kinds == {"exchange/USDe/loans"}
    held = {built.labels["index"][i] for b in layout.books if not b.is_loan for i in b.collateral}
    assert held == {"exchange/USDe/futures"}
    assert index.floor[1:3, 3].tolist() == [0.9, 0.97]
    assert index.floor[1:3, 0].tolist() == [0, 0]  # the baseline has one rule for both
    assert index.reference_weight[1:3, 3].tolist() == [0, 1]
    np.testing.assert_array_equal(index.weight[:, 1, :3], index.weight[:, 2, :3])
    # what is pledged on the venue is one pool, whatever it is valued on
    plain = build(load_config(SMOKE))
    assert built.account["pledged"] == plain.account["pledged"]


def test_one_cap_for_what_is_pledged_for_futures_and_loans():
    cap, split = "collateral: {USDe: {cap: 100M}}", "index: {USDe: {loans: {floor: 97%}}}"
    whole = build(load_config(SMOKE, [f"policies.x={{{cap}}}"])).policy.margin
    apart = build(load_config(SMOKE, [f"policies.x={{{cap}, {split}}}"])).policy.margin
    np.testing.assert_allclose(apart.ratio, whole.ratio)


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("{USDe: {from: {other: 1}}}", "the venue 'other' is unknown; .*did you mean 'others'"),
        ("{USDe: {from: {others/USDe-BTC: 1}}}", "'others' has no spot book of 'USDe-BTC' to read"),
        ("{USDe: {from: {others: 1}, own: 50%}}", "weights that sum to 1.5; .*from"),
        ("{BTC: {loans: {smoothing: 1m}}}", "an index of 'BTC' for loans, which nothing there"),
        ("{USDe: {loans: {loans: {}}}}", "the key 'loans' is unknown"),
        ("{USDe: {form: {others: 1}}}", "the key 'form' is unknown; .*did you mean `from`"),
    ],
)
def test_indices_that_cannot_be_are_refused(rule, said):
    with pytest.raises(ConfigError, match=said):
        load_config(SMOKE, [f"policies.x={{index: {rule}}}"])


def test_keys_that_are_words_of_python_are_written_back(tmp_path):
    text = "policies.x={index: {USDe: {from: {others: 1}, loans: {floor: 97%}}}}"
    config = load_config(SMOKE, [text])
    again = tmp_path / "again.yaml"
    again.write_text(config.resolved_yaml())
    assert load_config(again).policy_hashes() == config.policy_hashes()


def test_limited_moves_and_late_redemption_prices():
    rule = "{redemption: 50%, delay: 2m, move_limit: 1%}"
    built = build(load_config(SMOKE, [f"policies.x={{index: {{USDe: {rule}}}}}"]))
    assert built.policy.index.delay[1].tolist() == [0, 0, 0, 4]
    assert built.policy.index.move_limit[1].tolist() == [1e30, 1e30, 1e30, 0.01]
    assert built.world.layout.delay_steps == 4
    plain = build(load_config(SMOKE)).policy.index
    assert plain.delay is None
    assert plain.move_limit is None


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("{delay: 2m}", "a delay of the redemption price of 'USDe' .* which nothing uses"),
        ("{redemption: 1, delay: 20s}", "a delay of 0.333333m in steps of 0.5m; .*whole steps"),
    ],
)
def test_a_delay_that_cannot_be_kept_is_refused(rule, said):
    with pytest.raises(ConfigError, match=said):
        build(load_config(SMOKE, [f"policies.x={{index: {{USDe: {rule}}}}}"]))


def test_depths_and_what_stands_for_none():
    built = build(load_config(CONFIGS / "limits" / "bad_debt.yaml"))
    assert built.policy.impact.depth[0, 0] == INFINITE_DEPTH
    assert built.policy.healing.resilience_half_life[0, 0] == 1e30
    built = build(load_config(SMOKE, ["policies.x={scenario: {depth_factor: {BTC@others: 2}}}"]))
    np.testing.assert_allclose(built.policy.impact.depth[:, 3], [5e3, 15e3, 2e3, 8e3, 2e4, 2e3])


def test_policies_of_another_kind_are_another_program():
    text = "policies.x={liquidation: {by_venue: {others: {kind: target, target: 2}}}}"
    built = build(load_config(SMOKE, [text, "policies.y={}"]))
    assert [group[2] for group in built.groups] == [[0, 1, 2, 4], [3]]
    (first, batch, *_), (second, single, *_) = built.groups
    assert [book.target for book in second.layout.books] == [False, False, True, True, False]
    plain = tuple(replace(book, target=False) for book in second.layout.books)
    assert replace(second.layout, books=plain) == first.layout
    assert batch.books.cash.shape[-1] == 4
    assert single.liquidation.target[:, 0, 0].tolist() == [1.5, 1.5, 2, 2, 1.5]


def test_the_same_rules_are_the_same_layout(smoke):
    assert len(smoke.groups) == 1
    world, policy, places, own = smoke.groups[0]
    assert own is None
    assert world.layout == smoke.world.layout
    assert hash(world.layout) == hash(smoke.world.layout)
    assert places == [0, 1, 2]
    np.testing.assert_array_equal(policy.books.cash, smoke.policy.books.cash)


def test_due_at_start():
    built = build(load_config(CONFIGS / "limits" / "slicing.yaml"))
    assert built.policy.reporting.due_at_start.tolist() == [1, 1]
    # The index is 0.65 from the start; what it would take to be due is a move of A as well.
    built = build(load_config(CONFIGS / "limits" / "index_algebra.yaml"))
    assert not built.policy.reporting.due_at_start.any()
    deeper = ["scenario.markets.v/P/spot.displacement=1.8"]
    built = build(load_config(CONFIGS / "limits" / "index_algebra.yaml", deeper))
    assert built.policy.reporting.due_at_start.tolist() == [1, 0, 0, 0, 0]


@pytest.mark.parametrize(("kind", "due"), [("index", False), ("median", True), ("last", True)])
def test_marks_at_the_start_know_the_price_that_the_perp_starts_at(kind, due):
    # half of its fair price, which is the index: ten times levered longs have lost all they had
    low = "scenario.markets.exchange/BTC/perp.displacement=69%"
    config = load_config(SMOKE, [low, f"scenario.venues.exchange.mark={{kind: {kind}}}"])
    assert build(config).policy.reporting.due_at_start.any() == due


def test_levers_that_vary_are_coordinates(smoke):
    assert set(smoke.policy_coords) == {
        "index.USDe.redemption",
        "index.USDe.floor",
        "collateral.USDe.parity",
    }
    np.testing.assert_array_equal(smoke.policy_coords["index.USDe.floor"], [np.nan, 0.97, np.nan])
