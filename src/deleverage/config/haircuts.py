"""Haircuts that rise with realised volatility: which can be."""

from __future__ import annotations

from typing import Any

from deleverage.config.books import HedgedBook
from deleverage.config.policies import PolicySpec
from deleverage.config.resolve import collateral_under
from deleverage.config.rules import CollateralRule, DynamicHaircut
from deleverage.config.source import Key


def review_steps(rule: DynamicHaircut, step: float) -> int:
    """Steps between two reviews."""
    return max(1, round(rule.review / step))


def check_haircuts(checker: Any, entry: PolicySpec, key: Key) -> None:
    """Refuse dynamic haircuts that never change anything.

    Args:
        checker: `checks.Checker`.
        entry: A policy.
        key: Where it was written.
    """
    scenario = checker.scenario
    pledged = {
        (book.venue, asset)
        for book in scenario.books.values()
        for asset in ([book.asset] if isinstance(book, HedgedBook) else book.collateral or {})
    }
    idle: dict[Key, list[tuple[str, str, str] | None]] = {}
    for venue, spec in scenario.venues.items():
        for asset, given in spec.collateral.items():
            rule = collateral_under(given, entry, venue, asset)
            if rule.dynamic is not None and rule.admitted is not False:
                here: Key = ("scenario", "venues", venue, "collateral", asset)
                for scope in (asset, f"{asset}@{venue}"):
                    if scope in entry.collateral:
                        here = (*key, "collateral", scope)
                reason = _why_idle(checker, rule, f"'{asset}' on '{venue}'")
                if reason is None and (venue, asset) not in pledged:
                    reason = (
                        f"a dynamic haircut of '{asset}' on '{venue}', which no book pledges there",
                        "it for collateral that a book holds",
                        "remove it, or add such a book",
                    )
                idle.setdefault(here, []).append(reason)
    for here, reasons in idle.items():
        # a key for all venues is of use where it is of use on one
        if reasons[0] is not None and None not in reasons:
            checker.refuse((*here, "dynamic"), *reasons[0])


def _why_idle(checker: Any, rule: CollateralRule, what: str) -> tuple[str, str, str] | None:
    """What came, what is allowed, what to do; None where haircuts can rise."""
    dynamic, time = rule.dynamic, checker.config.time
    assert dynamic is not None
    cut = [1.0 - ratio for _, ratio in rule.lines]
    if rule.parity:
        return (
            f"a dynamic haircut of {what}, which has parity with cash",
            "it without parity, as there is no haircut to scale",
            "add `parity: false`, or write `dynamic: null`",
        )
    if max(cut) == 0:
        return (
            f"a dynamic haircut of {what}, whose haircut is 0",
            "it with a haircut above 0, which it multiplies",
            "add a haircut, or write `dynamic: null`",
        )
    if dynamic.cap <= min(cut):
        return (
            f"a cap of {dynamic.cap:g} on haircuts of {what} that are {min(cut):g} or more",
            "a cap above the haircut, which it leaves as it is",
            "raise the cap, or write `dynamic: null`",
        )
    if review_steps(dynamic, time.step) >= time.steps:
        return (
            f"reviews every {dynamic.review:g}m in a run of {time.step * time.steps:g}m",
            "a review within the run, since the haircut is held until then",
            "shorten the review period, or write `dynamic: null`",
        )
    return None
