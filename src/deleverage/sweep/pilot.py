"""The levels of splitting, found by a pilot before the first replicate runs."""

from __future__ import annotations

import math

import numpy as np

from deleverage.errors import RunError
from deleverage.sweep.splitting import Level, Population, Populations

PILOT = 2**31
"""First path id of the pilot, beyond those of any run."""

ACCEPTED = 0.44
"""Share of moves to be made, at which the error is about least (Papaioannou et al. 2015)."""

SPREAD, LEAST_SPREAD = 0.6, 0.05
"""What moves begin with, and how short they may become."""


def find_levels(make: Populations) -> list[Level]:
    """Thresholds beyond which the wanted share of each population lies, and lengths of moves.

    A replicate whose thresholds are order statistics of its own populations, and whose moves
    become shorter while too few are made, longer while too many are.

    Raises:
        RunError: Too many paths of a population have one and the same value.

    Source: Au and Beck 2001; Papaioannou et al. 2015 (adaptive conditional sampling).
    """
    scheme, policy = make.scheme, make.response.policy
    looked_at, first = range(policy, policy + 1), PILOT
    levels: list[Level] = []
    spread = SPREAD
    people = make.plain(looked_at, first)
    while len(levels) < scheme.levels:
        first += scheme.paths_per_level
        threshold = float(np.sort(people.response)[-scheme.chains - 1])
        parents = make.parents(people, threshold, first)
        if parents is None or not math.isfinite(threshold):
            raise _no_level(make, threshold, len(levels))
        line = [parents]
        for move in range(scheme.moves):
            at = first + move * scheme.chains
            step, stays = make.moved(looked_at, line[-1], at, Level(threshold, spread))
            line.append(step)
            change = (float(np.mean(stays)) - ACCEPTED) / math.sqrt(move + 1)
            spread = min(max(spread * math.exp(change), LEAST_SPREAD), 1.0)
        levels.append(Level(threshold, spread))
        people = Population.joined(line[1:])
    return levels


def _no_level(make: Populations, threshold: float, found: int) -> RunError:
    scheme = make.scheme
    return RunError(
        f"sampling.levels: {scheme.levels} came, but beyond {found} of them {scheme.share:.3g} of "
        f"the paths and more have the same {scheme.variable}, {make.response.sign * threshold:g}, "
        f"so that no threshold leaves {scheme.share:.3g}; write levels: {max(found, 1)}, or choose "
        "a variable, a policy or a tail that goes on."
    )
