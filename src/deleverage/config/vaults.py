"""Liquidity vaults of venues: what a policy makes of them, and which can be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from deleverage.config.policies import PolicySpec
from deleverage.config.quantities import NEVER
from deleverage.config.rules import VaultRule
from deleverage.config.source import Key


@dataclass(frozen=True)
class Vault:
    """A vault, resolved."""

    capacity: float  # USD; 0: there is none
    half_life: float = NEVER  # minutes


def vault_under(own: VaultRule | None, change: VaultRule | None) -> Vault:
    """What a policy sets of a vault, laid over the venue's."""
    given = _laid_over(own, change)
    return Vault(given.get("capacity", 0.0), given.get("half_life", NEVER))


def check_vaults(checker: Any, entry: PolicySpec, key: Key) -> None:
    """Refuse vaults that have nothing to take over, or of which one number is missing.

    Args:
        checker: `checks.Checker`.
        entry: A policy.
        key: Where it was written.
    """
    perps = {venue for venue, _, kind in checker.names.parts.values() if kind == "perp"}
    for venue, spec in checker.scenario.venues.items():
        own = spec.backstop.vault
        change = entry.backstop[venue].vault if venue in entry.backstop else None
        here: Key = ("scenario", "venues", venue, "backstop", "vault")
        if change is not None:
            here = (*key, "backstop", venue, "vault")
        given = _laid_over(own, change)
        if given and venue not in perps:
            checker.refuse(
                here,
                f"a vault of '{venue}', where no perp is traded",
                ", ".join(sorted(perps)) or "venues with perps",
                "remove it, as vaults take over perps",
            )
        for name, example in (("capacity", "100M"), ("half_life", "10m")):
            if given and name not in given and given.get("capacity") != 0:
                checker.refuse(
                    here,
                    f"a vault of '{venue}' without a {name}",
                    "both capacity and half_life, from the venue or the policy",
                    f"add `{name}: {example}`",
                )


def _laid_over(own: VaultRule | None, change: VaultRule | None) -> dict[str, float]:
    rules = (rule.model_dump(exclude_none=True) for rule in (own, change) if rule is not None)
    return {name: value for rule in rules for name, value in rule.items()}
