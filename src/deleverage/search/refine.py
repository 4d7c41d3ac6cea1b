"""Where to look next: points at which a surrogate of the objectives promises to push the front.

Each objective is interpolated over the points tried (cubic radial basis functions), and for each
new point another weighting of the objectives is minimised over the ranges by differential
evolution, both of SciPy. That is ParEGO's scheme (Knowles 2006) with radial basis functions in
place of kriging and a least distance to known points that cycles from wide to none, as in CORS
(Regis and Shoemaker 2005): the draws are common, so there is little noise to model.
"""

from __future__ import annotations

import numpy as np

SPREAD = 0.05
"""Weight of the sum beside the largest of the weighted objectives (Knowles 2006)."""

NEAREST = 2e-3
"""Least distance to a known point, in widths of the ranges."""

CYCLE = (1.0, 0.5, 0.25, 0.0)
"""Least distances of consecutive points, in halves of the mean spacing of those known."""

GENERATIONS, MEMBERS = 60, 12


def propose(
    points: np.ndarray, objectives: np.ndarray, on_front: np.ndarray, count: int, seed: list[int]
) -> np.ndarray:
    """New points, each the best of the surrogates under a weighting of its own.

    Args:
        points: Points tried, `[point, lever]`, as shares of the ranges.
        objectives: What they gave, `[point, objective]`; low is good.
        on_front: Which of them none beats, `[point]`.
        count: Number of new points.
        seed: Seeds of weights and optimiser.

    Returns:
        Shares of the ranges, `[count, lever]`.
    """
    from scipy.interpolate import RBFInterpolator
    from scipy.optimize import differential_evolution
    from scipy.spatial.distance import cdist

    scaled = scaled_to_front(objectives, on_front)
    surrogate = RBFInterpolator(points, scaled, kernel="cubic", degree=1)
    levers = points.shape[1]
    spacing = 0.5 * len(points) ** (-1.0 / levers)
    known = points
    for number, weight in enumerate(weightings(count, scaled.shape[1], seed)):
        nearest = max(NEAREST, spacing * CYCLE[number % len(CYCLE)])

        def badness(
            x: np.ndarray, known: np.ndarray = known, weight=weight, nearest: float = nearest
        ) -> np.ndarray:
            """Of candidates `[lever, candidate]`: what is too near a known point comes last."""
            weighted = weight * surrogate(x.T)
            short = np.maximum(1.0 - cdist(x.T, known).min(axis=1) / nearest, 0.0)
            return (
                weighted.max(axis=1) + SPREAD * weighted.sum(axis=1) + (10.0 + short) * (short > 0)
            )

        found = differential_evolution(
            badness,
            [(0.0, 1.0)] * levers,
            maxiter=GENERATIONS,
            popsize=MEMBERS,
            init="sobol",
            polish=False,
            updating="deferred",
            vectorized=True,
            rng=np.random.default_rng([*seed, number]),
        )
        known = np.vstack([known, found.x])
    return known[len(points) :]


def scaled_to_front(objectives: np.ndarray, on_front: np.ndarray) -> np.ndarray:
    """Objectives as shares of what they range over on the front, 0 at its best.

    Beyond the front's worst and the median of all, values are cut off: they only say "not here",
    and their height would bend the surrogates elsewhere (Gutmann 2001).
    """
    best, worst = (end(objectives[on_front], axis=0) for end in (np.min, np.max))
    width = np.where(worst > best, worst - best, np.ptp(objectives, axis=0))
    scaled = (objectives - best) / np.where(width > 0, width, 1.0)
    return np.minimum(scaled, np.maximum(np.median(scaled, axis=0), 1.0))


def weightings(count: int, objectives: int, seed: list[int]) -> np.ndarray:
    """Weights that sum to 1, spread evenly over all there are, `[count, objective]`."""
    from scipy.stats import qmc

    sampler = qmc.Sobol(objectives, scramble=True, rng=np.random.default_rng(seed))
    spread = -np.log1p(-sampler.random_base2(max(count - 1, 1).bit_length())[:count])
    return spread / spread.sum(axis=1, keepdims=True)
