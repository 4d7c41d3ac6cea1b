"""Stage 10: what is recorded of a path. MODEL.md 2.10.

`Tally` is carried beside the state; nothing in it is read by the next step.
"""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import Array

from deleverage.cascade.backstop import Losses, bankruptcy_equity, own_prices
from deleverage.cascade.blocks import BlockRules
from deleverage.cascade.maps import Maps
from deleverage.cascade.margin import Assessment, SlotPrices, assess, margin_gap
from deleverage.cascade.primitives import contract, gather, spread, total
from deleverage.policy import Policy
from deleverage.state import State
from deleverage.world import Layout

EXHAUSTED = 20.0
"""Log displacement at which a book counts as empty."""

UNFINISHED, BOOK_EXHAUSTED, DUE_AT_START, NOT_FINITE = 1, 2, 4, 8


class Flows(eqx.Module):
    """What happened in one step: read by observers, never by the next step. Lists are per block."""

    price: Array  # [M, path] stage 2
    index_price: Array  # [I, path]
    mark_price: Array  # [M, path]
    fair_price: Array  # [I, path]
    traded_price: Array  # [M, path] stage 7, after the orders
    average_price: Array  # [M, path] of the step's orders
    closing_price: Array  # [M, path] stage 8
    pressed: Array  # [M, path] displacement after the orders, before healing
    perp_units_sold: Array  # [M, path] net
    spot_units_sold: Array  # [M, path] net
    margins: list[Assessment]  # stage 4
    is_due: list[Array]  # [B, K, path] bool
    top_up: list[Array]  # [B, K, path]
    contracts_closed: list[Array]  # [Jp, B, K, path] signed
    collateral_sold: list[Array]  # [Jc, B, K, path] units
    fees: Array  # [V, path]
    losses: Losses


class Tally(eqx.Module):
    """Running outcomes of a path. Lists are per block, `[B, K, path]`."""

    liquidated: list[Array]  # bool: ever
    missed: list[Array]  # bool: ever
    margin_gap: list[Array]  # least so far
    liquidated_by_market: Array  # [M, path]
    reported: Array  # [path]
    long_notional: Array  # [path]
    liquidated_units: Array  # [path] at starting prices
    window: Array  # [W, path] forced notional of the last steps, a ring
    peak_window: Array  # [path]
    peak_time: Array  # [path]
    collateral_sold: Array  # [A, path]
    losses: Losses
    top_up: Array  # [V, path]
    trough_price: Array  # [M, path]
    trough_time: Array  # [M, path]
    wick_price: Array  # [M, path]
    trough_index: Array  # [I, path]
    depeg_steps: Array  # [threshold, peg, path]
    wrongful_index: Array  # [path]
    wrongful_margin: Array  # [path]
    missed_notional: Array  # [path]
    compensation: Array  # [path]
    exhausted: Array  # [path] bool
    selling: Array  # [path] bool: a due cohort was sold in the last step


def empty_tally(
    layout: Layout, blocks: tuple[BlockRules, ...], columns: int, dtype: Any
) -> Tally:
    """Nothing recorded yet."""

    def zeros(*shape: int) -> Array:
        return jnp.zeros((*shape, columns), dtype)

    venues, markets = len(layout.venues), len(layout.markets)
    never = [jnp.zeros(block.books.cash.shape, bool) for block in blocks]
    none, by_venue = zeros(), zeros(venues)
    return Tally(
        liquidated=never,
        missed=never,
        margin_gap=[jnp.full(block.books.cash.shape, jnp.inf, dtype) for block in blocks],
        liquidated_by_market=zeros(markets),
        reported=none,
        long_notional=none,
        liquidated_units=none,
        window=zeros(layout.window_steps),
        peak_window=none,
        peak_time=none,
        collateral_sold=zeros(len(layout.assets)),
        losses=Losses(*[by_venue] * 7, none, none),
        top_up=by_venue,
        trough_price=zeros(markets) + jnp.inf,
        trough_time=zeros(markets),
        wick_price=zeros(markets) + jnp.inf,
        trough_index=zeros(len(layout.indices)) + jnp.inf,
        depeg_steps=zeros(len(layout.thresholds), len(layout.pegs)),
        wrongful_index=none,
        wrongful_margin=none,
        missed_notional=none,
        compensation=none,
        exhausted=jnp.zeros(columns, bool),
        selling=jnp.zeros(columns, bool),
    )


def observe(
    layout: Layout,
    maps: Maps,
    policy: Policy,
    blocks: tuple[BlockRules, ...],
    tally: Tally,
    before: State,
    flows: Flows,
    redemption_price: Array,
    t: Array,
) -> Tally:
    """Add one step to the running outcomes.

    Args:
        layout: Static world.
        maps: Its relations.
        policy: Rules.
        blocks: Books and their rules, per block.
        tally: Outcomes so far.
        before: State at the start of the step.
        flows: Of the step.
        redemption_price: `[asset, path]`.
        t: Step number, counted from 0.

    Source: MODEL.md section 2.10.
    """
    minutes = (t + 1) * layout.step
    dtype = flows.price.dtype
    seen = [
        _observe_block(maps, b, rules, tally, before, flows) for b, rules in enumerate(blocks)
    ]
    forced_units = gather(maps.orders_perp, [s["perp_units"] for s in seen])
    forced_units = forced_units + gather(maps.orders_collateral, [s["loan_units"] for s in seen])
    by_market = flows.price * forced_units
    forced_total = _sum(by_market)

    window = tally.window.at[t % layout.window_steps].set(forced_total)
    window_sum = _sum(window)
    is_peak = window_sum > tally.peak_window
    trough = flows.closing_price < tally.trough_price
    parity = _rows(flows.closing_price, layout.peg_markets)
    issuer = _rows(redemption_price, tuple(asset for _, asset in layout.pegs))

    def everyone(name: str) -> Array:
        return gather(maps.everybody, [s[name] for s in seen])[0]

    return Tally(
        liquidated=[s["liquidated"] for s in seen],
        missed=[s["missed"] for s in seen],
        margin_gap=[s["margin_gap"] for s in seen],
        liquidated_by_market=tally.liquidated_by_market + by_market,
        reported=tally.reported
        + _sum(jnp.minimum(by_market, policy.reporting.feed_cap * layout.step)),
        long_notional=tally.long_notional + everyone("long_notional"),
        liquidated_units=tally.liquidated_units + _sum(forced_units),
        window=window,
        peak_window=jnp.where(is_peak, window_sum, tally.peak_window),
        peak_time=jnp.where(is_peak, minutes, tally.peak_time).astype(dtype),
        collateral_sold=tally.collateral_sold
        + gather(maps.assets_collateral, [s["sale_value"] for s in seen]),
        losses=Losses(*[a + b for a, b in zip(tally.losses, flows.losses, strict=True)]),
        top_up=tally.top_up + gather(maps.venue_books, flows.top_up),
        trough_price=jnp.where(trough, flows.closing_price, tally.trough_price),
        trough_time=jnp.where(trough, minutes, tally.trough_time).astype(dtype),
        wick_price=jnp.minimum(tally.wick_price, flows.traded_price),
        trough_index=jnp.minimum(tally.trough_index, flows.index_price),
        depeg_steps=tally.depeg_steps
        + jnp.stack([(parity < level * issuer).astype(dtype) for level in layout.thresholds]),
        wrongful_index=tally.wrongful_index + everyone("wrongful_index"),
        wrongful_margin=tally.wrongful_margin + everyone("wrongful_margin"),
        missed_notional=tally.missed_notional + everyone("missed_notional"),
        compensation=tally.compensation + everyone("compensation"),
        exhausted=tally.exhausted | (jnp.max(flows.pressed, axis=0) > EXHAUSTED),
        selling=everyone("selling") > 0,
    )


def _observe_block(
    maps: Maps, b: int, rules: BlockRules, tally: Tally, before: State, flows: Flows
) -> dict[str, Array]:
    """What one block adds: forced sales, and whether it was right to sell or wrong not to."""
    block, accounts, margin, due = (
        maps.blocks[b],
        before.accounts[b],
        flows.margins[b],
        flows.is_due[b],
    )
    perp_units = jnp.abs(flows.contracts_closed[b])
    sold = flows.collateral_sold[b]
    loan_units = jnp.where(due, sold, 0) if block.is_loan else jnp.zeros_like(sold)
    price = spread(block.market, flows.price)
    sale_price = spread(block.sale, flows.price)
    average = spread(block.sale, flows.average_price)
    loan_notional = total(loan_units * sale_price)
    perp_notional = perp_units * price
    forced = total(perp_notional) + loan_notional

    fair = SlotPrices(
        spread(block.collateral, flows.fair_price), spread(block.underlying, flows.fair_price)
    )
    fails_baseline = assess(rules.baseline_margin, rules.books, accounts, fair).is_short_of_margin
    fails_policy = assess(rules.margin, rules.books, accounts, fair).is_short_of_margin
    wrongful = margin.is_short_of_margin & ~accounts.taken_over & ~fails_baseline
    missed = ~due & fails_baseline
    exposure = total(jnp.abs(accounts.contracts) * price)
    if block.is_loan:
        exposure = total(accounts.collateral * sale_price)
    owed = jnp.where(block.pegged, sold * jnp.maximum(fair.collateral - average, 0), 0)
    wrongly_forced = jnp.where(wrongful, forced, 0)
    return {
        "perp_units": perp_units,
        "loan_units": loan_units,
        "sale_value": sold * average,
        "liquidated": tally.liquidated[b] | (forced > 0),
        "selling": forced + jnp.where(due, total(sold), 0),
        "missed": tally.missed[b] | missed,
        "margin_gap": jnp.minimum(tally.margin_gap[b], margin_gap(margin, accounts.taken_over)),
        "long_notional": total(jnp.where(rules.books.position > 0, perp_notional, 0))
        + loan_notional,
        "wrongful_index": jnp.where(fails_policy, 0, wrongly_forced),
        "wrongful_margin": jnp.where(fails_policy, wrongly_forced, 0),
        "missed_notional": jnp.where(missed & ~tally.missed[b], exposure, 0),
        "compensation": jnp.where(wrongful, total(owed), 0),
    }


def conclude(
    layout: Layout,
    maps: Maps,
    policy: Policy,
    blocks: tuple[BlockRules, ...],
    end: State,
    tally: Tally,
) -> dict[str, Array]:
    """Outcomes of single columns, by name, each `[..., path]`; the paired ones come later.

    Source: MODEL.md section 2.10.
    """
    prices = own_prices(maps, end.markets.last_price)
    kept, lost, missed_loss, open_start, open_end, accounts, finite = [], [], [], [], [], [], []
    for b, rules in enumerate(blocks):
        held = end.accounts[b]
        equity, _ = bankruptcy_equity(rules.books, held, prices[b])
        at_start = rules.books.cash + total(rules.books.collateral)
        at_start = at_start + total(rules.books.position * (1 - rules.books.entry))
        ours = ~held.taken_over
        kept.append(jnp.where(ours, jnp.maximum(equity, 0), 0))
        lost.append(jnp.maximum(at_start, 0) - kept[-1])
        missed_loss.append(jnp.where(tally.missed[b] & ours, jnp.maximum(-equity, 0), 0))
        open_start.append(total(jnp.abs(rules.books.position)))
        open_end.append(total(jnp.abs(held.contracts) * prices[b].perp))
        accounts.append(jnp.where(tally.liquidated[b], rules.books.accounts, 0))
        finite.append(equity)
    open_start, open_end, accounts, missed_loss, finite = (
        gather(maps.everybody, values)[0]
        for values in (open_start, open_end, accounts, missed_loss, finite)
    )
    gap = jnp.stack([jnp.min(least, axis=(0, 1)) for least in tally.margin_gap])
    liquidated = jnp.sum(tally.liquidated_by_market, axis=0)
    nothing = liquidated == 0
    safe = jnp.where(nothing, 1, liquidated)
    losses = tally.losses
    outcomes = {
        "liquidated_notional": liquidated,
        "liquidated_notional_by_market": tally.liquidated_by_market,
        "reported_liquidations": tally.reported,
        "liquidated_accounts": accounts,
        "long_share": jnp.where(nothing, jnp.nan, tally.long_notional / safe),
        "peak_window_share": jnp.where(nothing, jnp.nan, tally.peak_window / safe),
        "peak_time": jnp.where(nothing, jnp.nan, tally.peak_time),
        "collateral_sold": tally.collateral_sold,
        "bad_debt": jnp.sum(losses.bad_debt, axis=0),
        "insurance_drawn": jnp.sum(losses.insurance_drawn, axis=0),
        "insurance_drawn_by_venue": losses.insurance_drawn,
        "adl_notional": jnp.sum(losses.adl_notional, axis=0),
        "adl_notional_by_venue": losses.adl_notional,
        "adl_loss": jnp.sum(losses.adl_loss, axis=0),
        "adl_overshoot_contracts": losses.adl_overshoot_contracts,
        "adl_overshoot_wealth": losses.adl_overshoot_wealth,
        "socialised_loss": jnp.sum(losses.socialised_loss, axis=0),
        "unabsorbed_loss": jnp.sum(losses.unabsorbed_loss, axis=0),
        "equity_lost": gather(maps.venue_books, lost) + tally.top_up,
        "trough_price": tally.trough_price,
        "wick_price": tally.wick_price,
        "trough_time": tally.trough_time,
        "trough_index": tally.trough_index,
        "depeg_minutes": jnp.swapaxes(tally.depeg_steps, 0, 1) * layout.step,
        "open_interest_change": jnp.where(
            open_start == 0, 0, open_end / jnp.where(open_start == 0, 1, open_start) - 1
        ),
        "least_margin_gap": jnp.min(gap, axis=0),
        "wrongful_liquidations": jnp.stack([tally.wrongful_index, tally.wrongful_margin]),
        "missed_liquidations": tally.missed_notional,
        "missed_loss": missed_loss,
        "compensation": tally.compensation,
        "liquidated_units": tally.liquidated_units,
    }
    finite = jnp.isfinite(finite) & jnp.isfinite(liquidated)
    finite &= jnp.isfinite(jnp.sum(end.fund, axis=0))
    finite &= jnp.isfinite(jnp.sum(tally.trough_price, axis=0))
    outcomes["status"] = (
        UNFINISHED * tally.selling
        + BOOK_EXHAUSTED * tally.exhausted
        + DUE_AT_START * (policy.reporting.due_at_start > 0)
        + NOT_FINITE * ~finite
    ).astype(jnp.uint8)
    return outcomes


def _sum(rows: Array) -> Array:
    """Sum of rows, `[row, path] -> [path]`."""
    return contract(np.ones((1, rows.shape[0])), rows)[0]


def _rows(rows: Array, places: tuple[int, ...]) -> Array:
    """Some of the rows, in the given order."""
    return contract(np.eye(rows.shape[0])[list(places)], rows)
