"""Stage 9: who pays for accounts below zero: fund, winners (ADL), everybody. MODEL.md 2.9."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jax import Array

from deleverage.cascade.books import BookRules
from deleverage.cascade.maps import Maps, one_hot
from deleverage.cascade.margin_call import MarginCall, masks_of
from deleverage.cascade.once import once
from deleverage.cascade.parts import Part
from deleverage.cascade.primitives import (
    add_cohorts,
    add_slots,
    contract,
    ratio_or_zero,
    sum_cohorts,
    sum_rows,
    to_slot,
    to_slots,
    total,
)
from deleverage.cascade.settlement import Settled, bankruptcy_equity, own_prices, sweep
from deleverage.cascade.worklist import Drive, Worklist, books_with, visit, when
from deleverage.policy import BackstopRules
from deleverage.state import Accounts, Markets


class Losses(NamedTuple):
    """Deficits and who bore them, USD millions, `[venue, column]` unless said."""

    bad_debt: Array
    insurance_drawn: Array
    adl_loss: Array
    socialised_loss: Array
    unabsorbed_loss: Array
    swept: Array  # leftovers of wiped-out accounts, to the fund
    adl_notional: Array  # closed against winners
    adl_overshoot_contracts: Array  # [column]
    adl_overshoot_wealth: Array  # [column]


class Sides(NamedTuple):
    """Sums by perp market, `[market, column]`, of one side each."""

    bankrupt_long: Array  # contracts of bankrupt accounts that the fund did not pay for
    bankrupt_short: Array
    loss_long: Array  # their deficits
    loss_short: Array
    winners_long: Array  # contracts that may be closed against them
    winners_short: Array


class Terms(NamedTuple):
    """What closing against winners means for each of them, `[market, column]`."""

    share_long: Array  # of a winning long's contracts that is closed
    share_short: Array
    cost_long: Array  # loss per contract closed
    cost_short: Array


class Closed(NamedTuple):
    """Contracts closed against winners, and what that cost."""

    accounts: Accounts
    units: Array  # [market, column]
    loss: Array  # [venue, column]
    solvent: Array  # [venue, column] equity left that can be charged
    overshoot_wealth: Array  # [column]


class Slots(NamedTuple):
    """Some books' contracts in auto-deleveraging, `[book, bucket, column]` of each perp slot."""

    closing: list[Array]  # bankrupt, signed
    charged: list[Array]  # the deficit that goes with them
    winning: list[Array]  # signed
    profit: list[Array]  # unrealised
    equity: Array  # [book, bucket, column] of the account


def no_losses(fund: Array) -> Losses:
    """A step, or a path so far, without deficits."""
    by_venue = jnp.zeros_like(fund)
    return Losses(*[by_venue] * 7, by_venue[0], by_venue[0])


def absorb(
    maps: Maps,
    backstop: BackstopRules,
    rules: BookRules,
    settled: Settled,
    call: MarginCall,
    markets: Markets,
    fund: Array,
    price: Array,
    drive: Drive,
) -> tuple[Accounts, Markets, Array, Losses]:
    """Cover the deficits of due cohorts: fund, then ADL, then socialised.

    Args:
        maps: Relations of the layout.
        backstop: Which venues deleverage winners.
        rules: Of all books.
        settled: Accounts after the orders, deficits credited.
        call: Stage-4 due set.
        markets: Market makers' inventory after the orders.
        fund: Insurance fund, fees included, `[venue, column]`.
        price: After stage 8, `[market, column]`.
        drive: How books are visited.

    Returns:
        Accounts, markets and fund after the losses, and the losses themselves.

    Source: MODEL.md section 2.9.
    """
    bad_debt = settled.bad_debt
    drawn = jnp.minimum(fund, bad_debt)  # exact: rounding must not overdraw the fund
    uncovered = jnp.where(bad_debt > drawn, 1 - ratio_or_zero(drawn, bad_debt), 0)
    paid = no_losses(fund)._replace(
        bad_debt=bad_debt,
        insurance_drawn=drawn,
        unabsorbed_loss=jnp.where(uncovered > 0, 0, bad_debt - drawn),  # at most a rounding
        swept=settled.swept,
    )
    # only a venue whose fund does not suffice touches the accounts of others
    in_need = jnp.any(uncovered > 0, axis=(1, 2))
    books = books_with(in_need[maps.facts.venue[:, 0, 0, 0]])

    def borne_by_others(given: tuple) -> tuple[Accounts, Markets, Losses]:
        return deleverage_and_socialise(
            maps, backstop, rules, *given, settled.deficit, call, uncovered, books, price, drive
        )

    given = (settled.accounts, markets, paid)
    accounts, markets, losses = when(drive, books.any, borne_by_others, given)
    return accounts, markets, fund - drawn + losses.swept, losses


def deleverage_and_socialise(
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
) -> tuple[Accounts, Markets, Losses]:
    """Close bankrupt contracts against winners, pro rata; charge what is left to everybody.

    Args: as in `absorb`; `uncovered` is the share of each venue's deficits that its fund left,
        `books` those of venues in need, `paid` what has been paid so far.

    Source: MODEL.md section 2.9 (pro rata ADL).
    """
    share = uncovered * backstop.adl
    own = (deficit, call.marks, call.sells[:, :, None, None])

    def weigh(part: Part, accounts: Accounts, rules: BookRules, own: tuple) -> Slots:
        book, mine, losers = part.take((rules, accounts, own))
        return _slots(book, mine, *losers, share, price)

    def add_sides(part: Part, sides: Sides) -> Sides:
        slots = once(weigh, part, accounts, rules, own)
        market = part.take(rules.facts.market)
        bankrupt = _by_side(market, sides.bankrupt_long, sides.bankrupt_short, slots.closing)
        loss = _by_side(market, sides.loss_long, sides.loss_short, slots.charged, slots.closing)
        winners = _by_side(market, sides.winners_long, sides.winners_short, slots.winning)
        return Sides(*bankrupt, *loss, *winners)

    sides = visit(drive, books, add_sides, Sides(*[jnp.zeros_like(price)] * 6))
    maker_profit = markets.maker_cash + markets.maker_units * price
    maker_wins = jnp.where(maker_profit > 0, markets.maker_units, 0)
    winners_long = sides.winners_long + jnp.maximum(maker_wins, 0)
    winners_short = sides.winners_short + jnp.maximum(-maker_wins, 0)
    # bankrupt longs are closed against winning shorts, and the other way round
    terms = Terms(
        share_long=jnp.minimum(1, ratio_or_zero(sides.bankrupt_short, winners_long)),
        share_short=jnp.minimum(1, ratio_or_zero(sides.bankrupt_long, winners_short)),
        cost_long=ratio_or_zero(sides.loss_short, sides.bankrupt_short),
        cost_short=ratio_or_zero(sides.loss_long, sides.bankrupt_long),
    )

    def close(
        part: Part, accounts: Accounts, rules: BookRules, slots: Slots
    ) -> tuple[Accounts, list[Array], Array, Array, Array]:
        book, mine = part.take((rules, accounts))
        market = book.facts.market
        closed, lost, realised, kept = [], [], [], []
        at = zip(*(to_slots(rows, market) for rows in terms), strict=True)
        for n, (share_long, share_short, cost_long, cost_short) in enumerate(at):
            winning, profit = slots.winning[n], slots.profit[n]
            is_long = winning > 0
            closed_share = jnp.where(is_long, share_long, share_short)
            loss = jnp.abs(closed_share * winning) * jnp.where(is_long, cost_long, cost_short)
            closed.append(slots.closing[n] + closed_share * winning)
            realised.append(ratio_or_zero(closed[n], mine.contracts[n]) * profit)
            forgone = jnp.maximum(closed_share * profit - loss, 0)
            kept.append(jnp.where(winning != 0, forgone, 0))
            lost.append(loss)
        loss = jnp.minimum(total(lost), jnp.maximum(slots.equity, 0))
        left = [held - gone for held, gone in zip(mine.contracts, closed, strict=True)]
        cash = mine.cash + total(realised) - loss
        mine = eqx.tree_at(lambda a: (a.cash, a.contracts), mine, (cash, left))
        solvent = _solvent(book, mine, price)
        return mine, closed, loss, solvent, total(kept)

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

    def by_venue(rows: Array) -> Array:
        return contract(one_hot(maps.market_venue, none.shape[0]).T, rows)

    maker_share = jnp.where(maker_wins > 0, terms.share_long, terms.share_short)
    maker_share = jnp.where(maker_wins == 0, 0, maker_share)
    maker_loss = terms.share_long * terms.cost_long * jnp.maximum(maker_wins, 0)
    maker_loss += terms.share_short * terms.cost_short * jnp.maximum(-maker_wins, 0)
    maker_excess = sum_rows(jnp.maximum(maker_share * maker_profit - maker_loss, 0))
    matched = terms.share_long * winners_long + terms.share_short * winners_short
    # a share below 1 closes exactly the bankrupt contracts: no rounding may look like overshoot
    over_long = jnp.maximum(winners_long - sides.bankrupt_short, 0)
    over_short = jnp.maximum(winners_short - sides.bankrupt_long, 0)
    overshoot = jnp.where(terms.share_long < 1, 0, over_long)
    overshoot += jnp.where(terms.share_short < 1, 0, over_short)
    adl_loss = closed.loss + by_venue(maker_loss)

    rest = jnp.maximum(paid.bad_debt - paid.insurance_drawn - adl_loss, 0)
    rest = jnp.where(uncovered > 0, rest, 0)
    socialised = jnp.minimum(rest, closed.solvent)
    levy = ratio_or_zero(socialised, closed.solvent)

    def charge(part: Part, accounts: Accounts, rules: BookRules) -> tuple[Accounts, Array]:
        book, mine = part.take((rules, accounts))
        owed = to_slot(levy, book.facts.venue) * _solvent(book, mine, price)
        return sweep(eqx.tree_at(lambda a: a.cash, mine, mine.cash - owed))

    def charge_book(part: Part, so_far: tuple[Accounts, Array]) -> tuple[Accounts, Array]:
        accounts, swept = so_far
        mine, leftover = once(charge, part, accounts, rules)
        venue = part.take(rules.facts.venue)
        return part.put_fields(accounts, mine, "cash"), add_cohorts(swept, venue, leftover)

    accounts, swept = visit(drive, books, charge_book, (closed.accounts, paid.swept))
    markets = eqx.tree_at(
        lambda m: (m.maker_units, m.maker_cash),
        markets,
        (
            markets.maker_units + closed.units,
            markets.maker_cash - closed.units * price - maker_loss,
        ),
    )
    losses = paid._replace(
        adl_loss=adl_loss,
        socialised_loss=socialised,
        unabsorbed_loss=paid.unabsorbed_loss + rest - socialised,
        swept=swept,
        adl_notional=by_venue(matched * price),
        adl_overshoot_contracts=sum_rows(overshoot * price),
        adl_overshoot_wealth=closed.overshoot_wealth + maker_excess,
    )
    return accounts, markets, losses


def _slots(
    book: BookRules,
    accounts: Accounts,
    deficit: Array,
    marks: Array,
    sells: Array,
    share: Array,
    price: Array,
) -> Slots:
    """What books close for their deficits, and what of them may be closed against."""
    prices = own_prices(book.facts, price)
    equity, profit = bankruptcy_equity(book.start, accounts, prices)
    is_due = masks_of(marks).is_due
    size = [jnp.abs(contracts) for contracts in accounts.contracts]
    notional = [contracts * at for contracts, at in zip(size, prices.perp, strict=True)]
    owed = jnp.where(sells, deficit, 0)
    closed_share = jnp.where(owed > 0, to_slot(share, book.facts.venue), 0)
    charged = closed_share * owed
    whole = jnp.asarray(total(notional))
    slots = list(zip(accounts.contracts, profit, strict=True))
    return Slots(
        closing=[closed_share * contracts for contracts in accounts.contracts],
        charged=[charged * ratio_or_zero(part, whole) for part in notional],
        winning=[jnp.where((gain > 0) & ~is_due, held, 0) for held, gain in slots],
        profit=profit,
        equity=equity,
    )


def _by_side(
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


def _solvent(book: BookRules, accounts: Accounts, price: Array) -> Array:
    """What an account can be charged, `[book, bucket, column]`."""
    equity, _ = bankruptcy_equity(book.start, accounts, own_prices(book.facts, price))
    return jnp.where(accounts.taken_over, 0, jnp.maximum(equity, 0))
