"""What outcomes of any path under any policy must satisfy, by the definitions of MODEL.md 2.10."""

from __future__ import annotations

from typing import Any

import kernel
import numpy as np

from deleverage.policy import Policy
from deleverage.world import Layout

SHARES = ("long_share", "peak_window_share")
NEVER_NEGATIVE = (
    *("liquidated_notional", "liquidated_notional_by_market", "reported_liquidations"),
    *("liquidated_accounts", "collateral_sold", "insurance_drawn", "insurance_drawn_by_venue"),
    *("vault_paid", "vault_taken", "adl_notional", "adl_notional_by_venue", "adl_loss"),
    *("adl_overshoot_wealth", "socialised_loss", "bad_debt", "missed_liquidations", "missed_loss"),
    *("wrongful_liquidations", "compensation", "liquidated_units", "exogenous_liquidations"),
    *("halted_minutes", "depeg_minutes", "outage_length", "least_margin_gap", "units_redeemed"),
)
POSITIVE = ("trough_price", "wick_price", "trough_index", "least_backing")
PARTS = ("insurance_drawn", "vault_paid", "adl_loss", "socialised_loss", "unabsorbed_loss")


def broken(
    layout: Layout, policy: Policy, found: dict[str, np.ndarray], dtype: str
) -> list[str]:
    """What does not hold, by name.

    Args:
        layout: Static world.
        policy: Rules, leaves `[..., policy]`.
        found: Outcomes, `[policy, path, ...]`.
        dtype: Float type they were found in.
    """
    found = {name: values.astype(float) for name, values in found.items()}
    error = kernel.rounding(layout, dtype) * kernel.gross_exposure(policy)[:, None]
    rough, end = kernel.rounding(layout, dtype), layout.steps * layout.step
    total, nothing = found["liquidated_notional"], found["liquidated_notional"] == 0.0
    holds: dict[str, Any] = {}

    def numbers(name: str) -> np.ndarray:
        return found[name][~np.isnan(found[name])]

    for name in NEVER_NEGATIVE:
        holds[f"{name} is not negative"] = numbers(name) >= 0.0
    for name in POSITIVE:
        holds[f"{name} is positive"] = numbers(name) > 0.0
    for name in SHARES:
        share = numbers(name)
        holds[f"{name} is a share"] = (share >= 0.0) & (share <= 1.0 + rough)
        holds[f"{name} is one of something"] = np.isnan(found[name]) == nothing
    for name in ("peak_time", "trough_time"):
        holds[f"{name} lies within the run"] = (numbers(name) > 0.0) & (numbers(name) <= end)
    for name in ("halted_minutes", "depeg_minutes", "outage_length"):
        holds[f"{name} is no longer than the run"] = found[name] <= end * (1.0 + rough)
    start = found["outage_start"]
    holds["outages that are seen begin within the run"] = ~(start >= end)
    at = found["depeg_minutes"]
    holds["no peg is longer below a lower threshold"] = (np.diff(at, axis=-1) <= 0.0).all()

    borne = sum(found[name] for name in PARTS)
    holds["bad debt is borne in full"] = np.abs(found["bad_debt"] - borne) <= error
    holds["the venue bears no gain"] = found["unabsorbed_loss"] >= -error
    for name in ("insurance_drawn", "adl_notional"):
        by_venue = found[f"{name}_by_venue"].sum(axis=-1)
        holds[f"{name} is that of all venues"] = np.abs(found[name] - by_venue) <= error
    holds["winners close no contract too many"] = found["adl_overshoot_contracts"] == 0.0

    most = error + rough * total
    of_total = {
        "liquidated_notional_by_market": found["liquidated_notional_by_market"].sum(axis=-1),
        "reported_liquidations": found["reported_liquidations"],
        "wrongful_liquidations": found["wrongful_liquidations"].sum(axis=-1),
    }
    for name, part in of_total.items():
        holds[f"{name} is part of all"] = part <= total + most
    accounts = policy.books.accounts.sum(axis=(0, 1))[:, None]
    holds["accounts count once"] = found["liquidated_accounts"] <= accounts * (1.0 + rough)
    holds["no more than all is closed"] = found["open_interest_change"] >= -1.0
    holds["feedback is no more than all"] = found["reproduction_number"] <= 1.0
    holds["backing counts up to the peg"] = ~(found["least_backing"] > 1.0)
    if policy.issuer is not None:
        stock = np.minimum(policy.issuer.reserve, policy.issuer.supply).T[:, None]
        redeemed = found["units_redeemed"][..., list(layout.pegged)]
        holds["no more is redeemed than there is"] = ~(redeemed > stock + error[..., None])
    holds["status has four flags"] = np.isin(found["status"], np.arange(16))
    return [name for name, values in holds.items() if not np.all(values)]
