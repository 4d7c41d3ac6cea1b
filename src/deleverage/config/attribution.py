"""Causes of an attribution: what the world is like without each, and all their combinations.

The policy axis gets an entry for every combination. With all causes it is `baseline`, so that
2^k combinations are 2^k entries; with none it is `none`; else its label joins the causes by `+`.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator, ValidationError

from deleverage.config.base import Model
from deleverage.config.measure import MeasureSpec
from deleverage.config.policies import PolicySpec
from deleverage.config.quantities import conflict, refusal
from deleverage.config.sentences import refuse
from deleverage.config.source import Source, merge

MOST_CAUSES = 10
"""More would be thousands of combinations."""

ALL = "baseline"
NONE = "none"
JOINED = "+"


def _causes(value: Any) -> Any:
    if not isinstance(value, dict) or not value:
        raise refusal(value, "causes by name, each with what is overridden without it", "name one")
    for name, override in value.items():
        if name in (ALL, NONE, "") or JOINED in name:
            raise conflict(
                f"a cause called '{name}'",
                f"names other than {ALL} and {NONE}, without {JOINED}",
                "choose another name",
            )
        if not isinstance(override, dict) or not override:
            raise conflict(
                f"the cause '{name}' with {override!r}",
                "the levers of a policy that take the cause away",
                "write its levers, such as `index: {...}` or `scenario: {...}`",
            )
    if len(value) > MOST_CAUSES:
        raise conflict(
            f"{len(value)} causes", f"at most {MOST_CAUSES}", "join causes that belong together"
        )
    return value


class Attribution(Model):
    """Which causes there are, and what they are to explain."""

    causes: Annotated[dict[str, dict[str, Any]], BeforeValidator(_causes)]
    measures: tuple[MeasureSpec, ...] = ()


def coalition_label(causes: Sequence[str], number: int) -> str:
    """The label of a combination on the policy axis; bit i of the number is cause i."""
    acting = [cause for bit, cause in enumerate(causes) if number >> bit & 1]
    if len(acting) == len(causes):
        return ALL
    return JOINED.join(acting) or NONE


def coalitions(
    attribution: Attribution, listed: Mapping[str, PolicySpec], source: Source
) -> dict[str, PolicySpec]:
    """The entries of all combinations but that of all causes, which is the baseline.

    Each is the baseline under the overrides of the causes that do not act, with positions held.

    Raises:
        ConfigError: An override is none, two causes override one key, or a label is taken.
    """
    key = ("attribution", "causes")
    causes = attribution.causes
    for name, override in causes.items():
        try:
            PolicySpec.model_validate(override)
        except ValidationError as error:
            refuse(error, source, PolicySpec, prefix=(*key, name))
        if "participation" in override:
            source.refuse(
                (*key, name, "participation"),
                f"participation without '{name}'",
                "levers of other kinds, as positions are held in an attribution",
                "remove it",
            )
    keys = {name: set(_paths(override)) for name, override in causes.items()}
    for number, name in enumerate(causes):
        for other in list(causes)[:number]:
            shared = next((k for k in sorted(keys[name]) if _meets(k, keys[other])), None)
            if shared is not None:
                source.refuse(
                    (*key, name),
                    f"'{'.'.join(shared)}' is overridden without '{other}' too",
                    "causes that override different keys",
                    "join the two causes or split the key",
                )
    source.levers[key] = {
        ".".join(path): (*key, name, *path) for name, paths in keys.items() for path in paths
    }
    base = listed[ALL].model_dump(mode="json", exclude_unset=True)
    made: dict[str, PolicySpec] = {}
    order = list(causes)
    # The first cause varies slowest: combinations that share a program then lie side by side where
    # the causes that change shocks are named first.
    for acting in list(itertools.product((1, 0), repeat=len(order)))[1:]:
        coalition = sum(bit << place for place, bit in enumerate(acting))
        label = coalition_label(order, coalition)
        if label in listed:
            came = f"the policy '{label}' has the label of a combination of causes"
            source.refuse(("policies", label), came, "other labels", "rename the policy")
        values = dict(base)
        for bit, name in enumerate(order):
            if not coalition >> bit & 1:
                values = merge(values, causes[name])
        values = merge(values, {"participation": {"kind": "hold"}})
        try:
            made[label] = PolicySpec.model_validate(values)
        except ValidationError as error:
            refuse(error, source, PolicySpec, prefix=key)
    return made


def _paths(values: Mapping[str, Any], at: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Key paths of everything that is no mapping."""
    found: list[tuple[str, ...]] = []
    for name, value in values.items():
        here = (*at, name)
        found += _paths(value, here) if isinstance(value, dict) and value else [here]
    return found


def _meets(path: tuple[str, ...], others: set[tuple[str, ...]]) -> bool:
    """Whether one key encloses, or is, another."""
    return any(path[: len(one)] == one[: len(path)] for one in others)
