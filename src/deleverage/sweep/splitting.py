r"""Multilevel splitting: populations of paths ever further into the tail of one outcome.

A replicate begins with plain paths. Of those beyond the first threshold some become parents, drawn
evenly; each parent moves `moves` times, by a Metropolis step that keeps the law of paths beyond the
threshold (see `shocks.lineage`: draws move a little, and a move that falls back is not made), and
all places on the way are the next population. And so on to the last threshold. With the shares
$\hat p_j$ of a population beyond the next threshold, population k stands for the paths between
thresholds k and k + 1 (the last one for all beyond its own) with the weight

$$w = (L + 1) \prod_{j < k} \hat p_j,$$

and for nothing beyond k + 1, where its weight is 0. Weights average to 1 in each replicate.

Thresholds and the length of moves are fixed before the first replicate, by a pilot that is no part
of the result. So each replicate is unbiased for every mean, replicates are independent, and errors
come from how they differ. A replicate is computed whole and by itself: it follows from the seed and
its own path ids. Rare paths are reached from less rare ones by small moves of their draws (A46).

Sources: Kahn and Harris 1951 (splitting); Au and Beck 2001 (subset simulation); Cerou and Guyader
2007 (levels from quantiles); Botev and Kroese 2012 (a pilot for the levels, unbiased with them
fixed); Del Moral 2004, theorem 7.4.2 (unbiased whatever the population).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from deleverage.results.schema import VARIABLES
from deleverage.shocks.draws import RESAMPLE, uniform_of
from deleverage.shocks.lineage import Lineage

if TYPE_CHECKING:
    from deleverage.config.sampling import SplittingSampling
    from deleverage.sweep.response import Response

GENERATIONS = 64
"""Rows of a lineage come in such steps, so that most schemes share what is compiled."""


class Level(NamedTuple):
    """What a population lies beyond, and how far its paths move at a time."""

    threshold: float
    spread: float


class Population(NamedTuple):
    """Paths with their outcomes by name, their response `[path]`, and where they come from."""

    outcomes: dict[str, np.ndarray]
    response: np.ndarray
    lineage: Lineage

    def on(self, places: np.ndarray) -> Population:
        """Some of the paths, by their places."""
        return Population(
            {name: x.take(places, axis=_axis(name)) for name, x in self.outcomes.items()},
            self.response[places],
            Lineage(self.lineage.ids[:, places], self.lineage.spread[:, places]),
        )

    @staticmethod
    def joined(parts: list[Population]) -> Population:
        """All paths of several."""
        return Population(
            {
                name: np.concatenate([part.outcomes[name] for part in parts], axis=_axis(name))
                for name in parts[0].outcomes
            },
            np.concatenate([part.response for part in parts]),
            Lineage(
                np.concatenate([part.lineage.ids for part in parts], axis=1),
                np.concatenate([part.lineage.spread for part in parts], axis=1),
            ),
        )


@dataclass(frozen=True)
class Populations:
    """Makes populations with a simulator.

    Attributes:
        simulator: The engine's, of plain paths and of paths that inherit draws.
        scheme: Sizes.
        response: What thresholds are set on.
        seed: Of every draw.
    """

    simulator: Any
    scheme: SplittingSampling
    response: Response
    seed: int

    def plain(self, policies: range, first: int) -> Population:
        """Plain paths of consecutive ids, the first population of a replicate."""
        count = self.scheme.paths_per_level
        most = 1 + self.scheme.levels * self.scheme.moves
        shape = (-(-most // GENERATIONS) * GENERATIONS, count)
        ids, spread = np.zeros(shape, np.uint32), np.zeros(shape)
        ids[0], spread[0] = first + np.arange(count), 1.0
        return self._simulated(policies, Lineage(ids, spread))

    def parents(self, people: Population, threshold: float, first: int) -> Population | None:
        """Parents of the population that begins with path id `first`; None where none is left.

        Systematic resampling: each path beyond the threshold is taken equally often, or once more,
        and in expectation exactly equally often.
        """
        beyond = np.flatnonzero(people.response > threshold)
        if not beyond.size:
            return None
        start = float(uniform_of(np.uint32(self.seed), np.uint32(RESAMPLE), np.uint32(first)))
        chains = self.scheme.chains
        places = ((np.arange(chains) + start) * (beyond.size / chains)).astype(np.int64)
        return people.on(beyond[np.minimum(places, beyond.size - 1)])

    def moved(
        self, policies: range, people: Population, first: int, level: Level
    ) -> tuple[Population, np.ndarray]:
        """Paths after one Metropolis step, and which of them have moved.

        Args:
            policies: Whose outcomes are wanted.
            people: Paths beyond the threshold.
            first: Path id of the first of their moves.
            level: Threshold, and how far they try to move.
        """
        count = people.response.size
        ids, spread = people.lineage.ids.copy(), people.lineage.spread.copy()
        rows = np.count_nonzero(spread, axis=0), np.arange(count)
        ids[rows], spread[rows] = first + np.arange(count), level.spread
        tried = self._simulated(policies, Lineage(ids, spread))
        stays = tried.response > level.threshold
        places = np.arange(count) + np.where(stays, count, 0)
        return Population.joined([people, tried]).on(places), stays

    def _simulated(self, policies: range, lineage: Lineage) -> Population:
        paths = range(lineage.ids.shape[1])
        outcomes = self.simulator.simulate(policies, paths, lineage)
        looked_at, seen = policies, outcomes
        if self.response.policy not in policies:
            looked_at = range(self.response.policy, self.response.policy + 1)
            seen = self.simulator.simulate(looked_at, paths, lineage)
        return Population(outcomes, self.response.of(seen, looked_at), lineage)


class Splitting:
    """A simulator whose paths are those of replicates; see the module.

    Args:
        populations: What makes them.
        levels: Thresholds and lengths of moves.
    """

    def __init__(self, populations: Populations, levels: list[Level]) -> None:
        self._make, self._levels = populations, levels
        self._scheme = populations.scheme
        self.tile_paths = int(populations.simulator.tile_paths)

    def fingerprint(self) -> dict[str, Any]:
        """What the bytes of a result depend on besides config, path ids and levels."""
        return self._make.simulator.fingerprint()

    def simulate(self, policies: range, paths: range) -> Mapping[str, np.ndarray]:
        """Outcomes of whole replicates.

        Args:
            policies: Places on the policy axis.
            paths: Global path ids, whole replicates.

        Returns:
            As the engine's simulator, `log_weight` being that of the module.
        """
        block = self._scheme.block
        if paths.start % block or paths.stop % block:
            raise ValueError(f"{paths} are not whole replicates of {block} paths; plan whole ones.")
        parts = [self._replicate(policies, first) for first in paths[::block]]
        return {
            name: np.concatenate([part[name] for part in parts], axis=_axis(name))
            for name in parts[0]
        }

    def watch(self, policy: int, path: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """One path again with its record step by step, as the engine's simulator gives it.

        Its population and those before are simulated again, to find where it comes from.
        """
        block, size = self._scheme.block, self._scheme.paths_per_level
        place, number = path % size, path % block // size
        looked_at = range(self._make.response.policy, self._make.response.policy + 1)
        people = next(islice(self._populations(looked_at, path - path % block), number, None))
        line = people.on(np.array([place])).lineage
        # in the tile it lies where it was simulated, though that should make no difference
        last = int(line.ids[np.count_nonzero(line.spread) - 1, 0])
        batch = size if last % block < size else self._scheme.chains
        column = last % block % size % batch % self.tile_paths
        tile = Lineage(
            np.repeat(line.ids, self.tile_paths, axis=1),
            np.repeat(line.spread, self.tile_paths, axis=1),
        )
        return self._make.simulator.watch(policy, column, tile)

    def _populations(self, policies: range, first: int) -> Iterator[Population]:
        """The populations of the replicate that begins with a path id, one after the other."""
        scheme, make = self._scheme, self._make
        people = make.plain(policies, first)
        yield people
        for level in self._levels:
            first += scheme.paths_per_level
            parents = make.parents(people, level.threshold, first)
            if parents is None:  # no path is left: what fills the places has weight 0
                people = make.plain(policies, first)
            else:
                line = [parents]
                for move in range(scheme.moves):
                    at = first + move * scheme.chains
                    line.append(make.moved(policies, line[-1], at, level)[0])
                people = Population.joined(line[1:])
            yield people

    def _replicate(self, policies: range, first: int) -> dict[str, np.ndarray]:
        ends = [level.threshold for level in self._levels] + [np.inf]
        populations, weights, chance = [], [], 1.0
        for people, end in zip(self._populations(policies, first), ends, strict=True):
            populations.append(people)
            beyond = people.response > end
            weights.append(np.where(beyond, 0.0, chance * len(ends)))
            chance *= np.mean(beyond)
        outcomes = Population.joined(populations).outcomes
        with np.errstate(divide="ignore"):  # a path that stands for nothing
            log_weight = np.log(np.concatenate(weights))
        return outcomes | {"log_weight": log_weight.astype(outcomes["log_weight"].dtype)}


def _axis(name: str) -> int:
    """The axis of paths of an outcome; a simulator also has outcomes that no run stores."""
    return 0 if name in VARIABLES and not VARIABLES[name].by_policy else 1
