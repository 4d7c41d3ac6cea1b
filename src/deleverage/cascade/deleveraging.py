"""Stage 9: bankrupt contracts are closed against winners, pro rata or by rank. MODEL.md 2.9."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array

from deleverage.cascade.books import BookRules
from deleverage.cascade.losses import Losses
from deleverage.cascade.maps import Maps, by_venue
from deleverage.cascade.margin_call import MarginCall
from deleverage.cascade.once import once
from deleverage.cascade.parts import Part
from deleverage.cascade.primitives import (
    add_cohorts,
    add_slots,
    ratio_or_zero,
    sum_cohorts,
    sum_rows,
    to_slot,
    total,
)
from deleverage.cascade.queue import Cut, cut, cuts_by_kind, ranking
from deleverage.cascade.socialising import chargeable
from deleverage.cascade.winners import Stakes, by_side, maker_stakes, stakes
from deleverage.cascade.worklist import Drive, Worklist, visit
from deleverage.policy import BackstopRules
from deleverage.state import Accounts, Markets


class Sides(NamedTuple):
    """Sums by perp market, `[market, column]`, of one side each."""

    bankrupt_long: Array  # contracts of bankrupt accounts that the fund did not pay for
    bankrupt_short: Array
    loss_long: Array  # their deficits
    loss_short: Array
    winners_long: Array  # contracts that may be closed against them
    winners_short: Array


class Terms(NamedTuple):
    """What closing against the winners of one side means for them, `[market, column]`."""

    cut: Cut | Array  # down to which rank they are closed, or the share of all contracts
    cost: Array  # loss per contract closed

    def closed_share(self, score: Array | None) -> Array:
        """Share of a winner's contracts that is closed."""
        return self.cut.closed_share(score) if isinstance(self.cut, Cut) else self.cut


class Closed(NamedTuple):
    """Contracts closed against winners, and what that cost."""

    accounts: Accounts
    units: Array  # [market, column]
    loss: Array  # [venue, column]
    solvent: Array  # [venue, column] equity left that can be charged
    overshoot_wealth: Array  # [column]


def deleverage(
    maps: Maps,
    backstop: BackstopRules,
    rules: BookRules,
    accounts: Accounts,
    markets: Markets,
    paid: Losses,
    deficit: Array,
    call: MarginCall,
    uncovered: Array,
    books: Worklist,
    price: Array,
    drive: Drive,
    open_share: Array | None = None,
) -> tuple[Accounts, Markets, Losses, Array]:
    """Close bankrupt contracts against winners.

    Args: as in `backstop.absorb`; `uncovered` is the share of each venue's deficits that fund and
        vault left, `open_share` that of the contracts behind them that accounts still have (None:
        the same), `books` those of venues in need, `paid` what has been paid so far.

    Returns:
        Accounts, markets and losses after it, and the equity of each venue's accounts that can
        still be charged, `[venue, column]`.

    Source: MODEL.md section 2.9 (ADL), A6.
    """
    share, charge = uncovered * backstop.adl, None
    if open_share is not None:
        share, charge = open_share * backstop.adl, share
    own = (deficit, call.marks, call.sells[:, :, None, None])
    ranked = backstop.queue is not None

    def weigh(part: Part, accounts: Accounts, rules: BookRules, own: tuple) -> Stakes:
        book, mine, losers = part.take((rules, accounts, own))
        return stakes(book, mine, *losers, share, price, ranked, charge)

    def add_sides(part: Part, sides: Sides) -> Sides:
        slots = once(weigh, part, accounts, rules, own)
        market = part.take(rules.facts.market)
        bankrupt = by_side(market, sides.bankrupt_long, sides.bankrupt_short, slots.closing)
        loss = by_side(market, sides.loss_long, sides.loss_short, slots.charged, slots.closing)
        winners = by_side(market, sides.winners_long, sides.winners_short, slots.winning)
        return Sides(*bankrupt, *loss, *winners)

    sides = visit(drive, books, add_sides, Sides(*[jnp.zeros_like(price)] * 6))
    makers = maker_stakes(markets, price)
    winners_long = sides.winners_long + jnp.maximum(makers.winning, 0)
    winners_short = sides.winners_short + jnp.maximum(-makers.winning, 0)
    # bankrupt longs are closed against winning shorts, and the other way round
    cuts = (
        jnp.minimum(1, ratio_or_zero(sides.bankrupt_short, winners_long)),
        jnp.minimum(1, ratio_or_zero(sides.bankrupt_long, winners_short)),
    )
    if ranked:
        wanted = jnp.stack([sides.bankrupt_short, sides.bankrupt_long])
        standing = ranking(weigh, accounts, rules, own, makers, books, drive)
        queues = backstop.queue[maps.market_venue]
        cuts = cuts_by_kind(queues, cuts, cut(standing, wanted))
    longs = Terms(cuts[0], ratio_or_zero(sides.loss_short, sides.bankrupt_short))
    shorts = Terms(cuts[1], ratio_or_zero(sides.loss_long, sides.bankrupt_long))

    def close(
        part: Part, accounts: Accounts, rules: BookRules, slots: Stakes
    ) -> tuple[Accounts, list[Array], Array, Array, Array]:
        book, mine = part.take((rules, accounts))
        market = book.facts.market
        closed, lost, realised, kept = [], [], [], []
        for n, place in enumerate(market):
            winning, profit = slots.winning[n], slots.profit[n]
            here = terms_of(winning, longs, shorts, lambda rows, at=place: to_slot(rows, at))
            closed_share = here.closed_share(slots.score[n] if ranked else None)
            loss = jnp.abs(closed_share * winning) * here.cost
            closed.append(slots.closing[n] + closed_share * winning)
            realised.append(ratio_or_zero(closed[n], mine.contracts[n]) * profit)
            forgone = jnp.maximum(closed_share * profit - loss, 0)
            kept.append(jnp.where(winning != 0, forgone, 0))
            lost.append(loss)
        loss = jnp.minimum(total(lost), jnp.maximum(slots.equity, 0))
        left = [held - gone for held, gone in zip(mine.contracts, closed, strict=True)]
        cash = mine.cash + total(realised) - loss
        mine = eqx.tree_at(lambda a: (a.cash, a.contracts), mine, (cash, left))
        return mine, closed, loss, chargeable(book, mine, price), total(kept)

    def close_book(part: Part, so_far: Closed) -> Closed:
        slots = once(weigh, part, so_far.accounts, rules, own)
        mine, closed, loss, solvent, kept = once(close, part, so_far.accounts, rules, slots)
        market, venue = part.take((rules.facts.market, rules.facts.venue))
        return Closed(
            accounts=part.put_fields(so_far.accounts, mine, "cash", "contracts"),
            units=add_slots(so_far.units, market, closed),
            loss=add_cohorts(so_far.loss, venue, loss),
            solvent=add_cohorts(so_far.solvent, venue, solvent),
            overshoot_wealth=so_far.overshoot_wealth + sum_cohorts(kept),
        )

    none = jnp.zeros_like(uncovered)
    nothing = Closed(accounts, jnp.zeros_like(price), none, none, none[0])
    closed = visit(drive, books, close_book, nothing)

    of_makers = terms_of(makers.winning, longs, shorts, lambda rows: rows)
    maker_share = jnp.where(makers.winning == 0, 0, of_makers.closed_share(makers.score))
    maker_loss = maker_share * jnp.abs(makers.winning) * of_makers.cost
    maker_excess = sum_rows(jnp.maximum(maker_share * makers.profit - maker_loss, 0))
    matched = jnp.minimum(winners_long, sides.bankrupt_short)
    matched += jnp.minimum(winners_short, sides.bankrupt_long)
    markets = eqx.tree_at(
        lambda m: (m.maker_units, m.maker_cash),
        markets,
        (
            markets.maker_units + closed.units,
            markets.maker_cash - closed.units * price - maker_loss,
        ),
    )
    losses = paid._replace(
        adl_loss=closed.loss + by_venue(maps, maker_loss),
        adl_notional=by_venue(maps, matched * price),
        adl_overshoot_wealth=closed.overshoot_wealth + maker_excess,
    )
    return closed.accounts, markets, losses, closed.solvent


def terms_of(side: Array, longs: Terms, shorts: Terms, place: Callable[[Array], Array]) -> Terms:
    """Those of longs where `side` is positive, else of shorts, each brought to its place."""
    is_long = side > 0
    return jax.tree.map(
        lambda long, short: jnp.where(is_long, place(long), place(short)), longs, shorts
    )
