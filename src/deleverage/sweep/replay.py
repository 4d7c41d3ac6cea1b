"""A stored path once more, by the very program that made it, with every step written out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from deleverage.errors import ConfigError, RunError
from deleverage.results.plan import CONFIG_FILE
from deleverage.results.schema import DRAW_BLOCK, GOOD, VARIABLES
from deleverage.sweep.levels import simulator_of
from deleverage.sweep.worker import engine

if TYPE_CHECKING:
    import xarray as xr

    from deleverage.results.opening import Run

#: Dimensions, unit and meaning of what is recorded each step. `edge` has one place more than
#: `time`: what accounts hold before the first step and after the last.
RECORD: dict[str, tuple[tuple[str, ...], str, str]] = {
    "fundamental": (("time", "asset"), "1", "Fundamental price, ratio to the start"),
    "gate_open": (("time", "venue"), "1", "Whether transfers go through"),
    "price": (("time", "market"), "1", "Price before the step's orders (stage 2)"),
    "index_price": (("time", "index"), "1", "Published index (stage 3)"),
    "mark_price": (("time", "market"), "1", "Mark price of perps (stage 3)"),
    "equity": (("time", "book", "bucket"), "million USD", "Equity of a cohort (stage 4)"),
    "maintenance_margin": (
        ("time", "book", "bucket"),
        "million USD",
        "Maintenance margin of a cohort (stage 4)",
    ),
    "is_due": (("time", "book", "bucket"), "1", "Whether a cohort is being liquidated"),
    "units_sold": (("time", "market"), "million USD", "Net sales, at starting prices (stages 5-6)"),
    "traded_price": (("time", "market"), "1", "Price after the step's orders (stage 7)"),
    "closing_price": (("time", "market"), "1", "Price after healing (stage 8)"),
    "displacement": (("time", "market"), "1", "Log distance below the fundamental, after healing"),
    "fund": (("time", "venue"), "million USD", "Insurance fund (stage 9)"),
    "cash": (("edge", "book", "bucket"), "million USD", "Cash of a cohort"),
    "contracts": (("edge", "perp_slot", "book", "bucket"), "million USD", "Contracts of a cohort"),
    "collateral": (
        ("edge", "collateral_slot", "book", "bucket"),
        "million USD",
        "Collateral of a cohort, at starting prices",
    ),
}

_LABELLED = ("asset", "venue", "market", "index", "peg")

LOW_IS_BAD = {name for name, good in GOOD.items() if good == "high"} | {"trough_time", "long_share"}
"""Outcomes of which low values are looked at: the bad ones, early troughs, and short squeezes."""


def worst_paths(
    outcomes: xr.Dataset, policy: str, by: str, count: int = 1, at: str | None = None
) -> list[int]:
    """The paths of a policy with the worst values of a variable, the worst first.

    Large values are bad; of prices at their trough and of margins, small ones. Paths of weight 0,
    which stand for nothing, are left out, and so is what only repeats a path: a move that splitting
    did not make, known by the same draws and outcomes in the same replicate.

    Args:
        outcomes: Outcomes of a run.
        policy: Label of the policy.
        by: Variable that ranks them.
        count: How many paths.
        at: A label of its further dimension; without it values are summed, of prices the least.

    Raises:
        ConfigError: The policy, the variable or the label is not there.
    """
    if by not in outcomes or "path" not in outcomes[by].dims:
        raise ConfigError(
            f"`by` is {by!r}, but this run stores {', '.join(map(str, outcomes.data_vars))}."
        )
    x = outcomes[by]
    if "policy" in x.dims:
        x = x.isel(policy=_place(outcomes, policy), drop=True)
    extra = [str(dim) for dim in x.dims if dim != "path"]
    if at is not None:
        found = [
            (dim, i) for dim in extra for i, label in enumerate(x[dim].values) if str(label) == at
        ]
        if not found:
            known = [str(label) for dim in extra for label in x[dim].values]
            raise ConfigError(f"{by} has no label {at!r}; it has {', '.join(known) or 'none'}.")
        dim, place = found[0]
        x = x.isel({dim: place}, drop=True)
        extra.remove(dim)
    low = by in LOW_IS_BAD
    if extra:
        x = x.min(extra) if low else x.sum(extra, skipna=False)
    values = np.asarray(x.values, dtype=np.float64)
    worst = values if low else -values
    candidates = ~np.isnan(values)
    if "log_weight" in outcomes.coords:
        candidates &= outcomes["log_weight"].values != -np.inf
    order = np.argsort(np.where(candidates, worst, np.inf), kind="stable")
    order = order[candidates[order]]
    if outcomes.attrs.get("sampling") != "splitting":
        return [int(path) for path in order[:count]]
    return _different(outcomes, policy, order, values, count)


def _different(
    outcomes: xr.Dataset, policy: str, order: np.ndarray, values: np.ndarray, count: int
) -> list[int]:
    """The first paths in an order, without those that repeat one before them."""
    stored = outcomes.isel(policy=_place(outcomes, policy), drop=True)
    blocks = outcomes[DRAW_BLOCK].values
    apart = ("path", "log_weight", DRAW_BLOCK)  # a copy has its own

    @cache
    def row(path: int) -> list[bytes]:
        one = stored.isel(path=path)
        names = [n for n, x in stored.variables.items() if "path" in x.dims and n not in apart]
        return [one[name].values.tobytes() for name in names]

    chosen: list[int] = []
    for path in map(int, order):
        if len(chosen) == count:
            break
        # only what ranks alike in the same replicate is read and compared
        alike = [p for p in chosen if values[p] == values[path] and blocks[p] == blocks[path]]
        if not any(row(one) == row(path) for one in alike):
            chosen.append(path)
    return chosen


class Replayer:
    """A run's engine, compiled once for as many paths as are asked for.

    Args:
        run: An open run.

    Raises:
        RunError: The run was made by another kernel, or on another backend.
    """

    def __init__(self, run: Run) -> None:
        """Build the run's config again."""
        prepared = engine(run.path / CONFIG_FILE)
        self._simulator: Any = simulator_of(run.plan, prepared)
        here = self._simulator.fingerprint()
        if here != run.plan.fingerprint:
            differs = [name for name in here if here[name] != run.plan.fingerprint.get(name)]
            raise RunError(
                f"{run.path} was made with another {', '.join(differs)} "
                f"({', '.join(str(run.plan.fingerprint.get(name)) for name in differs)}), so no "
                "path would come out the same; replay it where it was made, or run it again."
            )
        self._run, self._built = run, prepared.built

    def replay(self, policy: str, path: int) -> xr.Dataset:
        """All steps of a path under a policy.

        Args:
            policy: Label of the policy.
            path: Global id of the path.

        Returns:
            The variables of `RECORD`, time in minutes at the end of each step; the outcomes as
            scalars and vectors, `outcome_...`; `severity` and `shock_time` as attributes.

        Raises:
            ConfigError: There is no such policy or path.
            RunError: The outcome is not the stored one, bit for bit.
        """
        import xarray as xr

        place = _place(self._run.outcomes, policy)
        if not 0 <= path < self._run.plan.paths:
            raise ConfigError(
                f"path is {path}, but this run has the paths 0 to {self._run.plan.paths - 1}."
            )
        outcomes, record = self._simulator.watch(place, path)
        stored = self._run.outcomes.isel(policy=place, path=path)
        self._verify(stored, outcomes, policy, path)
        layout = self._layout(place)
        names = self._books(policy, len(layout.books))
        labels = self._built.labels
        coords = {
            "time": ("time", np.arange(1, layout.steps + 1) * layout.step, {"units": "minutes"}),
            "edge": ("edge", np.arange(layout.steps + 1) * layout.step, {"units": "minutes"}),
            **{dim: _text(labels[dim]) for dim in _LABELLED},
            "book": _text(names),
            "book_venue": ("book", _text(labels["venue"][book.venue] for book in layout.books)),
            "peg_market": ("peg", _text(labels["market"][m] for m in layout.peg_markets)),
        }
        data = {
            name: (dims, np.asarray(record[name]), {"units": unit, "long_name": meaning})
            for name, (dims, unit, meaning) in RECORD.items()
        }
        for name in self._run.plan.variables:
            variable = VARIABLES[name]
            if variable.by_path and name in stored:
                rest = tuple(d for d in variable.dims if d not in ("policy", "path"))
                # what is stored may be of some markets only
                dims = tuple(f"stored_{d}" if d in self._run.plan.select else d for d in rest)
                data[f"outcome_{name}"] = (dims, stored[name].values, {"units": variable.unit})
        return xr.Dataset(
            data,
            coords=coords,
            attrs={
                "policy": policy,
                "path": path,
                "run": str(self._run.path),
                "start": f"{self._built.start:%Y-%m-%dT%H:%M:%SZ}",
            },
        )

    def _verify(
        self, stored: xr.Dataset, outcomes: dict[str, np.ndarray], policy: str, path: int
    ) -> None:
        """Compare what came out with what is stored, byte by byte."""
        for name in self._run.plan.variables:
            variable = VARIABLES[name]
            if not (variable.by_path and variable.by_policy) or name not in outcomes:
                continue
            rest = [d for d in variable.dims if d not in ("policy", "path")]
            mine = self._run.plan.kept(np.asarray(outcomes[name]), rest)
            kept = np.asarray(stored[name].values, dtype=variable.dtype)
            if mine.astype(variable.dtype).tobytes() != kept.tobytes():
                raise RunError(
                    f"{name} of path {path} under {policy} is stored as {kept!r} but came out as "
                    f"{mine!r}; `deleverage verify` says whether the stored data is damaged."
                )

    def _layout(self, place: int) -> Any:
        return next(group[0].layout for group in self._built.groups if place in group[2])

    def _books(self, policy: str, count: int) -> Sequence[str]:
        names = list(self._built.config.under(policy).scenario.held)
        return names if len(names) == count else [f"book {number}" for number in range(count)]


def replay(run: Run, policy: str, path: int) -> xr.Dataset:
    """All steps of one stored path under a policy; see `Replayer.replay`."""
    return Replayer(run).replay(policy, path)


def _text(labels: Iterable[str]) -> np.ndarray:
    """Labels of any length, which zarr stores by its specification."""
    return np.array([str(label) for label in labels], dtype=object)


def _place(outcomes: xr.Dataset, policy: str) -> int:
    labels = [str(label) for label in outcomes["policy"].values]
    if policy not in labels:
        raise ConfigError(
            f"policy {policy!r} is not in this run; its policies are {', '.join(labels)}."
        )
    return labels.index(policy)
