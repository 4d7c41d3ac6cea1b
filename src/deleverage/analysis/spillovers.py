r"""What one part of the system does in another's worst paths: CoVaR and marginal shortfall.

Both are functionals of the paths on which a condition x lies in its worst share, $x > v$ with
$P(x > v) = 1 - p$. The quantile v is estimated too, and that enters the errors: for a conditional
mean $m$ the influence function is

$$\frac{1}{1-p}\left(1_{x>v}\,(y - m) - (E(y \mid x = v) - m)\,(1_{x>v} - (1-p))\right)$$

and for a quantile the same of its indicator over its density, as $1_{y > c}$ has the mean $1 - q$.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from deleverage.analysis import order_statistics
from deleverage.analysis.estimate import Sample, require_fraction
from deleverage.analysis.measures import Quantile, Tail
from deleverage.analysis.samples import gather, require_condition
from deleverage.analysis.thin import note_points
from deleverage.errors import ConfigError

if TYPE_CHECKING:
    import xarray as xr

Influence = Callable[[Sample, Sample], tuple[float, np.ndarray, float]]

CENTRE = (0.25, 0.75)
"""The ordinary state that delta-CoVaR compares with: the middle half of the condition."""


def covar(
    x: xr.DataArray,
    given: xr.DataArray,
    q: float = 0.95,
    p: float | None = None,
    tail: Tail = "upper",
    level: float = 0.95,
) -> xr.Dataset:
    r"""CoVaR: the quantile of level q of `x` on the paths on which `given` is beyond its own.

    $$P(x > CoVaR \mid g > VaR_p(g)) = 1 - q$$

    Args:
        x: An outcome with the dimension `path`; large values are bad, or with `tail="lower"` small.
        given: Another outcome with the same dimensions.
        q: Level of the quantile of `x`.
        p: Level of the condition, default q.
        tail: Which tail of both is the bad one.
        level: Level of the interval.

    Source: Adrian and Brunnermeier 2016, in the form of Girardi and Ergün 2013 and of Mainik and
    Schaanning 2014, who condition on values beyond VaR.
    """
    q, p = require_fraction("q", q), require_fraction("p", q if p is None else p)
    return _spillover("CoVaR", x, given, lambda y, g: _quantile(y, g, q, p), (q, p), tail, level)


def delta_covar(
    x: xr.DataArray,
    given: xr.DataArray,
    q: float = 0.95,
    p: float | None = None,
    tail: Tail = "upper",
    level: float = 0.95,
) -> xr.Dataset:
    """CoVaR less the same quantile of `x` where `given` is in its middle half.

    Arguments as of `covar`. Source: Adrian and Brunnermeier 2016; an ordinary state around the
    centre instead of a single point, as in Girardi and Ergün 2013.
    """
    q, p = require_fraction("q", q), require_fraction("p", q if p is None else p)

    def both(y: Sample, g: Sample) -> tuple[float, np.ndarray, float]:
        worst, terms, points = _quantile(y, g, q, p)
        calm, calm_terms, calm_points = _quantile_between(y, g, q, *CENTRE)
        return worst - calm, terms - calm_terms, min(points, calm_points)

    return _spillover("delta CoVaR", x, given, both, (q, p), tail, level)


def marginal_expected_shortfall(
    x: xr.DataArray,
    given: xr.DataArray | None = None,
    dim: str | None = None,
    q: float = 0.95,
    tail: Tail = "upper",
    level: float = 0.95,
) -> xr.Dataset:
    """Mean of `x` on the worst paths of another outcome, or of its own sum over `dim`.

    Args:
        x: An outcome with the dimension `path`.
        given: Another outcome whose dimensions are among those of `x`.
        dim: Instead of `given`: the condition is the sum of `x` over this dimension. The measures
            over it then add up to the expected shortfall of the sum.
        q: Level of the condition.
        tail: Which tail of the condition is the bad one.
        level: Level of the interval.

    Source: Acharya, Pedersen, Philippon and Richardson 2017.
    """
    q = require_fraction("q", q)
    if (given is None) == (dim is None) or (dim is not None and dim not in x.dims):
        raise ConfigError(
            f"given is {'missing' if given is None else 'there'} and dim is {dim!r}, but exactly "
            f"one is needed, dim among {', '.join(map(str, x.dims))}."
        )
    if given is None:
        given = x.sum(dim, skipna=False)
    name = "marginal expected shortfall"
    return _spillover(name, x, given, lambda y, g: _mean(y, g, q), (None, q), tail, level)


def _spillover(
    name: str,
    x: xr.DataArray,
    given: xr.DataArray,
    what: Influence,
    levels: tuple[float | None, float],
    tail: Tail,
    level: float,
) -> xr.Dataset:

    if tail not in ("upper", "lower"):
        raise ConfigError(f"tail is {tail!r}, but it must be 'upper' or 'lower'.")
    level = require_fraction("level", level)
    require_condition(x, given)
    sign = 1.0 if tail == "upper" else -1.0
    condition = given.reset_coords(drop=True).broadcast_like(x).transpose(*x.dims)
    result = gather(x, condition)
    for place, one, other in result.pairs(least=2):
        y, g = (x.of(sign * x.values) for x in (one, other))
        value, terms, points = what(y, g)
        result.put(place, y.normal(sign * value, terms, level), one.size)
        result.note_support(points)
    dataset = result.dataset()
    q, p = levels
    dataset.attrs.update(
        measure=name,
        level=level,
        tail=tail,
        method="influence function, the estimated condition included; normal interval",
        p=p,
        **({} if q is None else {"q": q}),
    )
    of = [one for one in levels if one is not None]
    return note_points(dataset, name, result.support, of, stacklevel=4)


def _mean(y: Sample, g: Sample, p: float) -> tuple[float, np.ndarray, float]:
    beyond, weight = _beyond(g, p)
    # ties at the condition's quantile: what is beyond may be less than its share
    share = float(np.mean(weight))
    if share == 0.0:
        return math.nan, np.full(y.size, math.nan), 0.0
    value = float(np.mean(weight * y.values)) / share
    near = _near(y.values, y.weights, g, p) - value
    terms = (weight * (y.values - value) - near * (weight - share)) / share
    return value, terms, y.on(beyond).effective_size


def _quantile(y: Sample, g: Sample, q: float, p: float) -> tuple[float, np.ndarray, float]:
    beyond, weight = _beyond(g, p)
    share = float(np.mean(weight))
    if np.count_nonzero(weight) < 2:
        return math.nan, np.full(y.size, math.nan), 0.0
    place = order_statistics.locate(_among(y, beyond), q)
    above = (y.values > place.value) * 1.0
    near = _near(above, y.weights, g, p) - (1.0 - q)
    terms = (weight * (above - (1.0 - q)) - near * (weight - share)) / share * place.sparsity
    return place.value, terms, Quantile(q).support(_among(y, beyond))


def _quantile_between(
    y: Sample, g: Sample, q: float, low: float, high: float
) -> tuple[float, np.ndarray, float]:
    """The quantile of y where g lies between two of its quantiles."""
    (_, below), (_, above_high) = _beyond(g, low), _beyond(g, high)
    weight = below - above_high
    among = weight > 0
    if np.count_nonzero(among) < 2:
        return math.nan, np.full(y.size, math.nan), 0.0
    share = float(np.mean(weight))
    place = order_statistics.locate(_among(y, among), q)
    above = (y.values > place.value) * 1.0
    terms = weight * (above - (1.0 - q))
    for sign, level, part in ((1.0, low, below), (-1.0, high, above_high)):
        near = _near(above, y.weights, g, level) - (1.0 - q)
        terms = terms - sign * near * (part - float(np.mean(part)))
    points = Quantile(q).support(_among(y, among))
    return place.value, terms / share * place.sparsity, points


def _among(y: Sample, among: np.ndarray) -> Sample:
    """Some of the paths, their weights made 1 on average."""
    kept = y.on(among)
    if kept.weights is None:
        return kept
    return kept._replace(weights=kept.weights / kept.weights.mean())


def _beyond(g: Sample, p: float) -> tuple[np.ndarray, np.ndarray]:
    """Whether the condition is beyond its quantile, and the likelihood ratio there."""
    boundary = order_statistics.locate(g, p).value
    beyond = g.values > boundary
    return beyond, beyond * (1.0 if g.weights is None else g.weights)


def _near(values: np.ndarray, weights: np.ndarray | None, g: Sample, p: float) -> float:
    """Mean of the values on the paths whose condition is about at its quantile."""
    half = order_statistics.bandwidth(g.size, p)
    ends = [order_statistics.locate(g, at).value for at in (p - half, p + half)]
    near = (g.values >= ends[0]) & (g.values <= ends[1])
    return float(np.average(values[near], weights=None if weights is None else weights[near]))
