"""What the summary measures: the standard list, cut down to what a dataset holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from deleverage.analysis.measures import ExpectedShortfall, Mean, Measure, Probability, Quantile
from deleverage.errors import ConfigError

if TYPE_CHECKING:
    import xarray as xr

AMOUNTS = (
    "bad_debt",
    "liquidated_notional",
    "reported_liquidations",
    "collateral_sold",
    "wrongful_liquidations",
    "missed_loss",
    "compensation",
)
"""Outcomes of which the summary gives the whole row of amounts, totalled over assets or causes."""

COSTS = ("open_interest_forgone", "credit_forgone")
"""What a policy costs before the first draw: one number a policy, the same on every path."""

LOSSES = ("bad_debt", "equity_lost")
"""Losses given also per USD of open interest, so that a policy under which there is less of it is
not called safer for that alone."""

AMOUNT_MEASURES: tuple[tuple[str, Measure], ...] = (
    ("mean", Mean()),
    ("median", Quantile(0.5)),
    ("quantile_95", Quantile(0.95)),
    ("quantile_99", Quantile(0.99)),
    ("shortfall_99", ExpectedShortfall(0.99)),
)

LOSS_MEASURES: tuple[tuple[str, Measure], ...] = (
    ("mean", Mean()),
    ("shortfall_99", ExpectedShortfall(0.99)),
)

TROUGH_MEASURES: tuple[tuple[str, Measure], ...] = (
    ("median", Quantile(0.5)),
    ("quantile_1", Quantile(0.01)),
)

BEYOND_FUND = ("adl_loss", "socialised_loss", "unabsorbed_loss")
"""Where bad debt goes once the insurance fund has paid its part."""


@dataclass(frozen=True)
class Quantity:
    """One column of the summary: a measure of the sum of some variables at a selection.

    Attributes:
        name: Its label, unique in a summary, such as `bad_debt.shortfall_99`.
        variables: Names whose sum is measured; dims left after the selection are summed too.
        measure: The measure; None for a policy's constant.
        selection: Labels by dimension.
        difference: Whether the measure is the paired difference to the baseline.
        less: Names whose sum is taken off that of `variables`.
        over: Name of the outcome whose mean divides the mean; the ratio is 0 where that is 0.
        per: Name of the policy's constant that divides the measure; NaN where that is 0.
    """

    name: str
    variables: tuple[str, ...]
    measure: Measure | None
    selection: Mapping[str, object] = field(default_factory=dict)
    difference: bool = False
    less: tuple[str, ...] = ()
    over: str | None = None
    per: str | None = None

    def __post_init__(self) -> None:
        """Refuse what no ratio of means is."""
        if self.over is not None and (self.difference or not isinstance(self.measure, Mean)):
            raise ConfigError(
                f"{self.name} is a ratio of means (over={self.over!r}), so it measures with Mean() "
                "and is no difference; leave out over, or the other two."
            )

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of all that it is measured from."""
        others = (name for name in (self.over, self.per) if name is not None)
        return (*self.variables, *self.less, *others)

    def outcome(self, dataset: xr.Dataset) -> xr.DataArray:
        """The array `(policy, path)` that is measured, or `(policy)` for a constant."""
        total = self._sum(dataset, self.variables)
        units = total.attrs.get("units")
        if self.less:
            total = total - self._sum(dataset, self.less)
        alone = len(self.variables) == 1 and not self.less
        total = total.rename(self.variables[0] if alone else None)
        return total.assign_attrs({"units": units} if units else {})

    def divisor(self, dataset: xr.Dataset) -> xr.DataArray | None:
        """The array `(policy, path)` whose mean divides that of the outcome."""
        return None if self.over is None else self._sum(dataset, (self.over,))

    def units(self, outcome: xr.DataArray, dataset: xr.Dataset) -> str:
        """The units of the measure."""
        share = self.measure is not None and self.measure.name == "probability"
        if share or self.over is not None:
            return "1"
        own = str(outcome.attrs.get("units", ""))
        if self.per is None:
            return own
        other = str(dataset[self.per].attrs.get("units", ""))
        return "1" if own == other else f"{own} / {other}"

    def _sum(self, dataset: xr.Dataset, names: tuple[str, ...]) -> xr.DataArray:
        parts = []
        for name in names:
            x = dataset[name]
            units = x.attrs.get("units")
            for dim, label in self.selection.items():
                x = x.isel({dim: position(x, dim, label)}, drop=True)
            extra = [dim for dim in x.dims if dim not in ("policy", "path")]
            # A sum that skipped NaN would turn a missing block into zeros.
            parts.append(x.sum(extra, skipna=False) if extra else x)
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return total.assign_attrs({"units": units} if units else {})


REPRODUCTION = Quantity(
    "reproduction_number.ratio_of_means",
    ("liquidated_units",),
    Mean(),
    less=("exogenous_liquidations",),
    over="liquidated_units",
)
"""One less the mean exogenous over the mean total of liquidations, at starting prices."""


def standard_quantities(dataset: xr.Dataset, baseline: str | None) -> list[Quantity]:
    """The standard list for the variables that the dataset holds."""
    present = set(dataset.data_vars)
    found: list[Quantity] = []
    for variable in AMOUNTS:
        if variable in present:
            found += [Quantity(f"{variable}.{n}", (variable,), m) for n, m in AMOUNT_MEASURES]
    if "liquidated_notional" in present and baseline is not None:
        found.append(
            Quantity(
                "liquidated_notional.shortfall_99.difference",
                ("liquidated_notional",),
                ExpectedShortfall(0.99),
                difference=True,
            )
        )
    found += _troughs(dataset)
    found += _depegs(dataset)
    losses = tuple(name for name in BEYOND_FUND if name in present)
    if losses:
        found.append(Quantity("bad_debt_beyond_fund.probability", losses, Probability(above=0.0)))
    adl = next((name for name in ("adl_notional", "adl_loss") if name in present), None)
    if adl is not None:
        found.append(Quantity("adl.probability", (adl,), Probability(above=0.0)))
    if {"liquidated_units", "exogenous_liquidations"} <= present:
        found.append(REPRODUCTION)
    if "open_interest" in present and bool((dataset["open_interest"] > 0).any()):
        found += [
            Quantity(f"{variable}.{name}.per_open_interest", (variable,), what, per="open_interest")
            for variable in LOSSES
            if variable in present
            for name, what in LOSS_MEASURES
        ]
    for variable in COSTS:
        if variable in present:
            constant = None if "path" not in dataset[variable].dims else Mean()
            found.append(Quantity(variable, (variable,), constant))
    return found


def headline_markets(dataset: xr.Dataset) -> list[str]:
    """Markets whose trough the summary gives: perps of BTC and spot of what has a peg.

    Where none is of this kind, all markets of the dataset.
    """
    if "trough_price" not in dataset or "market" not in dataset["trough_price"].dims:
        return []
    markets = labels(dataset["trough_price"], "market")
    pegged = {_asset_and_kind(name)[0] for name in labels(dataset, "peg")} or {"USDe"}
    chosen = [
        name
        for name in markets
        if _asset_and_kind(name) == ("BTC", "perp")
        or (_asset_and_kind(name)[0] in pegged and _asset_and_kind(name)[1] == "spot")
    ]
    return chosen or markets


def labels(x: xr.DataArray | xr.Dataset, dim: str) -> list[str]:
    """The labels of a dimension as text; none where it has no coordinate."""
    return [str(label) for label in x[dim].values] if dim in x.coords else []


def position(x: xr.DataArray, dim: str, label: object) -> int:
    """Where a label stands on a dimension; numbers match to float32 precision.

    Raises:
        KeyError: The dimension or the label is not there.
    """
    if dim not in x.dims or dim not in x.coords:
        raise KeyError(dim)
    for place, found in enumerate(x[dim].values.tolist()):
        if isinstance(found, float) and isinstance(label, (int, float)):
            if abs(found - label) <= 1e-6 * max(1.0, abs(found)):
                return place
        elif found == label or str(found) == str(label):
            return place
    raise KeyError(label)


def by_policy(x: xr.DataArray, selection: Mapping[str, object]) -> xr.DataArray:
    """A variable at a selection, dims `policy` and `path`; what is left of others is summed.

    Raises:
        ConfigError: The variable has no such dimension, or no such label on it.
    """
    units = x.attrs.get("units")
    for dim, label in selection.items():
        try:
            x = x.isel({dim: position(x, dim, label)}, drop=True)
        except KeyError:
            allowed = ", ".join(str(one) for one in x[dim].values) if dim in x.coords else "none"
            raise ConfigError(f"{x.name} has no {dim} {label!r}; allowed are {allowed}.") from None
    extra = [dim for dim in x.dims if dim not in ("policy", "path")]
    x = x.sum(extra, skipna=False) if extra else x
    return x.assign_attrs({"units": units} if units else {})


def _troughs(dataset: xr.Dataset) -> list[Quantity]:
    return [
        Quantity(f"trough_price.{market}.{name}", ("trough_price",), what, {"market": market})
        for market in headline_markets(dataset)
        for name, what in TROUGH_MEASURES
    ]


def _depegs(dataset: xr.Dataset) -> list[Quantity]:
    """The chance that a peg fell through each threshold for any time at all."""
    if "depeg_minutes" not in dataset:
        return []
    x = dataset["depeg_minutes"]
    if not {"peg", "threshold"} <= set(x.dims):
        return [Quantity("depeg.probability", ("depeg_minutes",), Probability(above=0.0))]
    return [
        Quantity(
            f"depeg.{peg}.{threshold:.4g}.probability",
            ("depeg_minutes",),
            Probability(above=0.0),
            {"peg": peg, "threshold": threshold},
        )
        for peg in labels(x, "peg")
        for threshold in x["threshold"].values.tolist()
    ]


def _asset_and_kind(label: str) -> tuple[str, str]:
    """Asset and kind of a label such as `exchange/BTC/perp` or `exchange/WBETH-ETH/spot`."""
    parts = label.split("/")
    return (parts[1].split("-")[0] if len(parts) > 1 else ""), parts[-1]
