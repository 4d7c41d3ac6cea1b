"""Keys of the scenario that change nothing under any policy of the run, which are refused.

A key is idle if what it hangs on is missing: a half-life without the thing that decays, rules of a
venue where no book is. What an entry of the policy axis brings, by its levers or by its override of
the scenario, counts. A switch that is written as 0 (or as empty) is off on purpose, and what hangs
on it may stay: so a mechanism is switched off with one key. Of an entry's override, what it writes
itself must change something in its own scenario; what it leaves idle of the others may stay.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from deleverage.config.idle_indices import idle_indices
from deleverage.config.idle_rules import idle_rules
from deleverage.config.idle_shocks import idle_shocks
from deleverage.config.idle_world import idle_world
from deleverage.config.models import Config
from deleverage.config.names import Names
from deleverage.config.policies import PolicySpec
from deleverage.config.scenario import Scenario
from deleverage.config.setting import Setting, Suspect
from deleverage.config.source import Key
from deleverage.config.uses import uses_of


def check_idle(config: Config, names: Names) -> None:
    """Refuse the first key of the scenario that no policy makes anything of.

    Args:
        config: The config.
        names: Of its scenario.

    Raises:
        ConfigError: There is one.
    """
    own = uses_of(config.scenario)
    settings = []
    for label, entry in config.entries.items():
        there = config.under(label)
        uses = own if there is config else uses_of(there.scenario)
        settings.append(Setting(there, entry, uses))
    for suspect in _suspects(config.scenario, names):
        if not any(map(suspect.matters, settings)):
            _refuse(config, suspect)


def check_idle_override(config: Config, names: Names, entry: PolicySpec) -> None:
    """Refuse the first key of an entry's override that changes nothing in the entry's scenario.

    Args:
        config: With the entry's own scenario.
        names: Of the run's scenario, which has the same markets.
        entry: A policy.

    Raises:
        ConfigError: There is one.
    """
    setting = Setting(config, entry, uses_of(config.scenario))
    for suspect in _suspects(config.scenario, names):
        if _is_in(entry.scenario.parts, suspect.key) and not suspect.matters(setting):
            _refuse(config, suspect)


def _suspects(scenario: Scenario, names: Names) -> Iterator[Suspect]:
    yield from idle_rules(scenario)
    yield from idle_indices(scenario, names)
    yield from idle_world(scenario)
    yield from idle_shocks(scenario.shocks)


def _is_in(written: Any, key: Key) -> bool:
    """Whether a key is among what was written; what is no mapping was written as a whole."""
    for part in key:
        if not isinstance(written, Mapping):
            return True
        if part not in written:
            return False
        written = written[part]
    return True


def _refuse(config: Config, suspect: Suspect) -> NoReturn:
    key = ("scenario", *suspect.key)
    config.source.refuse(key, suspect.came, suspect.allowed, suspect.advice)
