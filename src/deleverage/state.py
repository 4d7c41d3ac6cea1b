"""What one step passes to the next, and what a path is given from outside.

In the cascade arrays end in the two axes of a column, lane (of the policy axis) and path; `Draws`,
`Inputs` and `PathCoordinates` end in the path axis alone, since no policy changes them. Letters as
in `policy.py`; `T` steps, `A` assets, `G` draw steps.
"""

from __future__ import annotations

from typing import Any

import equinox as eqx


class Draws(eqx.Module):
    """Raw random numbers of a block of paths, in the order MODEL.md section 2.1 uses them.

    Normals are standard, uniforms in (0, 1). Fields of mechanisms that are off are None.
    """

    diffusion: Any  # [G, factor, path] normals
    macro: Any  # [2, path] uniforms: severity, time
    jump_uniform: Any  # [G, path] or None
    jump_normal: Any  # [G, path] or None
    liquidity: Any  # [path] normals
    outage: Any  # [outages, 2, path] uniforms: start, length (drawn for scheduled ones too)
    load: Any = None  # [load outages, 2, path] uniforms: hazard that it takes, length
    halt: Any = None  # [halts, 2, path] likewise
    congestion: Any = None  # [congestions, 2, path] likewise
    glitch: Any = None  # [glitches, path] uniforms: whether it happens
    log_weight: Any = None  # [path] log of the likelihood ratio; None: 0


class Inputs(eqx.Module):
    """The exogenous series of a block of paths, the same for every policy. MODEL.md 2.1."""

    log_fundamental: Any  # [T, A, path]
    liquidity_drop: Any  # [T, path]
    gate_open: Any  # [T, V, path], 1 open, 0 shut
    backing_kept: Any = None  # [T, pegged, path] share of the backing that a step's news leaves
    engine_open: Any = None  # [T, V, path], 1: places orders, 0: halted; None: always 1
    capacity_left: Any = None  # [T, path] of redemptions and cross-venue arbitrage; None: 1
    index_factor: Any = None  # [T, I, path] on raw indices; None: 1
    sales: Any = None  # [T, M, path] units that exogenous sellers sell; None: 0
    outage_start: Any = None  # [V, path] of the first exogenous outage, minutes, NaN: none
    load: Any = None  # [load outages, 5, path]: fields of `cascade.load.Load`
    load_venues: tuple[int, ...] = eqx.field(static=True, default=())


class PathCoordinates(eqx.Module):
    """What is stored with each path, whatever the policy."""

    severity: Any  # [path] log drop of an asset with loading 1
    shock_time: Any  # [path] minutes after the start
    log_weight: Any  # [path] log of the likelihood ratio; 0 under plain sampling


class Accounts(eqx.Module):
    """Cohorts: cash and what is left of each position (USD millions at the start)."""

    cash: Any  # [B, K, column], negative = debt
    contracts: Any  # [Jp, B, K, column] long > 0
    collateral: Any  # [Jc, B, K, column]
    budget: Any  # [B, K, column] top-up cash left
    taken_over: Any  # [B, K, column] bool: wiped out, what is left is the venue's
    liquidated: Any  # [B, K, column] bool: ever sold by force; read by observers alone
    missed: Any  # [B, K, column] bool: ever below the baseline's requirement and not due; same


class Orders(eqx.Module):
    """What cohorts sold in the last step in which they had anything to do."""

    closed: Any  # [Jp, B, K, column] contracts, signed
    sold: Any  # [Jc, B, K, column] units of collateral


class Volatility(eqx.Module):
    """How much markets have moved of late."""

    variance: Any  # [M, column] EMA of squared log returns, per minute
    log_price: Any  # [M, column] after stage 8 of the step before


class Markets(eqx.Module):
    """Order books, published prices and the market makers' side of the perps."""

    displacement: Any  # [M, column] log distance below the fundamental
    last_price: Any  # [M, column] after stage 8 of the step before
    smoothed_index: Any  # [I, column] EMA before the floor
    basis: Any  # [M, column] EMA of perp minus index
    maker_units: Any  # [M, column] market makers' perp inventory
    maker_cash: Any  # [M, column]
    published_index: Any = None  # [I, column] of the step before, where a policy limits its moves
    redemption: Any = None  # [L, I, column] redemption prices of the last steps, a ring
    volatility: Volatility | None = None  # where depth falls with it


class Breakers(eqx.Module):
    """Circuit breakers of the index entries; `W` the longest window of any."""

    recent: Any  # [W, I, column] index prices of the last steps, newest first
    left: Any  # [I, column] steps that the halt goes on


class IssuerState(eqx.Module):
    """Issuers of pegged assets and those who hold what they issued, `[pegged, column]` units."""

    backing: Any  # of the anchor
    ratio: Any  # of the anchor behind a unit, as told in the step
    supply: Any
    reserve: Any  # that can still be redeemed
    free_float: Any  # of holders who may run
    hedge: Any  # USD millions: what its hedges were worth after the step before


class LoadState(eqx.Module):
    """Outages that load brings about."""

    hazard: Any  # [load outages, column] accumulated
    steps: Any  # [load outages, column] taken when it began; infinite: not yet
    shut: Any  # [V, column] steps in which a gate was shut, whatever the cause


class HaircutState(eqx.Module):
    """What dynamic haircuts of the index entries go by, `[I, column]`."""

    variance: Any  # EMA of squared log returns of the index, per minute
    last_index: Any  # published in the step before
    multiplier: Any  # of haircuts, as at the last review


class VaultState(eqx.Module):
    """What venues' vaults hold of what they took over, beside their capital."""

    units: Any  # [M, column] contracts, long > 0
    cash: Any  # [V, column] paid in less paid out


class State(eqx.Module):
    """All that the next step reads, and room that it writes before it reads it."""

    accounts: Accounts
    markets: Markets
    fund: Any  # [V, column] insurance fund, USD millions
    orders: Orders  # room for the orders of a step, written before it is read
    deficit: Any  # [B, K, column] the same for deficits
    breakers: Breakers | None = None  # None: there are none
    haircuts: HaircutState | None = None  # None: no haircut is dynamic
    issuer: IssuerState | None = None  # where a policy knows what backs a pegged asset
    load: LoadState | None = None
    vault: VaultState | None = None  # where a venue has one
