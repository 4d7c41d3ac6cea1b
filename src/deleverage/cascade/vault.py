"""Stages 6 and 9: vaults take over perps of bankrupt accounts, and work them off. MODEL.md 2.9."""

from __future__ import annotations

from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jax import Array

from deleverage.cascade.books import BookRules
from deleverage.cascade.losses import Losses
from deleverage.cascade.maps import Maps, by_venue
from deleverage.cascade.margin import worth
from deleverage.cascade.margin_call import MarginCall
from deleverage.cascade.once import once
from deleverage.cascade.parts import Part
from deleverage.cascade.primitives import (
    add_cohorts,
    add_slots,
    half_life_decay,
    ratio_or_zero,
    share_served,
    to_slot,
    to_slots,
    total,
)
from deleverage.cascade.worklist import Drive, visit
from deleverage.policy import VaultRules
from deleverage.state import Accounts, VaultState


def empty_vaults(rules: VaultRules, by_market: Array) -> VaultState:
    """Before the first takeover; `by_market` has the shape of a column's markets."""
    return VaultState(units=jnp.zeros_like(by_market), cash=jnp.zeros_like(rules.capacity))


def gains(maps: Maps, vault: VaultState, price: Array) -> Array:
    """What vaults have made so far, contracts at `price`, USD millions `[venue, column]`."""
    return vault.cash + by_venue(maps, vault.units * price)


def room(maps: Maps, rules: VaultRules, vault: VaultState, price: Array) -> Array:
    r"""What vaults can still take on without debt, USD millions `[venue, column]`.

    $$\max(0,\; K + \text{gains} - \sum_m |u_m| P'_m)$$

    Source: MODEL.md section 2.9 (vault), A38.
    """
    held = by_venue(maps, jnp.abs(vault.units) * price)
    return jnp.maximum(rules.capacity + gains(maps, vault, price) - held, 0)


def orders_of_vaults(maps: Maps, rules: VaultRules, vault: VaultState, minutes: float) -> Array:
    """Contracts that vaults sell in a step, bought < 0, `[market, column]`.

    Source: MODEL.md section 2.6 (vaults), A39.
    """
    kept = half_life_decay(minutes, rules.half_life)[maps.market_venue]
    return (1 - kept) * vault.units


def after_trading(maps: Maps, vault: VaultState, sold: Array, average_price: Array) -> VaultState:
    """Vaults after what the books took of their orders, `[market, column]`."""
    return VaultState(vault.units - sold, vault.cash + by_venue(maps, sold * average_price))


class Takeover(NamedTuple):
    """Positions on their way from bankrupt accounts to vaults."""

    accounts: Accounts
    units: Array  # [market, column]
    paid: Array  # [venue, column] deficits
    taken: Array  # [venue, column] notional


def take_over(
    maps: Maps,
    rules: VaultRules,
    books: BookRules,
    accounts: Accounts,
    vault: VaultState,
    paid: Losses,
    deficit: Array,
    call: MarginCall,
    uncovered: Array,
    price: Array,
    drive: Drive,
) -> tuple[Accounts, VaultState, Losses, Array, Array]:
    r"""Take over perps of bankrupt accounts, the same share of all on a venue.

    $$\theta = \min(1,\; \text{room} / \textstyle\sum (1 - \phi)(N + \min(D, N)))$$

    Args:
        maps: Relations of the layout.
        rules: What vaults have, and how fast they sell.
        books: Rules of all books.
        accounts: After the orders, deficits credited.
        vault: After its own orders.
        paid: Losses so far.
        deficit: Of those who sold, `[book, bucket, column]`.
        call: Who did.
        uncovered: Share of each venue's deficits that its fund left, `[venue, column]`.
        price: After stage 8, `[market, column]`.
        drive: How cohorts are visited.

    Returns:
        Accounts, vaults and losses after it; the share of deficits that is left, and the share of
        the contracts which accounts still have that goes with them, `[venue, column]`.

    Source: MODEL.md section 2.9 (vault), A40 and A41.
    """
    own = (deficit, call.sells[:, :, None, None])

    def bankrupt(part: Part, accounts: Accounts, books: BookRules, own: tuple) -> Array:
        """Notional at stake of those with a deficit and perps, `[book, bucket, column]`."""
        book, mine, (owed, sells) = part.take((books, accounts, own))
        size = [jnp.abs(contracts) for contracts in mine.contracts]
        notional = mine.cash * 0 + worth(size, to_slots(price, book.facts.market))
        return jnp.where(sells & (owed > 0), notional, 0)

    def add_wanted(part: Part, wanted: Array) -> Array:
        notional = once(bankrupt, part, accounts, books, own)
        venue, owed = part.take((books.facts.venue, deficit))
        return add_cohorts(wanted, venue, notional + jnp.minimum(owed, notional))

    wanted = uncovered * visit(drive, call.sellers, add_wanted, jnp.zeros_like(uncovered))
    served = once(lambda vault: share_served(room(maps, rules, vault, price), wanted), vault)
    share = uncovered * served

    def move(
        part: Part, accounts: Accounts, books: BookRules, notional: Array
    ) -> tuple[Accounts, list[Array], Array, Array]:
        book, mine, owed = part.take((books, accounts, deficit))
        here = jnp.where(notional > 0, to_slot(share, book.facts.venue), 0)
        borne = jnp.minimum(owed, notional)
        moved = [here * contracts for contracts in mine.contracts]
        slots = zip(moved, to_slots(price, book.facts.market), book.start.entry, strict=True)
        profit = total([units * (at - entry) for units, at, entry in slots])
        left = [held - gone for held, gone in zip(mine.contracts, moved, strict=True)]
        mine = eqx.tree_at(lambda a: (a.cash, a.contracts), mine, (mine.cash + profit, left))
        return mine, moved, here * borne, here * notional

    def take_from(part: Part, so_far: Takeover) -> Takeover:
        notional = once(bankrupt, part, so_far.accounts, books, own)
        mine, moved, owed, value = once(move, part, so_far.accounts, books, notional)
        market, venue = part.take((books.facts.market, books.facts.venue))
        return Takeover(
            accounts=part.put_fields(so_far.accounts, mine, "cash", "contracts"),
            units=add_slots(so_far.units, market, moved),
            paid=add_cohorts(so_far.paid, venue, owed),
            taken=add_cohorts(so_far.taken, venue, value),
        )

    none = jnp.zeros_like(uncovered)
    nothing = Takeover(accounts, jnp.zeros_like(price), none, none)
    moved = visit(drive, call.sellers, take_from, nothing)
    cash = vault.cash - by_venue(maps, moved.units * price) - moved.paid
    left = uncovered * (1 - served)
    return (
        moved.accounts,
        VaultState(vault.units + moved.units, cash),
        paid._replace(vault_paid=moved.paid, vault_taken=moved.taken),
        left,
        ratio_or_zero(left, 1 - share),
    )
