"""Named presets: measured order books and published rules, shipped with where they come from."""

from __future__ import annotations

import csv
import difflib
from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Any

from deleverage.config.quantities import Reader, conflict


def table(name: str) -> list[dict[str, str]]:
    """Rows of a table of `data/`."""
    text = (files("deleverage") / "data" / f"{name}.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


@lru_cache(maxsize=1)
def order_book_profiles() -> Mapping[str, tuple[tuple[float, float], ...]]:
    """Distances, as shares of the price, and cumulative USD up to there, by profile."""
    rows = table("order_book_profiles")
    return {
        name: tuple(
            (float(row["distance"]), float(row["cumulative_usd"]))
            for row in rows
            if row["profile"] == name
        )
        for name in dict.fromkeys(row["profile"] for row in rows)
    }


def named(what: str, names: Iterable[str]) -> Reader:
    """One of some names; another is refused with the nearest."""
    known = list(names)

    def read(value: Any) -> str:
        if value not in known:
            near = difflib.get_close_matches(str(value), known, n=1, cutoff=0.3)
            advice = f"did you mean '{near[0]}'?" if near else "use one of these"
            raise conflict(f"the {what} '{value}' is unknown", ", ".join(known), advice)
        return value

    return Reader(read, str)


def listed() -> list[dict[str, str]]:
    """Every preset: the key it is used under, its name, its source."""
    profiles = {row["profile"]: row["source"] for row in table("order_book_profiles")}
    return [
        {"key": "impact", "preset": name, "source": source} for name, source in profiles.items()
    ]
