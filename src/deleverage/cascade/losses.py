"""Deficits of a step, and who bore them. MODEL.md 2.9."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array


class Losses(NamedTuple):
    """Deficits and who bore them, USD millions, `[venue, column]` unless said."""

    bad_debt: Array
    insurance_drawn: Array
    adl_loss: Array
    socialised_loss: Array
    unabsorbed_loss: Array
    swept: Array  # leftovers of wiped-out accounts, to the fund
    adl_notional: Array  # closed against winners
    adl_overshoot_contracts: Array  # [column]
    adl_overshoot_wealth: Array  # [column]
    vault_paid: Array | None = None  # deficits of what vaults took over; None: there are none
    vault_taken: Array | None = None  # its notional


def no_losses(fund: Array, vaults: bool = False) -> Losses:
    """A step, or a path so far, without deficits; `vaults`: whether any venue has one."""
    by_venue = jnp.zeros_like(fund)
    return Losses(*[by_venue] * 7, by_venue[0], by_venue[0], *[by_venue if vaults else None] * 2)
