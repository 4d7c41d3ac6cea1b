"""Nothing comes from nowhere: cash, contracts, collateral, and what issuers promise."""

from __future__ import annotations

import numpy as np
from walk import Walk, kind_of_sale, received, routes, slots

from deleverage.cascade.issuer import LEAST_BACKING


def taken_from_outside(w: Walk) -> np.ndarray:
    """Units of exogenous sellers that books took in each step, `[step, M, lane, path]`.

    All of them, unless a measured book ends before the orders do. Of a spot book the kernel says
    what share it took; of contracts it is what accounts, vaults and makers hold more than before,
    by no more than was offered, and all of it where no order lacked anything.
    """
    sales = w.inputs.get("sales")
    wide = w.flows.price.shape
    if sales is None:
        return np.zeros(wide)
    found = np.broadcast_to(sales, wide).copy()
    if w.flows.filled is not None:
        found = found * w.flows.filled
    held = contracts_held(w)
    grown = held - np.concatenate([np.zeros_like(held[:1]), held[:-1]])
    for m, market in enumerate(w.layout.markets):
        if market.is_perp and market.impact == "profile" and sales[:, m].any():
            offered, found[:, m] = found[:, m].copy(), grown[:, m]
            assert (found[:, m] >= -w.error).all()
            assert (found[:, m] <= offered + w.error).all()
            whole = ~w.flows.unfilled
            assert (np.abs(found[:, m] - offered) <= w.error)[whole].all()
    return found


def contracts_held(w: Walk) -> np.ndarray:
    """Contracts of accounts, vaults and market makers, `[step, M, lane, path]`."""
    held = w.after.markets.maker_units.copy()
    if w.after.vault is not None:
        held += w.after.vault.units
    for j, b, market in slots(w.layout, perps=True):
        held[:, market] += w.after.accounts.contracts[:, j, b].sum(axis=1)
    return held


def contracts_of_every_perp_sum_to_zero(w: Walk) -> None:
    # longs equal shorts, market makers, vaults and sellers from outside included
    held = contracts_held(w) - np.cumsum(taken_from_outside(w), axis=0)
    perps = [market.is_perp for market in w.layout.markets]
    assert (np.abs(held[:, perps]) <= w.error).all()


def wealth(w: Walk, state: object) -> np.ndarray:
    """All cash of a venue's, contracts counted at what was paid for them, `[step, V, ...]`."""
    accounts = state.accounts
    at_entry = (accounts.contracts * w.policy.books.entry).sum(axis=1)
    total = state.fund + w.by_venue(accounts.cash - at_entry)
    total = total + w.markets_by_venue(state.markets.maker_cash)
    return total if state.vault is None else total + state.vault.cash


def cash_comes_only_from_owners_buyers_and_the_venue(w: Walk) -> None:
    # by venue: owners top up, whoever buys collateral pays for it, the venue bears what nobody
    # else does; and makers pay sellers of contracts from outside
    spent = w.by_venue(w.before.accounts.budget - w.after.accounts.budget)
    assert (np.abs(w.flows.topped_up - spent) <= w.error).all()
    sold = (w.flows.orders.sold * received(w)).sum(axis=1)
    perps = np.array([market.is_perp for market in w.layout.markets])[:, None, None]
    outside = w.markets_by_venue(perps * taken_from_outside(w) * w.flows.average_price)
    paid_in = spent + w.by_venue(sold) + w.flows.losses.unabsorbed_loss - outside
    change = wealth(w, w.after) - wealth(w, w.before)
    assert (np.abs(change - paid_in) <= w.error).all()


def collateral_leaves_only_by_sales_and_somebody_has_it(w: Walk) -> None:
    # every unit of every slot is on an order book, with an issuer or with a backstop buyer
    sold = w.flows.orders.sold
    left = w.before.accounts.collateral - w.after.accounts.collateral
    assert (np.abs(left - sold) <= w.error).all()
    bought = w.flows.spot_units_sold - taken_from_outside(w)
    off_book = w.flows.off_book
    gone = {"redeem": 0.0, "backstop": 0.0}
    if off_book is not None:
        gone = {"redeem": off_book.redeemed.copy(), "backstop": off_book.taken.copy()}
    for j, b, entry in slots(w.layout, perps=False):
        units, kind = sold[:, j, b].sum(axis=1), kind_of_sale(w.layout, j, b)
        if kind in gone:
            gone[kind][:, entry] -= units
        for market, share in routes(w, j, b):
            bought[:, market] -= share * units
        if kind == "hold":
            assert not units.any()
    spot = [not market.is_perp for market in w.layout.markets]
    assert (np.abs(bought[:, spot]) <= w.error).all()
    assert all((np.abs(units) <= w.error).all() for units in gone.values())


def who_buys_off_the_books_stays_within_what_it_offered(w: Walk) -> None:
    off, layout = w.flows.off_book, w.layout
    if off is None:
        return
    assert min(off.redeemed.min(), off.taken.min()) >= 0.0
    pace = w.policy.healing.redemption_capacity * layout.step * w.inputs["capacity_left"][:, None]
    for place, asset in enumerate(layout.pegged):
        entries = [entry for entry, index in enumerate(layout.indices) if index.asset == asset]
        redeemed = off.redeemed[:, entries].sum(axis=1)
        assert (redeemed <= pace[:, place] + w.error).all()
        for stock in (w.before.issuer.reserve, w.before.issuer.supply):
            assert (redeemed <= stock[:, place] + w.error).all()
    gate = w.flows.gate_open[:, [index.venue for index in layout.indices]]
    assert not (off.redeemed * (1.0 - gate)).any()
    # entries of one asset on one venue share a buyer
    paid = off.taken * off.backstop_price
    for index in layout.indices:
        here = (index.venue, index.asset)
        pool = [e for e, o in enumerate(layout.indices) if (o.venue, o.asset) == here]
        most = w.policy.sales.capacity[pool].max(axis=0) * layout.step
        assert (paid[:, pool].sum(axis=1) <= most + w.error).all()


def what_issuers_redeem_and_holders_sell_is_gone_from_their_stocks(w: Walk) -> None:
    if w.before.issuer is None:
        return
    layout, before, after, flows = w.layout, w.before.issuer, w.after.issuer, w.flows
    told = before.backing * w.inputs["backing_kept"]
    had = np.where(before.supply > 0.0, before.supply, 1.0)
    ratio = np.where(before.supply > 0.0, told / had, 1.0)
    ratio = np.clip(ratio, LEAST_BACKING, 1.0)
    sold = np.zeros_like(flows.redeemed)
    for place, asset in enumerate(layout.pegged):
        books = [m.asset == asset and not m.is_perp for m in layout.markets]
        sold[:, place] = flows.holders_sold[:, books].sum(axis=1)
    # hedged books may be an issuer's: what they gained is too, but for what topped them up
    gained = after.hedge - before.hedge
    for b, book in enumerate(layout.books):
        if book.issuer >= 0:
            spent = w.before.accounts.budget[:, b] - w.after.accounts.budget[:, b]
            gained[:, book.issuer] -= spent.sum(axis=1)
    gained = gained / np.exp(w.inputs["log_fundamental"][:, list(layout.pegged)])
    gone = {
        "supply": flows.redeemed,
        "reserve": flows.redeemed,
        "backing": np.minimum(flows.redeemed * ratio, told) - gained,
        "free_float": sold,
    }
    for name, units in gone.items():
        held = told if name == "backing" else getattr(before, name)
        left, finite = getattr(after, name), held < 1e20
        assert left.min() >= 0.0, name
        assert name == "backing" or units.min() >= 0.0, name
        away = np.abs(np.maximum(held - units, 0.0) - left)
        assert (away <= w.error)[finite].all(), name
    paid = w.policy.healing.redemption_capacity * layout.step * w.inputs["capacity_left"][:, None]
    assert (flows.redeemed <= paid + w.error).all()


BALANCES = (
    contracts_of_every_perp_sum_to_zero,
    cash_comes_only_from_owners_buyers_and_the_venue,
    collateral_leaves_only_by_sales_and_somebody_has_it,
    who_buys_off_the_books_stays_within_what_it_offered,
    what_issuers_redeem_and_holders_sell_is_gone_from_their_stocks,
)
