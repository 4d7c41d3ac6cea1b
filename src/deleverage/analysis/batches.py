"""Influence functions of several samples on common paths, summed by batches of paths.

Whatever is linear in them (differences, Shapley shares, ranks) gets its error from a few hundred
numbers a policy, however many paths there are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from deleverage.analysis.estimate import Estimate, Sample, block_starts, degrees_of_freedom
from deleverage.analysis.measures import Measure
from deleverage.analysis.samples import PathParts, path_parts, rows
from deleverage.errors import ConfigError, RunError

if TYPE_CHECKING:
    import xarray as xr

BATCHES = 1000
"""Batches of consecutive paths; fewer where there are fewer paths."""

ROUNDING = 1e-14
"""Share of the values that may be left of a difference of them, and of its error, by rounding."""


class Batched(NamedTuple):
    """A measure of some samples that share their paths.

    Attributes:
        values: The measure of each sample, `[sample]`.
        terms: Its influence function by batches, `[sample, batch]`, each row centred on 0. The
            error of any linear combination is that of the mean of its combined row.
        support: Points beyond the level in the thinnest sample.
        paths: Paths that every sample has.
        degrees: Of freedom of the errors; infinite where paths are drawn each by itself.
        estimates: The measure of each sample alone with its error and interval, if asked for.
    """

    values: np.ndarray
    terms: np.ndarray
    support: float
    paths: int
    degrees: float = math.inf
    estimates: tuple[Estimate, ...] = ()

    def covariance(self) -> np.ndarray:
        """Covariance of the errors of the values, `[sample, sample]`."""
        count = self.terms.shape[-1]
        return self.terms @ self.terms.T / (count - 1) / count

    def errors_of_pairs(self) -> np.ndarray:
        """Error of the difference of each two values, `[sample, sample]`; 0 where none is left."""
        count = self.terms.shape[-1]
        size = np.abs(self.values)
        with np.errstate(invalid="ignore"):  # infinite outcomes have no error
            squares = np.stack([((row - self.terms) ** 2).sum(-1) for row in self.terms])
            errors = np.sqrt(squares / (count - 1) / count)
            return np.where(errors <= ROUNDING * (size[:, None] + size), 0.0, errors)

    def redrawn(self, draws: int) -> np.ndarray:
        """Errors of the values drawn again from their joint law, `[draw, sample]`.

        It is the normal law with their covariance, which Gaussian multipliers on the batches would
        give too; from few blocks the law of Student with as many degrees of freedom. The same
        numbers at every call; NaN where an error is not known.
        """
        generator = np.random.default_rng(0)
        covariance = self.covariance()
        if not np.isfinite(covariance).all():
            return np.full((draws, covariance.shape[0]), np.nan)
        powers, axes = np.linalg.eigh(covariance)
        root = axes * np.sqrt(np.maximum(powers, 0.0))
        drawn = generator.standard_normal((draws, powers.size)) @ root.T
        if math.isfinite(self.degrees):
            drawn /= np.sqrt(generator.chisquare(self.degrees, (draws, 1)) / self.degrees)
        return drawn

    def combined(self, coefficients: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Linear combinations `[row, sample]` of the values, and their errors, `[row]`."""
        count = self.terms.shape[-1]
        values, terms = coefficients @ self.values, coefficients @ self.terms
        errors = np.sqrt((terms**2).sum(-1) / (count - 1) / count)
        # What cancels leaves rounding behind: nothing is to read as nothing.
        rounding = ROUNDING * np.abs(coefficients) @ np.abs(self.values)
        return np.where(np.abs(values) <= rounding, 0.0, values), np.where(
            errors <= rounding, 0.0, errors
        )


class Common(NamedTuple):
    """Outcomes `[sample, path]` on the paths that every sample has."""

    outcome: xr.DataArray
    present: np.ndarray
    parts: PathParts

    @property
    def paths(self) -> int:
        """How many there are."""
        return int(np.count_nonzero(self.present))

    def samples(self) -> Iterator[Sample]:
        """All samples, in order."""
        return (self._of(row) for _, row in rows(self.outcome))

    def sample(self, place: int) -> Sample:
        """One of them."""
        return self._of(self.outcome[place].values)

    def _of(self, row: np.ndarray) -> Sample:
        return self.parts.sample(np.asarray(row, dtype=np.float64)[self.present])


def common(x: xr.DataArray, dim: str = "policy") -> Common:
    """The rows of `x`, dims `dim` and `path`, on the paths that none misses.

    Raises:
        ConfigError: `x` has other dimensions.
        RunError: Fewer than two paths are left.
    """
    if set(x.dims) != {dim, "path"}:
        raise ConfigError(
            f"the array has the dimensions {tuple(x.dims)}, but exactly {dim!r} and 'path' are "
            "needed here; select one label of the others, or sum over them."
        )
    x = x.transpose(dim, "path")
    parts = path_parts(x)
    # The rows are read twice when some value is missing: once to know on which paths.
    present = parts.present(x.isnull().any(dim).values)
    found = Common(x, present, parts.on(present))
    if found.paths < 2:
        raise RunError(
            f"{found.paths} path(s) have a value in every row, but an error needs at least 2; run "
            "more."
        )
    return found


def batched(
    x: xr.DataArray | Common, what: Measure, dim: str = "policy", level: float | None = None
) -> Batched:
    """The measure of each row of `x`, on the paths that none misses; see `common`.

    Args:
        x: Dims `dim` and `path`, or what `common` makes of them.
        what: The measure.
        dim: The dimension of samples.
        level: Of the intervals of `estimates`, where they are wanted.
    """
    rows_of = x if isinstance(x, Common) else common(x, dim)
    blocks = rows_of.parts.blocks
    values, terms, estimates, support = [], [], [], np.inf
    for sample in rows_of.samples():
        value, influence = what.influence(sample)
        support = min(support, what.support(sample))
        values.append(value)
        terms.append(batch_terms(influence, blocks=blocks))
        if level is not None:
            estimates.append(what.estimate(sample, level))
    return Batched(
        np.array(values),
        np.stack(terms),
        support,
        rows_of.paths,
        degrees_of_freedom(blocks),
        tuple(estimates),
    )


def batch_terms(
    terms: np.ndarray, batches: int = BATCHES, blocks: np.ndarray | None = None
) -> np.ndarray:
    """Terms `[path]` as centred terms `[batch]` whose mean has the same error.

    Batches differ by at most one path in length, or one block where paths were drawn in blocks,
    which are never split; centring first keeps that out of the error.
    """
    count = terms.size
    with np.errstate(invalid="ignore"):  # infinite outcomes have no error
        centred = terms - terms.mean()
    if blocks is not None:
        centred = np.add.reduceat(centred, block_starts(blocks))
    batches = min(batches, centred.size)
    edges = np.arange(batches) * centred.size // batches
    return np.add.reduceat(centred, edges) * (batches / count)
