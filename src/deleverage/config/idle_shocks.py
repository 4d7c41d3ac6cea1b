"""Shocks of which a key may change nothing: what they strike is missing."""

from __future__ import annotations

from collections.abc import Iterator

from deleverage.config.idle_rules import has_top_ups
from deleverage.config.idle_world import has_liquidity_drop, is_arbitraged
from deleverage.config.issuers import redemptions
from deleverage.config.sales import sales_under
from deleverage.config.scenario import Pegged, Risk
from deleverage.config.setting import Setting, Suspect, is_set, is_written
from deleverage.config.shocks import LiquidityDrop, MacroShock, Shocks
from deleverage.config.source import Key
from deleverage.config.uses import spot_venues


def idle_shocks(shocks: Shocks) -> Iterator[Suspect]:
    """What a scenario writes of its shocks, and what it hangs on."""
    yield from _macro(shocks.macro)
    yield from _liquidity(shocks.liquidity)
    yield from _failures(shocks)


def _macro(macro: MacroShock) -> Iterator[Suspect]:
    key: Key = ("shocks", "macro")
    for field in ("duration", "profile", "rebound"):
        if is_set(macro, field):
            yield Suspect(
                (*key, field),
                lambda setting: is_written(setting.scenario.shocks.macro, "loadings"),
                f"a {field} of a macro shock that moves no asset",
                "it with loadings",
                "remove it, or add `loadings: {BTC: 1}`",
            )
    for field in ("delay", "half_life"):
        if is_set(macro.rebound, field):
            yield Suspect(
                (*key, "rebound", field),
                lambda setting: is_written(setting.scenario.shocks.macro.rebound, "share"),
                f"a {field} of a rebound without a share",
                "it with the share that comes back",
                "remove it, or add `share`",
            )
    if is_set(macro.volatility, "half_life"):
        yield Suspect(
            (*key, "volatility", "half_life"),
            lambda setting: is_written(setting.scenario.shocks.macro.volatility, "multiplier"),
            "a half_life of a burst of volatility without a multiplier",
            "it with a multiplier",
            "remove it, or add `multiplier`",
        )
    if is_set(macro.volatility, "multiplier"):
        yield Suspect(
            (*key, "volatility", "multiplier"),
            _has_volatility,
            "a multiplier of volatility where no asset has any",
            "it where an asset has a volatility",
        )


def _liquidity(drop: LiquidityDrop) -> Iterator[Suspect]:
    for field in ("correlation", "onset", "hold", "half_life"):
        if is_set(drop, field):
            yield Suspect(
                ("shocks", "liquidity", field),
                has_liquidity_drop,
                f"a {field} of a liquidity drop without a size",
                "it with `highest`, the largest drop",
                "remove it, or add `highest`",
            )


def _failures(shocks: Shocks) -> Iterator[Suspect]:
    if shocks.merton is not None and not shocks.merton.loadings:
        yield Suspect(
            ("shocks", "merton", "loadings"),
            lambda _: False,  # another policy's jumps are its own
            "jumps that move no asset",
            "at least one loading",
            "add one, or remove `merton`",
        )
    for number, outage in enumerate(shocks.outages):
        key: Key = ("shocks", "outages", number)
        yield Suspect(
            key,
            lambda setting, venue=outage.venue: _needs_gate(setting, venue),
            f"an outage of '{outage.venue}', where nothing needs transfers",
            "outages of venues with top-ups, cross-venue arbitrage, redemptions or sales elsewhere",
        )
        if outage.kind == "load":
            yield _of_a_book(key, f"an outage of '{outage.venue}' by its load", outage.venue)
    for number, halt in enumerate(shocks.halts):
        came = f"a halt of the engine of '{halt.venue}'"
        yield _of_a_book(("shocks", "halts", number), came, halt.venue)
    if shocks.congestions:
        yield Suspect(
            ("shocks", "congestions"),
            lambda setting: any(_is_moved(setting, name) for name in setting.scenario.assets),
            "a congestion where nothing is redeemed or moved between venues",
            "a congestion in a scenario with redemptions, or arbitrage between two venues",
            "remove it, or give an asset `arbitrage`",
        )


def _of_a_book(key: Key, came: str, venue: str) -> Suspect:
    return Suspect(
        key,
        lambda setting: venue in setting.uses.venues,
        f"{came}, where no book is that could be liquidated",
        "it on venues with books",
    )


def _has_volatility(setting: Setting) -> bool:
    assets = setting.scenario.assets.values()
    return any(isinstance(asset, Risk) and is_written(asset, "volatility") for asset in assets)


def _is_redeemed(setting: Setting, name: str) -> bool:
    asset = setting.scenario.assets[name]
    if not isinstance(asset, Pegged) or not spot_venues(setting.scenario, name):
        return False
    lever = setting.entry.issuer.get(name)
    return redemptions(asset.issuer, asset.redemption_capacity, lever).capacity > 0


def _is_moved(setting: Setting, name: str) -> bool:
    return is_arbitraged(setting, name) or _is_redeemed(setting, name)


def _needs_gate(setting: Setting, venue: str) -> bool:
    """Whether anything of a venue stops while its gate is shut."""
    traded = (n for n in setting.scenario.assets if venue in spot_venues(setting.scenario, n))
    if has_top_ups(venue)(setting) or any(_is_moved(setting, name) for name in traded):
        return True
    sales = sales_under(setting.config, setting.entry)
    return any(
        sale.kind == "spread" or (at == venue and (sale.kind == "redeem" or sale.pauses))
        for (at, asset), sale in sales.items()
        if (at, asset) in setting.uses.sold
    )
