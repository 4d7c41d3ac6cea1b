"""Figures of the command line, where matplotlib is installed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import xarray as xr


def require_matplotlib(figure: Path | None) -> None:
    """Refuse a figure that could not be drawn, before anything is simulated for it."""
    from importlib.util import find_spec

    from deleverage.errors import ConfigError

    if figure is not None and find_spec("matplotlib") is None:
        raise ConfigError("--figure needs matplotlib; install deleverage[report].")


def figure_of_path(found: xr.Dataset, place: Path) -> Path | None:
    """A figure of a replayed path beside its dataset, where matplotlib is installed."""
    from importlib.util import find_spec

    if find_spec("matplotlib") is None:
        return None
    from deleverage.report.trajectory import trajectory_figure

    file = place.with_name(f"{place.name}.png")
    trajectory_figure(found).savefig(file, dpi=120)
    return file
