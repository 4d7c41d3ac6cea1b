"""Sweeps: entries of the policy axis made from lists of lever values."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from deleverage.config.base import Model
from deleverage.config.policies import PolicySpec
from deleverage.config.sentences import refuse
from deleverage.config.source import Source


class Sweep(Model):
    """`grid`: all products of the values of some levers, each on top of the scenario's rules."""

    grid: dict[str, tuple[Any, ...]]


def expand(sweep: Sweep, listed: Mapping[str, PolicySpec], source: Source) -> dict[str, PolicySpec]:
    """The entries of a grid, the last lever varying fastest.

    Raises:
        ConfigError: a lever does not exist, a value is not allowed, or a label is taken.
    """
    made: dict[str, PolicySpec] = {}
    for values in itertools.product(*sweep.grid.values()):
        chosen = dict(zip(sweep.grid, values, strict=True))
        label = ",".join(f"{lever}={value}" for lever, value in chosen.items())
        if label in listed or label in made:
            came = f"the entry '{label}' exists already"
            source.refuse(("sweep", "grid"), came, "each entry once", "remove one of the two")
        try:
            made[label] = PolicySpec.model_validate(nested(chosen))
        except ValidationError as error:
            refuse(error, source, PolicySpec, prefix=("sweep", "grid"), levers=tuple(chosen))
    return made


def nested(levers: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted levers as nested mappings."""
    values: dict[str, Any] = {}
    for lever, value in levers.items():
        target = values
        *folders, last = lever.split(".")
        for folder in folders:
            inner = target.setdefault(folder, {})
            target = inner if isinstance(inner, dict) else target.setdefault(folder, {})
        target[last] = value
    return values
