"""What every measure returns, and the sample it reads: one policy's outcome over its paths."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from deleverage.errors import ConfigError

LEAST_TAIL_POINTS = 10
"""Fewer points than this beyond a quantile do not support it: `ThinTailWarning`."""


class ThinTailWarning(UserWarning):
    """The sample has too few points beyond the asked level to estimate it well."""


class UnevenWeightsWarning(UserWarning):
    """Few paths carry most of the weight, so that what is not rare is estimated badly."""


class Estimate(NamedTuple):
    """A number with its standard error and its interval, in the unit of the outcome."""

    value: float
    standard_error: float
    lower: float
    upper: float


NOTHING = Estimate(math.nan, math.nan, math.nan, math.nan)


class Sample(NamedTuple):
    """The values of one outcome, `[path]` float64 without NaN, their likelihood ratios, blocks.

    `weights` is None for plain sampling. Otherwise it is `exp(log_weight)`, whose expectation
    under the sampled law is 1. The weights are not normalised by their sum: that sum is known in
    expectation, and dividing by it ruins a shift far into the tail (P(Z < -4) at shift -4).

    `blocks` is None where paths are drawn each by itself. Otherwise it numbers the block that each
    path was drawn with, in order (antithetic pairs, replicates of strata and of Sobol points):
    blocks are independent, and their sums are what errors come from.
    """

    values: np.ndarray
    weights: np.ndarray | None = None
    blocks: np.ndarray | None = None

    @property
    def size(self) -> int:
        """Number of paths."""
        return self.values.size

    @property
    def effective_size(self) -> float:
        """As many equal paths as are worth as much."""
        return float(self.size) if self.weights is None else effective_number(self.weights)

    @property
    def is_plain(self) -> bool:
        """Whether the paths are independent and weigh alike: exact intervals hold."""
        return self.weights is None and self.blocks is None

    def of(self, values: np.ndarray) -> Sample:
        """Other values of the same paths."""
        return self._replace(values=values)

    def on(self, among: np.ndarray) -> Sample:
        """Some of the paths, by a mask."""
        return Sample(*(None if part is None else part[among] for part in self))

    def normal(self, value: float, terms: np.ndarray, level: float) -> Estimate:
        """A value with the error of the mean of its terms `[path]`, and its interval."""
        return from_normal(
            value, error_of_mean(terms, self.blocks), level, degrees_of_freedom(self.blocks)
        )


def require_fraction(name: str, value: float | None) -> float:
    """A level strictly between 0 and 1.

    Raises:
        ConfigError: It is missing or outside (0, 1).
    """
    if isinstance(value, (int, float, np.number)) and 0.0 < float(value) < 1.0:
        return float(value)
    raise ConfigError(
        f"{name} is {value!r}, but a level must lie strictly between 0 and 1; "
        f"for the worst hundredth write {name}=0.99."
    )


def half_width(level: float, degrees: float = math.inf) -> float:
    """Half width, in standard errors, of the two-sided interval of this level.

    Args:
        level: Level.
        degrees: Degrees of freedom of the error: Student's interval; infinite: the normal one.
    """
    from scipy.special import ndtri, stdtrit

    side = 0.5 + level / 2.0
    return float(ndtri(side) if math.isinf(degrees) else stdtrit(max(degrees, 1.0), side))


def from_normal(
    value: float, standard_error: float, level: float, degrees: float = math.inf
) -> Estimate:
    """The estimate with its normal interval; without an interval where there is no error."""
    half = half_width(level, degrees) * standard_error
    return Estimate(value, standard_error, value - half, value + half)


def error_of_mean(terms: np.ndarray, blocks: np.ndarray | None = None) -> float:
    r"""Standard error of the mean of terms `[path]`; NaN for a single one, or a single block.

    Terms of one block may depend on each other, those of two do not:

    $$\frac{B}{B - 1} \sum_b \Bigl(\sum_{p \in b} (x_p - \bar x) \Bigr)^2 / n^2$$

    Args:
        terms: Values or influence function, `[path]`.
        blocks: Block of each path, in order; None: each path is one.
    """
    if terms.size < 2:
        return math.nan
    with np.errstate(invalid="ignore"):  # an infinite outcome has no error
        if blocks is None:
            return float(np.std(terms, ddof=1) / math.sqrt(terms.size))
        sums = np.add.reduceat(terms - terms.mean(), block_starts(blocks))
        if sums.size < 2:
            return math.nan
        return math.sqrt(sums.size / (sums.size - 1) * float(sums @ sums)) / terms.size


def effective_number(weights: np.ndarray) -> float:
    r"""Equal paths that are worth as much for a mean as weighted ones: $(\sum w)^2 / \sum w^2$.

    Source: Kish 1965.
    """
    square = float(np.sum(weights**2))
    return float(np.sum(weights)) ** 2 / square if square > 0.0 else 0.0


def block_starts(blocks: np.ndarray) -> np.ndarray:
    """Where each block begins."""
    return np.flatnonzero(np.append(True, blocks[1:] != blocks[:-1]))


def degrees_of_freedom(blocks: np.ndarray | None) -> float:
    """Of an error from blocks: one less than there are; infinite where each path is one."""
    return math.inf if blocks is None or not blocks.size else block_starts(blocks).size - 1.0
