"""Stage 9: who pays for accounts below zero: fund, winners (ADL), everybody. MODEL.md 2.9."""

from __future__ import annotations

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array

from deleverage.cascade.blocks import BlockRules
from deleverage.cascade.maps import Maps
from deleverage.cascade.margin import SlotPrices, has_positions
from deleverage.cascade.primitives import (
    any_true,
    contract,
    gather,
    ratio_or_zero,
    spread,
    sum_rows,
    total,
)
from deleverage.policy import BackstopRules, Books
from deleverage.state import Accounts, Markets


class Losses(NamedTuple):
    """Deficits and who bore them, USD millions, `[venue, path]` unless said."""

    bad_debt: Array
    insurance_drawn: Array
    adl_loss: Array
    socialised_loss: Array
    unabsorbed_loss: Array
    swept: Array  # leftovers of wiped-out accounts, to the fund
    adl_notional: Array  # closed against winners
    adl_overshoot_contracts: Array  # [path]
    adl_overshoot_wealth: Array  # [path]


class Matched(NamedTuple):
    """Bankrupt contracts closed against winners; lists are per block."""

    contracts: list[Array]  # [Jp, book, bucket, path] what is left
    realised: list[Array]  # [book, bucket, path] profit of all closed contracts
    loss: list[Array]  # [book, bucket, path] winners' losses
    adl_loss: Array  # [venue, path], market makers' included
    maker_units: Array  # [market, path]
    maker_cash: Array  # [market, path]
    notional: Array  # [venue, path]
    overshoot_contracts: Array  # [path]
    overshoot_wealth: Array  # [path]


def bankruptcy_equity(
    books: Books, accounts: Accounts, prices: SlotPrices
) -> tuple[Array, Array]:
    """Equity at own-venue prices without haircuts, and the unrealised profit of each perp slot."""
    profit = accounts.contracts * (prices.perp - books.entry)
    held = total(accounts.collateral * prices.collateral)
    return accounts.cash + held + total(profit), profit


def own_prices(maps: Maps, price: Array) -> list[SlotPrices]:
    """Prices of each block's slots on its venue's own books, from `[market, path]`."""
    return [
        SlotPrices(spread(block.sale, price), spread(block.market, price)) for block in maps.blocks
    ]


def absorb(
    maps: Maps,
    rules: BackstopRules,
    blocks: tuple[BlockRules, ...],
    accounts: tuple[Accounts, ...],
    markets: Markets,
    fund: Array,
    is_due: list[Array],
    price: Array,
) -> tuple[tuple[Accounts, ...], Markets, Array, Losses]:
    """Cover the deficits of due cohorts: fund, then ADL, then socialised.

    Args:
        maps: Relations of the layout.
        rules: Which venues deleverage winners.
        blocks: Starting balance sheets.
        accounts: After the orders and top-ups.
        markets: Market makers' inventory after the orders.
        fund: Insurance fund, `[venue, path]`.
        is_due: Stage-4 due set, per block.
        price: After stage 8, `[market, path]`.

    Returns:
        Accounts, markets and fund after the losses, and the losses themselves.

    Source: MODEL.md section 2.9.
    """
    return jax.lax.cond(
        any_true(is_due),
        lambda: _cover(maps, rules, blocks, accounts, markets, fund, is_due, price),
        lambda: (accounts, markets, fund, no_losses(fund)),
    )


def no_losses(fund: Array) -> Losses:
    """A step, or a path so far, without deficits."""
    by_venue = jnp.zeros_like(fund)
    return Losses(*[by_venue] * 7, by_venue[0], by_venue[0])


def _cover(
    maps: Maps,
    rules: BackstopRules,
    blocks: tuple[BlockRules, ...],
    accounts: tuple[Accounts, ...],
    markets: Markets,
    fund: Array,
    is_due: list[Array],
    price: Array,
) -> tuple[tuple[Accounts, ...], Markets, Array, Losses]:
    prices = own_prices(maps, price)
    valued = [
        bankruptcy_equity(rules_.books, account, slots)
        for rules_, account, slots in zip(blocks, accounts, prices, strict=True)
    ]
    equity = [worth for worth, _ in valued]
    profit = [gain for _, gain in valued]
    deficit = [
        jnp.where(due, jnp.maximum(-worth, 0), 0)
        for due, worth in zip(is_due, equity, strict=True)
    ]

    bad_debt = gather(maps.venue_books, deficit)
    insurance_drawn = jnp.minimum(fund, bad_debt)  # exact: rounding must not overdraw the fund
    covered = ratio_or_zero(insurance_drawn, bad_debt)
    uncovered = [1 - spread(block.venue, covered) for block in maps.blocks]

    matched = jax.lax.cond(
        jnp.any(bad_debt > insurance_drawn),
        lambda: deleverage_winners(
            maps,
            rules,
            accounts,
            markets,
            profit,
            equity,
            deficit,
            uncovered,
            is_due,
            prices,
            price,
        ),
        lambda: nobody_deleveraged(accounts, markets, fund),
    )
    rest = jnp.maximum(bad_debt - insurance_drawn - matched.adl_loss, 0)
    solvent = [
        jnp.where(account.taken_over, 0, jnp.maximum(worth - loss, 0))
        for account, worth, loss in zip(accounts, equity, matched.loss, strict=True)
    ]
    capacity = gather(maps.venue_books, solvent)
    socialised_loss = jnp.minimum(rest, capacity)
    levy = ratio_or_zero(socialised_loss, capacity)

    settled, leftovers = [], []
    for b, block in enumerate(maps.blocks):
        cash = accounts[b].cash + deficit[b] + matched.realised[b] - matched.loss[b]
        cash = cash - spread(block.venue, levy) * solvent[b]
        after = Accounts(
            cash=cash,
            contracts=matched.contracts[b],
            collateral=accounts[b].collateral,
            budget=accounts[b].budget,
            taken_over=accounts[b].taken_over | (deficit[b] > 0),
        )
        empty = after.taken_over & ~has_positions(after)
        leftover = jnp.where(empty, jnp.maximum(cash, 0), 0)
        leftovers.append(leftover)
        settled.append(eqx.tree_at(lambda a: a.cash, after, cash - leftover))
    swept = gather(maps.venue_books, leftovers)

    markets = eqx.tree_at(
        lambda m: (m.maker_units, m.maker_cash), markets, (matched.maker_units, matched.maker_cash)
    )
    losses = Losses(
        bad_debt=bad_debt,
        insurance_drawn=insurance_drawn,
        adl_loss=matched.adl_loss,
        socialised_loss=socialised_loss,
        unabsorbed_loss=rest - socialised_loss,
        swept=swept,
        adl_notional=matched.notional,
        adl_overshoot_contracts=matched.overshoot_contracts,
        adl_overshoot_wealth=matched.overshoot_wealth,
    )
    return tuple(settled), markets, fund - insurance_drawn + swept, losses


def nobody_deleveraged(
    accounts: tuple[Accounts, ...], markets: Markets, fund: Array
) -> Matched:
    """The fund paid for everything."""
    nothing = [jnp.zeros_like(account.cash) for account in accounts]
    by_venue = jnp.zeros_like(fund)
    return Matched(
        contracts=[account.contracts for account in accounts],
        realised=nothing,
        loss=nothing,
        adl_loss=by_venue,
        maker_units=markets.maker_units,
        maker_cash=markets.maker_cash,
        notional=by_venue,
        overshoot_contracts=by_venue[0],
        overshoot_wealth=by_venue[0],
    )


def deleverage_winners(
    maps: Maps,
    rules: BackstopRules,
    accounts: tuple[Accounts, ...],
    markets: Markets,
    profit: list[Array],
    equity: list[Array],
    deficit: list[Array],
    uncovered: list[Array],
    is_due: list[Array],
    prices: list[SlotPrices],
    price: Array,
) -> Matched:
    """Close bankrupt contracts against profitable opposite positions, pro rata by contracts.

    Args: lists are per block. `uncovered` is the share of each deficit that the fund left, `[book,
        1, path]`; the others as in `absorb`.

    Source: MODEL.md section 2.9 (pro rata ADL).
    """
    closing, charged, winning = [], [], []
    for b, block in enumerate(maps.blocks):
        size = jnp.abs(accounts[b].contracts)
        notional = size * prices[b].perp
        share = jnp.where(deficit[b] > 0, uncovered[b] * spread(block.venue, rules.adl), 0)
        closing.append(share * accounts[b].contracts)
        charged.append(share * deficit[b] * ratio_or_zero(notional, total(notional)))
        wins = (profit[b] > 0) & ~is_due[b]
        winning.append(jnp.where(wins, accounts[b].contracts, 0))

    def by_side(values: list[Array], side: list[Array]) -> tuple[Array, Array]:
        longs = [jnp.where(s > 0, v, 0) for v, s in zip(values, side, strict=True)]
        shorts = [jnp.where(s < 0, v, 0) for v, s in zip(values, side, strict=True)]
        return gather(maps.orders_perp, longs), gather(maps.orders_perp, shorts)

    maker_profit = markets.maker_cash + markets.maker_units * price
    maker_wins = jnp.where(maker_profit > 0, markets.maker_units, 0)
    bankrupt_long, bankrupt_short = by_side(closing, closing)
    loss_long, loss_short = by_side(charged, closing)
    winners_long, winners_short = by_side(winning, winning)
    bankrupt_short, winners_short = -bankrupt_short, -winners_short
    winners_long = winners_long + jnp.maximum(maker_wins, 0)
    winners_short = winners_short + jnp.maximum(-maker_wins, 0)

    # bankrupt longs are closed against winning shorts, and the other way round
    share_short = jnp.minimum(1, ratio_or_zero(bankrupt_long, winners_short))
    share_long = jnp.minimum(1, ratio_or_zero(bankrupt_short, winners_long))
    cost_short = ratio_or_zero(loss_long, bankrupt_long)
    cost_long = ratio_or_zero(loss_short, bankrupt_short)

    contracts, realised, loss, moved, forgone = [], [], [], [], []
    for b, block in enumerate(maps.blocks):
        is_long = winning[b] > 0
        share = jnp.where(
            is_long, spread(block.market, share_long), spread(block.market, share_short)
        )
        cost = jnp.where(is_long, spread(block.market, cost_long), spread(block.market, cost_short))
        closed_winning = share * winning[b]
        closed = closing[b] + closed_winning
        slot_loss = jnp.abs(closed_winning) * cost
        gain = ratio_or_zero(closed, accounts[b].contracts) * profit[b]
        contracts.append(accounts[b].contracts - closed)
        realised.append(total(gain))
        loss.append(jnp.minimum(total(slot_loss), jnp.maximum(equity[b], 0)))
        moved.append(closed)
        forgone.append(
            total(jnp.where(winning[b] != 0, jnp.maximum(share * profit[b] - slot_loss, 0), 0))
        )
    maker_loss = (
        share_long * cost_long * jnp.maximum(maker_wins, 0)
        + share_short * cost_short * jnp.maximum(-maker_wins, 0)
    )
    maker_share = jnp.where(maker_wins > 0, share_long, jnp.where(maker_wins < 0, share_short, 0))
    maker_forgone = jnp.maximum(maker_share * maker_profit - maker_loss, 0)
    maker_forgone = sum_rows(maker_forgone)
    units = gather(maps.orders_perp, moved)
    matched = share_long * winners_long + share_short * winners_short
    # a share below 1 closes exactly the bankrupt contracts: no rounding may look like overshoot
    excess = jnp.where(share_long < 1, 0, jnp.maximum(winners_long - bankrupt_short, 0))
    excess += jnp.where(share_short < 1, 0, jnp.maximum(winners_short - bankrupt_long, 0))
    return Matched(
        contracts=contracts,
        realised=realised,
        loss=loss,
        adl_loss=gather(maps.venue_books, loss) + contract(maps.venue_markets, maker_loss),
        maker_units=markets.maker_units + units,
        maker_cash=markets.maker_cash - units * price - maker_loss,
        notional=contract(maps.venue_markets, matched * price),
        overshoot_contracts=sum_rows(excess * price),
        overshoot_wealth=gather(maps.everybody, forgone)[0] + maker_forgone
    )
