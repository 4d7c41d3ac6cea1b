"""How initial positions answer to a policy's rules, MODEL.md section 3."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deleverage.config.build_books import Portfolios, Sheets, balance_sheets
from deleverage.config.build_margin import Margin, equity_and_maintenance

HALVINGS = 60
ROUNDS = 80


@dataclass(frozen=True)
class Pledges:
    """Which collateral slots share a venue's cap, and the cap."""

    pool: np.ndarray  # [Jc, B] number of the (venue, asset), -1 for an unused slot
    cap: np.ndarray  # [pool] USD millions

    def granted(self, collateral: np.ndarray) -> np.ndarray:
        """Share of what each slot pledges that counts, min(1, cap / total), [Jc, B]."""
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


def respond(
    books: Portfolios,
    margin: Margin,
    pledges: Pledges,
    caps: np.ndarray,
    baseline_use: np.ndarray,
    uptake: float,
    rescales: bool,
) -> Response:
    """Positions under a policy: margin use as under the baseline, then caps.

    Args:
        books: Compositions and baseline sizes.
        margin: The policy's tables.
        pledges: The policy's venue-wide caps on collateral.
        caps: Leverage caps of the books, [B, 1].
        baseline_use: Margin use under the baseline, [B, K].
        uptake: Of promotions, relative to the scenario.
        rescales: Whether positions respond; else they are held.
    """
    own_funds = np.where(books.promoted[:, None], uptake, 1.0) * books.own_funds
    grown = own_funds / np.where(books.own_funds > 0, books.own_funds, 1.0)
    books = _with_accounts(books, books.accounts * np.where(books.own_funds > 0, grown, 1.0))

    def positions(granted: np.ndarray) -> tuple[np.ndarray, Sheets]:
        leverage = books.leverage
        if rescales:
            leverage = _rescaled(books, margin, granted, own_funds, baseline_use)
            leverage = np.minimum(leverage, np.maximum(caps, np.where(books.loan[:, None], 1, 0)))
        return leverage, balance_sheets(books, own_funds, leverage)

    granted = np.ones_like(books.collateral_weight)
    for _ in range(ROUNDS):
        # A tighter cap means smaller loans, which pledge less and loosen the cap: the map turns
        # around its fixed point, and halving the way to it converges.
        leverage, sheets = positions(granted)
        following = pledges.granted(sheets.collateral)
        if np.allclose(following, granted, rtol=1e-13, atol=0):
            break
        granted = 0.5 * (granted + following)
    return Response(own_funds, leverage, sheets, pledges.granted(sheets.collateral))


def _rescaled(
    books: Portfolios,
    margin: Margin,
    granted: np.ndarray,
    own_funds: np.ndarray,
    baseline_use: np.ndarray,
) -> np.ndarray:
    """The largest scale up to 1 at which margin use is at most the baseline's, by bisection."""

    def use(scale: np.ndarray) -> np.ndarray:
        return margin_use(books, margin, granted, own_funds, scaled(books, books.leverage, scale))

    low, high = np.zeros_like(books.leverage), np.ones_like(books.leverage)
    # Nothing is scaled for a rounding error; what is scaled ends on the safe side of the rule.
    whole = use(high) <= baseline_use * (1 + 1e-12)
    if whole.all():
        return books.leverage
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        inside = use(middle) <= baseline_use
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    return np.where(whole, books.leverage, scaled(books, books.leverage, low))


def _with_accounts(books: Portfolios, accounts: np.ndarray) -> Portfolios:
    from dataclasses import replace

    return replace(books, accounts=accounts)
