"""What changed between two runs, or two policies, and whether the sample can tell."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from deleverage.analysis import tail
from deleverage.analysis.columns import with_bound
from deleverage.analysis.estimate import (
    Estimate,
    Sample,
    ThinTailWarning,
    degrees_of_freedom,
    require_fraction,
)
from deleverage.analysis.quantities import Quantity, labels, standard_quantities
from deleverage.analysis.samples import gather, path_blocks
from deleverage.analysis.shares import all_independent
from deleverage.analysis.significance import Verdict, verdict
from deleverage.errors import ConfigError
from deleverage.results.schema import DRAW_BLOCK

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
        p_value, test (see `significance.Verdict`), paired, paths, missing, first_flagged,
        second_flagged, thin, significant. `significant` holds for all rows together (Holm 1979):
        the chance that any of them is claimed wrongly is at most 1 - level. Rows with fewer than
        ten points beyond their level are marked `thin` and not judged, nor are those of which the
        error is not known.

    Raises:
        ConfigError: The runs share no policy, or one seed under two kinds of sampling or levels of
            splitting.
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
    paired = first.plan.seed == second.plan.seed
    schemes = [run.plan.identity.get("sampling", {}) for run in (first, second)]
    if paired and schemes[0] != schemes[1]:
        raise ConfigError(
            f"{first.path} and {second.path} have one seed but are sampled as {schemes[0]} and "
            f"{schemes[1]}, so their paths are neither paired nor independent; run one of them "
            "with another seed."
        )
    if paired and first.plan.splitting != second.plan.splitting:
        raise ConfigError(
            f"{first.path} and {second.path} have one seed but are split at other levels, so their "
            "paths are neither paired nor independent; run one of them with another seed."
        )
    return compare(one, other, paired=paired, level=level)


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
    return [
        {name: row[name] for name in ("policy", "quantity", "first", "second")}
        | {"difference": with_bound(*(row[name] for name in ("difference", *_FIELDS[1:])))}
        | {"units": row["units"]}
        for row in found
    ]


def account(rows: Sequence[Row]) -> str:
    """How many rows are significant, how many could not be judged, and what they rest on."""
    found = sum(row["significant"] for row in rows)
    unjudged = sum(row["p_value"] is None for row in rows)
    kind = "paired on common draws" if rows and rows[0]["paired"] else "independent samples"
    paths = max((row["paths"] for row in rows), default=0)
    flagged = [
        sum({row["policy"]: row[f"{side}_flagged"] for row in rows if row["paths"]}.values())
        for side in ("first", "second")
    ]
    return (
        f"{found} of {len(rows)} differences are significant together at 5% (Holm), {kind}; "
        f"± standard error.\n{unjudged} cannot be judged: too few paths lie beyond their level, or "
        f"their error is not known.\n{paths:,} paths a policy, {flagged[0]:,} flagged outcomes in "
        f"the first and {flagged[1]:,} in the second (included)."
    )


def _shared_quantities(first: xr.Dataset, second: xr.Dataset) -> list[Quantity]:
    names = {quantity.name for quantity in standard_quantities(second, None)}
    return [one for one in standard_quantities(first, None) if one.name in names]


def _rows(
    quantity: Quantity, first: xr.Dataset, second: xr.Dataset, paired: bool, level: float
) -> list[Row]:
    outcomes = [_outcome(quantity, x) for x in (first, second)]
    if quantity.measure is None:
        constants = [_constants(x) for x in outcomes]
        measured, difference = constants, _constants(outcomes[1] - outcomes[0].values)
        verdicts = [_of_constants(x) for x in difference.estimate.values]
        paths = 0
    else:
        measured, difference = _measured(quantity, outcomes, (first, second), paired, level)
        degrees = _degrees(first, second)
        verdicts = [
            verdict(
                None if quantity.over is not None else quantity.measure,
                Estimate(*(float(difference[name].values[i]) for name in _FIELDS)),
                *samples,
                degrees,
                paired,
            )
            for i, samples in enumerate(_samples(*reversed(outcomes), paired))
        ]
        paths = min(x.sizes["path"] for x in outcomes)
    thin = any("thin_tail" in found.attrs for found in measured)
    values = [found.estimate.values for found in measured]
    flagged = [gather(x).flagged() if paths else 0 * x.values for x in outcomes]
    counted = _counted(measured, difference)
    units = quantity.units(outcomes[0], first)
    return [
        {
            "policy": str(label),
            "quantity": quantity.name,
            "units": units,
            "first": _number(values[0][i]),
            "second": _number(values[1][i]),
            **{
                key: _number(difference[name].values[i])
                for key, name in zip(("difference", *_FIELDS[1:]), _FIELDS, strict=True)
            },
            "p_value": None if thin else verdicts[i].p_value,
            "test": None if thin else verdicts[i].test,
            "paired": paired,
            "paths": paths,
            "missing": sum(int(found.missing.values[i]) for found in counted),
            "first_flagged": int(flagged[0][i]),
            "second_flagged": int(flagged[1][i]),
            "thin": thin,
        }
        for i, label in enumerate(labels(first, "policy"))
    ]


def _counted(measured: list[xr.Dataset], difference: xr.Dataset) -> list[xr.Dataset]:
    """Those whose missing paths are left out of the difference."""
    return [difference] if "missing" in difference else [x for x in measured if "missing" in x]


def _measured(
    quantity: Quantity,
    outcomes: list[xr.DataArray],
    datasets: tuple[xr.Dataset, xr.Dataset],
    paired: bool,
    level: float,
) -> tuple[list[xr.Dataset], xr.Dataset]:
    """The quantity in both, and second less first."""
    what = quantity.measure
    divisors = [_computed(quantity.divisor(x)) for x in datasets]
    if quantity.over is not None:
        measured = [
            tail.ratio_of_means(*both, level, at_zero=0.0)
            for both in zip(outcomes, divisors, strict=True)
        ]
    else:
        measured = [tail.measure(x, what, level) for x in outcomes]
    if not paired:
        return measured, _apart(measured[1], measured[0])
    if quantity.over is not None:
        both = (_side_by_side(*outcomes), _side_by_side(*divisors))
        return measured, tail.difference_of_ratios(*both, "second", "first", level, at_zero=0.0)
    return measured, tail.paired(_side_by_side(*outcomes), "second", "first", what, level)


def _samples(
    one: xr.DataArray, other: xr.DataArray, paired: bool
) -> Iterator[tuple[Sample, Sample]]:
    """Both samples of each policy, on the paths of both where they are paired."""
    if paired:
        joined = _side_by_side(other, one)
        pairs = gather(joined[1], joined[0]).together(least=0)
        return ((samples[0], samples[1]) for _, samples in pairs)
    return (
        (own, its)
        for (_, own), (_, its) in zip(
            gather(one).samples(least=0), gather(other).samples(least=0), strict=True
        )
    )


def _apart(one: xr.Dataset, other: xr.Dataset) -> xr.Dataset:
    """`one` less `other` of independent samples, by policy."""
    import xarray as xr

    numbers = all_independent(*([x[name].values for name in _FIELDS] for x in (one, other)))
    return xr.Dataset({n: ("policy", x) for n, x in zip(_FIELDS, numbers, strict=True)})


def _constants(outcome: xr.DataArray) -> xr.Dataset:
    """Numbers that a policy fixes before the first draw."""
    import xarray as xr

    values = outcome.values.astype(float)
    numbers = (values, 0.0 * values, values, values)
    return xr.Dataset({n: ("policy", x) for n, x in zip(_FIELDS, numbers, strict=True)})


def _of_constants(difference: float) -> Verdict:
    return Verdict(1.0 if difference == 0.0 else 0.0, "known")


def _degrees(first: xr.Dataset, second: xr.Dataset) -> float:
    """Of freedom of the errors; infinite where paths are drawn each by itself."""
    return min(degrees_of_freedom(path_blocks(x)) for x in (first, second))


def _outcome(quantity: Quantity, dataset: xr.Dataset) -> xr.DataArray:
    """What is measured; per unit of a policy's constant already path by path.

    The measures that are given per unit (means, quantiles, shortfalls) scale with the outcome.
    """
    outcome = quantity.outcome(dataset)
    if quantity.per is not None:
        amount = dataset[quantity.per].astype(np.float64).reset_coords(drop=True)
        outcome = outcome / amount.where(amount != 0)
    return outcome.compute()


def _computed(x: xr.DataArray | None) -> xr.DataArray | None:
    return None if x is None else x.compute()


def _side_by_side(first: xr.DataArray, second: xr.DataArray) -> xr.DataArray:
    """Both as the policies `first` and `second`: rows and paths stand for each other in order."""
    import xarray as xr

    kept = ("log_weight", DRAW_BLOCK)
    rest = [
        x.drop_vars([c for c in x.coords if c not in kept]).rename(policy="row")
        for x in (first, second)
    ]
    joined = xr.concat(rest, "policy", coords="minimal", compat="override")
    return joined.assign_coords(policy=["first", "second"])


_FIELDS = ("estimate", "standard_error", "lower", "upper")


def _judge(rows: list[Row], miss: float) -> None:
    """Holm's verdict over all rows that can be judged."""
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
