"""The baseline beside what was observed on the day."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from deleverage.analysis import tail
from deleverage.analysis.columns import with_error
from deleverage.analysis.estimate import ThinTailWarning
from deleverage.analysis.held import held
from deleverage.analysis.quantities import labels, position
from deleverage.errors import ConfigError

if TYPE_CHECKING:
    import xarray as xr

_NUMBERS = (
    *("median", "standard_error", "lower", "upper", "quantile_5", "quantile_5_standard_error"),
    *("quantile_95", "quantile_95_standard_error", "units", "agrees"),
)
KEYS = ("label", "variable", "observed", "low", "high")


def observed_comparison(
    dataset: xr.Dataset, facts: Iterable[Mapping[str, Any]], baseline: str = "baseline"
) -> list[dict[str, Any]]:
    """The baseline's median and 5% to 95% range of each observed quantity.

    Args:
        dataset: Outcomes `(policy, path, ...)`.
        facts: Entries with `label`, `variable`, `selection` (labels by dimension, optional),
            `observed` (text), `low` and `high` (the observed band, in the unit of the variable).
        baseline: The policy as it was that day.

    Returns:
        One row a fact: label, observed, low, high, median with standard_error, lower and upper,
        quantile_5 and quantile_95 with theirs, units, paths, flagged paths, and `agrees` (the
        median lies in the band). Where the dataset
        does not hold the variable or the label, the numbers are None and `note` says so.

    Raises:
        ConfigError: The baseline is missing, or an entry is incomplete or selects too little.
    """
    policies = labels(dataset, "policy")
    if baseline not in policies:
        raise ConfigError(
            f"policy {baseline!r} is not in this dataset; its policies are {', '.join(policies)}."
        )
    facts = list(facts)
    dataset = held(dataset, {str(fact.get("variable")) for fact in facts})
    at_baseline = dataset.isel(policy=policies.index(baseline))
    return [_compare(at_baseline, fact) for fact in facts]


def comparison_as_text(rows: Iterable[Mapping[str, Any]], width: int = 120) -> str:
    """The comparison as a terminal prints it, a fact per row."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    printed = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for heading in ("baseline, median path", "observed that day"):
        printed.add_column(heading, overflow="fold")
    for heading in ("median", "5% to 95%", "in band"):
        printed.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        if row["median"] is None:
            numbers = [row.get("note") or "-", "", ""]
        else:
            span = f"{row['quantile_5']:,.4g} to {row['quantile_95']:,.4g}"
            median = with_error(row["median"], row["standard_error"])
            numbers = [median, span, "yes" if row["agrees"] else "no"]
        printed.add_row(*[Text(str(text)) for text in (row["label"], row["observed"], *numbers)])
    page = io.StringIO()
    Console(file=page, width=width, force_terminal=False, color_system=None).print(printed)
    return "\n".join(line.rstrip() for line in page.getvalue().splitlines()) + "\n"


def _compare(dataset: xr.Dataset, fact: Mapping[str, Any]) -> dict[str, Any]:
    absent = [key for key in KEYS if key not in fact]
    if absent:
        raise ConfigError(
            f"the observed fact {fact.get('label', '?')!r} lacks {', '.join(absent)}; "
            f"an entry needs {', '.join(KEYS)}."
        )
    row: dict[str, Any] = {key: fact[key] for key in KEYS}
    row |= dict.fromkeys(_NUMBERS) | {"paths": 0, "flagged": 0, "note": ""}
    if fact["variable"] not in dataset:
        return row | {"note": "not stored"}
    x = dataset[fact["variable"]]
    for dim, label in (fact.get("selection") or {}).items():
        try:
            x = x.isel({dim: position(x, dim, label)})
        except KeyError:
            return row | {"note": f"no {dim} {label}"}
    if x.dims != ("path",):
        raise ConfigError(
            f"the observed fact {fact['label']!r} leaves the dimensions {x.dims}, but only 'path' "
            "may be left; name the others in its selection."
        )
    x = x.compute()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ThinTailWarning)  # the range is shown, not tested
        low, middle, high = (tail.quantile(x, q) for q in (0.05, 0.5, 0.95))
    median = float(middle["estimate"])
    if math.isnan(median):
        return row | {"note": "missing on every path"}
    return row | {
        "median": median,
        "standard_error": float(middle["standard_error"]),
        "lower": _finite(middle["lower"]),
        "upper": _finite(middle["upper"]),
        "quantile_5": float(low["estimate"]),
        "quantile_5_standard_error": _finite(low["standard_error"]),
        "quantile_95": float(high["estimate"]),
        "quantile_95_standard_error": _finite(high["standard_error"]),
        "units": str(x.attrs.get("units", "")),
        "paths": int(middle["paths"]),
        "flagged": int(middle["flagged"]),
        "agrees": bool(fact["low"] <= median <= fact["high"]),
    }


def _finite(number: xr.DataArray) -> float | None:
    return float(number) if math.isfinite(number) else None
