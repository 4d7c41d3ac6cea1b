"""How initial positions answer to a policy's rules, MODEL.md section 3."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from deleverage.config.build_books import Portfolios, Sheets, balance_sheets
from deleverage.config.build_margin import Margin, equity_and_maintenance

HALVINGS = 60
ROUNDS = 80
DOUBLINGS = 20
"""Positions grow to at most 2^20 of what they were."""


@dataclass(frozen=True)
class Pledges:
    """Which collateral slots share a venue's cap, and the cap."""

    pool: np.ndarray  # [Jc, B] number of the (venue, asset), -1 for an unused slot
    cap: np.ndarray  # [pool] USD millions

    def granted(self, collateral: np.ndarray) -> np.ndarray:
        """Share of what each slot pledges that counts, min(1, cap / total), [Jc, B].

        In units at the start, whatever prices do later. Source: MODEL.md section 2.4, A4.
        """
        used = self.pool >= 0
        pledged = np.zeros(len(self.cap))
        np.add.at(pledged, self.pool[used], collateral.sum(axis=-1)[used])
        share = self.cap / np.maximum(pledged, self.cap)
        return np.where(used, share[self.pool], 1.0)


@dataclass(frozen=True)
class Response:
    """Positions after the response."""

    own_funds: np.ndarray  # [B, K]
    leverage: np.ndarray  # [B, K]
    sheets: Sheets
    granted: np.ndarray  # [Jc, B]
    apart: np.ndarray  # [Jc, B, K] what its owners keep out of their accounts, USD millions


def scaled(books: Portfolios, leverage: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Leverage with positions, or debt with what it bought, scaled by `scale`, [B, K]."""
    return np.where(books.loan[:, None], 1 + scale * (leverage - 1), scale * leverage)


def margin_use(
    books: Portfolios,
    margin: Margin,
    granted: np.ndarray,
    own_funds: np.ndarray,
    leverage: np.ndarray,
) -> np.ndarray:
    """Maintenance over equity at fair prices, [B, K]; infinite where equity does not cover it."""
    sheets = balance_sheets(books, own_funds, leverage)
    ones = (np.ones_like(books.perp_weight), np.ones_like(books.collateral_weight))
    equity, maintenance = equity_and_maintenance(
        margin,
        granted,
        books.accounts,
        (sheets.position, sheets.collateral, sheets.cash),
        ones,
        books.entry,
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        use = np.where(maintenance > 0, maintenance / np.maximum(equity, 0), 0.0)
    return np.where(equity < 0, np.inf, use)


@dataclass(frozen=True)
class Terms:
    """What a policy asks of positions, and how they may answer."""

    margin: Margin  # its tables
    pledges: Pledges  # its venue-wide caps on collateral
    caps: np.ndarray  # leverage caps of the books, [B, 1]
    admitted: np.ndarray  # 1 where the collateral may be pledged, [Jc, B]
    segregated: np.ndarray  # 1 where it is kept apart from perps, [Jc, B]
    uptake: float = 1.0  # of promotions, relative to the scenario
    hedges: np.ndarray | float = 1.0  # of issuers, relative to the scenario, [B, 1]
    rescales: bool = True  # else positions are held
    upward: bool = False  # and grow, too
    migrates: float = 0.0  # share of what is forgone that moves to other venues


def respond(books: Portfolios, terms: Terms, baseline_use: np.ndarray) -> Response:
    """Positions under a policy: margin use as under the baseline, then caps.

    Args:
        books: Compositions and baseline sizes.
        terms: The policy's.
        baseline_use: Margin use under the baseline, [B, K].
    """
    return _answered(_grown(books, asked_sizes(books, terms)), terms, baseline_use)


def migrated(
    books: Portfolios, response: Response, terms: Terms, baseline_use: np.ndarray, where: np.ndarray
) -> Response:
    """The response when a share of what books give up moves to others.

    What moves brings own funds of its own: receivers grow in accounts and own funds alike (A36).

    Args:
        books: Compositions and baseline sizes.
        response: Without migration.
        terms: The policy's.
        baseline_use: Margin use under the baseline, [B, K].
        where: Share of what each book gives up that each other book would take, [giver, taker].
    """
    promoted = asked_sizes(books, terms)
    kept = size_of(books, response.own_funds, response.leverage)
    moved = terms.migrates * forgone_by(books, response, promoted) @ where
    growth = 1 + moved / np.where(kept > 0, kept, 1.0)
    return _answered(_grown(books, promoted * growth[:, None]), terms, baseline_use)


def asked_sizes(books: Portfolios, terms: Terms) -> np.ndarray:
    """Own funds relative to the scenario's, before rules bind: promotions and hedges, [B, 1]."""
    return np.where(books.promoted[:, None], terms.uptake, 1.0) * terms.hedges


def size_of(books: Portfolios, own_funds: np.ndarray, leverage: np.ndarray) -> np.ndarray:
    """Notional of the perps of each book, or its debt, [B]."""
    return (own_funds * np.where(books.loan[:, None], leverage - 1, leverage)).sum(axis=1)


def forgone_by(books: Portfolios, response: Response, promoted: np.ndarray | float) -> np.ndarray:
    """What each book gives up of its notional or debt, at least 0, [B]."""
    before = size_of(books, books.own_funds * promoted, books.leverage)
    given_up = before - size_of(books, response.own_funds, response.leverage)
    return np.where(given_up > 1e-9 * before, given_up, 0.0)


def _answered(books: Portfolios, terms: Terms, baseline_use: np.ndarray) -> Response:
    own_funds = books.own_funds

    def positions(granted: np.ndarray) -> tuple[np.ndarray, Sheets, np.ndarray]:
        leverage = books.leverage
        if terms.rescales:
            leverage = _rescaled(books, terms, granted, baseline_use)
            least = np.where(books.loan[:, None], 1, 0)
            leverage = np.minimum(leverage, np.maximum(terms.caps, least))
        sheets = balance_sheets(books, own_funds, leverage)
        apart = sheets.collateral * terms.segregated[..., None]
        return leverage, replace(sheets, collateral=sheets.collateral - apart), apart

    granted = np.ones_like(books.collateral_weight)
    for _ in range(ROUNDS):
        # A tighter cap means smaller loans, which pledge less and loosen the cap: the map turns
        # around its fixed point, and halving the way to it converges.
        leverage, sheets, apart = positions(granted)
        following = terms.pledges.granted(sheets.collateral)
        if np.allclose(following, granted, rtol=1e-13, atol=0):
            break
        granted = 0.5 * (granted + following)
    counted = terms.pledges.granted(sheets.collateral)
    if terms.rescales:  # what is not admitted is kept elsewhere
        sheets = replace(sheets, collateral=sheets.collateral * terms.admitted[..., None])
    return Response(own_funds, leverage, sheets, counted, apart)


def _rescaled(
    books: Portfolios, terms: Terms, granted: np.ndarray, baseline_use: np.ndarray
) -> np.ndarray:
    """The largest scale at which margin use is at most the baseline's, by bisection.

    Up to 1, or with `upward` beyond, where the baseline maintains anything.
    """

    def use(scale: np.ndarray) -> np.ndarray:
        leverage = scaled(books, books.leverage, scale)
        return margin_use(books, terms.margin, granted, books.own_funds, leverage)

    # Nothing is scaled for a rounding error; what is scaled ends on the safe side of the rule.
    low, high = np.zeros_like(books.leverage), np.ones_like(books.leverage)
    whole = use(high) <= baseline_use * (1 + 1e-12)
    grows = whole & np.isfinite(baseline_use) & (baseline_use > 0) & terms.upward
    if whole.all() and not grows.any():
        return books.leverage
    for _ in range(DOUBLINGS if grows.any() else 0):
        inside = grows & (use(high) <= baseline_use)
        low, high = np.where(inside, high, low), np.where(inside, 2 * high, high)
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        inside = use(middle) <= baseline_use
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    return np.where(whole & ~grows, books.leverage, scaled(books, books.leverage, low))


def _grown(books: Portfolios, factor: np.ndarray) -> Portfolios:
    """Books with more, or fewer, of the same accounts."""
    return replace(books, own_funds=books.own_funds * factor, accounts=books.accounts * factor)
