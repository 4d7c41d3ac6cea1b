"""Halving the step on the real scenario, on one Brownian path: minutes of computing, so `slow`."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

import deleverage as dl

CONFIG = Path(__file__).parents[2] / "configs/oct10.yaml"
MINUTES = 120
HALVINGS = 4
FINEST = 0.5 / 2**HALVINGS
PATHS = 32
AMOUNTS = (
    "liquidated_notional",
    "bad_debt",
    "adl_notional",
    "compensation",
    "open_interest_change",
)


def outcomes(step: float) -> dict[str, np.ndarray]:
    """Baseline amounts by path; the draws are those of the finest grid, whatever the step."""
    config = dl.load_config(
        CONFIG,
        overrides=[
            f"time.step={step}m",
            f"time.steps={round(MINUTES / step)}",
            f"time.draw_step={FINEST}m",
        ],
    )
    config = config.model_copy(update={"policies": {"baseline": config.policies["baseline"]}})
    dataset = dl.simulate(config, paths=PATHS).sel(policy="baseline")
    return {name: np.asarray(dataset[name], np.float64) for name in AMOUNTS}


@pytest.mark.slow
def test_halving_the_step_converges_on_oct10(record_property):
    found = [outcomes(0.5 / 2**n) for n in range(HALVINGS + 1)]
    for name in AMOUNTS:
        values = [one[name] for one in found]
        changes = [np.abs(b - a).mean() for a, b in itertools.pairwise(values)]
        # the slope of log2 of the change over the halvings, which MODEL.md section 5 states
        order = -np.polyfit(range(HALVINGS), np.log2(changes), 1)[0]
        record_property(f"order_{name}", order)
        print(f"{name}: order {order:.2f}, changes {np.round(changes, 4)}")
        assert changes[-1] < changes[0] / 2, name
