"""Clamps of an index that may cut nothing off: it has no reference, or is the reference itself."""

from __future__ import annotations

from collections.abc import Iterator

from deleverage.config.names import IndexKey, Names
from deleverage.config.quantities import NEVER
from deleverage.config.resolve import index_under
from deleverage.config.rules import PRODUCTS, IndexRule, IndexTerms
from deleverage.config.scenario import Scenario
from deleverage.config.setting import Setting, Suspect

CLAMPS = ("clamp", "component_clamp")
IDLE = "whose index is its reference or has none"
ALLOWED = "it around the prices of other venues' books, where the index has more than these"


def idle_indices(scenario: Scenario, names: Names) -> Iterator[Suspect]:
    """What a scenario writes of its indices, and what it hangs on."""
    for name, venue in scenario.venues.items():
        for asset, rule in venue.index.items():
            for product, terms in terms_of(rule).items():
                for field in CLAMPS:
                    if not binds(terms, field):
                        continue
                    key = IndexKey(name, asset, product)
                    yield Suspect(
                        ("venues", name, "index", asset, *filter(None, [product]), field),
                        lambda setting, field=field, key=key: cuts(names, setting, field, key),
                        f"a {field} of '{asset}' on '{name}', {IDLE}",
                        ALLOWED,
                    )


def terms_of(rule: IndexRule) -> dict[str, IndexTerms]:
    """What a rule says, by product; of all products under the empty name."""
    terms = {"": rule} | {product: getattr(rule, product) for product in PRODUCTS}
    return {product: written for product, written in terms.items() if written is not None}


def binds(terms: IndexTerms, field: str) -> bool:
    """Whether a clamp is written that is to cut something off; presets write all they are."""
    band = getattr(terms, field)
    return band is not None and band < NEVER and terms.preset is None


def cuts(names: Names, setting: Setting, field: str, key: IndexKey) -> bool:
    """Whether a clamp around the reference may bind on an index.

    Args:
        names: Of the scenario, whose markets are those of every setting.
        setting: A policy in its scenario.
        field: Which clamp.
        key: Which index; without a product: that of any.
    """
    glitches = setting.scenario.shocks.glitches
    shaken = any(
        glitch.venue == key.venue and glitch.asset in (None, key.asset) for glitch in glitches
    )
    for entry in names.indices:
        if entry[:2] != key[:2] or (key.product and entry.product != key.product):
            continue
        rule = setting.scenario.venues[key.venue].index.get(key.asset, IndexRule())
        weights = index_under(names, rule, setting.entry, entry)
        loose = weights.from_books
        if field == "clamp":  # of their sum, and of what a glitch makes of it
            loose += weights.redemption + weights.median + shaken
        if loose > 0 and getattr(weights, field) < NEVER:
            return True
    return False
