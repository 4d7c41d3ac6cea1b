"""Keys of the scenario that change nothing under any policy are refused, each in one sentence."""

import re
from pathlib import Path

import pytest

from deleverage.config import load_config
from deleverage.errors import ConfigError

SMOKE = Path(__file__).parents[3] / "configs/smoke.yaml"
VENUE = "scenario.venues.exchange"
OTHERS = "scenario.venues.others"
LONE = (
    "scenario.assets.LONE={kind: risk}",
    "scenario.markets.exchange/LONE/spot={depth_1pct: 1M}",
)
UNTRADED = "scenario.assets.X={kind: pegged, anchor: USDT"
EMPTY = "scenario.venues.empty={}"
NO_LOOPS = (
    "scenario.books.usde_loops={kind: perp, venue: others, perps: BTC, open_interest: 1M,"
    " leverage: 5}"
)
NO_COLLATERAL = (
    "policies={baseline: {}}",
    NO_LOOPS,
    "scenario.books.exchange_longs.collateral=USDT",
    f"{VENUE}.liquidation.collateral_fee=0",
)
NO_TOP_UPS = (f"{VENUE}.top_up={{}}", "scenario.books.exchange_longs.top_up_budget=0")
NO_MACRO = "scenario.shocks.macro={severity: {kind: fixed, value: 5%}}"
NO_SHOCKS = "scenario.shocks={}"
SPOT_ONLY = (
    f"{EMPTY[:-2]}{{collateral: {{BTC: {{haircut: 5%}}}}}}",
    "scenario.markets.empty/BTC/spot={depth_1pct: 1M}",
    "scenario.books.coins={kind: loan, venue: empty, collateral: BTC, own_funds: 1M, leverage: 2}",
)
A_BOOK = (
    f"{EMPTY[:-2]}{{maintenance: {{BTC: 1%}}}}",
    "scenario.markets.empty/BTC/perp={depth_1pct: 1M}",
    "scenario.markets.empty/BTC/spot={depth_1pct: 1M}",
    "scenario.books.more={kind: perp, venue: empty, perps: BTC, open_interest: 1M, leverage: 5}",
    "scenario.makers.max_share=100%",
)

# what is written beside the rest of the smoke config; what of the sentence; with what it is fine
CASES = {
    # venues
    "mark": ((*SPOT_ONLY, "scenario.venues.empty.mark.kind=last"), "a mark on 'empty'", ()),
    "basis_half_life of a mark": (
        (f"{OTHERS}.mark.basis_half_life=1m",),
        "a basis_half_life of marks that are of kind `index`.*write `kind: median`",
        ("policies.x.mark.others.kind=median",),
    ),
    "basis_half_life": (
        (*SPOT_ONLY, "scenario.venues.empty.basis_half_life=1m"),
        "a basis_half_life of 'empty', where no asset has a spot and a perp book",
        ("scenario.markets.empty/BTC/perp={depth_1pct: 1M}",),
    ),
    "clamp without a reference": (
        (*LONE, f"{VENUE}.index.LONE={{own: 1, clamp: 1%}}"),
        "a clamp of 'LONE' on 'exchange', whose index is its reference or has none",
        ("scenario.markets.others/LONE/spot={depth_1pct: 1M}",),
    ),
    "clamp of the reference": (
        (f"{VENUE}.index.BTC.clamp=1%",),
        "a clamp of 'BTC' on 'exchange', whose index is its reference or has none",
        ("policies.x.index.BTC.own=1",),
    ),
    "clamp of the reference that glitches": (
        (f"{VENUE}.index.BTC.futures.clamp=1%",),
        "exchange.index.BTC.futures.clamp: a clamp of 'BTC'",
        (
            "policies.x.scenario.shocks.glitches=[{venue: exchange, factor: 0.9, start: 0m,"
            " length: 1m}]",
        ),
    ),
    "component_clamp": (
        (f"{OTHERS}.index.USDe={{redemption: 1, component_clamp: 1%}}",),
        "a component_clamp of 'USDe' on 'others', whose index is its reference or has none",
        ("policies.x.index.USDe@others.own=1",),
    ),
    "maintenance": (
        (*LONE, f"{VENUE}.maintenance.LONE=1%"),
        "maintenance of 'LONE' on 'exchange', which no perp there is written on",
        None,
    ),
    "leverage.cap": (
        (*LONE, f"{VENUE}.leverage.cap.LONE=3"),
        "a leverage cap of 'LONE' on 'exchange', of which nobody holds a perp there",
        None,
    ),
    "loop_cap": (
        (f"{OTHERS}.leverage.loop_cap=3",),
        "a loop_cap on 'others', where no book is a loop",
        None,
    ),
    "top_up.warn": (
        (f"{OTHERS}.top_up.warn=1.5",),
        "a warn of top-ups on 'others' without a rate",
        (f"{OTHERS}.top_up.rate=0",),
    ),
    "top_up.rate without a warn": (
        (f"{OTHERS}.top_up.rate=5%", "scenario.books.others_longs.top_up_budget=10%"),
        "a rate of top-ups on 'others' without a warn",
        (f"{OTHERS}.top_up.warn=1",),
    ),
    "top_up.rate": (
        (f"{OTHERS}.top_up={{rate: 5%, warn: 2}}",),
        "a rate of top-ups on 'others', where no book has a top_up_budget",
        ("scenario.books.others_longs.top_up_budget=10%",),
    ),
    "target": (
        (f"{OTHERS}.liquidation.target=2",),
        "a target on 'others' where nothing is liquidated to a target",
        ("policies.x.liquidation.kind=target",),
    ),
    "fee": (
        (*SPOT_ONLY, "scenario.venues.empty.liquidation.fee=1%"),
        "a fee on 'empty' where nobody holds a perp",
        None,
    ),
    "collateral_fee": (
        (f"{OTHERS}.liquidation.collateral_fee=1%",),
        "a collateral_fee on 'others' where nothing is pledged",
        None,
    ),
    "backstop_discount": (
        (f"{VENUE}.liquidation.backstop_discount=1%",),
        "a backstop_discount on 'exchange' where nothing is sold to a backstop",
        ("policies.x.liquidation={collateral_sale: backstop, backstop_capacity: 1M}",),
    ),
    "backstop_capacity": (
        (f"{VENUE}.liquidation.backstop_capacity=1M",),
        "a backstop_capacity on 'exchange' where nothing is sold to a backstop",
        ("policies.x.liquidation.collateral_sale=backstop",),
    ),
    "pause_pegged_while_shut": (
        (f"{VENUE}.liquidation.pause_pegged_while_shut=true", NO_SHOCKS),
        "a pause_pegged_while_shut on 'exchange' where .* no outage shuts the gate",
        (
            "policies.x.scenario.shocks.outages=[{kind: scheduled, venue: exchange, start: 1m,"
            " length: 1m}]",
        ),
    ),
    "collateral_sale": (
        (*NO_COLLATERAL, f"{VENUE}.liquidation.collateral_sale.USDe=spread"),
        "sales of 'USDe' on 'exchange', which no book pledges there",
        ("policies.x.scenario.books.exchange_longs.collateral=USDe",),
    ),
    "circuit_breaker": (
        (
            *LONE,
            f"{VENUE}.index.LONE={{own: 1}}",
            f"{VENUE}.liquidation.circuit_breaker.LONE={{trigger: 5%, window: 1m, halt: 1m}}",
        ),
        "a circuit breaker of 'LONE' on 'exchange', which no book holds there",
        None,
    ),
    "adl": (
        (*SPOT_ONLY, "scenario.venues.empty.backstop.adl=true"),
        "auto-deleveraging on 'empty', where nobody holds a perp",
        None,
    ),
    **{
        f"{part} of an empty venue": (
            (EMPTY, f"scenario.venues.empty.{part}={value}"),
            f"{part} of 'empty', where no book is.*add a book there",
            (*A_BOOK, f"scenario.venues.empty.{part}={value}"),
        )
        for part, value in {
            "liquidation": "{pace: 50%}",
            "backstop": "{fund: 1M}",
            "loan_maintenance": "1%",
            "feed_cap": "1M",
        }.items()
    },
    # assets
    "market_correlation": (
        ("scenario.assets.ETH={kind: risk, market_correlation: 50%}",),
        "a market_correlation of 'ETH', which has no volatility",
        ("scenario.assets.ETH.volatility=0",),
    ),
    "arbitrage": (
        (*LONE, "scenario.assets.LONE.arbitrage={half_life: 1m, capital: 1M}"),
        "arbitrage of 'LONE', which has no spot books in USD on two venues",
        ("scenario.markets.others/LONE/spot={depth_1pct: 1M}",),
    ),
    "redemption_capacity": (
        (f"{UNTRADED}, redemption_capacity: 1M}}",),
        "a redemption_capacity of 'X', which has no spot book",
        ("scenario.markets.others/X/spot={depth_1pct: 1M}",),
    ),
    "backing": (
        ("scenario.assets.USDe.issuer={supply: 1bn, backing: 101%}",),
        "a backing of 'USDe' that nothing takes away",
        (
            "policies.x.scenario.shocks.backing=[{kind: scheduled, asset: USDe, share: 5%,"
            " start: 0m}]",
        ),
    ),
    "run": (
        (f"{UNTRADED}, issuer: {{supply: 1M, run: {{float_share: 1, rate: 1}}}}}}",),
        "a run on 'X', which has no spot book",
        ("scenario.markets.others/X/spot={depth_1pct: 1M}",),
    ),
    # books and markets
    "top_up_budget": (
        ("scenario.books.others_longs.top_up_budget=10%",),
        "a top_up_budget of 'others_longs' on 'others', where nobody tops up",
        (f"{OTHERS}.top_up.rate=0",),
    ),
    "match_share": (
        ("scenario.books.others_longs.match_share=90%",),
        "a match_share of 'others_longs', whose open interest is given",
        None,
    ),
    "sensitivity": (
        (NO_SHOCKS, "scenario.markets.others/BTC/spot.sensitivity=50%"),
        "a sensitivity of 'others/BTC/spot' to a liquidity drop that there is not",
        ("scenario.shocks.liquidity={}",),
    ),
    # shocks
    **{
        f"{field} without loadings": (
            (NO_MACRO, f"scenario.shocks.macro.{field}={value}"),
            f"a {field} of a macro shock that moves no asset",
            ("policies.x.scenario.shocks.macro.loadings.BTC=1",),
        )
        for field, value in {
            "duration": "1m",
            "profile": "[[0m, 50%], [1m, 100%]]",
            "rebound": "{share: 10%}",
        }.items()
    },
    "rebound.delay": (
        ("scenario.shocks.macro.rebound.delay=1m",),
        "a delay of a rebound without a share",
        ("scenario.shocks.macro.rebound.share=0",),
    ),
    "volatility.half_life": (
        (NO_MACRO, "scenario.shocks.macro.volatility.half_life=5m"),
        "a half_life of a burst of volatility without a multiplier",
        ("scenario.shocks.macro.volatility.multiplier=1",),
    ),
    "volatility.multiplier": (
        ("scenario.assets.BTC={kind: risk}",),
        "a multiplier of volatility where no asset has any",
        ("policies.x.scenario.assets.BTC.volatility=50%",),
    ),
    "liquidity.hold": (
        ("scenario.shocks.liquidity={hold: 5m}",),
        "a hold of a liquidity drop without a size",
        ("policies.x.scenario.shocks.liquidity.highest=50%",),
    ),
    "merton": (
        ("scenario.shocks.merton={rate: 0.1, mean: 0, deviation: 1%, loadings: {}}",),
        "jumps that move no asset",
        ("scenario.shocks.merton.loadings.BTC=1",),
    ),
    "outages": (
        (EMPTY, "scenario.shocks.outages=[{kind: scheduled, venue: empty, start: 0m, length: 1m}]"),
        "an outage of 'empty', where nothing needs transfers",
        ("scenario.markets.empty/USDe/spot={depth_1pct: 1M}",),
    ),
    "load outages": (
        (
            EMPTY,
            "scenario.markets.empty/BTC/spot={depth_1pct: 1M}",
            "scenario.shocks.outages=[{kind: load, venue: empty, threshold: 1M, rate: 1,"
            " length: 1m}]",
        ),
        "an outage of 'empty' by its load, where no book is that could be liquidated",
        A_BOOK,
    ),
    "halts": (
        (EMPTY, "scenario.shocks.halts=[{kind: scheduled, venue: empty, start: 0m, length: 1m}]"),
        "a halt of the engine of 'empty', where no book is",
        A_BOOK,
    ),
    "congestions": (
        (
            "scenario.assets.BTC.arbitrage=null",
            "scenario.assets.USDe.arbitrage=null",
            "scenario.assets.USDe.redemption_capacity=0",
            NO_SHOCKS,
            "scenario.shocks.congestions=[{kind: scheduled, start: 0m, length: 1m, left: 10%}]",
        ),
        "a congestion where nothing is redeemed or moved between venues",
        ("policies.x.issuer.USDe.capacity=1M",),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_key_that_changes_nothing_is_refused(case):
    texts, sentence, _ = CASES[case]
    with pytest.raises(ConfigError) as refused:
        load_config(SMOKE, texts)
    assert re.search(sentence, str(refused.value)), str(refused.value)
    assert str(refused.value).count("\n") == 0


@pytest.mark.parametrize("case", [case for case, (_, _, cure) in CASES.items() if cure])
def test_it_is_not_where_something_hangs_on_it(case):
    texts, _, cure = CASES[case]
    load_config(SMOKE, [*texts, *cure])


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        (
            "{venues: {others: {top_up: {warn: 2}}}}",
            "x.scenario.venues.others.top_up.warn: a warn of top-ups on 'others' without a rate",
        ),
        ("{venues: {others: {liquidation: {target: 2}}}}", "a target on 'others' where nothing"),
        (
            "{assets: {BTC: {arbitrage: null}, USDe: {arbitrage: null, redemption_capacity: 0}},"
            " shocks: {congestions: [{kind: scheduled, start: 0m, length: 1m, left: 0}]}}",
            "x.scenario.shocks.congestions: a congestion where nothing",
        ),
    ],
)
def test_what_an_override_writes_itself_must_change_something(override, sentence):
    with pytest.raises(ConfigError, match=sentence):
        load_config(SMOKE, [f"policies.x.scenario={override}"])


@pytest.mark.parametrize(
    "override",
    [
        "{shocks: {macro: {loadings: null}}}",  # which leaves a duration idle
        "{venues: {exchange: {top_up: {rate: 0}}}}",
        "{venues: {others: {liquidation: {kind: target, target: 2}}}}",
    ],
)
def test_what_an_override_leaves_idle_of_the_scenario_may_stay(override):
    load_config(SMOKE, [f"policies.x.scenario={override}"])


def test_what_a_config_writes_out_can_be_read_though_much_of_it_is_off(tmp_path):
    config = load_config(SMOKE, [NO_SHOCKS, *NO_TOP_UPS])
    (tmp_path / "config.yaml").write_text(config.resolved_yaml())
    assert load_config(tmp_path / "config.yaml").identity() == config.identity()
