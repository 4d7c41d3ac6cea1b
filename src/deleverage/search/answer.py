"""What a search found, on the draws that chose it and on fresh ones."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from deleverage.analysis.batches import batched
from deleverage.analysis.columns import with_error
from deleverage.analysis.estimate import ThinTailWarning
from deleverage.analysis.frontier import frontier
from deleverage.analysis.frontier_table import (
    chance,
    counts,
    marked,
    notes,
    number,
    risk_in_words,
)
from deleverage.analysis.measures import by_name
from deleverage.analysis.quantities import by_policy
from deleverage.analysis.shares import all_independent

if TYPE_CHECKING:
    import xarray as xr

    from deleverage.config.search import Search
    from deleverage.search.ledger import Ledger

BASELINE = "baseline"
NUMBERS = ("", "_standard_error", "_lower", "_upper")


def measured(outcomes: xr.Dataset, wanted: Search) -> xr.Dataset:
    """Risk and costs of all policies of a run, and the front among them; see `frontier`."""
    risk = wanted.risk
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ThinTailWarning)  # `thin_tail` says so
        return frontier(
            outcomes,
            risk.variable,
            risk.measure,
            risk.q,
            wanted.costs,
            risk.tail,
            risk.above,
            risk.below,
            selection=risk.selection,
            good=risk.good,
        )


def answer(tried: xr.Dataset, fresh: xr.Dataset, wanted: Search, ledger: Ledger) -> xr.Dataset:
    """The policies of the fresh run: what `frontier` says of them there, and the search before.

    Args:
        tried: Outcomes of all policies that were tried.
        fresh: Outcomes of the front and of the listed policies, on other draws.
        wanted: What was searched.
        ledger: The points tried.

    Returns:
        What `frontier` returns of the fresh run, over `policy`, and of the draws that chose:
        `searched_risk` with error and interval, `searched_on_front`; `flattery`, the fresh risk
        less that one, whose error is that of independent samples; `round` in which it was tried,
        -1 for listed policies; the levers as coordinates. In `attrs` the mean flattery of the
        front with its error, and how many policies were tried on how many paths.
    """
    then, now = measured(tried, wanted), measured(fresh, wanted)
    labels = [str(label) for label in now.policy.values]
    place = [then.policy.values.tolist().index(label) for label in labels]
    own = then.isel(policy=place)
    both = ([x[f"risk{end}"].values for end in NUMBERS] for x in (now, own))
    flattery = all_independent(*both)
    added = {
        "searched_on_front": ("policy", own.on_front.values),
        "round": ("policy", np.array([ledger.round_of.get(label, -1) for label in labels])),
    }
    for end, values in zip(NUMBERS, flattery, strict=True):
        added[f"searched_risk{end}"] = ("policy", own[f"risk{end}"].values, own.risk.attrs)
        added[f"flattery{end}"] = ("policy", values, own.risk.attrs)
    chosen = [label for label, front in zip(labels, own.on_front.values, strict=True) if front]
    mean = _mean_flattery(tried, fresh, wanted, chosen)
    levers = {
        name: ("policy", tried[name].values[place])
        for name in wanted.levers
        if name in tried.coords
    }
    about = {
        **mean,
        "tried": len(ledger.points),
        "rounds": len(ledger.rounds),
        "searched_paths": then.attrs["paths"],
        "fresh_paths": now.attrs["paths"],
    }
    return now.assign(added).assign_coords(levers).assign_attrs(about)


def _mean_flattery(
    tried: xr.Dataset, fresh: xr.Dataset, wanted: Search, chosen: list[str]
) -> dict[str, float]:
    """Mean over the front of fresh less searched risk, also less that of the baseline.

    Within each run the draws are common, so what shifts all policies alike is in the baseline too.
    """
    risk = wanted.risk
    what = by_name(risk.measure, risk.q, risk.tail, risk.above, risk.below)
    means, errors = [], []
    for outcomes in (fresh, tried):
        labels = [str(label) for label in outcomes.policy.values]
        rows = outcomes.isel(policy=[labels.index(label) for label in (*chosen, BASELINE)])
        of_all = batched(by_policy(rows[risk.variable], risk.selection), what)
        mean = np.append(np.full(len(chosen), 1.0 / len(chosen)), 0.0)
        value, error = of_all.combined(np.stack([mean, mean - np.eye(len(mean))[-1]]))
        means.append(value)
        errors.append(error)
    names = ("mean_flattery", "flattery_beyond_baseline")
    found = {}
    for name, value, error in zip(names, means[0] - means[1], np.hypot(*errors), strict=True):
        found |= {name: float(value), f"{name}_standard_error": float(error)}
    return found


def table(front: xr.Dataset) -> list[dict[str, Any]]:
    """Rows of an answer for JSON: the front by rising risk, then those beaten.

    A lever that is as in the scenario is None.
    """
    names = [str(name) for name in front.data_vars]
    levers = [str(name) for name in front.coords if name != "policy"]
    rows = [
        {"policy": str(label)}
        | {name: number(front[name].values[i].item()) for name in names}
        | {"levers": {name: number(front[name].values[i].item()) for name in levers}}
        for i, label in enumerate(front.policy.values)
    ]
    return sorted(rows, key=lambda row: (not row["on_front"], row["risk"] or 0.0))


def shown(front: xr.Dataset, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of `table` as a terminal shows them."""
    return [
        {
            "policy": row["policy"],
            "round": "listed" if row["round"] < 0 else str(row["round"]),
            "on_front": "yes" if row["on_front"] else "no",
            **{name: marked(front, row, name) for name in ("searched_risk", "risk")},
            **{name: row[name] for name in front.attrs["costs"]},
            "probability": chance(row),
            "dominated_by": row["dominated_by"],
        }
        for row in rows
    ]


def in_words(front: xr.Dataset, rows: list[dict[str, Any]]) -> str:
    """How much was tried, and how far what was chosen is flattered by the draws that chose it."""
    said = front.attrs
    chosen = int(front.searched_on_front.sum())
    stay = int((front.searched_on_front & front.on_front).sum())
    unit = front.risk.attrs.get("units", "")
    mean, beyond = (
        with_error(said[name], number(said[f"{name}_standard_error"]))
        for name in ("mean_flattery", "flattery_beyond_baseline")
    )
    more = "".join(f"\n{note}" for note in notes(front, rows))
    return (
        f"risk: {risk_in_words(front)}. probability: of being on the front, given the errors.\n"
        f"Fresh draws: {counts(front)}\n"
        f"{said['tried']:,} policies tried in {said['rounds']} rounds of "
        f"{said['searched_paths']:,} paths each; {chosen} on the front, {stay} of them also on "
        f"{said['fresh_paths']:,} fresh paths.\nFrom the draws that chose it to fresh ones the "
        f"front's mean risk changes by {mean}{f' {unit}' if unit else ''}, by {beyond} beside the "
        f"baseline: what choosing the best of many flatters.{more}"
    )
