"""What happened in one step: read by observers, never by the next step."""

from __future__ import annotations

import equinox as eqx
from jax import Array

from deleverage.cascade.backstop import Losses
from deleverage.cascade.margin import Assessment


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
