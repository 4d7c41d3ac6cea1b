"""A small world that compiles fast, and what a run of anything leaves on disk."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

SMOKE = Path(__file__).parents[1] / "configs" / "smoke.yaml"
SMALL = (
    "time.steps=12",
    "scenario.buckets=3",
    "scenario.shocks.macro.severity.median=16%",
    "scenario.shocks.macro.duration=2m",
    "engine.tile_paths=8",
)
"""Overrides of `SMOKE`: test files that share them share what is compiled."""

CAUSES = """\
  baseline: {}
attribution:
  causes:
    outage: {scenario: {shocks: {outages: []}}}
    own_book: {index: {USDe: {redemption: 100%, floor: 97%}}}
  measures:
    - {variable: liquidated_notional}
    - {variable: bad_debt, measure: expected_shortfall, q: 90%}
    - variable: trough_price
      measure: probability
      below: 0.9
      selection: {market: exchange/USDe/spot}
"""
"""In place of the policies of `SMOKE`: two causes and what they are to explain."""

SEARCH = """
search:
  levers:
    leverage.cap: [2, 20]
    liquidation.by_venue.exchange.pace: [5%, 50%]
  risk: {variable: bad_debt, measure: expected_shortfall, q: 99%}
  costs: [open_interest_forgone]
  budget: {policies: 24, paths: 64}
  sweep: 8
"""
"""Behind `SMOKE`: a search of two levers."""


def with_causes(folder: Path, causes: str = CAUSES) -> Path:
    """A config in a folder: `SMOKE` with causes."""
    text, file = SMOKE.read_text(), folder / "causes.yaml"
    file.write_text(text[: text.index("  baseline: {}")] + causes)
    return file


def with_search(folder: Path, search: str = SEARCH) -> Path:
    """A config in a folder: `SMOKE` with a search."""
    file = folder / "search.yaml"
    file.write_text(SMOKE.read_text() + search)
    return file


def as_options(settings: Iterable[str]) -> list[str]:
    """Overrides as words of the command line."""
    return [word for setting in settings for word in ("--set", setting)]


def stored(run_dir: Path, group: str = "") -> dict[str, bytes]:
    """Every file of a run's dataset, or of a group of it, by its path there."""
    folder = run_dir / "results.zarr" / group
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
