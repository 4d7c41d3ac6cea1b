"""Runs a config of configs/limits as a user would: from the file alone."""

from collections.abc import Callable
from pathlib import Path

import pytest
import xarray as xr

from deleverage.config import Config, load_config
from deleverage.sweep import simulate

LIMITS = Path(__file__).parents[2] / "configs" / "limits"

Limit = Callable[..., xr.Dataset]


def load(name: str, *overrides: str) -> Config:
    return load_config(LIMITS / f"{name}.yaml", ("results.variables=all", *overrides))


@pytest.fixture(scope="session")
def limit() -> Limit:
    """All outcomes of a limit, by its name and overrides as after `--set`."""
    done: dict[tuple[str, ...], xr.Dataset] = {}

    def run(name: str, *overrides: str) -> xr.Dataset:
        key = (name, *overrides)
        if key not in done:
            done[key] = simulate(load(name, *overrides))
        return done[key]

    return run


@pytest.fixture(scope="session")
def load_limit() -> Callable[..., Config]:
    """A limit's config, by its name."""
    return load
