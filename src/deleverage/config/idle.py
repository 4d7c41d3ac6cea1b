"""Keys of the scenario that change nothing under any policy of the run, which are refused.

A key is idle if what it hangs on is missing: a half-life without the thing that decays, rules of a
venue where no book is. What an entry of the policy axis brings, by its levers or by its override of
the scenario, counts. A switch that is written as 0 (or as empty) is off on purpose, and what hangs
on it may stay: so a mechanism is switched off with one key.
"""

from __future__ import annotations

from collections.abc import Iterable

from deleverage.config.idle_indices import idle_indices
from deleverage.config.idle_rules import idle_rules
from deleverage.config.idle_shocks import idle_shocks
from deleverage.config.idle_world import idle_world
from deleverage.config.models import Config
from deleverage.config.names import Names
from deleverage.config.setting import Setting, Suspect
from deleverage.config.uses import uses_of


def check_idle(config: Config, names: Names) -> None:
    """Refuse the first key of the scenario that no policy makes anything of.

    Args:
        config: The config.
        names: Of its scenario.

    Raises:
        ConfigError: There is one.
    """
    settings = list(_settings(config))
    scenario = config.scenario
    suspects: Iterable[Suspect] = (
        *idle_rules(scenario),
        *idle_indices(names),
        *idle_world(scenario),
        *idle_shocks(scenario.shocks),
    )
    for suspect in suspects:
        if not any(map(suspect.matters, settings)):
            key = ("scenario", *suspect.key)
            config.source.refuse(key, suspect.came, suspect.allowed, suspect.advice)


def _settings(config: Config) -> Iterable[Setting]:
    """Every entry in its scenario."""
    own = uses_of(config.scenario)
    for label, entry in config.entries.items():
        there = config.under(label)
        yield Setting(there, entry, own if there is config else uses_of(there.scenario))
