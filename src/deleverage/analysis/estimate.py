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


class Estimate(NamedTuple):
    """A number with its standard error and its interval, in the unit of the outcome."""

    value: float
    standard_error: float
    lower: float
    upper: float


NOTHING = Estimate(math.nan, math.nan, math.nan, math.nan)


class Sample(NamedTuple):
    """The values of one outcome, `[path]` float64 without NaN, and their likelihood ratios.

    `weights` is None for plain sampling. Otherwise it is `exp(log_weight)`, whose expectation
    under the sampled law is 1. The weights are not normalised by their sum: that sum is known in
    expectation, and dividing by it ruins a shift far into the tail (P(Z < -4) at shift -4).
    """

    values: np.ndarray
    weights: np.ndarray | None = None

    @property
    def size(self) -> int:
        """Number of paths."""
        return self.values.size


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


def standard_normal_quantile(level: float) -> float:
    """Half width, in standard errors, of the two-sided normal interval of this level."""
    from scipy.special import ndtri

    return float(ndtri(0.5 + level / 2.0))


def from_normal(value: float, standard_error: float, level: float) -> Estimate:
    """The estimate with its normal interval; without an interval where there is no error."""
    half = standard_normal_quantile(level) * standard_error
    return Estimate(value, standard_error, value - half, value + half)


def error_of_mean(terms: np.ndarray) -> float:
    """Standard error of the mean of independent terms `[path]`; NaN for a single one."""
    if terms.size < 2:
        return math.nan
    with np.errstate(invalid="ignore"):  # an infinite outcome has no error
        return float(np.std(terms, ddof=1) / math.sqrt(terms.size))
