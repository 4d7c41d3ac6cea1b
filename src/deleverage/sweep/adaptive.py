"""Runs that take as many paths as an error bar needs.

Paths are added in whole units, in the order of their ids, up to the next checkpoint; there, when
all units before it are done, the error is looked at, and the run ends or goes on to the next one.
No unit beyond a checkpoint begins before, so the paths of a run follow from config and draws
alone: not from workers, their order, or where it was killed. Checkpoints are half as many units
again from one to the next (a run is at most half larger than it had to be), the first one at
`paths.at_least`.

To stop when an error looks small is to stop more often where it is underestimated, so the first
look waits for 100 points beyond the level: then 95% intervals lose less than 2.5 points of their
coverage, and most of them nothing (`tests/statistical/test_adaptive_coverage.py`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deleverage.analysis.stopping import judge
from deleverage.errors import ConfigError, RunError
from deleverage.results.claims import Claims
from deleverage.results.markers import done_units, find_markers, remove_markers
from deleverage.results.opening import open_run
from deleverage.results.plan import Plan, load_plan
from deleverage.results.schema import VARIABLES
from deleverage.results.template import write_template
from deleverage.sweep.response import check_selection
from deleverage.sweep.worker import Prepared

if TYPE_CHECKING:
    from deleverage.config import Config
    from deleverage.config.paths import AdaptivePaths

WAIT_SECONDS = 60.0


def next_checkpoint(paths: int, adaptive: AdaptivePaths, unit_paths: int) -> int:
    """The first checkpoint above a number of paths, in whole units except at the very end."""
    units = -(-adaptive.fewest // unit_paths)
    while units * unit_paths <= paths:
        units = -(-3 * units // 2)
    return min(units * unit_paths, adaptive.at_most)


def rule(config: Config) -> dict[str, Any]:
    """What a plan keeps of the rule; empty where the number of paths is given."""
    adaptive = config.adaptive
    if adaptive is None:
        return {}
    written = adaptive.model_dump(mode="json", exclude_none=True)
    return written | {"at_least": adaptive.fewest}


def continued(
    old: Mapping[str, Any], new: Mapping[str, Any], same_policies: bool
) -> dict[str, Any]:
    """The rule of a run that goes on: what was decided stands under the same rule and policies."""
    stands = same_policies and all(old.get(key) == value for key, value in new.items())
    return dict(old if new and stands else new)


def check_rule(config: Config, plan: Plan) -> None:
    """Refuse a rule about what the run does not store.

    Raises:
        ConfigError: A variable, a label or a policy that is not there.
    """
    adaptive = config.adaptive
    if adaptive is None:
        return
    until, key = adaptive.until, ("paths", "until")
    stored = [
        v.name for v in plan.written if v.name in VARIABLES and v.by_policy and not v.coordinate
    ]
    if until.variable not in stored:
        config.source.refuse(
            (*key, "variable"),
            f"'{until.variable}' is no outcome that this run stores",
            ", ".join(stored),
            "name one of them, or add it to results.variables",
        )
    check_selection(config, key, VARIABLES[until.variable], until.selection, plan.labels)
    for number, label in enumerate(() if until.policies == "all" else until.policies):
        if label not in plan.policies:
            config.source.refuse(
                (*key, "policies", number),
                f"the policy '{label}' is unknown",
                ", ".join(plan.policies),
                "name one of them, or write `policies: all`",
            )


def go_on(run_dir: Path, prepared: Prepared) -> bool:
    """At a checkpoint: end the run, or let it grow to the next one.

    Args:
        run_dir: A run directory whose units are all done.
        prepared: Of this driver.

    Returns:
        Whether there are more units to run.

    Raises:
        RunError: Another driver works in the directory and does not come to the checkpoint.
    """
    adaptive = prepared.config.adaptive
    until = time.monotonic() + WAIT_SECONDS
    while True:
        plan = load_plan(run_dir)
        if adaptive is None or plan.decided:
            return False
        if len(done_units(run_dir, plan)) < len(plan.units):
            return True  # another driver came here first
        with Claims(run_dir) as claims:
            try:
                claims.acquire_all()
            except RunError:  # its holder may be through by now: what it did is looked at again
                if time.monotonic() > until:
                    raise
                time.sleep(0.2)
                continue
            if load_plan(run_dir) == plan:
                _look(run_dir, plan, adaptive, prepared)


def _look(run_dir: Path, plan: Plan, adaptive: AdaptivePaths, prepared: Prepared) -> None:
    """Judge the paths that there are, and write the plan that follows."""
    later = next_checkpoint(plan.paths, adaptive, plan.path_block)
    found: dict[str, Any] = {}
    if plan.paths >= adaptive.fewest:
        found = judge(open_run(run_dir, allow_partial=True).outcomes, adaptive.until)
    if found and (found["reached"] or later <= plan.paths):
        plan = replace(plan, stopping={**plan.stopping, **found})
    else:
        plan = replace(plan, paths=later)
        forget_partial(run_dir, plan)
    built = prepared.built
    text = prepared.config.resolved_yaml()
    write_template(run_dir, plan, text, built.policy_variables, built.policy_coords)


def forget_partial(run_dir: Path, plan: Plan) -> None:
    """Have units that grow done again: a partial last chunk must not count as done meanwhile."""
    for unit in plan.units:
        if any(not marker.fits(unit) for marker in find_markers(run_dir, unit)):
            remove_markers(run_dir, unit)


def require_number(config: Config) -> None:
    """Refuse what cannot follow an error, such as a sweep in memory.

    Raises:
        ConfigError: The number of paths is not given.
    """
    if config.adaptive is not None:
        raise ConfigError(
            "paths: a sweep in memory takes a number of paths, but the config has a rule "
            "(`until`); pass paths=, or call run, which follows it."
        )
