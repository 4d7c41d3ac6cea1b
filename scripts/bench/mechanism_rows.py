"""Rows of the table of mechanisms: a config each, and the lanes of it that are timed."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from deleverage.config import build, load_config
from deleverage.config.models import Config
from deleverage.config.policies import PolicySpec, ScenarioChange
from deleverage.config.scenario import Scenario
from deleverage.config.source import lay_over
from deleverage.engine import LANES

BASELINE = "baseline"
OF_RUN = {"timeline": "results.timeline=true", "float64": "dtype=float64"}
"""Rows that are no entry of the policy axis: what they set of the run, as after `--set`."""

COUNTED = "liquidated_notional"
"""An outcome that every run has, `(lane, path)`."""

CHANGE = 1e-3
"""Of an outcome, that is no rounding: another program rounds otherwise, by some 1e-6."""

BY_LANE = ("own_shocks",)
"""Entries whose override stays one: their row is what shocks of single lanes cost."""


class Lanes(NamedTuple):
    """Nothing but one entry, in every lane of a tile: what `Simulator` asks for."""

    groups: list[tuple[Any, Any, range, Any]]
    timeline: Any
    seed: int
    dtype: str
    tile_paths: int
    driver: str
    paired: bool


def row_names(path: Path) -> list[str]:
    """The baseline, the other listed policies, and what is set of the run."""
    policies = _loaded(path).policies
    return [BASELINE, *(name for name in policies if name != BASELINE), *OF_RUN]


def row_config(path: Path, name: str) -> Config:
    """The config of a row: the baseline and, where it has levers, one entry beside it.

    What an entry overrides is laid over the run's own scenario. As an override it would be a world
    of single lanes, for which exogenous series are computed once a lane.

    Args:
        path: Of a config with the entry, or with a baseline alone.
        name: One of `row_names`.
    """
    if name in OF_RUN:
        return _with(_loaded(path, (OF_RUN[name],)), {})
    config = _loaded(path)
    entry = config.policies[name]
    if name != BASELINE and name not in BY_LANE and entry.scenario.parts:
        written = config.scenario.model_dump(mode="json", exclude_unset=True)
        (written.get("shocks", {}).get("replay") or {}).pop("sha256", None)  # of another file
        scenario = Scenario.model_validate(lay_over(written, entry.scenario.parts))
        config = config.model_copy(update={"scenario": scenario})
        entry = _without_parts(entry)
    levers = entry.levers() if name != BASELINE else {}
    return _with(config, {name: entry} if levers else {})


def row_hash(path: Path, name: str) -> str:
    """Of everything that a row's config says: with another hash it is another row."""
    text = json.dumps(row_config(path, name).model_dump(mode="json"), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def row_lanes(path: Path, name: str, paths: int) -> Lanes:
    """The arrays of a row: its entry in all lanes, in tiles of some paths."""
    built = build(row_config(path, name))
    last = len(built.labels["policy"]) - 1
    ((world, policy, members, own),) = [group for group in built.groups if last in group[2]]
    place = [list(members).index(last)] * LANES
    policy, own = jax.tree.map(lambda leaf: np.asarray(leaf)[..., place], (policy, own))
    return Lanes(
        groups=[(world, policy, range(LANES), own)],
        timeline=built.timeline,
        seed=built.seed,
        dtype=built.dtype,
        tile_paths=paths,
        driver=built.driver,
        paired=built.paired,
    )


def same_program(one: Lanes, other: Lanes) -> bool:
    """Whether two rows differ in numbers alone, so that one compiled program runs both."""
    return _kind(one) == _kind(other)


def paths_changed(baseline: dict[str, np.ndarray], row: dict[str, np.ndarray]) -> float:
    """Share of paths on which an outcome of the first lane is another, by more than rounding.

    Args:
        baseline: Outcomes `(lane, path, ...)` and path coordinates `(path, ...)`, by name.
        row: The same of another world on the same draws. Coordinates, and what only one of the two
            has or has in another shape, are left out.
    """
    paths = baseline[COUNTED].shape[1]
    changed = np.zeros(paths, bool)
    for name in baseline.keys() & row.keys():
        before, after = baseline[name], row[name]
        if before.shape == after.shape and before.shape[:2] == baseline[COUNTED].shape:
            one, other = (np.reshape(v[0], (paths, -1)).astype(float) for v in (before, after))
            near = np.isclose(other, one, rtol=CHANGE, atol=CHANGE, equal_nan=True)
            changed |= ~near.all(axis=1)
    return float(changed.mean())


def _kind(lanes: Lanes) -> tuple:
    leaves, structure = jax.tree.flatten(lanes.groups)
    shapes = [np.shape(leaf) for leaf in leaves]
    static = (lanes.timeline, lanes.dtype, lanes.tile_paths, lanes.driver, lanes.paired)
    return structure, shapes, *static


@lru_cache(maxsize=1 + len(OF_RUN))
def _loaded(path: Path, overrides: tuple[str, ...] = ()) -> Config:
    return load_config(path, overrides)


def _without_parts(entry: PolicySpec) -> PolicySpec:
    """An entry with what its override says beside parts of the scenario: a factor on depth."""
    factor = entry.scenario.depth_factor
    left = ScenarioChange() if factor is None else ScenarioChange(depth_factor=factor)
    given = {name: getattr(entry, name) for name in entry.model_fields_set - {"scenario"}}
    return PolicySpec(**given, **({} if factor is None else {"scenario": left}))


def _with(config: Config, entries: dict[str, PolicySpec]) -> Config:
    """The config with the baseline and some entries for a policy axis."""
    policies = {BASELINE: config.policies[BASELINE], **entries}
    alone = dict.fromkeys(("sweep", "attribution", "search"))
    made = config.model_copy(update={"policies": policies, **alone})
    for cached in ("entries", "_coalitions", "_variants"):
        made.__dict__.pop(cached, None)
    return made
