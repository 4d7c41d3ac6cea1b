"""One step of the cascade: the stages in order, nothing else. Venues act once a step (A7)."""

from __future__ import annotations

from functools import partial

import equinox as eqx
import jax.numpy as jnp
from jax import Array

from deleverage.cascade.backstop import absorb
from deleverage.cascade.books import rules_of
from deleverage.cascade.breaker import watch_index
from deleverage.cascade.exogenous_sales import sellers_of
from deleverage.cascade.fills import fill_collateral_orders, fill_perp_orders
from deleverage.cascade.flows import Flows
from deleverage.cascade.haircuts import Scaling, review
from deleverage.cascade.healing import heal
from deleverage.cascade.hedge import after_hedging
from deleverage.cascade.impact import OrderBooks, local_depth
from deleverage.cascade.index import publish
from deleverage.cascade.issuer import (
    after_news,
    after_redemptions,
    redemption_capacity,
    redemption_prices,
)
from deleverage.cascade.load import LoadOutages, add_load, gates_under_load
from deleverage.cascade.maps import maps_of
from deleverage.cascade.margin_call import call_margin, masks_of
from deleverage.cascade.off_book import fill_off_book
from deleverage.cascade.once import once
from deleverage.cascade.prices import log_prices, market_prices
from deleverage.cascade.room import in_any
from deleverage.cascade.runs import holders_run, sold_by_asset
from deleverage.cascade.sales import sale_terms, with_open_routes
from deleverage.cascade.settlement import settle
from deleverage.cascade.thinning import realise, thin
from deleverage.cascade.trading import executed, place_collateral_orders, place_perp_orders
from deleverage.cascade.vault import after_trading, orders_of_vaults
from deleverage.cascade.worklist import Drive, where_needed
from deleverage.policy import Policy
from deleverage.state import Inputs, Markets, Orders, State
from deleverage.world import Layout


class StepInputs(eqx.Module):
    """What a step is given from outside, the same for every lane."""

    fundamental: Array  # [A, 1, path]
    liquidity_drop: Array  # [1, path]
    gate_open: Array  # [V, 1, path]
    t: Array  # step number, counted from 0
    watched: Array | None = None  # lane and path whose margins are handed out
    backing_kept: Array | None = None  # [pegged, 1, path] None: no news of issuers
    engine_open: Array | None = None  # [V, 1, path], 0 where no order is placed
    capacity_left: Array | None = None  # [1, path] of redemptions and cross-venue arbitrage
    index_factor: Array | None = None  # [I, 1, path] on raw indices
    sales: Array | None = None  # [M, 1, path] units of exogenous sellers
    load: LoadOutages | None = None  # the same in every step; None: load shuts no gate


def step_inputs(layout: Layout, inputs: Inputs) -> StepInputs:
    """Exogenous series with the lane axis, `[step, ..., lane, path]`, as a scan takes them in."""
    return StepInputs(
        fundamental=jnp.exp(inputs.log_fundamental),
        liquidity_drop=inputs.liquidity_drop,
        gate_open=inputs.gate_open,
        t=jnp.arange(layout.steps, dtype=jnp.int32),
        engine_open=inputs.engine_open,
        capacity_left=inputs.capacity_left,
        index_factor=inputs.index_factor,
        sales=inputs.sales,
        backing_kept=inputs.backing_kept,
    )


def step(
    layout: Layout, policy: Policy, state: State, inputs: StepInputs, drive: Drive
) -> tuple[State, Flows]:
    """Take all stages of MODEL.md section 2 once; pure.

    Args:
        layout: Static world.
        policy: Rules, leaves `[..., lane, 1]`.
        state: What the step before left.
        inputs: Exogenous prices, liquidity, gates.
        drive: With or without feedback, and how cohorts are visited (static).

    Returns:
        The next state, and what happened for those who watch.
    """
    maps, minutes, markets = maps_of(layout), layout.step, state.markets
    rules = rules_of(layout, maps.facts, policy)
    fundamental, gate_open, load = inputs.fundamental, inputs.gate_open, state.load
    if load is not None:
        gate_open, load = gates_under_load(layout, inputs.load, load, gate_open, inputs.t)

    # 1 what issuers pay
    issuer, backing = state.issuer, None
    if issuer is not None:
        issuer = once(after_news, policy.issuer, issuer, inputs.backing_kept)
        backing = issuer.ratio
        fundamental = once(partial(redemption_prices, layout), issuer, fundamental)

    # 2-3 prices, index, mark
    price = once(partial(market_prices, maps), fundamental, markets.displacement)
    published = once(
        partial(publish, layout, maps),
        policy.index,
        markets,
        price,
        fundamental,
        inputs.t,
        inputs.index_factor,
    )

    rules = with_open_routes(maps, rules, gate_open)
    terms = sale_terms(maps, policy.sales, published.index_price, fundamental, gate_open)

    breakers, halted = watch_index(
        policy.breakers, state.breakers, published.index_price, inputs.t == 0
    )

    # 4 margin
    haircuts = state.haircuts
    if policy.haircuts is not None:
        haircuts = once(
            partial(review, minutes=minutes),
            policy.haircuts,
            haircuts,
            published.index_price,
            inputs.t,
        )
        scaling = Scaling(haircuts.multiplier, policy.haircuts.cap)
        published = published._replace(haircuts=scaling)
    call = call_margin(
        maps,
        rules,
        state.accounts,
        published,
        gate_open,
        inputs.watched,
        drive,
        inputs.engine_open,
    )

    # 5-7 top-ups, perp orders, collateral orders, impact
    depth = local_depth(policy.impact, inputs.liquidity_drop)
    if policy.thinning is not None:
        depth = once(thin, policy.thinning, depth, markets.volatility.variance)
    order_books = OrderBooks(maps, policy.impact, depth, markets.displacement)
    vault, working_off = state.vault, None
    if vault is not None:
        working_off = orders_of_vaults(maps, policy.vault, vault, minutes)
    sellers = sellers_of(maps, inputs.sales, price, call, working_off)
    perps = place_perp_orders(
        rules,
        state.accounts,
        state.orders,
        call,
        published,
        price,
        gate_open,
        minutes,
        drive,
        sellers.net_perps,
        halted,
    )
    perps, worked_off, unfilled_perps = fill_perp_orders(
        rules, perps, sellers, order_books, call, drive
    )
    perp_rise, perp_average = executed(drive, sellers, order_books, price, perps.units)
    if vault is not None:
        vault = once(partial(after_trading, maps), vault, worked_off, perp_average)
    orders = Orders(perps.closed, state.orders.sold)
    spot = place_collateral_orders(
        rules,
        perps.accounts,
        orders,
        call,
        published,
        price,
        perp_average,
        minutes,
        drive,
        sellers.spot,
        terms,
        halted,
    )
    spot, filled, unfilled_spot = fill_collateral_orders(
        rules, spot, sellers, order_books, call, drive
    )
    spot, off_book = fill_off_book(
        layout,
        maps,
        rules,
        spot,
        terms,
        redemption_capacity(policy.healing, issuer, minutes, None, inputs.capacity_left),
        call,
        minutes,
        drive,
    )
    handed_in = None if off_book is None else off_book.redeemed_by_asset(layout, maps)
    redeemed = holders_sold = unfilled_healing = None
    if issuer is not None and handed_in is not None:
        issuer = after_redemptions(issuer, handed_in, jnp.zeros_like(handed_in))
        redeemed = handed_in
    spot_rise, spot_average = executed(drive, sellers, order_books, price, spot.units)
    orders = Orders(perps.closed, spot.sold)
    average_price = once(partial(jnp.where, maps.is_perp), perp_average, spot_average)
    pressed = once(lambda *terms: sum(terms), markets.displacement, perp_rise, spot_rise)

    # 8 healing
    displacement, traded_price, closing_price = pressed, price, price
    if drive.feedback:
        traded_price = where_needed(
            drive,
            sellers.any,
            lambda: market_prices(maps, fundamental, pressed),
            lambda: price,
        )
        runs = None
        if issuer is not None:
            runs = partial(holders_run, layout, maps, policy.issuer, issuer, order_books, minutes)
        healed = once(
            partial(heal, layout, maps, runs=runs),
            policy.healing,
            order_books.depth_at(pressed),
            pressed,
            gate_open,
            handed_in,
            inputs.capacity_left,
            issuer,
        )
        displacement, unfilled_healing = healed.displacement, healed.unfilled
        if issuer is not None:
            sold = sold_by_asset(layout, maps, healed.sold)
            issuer = after_redemptions(issuer, healed.bought, sold)
            redeemed = healed.bought if redeemed is None else healed.bought + redeemed
            holders_sold = healed.sold
        closing_price = once(partial(market_prices, maps), fundamental, displacement)

    volatility = markets.volatility
    if policy.thinning is not None and drive.feedback:
        log_price = log_prices(maps, jnp.log(fundamental), displacement)
        volatility = once(
            partial(realise, minutes=minutes), policy.thinning, volatility, log_price
        )

    # 9 bankruptcies
    settled = settle(
        maps,
        rules,
        perps.accounts,
        orders,
        state.deficit,
        call,
        published,
        price,
        average_price,
        closing_price,
        drive,
        filled,
        terms,
        load_matters=load is not None,
    )
    accounts, markets, fund, vault, losses = absorb(
        maps,
        policy.backstop,
        rules,
        settled,
        call,
        Markets(
            displacement=displacement,
            last_price=closing_price,
            smoothed_index=published.smoothed_index,
            basis=published.basis,
            maker_units=markets.maker_units + perps.units,
            maker_cash=markets.maker_cash - perps.units * average_price,
            published_index=published.last_index,
            redemption=published.redemption,
            volatility=volatility,
        ),
        state.fund + settled.fees,
        closing_price,
        drive,
        policy.vault,
        vault,
    )

    if issuer is not None:
        issuer = once(
            partial(after_hedging, layout),
            rules,
            issuer,
            state.accounts,
            accounts,
            closing_price,
            inputs.fundamental,
        )
    if load is not None:
        load = add_load(layout, inputs.load, load, settled.sales.by_venue, inputs.t)

    flows = Flows(
        fundamental=fundamental,
        price=price,
        index_price=published.index_price,
        mark_price=published.mark_price,
        fair_price=published.fair_price,
        gate_open=gate_open,
        traded_price=traded_price,
        average_price=average_price,
        closing_price=closing_price,
        liquidity=depth.multiplier,
        pressed=pressed,
        displacement=displacement,
        perp_units_sold=perps.units,
        spot_units_sold=spot.units,
        margin_gap=call.margin_gap,
        watched=call.watched,
        is_due=masks_of(call.marks).is_due,
        any_orders=call.sellers.any,
        sells=call.sells,
        orders=orders,
        topped_up=perps.topped_up,
        fees=settled.fees,
        losses=losses,
        sales=settled.sales,
        missed_notional=perps.missed_notional,
        off_book=off_book,
        halted=halted,
        backing=backing,
        redeemed=redeemed,
        holders_sold=holders_sold,
        unfilled=in_any(unfilled_perps, unfilled_spot, unfilled_healing),
        filled=filled,
    )
    deficit = settled.deficit
    after = State(accounts, markets, fund, orders, deficit, breakers, haircuts, issuer, load, vault)
    return after, flows
