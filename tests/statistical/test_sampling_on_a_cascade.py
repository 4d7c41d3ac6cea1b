"""Every scheme finds on a cascade what plain paths find: `slow`, each is a program of its own."""

import numpy as np
import pytest
from small_runs import SMALL, SMOKE

import deleverage as dl
from deleverage import tail

PATHS = 4096
ERRORS = 4.5
"""Standard errors of the difference that are allowed: by chance once in 150,000."""

THRESHOLD = 3680.0
"""USD millions: by policy between one path in forty and one in four lies above."""

SCHEMES = {
    "antithetic": (),
    "stratified": (),
    "sobol": (),
    "importance": ("sampling.shift=1",),
}


def found(kind: str, *overrides: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Estimates and errors by policy of measures of size, of the tail, and of prices."""
    config = dl.load_config(SMOKE, (*SMALL, f"sampling.kind={kind}", *overrides), paths=PATHS)
    ds = dl.simulate(config)
    usde = ds.trough_price.sel(market="exchange/USDe/spot")
    measured = {
        "liquidated": tail.mean(ds.liquidated_notional),
        "bad debt": tail.mean(ds.bad_debt),
        "much liquidated": tail.probability(ds.liquidated_notional, above=THRESHOLD),
        "trough": tail.mean(usde),
        "shortfall": tail.expected_shortfall(ds.liquidated_notional, q=0.95),
    }
    return {name: (m.estimate.values, m.standard_error.values) for name, m in measured.items()}


@pytest.fixture(scope="module")
def plain():
    return found("plain")


@pytest.mark.slow
@pytest.mark.parametrize("kind", SCHEMES)
def test_it_agrees_with_plain_paths(plain, kind):
    assert np.all((plain["much liquidated"][0] > 0.01) & (plain["much liquidated"][0] < 0.5))
    for name, (estimate, error) in found(kind, *SCHEMES[kind]).items():
        expected, plain_error = plain[name]
        # few blocks tell their error badly: no scheme is credited with less than plain paths have
        allowed = ERRORS * np.hypot(plain_error, np.maximum(error, plain_error))
        print(kind, name, np.round((estimate - expected) / allowed * ERRORS, 2))
        assert np.all(np.abs(estimate - expected) <= allowed), name
