"""Stage 10: what is recorded of a path. MODEL.md 2.10.

`Tally` is carried beside the state; nothing in it is read by the next step.
"""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from deleverage.cascade.backstop import Losses, bankruptcy_equity, no_losses, own_prices
from deleverage.cascade.blocks import BlockRules
from deleverage.cascade.flows import Flows
from deleverage.cascade.forced_sales import fair_prices, forced_sales
from deleverage.cascade.maps import Maps
from deleverage.cascade.margin import assess, margin_gap
from deleverage.cascade.primitives import any_true, contract, gather, spread, sum_rows, total
from deleverage.policy import Policy
from deleverage.state import Accounts, State
from deleverage.world import Layout

EXHAUSTED = 20.0
"""Log displacement at which a book counts as empty."""

UNFINISHED, BOOK_EXHAUSTED, DUE_AT_START, NOT_FINITE = 1, 2, 4, 8


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
        losses=no_losses(by_venue),
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
    fails_baseline = [
        assess(
            rules.baseline_margin, rules.books, account, fair_prices(block, flows.fair_price)
        ).is_short_of_margin
        for block, rules, account in zip(maps.blocks, blocks, before.accounts, strict=True)
    ]
    sales = forced_sales(
        maps, blocks, before.accounts, flows, fails_baseline, tally.liquidated
    )
    missed = [
        fails & ~due for fails, due in zip(fails_baseline, flows.is_due, strict=True)
    ]
    by_market = flows.price * sales.units_by_market
    window = tally.window.at[t % layout.window_steps].set(sum_rows(by_market))
    window_sum = sum_rows(window)
    is_peak = window_sum > tally.peak_window
    trough = flows.closing_price < tally.trough_price
    parity = _rows(flows.closing_price, layout.peg_markets)
    issuer = _rows(redemption_price, tuple(asset for _, asset in layout.pegs))
    depegged = [(parity < level * issuer).astype(dtype) for level in layout.thresholds]
    return Tally(
        liquidated=sales.liquidated,
        missed=[ever | now for ever, now in zip(tally.missed, missed, strict=True)],
        margin_gap=[
            jnp.minimum(gap, margin_gap(margin, account.taken_over))
            for gap, margin, account in zip(
                tally.margin_gap, flows.margins, before.accounts, strict=True
            )
        ],
        liquidated_by_market=tally.liquidated_by_market + by_market,
        reported=tally.reported
        + sum_rows(jnp.minimum(by_market, policy.reporting.feed_cap * layout.step)),
        long_notional=tally.long_notional + sales.long_notional,
        liquidated_units=tally.liquidated_units + sum_rows(sales.units_by_market),
        window=window,
        peak_window=jnp.where(is_peak, window_sum, tally.peak_window),
        peak_time=jnp.where(is_peak, minutes, tally.peak_time).astype(dtype),
        collateral_sold=tally.collateral_sold + sales.collateral_sold,
        losses=Losses(*[a + b for a, b in zip(tally.losses, flows.losses, strict=True)]),
        top_up=tally.top_up + gather(maps.venue_books, flows.top_up),
        trough_price=jnp.where(trough, flows.closing_price, tally.trough_price),
        trough_time=jnp.where(trough, minutes, tally.trough_time).astype(dtype),
        wick_price=jnp.minimum(tally.wick_price, flows.traded_price),
        trough_index=jnp.minimum(tally.trough_index, flows.index_price),
        depeg_steps=tally.depeg_steps + jnp.stack(depegged),
        wrongful_index=tally.wrongful_index + sales.wrongful_index,
        wrongful_margin=tally.wrongful_margin + sales.wrongful_margin,
        missed_notional=tally.missed_notional
        + _first_missed(maps, before.accounts, flows.price, missed, tally.missed),
        compensation=tally.compensation + sales.compensation,
        exhausted=tally.exhausted | (jnp.max(flows.pressed, axis=0) > EXHAUSTED),
        selling=sales.selling > 0,
    )


def _first_missed(
    maps: Maps,
    accounts: tuple[Accounts, ...],
    price: Array,
    missed: list[Array],
    ever: list[Array],
) -> Array:
    """Notional of cohorts missed for the first time, `[path]`."""
    new = [now & ~before for now, before in zip(missed, ever, strict=True)]

    def exposed() -> Array:
        notional = []
        for block, account, first in zip(maps.blocks, accounts, new, strict=True):
            if block.is_loan:
                held = total(account.collateral * spread(block.sale, price))
            else:
                held = total(jnp.abs(account.contracts) * spread(block.market, price))
            notional.append(jnp.where(first, held, 0))
        return gather(maps.everybody, notional)[0]

    return jax.lax.cond(any_true(new), exposed, lambda: jnp.zeros_like(price[0]))


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


def _rows(rows: Array, places: tuple[int, ...]) -> Array:
    """Some of the rows, in the given order."""
    return contract(np.eye(rows.shape[0])[list(places)], rows)
