"""Risk against what it costs: which policies no other beats on everything, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from deleverage.analysis.batches import batched
from deleverage.analysis.estimate import half_width, require_fraction
from deleverage.analysis.measures import Measure, Tail, by_name
from deleverage.analysis.quantities import by_policy
from deleverage.errors import ConfigError

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
    tail: Tail = "upper",
    above: float | None = None,
    below: float | None = None,
    level: float = 0.95,
    selection: Mapping[str, object] | None = None,
) -> xr.Dataset:
    """The policies that none beats: no other has as little risk at as little of every cost.

    Risk is estimated, the costs are known before the first draw. Risks are drawn again from their
    joint law over policies (Gaussian multipliers on batches of common paths); `probability` is
    the share of draws in which a policy is on the front; NaN where the error of a risk is not
    known, as of an expected shortfall that rests on a single path.

    Args:
        outcomes: Outcomes of a run.
        variable: Variable that risk is measured on; dimensions but `policy` and `path` are summed
            after the selection.
        measure: Name of the measure, or a measure; low is good.
        q: Its level.
        costs: Variables with the dimension `policy` alone; low is good.
        tail: Its tail.
        above: Its threshold.
        below: Its threshold.
        level: Level of the intervals.
        selection: Labels of the variable by dimension, such as `{"market": "exchange/USDe/spot"}`.

    Returns:
        Over `policy`: `risk` with `_standard_error`, `_lower`, `_upper`; each cost; `on_front` at
        the estimates, and `probability`; `dominated_by` (empty on the front), the policy of least
        risk among those that cost no more, and `excess`, by how much its risk is lower, with the
        error and interval of the paired difference.

    Raises:
        ConfigError: A variable is not stored, or a cost varies over paths.
    """
    import xarray as xr

    require_fraction("level", level)
    what = by_name(measure, q, tail, above, below)
    for name in (variable, *costs):
        if name not in outcomes:
            raise ConfigError(
                f"{name!r} is not stored in this run, only {', '.join(map(str, outcomes))}."
            )
    x = by_policy(outcomes[variable], selection or {})
    found = batched(x, what)
    half = half_width(level, found.degrees)
    amounts = []
    for name in costs:
        if outcomes[name].dims != ("policy",):
            raise ConfigError(f"the cost {name!r} varies over {outcomes[name].dims[1:]}.")
        amounts.append(np.asarray(outcomes[name].values, dtype=np.float64))
    cost = np.stack(amounts) if amounts else np.zeros((0, found.values.size))
    cheaper, strictly = _cheaper(cost)
    front = ~_dominated(found.values[None], cheaper, strictly)[0]
    drawn = found.values + found.redrawn(DRAWS)
    probability = 1.0 - _dominated(drawn, cheaper, strictly).mean(axis=0)
    if not np.isfinite(drawn).all():  # some risk has no error, and so no law
        probability[:] = np.nan

    risk = np.where(cheaper, found.values[:, None], np.inf)
    best = np.where(front, np.arange(front.size), np.argmin(risk, axis=0))
    difference = np.eye(front.size) - np.eye(front.size)[best]
    excess, error = found.combined(difference)
    own = np.sqrt(np.diag(found.covariance()))
    policies = np.array([str(label) for label in x["policy"].values], dtype=np.str_)
    unit = {"units": x.attrs["units"]} if "units" in x.attrs and what.name != "probability" else {}
    data = {}
    for name, (value, spread) in {"risk": (found.values, own), "excess": (excess, error)}.items():
        numbers = (value, spread, value - half * spread, value + half * spread)
        for end, number in zip(("", "_standard_error", "_lower", "_upper"), numbers, strict=True):
            data[f"{name}{end}"] = ("policy", number, unit)
    data |= {
        name: ("policy", amount, outcomes[name].attrs)
        for name, amount in zip(costs, amounts, strict=True)
    }
    data["on_front"] = ("policy", front)
    data["probability"] = ("policy", probability)
    data["dominated_by"] = ("policy", np.where(front, "", policies[best]))
    return xr.Dataset(
        data,
        coords={"policy": policies},
        attrs={
            "variable": variable,
            "measure": what.name,
            "level": level,
            "costs": list(costs),
            "paths": found.paths,
            **({"q": what.q} if hasattr(what, "q") else {}),
            **({"thin_tail": "too few points"} if found.support < what.least_points else {}),
        },
    )


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
