"""Every lever changes what is built, and one that cannot is refused."""

import dataclasses
import re
from pathlib import Path

import jax
import numpy as np
import pytest

from deleverage.config import build, load_config
from deleverage.config.policies import PolicySpec
from deleverage.errors import ConfigError

SMOKE = Path(__file__).parents[3] / "configs" / "smoke.yaml"

# Where every lever has something to act on: an issuer with two hedges, loops on both venues, and
# a perp of the second venue that nobody but its owners would migrate to.
PERP = "depth_1pct: 50M, resilience_half_life: 5m"
CARRY = "kind: hedged, asset: BTC, issuer: USDe, open_interest: 50M, leverage: 0.5"
WORLD = (
    "policies={baseline: {}}",
    "scenario.assets.USDe.issuer={supply: 1bn, backing: 101%, reserve_share: 20%}",
    "scenario.venues.exchange.collateral.BTC={haircut: 5%}",
    "scenario.venues.others.collateral.BTC={haircut: 5%}",
    f"scenario.books.carry={{venue: exchange, {CARRY}}}",
    f"scenario.books.carry_elsewhere={{venue: others, {CARRY}}}",
    "scenario.makers.max_share=100%",
)
DYNAMIC = "{review: 2m, reference: 20%, cap: 50%}"
BREAKER = "{trigger: 5%, window: 1m, halt: 1m}"

# lever: two values that differ, each written in all it needs to mean something
LEVERS = {
    "collateral": ("{USDe: {haircut: 20%}}", "{USDe: {haircut: 30%}}"),
    "collateral.tiers": ("{USDe: {tiers: [[0, 90%], [1M, 50%]]}}", "{USDe: {tiers: [[0, 90%]]}}"),
    "collateral.table": (
        "{USDe: {table: binance_collateral_ratio, schedule: asset_class_7}}",
        "{USDe: {table: binance_collateral_ratio, schedule: asset_class_9}}",
    ),
    "collateral.dynamic": (
        "{USDe: {parity: false}}",
        f"{{USDe: {{parity: false, dynamic: {DYNAMIC}}}}}",
    ),
    "collateral.parity": ("{USDe: {parity: true}}", "{USDe: {parity: false}}"),
    "collateral.cap": ("{USDe: {cap: 50M}}", "{USDe: {cap: {depth_multiple: 2}}}"),
    "collateral.admitted": ("{USDe: {admitted: true}}", "{USDe: {admitted: false}}"),
    "collateral.segregated": ("{USDe: {segregated: true}}", "{USDe: {segregated: false}}"),
    "index": ("{USDe: {own: 1}}", "{USDe: {own: 50%, reference: 50%}}"),
    "index.others": ("{USDe: {others: 10%}}", "{USDe: {others: 20%}}"),
    "index.equal": ("{USDe: {equal: 10%}}", "{USDe: {equal: 20%}}"),
    "index.from": ("{USDe: {from: {others: 10%}}}", "{USDe: {from: {others: 20%}}}"),
    "index.median": (
        "{USDe: {median: 10%, median_of: {exchange: 1}}}",
        "{USDe: {median: 20%, median_of: {exchange: 1}}}",
    ),
    "index.median_of": (
        "{USDe: {median: 10%, median_of: {exchange: 3, others: 2}}}",
        "{USDe: {median: 10%, median_of: {exchange: 2, others: 3}}}",
    ),
    "index.reference": ("{USDe: {reference: 10%}}", "{USDe: {reference: 20%}}"),
    "index.redemption": ("{USDe: {redemption: 10%}}", "{USDe: {redemption: 20%}}"),
    "index.floor": ("{USDe: {floor: 90%}}", "{USDe: {floor: 95%}}"),
    "index.clamp": ("{USDe: {clamp: 1%}}", "{USDe: {clamp: 2%}}"),
    "index.component_clamp": ("{USDe: {component_clamp: 1%}}", "{USDe: {component_clamp: 2%}}"),
    "index.smoothing": ("{USDe: {smoothing: 1m}}", "{USDe: {smoothing: 2m}}"),
    "index.move_limit": ("{USDe: {move_limit: 1%}}", "{USDe: {move_limit: 2%}}"),
    "index.delay": ("{USDe: {floor: 90%, delay: 1m}}", "{USDe: {floor: 90%, delay: 2m}}"),
    "index.hard_anchor": ("{USDe: {hard_anchor: true}}", "{USDe: {hard_anchor: false}}"),
    "index.futures": ("{USDe: {futures: {floor: 90%}}}", "{USDe: {futures: {floor: 95%}}}"),
    "index.loans": ("{USDe: {loans: {floor: 90%}}}", "{USDe: {loans: {floor: 95%}}}"),
    "index.preset": ("{BTC: {smoothing: 1m}}", "{BTC: {preset: okx_2023}}"),
    "mark": ("{exchange: {kind: last}}", "{exchange: {kind: index}}"),
    "mark.basis_half_life": (
        "{exchange: {basis_half_life: 1m}}",
        "{exchange: {basis_half_life: 2m}}",
    ),
    "mark.preset": (
        "{exchange: {preset: hyperliquid}}",
        "{exchange: {preset: binance_until_2025_09_18}}",
    ),
    "leverage.cap": ("{cap: 3}", "{cap: {BTC@others: 3}}"),
    "leverage.loop_cap": ("{loop_cap: 2}", "{loop_cap: 3}"),
    "leverage.repledge": ("{repledge: false}", "{repledge: true}"),
    "leverage.maintenance": ("{maintenance: {BTC: 1%}}", "{maintenance: {BTC: 2%}}"),
    "liquidation.kind": ("{kind: target}", "{kind: targeting}"),
    "liquidation.pace": ("{pace: 10%}", "{pace: 20%}"),
    "liquidation.target": ("{kind: target, target: 2}", "{kind: target, target: 3}"),
    "liquidation.fee": ("{fee: 1%}", "{fee: 2%}"),
    "liquidation.collateral_fee": ("{collateral_fee: 1%}", "{collateral_fee: 2%}"),
    "liquidation.collateral_sale": ("{collateral_sale: hold}", "{collateral_sale: redeem}"),
    "liquidation.backstop_discount": (
        "{collateral_sale: backstop, backstop_capacity: 1M, backstop_discount: 1%}",
        "{collateral_sale: backstop, backstop_capacity: 1M, backstop_discount: 2%}",
    ),
    "liquidation.backstop_capacity": (
        "{collateral_sale: backstop, backstop_capacity: 1M}",
        "{collateral_sale: backstop, backstop_capacity: 2M}",
    ),
    "liquidation.pause_pegged_while_shut": (
        "{pause_pegged_while_shut: true}",
        "{pause_pegged_while_shut: false}",
    ),
    "liquidation.circuit_breaker": (
        f"{{circuit_breaker: {BREAKER}}}",
        f"{{circuit_breaker: {{USDe: {BREAKER}}}}}",
    ),
    "liquidation.by_venue": ("{by_venue: {others: {pace: 1}}}", "{by_venue: {others: {pace: 2}}}"),
    "backstop.fund": ("{exchange: {fund: 1M}}", "{exchange: {fund: 2M}}"),
    "backstop.adl": ("{exchange: {adl: queue}}", "{exchange: {adl: pro_rata}}"),
    "backstop.vault": (
        "{exchange: {vault: {capacity: 10M, half_life: 5m}}}",
        "{exchange: {vault: {capacity: 20M, half_life: 5m}}}",
    ),
    "issuer.capacity": ("{USDe: {capacity: 1M}}", "{USDe: {capacity: 2M}}"),
    "issuer.reserve_share": ("{USDe: {reserve_share: 1%}}", "{USDe: {reserve_share: 2%}}"),
    "issuer.hedge": (
        "{USDe: {hedge: {exchange: 1}}}",
        "{USDe: {hedge: {exchange: 50%, others: 50%}}}",
    ),
    "marketing.uptake": ("{uptake: 50%}", "{uptake: 20%}"),
    "scenario.depth_factor": ("{depth_factor: 2}", "{depth_factor: {BTC: 2}}"),
}
BESIDE = {
    "collateral": {"haircut", "schedule"},  # tried under the bare name, and beside its table
    "index": {"own"},
    "mark": {"kind"},
    "leverage": {"margin"},  # of books with several perps: tests/unit/config/test_isolated.py
}


def built(lever, value):
    """What an entry with one lever amounts to."""
    part = lever.partition(".")[0]
    made = build(load_config(SMOKE, [*WORLD, f"policies.x.{part}={value}"]))
    world, policy, places, _ = next(group for group in made.groups if 1 in group[2])
    return world.layout, jax.tree.map(lambda leaf: leaf[..., places.index(1)], policy)


@pytest.mark.parametrize("lever", LEVERS)
def test_every_lever_bites(lever):
    (ours, policy), (theirs, other) = (built(lever, value) for value in LEVERS[lever])
    leaves, others = jax.tree.leaves(policy), jax.tree.leaves(other)
    same = len(leaves) == len(others) and all(map(np.array_equal, leaves, others))
    assert ours != theirs or not same


def test_every_lever_is_tried_above():
    tried = {tuple(lever.split(".")) for lever in LEVERS}
    for part, field in PolicySpec.model_fields.items():
        if part in ("participation", "scenario"):  # tests/unit/config/test_participation.py
            continue
        kind = next(iter(getattr(field.annotation, "__args__", [])[1:]), field.annotation)
        levers = {known.alias or name for name, known in kind.model_fields.items()}
        missing = levers - BESIDE.get(part, set()) - {rest for of, *(rest,) in pairs(tried, part)}
        assert not missing, (part, missing)


def pairs(tried, part):
    """Levers of a part that are tried under names of their own."""
    return [lever for lever in tried if lever[0] == part and len(lever) == 2]


REFUSED = {
    "leverage.cap={USDe: 3}": "a leverage cap of 'USDe', of which nobody holds a perp.*BTC@others",
    "mark={exchange: {preset: hyperliquid, kind: last}}": "preset: a preset of marks that are of",
    "liquidation.target=2": "a target where nothing is liquidated to a target.*`kind: target`",
    "liquidation={kind: targeting, target: 2}": "a target where nothing is liquidated",
    "liquidation.by_venue={others: {collateral_fee: 1%}}": "on 'others' where nothing is pledged",
    "liquidation.by_venue={others: {collateral_sale: hold}}": "sales of collateral on 'others'",
    "liquidation.by_venue={others: {backstop_discount: 1%}}": "backstop_discount on 'others' where",
    "liquidation.by_venue={others: {backstop_capacity: 1M}}": "backstop_capacity on 'others' where",
    f"liquidation.by_venue={{others: {{circuit_breaker: {{USDe: {BREAKER}}}}}}}": (
        "a circuit breaker of 'USDe' on 'others', which no book holds there"
    ),
    "index={USDe: {}}": "index.USDe: an empty mapping; .*own, others, equal, from, ",
    "index={BTC: {smoothing: 1m, futures: {}}}": "index.BTC.futures: an empty mapping; ",
    "collateral={USDe: {}}": "collateral.USDe: an empty mapping; .*haircut, ",
    "collateral={USDe: {admitted: false}, USDe@exchange: {haircut: 5%}}": (
        "USDe@exchange.haircut: a haircut of 'USDe@exchange', which the policy does not admit"
    ),
    "collateral={USDe: {cap: 1M}, USDe@exchange: {admitted: false}}": (
        "collateral.USDe.cap: a cap of 'USDe', which the policy does not admit"
    ),
    "mark={exchange: {}}": "mark.exchange: an empty mapping; .*kind, ",
    "leverage={cap: {}}": "leverage.cap: an empty mapping; .*by ASSET or ASSET@VENUE",
    "liquidation={collateral_sale: {}}": "collateral_sale: an empty mapping; .*by ASSET",
    "scenario={depth_factor: {}}": "depth_factor: an empty mapping; .*by ASSET",
    "liquidation={pace: null}": "pace: nothing came; .*, or no such key, .*remove it",
    "liquidation={by_venue: {exchange: {kind: null}}}": "exchange.kind: nothing came; .*or no such",
    "leverage={cap: null}": "cap: nothing came; .*or no such key",
    "mark={exchange: {kind: null}}": "kind: nothing came; .*or no such key",
    "backstop={exchange: {fund: null}}": "fund: nothing came; .*or no such key",
    "backstop={exchange: {vault: {capacity: null}}}": "capacity: nothing came; .*or no such key",
    "issuer={USDe: {capacity: null}}": "capacity: nothing came; .*or no such key",
    "scenario={depth_factor: null}": "depth_factor: nothing came; .*or no such key",
    "liquidation.by_venue={others: {}}": "an empty mapping; .*pace",
    "liquidation={pause_pegged_while_shut: true, collateral_sale: hold}": "no pegged asset is sold",
    "backstop={exchange: {}}": "an empty mapping; .*fund, ",
    "collateral={USDe: {parity: true, haircut: 5%}}": "a haircut of 'USDe', .* treats as cash",
    "collateral={USDe: {segregated: true, parity: false, dynamic: "
    + DYNAMIC
    + "}}": "a dynamic of 'USDe', which is segregated from perps and backs no loans",
    "liquidation={collateral_sale: redeem}": "redeem for 'USDe' on 'exchange', whose issuer redeems"
    " nothing.*capacity: 10M",
    "mark={others: {basis_half_life: 1m}}": "a basis_half_life of marks .* `index`.*kind: median",
    "mark={nowhere: {kind: last}}": "the venue 'nowhere' is unknown",
    "marketing.uptake=50%": "an uptake of promotions where no book is promoted",
    "leverage.loop_cap=2": "a loop_cap where no book is a loop",
    "index={BTC@exchange: {clamp: 1%}}": "a clamp of 'BTC@exchange', whose index is its reference",
    "index={USDe: {hard_anchor: true, futures: {redemption: 1, component_clamp: 1%}}}": "a"
    " component_clamp of 'USDe', whose index",
    "scenario.depth_factor={USDT: 2}": "the depth of 'USDT', .* no order book of finite",
}
NO_LOOPS = (
    "scenario.books.usde_loops={kind: perp, venue: others, perps: BTC, open_interest: 1M,"
    " leverage: 5}"
)


@pytest.mark.parametrize("lever", REFUSED)
def test_a_lever_that_changes_nothing_is_refused(lever):
    texts = [NO_LOOPS, "scenario.assets.USDe.redemption_capacity=0", f"policies.x.{lever}"]
    with pytest.raises(ConfigError) as refused:
        build(load_config(SMOKE, texts))
    assert re.search(REFUSED[lever], str(refused.value)), str(refused.value)


def test_rules_of_what_nobody_holds_are_refused():
    gone = "scenario.books.exchange_longs.collateral=USDT"
    for lever, sentence in (
        ("collateral.USDe.haircut=5%", "a rule of 'USDe', which no book pledges there"),
        ("liquidation.collateral_sale.USDe=hold", "sales of 'USDe', which no book pledges there"),
    ):
        texts = ["policies={baseline: {}}", NO_LOOPS, gone]
        with pytest.raises(ConfigError, match=sentence):
            build(load_config(SMOKE, [*texts, f"policies.x.{lever}"]))


def test_a_dynamic_haircut_that_every_policy_segregates_is_refused():
    here = "scenario.venues.exchange.collateral.USDe"
    rule = f"{here}={{haircut: 10%, segregated: true, dynamic: {DYNAMIC}}}"
    with pytest.raises(ConfigError, match="which every policy segregates from perps"):
        build(load_config(SMOKE, [NO_LOOPS, rule, "policies={baseline: {}}"]))


def test_a_combination_of_causes_may_idle_one_of_them():
    causes = (
        "attribution={causes: {held: {liquidation: {collateral_sale: hold}},"
        " paused: {liquidation: {pause_pegged_while_shut: true}}}}"
    )
    texts = ["policies={baseline: {}}"]
    config = load_config(SMOKE, [*texts, causes])
    assert all(map(config.is_combination, list(config.entries)[1:]))


def test_marks_differ_by_policy():
    made = build(
        load_config(SMOKE, ["policies={baseline: {}, x: {mark: {exchange: {kind: last}}}}"])
    )
    (before, _, _, _), (after, _, _, _) = made.groups
    changed = [
        (old, new)
        for old, new in zip(before.layout.mark_kinds, after.layout.mark_kinds, strict=True)
        if old != new
    ]
    assert changed == [("median", "last")]
    assert dataclasses.replace(after.layout, mark_kinds=before.layout.mark_kinds) == before.layout


ANCHOR = "scenario.venues.exchange.index.USDe={hard_anchor: true}"
REDEMPTION = r"whose index is its redemption price and nothing else; .*`hard_anchor: false`"


@pytest.mark.parametrize("term", ["floor: 97%", "smoothing: 5m", "clamp: 1%"])
def test_what_does_nothing_beside_an_anchor_is_refused(term):
    said = f"policies.x.index.USDe@exchange.{term.partition(':')[0]}: .*{REDEMPTION}"
    with pytest.raises(ConfigError, match=said):
        load_config(SMOKE, [ANCHOR, f"policies.x={{index: {{USDe@exchange: {{{term}}}}}}}"])


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("policies.x={index: {USDe: {hard_anchor: true}, USDe@exchange: {floor: 97%}}}", "floor"),
        ("scenario.venues.exchange.index.USDe.futures={floor: 97%}", "futures.floor"),
        ("policies.x={index: {USDe@exchange: {loans: {smoothing: 5m}}}}", "loans.smoothing"),
    ],
)
def test_an_anchor_holds_for_later_layers_and_for_products(text, at):
    texts = [ANCHOR] if "hard_anchor" not in text else []
    with pytest.raises(ConfigError, match=rf"USDe\S*\.{re.escape(at)}: .*{REDEMPTION}"):
        load_config(SMOKE, [*texts, "policies.redemption_index={}", text])


@pytest.mark.parametrize(
    "rule",
    [
        "{USDe@exchange: {delay: 1m, move_limit: 1%}}",
        "{USDe@exchange: {hard_anchor: false, floor: 97%}}",
        "{USDe@exchange: {own: 1, smoothing: 5m}}",
        "{USDe: {smoothing: 5m}}",  # which the other venue's index has
    ],
)
def test_what_does_something_beside_an_anchor_is_taken(rule):
    book = "kind: loan, venue: others, collateral: USDe, own_funds: 10M, leverage: 2"
    texts = (
        "scenario.venues.others.collateral.USDe={haircut: 10%}",
        "scenario.venues.others.loan_maintenance=2%",
        f"scenario.books.elsewhere={{{book}}}",
    )
    load_config(SMOKE, [ANCHOR, *texts, f"policies.x={{index: {rule}}}"])


OTHER_OUTAGE = "[{kind: scheduled, venue: others, start: 4m, length: 6m}]"
OUTAGE = OTHER_OUTAGE.replace("others", "exchange")


@pytest.mark.parametrize("at", ["", "by_venue.exchange."])
def test_a_pause_needs_an_outage_of_a_venue_that_sells(at):
    pause = f"policies.x.liquidation.{at}pause_pegged_while_shut=true"
    with pytest.raises(ConfigError, match=rf"{at}pause_pegged_while_shut: .*no outage shuts"):
        load_config(SMOKE, [f"scenario.shocks.outages={OTHER_OUTAGE}", pause])
    own = f"policies.x.scenario.shocks.outages={OUTAGE}"
    load_config(SMOKE, [f"scenario.shocks.outages={OTHER_OUTAGE}", pause, own])
    load_config(SMOKE, ["scenario.shocks.outages=[]", pause])  # switched off, for the while
