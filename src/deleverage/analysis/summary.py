"""The tail table of a run: the standard quantities of every policy, each with its error."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from deleverage.analysis import tail
from deleverage.analysis.estimate import (
    ThinTailWarning,
    UnevenWeightsWarning,
    block_starts,
    effective_number,
)
from deleverage.analysis.held import IN_MEMORY_BYTES, held
from deleverage.analysis.observed import comparison_as_text, observed_comparison
from deleverage.analysis.quantities import Quantity, labels, standard_quantities
from deleverage.analysis.samples import BY_PATH, path_parts
from deleverage.analysis.table import as_text, table
from deleverage.errors import ConfigError

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["as_text", "comparison_as_text", "observed_comparison", "summary", "table"]

NUMBERS = ("estimate", "standard_error", "lower", "upper")
COUNTS = ("paths", "missing", "flagged")


def summary(
    dataset: xr.Dataset,
    measures: Sequence[Quantity] | None = None,
    baseline: str = "baseline",
    level: float = 0.95,
) -> xr.Dataset:
    """Measure every quantity that the dataset allows, for every policy.

    Args:
        dataset: Outcomes `(policy, path, ...)` with the coordinates `policy` and, where present,
            `status`, `log_weight` and `draw_block`.
        measures: Quantities to measure instead of the standard list.
        baseline: The policy that paired differences are taken against.
        level: Level of the intervals.

    Returns:
        A Dataset over `(policy, quantity)`: estimate, standard error, interval, paths used,
        missing and flagged paths, and `thin`, 1 where too few points lie beyond the level.
        Coordinates of `quantity` say its measure and its units. Of weighted paths the attribute
        `effective_paths` says how many equal ones are as good for a mean; of paths drawn in
        blocks, `draw_blocks` how many blocks the errors come from.

    Raises:
        ConfigError: There is no labelled dimension `policy`.
        RunError: There are fewer than two paths.
    """
    import xarray as xr

    if "policy" not in dataset.dims or "policy" not in dataset.coords:
        raise ConfigError(
            f"the dataset has the dimensions {tuple(dataset.dims)}, but a summary needs a labelled "
            "dimension 'policy'; pass the outcomes of a run."
        )
    policies = labels(dataset, "policy")
    against = baseline if baseline in policies else None
    quantities = standard_quantities(dataset, against) if measures is None else list(measures)
    dataset = held(dataset, {name for quantity in quantities for name in quantity.reads})
    shape = (len(policies), len(quantities))
    fields = {name: np.full(shape, math.nan) for name in NUMBERS}
    fields |= {name: np.zeros(shape, dtype=np.int64) for name in (*COUNTS, "thin")}
    units = [""] * len(quantities)
    source: tuple[object, ...] = ()
    outcome = xr.DataArray()
    for column, quantity in enumerate(quantities):
        wanted = (quantity.variables, quantity.less, dict(quantity.selection))
        if wanted != source:
            source, outcome = wanted, _in_memory(quantity.outcome(dataset))
        units[column] = quantity.units(outcome, dataset)
        divisor = quantity.divisor(dataset)
        if divisor is None:
            measured = _measure(quantity, outcome, policies, against, level)
        else:
            measured = tail.ratio_of_means(outcome, _in_memory(divisor), level, at_zero=0.0)
        if quantity.per is not None:
            measured = _per(measured, dataset[quantity.per])
        for name in (*NUMBERS, *COUNTS):
            fields[name][:, column] = measured[name].values
        fields["thin"][:, column] = "thin_tail" in measured.attrs
    return xr.Dataset(
        {name: (("policy", "quantity"), numbers) for name, numbers in fields.items()},
        coords={
            "policy": ("policy", np.array(policies, dtype=object)),
            "quantity": ("quantity", np.array([q.name for q in quantities], dtype=object)),
            "measure": ("quantity", np.array([_measure_name(q) for q in quantities], object)),
            "units": ("quantity", np.array(units, dtype=object)),
        },
        attrs={
            "level": level,
            "baseline": against or "",
            "total_paths": int(dataset.sizes["path"]),
            **_scheme(dataset),
        },
    )


LEAST_EFFECTIVE = 100
LEAST_EFFECTIVE_SHARE = 0.01
"""Fewer paths than these, in effect, and the weights are called uneven."""


def _scheme(dataset: xr.Dataset) -> dict[str, float]:
    """Of weighted paths how many equal ones are as good for a mean; of blocks their number."""
    import xarray as xr

    coords = {name: dataset.coords[name].variable for name in BY_PATH[1:] if name in dataset.coords}
    weights, blocks = path_parts(
        xr.DataArray(np.zeros(dataset.sizes["path"]), dims="path", coords=coords)
    )
    found: dict[str, float] = {}
    if blocks is not None:
        found["draw_blocks"] = block_starts(blocks).size
    if weights is not None:
        weights = weights[~np.isnan(weights)]
        effective = effective_number(weights)
        found["effective_paths"] = effective
        if effective < max(LEAST_EFFECTIVE, LEAST_EFFECTIVE_SHARE * weights.size):
            warnings.warn(
                f"{weights.size} weighted paths are worth {effective:.3g} equal ones, so means and "
                "medians are poor though tails may be good; take a larger sampling.plain_share or "
                "a smaller shift, or read the tails alone.",
                UnevenWeightsWarning,
                stacklevel=3,
            )
    return found


def _in_memory(x: xr.DataArray) -> xr.DataArray:
    return x.compute() if x.nbytes <= IN_MEMORY_BYTES else x


def _measure(
    quantity: Quantity,
    outcome: xr.DataArray,
    policies: list[str],
    baseline: str | None,
    level: float,
) -> xr.Dataset:
    if quantity.measure is None:
        return _constant(outcome)
    with warnings.catch_warnings():
        # The summary marks thin tails in `thin`; fifty warnings would say no more.
        warnings.simplefilter("ignore", ThinTailWarning)
        if not quantity.difference:
            return tail.measure(outcome, quantity.measure, level)
        if baseline is None:
            raise ConfigError(
                f"{quantity.name} is a difference to the baseline, but none of the policies "
                f"{', '.join(policies)} is it; name one with baseline=."
            )
        import xarray as xr

        parts = [
            tail.paired(outcome, policy, baseline, quantity.measure, level) for policy in policies
        ]
        joined = xr.concat(parts, "policy", combine_attrs="drop_conflicts")
        thin = any("thin_tail" in part.attrs for part in parts)
        return joined.assign_attrs({"thin_tail": "some policies"} if thin else {})


def _per(measured: xr.Dataset, amount: xr.DataArray) -> xr.Dataset:
    """The measure of an outcome per unit of a policy's constant: all four numbers are divided."""
    divisor = amount.astype(np.float64).where(amount != 0).reset_coords(drop=True)
    return measured.assign({name: measured[name] / divisor for name in NUMBERS})


def _constant(outcome: xr.DataArray) -> xr.Dataset:
    """A number that a policy fixes before the first draw: no error."""
    import xarray as xr

    value = outcome.astype(np.float64)
    count = xr.zeros_like(value, dtype=np.int64)
    error = value * 0.0
    numbers = {"estimate": value, "standard_error": error, "lower": value, "upper": value}
    return xr.Dataset(numbers | {name: count for name in COUNTS})


def _measure_name(quantity: Quantity) -> str:
    if quantity.measure is None:
        return "constant"
    if quantity.over is not None:
        return "ratio of means"
    name = quantity.measure.name
    if quantity.per is not None:
        name = f"{name} per {quantity.per.replace('_', ' ')}"
    return f"difference of {name}" if quantity.difference else name
