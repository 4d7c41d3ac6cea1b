"""Stage 9: who pays for accounts below zero: fund, vault, winners, everybody. MODEL.md 2.9."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from deleverage.cascade.books import BookRules
from deleverage.cascade.deleveraging import deleverage
from deleverage.cascade.losses import Losses, no_losses
from deleverage.cascade.maps import Maps
from deleverage.cascade.margin_call import MarginCall
from deleverage.cascade.primitives import ratio_or_zero
from deleverage.cascade.settlement import Settled
from deleverage.cascade.socialising import socialise
from deleverage.cascade.vault import take_over
from deleverage.cascade.worklist import Drive, books_with, when
from deleverage.policy import BackstopRules, VaultRules
from deleverage.state import Accounts, Markets, VaultState


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
    vault_rules: VaultRules | None = None,
    vault: VaultState | None = None,
) -> tuple[Accounts, Markets, Array, VaultState | None, Losses]:
    """Cover the deficits of due cohorts: fund, vault, then ADL, then socialised.

    Args:
        maps: Relations of the layout.
        backstop: Which venues deleverage winners, and in which order.
        rules: Of all books.
        settled: Accounts after the orders, deficits credited.
        call: Stage-4 due set.
        markets: Market makers' inventory after the orders.
        fund: Insurance fund, fees included, `[venue, column]`.
        price: After stage 8, `[market, column]`.
        drive: How books are visited.
        vault_rules: Of the venues' vaults; None: there are none.
        vault: What these hold, after their orders.

    Returns:
        Accounts, markets, fund and vaults after the losses, and the losses themselves.

    Source: MODEL.md section 2.9, A37.
    """
    bad_debt = settled.bad_debt
    drawn = jnp.minimum(fund, bad_debt)  # exact: rounding must not overdraw the fund
    uncovered = jnp.where(bad_debt > drawn, 1 - ratio_or_zero(drawn, bad_debt), 0)
    paid = no_losses(fund, vault is not None)._replace(
        bad_debt=bad_debt,
        insurance_drawn=drawn,
        unabsorbed_loss=jnp.where(uncovered > 0, 0, bad_debt - drawn),  # at most a rounding
        swept=settled.swept,
    )
    # only a venue whose fund does not suffice touches the accounts of others
    in_need = jnp.any(uncovered > 0, axis=(1, 2))
    books = books_with(in_need[maps.facts.venue[:, 0, 0, 0]])

    def borne_by_others(given: tuple) -> tuple:
        accounts, markets, paid, vault = given
        left, still_open = uncovered, None
        if vault is not None:
            accounts, vault, paid, left, still_open = take_over(
                maps,
                vault_rules,
                rules,
                accounts,
                vault,
                paid,
                settled.deficit,
                call,
                uncovered,
                price,
                drive,
            )
        accounts, markets, losses, solvent = deleverage(
            maps,
            backstop,
            rules,
            accounts,
            markets,
            paid,
            settled.deficit,
            call,
            left,
            books,
            price,
            drive,
            still_open,
        )
        accounts, losses = socialise(
            rules, accounts, losses, solvent, uncovered, books, price, drive
        )
        return accounts, markets, losses, vault

    given = (settled.accounts, markets, paid, vault)
    accounts, markets, losses, vault = when(drive, books.any, borne_by_others, given)
    return accounts, markets, fund - drawn + losses.swept, vault, losses
