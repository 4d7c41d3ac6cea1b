"""Whether the error bar that a config asks for is reached, and how a reader is told."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from deleverage.analysis import tail
from deleverage.analysis.estimate import ThinTailWarning
from deleverage.analysis.measures import by_name
from deleverage.analysis.quantities import Quantity

if TYPE_CHECKING:
    import xarray as xr

    from deleverage.config.paths import Until


def relative_errors(measured: xr.Dataset) -> np.ndarray:
    """Standard error over the value at each place; infinite where the sample carries no error.

    That is where the value is 0 (no path of the sample lost anything, which says little about
    those not drawn) and, everywhere, where the tail is too thin for the level.
    """
    values = np.abs(measured.estimate.values)
    errors = measured.standard_error.values
    known = np.isfinite(values) & np.isfinite(errors) & (values > 0)
    if "thin_tail" in measured.attrs:
        known &= False
    return np.divide(errors, values, out=np.full(values.shape, math.inf), where=known)


def judge(outcomes: xr.Dataset, until: Until) -> dict[str, Any]:
    """The policy whose relative error is largest, and whether that is small enough.

    Args:
        outcomes: Of a run, `(policy, path, ...)`.
        until: The measure and the error asked for.

    Returns:
        `reached`, and of that policy `policy`, `estimate`, `standard_error` and `relative_error`;
        None for what is not a number.
    """
    what = by_name(until.measure, until.q, until.tail, until.above, until.below)
    x = Quantity("", (until.variable,), what, until.selection).outcome(outcomes)
    labels = [str(label) for label in x["policy"].values]
    chosen = labels if until.policies == "all" else list(until.policies)
    x = x.isel(policy=[labels.index(label) for label in chosen])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ThinTailWarning)  # it counts as no error at all
        measured = tail.measure(x, what)
    errors = relative_errors(measured)
    worst = int(np.argmax(errors))
    return {
        "reached": bool(errors[worst] <= until.relative_error),
        "policy": chosen[worst],
        "estimate": _number(measured.estimate.values[worst]),
        "standard_error": _number(measured.standard_error.values[worst]),
        "relative_error": _number(errors[worst]),
    }


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def sentence(stopping: Mapping[str, Any], paths: int) -> str:
    """What a plan's `stopping` says, for a reader.

    Args:
        stopping: The rule, and once it is decided what `judge` found.
        paths: Paths that the run has, or has until then.
    """
    until, most = stopping["until"], stopping["at_most"]
    asked = f"{100 * until['relative_error']:.3g}%"
    what = f"the standard error of {_measure(until)}"
    if "reached" not in stopping:
        whom = "every policy" if until["policies"] == "all" else ", ".join(until["policies"])
        return f"{paths:,} to {most:,} paths, until {what} is {asked} of it under {whom}"
    found = stopping["relative_error"]
    error = "not known" if found is None else f"{100 * found:.3g}% of it"
    if stopping["reached"]:
        return (
            f"stopped at {paths:,} of at most {most:,} paths: {what} is {error} at most, "
            f"{asked} asked (under {stopping['policy']})"
        )
    return (
        f"took all {paths:,} paths: {what} is still {error}, {asked} asked (under "
        f"{stopping['policy']}); raise paths.at_most to go on"
    )


def _measure(until: Mapping[str, Any]) -> str:
    words = [f"the {until['measure'].replace('_', ' ')}"]
    if "q" in until:
        words.append(
            f"{until['q']:.4g}" + (" of the lower tail" if until["tail"] == "lower" else "")
        )
    words.append(f"of {until['variable']}")
    words += [f"{side} {until[side]:g}" for side in ("above", "below") if side in until]
    words += [f"at {label}" for label in until["selection"].values()]
    return " ".join(words)
