"""Stage 9: what is left of deficits is shared over a venue's accounts. MODEL.md 2.9."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
from jax import Array

from deleverage.cascade.books import BookRules
from deleverage.cascade.losses import Losses
from deleverage.cascade.once import once
from deleverage.cascade.parts import Part
from deleverage.cascade.primitives import add_cohorts, ratio_or_zero, to_slot
from deleverage.cascade.settlement import bankruptcy_equity, own_prices, sweep
from deleverage.cascade.worklist import Drive, Worklist, visit
from deleverage.state import Accounts


def socialise(
    rules: BookRules,
    accounts: Accounts,
    paid: Losses,
    solvent: Array,
    uncovered: Array,
    books: Worklist,
    price: Array,
    drive: Drive,
) -> tuple[Accounts, Losses]:
    """Charge what is left of the deficits to everybody; what even they lack is the venue's own.

    Args:
        rules: Of all books.
        accounts: After deleveraging.
        paid: Losses so far.
        solvent: What the accounts of each venue can be charged, `[venue, column]`.
        uncovered: Share of each venue's deficits that its fund left, `[venue, column]`.
        books: Those of venues in need.
        price: After stage 8, `[market, column]`.
        drive: How books are visited.

    Source: MODEL.md section 2.9 (socialised).
    """
    rest = paid.bad_debt - paid.insurance_drawn - paid.adl_loss
    if paid.vault_paid is not None:
        rest -= paid.vault_paid
    rest = jnp.maximum(rest, 0)
    rest = jnp.where(uncovered > 0, rest, 0)
    socialised = jnp.minimum(rest, solvent)
    levy = ratio_or_zero(socialised, solvent)

    def charge(part: Part, accounts: Accounts, rules: BookRules) -> tuple[Accounts, Array]:
        book, mine = part.take((rules, accounts))
        owed = to_slot(levy, book.facts.venue) * chargeable(book, mine, price)
        return sweep(eqx.tree_at(lambda a: a.cash, mine, mine.cash - owed))

    def charge_book(part: Part, so_far: tuple[Accounts, Array]) -> tuple[Accounts, Array]:
        accounts, swept = so_far
        mine, leftover = once(charge, part, accounts, rules)
        venue = part.take(rules.facts.venue)
        return part.put_fields(accounts, mine, "cash"), add_cohorts(swept, venue, leftover)

    accounts, swept = visit(drive, books, charge_book, (accounts, paid.swept))
    return accounts, paid._replace(
        socialised_loss=socialised,
        unabsorbed_loss=paid.unabsorbed_loss + rest - socialised,
        swept=swept,
    )


def chargeable(book: BookRules, accounts: Accounts, price: Array) -> Array:
    """What an account can be charged, `[book, bucket, column]`."""
    equity, _ = bankruptcy_equity(book.start, accounts, own_prices(book.facts, price))
    return jnp.where(accounts.taken_over, 0, jnp.maximum(equity, 0))
