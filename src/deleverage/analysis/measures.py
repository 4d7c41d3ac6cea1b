"""The four measures of one sample: mean, quantile, expected shortfall, probability.

Each has the same four methods. `estimate` gives the value with its error and interval, `on_event`
that of weighted paths of an event, `influence` the value with one term a path whose mean error is
the value's error (paired differences subtract them), `support` how many points of the sample carry
it.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from deleverage.analysis import order_statistics
from deleverage.analysis.estimate import (
    LEAST_TAIL_POINTS,
    Estimate,
    Sample,
    degrees_of_freedom,
    error_of_mean,
    from_normal,
    require_fraction,
)
from deleverage.analysis.shares import as_if_plain, clopper_pearson, unseen
from deleverage.errors import ConfigError

Tail = Literal["upper", "lower"]


class Measure(ABC):
    """A number that summarises one outcome over its paths."""

    name: ClassVar[str]
    method: ClassVar[str]
    least_points: ClassVar[float] = LEAST_TAIL_POINTS
    """Support below which the sample is called too thin."""

    @abstractmethod
    def estimate(self, sample: Sample, level: float) -> Estimate:
        """The value with its standard error and its interval of this level."""

    def on_event(self, sample: Sample, level: float) -> Estimate:
        """The value of weighted paths that an event chose, with a normal interval.

        It is normalised by the weight of the event, which is estimated too: divided by it, the
        terms lose their own mean.
        """
        weights = _weights_of(sample)
        weights = weights / np.mean(weights)
        value, terms = self.influence(sample._replace(weights=weights))
        return sample.normal(value, terms - terms.mean() * weights, level)

    @abstractmethod
    def influence(self, sample: Sample) -> tuple[float, np.ndarray]:
        """The value and its influence function at each path, `[path]`, up to a constant."""

    @abstractmethod
    def support(self, sample: Sample) -> float:
        """Number of points beyond the level; infinite where the measure has none."""


@dataclass(frozen=True)
class Mean(Measure):
    """The expectation."""

    name = "mean"
    method = "mean; normal interval"

    def estimate(self, sample: Sample, level: float) -> Estimate:
        """The mean, the standard deviation over root n, and the normal interval."""
        value, terms = self.influence(sample)
        return sample.normal(value, terms, level)

    def influence(self, sample: Sample) -> tuple[float, np.ndarray]:
        """The mean and the (weighted) values themselves."""
        terms = sample.values if sample.weights is None else sample.values * sample.weights
        return float(np.mean(terms)), terms

    def support(self, sample: Sample) -> float:
        """Every point carries a mean."""
        return math.inf


@dataclass(frozen=True)
class Quantile(Measure):
    """The value that a share q of the paths does not exceed."""

    q: float
    name = "quantile"
    method = (
        "order statistic of rank ceil(n q); binomial interval (weighted or in blocks: that of as "
        "many plain paths as have the error of the distribution function); error from a "
        "Hall-Sheather density"
    )

    def __post_init__(self) -> None:
        """Refuse a level outside (0, 1)."""
        require_fraction("q", self.q)

    def estimate(self, sample: Sample, level: float) -> Estimate:
        """See `order_statistics.quantile`."""
        return order_statistics.quantile(sample, self.q, level)

    def influence(self, sample: Sample) -> tuple[float, np.ndarray]:
        """The quantile and `(q - 1{x <= quantile}) / density`, from the nearer tail."""
        place = order_statistics.locate(sample, self.q)
        weights = 1.0 if sample.weights is None else sample.weights
        if self.q >= 0.5:
            return place.value, weights * (sample.values > place.value) * place.sparsity
        return place.value, weights * (sample.values <= place.value) * -place.sparsity

    def support(self, sample: Sample) -> float:
        """Points beyond the quantile on its thinner side."""
        return _tail_points(sample, self.q, "upper" if self.q >= 0.5 else "lower")


@dataclass(frozen=True)
class ExpectedShortfall(Measure):
    r"""The mean of the worst share 1 - q, the boundary value with its fractional weight.

    $$ES_q = VaR_q + E(x - VaR_q)^+ / (1 - q)$$

    The worst are the largest values, or with `tail="lower"` the smallest (trough prices). Where a
    single path makes up the worst share, nothing tells the error: it and the interval are NaN.
    """

    q: float
    tail: Tail = "upper"
    name = "expected_shortfall"
    method = "mean of the worst share 1 - q; influence function and normal interval"

    def __post_init__(self) -> None:
        """Refuse a level outside (0, 1) and an unknown tail."""
        require_fraction("q", self.q)
        if self.tail not in ("upper", "lower"):
            raise ConfigError(
                f"tail is {self.tail!r}, but it must be 'upper' (large values are bad) or 'lower'."
            )

    def estimate(self, sample: Sample, level: float) -> Estimate:
        """The shortfall; its error is that of the mean of `(x - VaR)^+ / (1 - q)`."""
        if sample.is_plain:
            return from_normal(*self._from_partition(sample.values), level)
        return sample.normal(*self.influence(sample), level)

    def influence(self, sample: Sample) -> tuple[float, np.ndarray]:
        """The shortfall and `(x - VaR)^+ / (1 - q)`; the error of VaR itself cancels."""
        sign = self._sign
        upper = sample.of(sign * sample.values)
        boundary = order_statistics.locate(upper, self.q).value
        beyond = upper.values > boundary  # and not a difference of two infinities
        terms = np.zeros(sample.size)
        terms[beyond] = (upper.values[beyond] - boundary) / (1.0 - self.q)
        if sample.weights is not None:
            terms *= sample.weights
        value = sign * (boundary + float(np.mean(terms)))
        worst = upper.values >= boundary
        if sample.weights is not None:
            worst &= sample.weights > 0  # what weighs nothing tells nothing
        if np.count_nonzero(worst) == 1:
            terms = np.full(sample.size, math.nan)
        return value, sign * terms

    def support(self, sample: Sample) -> float:
        """Points in the worst share."""
        q = self.q if self.tail == "upper" else 1.0 - self.q
        return _tail_points(sample, q, self.tail)

    @property
    def _sign(self) -> float:
        return 1.0 if self.tail == "upper" else -1.0

    def _from_partition(self, values: np.ndarray) -> tuple[float, float]:
        """Value and error from the tail alone: one partition, no array of all influences."""
        count = values.size
        start = order_statistics.rank(count, self.q) - 1
        ordered = np.partition(self._sign * values, start)
        boundary = ordered[start]
        tail = ordered[start + 1 :]
        tail = tail[tail > boundary]
        excess = (tail - boundary) / (1.0 - self.q)
        mean = float(np.sum(excess)) / count
        value = self._sign * (float(boundary) + mean)
        alone = start == count - 1 and not np.any(ordered[:start] == boundary)
        if alone or not math.isfinite(mean):
            return value, math.nan
        squares = float(np.sum((excess - mean) ** 2)) + (count - excess.size) * mean**2
        return value, math.sqrt(squares / (count - 1) / count)


@dataclass(frozen=True)
class Probability(Measure):
    """The chance of an outcome strictly above, or strictly below, a threshold."""

    above: float | None = None
    below: float | None = None
    name = "probability"
    method = (
        "share of paths; Clopper-Pearson interval (weighted or in blocks: of as many plain paths "
        "as have its error, after Korn and Graubard; where nothing was hit, or on an event all, "
        "the weight of as many of the heaviest paths or blocks as may have been missed; in blocks "
        "that are all hit alike, a bound on the share of those that differ)"
    )

    def __post_init__(self) -> None:
        """Refuse both bounds at once, and none."""
        if (self.above is None) == (self.below is None):
            raise ConfigError(
                f"above is {self.above!r} and below is {self.below!r}, but a probability takes "
                "exactly one of them; write above=0 for 'more than nothing'."
            )

    def estimate(self, sample: Sample, level: float) -> Estimate:
        """The share, its error, and an interval that is exact for plain paths."""
        value, terms = self.influence(sample)
        if sample.is_plain:
            error = math.sqrt(value * (1.0 - value) / sample.size)
            return Estimate(
                value, error, *clopper_pearson(int(np.count_nonzero(terms)), sample.size, level)
            )
        normal = sample.normal(value, terms, level)
        if sample.weights is None and normal.standard_error == 0.0 and value not in (0.0, 1.0):
            # Where all blocks are hit alike, one that differs is taken to do so by a path.
            count = degrees_of_freedom(sample.blocks) + 1
            width = unseen(sample, level) * count / sample.size
            return normal._replace(lower=max(value - width, 0.0), upper=min(value + width, 1.0))
        missed = terms[_weights_of(sample) > 0.0] == 0.0
        return _bounded(normal, sample, level, not missed.any())

    def on_event(self, sample: Sample, level: float) -> Estimate:
        """The share of the event's weight; all of it may be what was hit, or nothing."""
        weights = _weights_of(sample)
        chance, terms = self.influence(sample)
        mass = float(np.mean(weights))
        value = chance / mass  # exactly 1 where all weight is hit
        normal = sample.normal(value, (terms - value * weights) / mass, level)
        return _bounded(normal, sample._replace(weights=weights / mass), level, value == 1.0)

    def hits(self, values: np.ndarray) -> np.ndarray:
        """On which paths it happened, bool `[path]`."""
        return values > self.above if self.above is not None else values < self.below

    def influence(self, sample: Sample) -> tuple[float, np.ndarray]:
        """The share and the (weighted) indicator of each path."""
        terms = self.hits(sample.values) * 1.0
        if sample.weights is not None:
            terms *= sample.weights
        return float(np.mean(terms)), terms

    def support(self, sample: Sample) -> float:
        """The interval says by itself how few the hits are."""
        return math.inf


def by_name(
    name: str | Measure,
    q: float | None = None,
    tail: Tail = "upper",
    above: float | None = None,
    below: float | None = None,
) -> Measure:
    """The measure of this name; a measure is handed back.

    Raises:
        ConfigError: The name is unknown, its argument is missing, or a threshold is not for it.
    """
    if isinstance(name, Measure):
        return name
    without = name in ("mean", "quantile", "expected_shortfall")
    if without and (above is not None or below is not None):
        given = "above" if above is not None else "below"
        raise ConfigError(
            f"`{given}` came beside the measure {name!r}; allowed is a threshold of a probability; "
            f"leave `{given}` out, or name the measure probability."
        )
    if name == "mean":
        return Mean()
    if name == "probability":
        return Probability(above, below)
    if name == "quantile":
        return Quantile(require_fraction("q", q))
    if name == "expected_shortfall":
        return ExpectedShortfall(require_fraction("q", q), tail)
    raise ConfigError(
        f"measure is {name!r}, but it must be one of mean, quantile, expected_shortfall, "
        "probability."
    )


def _weights_of(sample: Sample) -> np.ndarray:
    return np.ones(sample.size) if sample.weights is None else sample.weights


def _bounded(share: Estimate, sample: Sample, level: float, all_hit: bool) -> Estimate:
    """A share, weighted or in blocks, with an interval inside [0, 1]."""
    if share.value == 0.0:
        return share._replace(lower=0.0, upper=min(unseen(sample, level), 1.0))
    if all_hit:  # how much weight was drawn says nothing of what was not
        lower = max(1.0 - unseen(sample, level), 0.0)
        return share._replace(lower=min(lower, share.value), upper=1.0)
    if share.value < 1.0 and share.standard_error > 0.0:
        lower, upper = as_if_plain(share.value, share.standard_error, sample, level)
        return share._replace(lower=lower, upper=upper)
    return share._replace(lower=max(share.lower, 0.0), upper=min(share.upper, 1.0))


def _tail_points(sample: Sample, q: float, tail: Tail) -> float:
    """Points beyond the quantile q; with weights, as many equal ones as are as informative."""
    if sample.weights is None:
        return sample.size * (1.0 - q if tail == "upper" else q)
    boundary = order_statistics.locate(sample, q).value
    beyond = sample.values >= boundary if tail == "upper" else sample.values <= boundary
    points = sample.on(beyond).effective_size
    if sample.blocks is None:
        return points
    # Paths of one block may be offspring of a few: no more points than have this relative error.
    terms = beyond * sample.weights
    error = error_of_mean(terms, sample.blocks)
    return min(points, float(np.mean(terms)) ** 2 / error**2) if error > 0.0 else points
