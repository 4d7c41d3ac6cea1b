"""The oracle's order books of every kind: MODEL.md section 2.7."""

from __future__ import annotations

import math

import numpy as np
from reference_world import PROFILE, SQRT, Maps, Rules

NO_ROOM = 1e-4  # share of a measured book below which what is left of it is nothing


def units_to(maps: Maps, rules: Rules, m: int, y: float, liquidity: float) -> float:
    """Units sold from the fundamental to displacement `y`, the inverse of `G`."""
    side, away = (1.0, y) if y >= 0.0 else (-1.0, -y)
    if maps.impact_kind[m] == SQRT:
        return side * rules.depth[m] * liquidity * (away + away**2 / (2.0 * rules.reach[m]))
    if maps.impact_kind[m] == PROFILE:
        return side * liquidity * along(away, rules.distance[:, m], rules.units[:, m])
    return y * rules.depth[m] * liquidity


def displacement_at(maps: Maps, rules: Rules, m: int, units: float, liquidity: float) -> float:
    """`G`: the displacement after `units` sold from the fundamental."""
    side, size = (1.0, units) if units >= 0.0 else (-1.0, -units)
    if maps.impact_kind[m] == SQRT:
        a, q = rules.reach[m], size / (rules.depth[m] * liquidity)
        return side * (2.0 * q / (1.0 + math.sqrt(1.0 + 2.0 * q / a)))
    if maps.impact_kind[m] == PROFILE:
        return side * along(size / liquidity, rules.units[:, m], rules.distance[:, m])
    return units / (rules.depth[m] * liquidity)


def along(value: float, nodes: np.ndarray, heights: np.ndarray) -> float:
    """Linear interpolation from (0, 0) through the nodes; the last height beyond them."""
    before, height = 0.0, 0.0
    for n in range(nodes.shape[0]):
        if value < nodes[n]:
            return height + (heights[n] - height) * (value - before) / (nodes[n] - before)
        before, height = nodes[n], heights[n]
    return height


def depth_at(maps: Maps, rules: Rules, m: int, y: float, liquidity: float) -> float:
    """Units per unit of log price at `y`."""
    away = abs(y)
    if maps.impact_kind[m] == SQRT:
        return rules.depth[m] * liquidity * (1.0 + away / rules.reach[m])
    if maps.impact_kind[m] == PROFILE:
        before, units, depth = 0.0, 0.0, 0.0
        for n in range(rules.distance.shape[0]):
            if n > 0 and away < before:
                break
            if rules.distance[n, m] > before:
                depth = (rules.units[n, m] - units) / (rules.distance[n, m] - before)
            before, units = rules.distance[n, m], rules.units[n, m]
        return liquidity * depth
    return rules.depth[m] * liquidity


def depths_at(maps: Maps, rules: Rules, y: np.ndarray, liquidity: np.ndarray) -> np.ndarray:
    """Local depth of every book [M]."""
    depth = np.empty(y.shape[0])
    for m in range(y.shape[0]):
        depth[m] = depth_at(maps, rules, m, y[m], liquidity[m])
    return depth


def linear_part(at: float, slope: float, width: float) -> float:
    """Integral of `(at + slope t) e^-t` over `[0, width]`."""
    whole = -math.expm1(-width)
    return at * whole + slope * (whole - width * math.exp(-width))


def average_slip(maps: Maps, rules: Rules, m: int, start: float, stop: float) -> float:
    """Mean price between two displacements over the price at the first, by units."""
    if start == stop:
        return 1.0
    if maps.impact_kind[m] == SQRT:
        units, paid, a = 0.0, 0.0, rules.reach[m]
        for side in (1.0, -1.0):
            low = max(start, 0.0) if side > 0.0 else min(start, 0.0)
            high = max(stop, 0.0) if side > 0.0 else min(stop, 0.0)
            at, slope, width = 1.0 + abs(low) / a, side / a, high - low
            units += at * width + 0.5 * slope * width**2
            paid += math.exp(start - low) * linear_part(at, slope, width)
        return paid / units
    if maps.impact_kind[m] == PROFILE:
        units, paid = 0.0, 0.0
        for side in (1.0, -1.0):
            before, total = 0.0, 0.0
            for n in range(rules.distance.shape[0]):
                near, far = side * before, side * rules.distance[n, m]
                least, most = min(near, far), max(near, far)
                if most > least:
                    depth = (rules.units[n, m] - total) / (most - least)
                    low = min(max(start, least), most)
                    high = min(max(stop, least), most)
                    units += depth * (high - low)
                    paid += math.exp(start - low) * linear_part(depth, 0.0, high - low)
                before, total = rules.distance[n, m], rules.units[n, m]
        return paid / units
    return -math.expm1(start - stop) / (stop - start)


def fills_of(
    maps: Maps,
    rules: Rules,
    m: int,
    y: float,
    liquidity: float,
    sold: float,
    bought: float,
) -> tuple[float, float, float]:
    """Shares of sell and of buy orders that a book takes, and the distance to a threshold."""
    if maps.impact_kind[m] != PROFILE:
        return 1.0, 1.0, np.inf
    end = liquidity * rules.units[-1, m]
    here = units_to(maps, rules, m, y, liquidity)
    gap, down, up = np.inf, end - here, end + here
    if sold > 0.0 or bought > 0.0:
        gap = min(abs(down / end - NO_ROOM), abs(up / end - NO_ROOM))
    down = down if down >= NO_ROOM * end else 0.0
    up = up if up >= NO_ROOM * end else 0.0
    if sold > bought:
        gap = min(gap, abs(sold - bought - down) / end)
    if bought > sold:
        gap = min(gap, abs(bought - sold - up) / end)
    if sold - bought > down:
        return (down + bought) / sold, 1.0, gap
    if bought - sold > up:
        return 1.0, (up + sold) / bought, gap
    return 1.0, 1.0, gap


def room_within(maps: Maps, rules: Rules, m: int, y: float, move: float) -> float:
    """How far a displacement can still go in the direction of a move; a measured book ends."""
    if maps.impact_kind[m] != PROFILE:
        return np.inf
    end = rules.distance[-1, m]
    return max(0.0, end - y) if move > 0.0 else max(0.0, end + y)


def share_within(
    maps: Maps, rules: Rules, m: int, y: float, move: float
) -> tuple[float, bool]:
    """Share of a move of arbitrage before the book ends, and whether that is too little."""
    room = room_within(maps, rules, m, y, move)
    if abs(move) <= room:
        return 1.0, False
    return room / abs(move), abs(move) - room > NO_ROOM * rules.distance[-1, m]


def shortfall_gap(maps: Maps, rules: Rules, m: int, y: float, move: float) -> float:
    """Distance of a move to where it counts as too little, by the length of the book."""
    if maps.impact_kind[m] != PROFILE:
        return np.inf
    end = rules.distance[-1, m]
    return abs(abs(move) - room_within(maps, rules, m, y, move) - NO_ROOM * end) / end


def kink_gap(maps: Maps, rules: Rules, m: int, y: float) -> float:
    """Distance of a displacement to the places where a measured book's depth jumps."""
    gap = np.inf
    if maps.impact_kind[m] == PROFILE:
        for n in range(rules.distance.shape[0]):
            if rules.distance[n, m] < rules.distance[-1, m]:
                gap = min(gap, abs(abs(y) - rules.distance[n, m]))
    return gap
