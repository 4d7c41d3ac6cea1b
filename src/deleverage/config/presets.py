"""Named presets: measured order books and published rules, shipped with where they come from."""

from __future__ import annotations

import csv
import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
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


MAINTENANCE_TABLES = {"binance_usdm": "binance_usdm_margin_tiers"}
CREDIT_TABLES = {"binance_collateral_ratio": "binance_collateral_ratio_tiers"}
SOURCE = "source_file_in_A13Club_BinanceAnnouncement"
"""Column of the announcement, a file of github.com/A13Club/BinanceAnnouncement."""


@lru_cache(maxsize=1)
def maintenance_tiers() -> Mapping[tuple[str, str], tuple[tuple[float, float], ...]]:
    """Position in USD from which a rate holds, and the rate, by table and symbol."""
    return _tiers(MAINTENANCE_TABLES, "symbol", "position_floor_usdt", "maintenance_margin_rate")


@lru_cache(maxsize=1)
def credit_tiers() -> Mapping[tuple[str, str], tuple[tuple[float, float], ...]]:
    """Collateral in USD from which a ratio counts, and the ratio, by table and class."""
    return _tiers(CREDIT_TABLES, "class", "tier_floor_usd", "collateral_ratio")


def _tiers(
    tables: Mapping[str, str], name: str, floor: str, value: str
) -> Mapping[tuple[str, str], tuple[tuple[float, float], ...]]:
    found: dict[tuple[str, str], tuple[tuple[float, float], ...]] = {}
    for label, file in tables.items():
        for row in table(file):
            key = (label, _short(row[name]))
            found[key] = (*found.get(key, ()), (float(row[floor]), float(row[value])))
    return found


def _short(name: str) -> str:
    """A name without the examples in brackets behind it."""
    return name.partition(" ")[0]


@lru_cache(maxsize=2)
def published_rules(key: str) -> Mapping[str, Mapping[str, Any]]:
    """Published rules of a key (`index` or `mark`): what a config would say, by name (A18)."""
    return _rules(key, "")


@lru_cache(maxsize=64)
def published_for(key: str, asset: str) -> Mapping[str, Mapping[str, Any]]:
    """What published rules say otherwise of an asset, by name."""
    return _rules(key, asset)


def _rules(key: str, asset: str) -> Mapping[str, Mapping[str, Any]]:
    return {
        row["preset"]: json.loads(row["terms"])
        for row in table("price_rules")
        if row["key"] == key and asset in (row["assets"].split() or [""])
    }


def for_asset(key: str, asset: str, given: Any, parts: Sequence[str] = ()) -> Any:
    """Terms with what their preset says of the asset alone below them.

    Args:
        key: `index`.
        asset: Its label.
        given: What the config says.
        parts: Keys whose value may name a preset too.
    """
    if not isinstance(given, dict):
        return given
    given = given | {part: for_asset(key, asset, given[part]) for part in parts if part in given}
    name = given.get("preset")
    own = published_for(key, asset).get(name) if isinstance(name, str) else None
    return given if own is None else own | given


def with_preset(
    key: str, given: Any, together: Sequence[str] = (), beside: Mapping[str, str] | None = None
) -> Any:
    """Terms with those of their preset below them.

    Args:
        key: `index` or `mark`.
        given: What the config says.
        together: Keys of which one that is given replaces all of the preset's.
        beside: Keys of these, and the one that means nothing without it.
    """
    name = given.get("preset") if isinstance(given, dict) else None
    known = published_rules(key)
    if not isinstance(name, str) or name not in known:
        return given
    terms = dict(known[name])
    if any(given.get(one) is not None for one in together):
        gone = {*together, *(beside[one] for one in together if one in (beside or {}))}
        terms = {one: value for one, value in terms.items() if one not in gone}
    return terms | given


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
    sources = {(row["key"], row["preset"]): row["source"] for row in table("price_rules")}
    sources |= {("impact", row["profile"]): row["source"] for row in table("order_book_profiles")}
    for key, tables, name in (
        ("maintenance", MAINTENANCE_TABLES, "symbol"),
        ("collateral", CREDIT_TABLES, "class"),
    ):
        for label, file in tables.items():
            for row in table(file):
                sources[key, f"{label} {_short(row[name])}"] = row[SOURCE]
    return [
        {"key": key, "preset": name, "source": source} for (key, name), source in sources.items()
    ]
