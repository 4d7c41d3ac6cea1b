"""Driving a search: rounds of policies on common draws, then those found on fresh ones."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deleverage.analysis.direction import good_measure, good_values
from deleverage.analysis.measures import by_name
from deleverage.config.sweep import label_of
from deleverage.errors import ConfigError
from deleverage.results.schema import GOOD, VARIABLES, select_variables
from deleverage.search.answer import answer, measured
from deleverage.search.ledger import Ledger, Point, folder_of
from deleverage.search.refine import propose
from deleverage.sweep import run
from deleverage.sweep.plan import POLICY_BLOCK
from deleverage.sweep.worker import ENGINE, Factory

if TYPE_CHECKING:
    import xarray as xr

    from deleverage.config import Config
    from deleverage.config.search import Search
    from deleverage.results import Run

FRESH = ".fresh"
"""What the name of the run on fresh draws ends with."""


@dataclass(frozen=True)
class Found:
    """What a search found.

    Attributes:
        front: Over `policy`, those on the front and the listed ones: see `answer`.
        tried: The run of all policies that were tried.
        fresh: The run of `front`'s policies on draws that chose none of them.
        folder: Holds both, and the points round by round.
    """

    front: xr.Dataset
    tried: Run
    fresh: Run
    folder: Path


def search(
    config: Config,
    out: str | Path = "runs",
    workers: int | None = None,
    progress: bool = True,
    *,
    simulator_factory: str | Factory = ENGINE,
) -> Found:
    """Search the ranges of a config for policies that no other beats, or continue doing so.

    A scrambled Sobol sweep, then rounds that `refine.propose` aims at the front, all in one run
    directory that grows; the budget is spent exactly. As the best of many on the same draws looks
    better than it is, the front is then simulated on the draws of the next seed, on the config's
    own number of paths. Killed at any moment, the same call ends at the same answer.

    Args:
        config: A config with a `search`.
        out: Folder of the search's own folder.
        workers: Worker processes; 0 runs in this process, None takes one a core.
        progress: Show a bar or lines on standard error.
        simulator_factory: What makes the simulator, by default the package's engine.

    Raises:
        ConfigError: The config has no search, or does not store what it measures.
        RunError: Units failed.
        InterruptedRunError: Stopped by a signal; the same call continues it.
    """
    wanted = required(config)
    folder = folder_of(config, out)
    folder.mkdir(parents=True, exist_ok=True)
    ledger = Ledger(folder)
    if not ledger.rounds:
        ledger.add(_first_round(wanted))
    listed = list(config.policy_hashes())

    def simulated(points: Mapping[str, Point], name: str, paths: int, seed: int) -> Run:
        asked = config.trying(points, name, paths, seed)
        return run(asked, folder, workers, progress=progress, simulator_factory=simulator_factory)

    while True:
        points = ledger.points
        tried = simulated(points, config.name, wanted.budget.paths, config.seed)
        left = wanted.budget.policies - len(points)
        if left == 0:
            break
        # whole blocks: the last chunk of a run that grows is simulated again
        room = POLICY_BLOCK - (len(listed) + len(points)) % POLICY_BLOCK
        ledger.add(_next_round(tried, wanted, ledger, min(room, left)))
    front = measured(tried.outcomes, wanted)
    chosen = [str(label) for label in front.policy.values[front.on_front.values]]
    fresh = simulated(
        {label: points[label] for label in chosen if label in points},
        f"{config.name}{FRESH}",
        config.paths,
        (config.seed + 1) % 2**32,
    )
    return Found(answer(tried.outcomes, fresh.outcomes, wanted, ledger), tried, fresh, folder)


def required(config: Config) -> Search:
    """The search of a config.

    Raises:
        ConfigError: It has none, or its run would not store what is measured.
    """
    if config.search is None:
        raise ConfigError(
            "the config has no `search`; add `search: {levers: ..., risk: ..., budget: ..., "
            "sweep: ...}` to it."
        )
    stored = select_variables(config.results.variables)
    wanted = config.search
    for name in (wanted.risk.variable, *wanted.costs):
        if name not in stored:
            raise ConfigError(
                f"search: {name!r} is measured, but results.variables keeps only "
                f"{', '.join(stored)}; add it there."
            )
    if "path" not in VARIABLES[wanted.risk.variable].dims:
        raise ConfigError(
            f"search.risk: {wanted.risk.variable!r} is the same on every path; name it among the "
            "costs, and an outcome as the risk."
        )
    _require_low_is_good(wanted)
    return wanted


def _require_low_is_good(wanted: Search) -> None:
    risk = wanted.risk
    if risk.good is None and risk.variable not in GOOD:
        raise ConfigError(
            f"search.risk: whether low or high values of {risk.variable!r} are good is not known; "
            "add `good: low` or `good: high` to it."
        )
    what = by_name(risk.measure, risk.q, risk.tail, risk.above, risk.below)
    if good_measure(good_values(risk.variable, risk.good), what) == "high":
        raise ConfigError(
            f"search.risk: of the {risk.measure} of {risk.variable!r} a high one is good, but a "
            "search makes its risk low; write the probability of the bad values, `measure: "
            "probability` with `below` or `above`."
        )


def _next_round(tried: Run, wanted: Search, ledger: Ledger, count: int) -> list[Point]:
    """Points near which the front should lie further on, none of them tried before."""
    found = measured(tried.outcomes, wanted)
    known = ledger.points
    places = [label in known for label in found.policy.values.tolist()]
    objectives = np.stack([found[name].values for name in ("risk", *wanted.costs)], axis=1)
    shares = np.array(
        [
            [span.share_of(point[lever]) for lever, span in wanted.levers.items()]
            for point in known.values()
        ]
    )
    seed = [wanted.seed, len(ledger.rounds)]
    from_model = propose(shares, objectives[places], found.on_front.values[places], count, seed)
    at_random = np.random.default_rng([*seed, len(known)]).random((2**16, shares.shape[1]))
    taken, made = set(tried.plan.policies), []
    # rounded to what a label shows, a point may be one that is known: then any other will do
    for place in itertools.chain(from_model, at_random):
        point = _written(place, wanted)
        label = label_of(point)
        if label not in taken:
            taken.add(label)
            made.append(point)
        if len(made) == count:
            return made
    raise _too_narrow(len(taken))


def _first_round(wanted: Search) -> list[Point]:
    """The Sobol sweep."""
    points = wanted.first_points()
    different = len({label_of(point) for point in points})
    if different < len(points):
        raise _too_narrow(different)
    return points


def _too_narrow(count: int) -> ConfigError:
    return ConfigError(
        f"search.levers: the ranges hold about {count} policies that differ as they are written, "
        "fewer than the search is to try; widen them, or lower budget.policies and sweep."
    )


def _written(place: np.ndarray, wanted: Search) -> Point:
    spans = wanted.levers.items()
    return {
        lever: span.at(share) for (lever, span), share in zip(spans, place.tolist(), strict=True)
    }
