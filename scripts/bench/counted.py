"""What XLA counts in a tile's program (`Simulator.cost`), over the work that it is for."""

from __future__ import annotations

from math import ceil


def of_step(cost: dict[str, float], what: str) -> float:
    """Operations or bytes of one step of one path under one policy."""
    return cost[what] / cost["columns"]


def of_series(cost: dict[str, float], what: str) -> float:
    """Operations or bytes of one path's draws and series, whatever the policies of its tile."""
    return cost[f"series_{what}"] / cost["paths"]


def of_path_policy(
    cost: dict[str, float], what: str, steps: int, policies: int, lanes: int
) -> float:
    """Operations or bytes that a run takes, over its paths and policies.

    Args:
        cost: What XLA counts.
        what: "operations" or "bytes".
        steps: Of a path.
        policies: Of the run.
        lanes: Policies of a tile at most: the next ones make the series again.
    """
    at_once = cost["columns"] / cost["paths"]
    batched = ceil(policies / at_once) * at_once  # lanes without a policy run along in their batch
    tiles = ceil(policies / lanes)
    whole = steps * batched * of_step(cost, what) + tiles * of_series(cost, what)
    return whole / policies
