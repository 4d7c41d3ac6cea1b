r"""Quantiles and shortfalls beyond the sample: peaks over a threshold, and the tail index.

With a share $\zeta$ of the values above the threshold u and generalised Pareto excesses,

$$VaR_q = u + \frac{\beta}{\xi}\left(\left(\frac{\zeta}{1-q}\right)^{\xi} - 1\right), \qquad
  ES_q = \frac{VaR_q + \beta - \xi u}{1 - \xi}$$

Source: McNeil, Frey and Embrechts 2015, section 5.2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from deleverage.analysis import order_statistics, pareto
from deleverage.analysis.estimate import (
    NOTHING,
    Estimate,
    Sample,
    effective_number,
    require_fraction,
)
from deleverage.analysis.measures import Measure, Tail
from deleverage.errors import ConfigError

PeakMeasure = Literal["quantile", "expected_shortfall"]

LEAST_PEAKS = 30
"""With fewer excesses there is no estimate; of weighted ones as many as are worth as much."""

PEAK_SHARE = 0.05
"""Share of the values taken as peaks where nothing is said."""


class Fitted(NamedTuple):
    """The law of one sample's peaks; `sign` is -1 where the lower tail is the bad one."""

    sign: float
    threshold: float
    share: float
    shape: float
    scale: float
    above: np.ndarray  # bool, [path]
    excesses: np.ndarray  # [peak]
    weights: np.ndarray | None  # [peak]

    @property
    def effective(self) -> float:
        """As many equal peaks as are worth as much."""
        return self.excesses.size if self.weights is None else effective_number(self.weights)

    @property
    def is_regular(self) -> bool:
        """Whether the estimates have a normal law: the tail does not end too abruptly."""
        return self.shape > pareto.LEAST_SHAPE + 1e-3


@dataclass(frozen=True)
class PeaksOverThreshold(Measure):
    """The quantile or expected shortfall of level q by a generalised Pareto tail.

    Attributes:
        q: Level; 1 - q must not exceed the share of peaks.
        of: "quantile" or "expected_shortfall".
        tail: Which tail is the bad one; with "lower", 1 - q is still the share beyond.
        share: Share of the values taken as peaks, where no threshold is given.
        threshold: The threshold, in the unit of the outcome.
    """

    q: float
    of: PeakMeasure = "quantile"
    tail: Tail = "upper"
    share: float = PEAK_SHARE
    threshold: float | None = None
    least_points = 0.1  # ten times beyond the sample is as far as the law is believed
    method = (
        "generalised Pareto excesses by maximum likelihood; profile likelihood interval over "
        "shape and share of peaks (weighted or in blocks: normal interval of the influence "
        "function)"
    )

    def __post_init__(self) -> None:
        """Refuse levels outside (0, 1), and a level that lies below the threshold."""
        require_fraction("q", self.q)
        require_fraction("share", self.share)
        if self.of not in ("quantile", "expected_shortfall"):
            raise ConfigError(
                f"of is {self.of!r}, but it must be 'quantile' or 'expected_shortfall'."
            )
        if self.threshold is None and 1.0 - self.q > self.share:
            raise ConfigError(
                f"q is {self.q!r}, but the peaks are the outer {self.share:.3g} of the values and "
                "say nothing about what lies inside; take tail.quantile, or a larger share."
            )

    @property
    def name(self) -> str:  # type: ignore[override]
        """The name that tables show."""
        return f"{self.of} by peaks over threshold"

    def estimate(self, sample: Sample, level: float) -> Estimate:
        """The value, the error of its influence function, and the profile likelihood interval."""
        fitted = fit_peaks(sample, self.tail, self.share, self.threshold)
        if fitted is None or fitted.share < 1.0 - self.q:
            return NOTHING
        value, terms = self._influence(fitted, sample)
        if not fitted.is_regular or not math.isfinite(value):
            return NOTHING._replace(value=value)
        plain = sample.normal(value, terms, level)
        if not sample.is_plain:
            return plain
        ends = profile_interval(fitted, sample.size, self.q, self.of, level, plain.standard_error)
        low, high = sorted(fitted.sign * (fitted.threshold + end) for end in ends)
        return plain._replace(lower=low, upper=high)

    def influence(self, sample: Sample) -> tuple[float, np.ndarray]:
        """The value and its influence function, of shape, scale and share of peaks."""
        fitted = fit_peaks(sample, self.tail, self.share, self.threshold)
        if fitted is None or fitted.share < 1.0 - self.q:
            return math.nan, np.full(sample.size, math.nan)
        return self._influence(fitted, sample)

    def support(self, sample: Sample) -> float:
        """Points expected beyond the level; with fewer than one the law extrapolates.

        They are the share of the peaks beyond it of as many equal peaks as are worth as much.
        """
        peaks = fit_peaks(sample, self.tail, self.share, self.threshold, only_threshold=True)
        if peaks is None:
            return 0.0
        return peaks.effective * min((1.0 - self.q) / peaks.share, 1.0)

    def _influence(self, fitted: Fitted, sample: Sample) -> tuple[float, np.ndarray]:
        ratio = fitted.share / (1.0 - self.q)
        excess = _EXCESS[self.of]
        value = fitted.sign * (fitted.threshold + fitted.scale * excess(fitted.shape, ratio))
        by_shape = _slope(lambda shape: excess(shape, ratio), fitted.shape)
        by_ratio = _slope(lambda r: excess(fitted.shape, r), ratio, relative=True)
        with np.errstate(invalid="ignore", divide="ignore"):
            on_shape, on_scale = pareto.influence(fitted.excesses, fitted.shape, fitted.scale)
            peaks = (
                fitted.scale * by_shape * on_shape + excess(fitted.shape, ratio) * on_scale
            ) / fitted.share + fitted.scale * by_ratio / (1.0 - self.q)
        terms = np.zeros(sample.size)
        terms[fitted.above] = peaks if fitted.weights is None else peaks * fitted.weights
        return value, fitted.sign * terms


@dataclass(frozen=True)
class TailIndex(Measure):
    r"""Hill's estimate of the index $\alpha$ of a tail $P(x > y) \sim y^{-\alpha}$.

    $$1/\hat\alpha = \frac1k \sum_{i \le k} \log(x_{(n-i+1)} / x_{(n-k)})$$

    Its interval is that of a Pareto tail, exact there: $2 k \alpha / \hat\alpha$ is chi-squared
    with 2k degrees of freedom. Source: Hill 1975.
    """

    share: float = PEAK_SHARE
    name = "tail_index"
    method = "Hill; chi-squared interval (weighted or in blocks: normal interval)"

    def __post_init__(self) -> None:
        """Refuse a share outside (0, 1)."""
        require_fraction("share", self.share)

    def estimate(self, sample: Sample, level: float) -> Estimate:
        """The index, its error and interval; nothing where the tail has no positive values."""
        fitted = self._peaks(sample)
        if fitted is None:
            return NOTHING
        value, terms = self._influence(fitted, sample)
        if not sample.is_plain:
            return sample.normal(value, terms, level)
        from scipy.special import gammaincinv

        peaks = fitted.excesses.size
        miss = (1.0 - level) / 2.0
        ends = (float(gammaincinv(peaks, side)) / peaks for side in (miss, 1.0 - miss))
        low, high = (value * end for end in ends)
        return Estimate(value, value / math.sqrt(peaks), low, high)

    def influence(self, sample: Sample) -> tuple[float, np.ndarray]:
        r"""The index and $\alpha (1 - \alpha \log(x/u)) / \zeta$ above the threshold."""
        fitted = self._peaks(sample)
        if fitted is None:
            return math.nan, np.full(sample.size, math.nan)
        return self._influence(fitted, sample)

    def support(self, sample: Sample) -> float:
        """The peaks; NaN is given below `LEAST_PEAKS` of them."""
        return math.inf

    def _peaks(self, sample: Sample) -> Fitted | None:
        fitted = fit_peaks(sample, "upper", self.share, None, only_threshold=True)
        return None if fitted is None or fitted.threshold <= 0.0 else fitted

    def _influence(self, fitted: Fitted, sample: Sample) -> tuple[float, np.ndarray]:
        logs = np.log1p(fitted.excesses / fitted.threshold)
        mean = float(np.average(logs, weights=fitted.weights))
        peaks = (1.0 - logs / mean) / mean / fitted.share
        terms = np.zeros(sample.size)
        terms[fitted.above] = peaks if fitted.weights is None else peaks * fitted.weights
        return 1.0 / mean, terms


_EXCESS = {"quantile": pareto.quantile_excess, "expected_shortfall": pareto.shortfall_excess}


def fit_peaks(
    sample: Sample,
    tail: Tail = "upper",
    share: float = PEAK_SHARE,
    threshold: float | None = None,
    *,
    only_threshold: bool = False,
) -> Fitted | None:
    """The law of the peaks of one sample; None where fewer than `LEAST_PEAKS` exceed.

    Weighted peaks count as so many equal ones as are worth as much.
    """
    sign = 1.0 if tail == "upper" else -1.0
    values = sign * sample.values
    level = (
        order_statistics.locate(sample.of(values), 1.0 - share).value
        if threshold is None
        else sign * threshold
    )
    above = values > level
    peaks = sample.on(above)
    if peaks.effective_size < LEAST_PEAKS or not np.all(np.isfinite(peaks.values)):
        return None
    excesses = values[above] - level
    weights = peaks.weights
    mass = above.mean() if weights is None else float(np.sum(weights)) / sample.size
    shape = scale = math.nan
    if not only_threshold:
        found = pareto.fit(excesses, weights)
        shape, scale = float(found[0]), float(found[1])
    return Fitted(sign, level, float(mass), shape, scale, above, excesses, weights)


def profile_interval(
    fitted: Fitted, count: int, q: float, of: PeakMeasure, level: float, error: float
) -> tuple[float, float]:
    """Excesses whose best likelihood is within half a chi-squared quantile of the best of all.

    The shape and the share of peaks are maximised over; the scale follows from the excess asked.
    An end that the likelihood does not bound is infinite.
    """
    from scipy.optimize import brentq, minimize
    from scipy.special import ndtri

    peaks, excess = fitted.excesses.size, _EXCESS[of]

    def cost(at: float, shape: float, share: float) -> float:
        if not (pareto.LEAST_SHAPE < shape < 5.0 and 1.0 - q < share < 1.0):
            return math.inf
        unit = excess(shape, share / (1.0 - q))
        if not math.isfinite(unit):
            return math.inf
        binomial = peaks * math.log(share) + (count - peaks) * math.log1p(-share)
        return -pareto.log_likelihood(fitted.excesses, shape, at / unit) - binomial

    best_at = fitted.scale * excess(fitted.shape, fitted.share / (1.0 - q))
    least = cost(best_at, fitted.shape, fitted.share)
    allowed = float(ndtri(0.5 + level / 2.0)) ** 2 / 2.0
    steps = np.array([(1.0 + fitted.shape) / math.sqrt(peaks), 0.5 / math.sqrt(peaks)])

    def side(direction: float) -> float:
        place = np.array([fitted.shape, math.log(fitted.share)])

        def beyond(at: float) -> float:
            # Each search begins where the one before ended: the ends are approached in order.
            nonlocal place
            simplex = place + np.array([[0.0, 0.0], [steps[0], 0.0], [0.0, steps[1]]])
            found = minimize(
                lambda z: cost(at, z[0], math.exp(z[1])),
                place,
                method="Nelder-Mead",
                options={"initial_simplex": simplex, "xatol": 1e-5, "fatol": 1e-5},
            )
            place = found.x if math.isfinite(found.fun) else place
            return float(found.fun) - least - allowed

        step, at = 1.5 * error, best_at
        for _ in range(12):
            inner, at = at, at + direction * step
            if at <= 0.0:
                return 0.0
            if beyond(at) > 0.0:
                return float(brentq(beyond, *sorted((inner, at)), xtol=1e-4 * error))
            step *= 1.5
        return direction * math.inf

    return side(-1.0), side(1.0)


def _slope(function: object, at: float, relative: bool = False) -> float:
    """Central difference; the functions are smooth formulas of two numbers."""
    step = 1e-5 * (at if relative else 1.0)
    high, low = function(at + step), function(at - step)  # type: ignore[operator]
    return (high - low) / (2.0 * step) if math.isfinite(high) and math.isfinite(low) else math.nan
