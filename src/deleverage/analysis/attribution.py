r"""What each cause contributed: exact Shapley values over all combinations of causes.

A game gives every coalition S of the causes N the measure v(S) of the outcome when exactly those
causes act. A cause's share is its mean marginal contribution over all orders of arrival,

$$\phi_i = \sum_{S \subseteq N \setminus i} \frac{|S|!\,(n-|S|-1)!}{n!}\,(v(S \cup i) - v(S))$$

and the interaction of two causes that of their joint effect beyond the single ones,

$$I_{ij} = \sum_{S \subseteq N \setminus ij} \frac{|S|!\,(n-|S|-2)!}{(n-1)!}\,
  (v(S \cup ij) - v(S \cup i) - v(S \cup j) + v(S))$$

Shares add up to v(N) - v(none). Source: Shapley 1953; Grabisch and Roubens 1999.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from deleverage.analysis.batches import Batched, batched, common
from deleverage.analysis.causation import necessary_and_sufficient
from deleverage.analysis.coalitions import Game, game
from deleverage.analysis.estimate import half_width, require_fraction
from deleverage.analysis.measures import Measure, Probability, Tail, by_name
from deleverage.analysis.samples import gather
from deleverage.analysis.shares import unseen

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["decompose", "necessary_and_sufficient", "shapley"]

METHOD = (
    "exact Shapley values over all combinations; error of the combined influence functions over "
    "batches of paths; normal interval (of a probability that every path splits alike, a bound on "
    "the paths that may do otherwise)"
)


def shapley(
    source: Any,
    measure: str | Measure = "mean",
    variable: str | None = None,
    q: float | None = None,
    tail: Tail = "upper",
    above: float | None = None,
    below: float | None = None,
    selection: Mapping[str, object] | None = None,
    causes: Sequence[str] | None = None,
    level: float = 0.95,
) -> xr.Dataset:
    """Shares of every cause in the change of a measure from no cause to all, with errors.

    Args:
        source: A run whose config names causes; or outcomes by coalition, a mapping of the causes
            that act (a frozenset of names) to values `[path]` on common draws, all 2^k of them.
        measure: Name of the measure, as of `tail.difference`, or a measure itself.
        variable: Variable of the run.
        q: Level of a quantile or an expected shortfall.
        tail: Tail of an expected shortfall.
        above: Threshold of a probability.
        below: Threshold of a probability.
        selection: Labels by dimension, such as `{"market": "exchange/USDe/spot"}`; dimensions
            that are left are summed over.
        causes: Names in order, where the source is a mapping (default sorted).
        level: Level of the intervals.

    Returns:
        Over `cause`: `share`; over `cause` and `other`: `interaction` (NaN on the diagonal);
        alone: `total`, `with_none`, `with_all`; each with `_standard_error`, `_lower` and
        `_upper`. Over `coalition`: `estimate` and `estimate_standard_error`.

    Raises:
        ConfigError: The run has no causes, a combination is missing, or a level is not one.
    """
    what = measure if isinstance(measure, Measure) else by_name(measure, q, tail, above, below)
    found = game(source, variable, selection, causes)
    return decompose(found, batched(found.outcome, what), what, level)


def decompose(found: Game, measured: Batched, what: Measure, level: float = 0.95) -> xr.Dataset:
    """Shares and interactions of a game whose coalitions have been measured, in binary order."""
    import xarray as xr

    half = half_width(require_fraction("level", level), measured.degrees)
    count = len(found.causes)
    unit = {"units": found.units} if found.units and what.name != "probability" else {}
    data: dict[str, Any] = {}

    together = common(found.outcome)
    missed = 0.0
    if isinstance(what, Probability):
        missed = min(unseen(together.parts.sample(np.zeros(together.paths)), level), 1.0)

    def put(name: str, dims: tuple[str, ...], values: np.ndarray, errors: np.ndarray) -> None:
        # What is alike on every path may be otherwise on those that were not drawn: by up to 1.
        width = np.where(errors == 0.0, missed * (1.0 + np.abs(values)), half * errors)
        ends = values - width, values + width
        if missed and name != "interaction":  # chances, and their differences
            least = 0.0 if name.startswith("with") else -1.0
            ends = np.clip(ends[0], least, 1.0), np.clip(ends[1], least, 1.0)
        numbers = (values, errors, *ends)
        for end, number in zip(("", "_standard_error", "_lower", "_upper"), numbers, strict=True):
            data[f"{name}{end}"] = (dims, number, unit)

    put("share", ("cause",), *measured.combined(share_coefficients(count)))
    ends = np.zeros((3, 2**count))
    ends[0, -1] = ends[1, 0] = ends[2, -1] = 1.0
    ends[2, 0] -= 1.0
    values, errors = measured.combined(ends)
    for i, name in enumerate(("with_all", "with_none", "total")):
        put(name, (), values[i], errors[i])
    matrix = np.full((2, count, count), math.nan)
    pairs = list(combinations(range(count), 2))
    for number, error, (i, j) in zip(
        *measured.combined(interaction_coefficients(count)), pairs, strict=True
    ):
        matrix[:, i, j] = matrix[:, j, i] = number, error
    put("interaction", ("cause", "other"), *matrix)
    data["estimate"] = ("coalition", measured.values, unit)
    errors = np.sqrt(np.diag(measured.covariance()))
    data["estimate_standard_error"] = ("coalition", errors, unit)
    return xr.Dataset(
        data,
        coords={
            "cause": np.array(found.causes, dtype=np.str_),
            "other": ("other", np.array(found.causes, dtype=np.str_)),
            "coalition": np.array(found.labels, dtype=np.str_),
        },
        attrs={
            "measure": what.name,
            "level": level,
            "method": METHOD,
            "paths": measured.paths,
            "missing": found.outcome.sizes["path"] - measured.paths,
            "flagged": int(gather(found.outcome).flagged().sum()),
            **({"variable": found.variable} if found.variable else {}),
            **({"thin_tail": "too few points"} if measured.support < what.least_points else {}),
        },
    )


def share_coefficients(count: int) -> np.ndarray:
    """Weights `[cause, coalition]` of the Shapley values; bit i of a coalition is cause i."""
    found = np.zeros((count, 2**count))
    for i in range(count):
        for coalition in _without(count, (i,)):
            size = coalition.bit_count()
            weight = 1.0 / (count * math.comb(count - 1, size))
            found[i, coalition | 1 << i] += weight
            found[i, coalition] -= weight
    return found


def interaction_coefficients(count: int) -> np.ndarray:
    """Weights `[pair, coalition]` of the interaction indices, pairs as `combinations` gives."""
    pairs = list(combinations(range(count), 2))
    found = np.zeros((len(pairs), 2**count))
    for row, (i, j) in enumerate(pairs):
        for coalition in _without(count, (i, j)):
            size = coalition.bit_count()
            weight = 1.0 / ((count - 1) * math.comb(count - 2, size))
            found[row, coalition | 1 << i | 1 << j] += weight
            found[row, coalition | 1 << i] -= weight
            found[row, coalition | 1 << j] -= weight
            found[row, coalition] += weight
    return found


def _without(count: int, causes: Iterable[int]) -> Iterable[int]:
    barred = sum(1 << i for i in causes)
    return (coalition for coalition in range(2**count) if not coalition & barred)
