"""Whether books hold what venues list and accept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deleverage.config.books import BookSpec, HedgedBook, LoanBook, PerpBook, is_divisible
from deleverage.config.scenario import Pegged
from deleverage.config.source import Key

if TYPE_CHECKING:
    from deleverage.config.checks import Checker

SLOTS = 3
"""Perps, or collateral assets, that one book may hold."""


def check_books(checker: Checker) -> None:
    """Refuse the first book that does not fit."""
    if not checker.scenario.books:
        checker.refuse(("scenario", "books"), "no book came", "at least one", "add a book")
    for name, book in checker.scenario.books.items():
        key: Key = ("scenario", "books", name)
        checker.venue(book.venue, (*key, "venue"))
        if isinstance(book, HedgedBook):
            _hedged(checker, book, key)
            perps, mix = {book.asset: -1.0}, {book.asset: 1.0}
            places = {"perps": (*key, "asset"), "collateral": (*key, "asset")}
        else:
            perps = {} if isinstance(book, LoanBook) else book.perps
            mix = book.collateral or {}
            for weights, part in ((perps, "perps"), (book.collateral, "collateral")):
                if weights == {} and part in type(book).model_fields:
                    checker.refuse((*key, part), "an empty mapping", "weights", "name an asset")
            places = {"perps": (*key, "perps"), "collateral": (*key, "collateral")}
            _sums_to_one(checker, perps, places["perps"], "absolute weights")
            _sums_to_one(checker, mix, places["collateral"], "shares")
        for asset in perps:
            checker.asset(asset, places["perps"])
            label = f"{book.venue}/{asset}/perp"
            checker.known(label, checker.names.markets, places["perps"], "market")
        for asset in mix:
            checker.asset(asset, places["collateral"])
            if asset != checker.names.numeraire:
                _accepted(checker, asset, book.venue, places["collateral"])
        if isinstance(book, LoanBook) and not any(
            share for asset, share in mix.items() if asset != checker.names.numeraire
        ):
            checker.refuse(
                places["collateral"],
                f"a loan of '{name}' that buys nothing but the numeraire",
                "collateral that is not the cash it is borrowed in",
                "name another asset, or remove the book",
            )
        _margin(checker, name, book, key)
        for slots, what in (
            (perps, "perps"),
            (set(mix) - {checker.names.numeraire}, "collateral assets"),
        ):
            if len(slots) > SLOTS:
                checker.refuse(key, f"{len(slots)} {what}", f"at most {SLOTS}", "split the book")


def _margin(checker: Checker, name: str, book: BookSpec, key: Key) -> None:
    """Refuse isolated margin that isolates nothing, or whose books have the names of others."""
    if not isinstance(book, PerpBook) or book.margin != "isolated":
        return
    if not is_divisible(book):
        checker.refuse(
            (*key, "margin"),
            f"isolated margin of '{name}', which holds one perp",
            "it for books of several perps, as one position has its collateral alone anyway",
            "remove it",
        )
    for asset in book.positions():
        if f"{name}-{asset}" in checker.scenario.books:
            checker.refuse(
                (*key, "margin"),
                f"isolated margin of '{name}' beside a book '{name}-{asset}'",
                "another name for that book, which the position alone is to have",
                "rename one of the two",
            )


def _hedged(checker: Checker, book: HedgedBook, key: Key) -> None:
    if book.issuer is None:
        return
    checker.asset(book.issuer, (*key, "issuer"))
    asset = checker.scenario.assets[book.issuer]
    if not isinstance(asset, Pegged) or asset.issuer is None:
        checker.refuse(
            (*key, "issuer"),
            f"a hedge of '{book.issuer}', whose issuer is not modelled",
            "pegged assets with an `issuer`",
            f"add scenario.assets.{book.issuer}.issuer: {{supply: ...}}",
        )


def _sums_to_one(checker: Checker, weights: dict[str, float], key: Key, what: str) -> None:
    total = sum(abs(weight) for weight in weights.values())
    if weights and abs(total - 1) > 1e-9:
        checker.refuse(
            key,
            f"{what} that sum to {total:.10g}",
            f"{what} that sum to 1",
            "change one of them",
        )


def _accepted(checker: Checker, asset: str, venue: str, key: Key) -> None:
    accepted = checker.scenario.venues[venue].collateral
    if asset not in accepted:
        checker.refuse(
            key,
            f"'{asset}' is not accepted as collateral on '{venue}'",
            ", ".join(accepted) or "the numeraire alone",
            f"add it to scenario.venues.{venue}.collateral",
        )
    if not checker.names.own_pairs(venue, asset):
        checker.refuse(
            key,
            f"'{asset}' has no spot book on '{venue}' to be sold on",
            "collateral with a spot book on its venue",
            f"add the market {venue}/{asset}/spot",
        )
