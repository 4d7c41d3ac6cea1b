"""Would it have happened without a cause, and would that cause alone have done it?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from deleverage.analysis.coalitions import Game, game
from deleverage.analysis.conditional import on_event
from deleverage.analysis.estimate import NOTHING, Estimate, require_fraction
from deleverage.analysis.measures import Probability
from deleverage.analysis.samples import PathParts, path_parts

if TYPE_CHECKING:
    import xarray as xr


def necessary_and_sufficient(
    source: Any,
    variable: str | None = None,
    above: float | None = None,
    below: float | None = None,
    selection: Mapping[str, object] | None = None,
    causes: Sequence[str] | None = None,
    level: float = 0.95,
) -> xr.Dataset:
    r"""Per cause, path by path on common draws, of the event of a value beyond a threshold.

    - `necessary`: of the paths on which it happens with all causes, the share on which it does
      not without this one, $P(\bar e_{N \setminus i} \mid e_N)$;
    - `sufficient`: of the paths on which it does not happen with no cause, the share on which it
      does with this one alone, $P(e_i \mid \bar e_\emptyset)$.

    Args:
        source: As for `shapley`.
        variable: Variable of the run.
        above: The event is a value above this.
        below: The event is a value below this.
        selection: Labels by dimension; dimensions that are left are summed over.
        causes: Names in order, where the source is a mapping.
        level: Level of the intervals: exact binomial ones; with weights or in blocks those of as
            many plain paths as have the error.

    Returns:
        Over `cause`: `necessary` and `sufficient` with `_standard_error`, `_lower`, `_upper`;
        NaN where no path is of the kind; `necessary_paths` and `sufficient_paths` count them.
        `with_all` and `with_none` are the event's probability.

    Source: Pearl 1999 (probabilities of necessity and of sufficiency), with both worlds simulated.
    """
    require_fraction("level", level)
    what = Probability(above, below)
    found = game(source, variable, selection, causes)
    return probabilities(found, what, level)


def probabilities(found: Game, what: Probability, level: float = 0.95) -> xr.Dataset:
    """Necessary and sufficient probabilities of a game; see `necessary_and_sufficient`."""
    import xarray as xr

    count = len(found.causes)
    every = 2**count - 1
    wanted = sorted(
        {0, every, *(1 << i for i in range(count)), *(every ^ 1 << i for i in range(count))}
    )
    x = found.outcome.isel(policy=wanted).transpose("policy", "path")
    parts = path_parts(x)
    values = np.asarray(x.values, dtype=np.float64)
    present = parts.present(np.isnan(values).any(axis=0))
    parts, values = parts.on(present), values[:, present]
    hit = values > what.above if what.above is not None else values < what.below
    happened = dict(zip(wanted, hit, strict=True))
    rows = {
        "necessary": [
            _share(~happened[every ^ 1 << i], happened[every], parts, level) for i in range(count)
        ],
        "sufficient": [_share(happened[1 << i], ~happened[0], parts, level) for i in range(count)],
    }
    data: dict[str, Any] = {
        "necessary_paths": ((), int(np.count_nonzero(happened[every]))),
        "sufficient_paths": ((), int(np.count_nonzero(~happened[0]))),
    }
    for name, estimates in rows.items():
        for end, field in (("", "value"), *((f"_{f}", f) for f in Estimate._fields[1:])):
            data[f"{name}{end}"] = ("cause", np.array([getattr(one, field) for one in estimates]))
    for name, coalition in (("with_all", every), ("with_none", 0)):
        sample = parts.sample(values[wanted.index(coalition)])
        estimate = what.estimate(sample, level)
        for end, number in zip(("", "_standard_error", "_lower", "_upper"), estimate, strict=True):
            data[f"{name}{end}"] = ((), number)
    return xr.Dataset(
        data,
        coords={"cause": np.array(found.causes, dtype=np.str_)},
        attrs={
            "level": level,
            "event": f"above {what.above:g}" if what.above is not None else f"below {what.below:g}",
            "paths": int(np.count_nonzero(present)),
            "method": f"on common draws: {Probability.method}",
            **({"variable": found.variable} if found.variable else {}),
        },
    )


def _share(event: np.ndarray, among: np.ndarray, parts: PathParts, level: float) -> Estimate:
    """The share of paths with an event among some paths."""
    if not among.any():
        return NOTHING
    sample = parts.on(among).sample(event[among] * 1.0)
    return on_event(Probability(above=0.5), sample, level)
