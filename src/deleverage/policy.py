"""A policy: every number that one entry of the policy axis sets, by mechanism.

On the host each leaf ends in the policy axis `[..., policy]`; in the kernel in two, a lane and one
of length 1 for all paths. Slots: `J` perps or collateral slots of a book, `B` books, `K` buckets,
`M` markets, `I` index entries, `S` sources of an index entry, `V` venues, `R` tiers.
A 1 in a shape is an axis kept for broadcasting against cohorts `[book, bucket, lane, path]`.
"""

from __future__ import annotations

from typing import Any

import equinox as eqx


class Books(eqx.Module):
    """Starting balance sheets, after the participation response. USD millions."""

    position: Any  # [Jp, B, K, policy] long > 0, at starting prices
    entry: Any  # [Jp, B, 1, policy] entry price over the starting price
    collateral: Any  # [Jc, B, K, policy] at starting prices
    cash: Any  # [B, K, policy], negative = debt
    accounts: Any  # [B, K, policy]
    budget: Any  # [B, K, policy] cash that top-ups may add in all


class IndexRules(eqx.Module):
    """How a venue forms the prices that collateral and perps are valued on."""

    weight: Any  # [S, I, policy] on the source markets
    reference_weight: Any  # [I, policy]
    redemption_weight: Any  # [I, policy]; these, and that of a median, sum to 1
    clamp: Any  # [I, policy] band around the reference; 1e30: none
    smoothing: Any  # [I, policy] EMA weight of the newest value; 1: none
    floor: Any  # [I, policy] share of the redemption price; 0: none
    basis_smoothing: Any  # [M, policy] EMA weight of the perp basis in a `median` mark
    move_limit: Any = None  # [I, policy] per minute, against the last published price; 1e30: none
    component_clamp: Any = None  # [I, policy] band around the reference of each source; 1e30: none
    delay: Any = None  # [I, policy] whole steps by which the redemption price is seen late
    median_weight: Any = None  # [I, policy] on the weighted median of some sources
    median_share: Any = None  # [S, I, policy] weights in it, which sum to 1; all 0: no median


class MarginRules(eqx.Module):
    """Maintenance margin and collateral credit, both piecewise linear per account.

    Maintenance of a perp slot: max over tiers of (rate N - n deduction); N notional, n accounts.
    Credit of a collateral slot: min over tiers of (ratio V + n addition), V its index value.
    """

    rate: Any  # [Jp, R, B, 1, policy], rising with the tier
    deduction: Any  # [Jp, R, B, 1, policy] USD millions per account, first tier 0
    ratio: Any  # [Jc, R, B, 1, policy] falling with the tier, in [0, 1], venue cap included
    addition: Any  # [Jc, R, B, 1, policy] USD millions per account, first tier 0
    loan_rate: Any  # [B, 1, policy] maintenance per USD of debt
    granted: Any = None  # [Jc, B, 1, policy] share that a venue cap grants, for dynamic haircuts


class HaircutRules(eqx.Module):
    """Haircuts that rise with realised volatility, by index entry."""

    reference: Any  # [I, policy] variance of log returns per minute up to which none rises
    power: Any  # [I, policy] of volatility over the reference; 0: no haircut ever rises
    cap: Any  # [I, policy] that a haircut rises to at most
    smoothing: Any  # [I, policy] EMA weight of the newest squared return
    review: Any  # [I, policy] steps between reviews, whole


class TopUpRules(eqx.Module):
    """Owners adding cash to accounts near liquidation."""

    rate: Any  # [B, 1, policy] share of the missing cash added per minute
    warn: Any  # [B, 1, policy] multiple of maintenance below which they act


class LiquidationRules(eqx.Module):
    """How due cohorts are sold."""

    pace: Any  # [B, 1, policy] share of the initial position per minute
    target: Any  # [B, 1, policy] equity over maintenance that `target` restores
    fee: Any  # [B, 1, policy] of perp notional, to the fund
    collateral_fee: Any  # [B, 1, policy] of collateral sold, to the fund


class BreakerRules(eqx.Module):
    """Halts of liquidations while an index falls, by index entry."""

    trigger: Any  # [I, policy] fall within the window that trips it; 2: never
    window: Any  # [I, policy] steps, whole
    halt: Any  # [I, policy] steps, whole


class SaleRules(eqx.Module):
    """Where collateral is sold other than on order books, by index entry."""

    discount: Any  # [I, policy] that a backstop buyer gets off the redemption or index price
    capacity: Any  # [I, policy] USD millions per minute that backstop buyers pay at most
    pause: Any  # [I, policy] 1 where nothing is sold while the venue's gate is shut


class KeptApart(eqx.Module):
    """What owners would have pledged for perps, had the venue not segregated it."""

    units: Any  # [I, policy] USD millions at starting prices; 0: none


class ImpactRules(eqx.Module):
    """Order books."""

    depth: Any  # [M, policy] USD millions per unit of log price, at the fundamental
    sensitivity: Any  # [M, policy] share of the liquidity drop that reaches the book
    displacement: Any  # [M, policy] starting log distance below the fundamental
    reach: Any = None  # [M, policy] of `sqrt`: log distance at which depth has doubled, else 1
    distance: Any = None  # [N, M, policy] of `profile`: log distances, the last one repeated
    units: Any = None  # [N, M, policy] of `profile`: USD millions at the start up to there


class ThinningRules(eqx.Module):
    """Depth that falls with realised volatility."""

    strength: Any  # [M, policy] depth is cut by 1 + strength * excess variance; 0: not at all
    normal: Any  # [M, policy] variance of log returns per minute up to which nothing is cut
    smoothing: Any  # [M, policy] EMA weight of the newest squared return
    least: Any  # [M, policy] share of depth that stays whatever the variance


class HealingRules(eqx.Module):
    """What brings prices back."""

    resilience_half_life: Any  # [M, policy] minutes; 1e30: none
    basis_half_life: Any  # [pairs, policy]
    arbitrage_half_life: Any  # [groups, policy]
    arbitrage_capital: Any  # [groups, policy] USD millions per minute
    redemption_capacity: Any  # [pegged, policy] USD millions per minute


class IssuerRules(eqx.Module):
    """Issuers of pegged assets, and who holds what they issued. Units of the asset."""

    backing: Any  # [pegged, policy] at the start, in units of the anchor
    supply: Any  # [pegged, policy] at the start
    reserve: Any  # [pegged, policy] units that are redeemed at most; 1e30: no end
    free_float: Any  # [pegged, policy] units of holders who may run
    run_rate: Any  # [pegged, policy] of what they hold, per minute and unit of excess discount
    run_tolerance: Any  # [pegged, policy] discount below which they keep it


class BackstopRules(eqx.Module):
    """Who pays when an account owes more than it has."""

    fund: Any  # [V, policy] USD millions at the start
    adl: Any  # [V, policy] 1 where the venue deleverages winners, else 0
    queue: Any = None  # [V, policy] 1 where it ranks them, 0: pro rata; None: no venue ranks


class VaultRules(eqx.Module):
    """Liquidity vaults that take over the perps of bankrupt accounts, by venue."""

    capacity: Any  # [V, policy] USD millions that it has at the start; 0: no vault
    half_life: Any  # [V, policy] minutes in which half of what it holds is worked off; 1e30: never


class Reporting(eqx.Module):
    """What the public feed shows."""

    feed_cap: Any  # [M, policy] USD millions per minute that the feed reports at most
    due_at_start: Any  # [policy] 1 where a cohort is due before the first draw


class Policy(eqx.Module):
    """All rules of one entry of the policy axis, and the books that answer to them."""

    books: Books
    index: IndexRules
    margin: MarginRules
    baseline_margin: MarginRules  # the baseline's rules on these books: what "wrongful" refers to
    top_up: TopUpRules
    liquidation: LiquidationRules
    impact: ImpactRules
    healing: HealingRules
    backstop: BackstopRules
    reporting: Reporting
    thinning: ThinningRules | None = None  # None: off in every policy
    breakers: BreakerRules | None = None
    haircuts: HaircutRules | None = None  # None: all are as written
    sales: SaleRules | None = None  # None: all collateral goes to books, gates or not
    issuer: IssuerRules | None = None  # None: backing is never short, and nobody runs
    kept_apart: KeptApart | None = None
    vault: VaultRules | None = None  # None: no venue has one
