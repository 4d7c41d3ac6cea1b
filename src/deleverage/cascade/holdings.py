"""What all accounts hold at closing prices: read by observers, never by a step. MODEL.md 2.10."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from deleverage.cascade.books import BookRules, rules_of
from deleverage.cascade.maps import Maps
from deleverage.cascade.margin import worth
from deleverage.cascade.parts import Part
from deleverage.cascade.primitives import sum_cohorts, total
from deleverage.cascade.settlement import bankruptcy_equity, own_prices
from deleverage.policy import Policy
from deleverage.state import Accounts, State
from deleverage.world import Layout


class Holdings(NamedTuple):
    """Balances of all cohorts, USD millions."""

    rules: BookRules  # of all cohorts
    accounts: Accounts  # slots as sequences
    equity: Array  # [B, K, column] without haircuts
    at_start: Array  # [B, K, column] the same at starting prices
    open_interest: Array  # [column] of perps, both sides
    open_at_start: Array  # [column]

    @property
    def kept(self) -> Array:
        """Equity that still belongs to its owner, `[B, K, column]`."""
        return jnp.where(self.accounts.taken_over, 0, jnp.maximum(self.equity, 0))


def holdings(layout: Layout, maps: Maps, policy: Policy, state: State) -> Holdings:
    """Value a state at its closing prices, and at the start."""
    book, held = Part().take((rules_of(layout, maps.facts, policy), state.accounts))
    start, prices = book.start, own_prices(book.facts, state.markets.last_price)
    equity, _ = bankruptcy_equity(start, held, prices)
    slots = list(zip(start.position, start.entry, strict=True))
    size = [jnp.abs(contracts) for contracts in held.contracts]
    return Holdings(
        rules=book,
        accounts=held,
        equity=equity,
        at_start=start.cash
        + total(start.collateral)
        + total([x * (1 - paid) for x, paid in slots]),
        open_interest=sum_cohorts(held.cash * 0 + worth(size, prices.perp)),
        open_at_start=sum_cohorts(start.cash * 0 + total([jnp.abs(x) for x, _ in slots])),
    )
