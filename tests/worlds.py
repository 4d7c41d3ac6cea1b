"""Worlds made by hand and at random, straight from the dataclasses with NumPy leaves."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np

from deleverage.policy import (
    BackstopRules,
    Books,
    BreakerRules,
    HaircutRules,
    HealingRules,
    ImpactRules,
    IndexRules,
    IssuerRules,
    KeptApart,
    LiquidationRules,
    MarginRules,
    Policy,
    Reporting,
    SaleRules,
    ThinningRules,
    TopUpRules,
    VaultRules,
)
from deleverage.shocks.laws import student_t_coefficients
from deleverage.state import Draws
from deleverage.world import (
    INFINITE_DEPTH,
    BackingLoss,
    Book,
    Congestion,
    Glitch,
    Halt,
    IndexEntry,
    Layout,
    Liquidity,
    LoadOutage,
    Macro,
    Market,
    Merton,
    Outage,
    Sale,
    World,
)

NEVER = 1e30


def per_slot(layout: Layout, rows: Any, slots: int, policies: int = 1) -> np.ndarray:
    """Numbers of books `[book][slot][bucket]` as `[slot, book, bucket, policy]`, the rest 0."""
    table = np.zeros((slots, len(layout.books), layout.buckets, policies))
    for book, row in enumerate(rows):
        for slot, values in enumerate(row):
            table[slot, book] = np.asarray(values, float)[:, None]
    return table


def perp_slots(layout: Layout) -> int:
    """Perp slots of the book that has most."""
    return max(len(book.perps) for book in layout.books)


def collateral_slots(layout: Layout) -> int:
    """Collateral slots of the book that has most."""
    return max(len(book.collateral) for book in layout.books)


# A tiny world

TINY_LAYOUT = Layout(
    venues=("exchange", "elsewhere"),
    assets=("USD", "BTC", "USDe"),
    pegged=(2,),
    markets=(
        Market(0, 1, "spot"),
        Market(1, 1, "spot"),
        Market(0, 2, "spot"),
        Market(1, 2, "spot"),
        Market(0, 1, "perp"),
    ),
    indices=(
        IndexEntry(0, 1, sources=(0, 1), references=(1,), reference_shares=(1.0,)),
        IndexEntry(0, 2, sources=(2, 3), references=(3,), reference_shares=(1.0,)),
    ),
    books=(
        Book(0, perps=(4,), collateral=(1,)),
        Book(0, perps=(4,), collateral=(1,)),
        Book(0, perps=(), collateral=(1,)),
    ),
    buckets=3,
    perp_index=(-1, -1, -1, -1, 0),
    mark_kinds=("", "", "", "", "index"),
    sales=(((0, 1.0),), ((2, 1.0),)),
    basis_pairs=((0, 4),),
    arbitrage_groups=((0, 1), (2, 3)),
    pegs=((0, 2),),
    peg_markets=(2,),
    step=0.5,
    steps=8,
    draw_step=0.5,
    window_steps=4,
)


def quiet_shocks(layout: Layout) -> dict[str, Any]:
    """World fields without any exogenous movement; pegged assets are anchored to the numeraire."""
    assets = len(layout.assets)
    anchor = np.eye(assets)
    for asset in layout.pegged:
        anchor[asset, asset], anchor[asset, 0] = 0.0, 1.0
    return {
        "loading": np.zeros((assets, 1)),
        "drift": np.zeros(assets),
        "anchor": anchor,
        "macro": Macro(
            law="fixed",
            a=0.0,
            b=1.0,
            c=0.0,
            cap=NEVER,
            start=0.0,
            latest=0.0,
            loading=np.zeros(assets),
            duration=0.0,
            rebound=0.0,
            rebound_delay=0.0,
            rebound_half_life=1.0,
            volatility_multiplier=1.0,
            volatility_half_life=1.0,
        ),
        "merton": None,
        "liquidity": Liquidity(
            lowest=0.0, highest=0.0, correlation=0.0, onset=0.0, hold=0.0, half_life=NEVER
        ),
        "outages": (),
    }


def neutral_policy(layout: Layout, policies: int = 1, tiers: int = 1, sources: int = 2) -> Policy:
    """Empty books under rules that do nothing: own-book index, no healing, infinite depth."""
    books, entries, markets = len(layout.books), len(layout.indices), len(layout.markets)
    jp, jc, k, p = perp_slots(layout), collateral_slots(layout), layout.buckets, policies
    weight = np.zeros((sources, entries, p))
    weight[0] = 1.0
    margin = MarginRules(
        rate=np.zeros((jp, tiers, books, 1, p)),
        deduction=np.zeros((jp, tiers, books, 1, p)),
        ratio=np.ones((jc, tiers, books, 1, p)),
        addition=np.zeros((jc, tiers, books, 1, p)),
        loan_rate=np.zeros((books, 1, p)),
    )
    return Policy(
        books=Books(
            position=np.zeros((jp, books, k, p)),
            entry=np.ones((jp, books, 1, p)),
            collateral=np.zeros((jc, books, k, p)),
            cash=np.zeros((books, k, p)),
            accounts=np.ones((books, k, p)),
            budget=np.zeros((books, k, p)),
        ),
        index=IndexRules(
            weight=weight,
            reference_weight=np.zeros((entries, p)),
            redemption_weight=np.zeros((entries, p)),
            clamp=np.full((entries, p), NEVER),
            smoothing=np.ones((entries, p)),
            floor=np.zeros((entries, p)),
            basis_smoothing=np.ones((markets, p)),
        ),
        margin=margin,
        baseline_margin=margin,
        top_up=TopUpRules(rate=np.zeros((books, 1, p)), warn=np.ones((books, 1, p))),
        liquidation=LiquidationRules(
            pace=np.full((books, 1, p), NEVER),
            target=np.full((books, 1, p), 1.5),
            fee=np.zeros((books, 1, p)),
            collateral_fee=np.zeros((books, 1, p)),
        ),
        impact=ImpactRules(
            depth=np.full((markets, p), INFINITE_DEPTH),
            sensitivity=np.zeros((markets, p)),
            displacement=np.zeros((markets, p)),
        ),
        healing=HealingRules(
            resilience_half_life=np.full((markets, p), NEVER),
            basis_half_life=np.full((len(layout.basis_pairs), p), NEVER),
            arbitrage_half_life=np.full((len(layout.arbitrage_groups), p), NEVER),
            arbitrage_capital=np.zeros((len(layout.arbitrage_groups), p)),
            redemption_capacity=np.zeros((len(layout.pegged), p)),
        ),
        backstop=BackstopRules(
            fund=np.zeros((len(layout.venues), p)), adl=np.ones((len(layout.venues), p))
        ),
        reporting=Reporting(feed_cap=np.full((markets, p), NEVER), due_at_start=np.zeros(p)),
    )


def changed(node: Any, path: list[str], value: Any) -> Any:
    """A copy with the field at `path` replaced, numbers broadcast to the shape they replace."""
    old = getattr(node, path[0])
    if len(path) > 1:
        new = changed(old, path[1:], value)
    elif isinstance(old, np.ndarray) and np.ndim(value) == 0:
        new = np.full(old.shape, float(value))
    elif isinstance(old, np.ndarray):
        new = np.asarray(value, float)
    else:
        new = value
    return dataclasses.replace(node, **{path[0]: new})


def with_changes(world: World, policy: Policy, **changes: Any) -> tuple[World, Policy]:
    """Both with `part__field=value` replaced; `layout__...`, `macro__...` belong to the world.

    A change of `margin` is made to `baseline_margin` too unless that is changed by name.
    """
    for name, value in changes.items():
        path = name.split("__")
        if path[0] in {field.name for field in dataclasses.fields(policy)}:
            policy = changed(policy, path, value)
            if path[0] == "margin" and f"baseline_{name}" not in changes:
                policy = changed(policy, ["baseline_margin", *path[1:]], value)
        else:
            world = changed(world, path, value)
    return world, policy


def tiny_world(**changes: Any) -> tuple[World, Policy]:
    """Two venues, BTC and USDe, a perp: longs on USDe collateral, matched shorts, a USDe loop.

    Nothing moves, heals or is due until a change says so: `tiny_world(impact__depth=500.0,
    books__cash=...)`. Scalars fill a leaf, arrays replace it.
    """
    layout = TINY_LAYOUT
    neutral = neutral_policy(layout)
    longs, shorts, loop = [100.0, 80.0, 60.0], [-100.0, -80.0, -60.0], [0.0, 0.0, 0.0]
    pledged = [[30.0, 16.0, 9.0], [60.0, 48.0, 36.0], [50.0, 50.0, 50.0]]
    cash = [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [-30.0, -38.0, -42.0]]
    world, policy = with_changes(
        World(layout=layout, **quiet_shocks(layout)),
        neutral,
        books__position=per_slot(layout, [[longs], [shorts], [loop]], 1),
        books__collateral=per_slot(layout, [[row] for row in pledged], 1),
        books__cash=np.array(cash)[..., None],
        margin__rate=0.05,
        margin__ratio=0.95,
        margin__loan_rate=0.05,
    )
    return with_changes(world, policy, **changes)


def stressed_world() -> tuple[World, Policy]:
    """`tiny_world` with thin books, a small fund and slow healing: a crash reaches every stage."""
    return tiny_world(
        impact__depth=400.0,
        impact__sensitivity=0.5,
        backstop__fund=0.1,
        liquidation__pace=1.0,
        top_up__rate=0.5,
        top_up__warn=2.0,
        books__budget=1.0,
        healing__resilience_half_life=5.0,
        healing__basis_half_life=1.0,
        healing__arbitrage_half_life=1.0,
        healing__arbitrage_capital=20.0,
        healing__redemption_capacity=2.0,
    )


def flat_inputs(world: World, log_fundamental: Any = None) -> dict[str, np.ndarray]:
    """Inputs of one path with full depth and open gates; `log_fundamental` [T, A], 0 by default."""
    layout = world.layout
    moves = np.zeros((layout.steps, len(layout.assets)))
    if log_fundamental is not None:
        moves = moves + np.asarray(log_fundamental, float)
    return {
        "log_fundamental": moves[..., None],
        "liquidity_drop": np.zeros((layout.steps, 1)),
        "gate_open": np.ones((layout.steps, len(layout.venues), 1)),
    }


# Random worlds of one shape

USD, ETH, ALT, WBETH, USDE = range(5)
RANDOM_LAYOUT = Layout(
    venues=("exchange", "perps", "elsewhere"),
    assets=("USD", "ETH", "ALT", "WBETH", "USDe"),
    pegged=(WBETH, USDE),
    markets=(
        Market(0, ETH, "spot"),
        Market(1, ETH, "spot"),
        Market(2, ETH, "spot"),
        Market(0, WBETH, "spot"),
        Market(0, WBETH, "spot", quote=0),
        Market(2, WBETH, "spot"),
        Market(0, USDE, "spot"),
        Market(1, USDE, "spot"),
        Market(1, ALT, "spot"),
        Market(0, ETH, "perp"),
        Market(1, ETH, "perp"),
        Market(1, ALT, "perp"),
    ),
    indices=(
        IndexEntry(0, ETH, sources=(0, 2), references=(1, 2), reference_shares=(0.45, 0.55)),
        IndexEntry(0, WBETH, sources=(3, 4, 5), references=(5,), reference_shares=(1.0,)),
        IndexEntry(0, USDE, sources=(6, 7), references=(7,), reference_shares=(1.0,)),
        IndexEntry(1, ETH, sources=(1,), references=(0, 2), reference_shares=(0.5, 0.5)),
        IndexEntry(1, USDE, sources=(7,), references=(6,), reference_shares=(1.0,)),
        IndexEntry(1, ALT, sources=(8,), references=(), reference_shares=()),
    ),
    books=(
        Book(0, perps=(9,), collateral=(1, 2)),  # longs on staked and synthetic collateral
        Book(0, perps=(9,), collateral=(0,), hedged=True),
        Book(0, perps=(), collateral=(2,), target=True),  # loop
        Book(1, perps=(10, 11), collateral=(4,), target=True),
        Book(1, perps=(10, 11), collateral=(4,)),
    ),
    buckets=4,
    perp_index=(-1,) * 9 + (0, 3, 5),
    mark_kinds=("",) * 9 + ("median", "index", "last"),
    sales=(
        ((0, 1.0),),
        ((3, 0.6), (4, 0.4)),
        ((6, 1.0),),
        ((1, 1.0),),
        ((7, 1.0),),
        ((8, 1.0),),
    ),
    basis_pairs=((0, 9), (1, 10), (8, 11)),
    arbitrage_groups=((0, 1, 2), (3, 5), (6, 7)),
    pegs=((0, WBETH), (0, USDE), (1, USDE)),
    peg_markets=(3, 6, 7),
    step=0.5,
    steps=12,
    draw_step=0.5,
    window_steps=5,
)


def with_profile(world: World, seed: int) -> World:
    """The macro shock of a random world arriving by a profile of three points."""
    rng = np.random.default_rng([seed, 1])
    minutes = np.array([0.0, *np.cumsum(rng.uniform(0.2, 2.0, 2))])
    shares = np.array([rng.choice([0.0, 0.2]), rng.uniform(0.2, 0.9), 1.0])
    macro = dataclasses.replace(world.macro, profile=np.stack([minutes, shares]))
    return dataclasses.replace(world, macro=macro)


def with_replay(world: World, seed: int) -> World:
    """A random world whose ETH, and what is anchored to it, follows a series."""
    rng = np.random.default_rng([seed, 2])
    series = np.zeros((world.layout.steps, len(world.layout.assets)))
    series[:, ETH] = np.cumsum(rng.normal(0.0, 0.02, len(series)))
    return dataclasses.replace(world, replay=series @ world.anchor.T)


def random_shocks(rng: np.random.Generator, law: str) -> dict[str, Any]:
    """World fields: a fall of a few to a few dozen percent, thin books, shut gates."""
    anchor = np.diag([0.0, 1.0, 1.0, 0.0, 0.0])
    anchor[WBETH, ETH] = anchor[USDE, USD] = 1.0
    loading = np.zeros((5, 2))
    loading[ETH] = rng.uniform(0.001, 0.01), 0.0
    loading[ALT] = rng.uniform(0.001, 0.01, 2)
    size = rng.choice([0.15, 1.0, 3.0], p=[0.3, 0.5, 0.2])
    a = size * {"normal": 0.15, "generalised_pareto": 0.05}.get(law, 0.12) * rng.uniform(0.5, 2.0)
    shape = rng.uniform(0.05, 0.5)
    degrees = 1.0 / shape  # of a tail as heavy
    return {
        "loading": loading,
        "drift": np.array([0.0, *rng.uniform(-0.005, 0.005, 2), 0.0, 0.0]),
        "anchor": anchor,
        "macro": Macro(
            law=law,
            a=a,
            b=rng.uniform(0.3, 0.6) if law == "lognormal" else size * rng.uniform(0.02, 0.08),
            c=degrees if law == "student_t" else shape,
            cap=0.6,
            start=rng.uniform(0.0, 1.0),
            latest=rng.uniform(1.0, 2.5),
            loading=np.array([0.0, 1.0, rng.uniform(0.8, 1.8), 0.0, 0.0]),
            duration=rng.choice([0.0, 0.7, 2.0]),
            rebound=rng.uniform(0.0, 0.6),
            rebound_delay=rng.uniform(0.0, 2.0),
            rebound_half_life=rng.uniform(0.5, 3.0),
            volatility_multiplier=rng.uniform(1.0, 4.0),
            volatility_half_life=rng.uniform(0.5, 5.0),
            quantile=student_t_coefficients(degrees) if law == "student_t" else None,
        ),
        "merton": Merton(
            rate=rng.uniform(0.0, 0.3),
            mean=rng.uniform(-0.05, 0.02),
            deviation=rng.uniform(0.0, 0.05),
            loading=np.array([0.0, 1.0, rng.uniform(0.5, 2.0), 0.0, 0.0]),
        ),
        "liquidity": Liquidity(
            lowest=rng.uniform(0.0, 0.4),
            highest=rng.uniform(0.5, 0.95),
            correlation=rng.uniform(-0.2, 0.95),
            onset=rng.choice([0.0, 0.8]),
            hold=rng.uniform(0.0, 3.0),
            half_life=rng.uniform(0.5, 5.0),
        ),
        "outages": (
            Outage(
                venue=0,
                random=False,
                start=rng.uniform(-1.0, 8.0),
                length=rng.uniform(0.0, 4.0),
                rate=0.0,
            ),
            Outage(
                venue=1,
                random=True,
                start=rng.uniform(0.0, 1.0),
                length=rng.uniform(0.5, 3.0),
                rate=rng.choice([0.0, 0.3]),
            ),
        ),
    }


def random_margin(
    rng: np.random.Generator, accounts: np.ndarray, policies: int, scale: float
) -> MarginRules:
    """Two convex tiers a slot whose corners lie among the sizes of the cohorts."""
    books, jp, jc, p = 5, 2, 2, policies
    low = rng.uniform(0.01, 0.04, (jp, books, 1, p)) * scale
    high = low * rng.uniform(1.2, 2.5, low.shape)
    corner = 100.0 / accounts.mean() * rng.uniform(0.3, 1.5, low.shape)
    ratio = rng.uniform(0.85, 1.0, (jc, books, 1, p))
    ratio_high = ratio * rng.uniform(0.7, 1.0, ratio.shape)
    ratio_corner = 40.0 / accounts.mean() * rng.uniform(0.3, 1.5, ratio.shape)
    return MarginRules(
        rate=np.stack([low, high], axis=1),
        deduction=np.stack([0.0 * low, corner * (high - low)], axis=1),
        ratio=np.stack([ratio, ratio_high], axis=1),
        addition=np.stack([0.0 * ratio, ratio_corner * (ratio - ratio_high)], axis=1),
        loan_rate=rng.uniform(0.01, 0.05, (books, 1, p)),
    )


def random_books(rng: np.random.Generator, policies: int) -> Books:
    """Longs at several leverages, shorts that fall short of them, a hedge and a loop."""
    layout, p = RANDOM_LAYOUT, policies
    longs = rng.uniform(40.0, 150.0, (2, 4))
    alt_longs = rng.uniform(10.0, 60.0, 4)
    covered = rng.choice([1.0, 0.1], p=[0.75, 0.25])  # else market makers are the shorts
    shorts = longs * rng.uniform(0.5, 1.0, longs.shape) * covered
    alt_shorts = alt_longs * rng.uniform(0.5, 1.1, 4) * covered
    position = per_slot(
        layout,
        [[longs[0]], [-shorts[0]], [], [longs[1], alt_longs], [-shorts[1], -alt_shorts]],
        2,
        p,
    )
    entry = rng.uniform(0.97, 1.03, (2, 5, 1, p))
    entry[:, [1, 4]] += rng.choice([0.0, 0.05])  # shorts that are ahead
    leverage = np.sort(rng.uniform(2.0, 14.0, (2, 4)), axis=1)
    funds, other = longs[0] / leverage[0], (longs[1] + alt_longs) / leverage[1]
    mix = rng.uniform(0.2, 0.8)
    loop = rng.uniform(20.0, 120.0, 4)
    collateral = per_slot(
        layout,
        [
            [mix * funds, (1.0 - mix) * funds],
            [shorts[0]],
            [loop],
            [other],
            [0.5 * rng.uniform(0.05, 0.6, 4) * (shorts[1] + alt_shorts)],
        ],
        2,
        p,
    )
    cash = np.zeros((5, 4, p))
    cash[1] = rng.uniform(0.0, 0.1, (4, 1)) * shorts[0][:, None]
    cash[2] = -loop[:, None] * np.sort(rng.uniform(0.4, 0.88, 4))[:, None]
    cash[4] = 0.5 * collateral[0, 4]
    cash[0] -= rng.uniform(0.0, 0.02, (4, 1)) * funds[:, None]
    return Books(
        position=position,
        entry=entry,
        collateral=collateral,
        cash=cash,
        accounts=rng.uniform(1.0, 200.0, (5, 4, 1)) * np.ones((5, 4, p)),
        budget=rng.choice([0.0, 1.0], (5, 4, 1)) * rng.uniform(0.0, 10.0, (5, 4, p)),
    )


def random_rules(rng: np.random.Generator, books: Books, p: int) -> dict[str, Any]:
    """Every rule but margin: each mechanism on in some policies and off in others."""
    weight = rng.uniform(0.05, 1.0, (3, 6, p))
    for entry, index in enumerate(RANDOM_LAYOUT.indices):
        weight[len(index.sources) :, entry] = 0.0
    reference_weight = rng.uniform(0.0, 0.7, (6, p)) * rng.choice([0.0, 1.0], (6, p))
    reference_weight[5] = 0.0
    redemption_weight = rng.uniform(0.0, 0.5, (6, p)) * rng.choice([0.0, 1.0], (6, p))
    floor = rng.uniform(0.8, 1.0, (6, p)) * rng.choice([0.0, 1.0], (6, p), p=[0.7, 0.3])
    redemption_weight[[0, 3, 5]] = floor[[0, 3, 5]] = 0.0
    total = weight.sum(axis=0) + reference_weight + redemption_weight
    depth = rng.uniform(400.0, 4000.0, (12, p)) * rng.choice([1.0, 0.3], (1, p))
    depth[[3, 4, 5, 6, 7]] *= 0.3
    depth[2] *= rng.choice([1.0, INFINITE_DEPTH / 4000.0])
    return {
        "index": IndexRules(
            weight=weight / total,
            reference_weight=reference_weight / total,
            redemption_weight=redemption_weight / total,
            clamp=rng.choice([NEVER, 0.05, 0.005], (6, p)),
            smoothing=rng.choice([1.0, 0.4], (6, p)),
            floor=floor,
            basis_smoothing=rng.uniform(0.1, 1.0, (12, p)),
        ),
        "top_up": TopUpRules(
            rate=rng.choice([0.0, 0.3, 4.0], (5, 1, p)), warn=rng.uniform(1.0, 2.0, (5, 1, p))
        ),
        "liquidation": LiquidationRules(
            pace=rng.choice([0.3, 1.0, 2.0], (5, 1, p)) * rng.uniform(0.8, 1.2, (5, 1, p)),
            target=rng.uniform(1.05, 2.0, (5, 1, p)),
            fee=rng.choice([0.0, 0.005], (5, 1, p)),
            collateral_fee=rng.choice([0.0, 0.01], (5, 1, p)),
        ),
        "impact": ImpactRules(
            depth=depth,
            sensitivity=rng.uniform(0.0, 1.0, (12, p)),
            displacement=rng.uniform(-0.005, 0.01, (12, p)) * rng.choice([0.0, 1.0], (12, 1)),
        ),
        "healing": HealingRules(
            resilience_half_life=rng.choice([NEVER, 1.0, 10.0], (12, p)),
            basis_half_life=rng.choice([NEVER, 0.5, 3.0], (3, p)),
            arbitrage_half_life=rng.choice([NEVER, 0.5, 3.0], (3, p)),
            arbitrage_capital=rng.uniform(0.5, 50.0, (3, p)),
            redemption_capacity=rng.choice([0.0, 2.0, 50.0], (2, p)),
        ),
        "backstop": BackstopRules(
            fund=rng.choice([0.0, 1.0, 30.0], (3, p)) * rng.uniform(0.5, 1.5, (3, p)),
            adl=rng.choice([0.0, 1.0], (3, p), p=[0.3, 0.7]),
        ),
        "reporting": Reporting(
            feed_cap=rng.choice([NEVER, 10.0], (12, p)), due_at_start=np.zeros(p)
        ),
    }


def random_world(
    seed: int, policies: int = 3, law: str = "generalised_pareto"
) -> tuple[World, Policy]:
    """Random numbers on one fixed layout: two of these differ in leaves only, so compile once."""
    rng = np.random.default_rng([seed, policies])
    world = World(layout=RANDOM_LAYOUT, **random_shocks(rng, law))
    books = random_books(rng, policies)
    margin = random_margin(rng, books.accounts, policies, rng.uniform(0.8, 1.5))
    baseline = dataclasses.replace(
        margin,
        ratio=np.repeat(margin.ratio[..., :1], policies, axis=-1),
        addition=np.repeat(margin.addition[..., :1], policies, axis=-1),
        rate=np.repeat(margin.rate[..., :1], policies, axis=-1),
        deduction=np.repeat(margin.deduction[..., :1], policies, axis=-1),
        loan_rate=np.repeat(margin.loan_rate[..., :1], policies, axis=-1),
    )
    rules = random_rules(rng, books, policies)
    return world, Policy(books=books, margin=margin, baseline_margin=baseline, **rules)


# The same worlds with every kind switched on in some places

IMPACTS = {1: "profile", 4: "profile", 6: "sqrt", 7: "profile", 9: "sqrt", 10: "profile"}
"""Impact kinds of markets that are not linear."""

LIKE = (2, 3, 0, 2, 4, 0)
"""Books of the random layout that every-kind worlds hold once more, under other kinds."""

FULL_LAYOUT = dataclasses.replace(
    RANDOM_LAYOUT,
    books=(
        *(
            dataclasses.replace(
                book,
                collateral=(6,) if book.is_loan else book.collateral,
                issuer=0 if book.hedged else -1,
            )
            for book in RANDOM_LAYOUT.books
        ),
        Book(0, perps=(), collateral=(6,), targeting=True, sales=("spread",)),
        Book(1, perps=(10, 11), collateral=(4,), targeting=True),
        Book(0, perps=(9,), collateral=(1, 2), sales=("spread", "redeem")),
        Book(0, perps=(), collateral=(2,), sales=("redeem",)),
        Book(1, perps=(10, 11), collateral=(4,), sales=("backstop",)),
        Book(0, perps=(9,), collateral=(1, 2), sales=("backstop", "hold"), target=True),
    ),
    breaker_steps=3,
    spread_sales=(
        ((0, 0.5), (1, 0.2), (2, 0.3)),
        ((3, 0.4), (4, 0.3), (5, 0.3)),
        ((6, 0.5), (7, 0.5)),
        ((0, 0.3), (1, 0.4), (2, 0.3)),
        ((6, 0.6), (7, 0.4)),
        ((8, 1.0),),
        ((6, 0.5), (7, 0.5)),
    ),
    markets=tuple(
        dataclasses.replace(market, impact=IMPACTS.get(number, "linear"))
        for number, market in enumerate(RANDOM_LAYOUT.markets)
    ),
    # loans on the exchange go by an index of their own, which reads the perp venue's book first
    indices=(
        *RANDOM_LAYOUT.indices,
        IndexEntry(0, USDE, sources=(7, 6), references=(7,), reference_shares=(1.0,)),
    ),
    sales=(*RANDOM_LAYOUT.sales, ((6, 1.0),)),
    delay_steps=5,
)


def full_index(rng: np.random.Generator, index: IndexRules) -> IndexRules:
    """Limited moves, late redemption prices and an index for loans, in some policies."""
    # numbers of another pegged entry for the loans' own
    index = dataclasses.replace(
        index,
        **{
            field.name: np.concatenate([leaf, leaf[..., [4], :]], axis=-2)
            for field in dataclasses.fields(index)
            if field.name != "basis_smoothing"
            and (leaf := getattr(index, field.name)) is not None
        },
    )
    shape = index.floor.shape
    return dataclasses.replace(
        index,
        component_clamp=rng.choice([NEVER, 0.1, 0.01], shape),
        move_limit=rng.choice([NEVER, 0.2, 0.02], shape) * rng.uniform(0.8, 1.2, shape),
        delay=rng.choice([0.0, 1.0, 3.0, 5.0], shape),
    )


def with_medians(rng: np.random.Generator, index: IndexRules) -> IndexRules:
    """Weighted medians of the sources, with weights like published ones, in some policies."""
    say = rng.choice([0.0, 1.0, 2.0, 3.0], index.weight.shape)
    for entry, given in enumerate(FULL_LAYOUT.indices):
        say[len(given.sources) :, entry] = 0.0
    total = say.sum(axis=0)
    part = rng.choice([0.0, 0.3, 1.0], total.shape) * (total > 0.0)
    return dataclasses.replace(
        index,
        weight=index.weight * (1.0 - part),
        reference_weight=index.reference_weight * (1.0 - part),
        redemption_weight=index.redemption_weight * (1.0 - part),
        median_weight=part,
        median_share=say / np.where(total > 0.0, total, 1.0),
    )


def full_thinning(rng: np.random.Generator, impact: ImpactRules) -> ThinningRules:
    """Depth that falls with volatility, on some books."""
    shape = impact.depth.shape
    return ThinningRules(
        strength=rng.choice([0.0, 0.02, 0.2], shape) * rng.uniform(0.5, 1.5, shape),
        normal=rng.uniform(0.02, 0.1, shape) ** 2,
        smoothing=rng.uniform(0.1, 1.0, shape),
        least=rng.uniform(0.1, 0.5, shape),
    )


def full_impact(rng: np.random.Generator, impact: ImpactRules) -> ImpactRules:
    """Curves of books that are not linear, some of which end before the orders do."""
    p = impact.depth.shape[-1]
    distance = np.cumsum(rng.uniform(0.005, 0.15, (4, 12, p)), axis=0)
    thickness = rng.uniform(0.2, 2.0, distance.shape) * np.minimum(impact.depth, 4000.0)
    units = np.cumsum(np.diff(distance, axis=0, prepend=0.0) * thickness, axis=0)
    distance[3, 7], units[3, 7] = distance[2, 7], units[2, 7]  # a book with fewer distances
    return dataclasses.replace(
        impact, reach=rng.uniform(0.002, 0.1, (12, p)), distance=distance, units=units
    )


def with_dynamic_haircuts(rng: np.random.Generator, policy: Policy) -> Policy:
    """Haircuts that some policies raise with volatility, and venue caps that cut off the rest."""
    shape, ratio = policy.index.floor.shape, policy.margin.ratio[:, 0]
    granted = 1.0 - (1.0 - ratio) * rng.uniform(0.0, 1.0, ratio.shape)
    return dataclasses.replace(
        policy,
        margin=dataclasses.replace(policy.margin, granted=granted),
        haircuts=HaircutRules(
            reference=rng.uniform(0.005, 0.05, shape) ** 2,
            power=rng.choice([0.0, 0.5, 1.0, 2.0], shape),
            cap=rng.uniform(0.05, 0.5, shape),
            smoothing=rng.uniform(0.1, 1.0, shape),
            review=rng.choice([1.0, 2.0, 3.0], shape),
        ),
    )


def with_more_books(policy: Policy) -> Policy:
    """The books of `LIKE` once more, last; market makers take their perps."""
    places = [*range(len(RANDOM_LAYOUT.books)), *LIKE]
    by_book = ("books", "margin", "baseline_margin", "top_up", "liquidation")
    more = {
        part: jax.tree.map(lambda leaf: leaf[..., places, :, :], getattr(policy, part))
        for part in by_book
    }
    entry = more["books"].entry.copy()
    entry[:, -len(LIKE) :] += 0.003  # else they tie with whom they are like
    # a hedge that leaves nothing open and has lost all it had to others keeps an equity of 0, which
    # is a threshold, at any price
    collateral = more["books"].collateral.copy()
    collateral[0, [book.hedged for book in FULL_LAYOUT.books]] *= 1.02
    more["books"] = dataclasses.replace(more["books"], entry=entry, collateral=collateral)
    return dataclasses.replace(policy, **more)


def full_failures(rng: np.random.Generator) -> dict[str, Any]:
    """World fields of failures and sellers, some of which happen to no path or to few."""

    def window(random: bool) -> dict[str, Any]:
        start = rng.uniform(0.0, 1.0) if random else rng.uniform(-1.0, 5.0)
        return {"random": random, "start": start, "length": rng.uniform(0.4, 2.0), "rate": 0.3}

    return {
        "load_outages": tuple(
            LoadOutage(
                venue=venue,
                random=random,
                start=rng.uniform(-1.0, 1.0),
                threshold=rng.uniform(1.0, 60.0),
                rate=rng.choice([0.0, 0.3, 3.0]),
                length=rng.uniform(0.3, 4.0),
            )
            for venue, random in ((0, False), (1, True), (0, True))
        ),
        "halts": (Halt(venue=0, **window(False)), Halt(venue=1, **window(True))),
        "congestions": (
            Congestion(left=rng.choice([0.0, 0.3]), **window(False)),
            Congestion(left=rng.uniform(0.0, 1.0), **window(True)),
        ),
        "glitches": (
            Glitch(
                indices=(0, 2),
                start=rng.uniform(-1.0, 4.0),
                length=rng.uniform(0.3, 2.0),
                probability=rng.choice([0.5, 1.0]),
                factor=rng.uniform(0.85, 1.1),
            ),
            Glitch(indices=(2, 5), start=1.2, length=2.0, probability=0.5, factor=0.97),
        ),
        "sales": tuple(
            Sale(
                market=market,
                units=rng.choice([0.0, 1.0]) * rng.uniform(5.0, 100.0),
                start=rng.uniform(-1.0, 3.0),
                duration=rng.uniform(0.1, 4.0),
            )
            for market in (0, 7, 9, 10)
        ),
    }


def full_vaults(rng: np.random.Generator, policies: int) -> VaultRules:
    """Vaults that take all, some or nothing, and work it off at once, slowly or not at all."""
    shape = (len(FULL_LAYOUT.venues), policies)
    return VaultRules(
        capacity=rng.choice([0.0, 20.0, 400.0], shape) * rng.uniform(0.5, 1.5, shape),
        half_life=rng.choice([0.3, 3.0, NEVER], shape),
    )


def full_world(
    seed: int, policies: int = 3, law: str = "generalised_pareto"
) -> tuple[World, Policy]:
    """`random_world` with random numbers for every kind that it leaves out."""
    world, policy = random_world(seed, policies, law)
    rng = np.random.default_rng([seed, policies, 1])
    world = dataclasses.replace(world, layout=FULL_LAYOUT, **full_failures(rng))
    issuer = IssuerRules(
        backing=rng.choice([101.0, 100.0, 1e30], (2, policies)),
        supply=np.full((2, policies), 100.0),
        reserve=rng.choice([2.0, 10.0, 1e30], (2, policies)),
        free_float=rng.choice([0.0, 60.0], (2, policies)),
        run_rate=rng.choice([0.0, 2.0, 8.0], (2, policies)),
        run_tolerance=rng.choice([0.0, 0.005], (2, policies)),
    )
    losses = (
        BackingLoss(0, False, rng.choice([0.0, 0.3]), rng.uniform(0.0, 3.0), 0.0),
        BackingLoss(1, True, rng.uniform(0.0, 0.5), rng.uniform(0.0, 1.0), rng.uniform(0.5, 4.0)),
    )
    world = dataclasses.replace(world, backing=losses)
    queue = rng.choice([0.0, 1.0], policy.backstop.adl.shape)
    entries = (len(FULL_LAYOUT.indices), policies)
    # of what is sold somewhere, and not in all policies
    kept_apart = np.random.default_rng([seed, policies, 2]).choice([0.0, 40.0, 300.0], entries)
    kept_apart *= np.array([bool(sales) for sales in FULL_LAYOUT.sales])[:, None]
    policy = dataclasses.replace(
        policy,
        impact=full_impact(rng, policy.impact),
        index=with_medians(
            np.random.default_rng([seed, policies, 4]), full_index(rng, policy.index)
        ),
        thinning=full_thinning(rng, policy.impact),
        backstop=dataclasses.replace(policy.backstop, queue=queue),
        breakers=BreakerRules(
            trigger=np.where(rng.random(entries) < 0.5, 2.0, rng.uniform(0.01, 0.1, entries)),
            window=rng.choice([1.0, 2.0, 3.0], entries),
            halt=rng.choice([1.0, 2.0, 4.0], entries),
        ),
        sales=SaleRules(
            discount=rng.uniform(0.0, 0.1, entries),
            capacity=rng.choice([0.0, 1.0, 30.0], entries),
            pause=rng.choice([0.0, 1.0], entries),
        ),
        issuer=issuer,
        kept_apart=KeptApart(kept_apart),
        vault=full_vaults(np.random.default_rng([seed, policies, 3]), policies),
    )
    return world, with_more_books(with_dynamic_haircuts(rng, policy))


def random_draws(world: World, paths: int, seed: int) -> Draws:
    """Raw draws as the engine makes them: float32 normals, uniforms at (k + 1/2) / 2^32."""
    rng = np.random.default_rng(seed)
    layout = world.layout
    grid = layout.steps * round(layout.step / layout.draw_step)

    def normals(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32).astype(np.float64)

    def uniforms(*shape: int) -> np.ndarray:
        return (rng.integers(0, 2**32, shape).astype(np.float64) + 0.5) / 2.0**32

    jumps = world.merton is not None
    halts, congestions, glitches = len(world.halts), len(world.congestions), len(world.glitches)
    return Draws(
        diffusion=normals(grid, world.loading.shape[1], paths),
        macro=uniforms(2, paths),
        jump_uniform=uniforms(grid, paths) if jumps else None,
        jump_normal=normals(grid, paths) if jumps else None,
        liquidity=normals(paths),
        outage=uniforms(len(world.outages), 2, paths),
        load=uniforms(len(world.load_outages), 2, paths) if world.load_outages else None,
        halt=uniforms(halts, 2, paths) if halts else None,
        congestion=uniforms(congestions, 2, paths) if congestions else None,
        glitch=uniforms(glitches, paths) if glitches else None,
    )
