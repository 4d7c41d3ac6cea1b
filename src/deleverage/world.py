"""The world: what every policy shares (who trades what where) and the shocks it is put under.

`Layout` is static: names and integer maps fixed at compile time. `World` adds the numbers of the
exogenous shocks. Every number a policy or a scenario override may change lives in `policy.Policy`.

Units: money in USD millions, time in minutes, prices as ratios to the starting fundamental price,
positions and collateral in USD millions at the starting fundamental price.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import equinox as eqx

INFINITE_DEPTH = 1e12
"""USD millions per unit of log price that stand for a book without impact."""


@dataclass(frozen=True)
class Market:
    """One order book: an asset on a venue, `spot` or `perp`, priced in USD or in another asset."""

    venue: int
    asset: int
    kind: str  # "spot" | "perp"
    quote: int = -1  # -1: USD; else the market that turns the quote asset into USD there
    impact: str = "linear"  # | "sqrt" | "profile": how far an order moves it

    @property
    def is_perp(self) -> bool:
        """Whether the book is a perpetual future."""
        return self.kind == "perp"


@dataclass(frozen=True)
class IndexEntry:
    """One published index price: of an asset, on a venue."""

    venue: int
    asset: int
    sources: tuple[int, ...]  # spot markets a weight may rest on: own pairs, then other venues
    references: tuple[int, ...]  # other venues' USD spot books, for the median
    reference_shares: tuple[float, ...]  # their configured depths over the total, sum 1


@dataclass(frozen=True)
class Book:
    """A portfolio composition on one venue; its cohorts differ in leverage only."""

    venue: int
    perps: tuple[int, ...]  # market of each perp slot
    collateral: tuple[int, ...]  # index entry of each collateral slot
    hedged: bool = False  # collateral slot 0 is the spot leg of the short in perp slot 0
    issuer: int = -1  # place among `Layout.pegged` of the issuer whose hedge it is
    target: bool = False  # liquidation kind `target`; neither this nor the next: `close`
    targeting: bool = False  # liquidation kind `targeting`
    sales: tuple[str, ...] = ()  # of each collateral slot; (): all "market"

    @property
    def is_loan(self) -> bool:
        """Whether the book holds no perp, so that its collateral is what is liquidated."""
        return not self.perps


@dataclass(frozen=True)
class Layout:
    """Everything static: sizes, maps, kinds. Two policies with one layout share one program."""

    venues: tuple[str, ...]
    assets: tuple[str, ...]
    pegged: tuple[int, ...]  # assets with an issuer
    markets: tuple[Market, ...]
    indices: tuple[IndexEntry, ...]
    books: tuple[Book, ...]
    buckets: int
    perp_index: tuple[int, ...]  # per market: index entry of a perp's underlying, -1 for spot
    mark_kinds: tuple[str, ...]  # per market: "index" | "last" | "median", "" for spot
    sales: tuple[tuple[tuple[int, float], ...], ...]  # per index entry: own books, shares sold
    basis_pairs: tuple[tuple[int, int], ...]  # (spot market, perp market)
    arbitrage_groups: tuple[tuple[int, ...], ...]  # USD spot markets of one asset, one a venue
    pegs: tuple[tuple[int, int], ...]  # (venue, asset) whose depeg is measured, by its index entry
    peg_markets: tuple[int, ...]  # USD spot market of each peg
    step: float  # minutes
    steps: int
    draw_step: float  # minutes, `step` is a multiple of it
    window_steps: int  # steps in the sliding window of `peak_window_share`
    thresholds: tuple[float, ...] = (0.99, 0.95, 0.90)
    delay_steps: int = 0  # longest delay of a redemption price in any policy
    breaker_steps: int = 0  # longest window of a circuit breaker; 0: there are none
    spread_sales: tuple[tuple[tuple[int, float], ...], ...] = ()  # as `sales`, on all venues


class Macro(eqx.Module):
    """The macro shock: log drop `severity * loading`, arriving over minutes, partly rebounding.

    `law` is static: "fixed" (a), "normal" (mean a, sd b), "lognormal" (median a, log sd b),
    "generalised_pareto" (threshold a, scale b, shape c), "student_t" (centre a, scale b, degrees
    of freedom c). Random time: uniform on [start, latest].
    """

    law: str = eqx.field(static=True)
    a: Any
    b: Any
    c: Any
    cap: Any  # the severity is at most this
    start: Any  # minutes after the start of the run
    latest: Any  # equal to `start` for a scheduled shock
    loading: Any  # [asset]
    duration: Any  # minutes over which the drop arrives linearly; 0: at once
    rebound: Any  # share of the drop that comes back
    rebound_delay: Any  # minutes after the shock
    rebound_half_life: Any
    volatility_multiplier: Any  # at the shock, decaying to 1
    volatility_half_life: Any
    quantile: Any = None  # [n] for "student_t": `laws.student_t_coefficients` of its degrees
    profile: Any = None  # [2, n] minutes, share arrived by then: instead of `duration`


class Merton(eqx.Module):
    """Common jumps: at most one a draw step, with probability 1 - exp(-rate * draw_step)."""

    rate: Any  # per minute
    mean: Any  # of the log jump
    deviation: Any
    loading: Any  # [asset]


class Liquidity(eqx.Module):
    """Drop of depth, tied to severity by rank correlation."""

    lowest: Any  # smallest drop, share of depth
    highest: Any
    correlation: Any  # Pearson correlation of the normal scores
    onset: Any  # minutes from the shock to the full drop
    hold: Any  # minutes at the full drop
    half_life: Any  # of the recovery


class Window(eqx.Module):
    """When something fails: one window a path, minutes after the start of the run.

    Scheduled: `random` False, window [start, start + length]. Random: start exponential with
    `rate` per minute counted from `start`, length exponential with mean `length`.
    """

    random: bool = eqx.field(static=True)
    start: Any
    length: Any
    rate: Any


class Outage(Window):
    """A venue's transfer gate shut."""

    venue: int = eqx.field(static=True)


class LoadOutage(eqx.Module):
    """A venue's transfer gate shut by what the venue has to liquidate; so it differs by policy."""

    venue: int = eqx.field(static=True)
    random: bool = eqx.field(static=True)  # length exponential with mean `length`, else fixed
    start: Any  # minutes from when on load is counted
    threshold: Any  # USD millions liquidated per minute below which there is no hazard
    rate: Any  # hazard per minute at twice the threshold
    length: Any  # minutes


class Halt(Window):
    """A venue's liquidation engine halted: it places no orders and settles no bankruptcy."""

    venue: int = eqx.field(static=True)


class Congestion(Window):
    """Networks jammed: less is redeemed, and less is moved between venues."""

    left: Any  # share of redemptions and of cross-venue arbitrage that still goes through


class Glitch(eqx.Module):
    """Wrong index prices of a venue, with some probability, in a scheduled window."""

    indices: tuple[int, ...] = eqx.field(static=True)  # entries of the venue
    start: Any  # minutes
    length: Any
    probability: Any
    factor: Any  # on the raw index


class Sale(eqx.Module):
    """An exogenous seller, who sells evenly over some minutes."""

    market: int = eqx.field(static=True)
    units: Any  # USD millions at the starting fundamental price
    start: Any  # minutes
    duration: Any  # minutes, above 0


class BackingLoss(eqx.Module):
    """News that a share of what backs a pegged asset is lost, at a time or with the macro shock."""

    asset: int = eqx.field(static=True)  # place among `Layout.pegged`
    with_macro: bool = eqx.field(static=True)  # `start` counts from the macro shock
    share: Any  # below 1
    start: Any  # minutes
    duration: Any  # minutes over which it comes out; 0: at once


class Sampling(eqx.Module):
    """How paths are drawn where not each by itself. MODEL.md 2.1.

    `kind` is static: "antithetic", "stratified", "sobol", "importance".
    """

    kind: str = eqx.field(static=True)
    shift: Any = None  # importance: of the severity's normal score, above 0 is worse
    plain_share: Any = None  # importance: chance that a path is drawn plainly


class World(eqx.Module):
    """The layout and the exogenous shocks. `loading` turns normals into log-price increments."""

    layout: Layout = eqx.field(static=True)
    loading: Any  # [asset, factor], per square root of a minute (zero rows: numeraire, pegged)
    drift: Any  # [asset], of log price beyond the martingale, per minute
    anchor: Any  # [asset, asset]: 1 where the column's fundamental moves the row's
    macro: Macro
    merton: Merton | None
    liquidity: Liquidity
    outages: tuple[Outage, ...]
    backing: tuple[BackingLoss, ...] = ()
    load_outages: tuple[LoadOutage, ...] = ()
    halts: tuple[Halt, ...] = ()
    congestions: tuple[Congestion, ...] = ()
    glitches: tuple[Glitch, ...] = ()
    sales: tuple[Sale, ...] = ()
    replay: Any = None  # [T, asset] log price over the start at the ends of steps; None: none
    sampling: Sampling | None = None
