"""Splitting against crude Monte Carlo, and how often its intervals cover the truth."""

import numpy as np
import pytest
import xarray as xr
from fake_splitting import splitting
from scipy.stats import norm
from small_runs import SMALL, SMOKE

from deleverage import tail
from deleverage.config import load_config
from deleverage.sweep import simulate

ERRORS = 4
SPLIT = (
    "sampling.kind=splitting",
    "sampling.variable=bad_debt",
    "sampling.levels=2",
    "results.variables=[bad_debt, liquidated_notional, trough_price]",
)


def test_a_cascade_split_on_its_bad_debt_agrees_with_crude_monte_carlo():
    plain = simulate(load_config(SMOKE, (*SMALL, *SPLIT[3:], "seed=11"), paths=12_000))
    split = simulate(load_config(SMOKE, (*SMALL, *SPLIT, "seed=12"), paths=16 * 960))
    for policy in ("baseline", "no_parity"):  # split on the first; all keep their expectations
        one, other = (ds.sel(policy=policy) for ds in (plain, split))
        rare = float(tail.quantile(one.bad_debt, 0.99).estimate)
        assert rare > 0
        for found in (
            [tail.probability(x.bad_debt, above=rare) for x in (one, other)],
            [tail.expected_shortfall(x.bad_debt, q=0.95) for x in (one, other)],
            [tail.mean(x.liquidated_notional) for x in (one, other)],
            [tail.mean(x.trough_price.isel(market=0)) for x in (one, other)],
        ):
            gap = float(found[0].estimate - found[1].estimate)
            errors = [float(x.standard_error) for x in found]
            assert abs(gap) < ERRORS * np.hypot(*errors), (policy, found[0].method)
        print(policy, float(found[0].estimate), float(found[1].estimate))


@pytest.mark.parametrize("repeats", [60, pytest.param(1000, marks=pytest.mark.slow)])
def test_intervals_cover_over_repeats(repeats):
    replicates, block = 10, 1280
    thresholds = tuple(norm.isf([0.1, 0.01, 0.001]))
    scheme = splitting(thresholds, 0.5, 0.1, 320)
    rare = float(norm.isf(1e-4))
    hits = {"mean": 0, "1e-2": 0, "1e-4": 0, "0.999": 0, "0.9999": 0}
    for repeat in range(repeats):
        first = repeat * replicates * block
        paths = range(first, first + replicates * block)
        found = scheme.simulate(range(1), paths)
        x = xr.DataArray(
            found["bad_debt"][0],
            dims="path",
            coords={
                "log_weight": ("path", found["log_weight"]),
                "draw_block": ("path", np.arange(len(paths)) // block),
            },
        )
        for name, interval, truth in (
            ("mean", tail.mean(x), 0.0),
            ("1e-2", tail.probability(x, above=float(norm.isf(1e-2))), 1e-2),
            ("1e-4", tail.probability(x, above=rare), 1e-4),
            ("0.999", tail.quantile(x, 0.999), float(norm.isf(1e-3))),
            ("0.9999", tail.quantile(x, 0.9999), rare),
        ):
            hits[name] += float(interval.lower) <= truth <= float(interval.upper)
    print({name: count / repeats for name, count in hits.items()})
    least = 0.95 - ERRORS * (0.95 * 0.05 / repeats) ** 0.5
    assert min(hits.values()) / repeats > least, hits
