"""Stage 9: contracts that deleveraging closes, and those it closes against. MODEL.md 2.9."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from deleverage.cascade.books import BookRules
from deleverage.cascade.margin import DUST
from deleverage.cascade.margin_call import masks_of
from deleverage.cascade.primitives import add_slots, ratio_or_zero, to_slot, total
from deleverage.cascade.settlement import bankruptcy_equity, own_prices
from deleverage.state import Accounts, Markets

LEAST_EQUITY = 1e-6
"""Share of a position's notional that the equity behind it counts as at least, in a score."""


class Stakes(NamedTuple):
    """Some books' contracts in auto-deleveraging, `[book, bucket, column]` of each perp slot."""

    closing: list[Array]  # bankrupt, signed
    charged: list[Array]  # the deficit that goes with them
    winning: list[Array]  # signed
    profit: list[Array]  # unrealised
    equity: Array  # [book, bucket, column] of the account
    score: list[Array]  # rank of a winner, 0 of others; empty where no venue ranks


def stakes(
    book: BookRules,
    accounts: Accounts,
    deficit: Array,
    marks: Array,
    sells: Array,
    share: Array,
    price: Array,
    ranked: bool,
    charge: Array | None = None,
) -> Stakes:
    """What books close for their deficits, and what of them may be closed against.

    Args:
        book: Facts and rules of some books.
        accounts: After the orders, deficits credited.
        deficit: Of those who sold, `[book, bucket, column]`.
        marks: Stage-4 findings.
        sells: Who did.
        share: Of the contracts of bankrupt accounts that are closed, `[venue, column]`.
        price: After stage 8, `[market, column]`.
        ranked: Whether any venue ranks winners.
        charge: Of a deficit that is charged to winners; None: the same share.

    Source: MODEL.md section 2.9; A25 (scores at closing prices).
    """
    prices = own_prices(book.facts, price)
    equity, profit = bankruptcy_equity(book.start, accounts, prices)
    is_due = masks_of(marks).is_due
    size = [jnp.abs(contracts) for contracts in accounts.contracts]
    notional = [contracts * at for contracts, at in zip(size, prices.perp, strict=True)]
    owed = jnp.where(sells, deficit, 0)
    closed_share = jnp.where(owed > 0, to_slot(share, book.facts.venue), 0)
    charged = (closed_share if charge is None else to_slot(charge, book.facts.venue)) * owed
    begun = zip(accounts.contracts, size, book.start.position, strict=True)
    # A deficit goes with contracts: a rounding of some is none, else it would be charged for it.
    open_contracts = [
        jnp.where(left > DUST * jnp.abs(start), held, 0) for held, left, start in begun
    ]
    at_stake = [jnp.abs(held) * at for held, at in zip(open_contracts, prices.perp, strict=True)]
    whole = jnp.asarray(total(at_stake))
    slots = list(zip(accounts.contracts, profit, strict=True))
    winning = [jnp.where((gain > 0) & ~is_due, held, 0) for held, gain in slots]
    score = []
    if ranked:
        gains = zip(profit, notional, prices.perp, book.start.entry, strict=True)
        score = [
            gain * price / entry / jnp.maximum(equity, LEAST_EQUITY * size)
            for gain, size, price, entry in gains
        ]
        score = [jnp.where(held == 0, 0, rank) for held, rank in zip(winning, score, strict=True)]
    return Stakes(
        closing=[closed_share * contracts for contracts in open_contracts],
        charged=[charged * ratio_or_zero(part, whole) for part in at_stake],
        winning=winning,
        profit=profit,
        equity=equity,
        score=score,
    )


def by_side(
    market: Sequence[Array],
    longs: Array,
    shorts: Array,
    values: Sequence[Array],
    side: Sequence[Array] | None = None,
) -> tuple[Array, Array]:
    """Add absolute values to the sums of longs and of shorts, by the sign of `side`."""
    sides = list(zip(values, side or values, strict=True))
    return (
        add_slots(longs, market, [jnp.where(s > 0, jnp.abs(v), 0) for v, s in sides]),
        add_slots(shorts, market, [jnp.where(s < 0, jnp.abs(v), 0) for v, s in sides]),
    )


class MakerStakes(NamedTuple):
    """The same of market makers, `[market, column]`."""

    winning: Array
    profit: Array
    score: Array


def maker_stakes(markets: Markets, price: Array) -> MakerStakes:
    """Market makers as winners, ranked as accounts without leverage.

    Their cash holds what they earned on contracts long closed: of the ones that they still have, it
    counts no more than a contract can have gained, so that an inventory of nothing wins nothing.

    Source: MODEL.md section 2.9, A26 (rank) and A33 (profit).
    """
    most = jnp.abs(markets.maker_units) * jnp.maximum(1, price)
    profit = jnp.minimum(markets.maker_cash + markets.maker_units * price, most)
    winning = jnp.where(profit > 0, markets.maker_units, 0)
    notional = jnp.abs(winning) * price
    entry_notional = jnp.maximum(notional - jnp.sign(winning) * profit, LEAST_EQUITY * notional)
    score = jnp.where(winning == 0, 0, ratio_or_zero(profit, entry_notional))
    return MakerStakes(winning, profit, score)
