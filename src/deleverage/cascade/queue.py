"""Stage 9: the rank down to which a queue of winners is closed, without sorting. MODEL.md 2.9.

Positive floats are in the order of the integers that their bits spell, so the least score that is
still reached can be put together bit by bit: as many sums as a float has bits, whatever the number
of winners.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from deleverage.cascade.books import BookRules
from deleverage.cascade.once import once
from deleverage.cascade.parts import Part
from deleverage.cascade.primitives import ratio_or_zero, to_slot
from deleverage.cascade.winners import MakerStakes, Stakes, by_side
from deleverage.cascade.worklist import Drive, Worklist, visit
from deleverage.state import Accounts

TIE = 1e-4
"""Relative difference below which two scores are the same."""


class Cut(NamedTuple):
    """Where a queue ends, `[market, column]` of one side."""

    above: Array  # winners with a higher score are closed whole
    below: Array  # those with a lower one not at all
    share: Array  # of the contracts of those between

    def closed_share(self, score: Array) -> Array:
        """Share of a winner's contracts that is closed, by its score."""
        return jnp.where(score > self.above, 1, jnp.where(score < self.below, 0, self.share))


def cut(contracts: Callable[[Array, Array], Array], wanted: Array) -> Cut:
    r"""Where the queue ends that is to yield some contracts, exactly.

    $$\theta = \max\{\theta : S(\theta, \infty) \ge X\}, \quad share = clip(X - S(\theta^+, \infty),
    0, T) / T, \quad T = S(\theta^-, \theta^+), \quad \theta^\pm = \theta (1 \pm 10^{-4})$$

    Args:
        contracts: $S$, of the winners with scores from the first number to the second, both
            `[..., column]`.
        wanted: $X$, `[..., column]`.

    Source: MODEL.md section 2.9 (queue), A27.
    """
    kind = jnp.int64 if wanted.dtype == jnp.float64 else jnp.int32
    bits = jnp.finfo(wanted.dtype).bits - 1  # without the sign
    end = jnp.full_like(wanted, jnp.inf)

    def as_float(number: Array) -> Array:
        return jax.lax.bitcast_convert_type(number, wanted.dtype)

    def add_bit(n: Array, known: Array) -> Array:
        candidate = known | jnp.left_shift(jnp.ones((), kind), (bits - 1 - n).astype(kind))
        return jnp.where(contracts(as_float(candidate), end) >= wanted, candidate, known)

    least = as_float(jax.lax.fori_loop(0, bits, add_bit, jnp.zeros(wanted.shape, kind)))
    above, below = least * (1 + TIE), least * (1 - TIE)
    tied = contracts(below, above)
    before = contracts(jnp.nextafter(above, end), end)
    share = ratio_or_zero(jnp.clip(wanted - before, 0, tied), tied)
    nobody = wanted <= 0
    return Cut(jnp.where(nobody, end, above), jnp.where(nobody, end, below), share)


def cuts_by_kind(queues: Array, shares: Sequence[Array], cuts: Cut) -> tuple[Cut, Cut]:
    """Of longs and of shorts: the queue's cut, or one share of all where it is pro rata.

    Args:
        queues: 1 where winners are ranked, else 0, `[market, column]`.
        shares: Pro rata, of either side.
        cuts: Of both sides, a leading axis.
    """
    longs, shorts = (
        Cut(
            above=jnp.where(queues > 0, cuts.above[side], jnp.inf),
            below=jnp.where(queues > 0, cuts.below[side], 0),
            share=jnp.where(queues > 0, cuts.share[side], share),
        )
        for side, share in enumerate(shares)
    )
    return longs, shorts


def ranking(
    weigh: Callable[..., Stakes],
    accounts: Accounts,
    rules: BookRules,
    own: tuple,
    makers: MakerStakes,
    books: Worklist,
    drive: Drive,
) -> Callable[[Array, Array], Array]:
    """The sums that `cut` needs: contracts of longs and of shorts within two scores.

    Args:
        weigh: Finds what a part of the books has at stake.
        accounts: Before anything is closed.
        rules: Of all books.
        own: What `weigh` reads besides.
        makers: Market makers' part.
        books: Those of venues in need.
        drive: How books are visited.
    """
    shape = accounts.contracts.shape

    def keep(part: Part, kept: tuple[Array, Array]) -> tuple[Array, Array]:
        found = once(weigh, part, accounts, rules, own)
        return part.put(kept[0], found.winning), part.put(kept[1], found.score)

    columns = jnp.broadcast_shapes(shape[-2:], makers.winning.shape[-2:])
    none = jnp.zeros((*shape[:-2], *columns), accounts.cash.dtype)
    winning, scores = visit(drive, books, keep, (none, none))

    def within(low: Array, high: Array) -> Array:
        def counted(part: Part, scores: Array, winning: Array) -> list[Array]:
            market, score, held = part.take((rules.facts.market, scores, winning))
            inside = []
            for place, rank, contracts in zip(market, score, held, strict=True):
                least, most = (
                    jnp.where(contracts > 0, to_slot(end[0], place), to_slot(end[1], place))
                    for end in (low, high)
                )
                inside.append(jnp.where((rank >= least) & (rank <= most), contracts, 0))
            return inside

        def add(part: Part, sums: tuple[Array, Array]) -> tuple[Array, Array]:
            inside = once(counted, part, scores, winning)
            return by_side(part.take(rules.facts.market), *sums, inside)

        nothing = jnp.zeros(low.shape[1:], low.dtype)
        sums = jnp.stack(visit(drive, books, add, (nothing, nothing)))
        inside = (makers.score >= low) & (makers.score <= high)
        sides = jnp.stack([jnp.maximum(makers.winning, 0), jnp.maximum(-makers.winning, 0)])
        return sums + jnp.where(inside, sides, 0)

    return within
