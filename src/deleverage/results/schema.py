"""The one table of stored variables: name, dims, unit, meaning, type, and what is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from deleverage.errors import ConfigError

SCHEMA_VERSION = 1

#: Bit flags of the `status` coordinate. `MISSING` is what an unwritten chunk reads as.
UNFINISHED = 1
BOOK_EXHAUSTED = 2
DUE_AT_START = 4
NOT_FINITE = 8
MISSING = 128
STATUS_FLAGS: dict[str, int] = {
    "unfinished": UNFINISHED,
    "book_exhausted": BOOK_EXHAUSTED,
    "due_at_start": DUE_AT_START,
    "not_finite": NOT_FINITE,
    "missing": MISSING,
}


@dataclass(frozen=True)
class Variable:
    """One stored variable.

    Attributes:
        name: Name in the dataset, as in MODEL.md section 2.10.
        dims: Its dimensions in order.
        unit: The `units` attribute.
        long_name: The `long_name` attribute, a phrase a reader understands alone.
        default: Kept when the config selects nothing.
        dtype: NumPy type on disk.
        coordinate: Stored as a coordinate, not as a data variable.
    """

    name: str
    dims: tuple[str, ...]
    unit: str
    long_name: str
    default: bool = True
    dtype: str = "float32"
    coordinate: bool = False

    @property
    def fill(self) -> float:
        """The value of a chunk that nobody has written."""
        return {"uint8": MISSING, "int64": -1}.get(self.dtype, float("nan"))

    @property
    def by_path(self) -> bool:
        """Whether units write it; the others are known before any simulation."""
        return "path" in self.dims or self.by_block

    @property
    def by_block(self) -> bool:
        """Whether it is a sum over the paths of a unit: a histogram of the timeline."""
        return BLOCK in self.dims

    @property
    def by_policy(self) -> bool:
        """Whether it differs by policy; the others are written by policy block 0 only."""
        return "policy" in self.dims


_BOTH = ("policy", "path")
_MARKET = (*_BOTH, "market")
_MONEY = "million USD"

_TABLE = (
    Variable("liquidated_notional", _BOTH, _MONEY, "Notional liquidated, all venues"),
    Variable(
        "liquidated_notional_by_market", _MARKET, _MONEY, "Notional liquidated", default=False
    ),
    Variable(
        "reported_liquidations", _BOTH, _MONEY, "Liquidations as a capped feed would report them"
    ),
    Variable("liquidated_accounts", _BOTH, "1", "Accounts liquidated, each counted once"),
    Variable("long_share", _BOTH, "1", "Share of longs in the notional liquidated"),
    Variable("peak_window_share", _BOTH, "1", "Largest share liquidated in ten minutes"),
    Variable("peak_time", _BOTH, "minutes", "Time of the ten minutes with most liquidations"),
    Variable(
        "collateral_sold",
        (*_BOTH, "asset"),
        _MONEY,
        "Collateral sold by liquidations",
        default=False,
    ),
    Variable("bad_debt", _BOTH, _MONEY, "Deficits of bankrupt accounts"),
    Variable("insurance_drawn", _BOTH, _MONEY, "Deficits paid by insurance funds"),
    Variable("vault_paid", _BOTH, _MONEY, "Deficits paid by vaults that took positions over"),
    Variable(
        "vault_taken",
        (*_BOTH, "venue"),
        _MONEY,
        "Notional taken over by a venue's vault, at closing prices",
        default=False,
    ),
    Variable(
        "vault_loss",
        (*_BOTH, "venue"),
        _MONEY,
        "Loss of a venue's vault on what it took over; below 0 a gain",
    ),
    Variable("adl_notional", _BOTH, _MONEY, "Notional closed by auto-deleveraging"),
    Variable("adl_loss", _BOTH, _MONEY, "Deficits borne by auto-deleveraged winners"),
    Variable(
        "adl_overshoot_contracts",
        _BOTH,
        _MONEY,
        "Winners' contracts closed beyond the bankrupt ones, at closing prices",
    ),
    Variable(
        "adl_overshoot_wealth", _BOTH, _MONEY, "Winners' profit taken beyond the deficits covered"
    ),
    Variable("socialised_loss", _BOTH, _MONEY, "Deficits shared over a venue's equity"),
    Variable("unabsorbed_loss", _BOTH, _MONEY, "Deficits left with the venue itself"),
    Variable("equity_lost", (*_BOTH, "venue"), _MONEY, "Equity lost by the accounts of a venue"),
    Variable("trough_price", _MARKET, "1", "Lowest price after healing, ratio to the start"),
    Variable(
        "wick_price",
        _MARKET,
        "1",
        "Lowest price before healing, ratio to the start",
        default=False,
    ),
    Variable("trough_time", _MARKET, "minutes", "Time of the lowest price", default=False),
    Variable("trough_index", (*_BOTH, "index"), "1", "Lowest published index, ratio to the start"),
    Variable(
        "halted_minutes",
        (*_BOTH, "index"),
        "minutes",
        "Minutes that liquidations were halted by a circuit breaker",
        default=False,
    ),
    Variable(
        "depeg_minutes",
        (*_BOTH, "peg", "threshold"),
        "minutes",
        "Minutes below the threshold, spot over redemption price",
    ),
    Variable(
        "least_backing",
        (*_BOTH, "asset"),
        "1",
        "Least that was behind a unit of a pegged asset, over its anchor",
        default=False,
    ),
    Variable(
        "units_redeemed",
        (*_BOTH, "asset"),
        _MONEY,
        "Units that an issuer redeemed, at starting prices",
        default=False,
    ),
    Variable("open_interest_change", _BOTH, "1", "Relative change of perp open interest"),
    Variable("open_interest", ("policy",), _MONEY, "Perp open interest at the start"),
    Variable("open_interest_forgone", ("policy",), _MONEY, "Open interest the policy forgoes"),
    Variable("credit_forgone", ("policy",), _MONEY, "Credit the policy forgoes"),
    Variable("fund_size", ("policy",), _MONEY, "Insurance funds at the start"),
    Variable("vault_size", ("policy",), _MONEY, "What liquidity vaults have at the start"),
    Variable("outage_start", (*_BOTH, "venue"), "minutes", "Start of the transfer outage"),
    Variable("outage_length", (*_BOTH, "venue"), "minutes", "Length of the transfer outage"),
    Variable("least_margin_gap", _BOTH, "1", "Smallest distance to a margin call, |E - MM| / MM"),
    Variable(
        "wrongful_liquidations",
        (*_BOTH, "cause"),
        _MONEY,
        "Notional due under the policy though sound at fair values and baseline margins",
    ),
    Variable(
        "missed_liquidations", _BOTH, _MONEY, "Notional due at fair values but not under the policy"
    ),
    Variable("missed_loss", _BOTH, _MONEY, "Final deficits of accounts whose call was missed"),
    Variable("compensation", _BOTH, _MONEY, "Fair value less proceeds of wrongful pegged sales"),
    Variable("amplification", _MARKET, "1", "Drawdown over the exogenous drawdown", default=False),
    Variable("reproduction_number", _BOTH, "1", "One less exogenous over total liquidations"),
    Variable("liquidated_units", _BOTH, _MONEY, "Liquidations at starting prices"),
    Variable(
        "exogenous_liquidations", _BOTH, _MONEY, "Liquidations without feedback, starting prices"
    ),
    Variable("severity", ("path",), "1", "Severity of the macro shock, log", coordinate=True),
    Variable("shock_time", ("path",), "minutes", "Time of the macro shock", coordinate=True),
    Variable("log_weight", ("path",), "1", "Log of the sampling weight", coordinate=True),
    Variable(
        "status", _BOTH, "1", "Flags of a path that is not plain", dtype="uint8", coordinate=True
    ),
)

#: The coordinate of paths that are not drawn each by itself: errors come from how blocks differ.
DRAW_BLOCK = "draw_block"

#: The dimension of path blocks: each unit's histograms have a place of their own in it.
BLOCK = "block"
#: Group of the histograms of units, and group of their sums, which `finalize` writes.
TIMELINE_UNITS, TIMELINE = "timeline_units", "timeline"

_ROWS: Mapping[str, tuple[tuple[str, ...], str, str]] = {
    "price": (("market",), "1", "Price after healing, ratio to the start"),
    "index_price": (("index",), "1", "Published index, ratio to the start"),
    "depth": (("market",), "1", "Depth left by the liquidity drop, share of the configured depth"),
    "liquidations": ((), f"{_MONEY} per minute", "Notional liquidated, all venues"),
    "open_interest": ((), "1", "Perp open interest, ratio to the start"),
    "equity": ((), "1", "Equity of accounts, ratio to the start"),
}
_TIMELINE = tuple(
    Variable(
        f"{TIMELINE_UNITS}/{name}",
        (BLOCK, "policy", "time", *rows, f"{name}_bin"),
        unit,
        long_name,
        default=False,
        dtype="int64",
    )
    for name, (rows, unit, long_name) in _ROWS.items()
)

Good = Literal["low", "high"]

#: Which values of an outcome are good. Of what is not named here that is for the reader to say: an
#: early trough, a long halt, or a share of longs are neither good nor bad by themselves.
GOOD: Mapping[str, Good] = {
    **dict.fromkeys(
        (
            *("liquidated_notional", "liquidated_notional_by_market", "reported_liquidations"),
            *("liquidated_accounts", "liquidated_units", "exogenous_liquidations"),
            *("collateral_sold", "bad_debt", "insurance_drawn", "vault_paid", "vault_loss"),
            *("adl_notional", "adl_loss", "adl_overshoot_contracts", "adl_overshoot_wealth"),
            *("socialised_loss", "unabsorbed_loss", "equity_lost", "depeg_minutes"),
            *("open_interest_forgone", "credit_forgone", "wrongful_liquidations"),
            *("missed_liquidations", "missed_loss", "compensation", "amplification"),
            "reproduction_number",
        ),
        "low",
    ),
    **dict.fromkeys(
        ("trough_price", "wick_price", "trough_index", "least_backing", "least_margin_gap"), "high"
    ),
}

VARIABLES: Mapping[str, Variable] = {variable.name: variable for variable in _TABLE}
HISTOGRAMS: Mapping[str, Variable] = {variable.name: variable for variable in _TIMELINE}

#: `long_name` of every dimension coordinate.
DIMENSIONS: Mapping[str, str] = {
    "policy": "Policy",
    "path": "Global path id",
    DRAW_BLOCK: "Block of paths drawn together; blocks are independent",
    "asset": "Asset",
    "venue": "Venue",
    "market": "Market, as venue/pair/kind",
    "index": "Index, as venue/asset, and its product where products differ",
    "peg": "Pegged spot price, as venue/asset",
    "threshold": "Depeg threshold, spot over redemption price",
    "cause": "Rule that caused the liquidation",
    "unit": "Unit of the sweep",
}


def select_variables(names: Sequence[str] | str | None) -> tuple[str, ...]:
    """The variables a run stores, in the table's order.

    Coordinates are always kept, since every table counts `status` and honours `log_weight`.

    Args:
        names: Names, `"all"`, or `"default"` (also None).

    Raises:
        ConfigError: A name is not in the table.
    """
    if names is None or names == "default":
        return tuple(v.name for v in _TABLE if v.default or v.coordinate)
    if names == "all":
        return tuple(VARIABLES)
    for name in names:
        if name not in VARIABLES:
            raise ConfigError(
                f"results.variables: {name!r} is not a stored variable; allowed are "
                f"{', '.join(VARIABLES)}."
            )
    return tuple(v.name for v in _TABLE if v.name in names or v.coordinate)
