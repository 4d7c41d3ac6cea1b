"""Stage 6: circuit breakers, which halt liquidations while an index falls. MODEL.md 2.6.

A layout without breakers traces nothing of this.
"""

from __future__ import annotations

from functools import reduce

import jax.numpy as jnp
from jax import Array

from deleverage.cascade.books import BookRules
from deleverage.cascade.primitives import to_slot
from deleverage.policy import BreakerRules
from deleverage.state import Breakers


def breakers_at_rest(steps: int, index_price: Array) -> Breakers | None:
    """Nothing halted and nothing seen; None where there are no breakers.

    Args:
        steps: The longest window.
        index_price: Anything of the shape `[I, column]`.
    """
    if not steps:
        return None
    nothing = jnp.zeros_like(index_price)
    return Breakers(jnp.zeros((steps, *nothing.shape), nothing.dtype), nothing)


def watch_index(
    rules: BreakerRules | None, breakers: Breakers | None, index_price: Array, first: Array
) -> tuple[Breakers | None, Array | None]:
    r"""Halt what has fallen too far, and let go what has been halted long enough.

    $$I_t \le (1 - \text{trigger}) \max_{0 \le s \le w} I_{t-s}$$

    Args:
        rules: Triggers, windows, lengths.
        breakers: State; of the first step nothing is read.
        index_price: Published, `[I, column]`.
        first: Whether this is the first step, scalar bool.

    Returns:
        The next state, and which entries are halted in this step, `[I, column]` bool.

    Source: MODEL.md section 2.6.
    """
    if breakers is None or rules is None:
        return None, None
    recent = jnp.where(first, index_price, breakers.recent)
    seen = [jnp.where(s < rules.window, recent[s], 0) for s in range(recent.shape[0])]
    high = reduce(jnp.maximum, seen, index_price)
    running = breakers.left > 0
    trips = ~running & (index_price <= (1 - rules.trigger) * high)
    halted = running | trips
    left = jnp.where(trips, rules.halt - 1, jnp.maximum(breakers.left - 1, 0))
    moved = jnp.concatenate([index_price[None], recent[:-1]])
    # a fall is counted once: the window begins anew at the end of a halt
    return Breakers(jnp.where(halted, index_price, moved), left), halted


def is_suspended(book: BookRules, halted: Array) -> Array:
    """Cohorts with a position in a halted market, `[book, bucket, column]` bool.

    They place no liquidation orders; the due set and deficits are as without a halt (A22).

    Args:
        book: What the books are, and their starting positions.
        halted: `[I, column]` bool.
    """
    facts, start = book.facts, book.start
    perps = [
        to_slot(halted, entry) & (position != 0)
        for entry, position in zip(facts.underlying, start.position, strict=True)
    ]
    pledged = [
        facts.loan & to_slot(halted, entry) & (units != 0)
        for entry, units in zip(facts.collateral, start.collateral, strict=True)
    ]
    return reduce(jnp.logical_or, [*perps, *pledged])
