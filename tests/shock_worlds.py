"""Small worlds for the tests of the shocks: no books and no markets, only assets and venues."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import numpy as np

from deleverage.shocks.draws import draw
from deleverage.shocks.exogenous import exogenous
from deleverage.state import Draws, Inputs, PathCoordinates
from deleverage.world import Layout, Liquidity, Macro, Merton, Outage, World


def layout(
    steps: int = 4,
    step: float = 0.5,
    draw_step: float | None = None,
    venues: int = 2,
    assets: int = 1,
) -> Layout:
    return Layout(
        venues=tuple(f"venue{v}" for v in range(venues)),
        assets=tuple(f"asset{a}" for a in range(assets)),
        pegged=(),
        markets=(),
        indices=(),
        books=(),
        buckets=1,
        perp_index=(),
        mark_kinds=(),
        sales=(),
        basis_pairs=(),
        arbitrage_groups=(),
        pegs=(),
        peg_markets=(),
        step=step,
        steps=steps,
        draw_step=step if draw_step is None else draw_step,
        window_steps=1,
    )


def macro(assets: int = 1, law: str = "fixed", **numbers: Any) -> Macro:
    values = dict(
        a=0.0, b=0.0, c=0.0, cap=1e30, start=0.0, latest=None, loading=np.ones(assets),
        duration=0.0, rebound=0.0, rebound_delay=0.0, rebound_half_life=1.0,
        volatility_multiplier=1.0, volatility_half_life=60.0,
    )  # fmt: skip
    values |= numbers
    if values["latest"] is None:
        values["latest"] = values["start"]
    return Macro(law=law, **{name: np.asarray(value, float) for name, value in values.items()})


def merton(rate: float, mean: float, deviation: float, loading: Any) -> Merton:
    return Merton(np.array(rate), np.array(mean), np.array(deviation), np.asarray(loading, float))


def liquidity(**numbers: float) -> Liquidity:
    values = (
        dict(lowest=0.0, highest=0.0, correlation=0.0, onset=0.0, hold=0.0, half_life=30.0)
        | numbers
    )
    return Liquidity(**{name: np.array(value) for name, value in values.items()})


def outage(
    venue: int = 0, random: bool = False, start: float = 0.0, length: float = 1.0, rate: float = 0.0
) -> Outage:
    return Outage(random, np.array(start), np.array(length), np.array(rate), venue)


def world(loading: Any = ((0.0,),), **parts: Any) -> World:
    loading = np.asarray(loading, float)
    assets = loading.shape[0]
    names = ("steps", "step", "draw_step", "venues")
    sizes = {name: parts.pop(name) for name in names if name in parts}
    whole = dict(
        layout=layout(assets=assets, **sizes),
        loading=loading,
        drift=np.zeros(assets),
        anchor=np.eye(assets),
        macro=macro(assets),
        merton=None,
        liquidity=liquidity(),
        outages=(),
    )
    return World(**(whole | parts))


def full_world(**parts: Any) -> World:
    """Every mechanism on: a numeraire, two assets, one pegged to the second of them."""
    whole = dict(
        loading=[[0, 0, 0], [4e-3, 0, 0], [3e-3, 2e-3, 0], [0, 0, 0]],
        anchor=[[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 0]],
        drift=[0, 1e-5, -2e-5, 0],
        macro=macro(
            4, "generalised_pareto", a=0.05, b=0.04, c=0.3, cap=0.8, start=2.0, latest=4.0,
            loading=[0, 1, 1.3, 0], duration=3.0, rebound=0.4, rebound_delay=1.0,
            rebound_half_life=5.0, volatility_multiplier=3.0, volatility_half_life=4.0,
        ),
        merton=merton(0.2, -0.01, 0.02, [0, 1, 1.5, 0]),
        liquidity=liquidity(
            lowest=0.2, highest=0.9, correlation=0.7, onset=1.0, hold=2.0, half_life=3.0
        ),
        outages=(
            outage(0, start=2.0, length=3.0),
            outage(0, random=True, start=1.0, length=2.0, rate=0.2),
            outage(1, random=True, length=2.0, rate=0.1),
        ),
        steps=20,
    )  # fmt: skip
    parts = whole | parts
    for name in ("anchor", "drift"):
        parts[name] = np.asarray(parts[name], float)
    return world(parts.pop("loading"), **parts)


_draw = eqx.filter_jit(draw)


@eqx.filter_jit
def _sample(
    world: World, seed: jax.Array, first_path: jax.Array, paths: int, dtype: Any
) -> tuple[Draws, Inputs, PathCoordinates]:
    draws = draw(world, seed, first_path, paths, dtype)
    return draws, *exogenous(world, draws, dtype)


def sample_draws(
    world: World, seed: int = 1, first_path: int = 0, paths: int = 4, dtype: Any = np.float32
) -> Draws:
    """Draws as the engine makes them, as NumPy arrays."""
    with jax.enable_x64(np.dtype(dtype) == np.float64):
        made = _draw(world, np.uint32(seed), np.uint32(first_path), paths, np.dtype(dtype))
        return jax.device_get(made)


def sample(
    world: World, seed: int = 1, first_path: int = 0, paths: int = 64, dtype: Any = np.float32
) -> tuple[Draws, Inputs, PathCoordinates]:
    """Draws and series as the engine makes them, as NumPy arrays."""
    with jax.enable_x64(np.dtype(dtype) == np.float64):
        made = _sample(world, np.uint32(seed), np.uint32(first_path), paths, np.dtype(dtype))
        return jax.device_get(made)
