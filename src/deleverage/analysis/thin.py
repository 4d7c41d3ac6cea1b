"""Where a sample has too few points for what is asked of it, and how that is said."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

from deleverage.analysis.estimate import LEAST_TAIL_POINTS, ThinTailWarning

if TYPE_CHECKING:
    import xarray as xr

STAR = "* Fewer than 10 paths lie beyond this level: run more paths before trusting it."
"""What a table says below its starred numbers."""


def note_points(
    dataset: xr.Dataset,
    name: str,
    points: float,
    levels: Sequence[float],
    least: float = LEAST_TAIL_POINTS,
    stacklevel: int = 3,
) -> xr.Dataset:
    """The dataset with `tail_points` in its attributes; `thin_tail` and a warning if too few.

    Args:
        dataset: Of a measure.
        name: What the measure is called.
        points: Of the sample beyond its levels in the thinnest place; of weighted paths as many
            equal ones as are worth as much (`estimate.effective_number`). Infinite: not counted.
        levels: The levels.
        least: With fewer points the sample is called too thin.
        stacklevel: Of the warning, which names the line that asks; 2: this function's caller.
    """
    if points != float("inf"):
        dataset.attrs["tail_points"] = points
    if points >= least:
        return dataset
    where = " and ".join(f"{level:.6g}" for level in levels)
    level = f"level{'s' if len(levels) > 1 else ''} {where}"
    dataset.attrs["thin_tail"] = f"only {points:.3g} points lie beyond the {level}"
    warnings.warn(
        f"{name} at {level} rests on {points:.3g} points of the sample, fewer than {least:g}; run "
        "more paths or take a level nearer the middle.",
        ThinTailWarning,
        stacklevel=stacklevel,
    )
    return dataset
