"""One step of the cascade: the stages in order, nothing else."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
from jax import Array

from deleverage.cascade.backstop import absorb
from deleverage.cascade.blocks import BlockRules
from deleverage.cascade.flows import Flows
from deleverage.cascade.healing import heal
from deleverage.cascade.impact import local_depth
from deleverage.cascade.index import publish
from deleverage.cascade.maps import maps_of
from deleverage.cascade.margin import SlotPrices, assess, has_positions
from deleverage.cascade.prices import market_prices
from deleverage.cascade.primitives import gather, spread
from deleverage.cascade.top_up import top_up_cash
from deleverage.cascade.trading import trade
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

    # 5 top-ups
    top_ups = []
    for (block, rules, accounts), margin, due in zip(groups, margins, is_due, strict=True):
        gate_open = spread(block.venue, inputs.gate_open)
        top_ups.append(top_up_cash(rules.top_up, accounts, margin, due, gate_open, minutes))
    cash = [account.cash + added for account, added in zip(state.accounts, top_ups, strict=True)]

    # 6-7 orders and impact
    depth = local_depth(policy.impact, inputs.liquidity_drop, inputs.feedback)
    traded = trade(
        maps, blocks, state.accounts, cash, margins, is_due, depth, price, minutes
    )
    pressed = markets.displacement + traded.rise

    # 8 healing
    displacement = heal(layout, maps, policy.healing, depth, pressed, inputs.gate_open)
    closing_price = market_prices(maps, inputs.log_fundamental, displacement)

    # 9 bankruptcies
    after_orders = tuple(
        Accounts(
            cash=traded.cash[b],
            contracts=account.contracts - traded.contracts_closed[b],
            collateral=account.collateral - traded.collateral_sold[b],
            budget=account.budget - top_ups[b],
            taken_over=account.taken_over,
        )
        for b, account in enumerate(state.accounts)
    )
    markets = Markets(
        displacement=displacement,
        last_price=closing_price,
        smoothed_index=published.smoothed_index,
        basis=published.basis,
        maker_units=markets.maker_units + traded.perp_units,
        maker_cash=markets.maker_cash - traded.perp_units * traded.average_price,
    )
    fund = state.fund + traded.fees
    settled, markets, fund, losses = absorb(
        maps, policy.backstop, blocks, after_orders, markets, fund, is_due, closing_price
    )

    flows = Flows(
        price=price,
        index_price=published.index_price,
        mark_price=published.mark_price,
        fair_price=published.fair_price,
        traded_price=market_prices(maps, inputs.log_fundamental, pressed),
        average_price=traded.average_price,
        closing_price=closing_price,
        pressed=pressed,
        perp_units_sold=traded.perp_units,
        spot_units_sold=traded.spot_units,
        margins=margins,
        is_due=is_due,
        top_up=top_ups,
        contracts_closed=traded.contracts_closed,
        collateral_sold=traded.collateral_sold,
        fees=traded.fees,
        losses=losses,
    )
    return State(settled, markets, fund), flows


