r"""The generalised Pareto law of excesses over a threshold: likelihood, fit, tail numbers.

$$P(x - u > y \mid x > u) = (1 + \xi y / \beta)^{-1/\xi}$$

with shape $\xi$ and scale $\beta$ (the exponential law at $\xi = 0$). Source: Pickands 1975;
Davison and Smith 1990; Coles 2001, chapter 4.
"""

from __future__ import annotations

import math

import numpy as np

LEAST_SHAPE = -0.5
"""At and below this shape the maximum of the likelihood has no normal law (Smith 1985)."""

_GRID = np.linspace(-14.0, 34.0, 49)
"""Where the fit looks first: log(1 + theta max y), theta = shape / scale."""

_GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0
_ROUNDS = 36


def quantile_excess(shape: float, ratio: float) -> float:
    r"""$(r^\xi - 1)/\xi$: excess of the quantile over the threshold, in scales.

    Args:
        shape: $\xi$.
        ratio: Share of values above the threshold over the share above the quantile, at least 1.
    """
    return math.log(ratio) if abs(shape) < 1e-9 else math.expm1(shape * math.log(ratio)) / shape


def shortfall_excess(shape: float, ratio: float) -> float:
    r"""$((r^\xi - 1)/\xi + 1)/(1 - \xi)$: the same for the expected shortfall; infinite at 1."""
    return (quantile_excess(shape, ratio) + 1.0) / (1.0 - shape) if shape < 1.0 else math.inf


def log_likelihood(excesses: np.ndarray, shape: float, scale: float) -> float:
    """Log likelihood of excesses `[peak]`; minus infinity where one is beyond the law's end."""
    if scale <= 0.0:
        return -math.inf
    scaled = excesses / scale
    if abs(shape) < 1e-9:
        return -excesses.size * math.log(scale) - float(np.sum(scaled))
    if 1.0 + shape * float(scaled.max()) <= 0.0:
        return -math.inf
    total = float(np.sum(np.log1p(shape * scaled)))
    return -excesses.size * math.log(scale) - (1.0 + 1.0 / shape) * total


def fit(excesses: np.ndarray, weights: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    r"""Shape and scale of the greatest (weighted) likelihood, for each row at once.

    With $\theta = \xi/\beta$ the best shape is the mean of $\log(1 + \theta y)$, which leaves one
    unknown (Grimshaw 1993): a grid, then a golden section. Shapes stay above `LEAST_SHAPE`.

    Args:
        excesses: `[..., peak]`, positive.
        weights: Likelihood ratios, `[..., peak]`.

    Returns:
        Shape and scale, `[...]`.
    """
    largest = excesses.max(axis=-1)
    share = None if weights is None else weights / weights.sum(axis=-1, keepdims=True)

    def shape_at(place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        theta = np.expm1(place) / largest
        logs = np.log1p(theta[..., None] * excesses)
        return theta, (logs.mean(-1) if share is None else (logs * share).sum(-1))

    def likelihood(place: np.ndarray) -> np.ndarray:
        theta, shape = shape_at(place)
        with np.errstate(divide="ignore", invalid="ignore"):
            value = -np.log(shape / theta) - shape - 1.0
        return np.where(shape > LEAST_SHAPE, value, -np.inf)

    grid = _GRID + 1e-3  # no point at theta = 0, where shape / theta is a limit
    found = np.stack([likelihood(np.full(largest.shape, place)) for place in grid])
    best = grid[np.argmax(found, axis=0)]
    left, right = best - 1.0, best + 1.0
    low, high = right - _GOLDEN * (right - left), left + _GOLDEN * (right - left)
    at_low, at_high = likelihood(low), likelihood(high)
    for _ in range(_ROUNDS):
        keep_left = at_low >= at_high
        left, right = np.where(keep_left, left, low), np.where(keep_left, high, right)
        new = np.where(keep_left, right - _GOLDEN * (right - left), left + _GOLDEN * (right - left))
        low, high = np.where(keep_left, new, high), np.where(keep_left, low, new)
        at_new = likelihood(new)
        at_low, at_high = np.where(keep_left, at_new, at_high), np.where(keep_left, at_low, at_new)
    theta, shape = shape_at((left + right) / 2.0)
    flat = np.abs(theta * largest) < 1e-9
    mean = excesses.mean(-1) if share is None else (excesses * share).sum(-1)
    return shape, np.where(flat, mean, shape / np.where(flat, 1.0, theta))


def influence(excesses: np.ndarray, shape: float, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Influence of each excess `[peak]` on shape and scale: inverse information times score.

    The information is the expected one (Smith 1987), finite for shapes above `LEAST_SHAPE`.
    """
    scaled = excesses / scale
    stretched = 1.0 + shape * scaled
    ratio = scaled / stretched
    if abs(shape) < 1e-5:
        by_shape = scaled * scaled / 2.0 - scaled
    else:
        by_shape = np.log(stretched) / shape**2 - (1.0 + 1.0 / shape) * ratio
    by_scale = ((1.0 + shape) * ratio - 1.0) / scale
    grown = 1.0 + shape
    return (
        grown * (grown * by_shape - scale * by_scale),
        grown * (-scale * by_shape + 2.0 * scale**2 * by_scale),
    )


def cramer_von_mises(excesses: np.ndarray, shape: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Distance `[...]` of excesses `[..., peak]` from the law, by Cramér and von Mises."""
    ordered = np.sort(excesses, axis=-1) / np.asarray(scale)[..., None]
    shape = np.asarray(shape)[..., None]
    near = np.abs(shape) < 1e-9
    safe = np.where(near, 1.0, shape)
    inside = np.maximum(1.0 + safe * ordered, 0.0)
    with np.errstate(divide="ignore"):
        above = np.where(near, np.exp(-ordered), np.exp(-np.log(inside) / safe))
    count = ordered.shape[-1]
    expected = (np.arange(1, count + 1) - 0.5) / count
    return ((1.0 - above - expected) ** 2).sum(-1) + 1.0 / (12.0 * count)


def goodness_of_fit(excesses: np.ndarray, bootstraps: int = 199, most: int = 2000) -> float:
    """Chance of a Cramér-von Mises distance as large as this one under the fitted law.

    The law is fitted again to each bootstrap sample drawn from it, so the distance's law is that
    with estimated parameters (Choulakian and Stephens 2001). Of more than `most` excesses that
    many are taken at random: enough to refuse what matters, at a bounded cost.
    """
    generator = np.random.default_rng(0)
    if excesses.size > most:
        excesses = generator.choice(excesses, most, replace=False)
    shape, scale = fit(excesses[None])
    seen = cramer_von_mises(excesses[None], shape, scale)[0]
    xi = float(shape[0])
    exponential = generator.exponential(size=(bootstraps, excesses.size))
    drawn = float(scale[0]) * (exponential if abs(xi) < 1e-9 else np.expm1(xi * exponential) / xi)
    distances = cramer_von_mises(drawn, *fit(drawn))
    return (1 + int(np.count_nonzero(distances >= seen))) / (bootstraps + 1)
