"""The state before the first draw: all positions whole, makers balancing every perp."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

from deleverage.cascade.books import rules_of
from deleverage.cascade.breaker import breakers_at_rest
from deleverage.cascade.haircuts import base_haircuts
from deleverage.cascade.hedge import hedge_worth
from deleverage.cascade.issuer import issuers_at_start
from deleverage.cascade.maps import maps_of
from deleverage.cascade.prices import log_prices, market_prices
from deleverage.cascade.primitives import add_slots
from deleverage.cascade.vault import empty_vaults
from deleverage.cascade.worklist import Drive
from deleverage.policy import Policy
from deleverage.state import Accounts, Markets, Orders, State, Volatility
from deleverage.world import Layout


def initial_state(layout: Layout, policy: Policy, paths: int, drive: Drive) -> State:
    """Positions, prices and funds of `paths` paths under every lane of a policy.

    Args:
        layout: Static world.
        policy: Rules, leaves `[..., lane, 1]`.
        paths: How many.
        drive: The paired run starts without displacements.
    """
    maps = maps_of(layout)
    policy = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (*leaf.shape[:-1], paths)), policy)
    start = policy.books
    displacement = policy.impact.displacement * drive.feedback
    at_par = jnp.ones((len(layout.assets), *displacement.shape[1:]), displacement.dtype)
    never = jnp.zeros(start.cash.shape, bool)
    rules = rules_of(layout, maps.facts, policy)
    market, prices = rules.facts.market, market_prices(maps, at_par, displacement)

    def by_market(contracts: Array) -> Array:
        return add_slots(jnp.zeros_like(displacement), list(market), list(contracts))

    def ones_if(rule: Array | None, *shape: int) -> Array | None:
        return None if rule is None else jnp.ones((*shape, *rule.shape), rule.dtype)

    accounts = Accounts(
        cash=start.cash,
        contracts=start.position,
        collateral=start.collateral,
        budget=start.budget,
        taken_over=never,
        liquidated=never,
        missed=never,
    )
    issuer = None
    if policy.issuer is not None:
        issuer = issuers_at_start(policy.issuer, hedge_worth(layout, rules, accounts, prices))
    return State(
        accounts=accounts,
        markets=Markets(
            displacement=displacement,
            last_price=prices,
            smoothed_index=jnp.ones_like(policy.index.floor),
            basis=jnp.zeros_like(displacement),
            maker_units=-by_market(start.position),
            maker_cash=by_market(start.position * start.entry),
            published_index=ones_if(policy.index.move_limit),
            redemption=ones_if(policy.index.delay, layout.delay_steps + 1),
            volatility=None
            if policy.thinning is None
            else Volatility(
                policy.thinning.normal,
                log_prices(maps, jnp.zeros_like(at_par), displacement),
            ),
        ),
        fund=policy.backstop.fund,
        orders=Orders(jnp.zeros_like(start.position), jnp.zeros_like(start.collateral)),
        deficit=jnp.zeros_like(start.cash),
        breakers=breakers_at_rest(layout.breaker_steps, policy.index.floor),
        haircuts=base_haircuts(policy.haircuts),
        issuer=issuer,
        vault=None if policy.vault is None else empty_vaults(policy.vault, displacement),
    )
