"""What happened in one step: read by observers, never by the next step."""

from __future__ import annotations

import equinox as eqx
from jax import Array

from deleverage.cascade.forced_sales import ForcedSales
from deleverage.cascade.losses import Losses
from deleverage.cascade.margin_call import Watched
from deleverage.cascade.off_book import OffBook
from deleverage.state import Orders


class Flows(eqx.Module):
    """Prices, orders and losses of a step; what nobody reads is not computed."""

    fundamental: Array  # [A, column]; of pegged assets what their issuer pays
    price: Array  # [M, column] stage 2
    index_price: Array  # [I, column]
    mark_price: Array  # [M, column]
    fair_price: Array  # [I, column]
    gate_open: Array  # [V, column] 0 where exogenous outages or load have shut it
    traded_price: Array  # [M, column] stage 7, after the orders
    average_price: Array  # [M, column] of the step's orders
    closing_price: Array  # [M, column] stage 8
    liquidity: Array  # [M, column] multiplier of depth
    pressed: Array  # [M, column] displacement after the orders, before healing
    displacement: Array  # [M, column] after healing
    perp_units_sold: Array  # [M, column] net
    spot_units_sold: Array  # [M, column] net
    margin_gap: list[Array]  # per stretch [book, column], least of the buckets
    watched: Watched | None  # one column at the start of the step
    is_due: Array  # [B, K, column] bool
    any_orders: Array  # scalar bool: whether anybody sells
    sells: Array  # [B, K] bool: who does
    orders: Orders  # theirs; those of others are older
    topped_up: Array  # [V, column]
    fees: Array  # [V, column]
    losses: Losses
    sales: ForcedSales
    missed_notional: Array  # [column] of cohorts first missed in this step
    off_book: OffBook | None  # collateral sold to others than order books
    halted: Array | None  # [I, column] bool: whose breaker has tripped
    backing: Array | None = None  # [pegged, column] behind a unit, where issuers are modelled
    redeemed: Array | None = None  # [pegged, column] units, likewise
    holders_sold: Array | None = None  # [M, column] units of those who run
    unfilled: Array | None = None  # [column] bool: a book had not enough for its orders
    filled: Array | None = None  # [M, column] share of the collateral orders taken; None: all
