"""Stage 8, last part: holders of a discounted pegged asset run. MODEL.md 2.8."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from deleverage.cascade.impact import OrderBooks
from deleverage.cascade.maps import Maps, pegged_spot
from deleverage.cascade.primitives import contract, ratio_or_zero
from deleverage.cascade.room import fill_shares
from deleverage.policy import IssuerRules
from deleverage.state import IssuerState
from deleverage.world import Layout


class HoldersRun(NamedTuple):
    """Order books after holders have sold what the books took."""

    displacement: Array  # [market, column]
    sold: Array  # [market, column] units
    unfilled: Array | None  # [column] bool: they had more to sell; None: no book ends


def holders_run(
    layout: Layout,
    maps: Maps,
    rules: IssuerRules,
    issuer: IssuerState,
    books: OrderBooks,
    minutes: float,
    y: Array,
) -> HoldersRun:
    """Sell along the curves of the books, as far as these go; the rest stays with its holders.

    Args: as in `holders_sales`; `books` are those of the step, at any displacement.

    Source: MODEL.md section 2.8 (run).
    """
    sold = holders_sales(layout, maps, rules, issuer, books.rules.depth, minutes, y)
    books, unfilled = books._replace(displacement=y), None
    if len(maps.profile_books):
        sells, _, unfilled = fill_shares(books, sold, jnp.zeros_like(sold))
        sold = sold * sells
    return HoldersRun(books.moved(sold), sold, unfilled)


def holders_sales(
    layout: Layout,
    maps: Maps,
    rules: IssuerRules,
    issuer: IssuerState,
    nominal_depth: Array,
    minutes: float,
    y: Array,
) -> Array:
    r"""Units that holders sell on each book of what they hold, by its discount.

    $$n_m = \min(1, rate\,h)\, H \frac{D_m}{\sum D} \max(0, 1 - e^{-y_m} - tolerance)$$

    Args:
        layout: Static world.
        maps: Its relations.
        rules: How fast, and from which discount on.
        issuer: Units that holders still have.
        nominal_depth: Configured, `[market, column]`: where they hold them.
        minutes: Length of the step.
        y: Displacement from the redemption price, `[market, column]`.

    Returns:
        `[market, column]`.

    Source: MODEL.md section 2.8 (run), A30.
    """
    member = pegged_spot(layout, maps)
    speed = jnp.minimum(1, rules.run_rate * minutes)
    offered = ratio_or_zero(speed * issuer.free_float, contract(member, nominal_depth))
    tolerance = contract(member.T, rules.run_tolerance)
    excess = jnp.maximum(-jnp.expm1(-y) - tolerance, 0)
    return contract(member.T, offered) * nominal_depth * excess


def sold_by_asset(layout: Layout, maps: Maps, units: Array) -> Array:
    """Units of books, `[market, column]`, summed by pegged asset."""
    return contract(pegged_spot(layout, maps), units)
