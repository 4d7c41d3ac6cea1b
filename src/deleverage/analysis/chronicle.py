"""A replayed path as a readable account: what failed first, which books broke, when gates shut."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import xarray as xr

BROKEN = 0.05
"""A market's log distance below its fundamental from which its book is called broken."""

MOST_MARKETS = 6


class Event(NamedTuple):
    """Something that happened, minutes after the start."""

    minutes: float
    text: str


def events(path: xr.Dataset) -> list[Event]:
    """What happened on a replayed path, in order.

    Args:
        path: What `deleverage.sweep.replay.replay` returns.

    Returns:
        Gates that shut and opened, the first liquidation of each book of accounts, the first break
        of each order book and its worst moment, insurance funds that ran out, pegs that broke.
    """
    found = [*_gates(path), *_accounts(path), *_order_books(path), *_funds(path), *_pegs(path)]
    return sorted(found, key=lambda event: event.minutes)


def account(path: xr.Dataset) -> str:
    """The events with the clock, and what came of them."""
    start = datetime.fromisoformat(path.attrs["start"].replace("Z", "+00:00"))
    lines = [f"path {path.attrs['path']} under {path.attrs['policy']}", ""]
    happened = events(path)
    for event in happened:
        clock = start + timedelta(minutes=event.minutes)
        lines.append(f"{clock:%H:%M:%S}  {event.minutes:7.1f} min  {event.text}")
    if not happened:
        lines.append("nothing was liquidated, no book broke and no gate shut")
    lines += ["", *_totals(path)]
    return "\n".join(lines) + "\n"


def _gates(path: xr.Dataset) -> list[Event]:
    found = []
    times = path.time.values
    for venue in path.venue.values:
        shut = path.gate_open.sel(venue=venue).values < 0.5
        turns = np.diff(np.r_[False, shut, False].astype(int))
        for first, last in zip(
            np.flatnonzero(turns == 1), np.flatnonzero(turns == -1), strict=True
        ):
            until = "the end" if last == shut.size else f"{times[last - 1]:.1f} min"
            found.append(
                Event(float(times[first]), f"transfers of {venue} are shut, until {until}")
            )
    return found


def _accounts(path: xr.Dataset) -> list[Event]:
    found = []
    due = path.is_due.values.astype(bool)
    times = path.time.values
    first = None
    for number, book in enumerate(path.book.values):
        steps = np.flatnonzero(due[:, number].any(axis=1))
        if steps.size == 0:
            continue
        cohorts = int(due[:, number].any(axis=0).sum())
        at = float(times[steps[0]])
        found.append(
            Event(
                at,
                f"accounts of {book} on {path.book_venue.values[number]} begin to be liquidated, "
                f"{cohorts} of {due.shape[2]} groups in the end",
            )
        )
        first = at if first is None else min(first, at)
    for place, event in enumerate(found):
        if event.minutes == first:
            found[place] = event._replace(text=f"{event.text} (the first to fail)")
    return found


def _order_books(path: xr.Dataset) -> list[Event]:
    found = []
    times = path.time.values
    with np.errstate(divide="ignore"):
        pressed = np.maximum(path.displacement.values, 0.0)
    broken = [m for m in range(pressed.shape[1]) if pressed[:, m].max() > BROKEN]
    broken.sort(key=lambda m: -pressed[:, m].max())
    for m in broken[:MOST_MARKETS]:
        first = int(np.argmax(pressed[:, m] > BROKEN))
        worst = int(np.argmax(pressed[:, m]))
        name = str(path.market.values[m])
        found.append(
            Event(
                float(times[first]),
                f"the book of {name} breaks: {1 - np.exp(-BROKEN):.0%} below its fundamental",
            )
        )
        if worst > first:
            below = 1.0 - float(np.exp(-pressed[worst, m]))
            price = float(path.closing_price.values[worst, m])
            found.append(
                Event(
                    float(times[worst]),
                    f"{name} is furthest below its fundamental, {below:.0%}, at {price:.3f} of "
                    "the start",
                )
            )
    return found


def _funds(path: xr.Dataset) -> list[Event]:
    found = []
    for venue in path.venue.values:
        fund = path.fund.sel(venue=venue).values
        if fund[0] > 0.0 and (fund <= 1e-9).any():
            at = float(path.time.values[int(np.argmax(fund <= 1e-9))])
            found.append(Event(at, f"the insurance fund of {venue} is empty"))
    return found


def _pegs(path: xr.Dataset) -> list[Event]:
    found = []
    assets = list(path.asset.values)
    for peg, market in zip(path.peg.values, path.peg_market.values, strict=True):
        fair = path.fundamental.isel(asset=assets.index(str(peg).split("/")[-1])).values
        ratio = path.closing_price.sel(market=market).values / fair
        for threshold in (0.95, 0.90):
            below = ratio < threshold
            if below.any():
                at = float(path.time.values[int(np.argmax(below))])
                found.append(Event(at, f"{peg} falls below {threshold:g} of its peg"))
    return found


def _totals(path: xr.Dataset) -> list[str]:
    shown = {
        "liquidated_notional": "liquidated",
        "bad_debt": "bad debt",
        "insurance_drawn": "paid by insurance funds",
        "vault_paid": "paid by vaults",
        "adl_notional": "closed by auto-deleveraging",
    }
    return [
        f"{text}: {float(path[f'outcome_{name}']):,.1f} million USD"
        for name, text in shown.items()
        if f"outcome_{name}" in path
    ]
