"""Stages 4 and 5 for all cohorts: who is due, who may add cash, which have work.

In a step without losses beyond a fund, only this looks at every cohort. What it finds decides which
cohorts the later stages visit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial, reduce
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from deleverage.cascade.books import BookRules, Facts
from deleverage.cascade.haircuts import Scaling
from deleverage.cascade.index import Published
from deleverage.cascade.liquidation import hedge_excess
from deleverage.cascade.maps import Maps
from deleverage.cascade.margin import (
    Assessment,
    SlotPrices,
    assess,
    has_positions,
    least_margin_gap,
)
from deleverage.cascade.once import once
from deleverage.cascade.parts import Stretch
from deleverage.cascade.primitives import BOOK_AXIS, to_slot, to_slots
from deleverage.cascade.top_up import can_top_up
from deleverage.cascade.worklist import Drive, Worklist, cohorts_with
from deleverage.policy import MarginRules
from deleverage.state import Accounts


class Masks(NamedTuple):
    """What stage 4 says of each cohort, `[book, bucket, column]` bool."""

    is_due: Array  # stages 5 to 9 read this set
    fails_baseline: Array  # fair equity below the baseline's requirement
    sells: Array  # due, or a hedge to unwind, where the engine works: stages 6 to 9 visit it
    acts: Array  # anything to do in this step

    @property
    def is_forced(self) -> Array:
        """Due at a venue whose engine works."""
        return self.is_due & self.sells


class Watched(NamedTuple):
    """One column at the start of the step; books as listed, slots in front."""

    accounts: Accounts
    equity: Array  # [book, bucket]
    maintenance_margin: Array  # [book, bucket]


class MarginCall(NamedTuple):
    """What stage 4 found."""

    marks: Array | Masks  # `[book, bucket, column]`: masks, or a byte of each cohort's bits
    active: Worklist  # cohorts with anything to do
    sellers: Worklist  # cohorts with orders
    pledgers: Worklist  # those of them with collateral
    sells: Array  # [book, bucket] bool: the sellers
    margin_gap: list[Array]  # per stretch `[book, column]`, least of the buckets
    watched: Watched | None


def marked_prices(facts: Facts, published: Published) -> SlotPrices:
    """Index prices of collateral slots and marks of perp slots."""
    return SlotPrices(
        to_slots(published.index_price, facts.collateral),
        to_slots(published.mark_price, facts.market),
        slot_haircuts(facts, published),
    )


def slot_haircuts(facts: Facts, published: Published) -> list[Scaling] | None:
    """How far the haircuts of collateral slots have risen; None: all are as written."""
    if published.haircuts is None:
        return None
    rows = (to_slots(row, facts.collateral) for row in published.haircuts)
    return [Scaling(*slot) for slot in zip(*rows, strict=True)]


def fair_prices(facts: Facts, published: Published) -> SlotPrices:
    """Redemption or reference prices of the slots, as index and as mark.

    Haircuts are as written (A23).
    """
    return SlotPrices(
        to_slots(published.fair_price, facts.collateral),
        to_slots(published.fair_price, facts.underlying),
    )


def call_margin(
    maps: Maps,
    rules: BookRules,
    accounts: Accounts,
    published: Published,
    gate_open: Array,
    watched: Array | None,
    drive: Drive,
    engine_open: Array | None = None,
) -> MarginCall:
    """Assess every cohort, and find the cohorts that have anything to do in this step.

    Args:
        maps: Relations of the layout.
        rules: Of all books.
        accounts: At the start of the step.
        published: Index, marks and fair prices.
        gate_open: `[venue, column]`, 1 open.
        watched: Lane and path of a column whose margins are handed out, or None.
        drive: The paired run judges nothing, so that no cohort fails the baseline there.
        engine_open: `[venue, column]`, 0 where no cohort sells, hedges included (A9); None: every
            engine works.

    Source: MODEL.md sections 2.4 and 2.5.
    """

    def call(accounts: Accounts) -> tuple[tuple[Array, ...], tuple[Array, ...], Watched | None]:
        marks, margins, gaps = zip(
            *(
                _call_stretch(stretch, rules, accounts, published, gate_open, drive, engine_open)
                for stretch in maps.stretches
            ),
            strict=True,
        )
        return marks, gaps, _watch(watched, accounts, margins)

    # once: it is the last to read the accounts before cohorts with work change theirs in place
    marks, gaps, seen = once(call, accounts)
    marks = once(partial(jax.tree.map, _joined), *marks)
    return margin_call(maps, marks, list(gaps), seen)


def margin_call(
    maps: Maps,
    marks: Array | Masks,
    margin_gap: Sequence[Array] = (),
    watched: Watched | None = None,
) -> MarginCall:
    """List the cohorts that marks name."""
    found = _any_lane(marks)
    sells = jnp.any(found.sells, axis=-1)
    return MarginCall(
        marks=marks,
        active=cohorts_with(jnp.any(found.acts, axis=-1)),
        sellers=cohorts_with(sells),
        pledgers=cohorts_with(sells & maps.pledges[:, None]),
        sells=sells,
        margin_gap=list(margin_gap),
        watched=watched,
    )


def marked(masks: Masks) -> Array:
    """Masks as bits of a byte, so that what they share is computed once."""
    bits = (jnp.where(mask, np.uint8(1 << n), np.uint8(0)) for n, mask in enumerate(masks))
    return reduce(jnp.bitwise_or, bits)


def masks_of(marks: Array | Masks) -> Masks:
    """The masks again."""
    if isinstance(marks, Masks):
        return marks
    return Masks(*((marks & np.uint8(1 << n)) > 0 for n in range(len(Masks._fields))))


def _any_lane(marks: Array | Masks) -> Masks:
    """What holds in any lane, `[book, bucket, path]`."""
    if isinstance(marks, Masks):
        return jax.tree.map(lambda mask: jnp.any(mask, axis=-2), marks)
    lanes = [marks[..., lane, :] for lane in range(marks.shape[-2])]
    return masks_of(reduce(jnp.bitwise_or, lanes))


def _joined(*stretches: Array) -> Array:
    return jnp.concatenate(stretches, axis=BOOK_AXIS)


def _call_stretch(
    stretch: Stretch,
    rules: BookRules,
    accounts: Accounts,
    published: Published,
    gate_open: Array,
    drive: Drive,
    engine_open: Array | None,
) -> tuple[Array | Masks, Assessment, Array]:
    """Marks, margins and least margin gaps of a stretch of books."""

    def valued(accounts: Accounts) -> tuple[BookRules, Accounts, Assessment]:
        book, mine = _without_empty_slots(stretch, *stretch.take((rules, accounts)))
        prices = marked_prices(book.facts, published)
        return book, mine, assess(book.margin, book.start, mine, prices)

    book, mine, margin = valued(accounts)
    facts = book.facts
    if drive.feedback:  # read by the marks and by the gap
        equity, maintenance = once(lambda accounts: valued(accounts)[-1][:2], accounts)
        margin = margin._replace(equity=equity, maintenance_margin=maintenance)
    always = mine.taken_over | facts.targeting if facts.targeting.any() else mine.taken_over
    is_due = margin.is_short_of_margin | (always & has_positions(mine))
    gate = to_slot(gate_open, facts.venue)
    sells = is_due
    if facts.hedged.any():
        sells |= facts.hedged & (hedge_excess(book.start, mine) > 0)
    if engine_open is not None:
        sells &= to_slot(engine_open, facts.venue) > 0
    acts = sells | can_top_up(book.top_up, mine, margin, is_due, gate)
    fails_baseline = jnp.zeros_like(is_due)
    if drive.feedback:
        fair = assess(book.baseline_margin, book.start, mine, fair_prices(facts, published))
        fails_baseline = fair.is_short_of_margin
        acts |= fails_baseline & ~mine.missed
    masks = Masks(is_due, fails_baseline, sells, acts)
    gap = least_margin_gap(margin, book.margin, book.start, mine.taken_over)
    return marked(masks) if drive.one_by_one else masks, margin, gap


def _watch(
    watched: Array | None, accounts: Accounts, margins: Sequence[Assessment]
) -> Watched | None:
    if watched is None:
        return None
    lane, path = watched
    return Watched(
        accounts=jax.tree.map(lambda leaf: leaf[..., lane, path], accounts),
        equity=jnp.concatenate([margin.equity[..., lane, path] for margin in margins]),
        maintenance_margin=jnp.concatenate(
            [margin.maintenance_margin[..., lane, path] for margin in margins]
        ),
    )


def _without_empty_slots(
    stretch: Stretch, book: BookRules, accounts: Accounts
) -> tuple[BookRules, Accounts]:
    """Only the slots that the books of a stretch have."""
    perps, collaterals = slice(stretch.perps), slice(stretch.collaterals)

    def margin(rules: MarginRules) -> MarginRules:
        return replace(
            rules,
            rate=rules.rate[perps],
            deduction=rules.deduction[perps],
            ratio=rules.ratio[collaterals],
            addition=rules.addition[collaterals],
            granted=None if rules.granted is None else rules.granted[collaterals],
        )

    start, facts = book.start, book.facts
    book = replace(
        book,
        facts=replace(
            facts,
            market=facts.market[perps],
            underlying=facts.underlying[perps],
            collateral=facts.collateral[collaterals],
        ),
        start=replace(
            start,
            position=start.position[perps],
            entry=start.entry[perps],
            collateral=start.collateral[collaterals],
        ),
        margin=margin(book.margin),
        baseline_margin=margin(book.baseline_margin),
    )
    contracts, collateral = accounts.contracts[perps], accounts.collateral[collaterals]
    return book, replace(accounts, contracts=contracts, collateral=collateral)
