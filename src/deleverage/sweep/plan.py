"""Planning a run: its blocks from the config alone, and how a run may continue an older one."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deleverage.config.sampling import block_of, require_blocks
from deleverage.errors import ConfigError, RunError
from deleverage.results.plan import Plan
from deleverage.results.schema import (
    SCHEMA_VERSION,
    TIMELINE_UNITS,
    VARIABLES,
    select_variables,
)
from deleverage.results.store import MAX_CHUNK_BYTES, assert_aligned
from deleverage.sweep.adaptive import check_rule, continued, next_checkpoint, rule
from deleverage.sweep.response import response_of

if TYPE_CHECKING:
    from deleverage.config import Built, Config

POLICY_BLOCK = 16
#: Paths of a unit where the config does not say: one of the default scenario takes 2-10 s, so that
#: the first result comes soon.
UNIT_PATHS = 128
#: Small runs have smaller ones: something for several workers, and something to resume.
FEWEST_UNITS = 8
UNIT_PATHS_LARGE = 8192
#: Runs above this many units of paths get larger ones.
MANY_UNITS = 128


def plan_run(config: Config, built: Built, fingerprint: Mapping[str, Any]) -> Plan:
    """The plan of a new run.

    Args:
        config: The config.
        built: What it builds; gives the labels of every dimension.
        fingerprint: What fixes the bytes, of the simulator that will run.

    Raises:
        ConfigError: A selected variable or market does not exist, `engine.unit_paths` does not
            fit, or paths cannot be split on what `sampling` names.
        RunError: A unit would not own whole chunks.
    """
    if config.search is not None:
        raise ConfigError(
            "search: the config searches its policies, which `deleverage search` does; a run "
            "simulates those it lists, so leave the key `search` out of it."
        )
    require_blocks(config)
    labels, select = _labels(config, built)
    variables = select_variables(config.results.variables)
    identity = json.loads(json.dumps({"schema_version": SCHEMA_VERSION, **config.identity()}))
    hashes = config.policy_hashes()
    tile = int(config.engine.tile_paths or built.tile_paths)
    block = _path_block(config, tile, labels, variables)
    adaptive = config.adaptive
    plan = Plan(
        name=config.name,
        identity_hash=_hash(identity),
        identity=identity,
        policy_hashes={label: hashes[label] for label in labels["policy"]},
        seed=int(config.seed),
        paths=config.most_paths if adaptive is None else next_checkpoint(0, adaptive, block),
        policy_block=POLICY_BLOCK,
        path_block=block,
        tile_paths=tile,
        labels=labels,
        select=select,
        variables=list(variables),
        timeline=_timeline(built),
        fingerprint=json.loads(json.dumps(dict(fingerprint))),
        provenance=_provenance(),
        stopping=rule(config),
    )
    check_rule(config, plan)
    if config.sampling.kind == "splitting":
        response_of(config, built.labels)
    assert_aligned(plan)
    return plan


def _timeline(built: Built) -> dict[str, list[float]]:
    """Times and edges of the histograms that the simulator makes."""
    timeline = built.timeline
    if timeline is None:
        return {}
    layout = built.world.layout
    moments = np.arange(1, layout.steps // timeline.every + 1) * timeline.every * layout.step
    edges = {f"{TIMELINE_UNITS}/{name}": bins.edges.tolist() for name, bins in timeline.bins}
    return {"time": moments.tolist(), **edges}


def _labels(config: Config, built: Built) -> tuple[dict[str, list[str]], dict[str, list[int]]]:
    """Stored labels of every dimension, and positions kept where not all are."""
    labels = {dim: list(values) for dim, values in built.labels.items()}
    markets = config.results.markets
    if markets is None or markets == "all":
        return labels, {}
    for market in markets:
        if market not in labels["market"]:
            raise ConfigError(
                f"results.markets: {market!r} is not a market; allowed are "
                f"{', '.join(labels['market'])}."
            )
    kept = [i for i, market in enumerate(labels["market"]) if market in markets]
    labels["market"] = [labels["market"][i] for i in kept]
    return labels, {"market": kept}


def _hash(identity: Any) -> str:
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _path_block(
    config: Config, tile: int, labels: Mapping[str, list[str]], variables: tuple[str, ...]
) -> int:
    """Paths of a unit: whole tiles, few enough that no chunk exceeds its limit.

    Under splitting, whole replicates.
    """
    what = "engine.tile_paths"
    if config.sampling.kind == "splitting":
        tile, what = block_of(config.sampling), "the paths of a replicate"
    per_path = max(
        np.dtype(variable.dtype).itemsize
        * (POLICY_BLOCK if variable.by_policy else 1)
        * int(np.prod([len(labels[d]) for d in variable.dims if d not in ("policy", "path")]))
        for variable in (VARIABLES[name] for name in variables)
        if variable.by_path
    )
    most = MAX_CHUNK_BYTES // max(per_path, 1) // tile * tile
    if most == 0:
        raise ConfigError(
            f"{what}: {tile} paths make chunks above {MAX_CHUNK_BYTES // 2**20} MiB "
            f"({per_path} bytes a path); select fewer markets or variables in results."
        )
    given = config.engine.unit_paths
    if given is not None:
        if given % tile or given > most:
            raise ConfigError(
                f"engine.unit_paths: {given} came, but allowed are multiples of "
                f"{what} ({tile}) up to {most}."
            )
        return int(given)
    paths = config.most_paths
    small = -(-paths // FEWEST_UNITS)
    wanted = min(max(min(UNIT_PATHS, small), paths // MANY_UNITS), UNIT_PATHS_LARGE)
    return min(-(-wanted // tile) * tile, most)


def _provenance() -> dict[str, Any]:
    """Versions, commit and time, for the reader; nothing depends on them."""
    versions = {"python": platform.python_version()}
    for name in ("deleverage", "jax", "jaxlib", "numpy", "zarr", "xarray", "dask"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "versions": versions,
        "git_commit": _git_commit(),
        "planned": datetime.now(UTC).isoformat(timespec="seconds"),
        "host": platform.node(),
    }


def _git_commit() -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None


def continue_plan(old: Plan, new: Plan, run_dir: Path, *, complete: bool = False) -> Plan:
    """The plan under which `new` continues the run of `old` in the same directory.

    More paths and policies appended at the end are allowed; blocks stay as first planned.

    Args:
        old: The plan of the directory.
        new: What is asked for now.
        run_dir: The directory.
        complete: Whether all of `old` is done, so that without growth no unit will run.

    Returns:
        The plan that goes on.

    Raises:
        ConfigError: The directory belongs to another config, or a policy in it has changed.
        RunError: The units in it come from another backend or machine.
    """
    if old.identity != new.identity:
        key = _first_difference(old.identity, new.identity)
        raise ConfigError(
            f"{run_dir} belongs to another config: {key}; name another folder with `--out`."
        )
    key, most = ("paths.at_most", new.stopping["at_most"]) if new.stopping else ("paths", new.paths)
    if most < old.paths:
        raise ConfigError(
            f"{key}: {most} came, but {run_dir} already has {old.paths}; ask for at least as "
            "many, or name another folder with `--out`."
        )
    if new.stopping:  # it looks at what is there before it adds to it
        stopping = continued(old.stopping, new.stopping, new.policies == old.policies)
        new = replace(new, paths=old.paths, stopping=stopping)
    for i, (label, value) in enumerate(old.policy_hashes.items()):
        if new.policy_hashes.get(label) != value or new.policies[i : i + 1] != [label]:
            what = (
                "is missing"
                if label not in new.policy_hashes
                else "has changed"
                if new.policy_hashes[label] != value
                else "has moved"
            )
            raise ConfigError(
                f"policies: {label!r} {what}, but {run_dir} was made with it; only policies added "
                "at the end continue a run, so restore it or name another folder with `--out`."
            )
    other = {
        key: (old.fingerprint.get(key), new.fingerprint.get(key))
        for key in {**old.fingerprint, **new.fingerprint}
        if old.fingerprint.get(key) != new.fingerprint.get(key)
    }
    if other and (grows(old, new) or not complete):
        key, (was, now) = next(iter(other.items()))
        raise RunError(
            f"{run_dir} was begun with {key} {was!r}, this machine has {now!r}, which may give "
            "other bytes; continue it where it was begun, or name another folder with `--out`."
        )
    grown = replace(
        new,
        fingerprint=old.fingerprint,
        policy_block=old.policy_block,
        path_block=old.path_block,
        tile_paths=old.tile_paths,
        provenance=old.provenance,
        metadata=old.metadata,
        splitting=old.splitting,
    )
    assert_aligned(grown)
    return grown


def grows(old: Plan, new: Plan) -> bool:
    """Whether the new plan has more paths or policies, or may come to have."""
    return (new.paths, new.policies, new.stopping) != (old.paths, old.policies, old.stopping)


def _first_difference(old: Any, new: Any, key: str = "") -> str:
    """The first key at which two configs differ, in words."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in {**old, **new}:
            if old.get(name) != new.get(name):
                path = f"{key}.{name}" if key else str(name)
                return _first_difference(old.get(name), new.get(name), path)
    return f"{key} was {_brief(old)} there and is {_brief(new)} here"


def _brief(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
