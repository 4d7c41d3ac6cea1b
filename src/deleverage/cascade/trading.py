"""Stages 6 and 7 together: orders, their execution, their settlement. MODEL.md 2.6, 2.7.

Most steps of most tiles have nobody to liquidate; then nothing here is computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from deleverage.cascade.blocks import BlockRules
from deleverage.cascade.impact import Depth, execute
from deleverage.cascade.liquidation import collateral_to_sell, hedge_excess, perps_to_close
from deleverage.cascade.maps import Maps
from deleverage.cascade.margin import Assessment
from deleverage.cascade.primitives import any_true, gather, spread, total
from deleverage.state import Accounts


class Traded(NamedTuple):
    """What the orders of a step did. Lists are per block."""

    cash: list[Array]  # [B, K, path] after settlement and fees
    contracts_closed: list[Array]  # [Jp, B, K, path] signed
    collateral_sold: list[Array]  # [Jc, B, K, path] units
    perp_units: Array  # [M, path] net units sold
    spot_units: Array  # [M, path]
    rise: Array  # [M, path] of the displacement
    average_price: Array  # [M, path] of all orders on a book
    fees: Array  # [V, path]


def trade(
    maps: Maps,
    blocks: Sequence[BlockRules],
    accounts: Sequence[Accounts],
    cash: list[Array],
    margins: list[Assessment],
    is_due: list[Array],
    depth: Depth,
    price: Array,
    minutes: float,
) -> Traded:
    """Perps trade and settle first, then collateral is sold for the cash that is missing.

    Args:
        maps: Relations of the layout.
        blocks: Rules per block.
        accounts: At the start of the step.
        cash: After top-ups, USD millions.
        margins: Stage-4 values.
        is_due: Stage-4 due set.
        depth: Order books in this step.
        price: Stage-2 prices, `[market, path]`.
        minutes: Length of the step.

    Source: MODEL.md sections 2.6 and 2.7.
    """
    excess = [
        hedge_excess(rules, account)
        for block, rules, account in zip(maps.blocks, blocks, accounts, strict=True)
        if block.hedged.any()
    ]
    somebody = any_true(is_due) | any_true([units > 0 for units in excess])
    return jax.lax.cond(
        somebody,
        lambda: _orders(maps, blocks, accounts, cash, margins, is_due, depth, price, minutes),
        lambda: _no_orders(maps, accounts, cash, price),
    )


def _orders(
    maps: Maps,
    blocks: Sequence[BlockRules],
    accounts: Sequence[Accounts],
    cash: list[Array],
    margins: list[Assessment],
    is_due: list[Array],
    depth: Depth,
    price: Array,
    minutes: float,
) -> Traded:
    groups = list(zip(maps.blocks, blocks, accounts, margins, is_due, strict=True))
    closed = [
        perps_to_close(block, rules, account, margin, due, minutes)
        for block, rules, account, margin, due in groups
    ]
    perp_units = gather(maps.orders_perp, closed)
    perp_rise, perp_average = execute(depth, price, perp_units)

    settled, sold, fees = [], [], []
    for b, (block, rules, account, margin, due) in enumerate(groups):
        average = spread(block.market, perp_average)
        profit = total(closed[b] * (average - rules.books.entry))
        fee = rules.liquidation.fee * total(jnp.abs(closed[b]) * average)
        settled.append(cash[b] + profit - fee)
        fees.append(fee)
        sale_price = spread(block.sale, price)
        sold.append(
            collateral_to_sell(
                block, rules, account, margin, due, closed[b], settled[b], sale_price, minutes
            )
        )
    spot_units = gather(maps.orders_collateral, sold)
    spot_rise, spot_average = execute(depth, price, spot_units)
    for b, (block, rules, _, _, due) in enumerate(groups):
        proceeds = total(sold[b] * spread(block.sale, spot_average))
        fee = jnp.where(due, rules.liquidation.collateral_fee * proceeds, 0)
        settled[b] = settled[b] + proceeds - fee
        fees[b] = fees[b] + fee
    return Traded(
        cash=settled,
        contracts_closed=closed,
        collateral_sold=sold,
        perp_units=perp_units,
        spot_units=spot_units,
        rise=perp_rise + spot_rise,
        average_price=jnp.where(maps.perp > 0, perp_average, spot_average),
        fees=gather(maps.venue_books, fees),
    )


def _no_orders(
    maps: Maps, accounts: Sequence[Accounts], cash: list[Array], price: Array
) -> Traded:
    none = jnp.zeros_like(price)
    return Traded(
        cash=cash,
        contracts_closed=[jnp.zeros_like(account.contracts) for account in accounts],
        collateral_sold=[jnp.zeros_like(account.collateral) for account in accounts],
        perp_units=none,
        spot_units=none,
        rise=none,
        average_price=price,
        fees=jnp.zeros((maps.market_venue.shape[1], price.shape[-1]), price.dtype),
    )
