"""The oracle's view of a world and a policy: named tuples of plain arrays, which Numba understands.

Every map of `Layout` becomes an integer array padded with -1, every kind an integer code, every
leaf a contiguous float64 array. NumPy only, and nothing of the kernel.
"""

from __future__ import annotations

import types
from typing import Any, NamedTuple

import numpy as np

INDEX, LAST, MEDIAN = 0, 1, 2
DUST = 1e-6  # share of what a cohort began with below which what is left, or sold, is a rounding
ENDLESS = 1e30  # backing, supply and reserve of an issuer that a world knows nothing of
LINEAR, SQRT, PROFILE = 0, 1, 2
BOOKS, REDEEM, BACKSTOP, HOLD = 0, 1, 2, 3
SALES = {"market": BOOKS, "spread": BOOKS, "redeem": REDEEM, "backstop": BACKSTOP, "hold": HOLD}
IMPACTS = {"linear": LINEAR, "sqrt": SQRT, "profile": PROFILE}
LAWS = {"fixed": 0, "normal": 1, "lognormal": 2, "generalised_pareto": 3, "student_t": 4}
MARKS = {"": -1, "index": INDEX, "last": LAST, "median": MEDIAN}


class Maps(NamedTuple):
    """`Layout` as arrays."""

    market_venue: np.ndarray  # [M]
    market_asset: np.ndarray  # [M]
    market_is_perp: np.ndarray  # [M] bool
    market_quote: np.ndarray  # [M]
    impact_kind: np.ndarray  # [M]
    entry_asset: np.ndarray  # [I]
    sources: np.ndarray  # [I, S]
    references: np.ndarray  # [I, references]
    reference_shares: np.ndarray  # [I, references]
    entry_venue: np.ndarray  # [I]
    sale_shares: np.ndarray  # [I, M] on the venue's own books
    route_shares: np.ndarray  # [B, Jc, M] where it is sold, all gates open
    sale_kind: np.ndarray  # [B, Jc]
    book_venue: np.ndarray  # [B]
    perps: np.ndarray  # [B, Jp]
    collateral: np.ndarray  # [B, Jc]
    is_hedged: np.ndarray  # [B] bool
    book_issuer: np.ndarray  # [B] place among the pegged, -1
    is_target: np.ndarray  # [B] bool
    is_targeting: np.ndarray  # [B] bool
    is_loan: np.ndarray  # [B] bool
    perp_index: np.ndarray  # [M]
    mark_kind: np.ndarray  # [M]
    basis_pairs: np.ndarray  # [pairs, 2]
    arbitrage_groups: np.ndarray  # [groups, members]
    pegged: np.ndarray  # [pegged] assets
    is_pegged: np.ndarray  # [A] bool
    peg_markets: np.ndarray  # [pegs]
    thresholds: np.ndarray  # [thresholds]
    buckets: int
    step: float
    steps: int
    draw_step: float
    window_steps: int
    breaker_steps: int


class Margin(NamedTuple):
    """`MarginRules` of one policy."""

    rate: np.ndarray  # [Jp, R, B]
    deduction: np.ndarray  # [Jp, R, B]
    ratio: np.ndarray  # [Jc, R, B]
    addition: np.ndarray  # [Jc, R, B]
    loan_rate: np.ndarray  # [B]
    granted: np.ndarray  # [Jc, B] share that a venue cap grants
    is_dynamic: bool  # whether haircuts follow volatility


class Rules(NamedTuple):
    """One entry of the policy axis."""

    position: np.ndarray  # [Jp, B, K]
    entry: np.ndarray  # [Jp, B]
    collateral: np.ndarray  # [Jc, B, K]
    cash: np.ndarray  # [B, K]
    accounts: np.ndarray  # [B, K]
    budget: np.ndarray  # [B, K]
    weight: np.ndarray  # [S, I]
    reference_weight: np.ndarray  # [I]
    redemption_weight: np.ndarray  # [I]
    clamp: np.ndarray  # [I]
    smoothing: np.ndarray  # [I]
    floor: np.ndarray  # [I]
    component_clamp: np.ndarray  # [I]
    move_limit: np.ndarray  # [I]
    delay: np.ndarray  # [I] steps
    median_weight: np.ndarray  # [I]
    median_share: np.ndarray  # [S, I]
    thinning: np.ndarray  # [M]
    normal_variance: np.ndarray  # [M]
    variance_smoothing: np.ndarray  # [M]
    least_depth: np.ndarray  # [M]
    basis_smoothing: np.ndarray  # [M]
    margin: Margin
    baseline_margin: Margin
    top_up_rate: np.ndarray  # [B]
    top_up_warn: np.ndarray  # [B]
    pace: np.ndarray  # [B]
    target: np.ndarray  # [B]
    fee: np.ndarray  # [B]
    collateral_fee: np.ndarray  # [B]
    depth: np.ndarray  # [M]
    sensitivity: np.ndarray  # [M]
    displacement: np.ndarray  # [M]
    reach: np.ndarray  # [M]
    distance: np.ndarray  # [N, M]
    units: np.ndarray  # [N, M]
    resilience_half_life: np.ndarray  # [M]
    basis_half_life: np.ndarray  # [pairs]
    arbitrage_half_life: np.ndarray  # [groups]
    arbitrage_capital: np.ndarray  # [groups]
    redemption_capacity: np.ndarray  # [pegged]
    haircut_reference: np.ndarray  # [I]
    haircut_power: np.ndarray  # [I]
    haircut_cap: np.ndarray  # [I]
    haircut_smoothing: np.ndarray  # [I]
    haircut_review: np.ndarray  # [I] steps
    trigger: np.ndarray  # [I]
    window: np.ndarray  # [I]
    halt: np.ndarray  # [I]
    discount: np.ndarray  # [I]
    backstop_capacity: np.ndarray  # [I]
    pause: np.ndarray  # [I]
    apart: np.ndarray  # [I] units that perps' owners keep out of their accounts
    fund: np.ndarray  # [V]
    adl: np.ndarray  # [V]
    queue: np.ndarray  # [V] 1 where winners are ranked
    backing: np.ndarray  # [pegged]
    supply: np.ndarray  # [pegged]
    reserve: np.ndarray  # [pegged]
    free_float: np.ndarray  # [pegged]
    run_rate: np.ndarray  # [pegged]
    run_tolerance: np.ndarray  # [pegged]
    vault_capacity: np.ndarray  # [V] 0: no vault
    vault_half_life: np.ndarray  # [V]
    feed_cap: np.ndarray  # [M]
    due_at_start: float


class Shocks(NamedTuple):
    """The numbers of `World`; mechanisms that are off have rate 0."""

    loading: np.ndarray  # [A, factor]
    drift: np.ndarray  # [A]
    anchor: np.ndarray  # [A, A]
    law: int
    a: float
    b: float
    c: float
    cap: float
    start: float
    latest: float
    macro_loading: np.ndarray  # [A]
    duration: float
    rebound: float
    rebound_delay: float
    rebound_half_life: float
    volatility_multiplier: float
    volatility_half_life: float
    profile_minutes: np.ndarray  # [points], none: the linear arrival
    profile_share: np.ndarray
    jump_rate: float
    jump_mean: float
    jump_deviation: float
    jump_loading: np.ndarray  # [A]
    drop_lowest: float
    drop_highest: float
    drop_correlation: float
    drop_onset: float
    drop_hold: float
    drop_half_life: float
    outage_venue: np.ndarray  # [outages]
    outage_random: np.ndarray  # [outages] bool
    outage_start: np.ndarray  # [outages]
    outage_length: np.ndarray  # [outages]
    outage_rate: np.ndarray  # [outages]
    backing_asset: np.ndarray  # [losses] place among the pegged
    backing_with_macro: np.ndarray  # [losses] bool
    backing_share: np.ndarray  # [losses]
    backing_start: np.ndarray  # [losses]
    backing_duration: np.ndarray  # [losses]
    replay: np.ndarray  # [T, A] log price over the start, zeros without a series
    load_outages: np.ndarray  # [load outages, 5] random or not, start, threshold, rate, length
    halt_venue: np.ndarray  # [halts]
    halts: np.ndarray  # [halts, 4] random (1) or not, start, length, rate
    congestions: np.ndarray  # [congestions, 4] the same
    congestion_left: np.ndarray  # [congestions]
    glitch_indices: np.ndarray  # [glitches, I] bool
    glitches: np.ndarray  # [glitches, 4] start, length, probability, factor
    sale_market: np.ndarray  # [sales]
    sales: np.ndarray  # [sales, 3] units, start, duration


class Series(NamedTuple):
    """Stage 1 of one path."""

    log_fundamental: np.ndarray  # [T, A]
    liquidity_drop: np.ndarray  # [T]
    gate_open: np.ndarray  # [T, V]
    engine_open: np.ndarray  # [T, V]
    capacity_left: np.ndarray  # [T]
    index_factor: np.ndarray  # [T, I]
    sales: np.ndarray  # [T, M]
    backing_kept: np.ndarray  # [T, pegged]
    outage_start: np.ndarray  # [V] of exogenous outages
    load: np.ndarray  # [load outages, 5] start, threshold, rate, hazard it takes, length
    load_venues: np.ndarray  # [load outages]


def floats(values: Any) -> np.ndarray:
    """A contiguous float64 copy."""
    return np.ascontiguousarray(np.array(values, dtype=np.float64))


def integers(values: Any) -> np.ndarray:
    """A contiguous int64 copy."""
    return np.ascontiguousarray(np.array(values, dtype=np.int64))


def padded(rows: Any, fill: float = -1, dtype: type = np.int64) -> np.ndarray:
    """Rows of unequal length as a rectangle."""
    width = max((len(row) for row in rows), default=0)
    table = np.full((len(rows), width), fill, dtype)
    for table_row, row in zip(table, rows, strict=True):
        table_row[: len(row)] = row
    return table


def maps_of(layout: Any) -> Maps:
    """`Layout` as arrays."""
    sale_shares = np.zeros((len(layout.indices), len(layout.markets)))
    for entry, sales in enumerate(layout.sales):
        for market, share in sales:
            sale_shares[entry, market] += share
    slots = max(len(book.collateral) for book in layout.books)
    sale_kind = np.zeros((len(layout.books), slots), np.int64)
    route_shares = np.zeros((len(layout.books), slots, len(layout.markets)))
    for b, book in enumerate(layout.books):
        for j, entry in enumerate(book.collateral):
            kind = book.sales[j] if book.sales else "market"
            sale_kind[b, j] = SALES[kind]
            if kind == "market":
                route_shares[b, j] = sale_shares[entry]
            elif kind == "spread":
                for market, share in layout.spread_sales[entry]:
                    route_shares[b, j, market] += share
    is_pegged = np.zeros(len(layout.assets), bool)
    is_pegged[list(layout.pegged)] = True
    return Maps(
        market_venue=integers([m.venue for m in layout.markets]),
        market_asset=integers([m.asset for m in layout.markets]),
        market_is_perp=np.array([m.kind == "perp" for m in layout.markets], bool),
        market_quote=integers([m.quote for m in layout.markets]),
        impact_kind=integers([IMPACTS[m.impact] for m in layout.markets]),
        entry_asset=integers([i.asset for i in layout.indices]),
        sources=padded([i.sources for i in layout.indices]),
        references=padded([i.references for i in layout.indices]),
        reference_shares=padded([i.reference_shares for i in layout.indices], 0, np.float64),
        entry_venue=integers([i.venue for i in layout.indices]),
        sale_shares=sale_shares,
        route_shares=route_shares,
        sale_kind=sale_kind,
        book_venue=integers([b.venue for b in layout.books]),
        perps=padded([b.perps for b in layout.books]),
        collateral=padded([b.collateral for b in layout.books]),
        is_hedged=np.array([b.hedged for b in layout.books], bool),
        book_issuer=integers([b.issuer for b in layout.books]),
        is_target=np.array([b.target for b in layout.books], bool),
        is_targeting=np.array([b.targeting for b in layout.books], bool),
        is_loan=np.array([not b.perps for b in layout.books], bool),
        perp_index=integers(layout.perp_index),
        mark_kind=integers([MARKS[kind] for kind in layout.mark_kinds]),
        basis_pairs=integers(layout.basis_pairs).reshape(-1, 2),
        arbitrage_groups=padded(layout.arbitrage_groups),
        pegged=integers(layout.pegged),
        is_pegged=is_pegged,
        peg_markets=integers(layout.peg_markets),
        thresholds=floats(layout.thresholds),
        buckets=int(layout.buckets),
        step=float(layout.step),
        steps=int(layout.steps),
        draw_step=float(layout.draw_step),
        window_steps=int(layout.window_steps),
        breaker_steps=int(layout.breaker_steps),
    )


def given(leaf: Any, policy: int, *shape: int, fill: float = 1.0) -> np.ndarray:
    """A leaf of one policy, or what stands for none where its mechanism is off in all of them."""
    return np.full(shape, fill) if leaf is None else floats(leaf[..., policy])


def margin_of(rules: Any, policy: int, is_dynamic: bool) -> Margin:
    """`MarginRules` of one policy, without the axis of buckets."""
    return Margin(
        rate=floats(rules.rate[..., 0, policy]),
        deduction=floats(rules.deduction[..., 0, policy]),
        ratio=floats(rules.ratio[..., 0, policy]),
        addition=floats(rules.addition[..., 0, policy]),
        loan_rate=floats(rules.loan_rate[..., 0, policy]),
        granted=floats(rules.granted[..., 0, policy]) if is_dynamic else np.ones((0, 0)),
        is_dynamic=is_dynamic,
    )


def rules_of(policies: Any, policy: int) -> Rules:
    """One entry of the policy axis, without the axes that are kept for broadcasting."""
    books, index, healing = policies.books, policies.index, policies.healing
    liquidation, impact = policies.liquidation, policies.impact
    off = types.SimpleNamespace(strength=None, normal=None, smoothing=None, least=None)
    thinning = policies.thinning or off
    entries, markets = index.floor.shape[0], impact.depth.shape[0]
    sales = policies.sales
    issuer, issuers = policies.issuer, healing.redemption_capacity.shape[0]
    breakers, apart = policies.breakers, policies.kept_apart
    haircuts, vault = policies.haircuts, policies.vault
    venues = policies.backstop.fund.shape[0]
    return Rules(
        position=floats(books.position[..., policy]),
        entry=floats(books.entry[..., 0, policy]),
        collateral=floats(books.collateral[..., policy]),
        cash=floats(books.cash[..., policy]),
        accounts=floats(books.accounts[..., policy]),
        budget=floats(books.budget[..., policy]),
        weight=floats(index.weight[..., policy]),
        reference_weight=floats(index.reference_weight[..., policy]),
        redemption_weight=floats(index.redemption_weight[..., policy]),
        clamp=floats(index.clamp[..., policy]),
        smoothing=floats(index.smoothing[..., policy]),
        floor=floats(index.floor[..., policy]),
        component_clamp=given(index.component_clamp, policy, entries, fill=1e30),
        move_limit=given(index.move_limit, policy, entries, fill=1e30),
        delay=given(index.delay, policy, entries, fill=0.0),
        median_weight=given(index.median_weight, policy, entries, fill=0.0),
        median_share=np.zeros(index.weight.shape[:-1])
        if index.median_share is None
        else floats(index.median_share[..., policy]),
        thinning=given(thinning.strength, policy, markets, fill=0.0),
        normal_variance=given(thinning.normal, policy, markets),
        variance_smoothing=given(thinning.smoothing, policy, markets),
        least_depth=given(thinning.least, policy, markets),
        basis_smoothing=floats(index.basis_smoothing[..., policy]),
        margin=margin_of(policies.margin, policy, haircuts is not None),
        baseline_margin=margin_of(policies.baseline_margin, policy, False),
        top_up_rate=floats(policies.top_up.rate[..., 0, policy]),
        top_up_warn=floats(policies.top_up.warn[..., 0, policy]),
        pace=floats(liquidation.pace[..., 0, policy]),
        target=floats(liquidation.target[..., 0, policy]),
        fee=floats(liquidation.fee[..., 0, policy]),
        collateral_fee=floats(liquidation.collateral_fee[..., 0, policy]),
        depth=floats(impact.depth[..., policy]),
        sensitivity=floats(impact.sensitivity[..., policy]),
        displacement=floats(impact.displacement[..., policy]),
        reach=given(impact.reach, policy, markets),
        distance=given(impact.distance, policy, 0, markets),
        units=given(impact.units, policy, 0, markets),
        resilience_half_life=floats(healing.resilience_half_life[..., policy]),
        basis_half_life=floats(healing.basis_half_life[..., policy]),
        arbitrage_half_life=floats(healing.arbitrage_half_life[..., policy]),
        arbitrage_capital=floats(healing.arbitrage_capital[..., policy]),
        redemption_capacity=floats(healing.redemption_capacity[..., policy]),
        haircut_reference=given(haircuts and haircuts.reference, policy, entries),
        haircut_power=given(haircuts and haircuts.power, policy, entries, fill=0.0),
        haircut_cap=given(haircuts and haircuts.cap, policy, entries),
        haircut_smoothing=given(haircuts and haircuts.smoothing, policy, entries),
        haircut_review=given(haircuts and haircuts.review, policy, entries),
        trigger=given(breakers and breakers.trigger, policy, entries),
        window=given(breakers and breakers.window, policy, entries),
        halt=given(breakers and breakers.halt, policy, entries),
        discount=given(sales and sales.discount, policy, entries),
        backstop_capacity=given(sales and sales.capacity, policy, entries),
        pause=given(sales and sales.pause, policy, entries) * (sales is not None),
        apart=given(apart and apart.units, policy, entries, fill=0.0),
        fund=floats(policies.backstop.fund[..., policy]),
        adl=floats(policies.backstop.adl[..., policy]),
        queue=given(policies.backstop.queue, policy, policies.backstop.adl.shape[0], fill=0.0),
        backing=given(issuer and issuer.backing, policy, issuers, fill=ENDLESS),
        supply=given(issuer and issuer.supply, policy, issuers, fill=ENDLESS),
        reserve=given(issuer and issuer.reserve, policy, issuers, fill=ENDLESS),
        free_float=given(issuer and issuer.free_float, policy, issuers, fill=0.0),
        run_rate=given(issuer and issuer.run_rate, policy, issuers, fill=0.0),
        run_tolerance=given(issuer and issuer.run_tolerance, policy, issuers, fill=0.0),
        vault_capacity=given(vault and vault.capacity, policy, venues, fill=0.0),
        vault_half_life=given(vault and vault.half_life, policy, venues),
        feed_cap=floats(policies.reporting.feed_cap[..., policy]),
        due_at_start=float(policies.reporting.due_at_start[policy]),
    )


def windows_of(failures: Any) -> np.ndarray:
    """Windows of failures, a row each."""
    rows = [[f.random, f.start, f.length, f.rate] for f in failures]
    return floats(rows).reshape(-1, 4)


def shocks_of(world: Any) -> Shocks:
    """The numbers of `World`."""
    macro, merton, liquidity, outages = world.macro, world.merton, world.liquidity, world.outages
    profile = np.zeros((2, 0)) if macro.profile is None else macro.profile
    no_replay = np.zeros((world.layout.steps, len(world.layout.assets)))
    no_jumps = np.zeros(len(world.layout.assets))
    return Shocks(
        loading=floats(world.loading),
        drift=floats(world.drift),
        anchor=floats(world.anchor),
        law=LAWS[macro.law],
        a=float(macro.a),
        b=float(macro.b),
        c=float(macro.c),
        cap=float(macro.cap),
        start=float(macro.start),
        latest=float(macro.latest),
        macro_loading=floats(macro.loading),
        duration=float(macro.duration),
        rebound=float(macro.rebound),
        rebound_delay=float(macro.rebound_delay),
        rebound_half_life=float(macro.rebound_half_life),
        volatility_multiplier=float(macro.volatility_multiplier),
        volatility_half_life=float(macro.volatility_half_life),
        profile_minutes=floats(profile[0]),
        profile_share=floats(profile[1]),
        jump_rate=0.0 if merton is None else float(merton.rate),
        jump_mean=0.0 if merton is None else float(merton.mean),
        jump_deviation=0.0 if merton is None else float(merton.deviation),
        jump_loading=no_jumps if merton is None else floats(merton.loading),
        drop_lowest=float(liquidity.lowest),
        drop_highest=float(liquidity.highest),
        drop_correlation=float(liquidity.correlation),
        drop_onset=float(liquidity.onset),
        drop_hold=float(liquidity.hold),
        drop_half_life=float(liquidity.half_life),
        outage_venue=integers([o.venue for o in outages]),
        outage_random=np.array([o.random for o in outages], bool),
        outage_start=floats([o.start for o in outages]),
        outage_length=floats([o.length for o in outages]),
        outage_rate=floats([o.rate for o in outages]),
        backing_asset=integers([loss.asset for loss in world.backing]),
        backing_with_macro=np.array([loss.with_macro for loss in world.backing], bool),
        backing_share=floats([loss.share for loss in world.backing]),
        backing_start=floats([loss.start for loss in world.backing]),
        backing_duration=floats([loss.duration for loss in world.backing]),
        replay=floats(no_replay if world.replay is None else world.replay),
        load_outages=floats(
            [[o.random, o.start, o.threshold, o.rate, o.length] for o in world.load_outages]
        ).reshape(-1, 5),
        halt_venue=integers([h.venue for h in world.halts]),
        halts=windows_of(world.halts),
        congestions=windows_of(world.congestions),
        congestion_left=floats([c.left for c in world.congestions]),
        glitch_indices=np.array(
            [[i in g.indices for i in range(len(world.layout.indices))] for g in world.glitches],
            bool,
        ).reshape(len(world.glitches), len(world.layout.indices)),
        glitches=floats(
            [[g.start, g.length, g.probability, g.factor] for g in world.glitches]
        ).reshape(-1, 4),
        sale_market=integers([s.market for s in world.sales]),
        sales=floats([[s.units, s.start, s.duration] for s in world.sales]).reshape(-1, 3),
    )


class State(NamedTuple):
    """What one step passes to the next, of one path and policy; the step changes it in place."""

    cash: np.ndarray  # [B, K]
    position_left: np.ndarray  # [Jp, B, K]
    collateral_left: np.ndarray  # [Jc, B, K]
    budget: np.ndarray  # [B, K]
    taken_over: np.ndarray  # [B, K] bool
    displacement: np.ndarray  # [M]
    last_price: np.ndarray  # [M]
    smoothed_index: np.ndarray  # [I]
    basis: np.ndarray  # [M]
    maker_units: np.ndarray  # [M]
    maker_cash: np.ndarray  # [M]
    fund: np.ndarray  # [V]
    published: np.ndarray  # [I] last published index, NaN before the first
    variance: np.ndarray  # [M]
    last_log_price: np.ndarray  # [M] after stage 8 of the step before
    recent_index: np.ndarray  # [W, I] newest first
    halt_left: np.ndarray  # [I] steps
    haircut_variance: np.ndarray  # [I] of the index, per minute
    haircut_index: np.ndarray  # [I] published in the step before
    haircut_multiplier: np.ndarray  # [I]
    backing: np.ndarray  # [pegged]
    supply: np.ndarray  # [pegged]
    reserve: np.ndarray  # [pegged]
    free_float: np.ndarray  # [pegged]
    hedge: np.ndarray  # [pegged] worth of issuers' hedges
    vault_units: np.ndarray  # [M] contracts that venues' vaults hold
    vault_cash: np.ndarray  # [V] paid in less paid out


class History(NamedTuple):
    """Every value of every stage of one path and policy; the observation reads nothing else."""

    log_fundamental: np.ndarray  # [T, A] stage 1
    liquidity: np.ndarray  # [T, M] the multiplier l of depth
    gate_open: np.ndarray  # [T, V]
    engine_open: np.ndarray  # [T, V]
    capacity_left: np.ndarray  # [T]
    index_factor: np.ndarray  # [T, I]
    sales: np.ndarray  # [T, M] that exogenous sellers offer
    others_sold: np.ndarray  # [T, M] and what the books take of it
    outage_start: np.ndarray  # [V] of exogenous outages
    load: np.ndarray  # [load outages, 5] see `Series`
    load_venues: np.ndarray  # [load outages]
    hazard: np.ndarray  # [T, load outages] after the step
    load_start: np.ndarray  # [load outages] steps taken when it began, infinite: not yet
    backing_kept: np.ndarray  # [T, pegged]
    backing_ratio: np.ndarray  # [T, pegged]
    supply: np.ndarray  # [T, pegged] when the step begins
    redeemed: np.ndarray  # [T, pegged] units
    holders_sold: np.ndarray  # [T, M] units
    price: np.ndarray  # [T, M] stage 2
    reference: np.ndarray  # [T, I] stage 3, NaN without references
    raw_index: np.ndarray  # [T, I]
    index: np.ndarray  # [T, I]
    fair: np.ndarray  # [T, I]
    mark: np.ndarray  # [T, M], NaN for spot
    position_before: np.ndarray  # [T, Jp, B, K] fraction left when the step begins
    collateral_before: np.ndarray  # [T, Jc, B, K]
    taken_over: np.ndarray  # [T, B, K] bool, when the step begins
    equity: np.ndarray  # [T, B, K] stage 4
    maintenance: np.ndarray  # [T, B, K]
    due: np.ndarray  # [T, B, K] bool
    fair_equity: np.ndarray  # [T, B, K] at fair prices under the baseline's rules
    fair_maintenance: np.ndarray  # [T, B, K]
    fair_equity_own: np.ndarray  # [T, B, K] at fair prices under the policy's rules
    fair_maintenance_own: np.ndarray  # [T, B, K]
    top_up: np.ndarray  # [T, B, K] stage 5
    position_sold: np.ndarray  # [T, Jp, B, K] stage 6, fraction of the starting position
    collateral_sold: np.ndarray  # [T, Jc, B, K]
    vault_sold: np.ndarray  # [T, M] contracts that vaults work off, bought < 0
    sold: np.ndarray  # [T, M] net units Q
    displacement_impact: np.ndarray  # [T, M] y after stage 7
    price_impact: np.ndarray  # [T, M] price after stage 7
    average_price: np.ndarray  # [T, M]
    filled: np.ndarray  # [T, M] share of the sell orders that the book took
    halted: np.ndarray  # [T, I] 1 where a breaker has tripped
    breaker_gap: np.ndarray  # [T] nearness to a trigger, for comparisons
    received: np.ndarray  # [T, Jc, B] what a unit of collateral brings
    fill_gap: np.ndarray  # [T] nearness to a threshold of fills, for comparisons
    is_unfilled: np.ndarray  # [T] 1 where any order was not filled whole
    displacement_healed: np.ndarray  # [T, M] y after stage 8
    price_after: np.ndarray  # [T, M] price after stage 8
    bankruptcy_equity: np.ndarray  # [T, B, K] stage 9, before anything is settled
    deficit: np.ndarray  # [T, B, K]
    adl_charge: np.ndarray  # [T, B, K] loss taken as a winner
    socialised_charge: np.ndarray  # [T, B, K]
    insurance_drawn: np.ndarray  # [T, V]
    vault_paid: np.ndarray  # [T, V] deficits of what vaults took over
    vault_taken: np.ndarray  # [T, V] its notional
    adl_loss: np.ndarray  # [T, V] of cohorts and market makers
    adl_notional: np.ndarray  # [T, V]
    adl_overshoot_contracts: np.ndarray  # [T, V]
    adl_overshoot_wealth: np.ndarray  # [T, V]
    queue_gap: np.ndarray  # [T] nearness of two ranks to a tie, for comparisons
    socialised_loss: np.ndarray  # [T, V]
    unabsorbed_loss: np.ndarray  # [T, V]
    final_equity: np.ndarray  # [T, B, K] bankruptcy equity after stage 9
    cash: np.ndarray  # [T, B, K] the state after the step
    position_left: np.ndarray  # [T, Jp, B, K]
    collateral_left: np.ndarray  # [T, Jc, B, K]
    budget: np.ndarray  # [T, B, K]
    taken_over_after: np.ndarray  # [T, B, K] bool
    fund: np.ndarray  # [T, V]
    maker_units: np.ndarray  # [T, M]
    maker_cash: np.ndarray  # [T, M]
    vault_units: np.ndarray  # [T, M]
    vault_cash: np.ndarray  # [T, V]


class Outcomes(NamedTuple):
    """What one path and policy leaves behind: MODEL.md section 2.10."""

    liquidated_notional: float
    liquidated_notional_by_market: np.ndarray  # [M]
    liquidated_units: float
    reported_liquidations: float
    liquidated_accounts: float
    long_share: float
    peak_window_share: float
    peak_time: float
    collateral_sold: np.ndarray  # [A]
    bad_debt: float
    insurance_drawn: float
    insurance_drawn_by_venue: np.ndarray  # [V]
    vault_paid: float
    vault_taken: np.ndarray  # [V]
    vault_loss: np.ndarray  # [V]
    adl_loss: float
    socialised_loss: float
    unabsorbed_loss: float
    adl_notional: float
    adl_notional_by_venue: np.ndarray  # [V]
    adl_overshoot_contracts: float
    adl_overshoot_wealth: float
    equity_lost: np.ndarray  # [V]
    outage_start: np.ndarray  # [V]
    outage_length: np.ndarray  # [V]
    trough_price: np.ndarray  # [M]
    wick_price: np.ndarray  # [M]
    trough_time: np.ndarray  # [M]
    trough_index: np.ndarray  # [I]
    halted_minutes: np.ndarray  # [I]
    depeg_minutes: np.ndarray  # [pegs, thresholds]
    least_backing: np.ndarray  # [A] NaN without a modelled issuer
    units_redeemed: np.ndarray  # [A]
    open_interest_change: float
    least_margin_gap: float
    wrongful_liquidations: np.ndarray  # [cause] index, margin
    missed_liquidations: float
    missed_loss: float
    compensation: float
    status: float
    least_branch_gap: float  # not in the model: nearness to any other threshold, for comparisons
