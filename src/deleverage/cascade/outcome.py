"""Stage 10: what is recorded of a path. MODEL.md 2.10.

`Tally` is carried beside the state; nothing in it is read by the next step.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from deleverage.cascade.flows import Flows
from deleverage.cascade.forced_sales import ForcedSales
from deleverage.cascade.holdings import holdings
from deleverage.cascade.impact import with_rows
from deleverage.cascade.losses import Losses, no_losses
from deleverage.cascade.maps import Maps
from deleverage.cascade.primitives import add_cohorts, ratio_or_one, sum_cohorts, sum_rows
from deleverage.cascade.segregated import lost_apart
from deleverage.cascade.vault import gains
from deleverage.cascade.worklist import Drive, when
from deleverage.policy import Policy
from deleverage.state import State
from deleverage.world import Layout

EXHAUSTED = 20.0
"""Log displacement at which a book counts as empty."""

UNMODELLED = 1e29
"""Units: a supply of this or more stands for an issuer that is not modelled."""

UNFINISHED, BOOK_EXHAUSTED, DUE_AT_START, NOT_FINITE = 1, 2, 4, 8


class SalesTally(eqx.Module):
    """Forced sales of a path so far."""

    liquidated_by_market: Array  # [M, column]
    reported: Array  # [column]
    long_notional: Array  # [column]
    liquidated_units: Array  # [column] at starting prices
    window: Array  # [W, column] forced notional of the last steps, a ring
    peak_window: Array  # [column]
    peak_time: Array  # [column]
    collateral_sold: Array  # [A, column]
    off_book: Array  # [column] notional that went to no market
    wrongful_index: Array  # [column]
    wrongful_margin: Array  # [column]
    compensation: Array  # [column]


class IssuersTally(eqx.Module):
    """Issuers on a path so far, `[pegged, column]`."""

    least_backing: Array  # behind a unit, in its anchor
    redeemed: Array  # units


class Tally(eqx.Module):
    """Running outcomes of a path."""

    margin_gap: list[Array]  # per stretch of books [book, column], least so far
    sales: SalesTally
    losses: Losses
    top_up: Array  # [V, column]
    trough_price: Array  # [M, column]
    trough_time: Array  # [M, column]
    wick_price: Array  # [M, column]
    trough_index: Array  # [I, column]
    halted_steps: Array  # [I, column]
    depeg_steps: Array  # [threshold, peg, column]
    missed_notional: Array  # [column]
    exhausted: Array  # [column] bool
    selling: Array  # [column] bool: a due cohort was sold in the last step
    issuers: IssuersTally | None = None  # where any is modelled


def empty_tally(
    layout: Layout, maps: Maps, policy: Policy, columns: tuple[int, int], dtype: Any
) -> Tally:
    """Nothing recorded yet; `policy` says what there is to record."""

    def zeros(*shape: int) -> Array:
        return jnp.zeros((*shape, *columns), dtype)

    venues, markets = len(layout.venues), len(layout.markets)
    none, by_venue = zeros(), zeros(venues)
    return Tally(
        margin_gap=[zeros(s.stop - s.first) + jnp.inf for s in maps.stretches],
        sales=SalesTally(
            liquidated_by_market=zeros(markets),
            reported=none,
            long_notional=none,
            liquidated_units=none,
            window=zeros(layout.window_steps),
            peak_window=none,
            peak_time=none,
            collateral_sold=zeros(len(layout.assets)),
            off_book=none,
            wrongful_index=none,
            wrongful_margin=none,
            compensation=none,
        ),
        losses=no_losses(by_venue, policy.vault is not None),
        top_up=by_venue,
        trough_price=zeros(markets) + jnp.inf,
        trough_time=zeros(markets),
        wick_price=zeros(markets) + jnp.inf,
        trough_index=zeros(len(layout.indices)) + jnp.inf,
        halted_steps=zeros(len(layout.indices)),
        depeg_steps=zeros(len(layout.thresholds), len(layout.pegs)),
        missed_notional=none,
        exhausted=jnp.zeros(columns, bool),
        selling=jnp.zeros(columns, bool),
        issuers=None
        if policy.issuer is None
        else IssuersTally(zeros(len(layout.pegged)) + jnp.inf, zeros(len(layout.pegged))),
    )


def observe(
    layout: Layout,
    maps: Maps,
    policy: Policy,
    tally: Tally,
    flows: Flows,
    t: Array,
    drive: Drive,
) -> Tally:
    """Add one step to the running outcomes.

    Args:
        layout: Static world.
        maps: Its relations.
        policy: Rules.
        tally: Outcomes so far.
        flows: Of the step.
        t: Step number, counted from 0.
        drive: How it is run.

    Source: MODEL.md section 2.10.
    """
    minutes = (t + 1) * layout.step
    dtype = flows.price.dtype
    sales = flows.sales
    trough = flows.closing_price < tally.trough_price
    parity = flows.closing_price[maps.peg_market]
    issuer = flows.fundamental[maps.peg_asset]
    depegged = [(parity < level * issuer).astype(dtype) for level in layout.thresholds]
    exhausted = jnp.max(flows.pressed, axis=0) > EXHAUSTED
    if flows.holders_sold is not None:  # of what heals, a run alone pushes a book further
        exhausted |= jnp.max(flows.displacement, axis=0) > EXHAUSTED
    if flows.unfilled is not None:
        exhausted |= flows.unfilled
    gaps = zip(tally.margin_gap, flows.margin_gap, strict=True)
    forgotten = tally.sales.window.at[t % layout.window_steps].set(0)
    before = replace(tally.sales, window=forgotten)
    add = partial(_add_sales, layout, maps, policy, sales, t)
    return Tally(
        margin_gap=[jnp.minimum(least, gap) for least, gap in gaps],
        sales=when(drive, flows.any_orders, add, before),
        losses=jax.tree.map(jnp.add, tally.losses, flows.losses),
        top_up=tally.top_up + flows.topped_up,
        trough_price=jnp.where(trough, flows.closing_price, tally.trough_price),
        trough_time=jnp.where(trough, minutes, tally.trough_time).astype(dtype),
        wick_price=jnp.minimum(tally.wick_price, flows.traded_price),
        trough_index=jnp.minimum(tally.trough_index, flows.index_price),
        halted_steps=tally.halted_steps
        if flows.halted is None
        else tally.halted_steps + flows.halted.astype(dtype),
        depeg_steps=tally.depeg_steps + jnp.stack(depegged),
        missed_notional=tally.missed_notional + flows.missed_notional,
        exhausted=tally.exhausted | exhausted,
        selling=sales.selling > 0,
        issuers=_with_issuers(tally.issuers, flows),
    )


def _with_issuers(tally: IssuersTally | None, flows: Flows) -> IssuersTally | None:
    if tally is None:
        return None
    return IssuersTally(
        jnp.minimum(tally.least_backing, flows.backing), tally.redeemed + flows.redeemed
    )


def _add_sales(
    layout: Layout,
    maps: Maps,
    policy: Policy,
    sales: ForcedSales,
    t: Array,
    tally: SalesTally,
) -> SalesTally:
    """Add the forced sales of a step; a step without any adds only its zero to the window."""
    by_market = sales.notional_by_market
    notional = sum_rows(by_market)
    if maps.any_off_book:
        notional = notional + sales.off_book
    window = tally.window.at[t % layout.window_steps].set(notional)
    window_sum = sum_rows(window)
    is_peak = window_sum > tally.peak_window
    minutes = ((t + 1) * layout.step).astype(by_market.dtype)
    shown = jnp.minimum(by_market, policy.reporting.feed_cap * layout.step)
    return SalesTally(
        liquidated_by_market=tally.liquidated_by_market + by_market,
        reported=tally.reported + sum_rows(shown),
        long_notional=tally.long_notional + sales.long_notional,
        liquidated_units=tally.liquidated_units + sales.units,
        window=window,
        peak_window=jnp.where(is_peak, window_sum, tally.peak_window),
        peak_time=jnp.where(is_peak, minutes, tally.peak_time),
        collateral_sold=tally.collateral_sold + sales.collateral_sold,
        off_book=tally.off_book + sales.off_book,
        wrongful_index=tally.wrongful_index + sales.wrongful_index,
        wrongful_margin=tally.wrongful_margin + sales.wrongful_margin,
        compensation=tally.compensation + sales.compensation,
    )


def conclude(
    layout: Layout,
    maps: Maps,
    policy: Policy,
    end: State,
    tally: Tally,
) -> dict[str, Array]:
    """Outcomes of single columns, by name, each `[..., column]`; the paired ones come later.

    Source: MODEL.md section 2.10.
    """
    whole = holdings(layout, maps, policy, end)
    held, equity, start = whole.accounts, whole.equity, whole.rules.start
    lost = add_cohorts(
        tally.top_up, whole.rules.facts.venue, jnp.maximum(whole.at_start, 0) - whole.kept
    )
    lost = lost_apart(layout, maps, policy.kept_apart, end.markets.last_price, lost)
    missed = held.missed & ~held.taken_over
    missed_loss = sum_cohorts(jnp.where(missed, jnp.maximum(-equity, 0), 0))
    accounts = sum_cohorts(jnp.where(held.liquidated, start.accounts, 0))
    gap = jnp.min(jnp.concatenate(tally.margin_gap), axis=0)
    sales = tally.sales
    liquidated = sum_rows(sales.liquidated_by_market)
    if maps.any_off_book:
        liquidated = liquidated + sales.off_book
    nothing = liquidated == 0
    safe = jnp.where(nothing, 1, liquidated)
    losses = tally.losses
    outcomes = {
        "liquidated_notional": liquidated,
        "liquidated_notional_by_market": sales.liquidated_by_market,
        "reported_liquidations": sales.reported,
        "liquidated_accounts": accounts,
        "long_share": jnp.where(nothing, jnp.nan, sales.long_notional / safe),
        "peak_window_share": jnp.where(nothing, jnp.nan, sales.peak_window / safe),
        "peak_time": jnp.where(nothing, jnp.nan, sales.peak_time),
        "collateral_sold": sales.collateral_sold,
        "bad_debt": sum_rows(losses.bad_debt),
        "insurance_drawn": sum_rows(losses.insurance_drawn),
        "insurance_drawn_by_venue": losses.insurance_drawn,
        "adl_notional": sum_rows(losses.adl_notional),
        "adl_notional_by_venue": losses.adl_notional,
        "adl_loss": sum_rows(losses.adl_loss),
        "adl_overshoot_contracts": losses.adl_overshoot_contracts,
        "adl_overshoot_wealth": losses.adl_overshoot_wealth,
        "socialised_loss": sum_rows(losses.socialised_loss),
        "unabsorbed_loss": sum_rows(losses.unabsorbed_loss),
        "equity_lost": lost,
        "trough_price": tally.trough_price,
        "wick_price": tally.wick_price,
        "trough_time": tally.trough_time,
        "trough_index": tally.trough_index,
        "halted_minutes": tally.halted_steps * layout.step,
        "depeg_minutes": jnp.swapaxes(tally.depeg_steps, 0, 1) * layout.step,
        "open_interest_change": ratio_or_one(whole.open_interest, whole.open_at_start) - 1,
        "least_margin_gap": gap,
        "wrongful_liquidations": jnp.stack([sales.wrongful_index, sales.wrongful_margin]),
        "missed_liquidations": tally.missed_notional,
        "missed_loss": missed_loss,
        "compensation": sales.compensation,
        "liquidated_units": sales.liquidated_units,
    }
    outcomes |= _of_vaults(maps, end, losses) | _of_issuers(layout, policy, tally.issuers, lost)
    finite = jnp.isfinite(sum_cohorts(equity)) & jnp.isfinite(liquidated)
    finite &= jnp.isfinite(sum_rows(end.fund)) & jnp.isfinite(sum_rows(tally.trough_price))
    outcomes["status"] = (
        UNFINISHED * tally.selling
        + BOOK_EXHAUSTED * tally.exhausted
        + DUE_AT_START * (policy.reporting.due_at_start > 0)
        + NOT_FINITE * ~finite
    ).astype(jnp.uint8)
    return outcomes


def _of_vaults(maps: Maps, end: State, losses: Losses) -> dict[str, Array]:
    """What vaults took over, paid for it and made of it; nothing where there are none."""
    none = jnp.zeros_like(end.fund)
    if end.vault is None:
        return {"vault_paid": none[0], "vault_taken": none, "vault_loss": none}
    return {
        "vault_paid": sum_rows(losses.vault_paid),
        "vault_taken": losses.vault_taken,
        "vault_loss": -gains(maps, end.vault, end.markets.last_price),
    }


def _of_issuers(
    layout: Layout, policy: Policy, tally: IssuersTally | None, like: Array
) -> dict[str, Array]:
    """What was behind pegged assets and what was redeemed of them, `[asset, column]`.

    NaN of assets whose issuer is not modelled; `like` has the shape of a column in its last axes.
    """
    nothing = jnp.full((len(layout.assets), *like.shape[1:]), jnp.nan, like.dtype)
    if tally is None:
        return {"least_backing": nothing, "units_redeemed": nothing}
    rows, modelled = np.array(layout.pegged, np.int32), policy.issuer.supply < UNMODELLED

    def by_asset(values: Array) -> Array:
        return with_rows(nothing, rows, jnp.where(modelled, values, jnp.nan))

    return {
        "least_backing": by_asset(tally.least_backing),
        "units_redeemed": by_asset(tally.redeemed),
    }
