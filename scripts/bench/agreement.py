"""Whether the programs give the same outcomes on the same draws."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

TOLERANCE = 1e-3
"""Of an outcome plus its mean over all columns plus 1 (a million USD, or the whole of a share):
float32 roundings of 240 steps, fed back, also of losses that come to nothing but rounding."""

NEAR = 1e-5
"""A path that comes this close to its margin (relative) may be due in one program and not in
another: what follows is then another path, by right."""

MOST_APART = 0.01
"""Share of columns that other thresholds (a fair margin, a peg, a wiped-out account) may part."""

TIES = ("peak_time", "trough_time")
"""Times of extremes jump where two steps tie, and are not compared."""


def compare(
    found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]
) -> dict[str, float]:
    """Shares of columns that are near a margin, and of the others those that differ anywhere.

    Args:
        found: Outcomes `(policy, path, ...)`.
        expected: The same of another program; names that only one has are left out.
    """
    names = sorted((found.keys() & expected.keys()) - set(TIES))
    gap = np.minimum(found["least_margin_gap"], expected["least_margin_gap"])
    near = gap < NEAR
    apart = np.zeros(near.shape, bool)
    worst = 0.0
    for name in names:
        ours, theirs = (np.asarray(side[name], float) for side in (found, expected))
        mean = np.nansum(np.abs(theirs), axis=(0, 1)) / near.size
        scale = np.abs(theirs) + mean + 1
        both_nan = np.isnan(ours) & np.isnan(theirs)
        error = np.abs(ours - theirs) / scale
        error = np.where(both_nan, 0, np.where(np.isnan(error), np.inf, error))
        error = error.reshape(*near.shape, -1).max(axis=-1)
        apart |= error > TOLERANCE
        kept = error[~near & (error <= TOLERANCE)]
        worst = max(worst, float(kept.max(initial=0)))
    others = max(1, int((~near).sum()))
    return {
        "columns": near.size,
        "outcomes": len(names),
        "near": float(near.mean()),
        "apart": float((apart & ~near).sum() / others),
        "largest_error": worst,
    }
