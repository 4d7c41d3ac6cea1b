"""Issuers of pegged assets: what they pay, how much of it, and what that leaves. MODEL.md 2.8."""

from __future__ import annotations

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
from jax import Array

from deleverage.cascade.impact import with_rows
from deleverage.cascade.primitives import ratio_or_zero
from deleverage.policy import HealingRules, IssuerRules
from deleverage.state import IssuerState
from deleverage.world import Layout

LEAST_BACKING = 1e-6
"""Anchor behind a unit at least: a price of 0 has no logarithm."""

LEAST_SUPPLY = 1e-6
"""Share of the supply at the start below which what is left of it is a rounding."""


def issuers_at_start(rules: IssuerRules, hedge: Array) -> IssuerState:
    """Before the first redemption; leaves `[pegged, column]`.

    Args:
        rules: What they begin with.
        hedge: What their hedges are worth.
    """
    return IssuerState(
        backing=rules.backing,
        ratio=jnp.clip(ratio_or_zero(rules.backing, rules.supply), LEAST_BACKING, 1),
        supply=rules.supply,
        reserve=rules.reserve,
        free_float=rules.free_float,
        hedge=hedge,
    )


def after_news(rules: IssuerRules, issuer: IssuerState, kept: Array | None) -> IssuerState:
    """Backing after this step's exogenous losses, and what it comes to for each unit.

    Args:
        rules: What issuers begin with.
        issuer: What the step before left.
        kept: Share of the backing that the news leaves, `[pegged, path]`; None: all.

    Source: MODEL.md section 2.1 (backing).
    """
    backing = issuer.backing if kept is None else issuer.backing * kept
    behind = jnp.clip(ratio_or_zero(backing, issuer.supply), LEAST_BACKING, 1)
    # behind nothing there is a rounding over a rounding
    some = issuer.supply > LEAST_SUPPLY * rules.supply
    return replace(issuer, backing=backing, ratio=jnp.where(some, behind, issuer.ratio))


def redemption_prices(layout: Layout, issuer: IssuerState, fundamental: Array) -> Array:
    r"""Fundamentals, of pegged assets what their issuer pays.

    $$R_a = F_{anchor} \min(1, backing / supply)$$

    and, once all of the supply is redeemed, what its last units were paid.

    Args:
        layout: Static world.
        issuer: After the step's news.
        fundamental: With pegged assets at their anchor's price, `[asset, column]`.

    Source: MODEL.md section 2.1, A28.
    """
    rows = np.array(layout.pegged, np.int32)
    return with_rows(fundamental, rows, fundamental[rows] * issuer.ratio)


def redemption_capacity(
    rules: HealingRules,
    issuer: IssuerState | None,
    minutes: float,
    redeemed: Array | None = None,
    left: Array | None = None,
) -> Array:
    """Units that issuers still redeem in a step at most, for stages 6 and 8, `[pegged, column]`.

    Args:
        rules: Their pace.
        issuer: What their liquid reserve still pays for; None: no end to it.
        minutes: Length of the step.
        redeemed: Units of this step that are redeemed already, and that the reserve lacks.
        left: Share that congestion leaves of it, `[column]`; None: all.

    Source: MODEL.md section 2.8 (redemption).
    """
    paced = rules.redemption_capacity * minutes
    if left is not None:
        paced = paced * left
    if redeemed is not None:
        paced = jnp.maximum(paced - redeemed, 0)
    if issuer is None:
        return paced
    return jnp.minimum(paced, jnp.minimum(issuer.reserve, issuer.supply))


def after_redemptions(issuer: IssuerState, redeemed: Array, sold: Array) -> IssuerState:
    """What units redeemed at the backing of the step, and holders' sales, leave of an issuer.

    Args:
        issuer: After the step's news.
        redeemed: Units handed in, `[pegged, column]`.
        sold: Units that holders sold.

    Source: MODEL.md section 2.8 (redemption, run).
    """
    paid = redeemed * issuer.ratio

    def less(stock: Array, units: Array) -> Array:
        return jnp.maximum(stock - units, 0)

    return replace(
        issuer,
        backing=less(issuer.backing, paid),
        supply=less(issuer.supply, redeemed),
        reserve=less(issuer.reserve, redeemed),
        free_float=less(issuer.free_float, sold),
    )
