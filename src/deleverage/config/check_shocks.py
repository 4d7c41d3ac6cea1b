"""Whether shocks strike what there is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deleverage.config.replay import log_series
from deleverage.config.scenario import Pegged
from deleverage.config.source import Key

if TYPE_CHECKING:
    from deleverage.config.checks import Checker


def check_shocks(checker: Checker) -> None:
    """Refuse the first shock that does not fit."""
    shocks, key = checker.scenario.shocks, ("scenario", "shocks")
    loaded = [("macro", shocks.macro.loadings)]
    if shocks.merton is not None:
        loaded.append(("merton", shocks.merton.loadings))
    for part, loadings in loaded:
        for asset in loadings:
            checker.asset(asset, (*key, part, "loadings", asset))
            if checker.scenario.assets[asset].kind != "risk":
                checker.refuse(
                    (*key, part, "loadings", asset),
                    f"'{asset}' is not a risk asset",
                    "assets of kind risk, which pegged ones follow",
                    "remove it",
                )
    log_series(checker.config, checker.names)
    for part in ("outages", "halts", "glitches"):
        for number, failure in enumerate(getattr(shocks, part)):
            checker.venue(failure.venue, (*key, part, number, "venue"))
    for number, glitch in enumerate(shocks.glitches):
        indices = [one.asset for one in checker.names.indices if one.venue == glitch.venue]
        if not indices:
            checker.refuse(
                (*key, "glitches", number, "venue"),
                f"'{glitch.venue}' publishes no index",
                "a venue that does",
                "remove the glitch or name another venue",
            )
        if glitch.asset is not None:
            checker.known(glitch.asset, indices, (*key, "glitches", number, "asset"), "index")
    for number, sale in enumerate(shocks.sales):
        checker.known(
            sale.market, checker.names.markets, (*key, "sales", number, "market"), "market"
        )
    assets = checker.scenario.assets.values()
    moved = any(isinstance(a, Pegged) or getattr(a, "arbitrage", None) for a in assets)
    if shocks.congestions and not moved:
        checker.refuse(
            (*key, "congestions"),
            "a congestion where nothing is redeemed or moved between venues",
            "a congestion in a scenario with a pegged asset or with arbitrage",
            "remove it, or give an asset `arbitrage`",
        )
    for number, loss in enumerate(shocks.backing):
        here: Key = (*key, "backing", number, "asset")
        checker.asset(loss.asset, here)
        asset = checker.scenario.assets[loss.asset]
        if not isinstance(asset, Pegged) or asset.issuer is None:
            checker.refuse(
                here,
                f"a loss of what backs '{loss.asset}', whose issuer is not modelled",
                "pegged assets with an `issuer`",
                f"add scenario.assets.{loss.asset}.issuer: {{supply: ...}}",
            )
