"""What has a sign, a direction or a range keeps it, exactly: no rounding crosses these."""

from __future__ import annotations

import numpy as np
from walk import Walk, slots

from deleverage.cascade.haircuts import MOST
from deleverage.cascade.issuer import LEAST_BACKING


def what_accounts_hold_only_shrinks_and_nothing_turns_negative(w: Walk) -> None:
    # no mechanism gives back: top-ups are cash out of a budget, what a vault, a winner or the
    # issuer takes is not returned, and what was redeemed is not pledged again
    before, after = w.before.accounts, w.after.accounts
    for name in ("collateral", "budget"):
        assert (getattr(after, name) >= 0.0).all(), name
        assert (getattr(after, name) <= getattr(before, name)).all(), name
    assert (after.contracts * before.contracts >= 0.0).all()
    assert (np.abs(after.contracts) <= np.abs(before.contracts)).all()
    for name in ("taken_over", "liquidated", "missed"):
        assert (getattr(after, name) >= getattr(before, name)).all(), name


def funds_and_stocks_are_never_overdrawn(w: Walk) -> None:
    assert w.after.fund.min() >= 0.0
    assert w.flows.fees.min() >= 0.0
    assert w.flows.losses.swept.min() >= 0.0
    if w.after.issuer is None:
        return
    for name in ("supply", "reserve", "free_float"):
        stock, left = getattr(w.before.issuer, name), getattr(w.after.issuer, name)
        assert left.min() >= 0.0, name
        assert (left <= stock).all(), name
    assert w.after.issuer.backing.min() >= 0.0
    assert w.after.issuer.hedge.min() >= 0.0


def prices_are_positive(w: Walk) -> None:
    flows = w.flows
    perps = [market.is_perp for market in w.layout.markets]
    prices = {
        "fundamental": flows.fundamental,
        "price": flows.price,
        "index": flows.index_price,
        "mark": flows.mark_price[:, perps],
        "fair": flows.fair_price,
        "traded": flows.traded_price,
        "average": flows.average_price,
        "closing": flows.closing_price,
    }
    if flows.off_book is not None:
        prices |= {
            "redemption": flows.off_book.redemption_price,
            "backstop": flows.off_book.backstop_price,
        }
    for name, price in prices.items():
        assert np.isfinite(price).all(), name
        assert (price > 0.0).all(), name


def orders_get_a_price_between_that_before_and_that_after(w: Walk) -> None:
    # of their own book: a cross pair's quote is left alone (A3)
    moved = np.exp(w.before.markets.displacement - w.flows.pressed)
    ends = np.stack([w.flows.price, w.flows.price * moved])
    slack = 64 * w.eps * ends.max(axis=0)
    assert (w.flows.average_price >= ends.min(axis=0) - slack).all()
    assert (w.flows.average_price <= ends.max(axis=0) + slack).all()


def no_order_arbitrage_or_run_pushes_a_measured_book_beyond_its_end(w: Walk) -> None:
    measured = [market.impact == "profile" for market in w.layout.markets]
    if w.policy.impact.distance is None:
        return
    end = w.policy.impact.distance[-1, measured]
    for y in (w.flows.pressed, w.after.markets.displacement):
        # a book that is brought to its end stands a rounding of the way beyond it
        assert (np.abs(y[:, measured]) <= end * (1 + 8 * w.eps)).all()


def shares_lie_between_0_and_1(w: Walk) -> None:
    flows = w.flows
    assert np.isin(flows.gate_open, (0.0, 1.0)).all()
    shares = {
        "filled": flows.filled,
        "backing": flows.backing,
        "liquidity": flows.liquidity,
    }
    for name, share in shares.items():
        if share is not None:
            assert share.min() >= 0.0, name
            assert share.max() <= 1.0, name
    assert flows.liquidity.min() > 0.0
    if flows.backing is not None:
        assert flows.backing.min() >= np.float32(LEAST_BACKING)
    if w.after.haircuts is not None:
        assert w.after.haircuts.multiplier.min() >= 1.0
        assert w.after.haircuts.multiplier.max() <= MOST


def collateral_counts_at_most_what_it_is_worth_and_at_least_nothing(w: Walk) -> None:
    # tiers, a venue's cap and haircuts that have risen included
    credit, value = w.margins.credit, w.margins.value
    assert credit.min() >= 0.0
    assert (credit <= value * (1.0 + 4 * w.eps)).all()
    assert min(slot.min() for slot in w.margins.slot_maintenance) >= 0.0
    assert w.margins.maintenance_margin.min() >= 0.0


def exactly_those_short_of_margin_are_due(w: Walk) -> None:
    # but for wiped-out accounts and `targeting` books, which are as long as anything is left
    accounts, margins = w.before.accounts, w.margins
    left = (accounts.collateral > 0.0).any(axis=1) | (accounts.contracts != 0.0).any(axis=1)
    targeting = np.array([book.targeting for book in w.layout.books])[:, None, None, None]
    always = (accounts.taken_over | targeting) & left
    assert w.flows.is_due[always].all()
    short, near = margins.equity - margins.maintenance_margin, w.error
    assert w.flows.is_due[short < -near].all()
    assert not w.flows.is_due[~always & (short > near)].any()


def owners_add_cash_only_while_they_may(w: Walk) -> None:
    # through an open gate, from their budget, before they are due, and not beyond the warning
    added = w.before.accounts.budget - w.after.accounts.budget
    assert not added[w.flows.is_due].any()
    open_gate = w.of_book(w.flows.gate_open)[:, :, None] > 0.0
    assert not np.where(open_gate, 0.0, added).any()
    rules = w.policy.top_up
    missing = rules.warn * w.margins.maintenance_margin - w.margins.equity
    most = np.minimum(1.0, rules.rate * w.layout.step) * np.maximum(missing, 0.0)
    assert (added <= most + w.error).all()


def slots_that_no_book_has_hold_nothing(w: Walk) -> None:
    for perps, held in ((True, w.after.accounts.contracts), (False, w.after.accounts.collateral)):
        there = np.zeros(held.shape[1:3], bool)
        for j, b, _ in slots(w.layout, perps):
            there[j, b] = True
        assert not held[:, ~there].any()


BOUNDS = (
    what_accounts_hold_only_shrinks_and_nothing_turns_negative,
    funds_and_stocks_are_never_overdrawn,
    prices_are_positive,
    orders_get_a_price_between_that_before_and_that_after,
    no_order_arbitrage_or_run_pushes_a_measured_book_beyond_its_end,
    shares_lie_between_0_and_1,
    collateral_counts_at_most_what_it_is_worth_and_at_least_nothing,
    exactly_those_short_of_margin_are_due,
    owners_add_cash_only_while_they_may,
    slots_that_no_book_has_hold_nothing,
)
