"""Who owes, who pays for it, in which order, and that nobody is made to pay what he lacks."""

from __future__ import annotations

import numpy as np
from walk import Walk, at_home, at_market, received, slots


def equity_of(w: Walk, accounts: object, cash: np.ndarray | float = 0.0) -> np.ndarray:
    """Equity without haircuts at the venue's own closing prices, `[step, B, K, lane, path]`."""
    price = w.flows.closing_price
    worth = (accounts.collateral * at_home(w, price)).sum(axis=1)
    profit = accounts.contracts * (at_market(w, price) - w.policy.books.entry)
    return accounts.cash + cash + worth + profit.sum(axis=1)


def after_orders(w: Walk) -> np.ndarray:
    """The same once the step's orders are paid, before anybody covers a deficit: MODEL.md 2.9."""
    accounts, rules, entry = w.before.accounts, w.policy.liquidation, w.policy.books.entry
    closed, sold = w.flows.orders.closed, w.flows.orders.sold
    average, brought = at_market(w, w.flows.average_price), sold * received(w)
    fees = rules.fee * (np.abs(closed) * average).sum(axis=1)
    fees = fees + rules.collateral_fee * w.flows.is_due * brought.sum(axis=1)
    paid = (closed * (average - entry)).sum(axis=1) + brought.sum(axis=1) - fees
    held = type(accounts)(
        **{
            **vars(accounts),
            "contracts": accounts.contracts - closed,
            "collateral": accounts.collateral - sold,
        }
    )
    topped_up = accounts.budget - w.after.accounts.budget
    return equity_of(w, held, topped_up + paid)


def bad_debt_is_what_due_accounts_lack(w: Walk) -> None:
    # where the engine works: a halted one finds no deficit
    deficit = np.where(w.working, np.maximum(-after_orders(w), 0.0), 0.0)
    assert (np.abs(w.flows.losses.bad_debt - w.by_venue(deficit)) <= w.error).all()


def bad_debt_is_borne_in_full_and_by_nobody_twice(w: Walk) -> None:
    losses = w.flows.losses
    borne = losses.insurance_drawn + losses.adl_loss
    borne = borne + losses.socialised_loss + losses.unabsorbed_loss
    parts = [losses.insurance_drawn, losses.adl_loss, losses.socialised_loss, losses.adl_notional]
    if losses.vault_paid is not None:
        borne = borne + losses.vault_paid
        parts += [losses.vault_paid, losses.vault_taken]
    assert (np.abs(losses.bad_debt - borne) <= w.error).all()
    assert min(part.min() for part in parts) >= 0.0
    assert (losses.unabsorbed_loss >= -w.error).all()
    assert not losses.adl_overshoot_contracts.any()
    assert losses.adl_overshoot_wealth.min() >= 0.0


def losses_come_in_their_order(w: Walk) -> None:
    # fund, vault, winners, everybody, the venue itself: none before those ahead of it are used up
    losses, error = w.flows.losses, w.error
    in_fund = w.before.fund + w.flows.fees
    assert (losses.insurance_drawn <= in_fund + error).all()
    kept_back = in_fund - losses.insurance_drawn
    assert (kept_back <= error)[losses.bad_debt - losses.insurance_drawn > error].all()
    assert (np.abs(w.after.fund - kept_back - losses.swept) <= error).all()
    # winners are asked only where the venue deleverages
    asked = np.broadcast_to(w.policy.backstop.adl, losses.adl_loss.shape) > 0.0
    assert not losses.adl_loss[~asked].any()
    assert not losses.adl_notional[~asked].any()
    # the venue bears what is beyond all that its accounts have
    equity = np.maximum(equity_of(w, w.after.accounts), 0.0)
    bare = w.by_venue(np.where(w.after.accounts.taken_over, 0.0, equity)) <= error
    assert bare[losses.unabsorbed_loss > error].all()


def vaults_take_over_no_more_than_they_can_carry(w: Walk) -> None:
    if w.after.vault is None:
        return
    losses, vault, price = w.flows.losses, w.after.vault, w.flows.closing_price
    worth = vault.cash + w.markets_by_venue(vault.units * price)
    size = w.markets_by_venue(np.abs(vault.units) * price)
    took = losses.vault_taken > 0.0
    assert (size - worth - w.policy.vault.capacity <= w.error)[took].all()
    none = np.broadcast_to(w.policy.vault.capacity == 0.0, losses.vault_taken.shape)
    assert not vault.cash[none].any()
    assert not losses.vault_taken[none].any()
    venues = [market.venue for market in w.layout.markets]
    assert not vault.units[none[:, venues]].any()


def nobody_ends_a_step_below_zero_but_who_is_not_looked_at(w: Walk) -> None:
    # deficits are made good where the engine works; who wins, and who shares, gives at most what
    # he has: whoever is below zero then was so by himself, and is not due
    equity = equity_of(w, w.after.accounts)
    assert (equity >= -w.error)[w.working].all()
    alone = np.minimum(after_orders(w), 0.0)
    assert (equity >= alone - w.error)[~w.working].all()


def what_is_left_of_wiped_out_accounts_goes_to_the_fund(w: Walk) -> None:
    # taken over is who had a deficit, now or before, and once nothing is left neither is cash
    accounts = w.after.accounts
    newly = accounts.taken_over & ~w.before.accounts.taken_over
    owed = np.where(w.working, np.maximum(-after_orders(w), 0.0), 0.0)
    assert (owed > 0.0)[newly & (np.abs(after_orders(w)) > w.error)].all()
    assert accounts.taken_over[owed > w.error].all()
    empty = np.ones(accounts.taken_over.shape, bool)
    for perps, held in ((True, accounts.contracts), (False, accounts.collateral)):
        for j, b, _ in slots(w.layout, perps):
            empty[:, b] &= held[:, j, b] == 0.0
    gone = accounts.taken_over & empty
    assert (accounts.cash <= 0.0)[gone].all()
    assert (accounts.cash >= -w.error)[gone].all()


DEFICITS = (
    bad_debt_is_what_due_accounts_lack,
    bad_debt_is_borne_in_full_and_by_nobody_twice,
    losses_come_in_their_order,
    vaults_take_over_no_more_than_they_can_carry,
    nobody_ends_a_step_below_zero_but_who_is_not_looked_at,
    what_is_left_of_wiped_out_accounts_goes_to_the_fund,
)
