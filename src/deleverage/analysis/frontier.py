"""Risk against what it costs: which policies no other beats on everything, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from deleverage.analysis import paired
from deleverage.analysis.batches import Batched, Common, batched, common
from deleverage.analysis.direction import bad_tail, good_measure, good_values
from deleverage.analysis.estimate import half_width, require_fraction
from deleverage.analysis.measures import Measure, Probability, Tail, by_name
from deleverage.analysis.quantities import by_policy
from deleverage.analysis.samples import gather
from deleverage.analysis.shares import clopper_pearson
from deleverage.errors import ConfigError
from deleverage.results.schema import Good

if TYPE_CHECKING:
    import xarray as xr

DRAWS = 4000
COSTS = ("open_interest_forgone", "credit_forgone")


def frontier(
    outcomes: xr.Dataset,
    variable: str = "bad_debt",
    measure: str | Measure = "expected_shortfall",
    q: float | None = 0.99,
    costs: Sequence[str] = COSTS,
    tail: Tail | None = None,
    above: float | None = None,
    below: float | None = None,
    level: float = 0.95,
    selection: Mapping[str, object] | None = None,
    good: Good | None = None,
) -> xr.Dataset:
    """The policies that none beats: no other has as good a risk at as little of every cost.

    Risk is estimated, the costs are known before the first draw. Risks are drawn again from their
    joint law over policies (normal, from few blocks of paths Student's); `probability` is the share
    of draws in which a policy is on the front; NaN where the error of a risk is not known, as of an
    expected shortfall that rests on a single path. Its interval is that of a share of so many
    draws, and reaches to 0 or 1 where the sample tells a policy from another by no path, so that
    it may be better or worse: where their difference has no error.

    Args:
        outcomes: Outcomes of a run.
        variable: Variable that risk is measured on; dimensions but `policy` and `path` are summed
            after the selection.
        measure: Name of the measure, or a measure.
        q: Its level.
        costs: Variables with the dimension `policy` alone; low is good.
        tail: Its tail, by default the bad one.
        above: Its threshold.
        below: Its threshold.
        level: Level of the intervals.
        selection: Labels of the variable by dimension, such as `{"market": "exchange/USDe/spot"}`.
        good: Whether low or high values of the variable are good, by default as the schema says.

    Returns:
        Over `policy`: `risk` with `_standard_error`, `_lower`, `_upper`; each cost; `on_front` at
        the estimates, and `probability` with `_lower`, `_upper`; `dominated_by` (empty on the
        front), the policy of least risk among those that cost no more, and `excess`, by how much
        its risk is better, with the error and interval of the paired difference; `flagged` paths.
        In `attrs` the `paths` that every policy has, how many are `missing`, whether a low or a
        high risk is `good`, the `selection`, and the dimensions that are `summed`.

    Raises:
        ConfigError: A variable is not stored, a cost varies over paths, or nothing says which
            values are good.
    """
    import xarray as xr

    require_fraction("level", level)
    for name in (variable, *costs):
        if name not in outcomes:
            raise ConfigError(
                f"{name!r} is not stored in this run, only {', '.join(map(str, outcomes))}."
            )
    values = good_values(variable, good)
    what = by_name(measure, q, tail or bad_tail(values), above, below)
    side = good_measure(values, what)
    sign = 1.0 if side == "low" else -1.0
    x = by_policy(outcomes[variable], selection or {})
    free = {"policy", "path", *(selection or {})}
    summed = [str(dim) for dim in outcomes[variable].dims if dim not in free]
    together = common(x)
    found = batched(together, what, level=level)
    amounts = []
    for name in costs:
        if outcomes[name].dims != ("policy",):
            raise ConfigError(f"the cost {name!r} varies over {outcomes[name].dims[1:]}.")
        amounts.append(np.asarray(outcomes[name].values, dtype=np.float64))
    cost = np.stack(amounts) if amounts else np.zeros((0, found.values.size))
    cheaper, strictly = _cheaper(cost)
    front = ~_dominated(sign * found.values[None], cheaper, strictly)[0]
    risk = np.where(cheaper, sign * found.values[:, None], np.inf)
    best = np.where(front, np.arange(front.size), np.argmin(risk, axis=0))
    policies = np.array([str(label) for label in x["policy"].values], dtype=np.str_)
    unit = {"units": x.attrs["units"]} if "units" in x.attrs and what.name != "probability" else {}
    data = {}
    excess = _excess(found, together, what, best, level)
    if side == "high":  # by how much it is worse is by how much it is lower
        excess = np.stack([-excess[0] + 0.0, excess[1], -excess[3], -excess[2]])
    for name, numbers in {"risk": np.array(found.estimates).T, "excess": excess}.items():
        for end, number in zip(("", "_standard_error", "_lower", "_upper"), numbers, strict=True):
            data[f"{name}{end}"] = ("policy", number, unit)
    data |= {
        name: ("policy", amount, outcomes[name].attrs)
        for name, amount in zip(costs, amounts, strict=True)
    }
    data["on_front"] = ("policy", front)
    chances = _chances(found, sign, cheaper, strictly, level)
    for end, number in zip(("", "_lower", "_upper"), chances, strict=True):
        data[f"probability{end}"] = ("policy", number)
    data["flagged"] = ("policy", gather(x).flagged())
    data["dominated_by"] = ("policy", np.where(front, "", policies[best]))
    return xr.Dataset(
        data,
        coords={"policy": policies},
        attrs={
            "variable": variable,
            "measure": what.name,
            "level": level,
            "good": side,
            "costs": list(costs),
            "selection": {dim: str(label) for dim, label in (selection or {}).items()},
            "summed": summed,
            "paths": found.paths,
            "missing": x.sizes["path"] - found.paths,
            **({"q": what.q} if hasattr(what, "q") else {}),
            **({"thin_tail": "too few points"} if found.support < what.least_points else {}),
        },
    )


def _excess(
    found: Batched, together: Common, what: Measure, best: np.ndarray, level: float
) -> np.ndarray:
    """Of each policy the risk beyond that of another, its error and interval, `[4, policy]`."""
    count = best.size
    values, errors = found.combined(np.eye(count) - np.eye(count)[best])
    half = half_width(level, found.degrees) * errors
    numbers = np.stack([values, errors, values - half, values + half])
    for i in np.flatnonzero(best != np.arange(count)):
        if isinstance(what, Probability) or (errors[i] == 0.0 and values[i] != 0.0):
            pair = together.sample(i), together.sample(int(best[i]))
            numbers[:, i] = paired.difference(what, *pair, level)
    return numbers


def _chances(
    found: Batched, sign: float, cheaper: np.ndarray, strictly: np.ndarray, level: float
) -> np.ndarray:
    """Of each policy the chance of being on the front and its interval, `[3, policy]`."""
    drawn = found.values + found.redrawn(DRAWS)
    if not np.isfinite(drawn).all():  # some risk has no error, and so no law
        return np.full((3, found.values.size), np.nan)
    error = found.errors_of_pairs()
    numbers = np.zeros((3, found.values.size))
    # What has no error keeps its order in every draw, but for rounding.
    for i, j in np.argwhere(np.tril(error == 0.0, -1)):
        drawn[:, i] = drawn[:, j] + (found.values[i] - found.values[j])
    drawn *= sign
    numbers[0] = 1.0 - _dominated(drawn, cheaper, strictly).mean(axis=0)
    alike = (error == 0.0) & ~np.eye(error.shape[0], dtype=bool)
    least = np.where((alike & cheaper).any(axis=0), 0.0, numbers[0])
    most = 1.0 - _dominated(drawn, cheaper & ~alike, strictly & ~alike).mean(axis=0)
    for i, (low, high) in enumerate(zip(least, most, strict=True)):
        numbers[1, i] = clopper_pearson(low * DRAWS, DRAWS, level)[0]
        numbers[2, i] = clopper_pearson(high * DRAWS, DRAWS, level)[1]
    return numbers


def _cheaper(cost: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whether the row's policy costs no more than the column's, and less of something."""
    no_more = (cost[:, :, None] <= cost[:, None, :]).all(axis=0)
    return no_more, no_more & (cost[:, :, None] < cost[:, None, :]).any(axis=0)


def _dominated(risk: np.ndarray, cheaper: np.ndarray, strictly: np.ndarray) -> np.ndarray:
    """Whether each policy is beaten, `[draw, policy]`: as good on everything, better on one."""
    lower = np.full(risk.shape, False)
    for j in range(risk.shape[1]):
        mine = risk[:, j, None]
        lower |= (mine < risk) & cheaper[j] | (mine <= risk) & strictly[j]
    return lower
