"""One step of the cascade: the stages in order, nothing else."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
from jax import Array

from deleverage.cascade.backstop import absorb
from deleverage.cascade.blocks import BlockRules
from deleverage.cascade.healing import heal
from deleverage.cascade.impact import execute, local_depth
from deleverage.cascade.index import publish
from deleverage.cascade.liquidation import collateral_to_sell, perps_to_close
from deleverage.cascade.maps import maps_of
from deleverage.cascade.margin import SlotPrices, assess, has_positions
from deleverage.cascade.outcome import Flows
from deleverage.cascade.prices import market_prices
from deleverage.cascade.primitives import gather, spread, total
from deleverage.cascade.top_up import top_up_cash
from deleverage.policy import Policy
from deleverage.state import Accounts, Markets, State
from deleverage.world import Layout


class StepInputs(eqx.Module):
    """What a step is given from outside, `[..., path]`."""

    log_fundamental: Array  # [A, path]
    liquidity_drop: Array  # [path]
    gate_open: Array  # [V, path]
    feedback: Array  # [path] 1, or 0 in the paired run without stages 7 and 8
    t: Array  # step number, counted from 0


def initial_state(
    layout: Layout, policy: Policy, blocks: tuple[BlockRules, ...], feedback: Array
) -> State:
    """The state before the first draw: all positions whole, makers balancing every perp."""
    maps = maps_of(layout)
    displacement = policy.impact.displacement * feedback
    starts = [block.books for block in blocks]
    fundamental = jnp.zeros((len(layout.assets), displacement.shape[-1]), displacement.dtype)
    return State(
        accounts=tuple(
            Accounts(
                cash=start.cash,
                contracts=start.position,
                collateral=start.collateral,
                budget=start.budget,
                taken_over=jnp.zeros(start.cash.shape, bool),
            )
            for start in starts
        ),
        markets=Markets(
            displacement=displacement,
            last_price=market_prices(maps, fundamental, displacement),
            smoothed_index=jnp.ones_like(policy.index.floor),
            basis=jnp.zeros_like(displacement),
            maker_units=-gather(maps.orders_perp, [s.position for s in starts]),
            maker_cash=gather(maps.orders_perp, [s.position * s.entry for s in starts]),
        ),
        fund=policy.backstop.fund,
    )


def step(
    layout: Layout,
    policy: Policy,
    blocks: tuple[BlockRules, ...],
    state: State,
    inputs: StepInputs,
) -> tuple[State, Flows]:
    """Take all stages of MODEL.md section 2 once; pure.

    Args:
        layout: Static world.
        policy: Rules, leaves `[..., path]`.
        blocks: The same policy's books and their rules, cut by block.
        state: What the step before left.
        inputs: Exogenous prices, liquidity, gates.

    Returns:
        The next state, and what happened for those who watch.
    """
    maps, minutes, markets = maps_of(layout), layout.step, state.markets
    groups = list(zip(maps.blocks, blocks, state.accounts, strict=True))
    redemption_price = jnp.exp(inputs.log_fundamental)

    # 2-3 prices, index, mark
    price = market_prices(maps, inputs.log_fundamental, markets.displacement)
    published = publish(
        layout, maps, policy.index, markets, price, redemption_price, inputs.t == 0
    )

    # 4 margin
    margins, is_due = [], []
    for block, rules, accounts in groups:
        marks = SlotPrices(
            spread(block.collateral, published.index_price),
            spread(block.market, published.mark_price),
        )
        margin = assess(rules.margin, rules.books, accounts, marks)
        wiped_out = accounts.taken_over & has_positions(accounts)
        margins.append(margin)
        is_due.append(margin.is_short_of_margin | wiped_out)

    # 5 top-ups, and the perp orders of 6
    top_ups, closed = [], []
    for (block, rules, accounts), margin, due in zip(groups, margins, is_due, strict=True):
        gate_open = spread(block.venue, inputs.gate_open)
        top_ups.append(top_up_cash(rules.top_up, accounts, margin, due, gate_open, minutes))
        closed.append(perps_to_close(block, rules, accounts, margin, due, minutes))

    # 6-7 perps trade and settle, then collateral
    depth = local_depth(policy.impact, inputs.liquidity_drop, inputs.feedback)
    perp_units = gather(maps.orders_perp, closed)
    perp_rise, perp_average = execute(depth, price, perp_units)
    cash, fees, sold = [], [], []
    for (block, rules, accounts), margin, due, added, contracts in zip(
        groups, margins, is_due, top_ups, closed, strict=True
    ):
        average = spread(block.market, perp_average)
        profit = total(contracts * (average - rules.books.entry))
        fee = rules.liquidation.fee * total(jnp.abs(contracts) * average)
        cash.append(accounts.cash + added + profit - fee)
        fees.append(fee)
        sale_price = spread(block.sale, price)
        sold.append(
            collateral_to_sell(
                block, rules, accounts, margin, due, contracts, cash[-1], sale_price, minutes
            )
        )
    spot_units = gather(maps.orders_collateral, sold)
    spot_rise, spot_average = execute(depth, price, spot_units)
    pressed = markets.displacement + perp_rise + spot_rise
    traded = []
    for b, (block, rules, accounts) in enumerate(groups):
        proceeds = total(sold[b] * spread(block.sale, spot_average))
        fee = jnp.where(is_due[b], rules.liquidation.collateral_fee * proceeds, 0)
        fees[b] = fees[b] + fee
        traded.append(
            Accounts(
                cash=cash[b] + proceeds - fee,
                contracts=accounts.contracts - closed[b],
                collateral=accounts.collateral - sold[b],
                budget=accounts.budget - top_ups[b],
                taken_over=accounts.taken_over,
            )
        )
    fees_by_venue = gather(maps.venue_books, fees)

    # 8 healing
    displacement = heal(layout, maps, policy.healing, depth, pressed, inputs.gate_open)
    closing_price = market_prices(maps, inputs.log_fundamental, displacement)

    # 9 bankruptcies
    after_trading = Markets(
        displacement=displacement,
        last_price=closing_price,
        smoothed_index=published.smoothed_index,
        basis=published.basis,
        maker_units=markets.maker_units + perp_units,
        maker_cash=markets.maker_cash - perp_units * perp_average,
    )
    settled, after_losses, fund, losses = absorb(
        maps,
        policy.backstop,
        blocks,
        tuple(traded),
        after_trading,
        state.fund + fees_by_venue,
        is_due,
        closing_price,
    )

    flows = Flows(
        price=price,
        index_price=published.index_price,
        mark_price=published.mark_price,
        fair_price=published.fair_price,
        traded_price=market_prices(maps, inputs.log_fundamental, pressed),
        average_price=jnp.where(maps.perp > 0, perp_average, spot_average),
        closing_price=closing_price,
        pressed=pressed,
        perp_units_sold=perp_units,
        spot_units_sold=spot_units,
        margins=margins,
        is_due=is_due,
        top_up=top_ups,
        contracts_closed=closed,
        collateral_sold=sold,
        fees=fees_by_venue,
        losses=losses,
    )
    return State(settled, after_losses, fund), flows


