"""The game of an attribution: an outcome under every combination of causes, on common draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from deleverage.analysis.quantities import by_policy
from deleverage.config.attribution import coalition_label
from deleverage.errors import ConfigError

if TYPE_CHECKING:
    import xarray as xr


class Game(NamedTuple):
    """Outcomes `(policy, path)` of the 2^k coalitions in binary order: bit i is cause i."""

    causes: tuple[str, ...]
    labels: list[str]
    outcome: xr.DataArray
    variable: str
    units: str


def game(
    source: Any,
    variable: str | None = None,
    selection: Mapping[str, object] | None = None,
    causes: Sequence[str] | None = None,
) -> Game:
    """The game of a run's variable, or of outcomes by coalition; see `attribution.shapley`.

    Raises:
        ConfigError: The run has no causes or no such variable, or a combination is missing.
    """
    if isinstance(source, Mapping):
        return _of_mapping(source, causes)
    named = getattr(source.config, "attribution", None)
    if named is None:
        raise ConfigError(
            f"the config of {source.path} names no causes; add `attribution: {{causes: ...}}` "
            "to it and run it again."
        )
    outcomes = source.outcomes
    if variable not in outcomes:
        raise ConfigError(
            f"variable is {variable!r}, but the run stores {', '.join(map(str, outcomes))}."
        )
    return of_dataset(outcomes, tuple(named.causes), str(variable), selection)


def of_dataset(
    outcomes: xr.Dataset,
    causes: tuple[str, ...],
    variable: str,
    selection: Mapping[str, object] | None = None,
) -> Game:
    """The game of a variable; dimensions left after the selection are summed over."""
    x = by_policy(outcomes[variable], selection or {})
    units = str(x.attrs.get("units", ""))
    labels = [coalition_label(causes, number) for number in range(2 ** len(causes))]
    present = [str(label) for label in x["policy"].values]
    lacking = [label for label in labels if label not in present]
    if lacking:
        raise ConfigError(
            f"the combinations {', '.join(lacking[:3])} are not on the policy axis; an "
            f"attribution of {len(causes)} causes needs all {len(labels)}."
        )
    return Game(
        causes, labels, x.isel(policy=[present.index(one) for one in labels]), variable, units
    )


def _of_mapping(source: Mapping[Any, Any], causes: Sequence[str] | None) -> Game:
    import xarray as xr

    coalitions = {frozenset(names): values for names, values in source.items()}
    every = frozenset().union(*coalitions)
    order = tuple(sorted(every) if causes is None else causes)
    wanted = [
        frozenset(name for bit, name in enumerate(order) if number >> bit & 1)
        for number in range(2 ** len(order))
    ]
    lacking = next((one for one in wanted if one not in coalitions), None)
    if lacking is not None or len(coalitions) != len(wanted):
        came = f"{len(coalitions)} combinations of the causes {', '.join(sorted(every))}"
        raise ConfigError(
            f"there are {came}, but exactly all {len(wanted)} of {', '.join(order)} are needed"
            f"{'' if lacking is None else f'; {sorted(lacking)} is missing'}."
        )
    labels = [coalition_label(order, number) for number in range(len(wanted))]
    rows = [coalitions[one] for one in wanted]
    if isinstance(rows[0], xr.DataArray):
        outcome = xr.concat(
            [
                row.reset_coords(["status"], drop=True) if "status" in row.coords else row
                for row in rows
            ],
            "policy",
            coords="minimal",
            compat="override",
        )
        units = str(rows[0].attrs.get("units", ""))
    else:
        outcome = xr.DataArray(np.stack([np.asarray(row) for row in rows]), dims=("policy", "path"))
        units = ""
    return Game(order, labels, outcome.assign_coords(policy=labels), "", units)
