"""Parts of an index that may do nothing: clamps around its own reference, a floor at an anchor."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from deleverage.config.names import IndexKey, Names
from deleverage.config.quantities import NEVER
from deleverage.config.resolve import index_terms, index_under
from deleverage.config.rules import PRODUCTS, IndexRule, IndexTerms
from deleverage.config.scenario import Scenario
from deleverage.config.setting import Setting, Suspect

CLAMPS = ("clamp", "component_clamp")
ANCHORED = ("floor", "smoothing", *CLAMPS)
"""What does nothing to an index that is the redemption price and nothing else."""

IDLE = "whose index is its reference or has none"
ALLOWED = "it around the prices of other venues' books, where the index has more than these"


def idle_indices(scenario: Scenario, names: Names) -> Iterator[Suspect]:
    """What a scenario writes of its indices, and what it hangs on."""
    for name, venue in scenario.venues.items():
        for asset, rule in venue.index.items():
            for product, terms in terms_of(rule).items():
                key = IndexKey(name, asset, product)
                for field in ANCHORED:
                    if getattr(terms, field) is None:
                        continue
                    yield Suspect(
                        ("venues", name, "index", asset, *filter(None, [product]), field),
                        lambda setting, key=key: not is_anchored(names, setting, [key]),
                        *anchored(field, f"'{asset}' on '{name}'"),
                    )
                for field in CLAMPS:
                    if not binds(terms, field):
                        continue
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


def anchored(field: str, what: str) -> tuple[str, str, str]:
    """What came, what is allowed, what to do."""
    return (
        f"a {field} of {what}, whose index is its redemption price and nothing else",
        "hard_anchor alone, or with delay and move_limit",
        "remove one of the two, or write `hard_anchor: false`",
    )


def is_anchored(names: Names, setting: Setting, keys: Iterable[IndexKey]) -> bool:
    """Whether all of some indices are anchored; without a product: those of any."""
    found = [
        index_terms(
            setting.scenario.venues[key.venue].index.get(key.asset, IndexRule()),
            setting.entry,
            entry,
        )[1].hard_anchor
        for key in keys
        for entry in names.indices
        if entry[:2] == key[:2] and key.product in ("", entry.product)
    ]
    return bool(found) and all(found)


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
