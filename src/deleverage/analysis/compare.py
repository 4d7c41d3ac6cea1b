"""What changed between two runs, or two policies, and whether the sample can tell."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from deleverage.analysis import tail
from deleverage.analysis.estimate import Estimate, ThinTailWarning, from_normal, require_fraction
from deleverage.analysis.quantities import Quantity, labels, standard_quantities
from deleverage.errors import ConfigError

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["policies", "runs"]

Row = dict[str, Any]


def policies(outcomes: xr.Dataset, first: str, second: str, level: float = 0.95) -> list[Row]:
    """Every standard quantity under two policies of a run, paired on common draws; see `runs`."""
    present = labels(outcomes, "policy")
    for label in (first, second):
        if label not in present:
            raise ConfigError(
                f"policy {label!r} is not in this run; its policies are {', '.join(present)}."
            )
    one, other = (
        outcomes.isel(policy=[present.index(label)]).assign_coords(policy=[f"{first} -> {second}"])
        for label in (first, second)
    )
    return compare(one, other, paired=True, level=level)


def runs(first: Any, second: Any, level: float = 0.95) -> list[Row]:
    """Every standard quantity of the policies that two runs share, and how it changed.

    Differences are second less first. Runs of one seed share their draws path by path: they are
    paired on the paths that both have; runs of different seeds are independent samples.

    Args:
        first: An open run.
        second: Another.
        level: Level of the intervals, and of the joint claim of significance.

    Returns:
        Rows with policy, quantity, units, first, second, difference, standard_error, lower, upper,
        p_value, significant, paired, paths, thin. `significant` holds for all rows together
        (Holm 1979): the chance that any of them is claimed wrongly is at most 1 - level. Rows with
        fewer than ten points beyond their level are marked `thin` and not judged.

    Raises:
        ConfigError: The runs share no policy.
    """
    one, other = first.outcomes, second.outcomes
    shared = [label for label in labels(one, "policy") if label in labels(other, "policy")]
    if not shared:
        raise ConfigError(
            f"{first.path} and {second.path} share no policy; compare two policies of one run."
        )
    one, other = (
        x.isel(policy=[labels(x, "policy").index(label) for label in shared]) for x in (one, other)
    )
    return compare(one, other, paired=first.plan.seed == second.plan.seed, level=level)


def compare(first: xr.Dataset, second: xr.Dataset, paired: bool, level: float = 0.95) -> list[Row]:
    """Rows of two datasets whose policies stand for each other in order; see `runs`."""
    require_fraction("level", level)
    if paired:
        paths = min(first.sizes["path"], second.sizes["path"])
        first, second = (x.isel(path=slice(paths)) for x in (first, second))
    rows: list[Row] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ThinTailWarning)  # `thin` says so
        for quantity in _shared_quantities(first, second):
            rows += _rows(quantity, first, second, paired, level)
    _judge(rows, 1.0 - level)
    return rows


def as_text(rows: Sequence[Row]) -> list[Row]:
    """The significant rows as a terminal shows them, the largest change in errors first."""
    found = [row for row in rows if row["significant"]]
    found.sort(key=lambda row: -abs(row["difference"]) / (row["standard_error"] or 1e-300))
    shown = ("policy", "quantity", "first", "second", "difference", "standard_error", "units")
    return [{name: row[name] for name in shown} for row in found]


def _shared_quantities(first: xr.Dataset, second: xr.Dataset) -> list[Quantity]:
    names = {quantity.name for quantity in standard_quantities(second, None)}
    return [
        quantity
        for quantity in standard_quantities(first, None)
        # a ratio's parts are compared by themselves
        if quantity.name in names
        and getattr(quantity, "over", None) is None
        and getattr(quantity, "per", None) is None
    ]


def _rows(
    quantity: Quantity, first: xr.Dataset, second: xr.Dataset, paired: bool, level: float
) -> list[Row]:
    import xarray as xr

    one, other = (quantity.outcome(x).compute() for x in (first, second))
    what = quantity.measure
    if what is None:
        values = [np.asarray(x.values, dtype=float) for x in (one, other)]
        estimates = [Estimate(d, 0.0, d, d) for d in (values[1] - values[0]).tolist()]
        thin, paths = False, 0
    else:
        measured = [tail.measure(x, what, level) for x in (one, other)]
        values = [found.estimate.values for found in measured]
        thin = any("thin_tail" in found.attrs for found in measured)
        paths = min(one.sizes["path"], other.sizes["path"])
        if paired:
            # rows stand for each other in order, so the places of paths are theirs too
            rest = [
                x.drop_vars([c for c in x.coords if c not in ("log_weight",)]) for x in (one, other)
            ]
            joined = xr.concat(
                [x.rename(policy="row") for x in rest],
                "policy",
                coords="minimal",
                compat="override",
            ).assign_coords(policy=["first", "second"])
            found = tail.paired(joined, "second", "first", what, level)
            estimates = [
                Estimate(*(float(found[name].values[i]) for name in _FIELDS))
                for i in range(one.sizes["policy"])
            ]
        else:
            errors = np.hypot(*(found.standard_error.values for found in measured))
            estimates = [
                from_normal(float(d), float(e), level)
                for d, e in zip(values[1] - values[0], errors, strict=True)
            ]
    share = what is not None and what.name == "probability"
    return [
        {
            "policy": str(label),
            "quantity": quantity.name,
            "units": "1" if share else str(one.attrs.get("units", "")),
            "first": _number(values[0][i]),
            "second": _number(values[1][i]),
            "difference": _number(estimates[i].value),
            "standard_error": _number(estimates[i].standard_error),
            "lower": _number(estimates[i].lower),
            "upper": _number(estimates[i].upper),
            "paired": paired,
            "paths": paths,
            "thin": thin,
        }
        for i, label in enumerate(labels(first, "policy"))
    ]


_FIELDS = ("estimate", "standard_error", "lower", "upper")


def _judge(rows: list[Row], miss: float) -> None:
    """Chances of each difference under none, and Holm's verdict over all rows."""
    from scipy.special import ndtr

    for row in rows:
        difference, error = row["difference"], row["standard_error"]
        if difference is None or error is None or row["thin"]:
            row["p_value"] = None  # too few points to judge by
        elif error == 0.0:
            row["p_value"] = 1.0 if difference == 0.0 else 0.0
        else:
            row["p_value"] = float(2.0 * ndtr(-abs(difference) / error))
    tested = sorted(
        (row for row in rows if row["p_value"] is not None), key=lambda row: row["p_value"]
    )
    refused = True
    for rank, row in enumerate(tested):
        refused = refused and row["p_value"] <= miss / (len(tested) - rank)
        row["significant"] = refused
    for row in rows:
        row.setdefault("significant", False)


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
