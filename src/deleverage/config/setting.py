"""A policy in its scenario, and keys that may matter in none."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from deleverage.config.base import Model
from deleverage.config.models import Config
from deleverage.config.policies import PolicySpec
from deleverage.config.scenario import Scenario
from deleverage.config.source import Key
from deleverage.config.uses import Uses


class Setting(NamedTuple):
    """One entry of the policy axis."""

    config: Config  # with the entry's own scenario
    entry: PolicySpec
    uses: Uses  # of that scenario

    @property
    def scenario(self) -> Scenario:
        """That scenario."""
        return self.config.scenario


class Suspect(NamedTuple):
    """A key that was written, and whether it matters in a setting."""

    key: Key  # below `scenario`
    matters: Callable[[Setting], bool]
    came: str
    allowed: str
    advice: str = "remove it"


def is_written(part: Model, name: str) -> bool:
    """Whether a key was written, be it as its default."""
    return name in part.model_fields_set


def is_set(part: Model, name: str) -> bool:
    """Whether a key was written as something else than its default."""
    default = type(part).model_fields[name].get_default(call_default_factory=True)
    return is_written(part, name) and getattr(part, name) != default
