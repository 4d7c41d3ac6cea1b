"""Random worlds of any kind, step by step under all their policies at once, and what they pay.

Arrays are those of the kernel as float64, `[step, ..., lane, path]`, whatever it was run in: what
a test adds up errs by nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import kernel
import numpy as np
import reference
import worlds

from deleverage.policy import Policy
from deleverage.world import Layout, World

PATHS = 4
LAWS = ("generalised_pareto", "fixed", "normal", "lognormal", "student_t")
MAKES = {"default_kinds": worlds.random_world, "every_kind": worlds.full_world}
REMAINDER = 1e-4
"""Fraction of a starting position below which all that is left is closed at once: MODEL.md 2.6."""


class Walk(NamedTuple):
    """All steps of all policies on some paths."""

    layout: Layout
    policy: Policy  # leaves [..., lane, 1], rounded to the kernel's floats
    inputs: dict[str, np.ndarray]  # [step, ..., 1, path], rounded likewise
    before: Any  # State
    after: Any
    flows: Any
    margins: Any  # Assessment of stage 4
    eps: float
    error: np.ndarray  # [lane, 1] rounding of a balance, USD millions

    @property
    def engine_open(self) -> np.ndarray:
        """Whether a book's venue works, `[step, B, 1, 1, path]` bool."""
        steps, paths = self.layout.steps, self.inputs["gate_open"].shape[-1]
        whole = np.ones((steps, len(self.layout.venues), 1, paths))
        return self.of_book(self.inputs.get("engine_open", whole))[:, :, None] > 0.0

    @property
    def working(self) -> np.ndarray:
        """Cohorts that are due where the engine works, `[step, B, K, lane, path]` bool."""
        return self.flows.is_due & self.engine_open

    def of_book(self, by_venue: np.ndarray) -> np.ndarray:
        """Values of venues, of each book's venue, `[step, B, ...]`."""
        return by_venue[:, [book.venue for book in self.layout.books]]

    def by_venue(self, by_book: np.ndarray) -> np.ndarray:
        """Sums over a venue's books and their buckets, `[step, V, lane, path]`."""
        of_book = by_book.sum(axis=2)
        found = np.zeros((len(of_book), len(self.layout.venues), *of_book.shape[2:]))
        for b, book in enumerate(self.layout.books):
            found[:, book.venue] += of_book[:, b]
        return found

    def markets_by_venue(self, by_market: np.ndarray) -> np.ndarray:
        """Sums over a venue's markets, `[step, V, ...]`."""
        found = np.zeros((len(by_market), len(self.layout.venues), *by_market.shape[2:]))
        for number, market in enumerate(self.layout.markets):
            found[:, market.venue] += by_market[:, number]
        return found


@functools.lru_cache(maxsize=4)
def walk(kind: str, seed: int, dtype: str) -> Walk:
    """A random world under all its policies, its shocks of a kind that the seed chooses."""
    world, policy = MAKES[kind](seed, law=LAWS[seed % len(LAWS)])
    world = with_arrival(world, seed)
    inputs = reference.exogenous(world, worlds.random_draws(world, PATHS, seed))
    return walk_of(world.layout, policy, inputs, dtype)


def with_arrival(world: World, seed: int) -> World:
    """Shocks that arrive at once or evenly, by a profile, or as a series that is replayed."""
    arrivals = (lambda world, _: world, worlds.with_profile, worlds.with_replay)
    return arrivals[seed % len(arrivals)](world, seed)


def walk_of(layout: Layout, policy: Policy, inputs: dict[str, Any], dtype: str) -> Walk:
    """All steps of given policies on given exogenous series."""
    steps = kernel.trajectories(layout, policy, inputs, dtype=dtype)
    before, after, flows = steps
    scaling = None if after.haircuts is None else after.haircuts.multiplier
    margins = kernel.assessments(layout, policy, before, flows, scaling, dtype)
    error = kernel.rounding(layout, dtype) * kernel.gross_exposure(policy)
    given = {name: inputs[name] for name in kernel.SERIES if name in inputs}
    return Walk(
        layout,
        jax.tree.map(lambda leaf: exact(leaf, dtype)[..., None], policy),
        {name: exact(series, dtype)[..., None, :] for name, series in given.items()},
        *jax.tree.map(exact, (before, after, flows, margins)),
        float(np.finfo(dtype).eps),
        error[:, None],
    )


def exact(leaf: Any, dtype: str | None = None) -> np.ndarray:
    """A float64 copy, of the numbers that the kernel was given; masks and counts stay."""
    leaf = np.asarray(leaf) if dtype is None else np.asarray(leaf, dtype)
    return leaf.astype(np.float64) if leaf.dtype.kind == "f" else leaf


def slots(layout: Layout, perps: bool) -> Iterator[tuple[int, int, int]]:
    """Slot, book and row (market of a perp, index entry of collateral) of every slot there is."""
    for b, book in enumerate(layout.books):
        for j, row in enumerate(book.perps if perps else book.collateral):
            yield j, b, row


def kind_of_sale(layout: Layout, j: int, b: int) -> str:
    """Where the collateral of a slot goes."""
    return layout.books[b].sales[j] if layout.books[b].sales else "market"


def at_market(w: Walk, price: np.ndarray) -> np.ndarray:
    """Price of every perp slot, `[step, Jp, B, 1, lane, path]`, from `[step, market, ...]`."""
    shape = w.before.accounts.contracts.shape
    found = np.zeros((*shape[:3], 1, *shape[4:]))
    for j, b, market in slots(w.layout, perps=True):
        found[:, j, b, 0] = price[:, market]
    return found


def at_home(w: Walk, price: np.ndarray) -> np.ndarray:
    """What every collateral slot is worth on its venue's own books, as `at_market`."""
    shape = w.before.accounts.collateral.shape
    found = np.zeros((*shape[:3], 1, *shape[4:]))
    for j, b, entry in slots(w.layout, perps=False):
        for market, share in w.layout.sales[entry]:
            found[:, j, b, 0] += share * price[:, market]
    return found


def routes(w: Walk, j: int, b: int) -> Iterator[tuple[int, np.ndarray]]:
    """Order books that a collateral slot is sold on, and their shares of what they take.

    MODEL.md 2.6 (`spread`: other venues' books only while both gates are open) and 2.7 (a book
    takes a share of its orders). Shares are `[step, lane, path]`; they sum to 1, or are all 0.
    """
    layout, gate, filled = w.layout, w.flows.gate_open, w.flows.filled
    book, kind = layout.books[b], kind_of_sale(w.layout, j, b)
    if kind not in ("market", "spread"):
        return
    entry = book.collateral[j]
    wanted = layout.sales[entry] if kind == "market" else layout.spread_sales[entry]
    reached = []
    for market, share in wanted:
        there, open_share = layout.markets[market].venue, np.full((*gate.shape[:1], 1, 1), share)
        if kind == "spread" and there != book.venue:
            open_share = share * gate[:, book.venue] * gate[:, there]
        reached.append(open_share)
    total = sum(reached)
    for (market, _), share in zip(wanted, reached, strict=True):
        taken = 1.0 if filled is None else filled[:, market]
        of_all = sum(
            other / total * (1.0 if filled is None else filled[:, m])
            for (m, _), other in zip(wanted, reached, strict=True)
        )
        yield market, share / total * taken / np.where(of_all > 0.0, of_all, 1.0)


def received(w: Walk) -> np.ndarray:
    """What a sold unit of every collateral slot brings, as `at_market`: MODEL.md 2.6."""
    shape = w.before.accounts.collateral.shape
    found = np.zeros((*shape[:3], 1, *shape[4:]))
    for j, b, entry in slots(w.layout, perps=False):
        kind, off_book = kind_of_sale(w.layout, j, b), w.flows.off_book
        if kind == "redeem":
            found[:, j, b, 0] = off_book.redemption_price[:, entry]
        elif kind == "backstop":
            found[:, j, b, 0] = off_book.backstop_price[:, entry]
        for market, share in routes(w, j, b):
            found[:, j, b, 0] += share * w.flows.average_price[:, market]
    return found
