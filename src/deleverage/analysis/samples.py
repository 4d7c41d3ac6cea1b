"""From a labelled outcome to one sample at a time, and from estimates back to a Dataset."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from deleverage.analysis.estimate import NOTHING, Estimate, Sample
from deleverage.errors import ConfigError, RunError
from deleverage.results.schema import DRAW_BLOCK, MISSING

if TYPE_CHECKING:
    import xarray as xr

Place = tuple[int, ...]

BY_PATH = ("status", "log_weight", DRAW_BLOCK)
"""Coordinates that a measure over paths reads, and takes with it."""

BLOCK_BYTES = 768 * 2**20
"""Outcomes up to this size are read at once, larger ones by blocks of chunks or single rows.

It holds 16 policies, the rows of a chunk, of 1e7 paths, which single rows would read 16 times."""


def require_paths(x: xr.DataArray) -> None:
    """Refuse what has no paths to measure.

    Raises:
        ConfigError: The array has no dimension `path`.
        RunError: It has fewer than two paths.
    """
    dims = getattr(x, "dims", ())
    if "path" not in dims:
        raise ConfigError(
            f"the array has the dimensions {tuple(dims)}, but a measure is taken over 'path'; "
            "pass an outcome such as run.outcomes.bad_debt."
        )
    if x.sizes["path"] < 2:
        raise RunError(
            f"the array has {x.sizes['path']} path(s), but an error needs at least 2; "
            "run more paths."
        )


def require_condition(x: xr.DataArray, given: xr.DataArray) -> None:
    """Refuse what cannot be a condition on an outcome.

    Raises:
        ConfigError: One of the two has no paths, or `given` has dimensions that `x` lacks.
        RunError: There are fewer than two paths.
    """
    for one in (x, given):
        require_paths(one)
    if not set(given.dims) <= set(x.dims):
        raise ConfigError(
            f"the condition has the dimensions {tuple(given.dims)}, but the outcome only "
            f"{tuple(x.dims)}; select one label of the others."
        )


def gather(*outcomes: xr.DataArray) -> Gathered:
    """An empty result over the dimensions other than `path` of outcomes of one shape."""
    return Gathered(outcomes)


class Gathered:
    """The estimates of every place (policy, market, ...) as they come in."""

    def __init__(self, outcomes: tuple[xr.DataArray, ...]) -> None:
        """Take outcomes that share dimensions and paths."""
        self._outcomes = [x.transpose(..., "path") for x in outcomes]
        self._shape = self._outcomes[0].shape[:-1]
        self._fields = {name: np.full(self._shape, math.nan) for name in Estimate._fields}
        self._paths = np.zeros(self._shape, dtype=np.int64)
        self._paths_are = path_parts(self._outcomes[0])
        self.support = math.inf

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the dimensions other than `path`."""
        return self._shape

    @property
    def dims(self) -> tuple[Hashable, ...]:
        """Their names."""
        return self._outcomes[0].dims[:-1]

    @property
    def coords(self) -> dict[Hashable, xr.DataArray]:
        """Labels that do not vary over paths."""
        return {
            name: coord
            for name, coord in self._outcomes[0].coords.items()
            if "path" not in coord.dims and name not in BY_PATH
        }

    def samples(self, least: int = 1) -> Iterator[tuple[Place, Sample]]:
        """Each place with its sample, NaN left out; one of fewer paths than `least` has no value.

        Args:
            least: Paths that a value needs.
        """
        for place, row in rows(self._outcomes[0]):
            (sample,) = _present((row,), self._paths_are)
            if self._suffices(place, sample.size, least):
                yield place, sample

    def pairs(self, least: int = 1) -> Iterator[tuple[Place, Sample, Sample]]:
        """Each place with its two samples on the paths that both have; `least` as in `samples`."""
        for place, (one, other) in self.together(least):
            yield place, one, other

    def together(self, least: int = 1) -> Iterator[tuple[Place, list[Sample]]]:
        """Each place with the samples of all outcomes on the paths that every one of them has."""
        for found in zip(*map(rows, self._outcomes), strict=True):
            place = found[0][0]
            samples = _present(tuple(row for _, row in found), self._paths_are)
            if self._suffices(place, samples[0].size, least):
                yield place, samples

    def _suffices(self, place: Place, paths: int, least: int) -> bool:
        if paths < least:
            self.put(place, NOTHING, paths)
        return paths >= least

    def put(self, place: Place, estimate: Estimate, paths: int) -> None:
        """Store one place; adding 0 turns a negative zero into zero."""
        for name, number in zip(Estimate._fields, estimate, strict=True):
            self._fields[name][place] = number + 0.0
        self._paths[place] = paths

    def note_support(self, points: float) -> None:
        """Keep the thinnest tail met."""
        self.support = min(self.support, points)

    def dataset(self) -> xr.Dataset:
        """The Dataset over the dimensions other than `path`."""
        import xarray as xr

        x = self._outcomes[0]
        dims = self.dims
        unit = {"units": x.attrs["units"]} if "units" in x.attrs else {}
        data = {
            ("estimate" if name == "value" else name): (dims, numbers, unit)
            for name, numbers in self._fields.items()
        }
        missing = x.sizes["path"] - self._paths
        data["paths"] = (dims, self._paths, {})
        data["missing"] = (dims, missing, {})
        data["flagged"] = (dims, self.flagged(), {})
        result = xr.Dataset(data, coords=self.coords)
        if x.name is not None:
            result.attrs["variable"] = str(x.name)
        if missing.any():
            result.attrs["missing"] = (
                f"{int(missing.sum())} of {missing.size * x.sizes['path']} values are missing and "
                "left out"
            )
        return result

    def flagged(self) -> np.ndarray:
        """Paths with a status other than 0 under any of the outcomes."""
        flags = None
        for x in self._outcomes:
            if "status" not in x.coords:
                continue
            status = x.coords["status"].reset_coords(drop=True)
            # A block not yet run reads as missing, which `missing` counts and no path raised.
            raised = (status != 0) & (status != MISSING) & status.notnull()
            flags = raised if flags is None else flags | raised
        if flags is None:
            return np.zeros(self._shape, dtype=np.int64)
        counted = flags.sum("path").transpose(
            *(dim for dim in self._outcomes[0].dims if dim in flags.dims and dim != "path")
        )
        target = self._outcomes[0].dims[:-1]
        shape = [self._shape[i] if dim in counted.dims else 1 for i, dim in enumerate(target)]
        return np.broadcast_to(counted.values.reshape(shape), self._shape).astype(np.int64)


def rows(x: xr.DataArray) -> Iterator[tuple[Place, np.ndarray]]:
    """Each place of an outcome `(..., path)` with its values `[path]`, in order.

    A large outcome is read by the chunks of its leading dimension (a chunk holds several policies,
    and is to be decompressed once), or row by row where it has none.
    """
    if x.ndim == 1 or x.nbytes <= BLOCK_BYTES:
        values = x.values
        for place in np.ndindex(values.shape[:-1]):
            yield place, values[place]
        return
    start = 0
    for length in _block_lengths(x):
        if length == 1:
            for place, row in rows(x[start]):
                yield (start, *place), row
        else:
            for place, row in rows(x[start : start + length]):
                yield (start + place[0], *place[1:]), row
        start += length


def _block_lengths(x: xr.DataArray) -> tuple[int, ...]:
    single = (1,) * x.shape[0]
    if x.chunks is None or len(x.chunks[0]) == 1:
        return single
    widest = max(x.chunks[0]) * (x.nbytes // x.shape[0])
    return x.chunks[0] if widest <= BLOCK_BYTES else single


def path_weights(x: xr.DataArray) -> np.ndarray | None:
    """Likelihood ratios `[path]`, or None where all are 1."""
    if "log_weight" not in x.coords:
        return None
    log_weight = x.coords["log_weight"]
    if log_weight.dims != ("path",):
        raise ConfigError(
            f"log_weight has the dimensions {log_weight.dims}, but policies share their draws: "
            "it must have the dimension 'path' alone."
        )
    weights = np.exp(log_weight.values.astype(np.float64))
    return None if np.all(weights == 1.0) else weights


def path_blocks(x: xr.DataArray | xr.Dataset) -> np.ndarray | None:
    """Block that each path was drawn with `[path]`, or None where each was drawn by itself.

    Raises:
        ConfigError: The blocks lie in disorder.
    """
    if DRAW_BLOCK not in x.coords:
        return None
    blocks = np.asarray(x.coords[DRAW_BLOCK].values)
    if np.any(blocks[1:] < blocks[:-1]):
        raise ConfigError(
            f"the paths lie in another order than they were drawn in, but {DRAW_BLOCK} says that "
            "they were drawn in blocks, from which errors come; sort them by path."
        )
    return blocks


class PathParts(NamedTuple):
    """What belongs to paths whatever the outcome, `[path]`; None where all are alike."""

    weights: np.ndarray | None
    blocks: np.ndarray | None

    def sample(self, values: np.ndarray) -> Sample:
        """A sample of values of these paths."""
        return Sample(values, *self)

    def on(self, among: np.ndarray) -> PathParts:
        """Those of some of the paths."""
        weights, blocks = (None if part is None else part[among] for part in self)
        if weights is not None and np.all(weights == 1.0):
            weights = None
        return PathParts(weights, blocks)

    def present(self, missing: np.ndarray) -> np.ndarray:
        """Paths that are not missing and have a weight."""
        return ~missing if self.weights is None else ~(missing | np.isnan(self.weights))


def path_parts(x: xr.DataArray) -> PathParts:
    """Weights and blocks of the paths of an outcome."""
    return PathParts(path_weights(x), path_blocks(x))


def _present(values: tuple[np.ndarray, ...], paths: PathParts) -> list[Sample]:
    """Samples in float64 on the paths where no value, nor the weight, is NaN."""
    numbers = [np.asarray(row, dtype=np.float64) for row in values]
    missing = np.zeros(numbers[0].shape, dtype=bool)
    for row in numbers:
        missing |= np.isnan(row)
    present = paths.present(missing)
    if present.all():
        return [paths.sample(row) for row in numbers]
    kept = paths.on(present)
    return [kept.sample(row[present]) for row in numbers]
