"""How many plain paths one path of each kind of sampling is worth, measured.

`pytest -s tests/statistical/test_variance_ratios.py` prints the ratios of rare severities;
`-m slow` with it those of the 10 October scenario.
"""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from scipy.stats import norm
from shock_worlds import macro, sample, world

from deleverage import tail
from deleverage.config import load_config
from deleverage.sweep import simulate
from deleverage.world import Sampling

ERRORS = 4
PATHS = 2**19
REPLICATES = 64
CONFIGS = Path(__file__).parents[2] / "configs"
OCT10, RARE_SEVERITY = CONFIGS / "oct10.yaml", CONFIGS / "limits" / "rare_severity.yaml"


def chance(kind, p):
    """Estimate and standard error of P(severity beyond its 1 - p quantile), severity normal."""
    sampling = {
        "plain": None,
        "importance": Sampling("importance", np.array(norm.isf(p)), np.array(0.1)),
    }.get(kind, Sampling(kind))
    size = {"antithetic": 2, "stratified": 1024, "sobol": 1024}.get(kind, 1)
    drawn = world(macro=macro(1, "normal", b=1.0), steps=1, sampling=sampling)
    _, _, path = sample(drawn, 20251010, 0, PATHS)
    coords = {"log_weight": ("path", path.log_weight)}
    if size > 1:
        coords["draw_block"] = ("path", np.arange(PATHS) // size)
    x = xr.DataArray(path.severity, dims="path", coords=coords)
    found = tail.probability(x, above=float(norm.isf(p)))
    return float(found.estimate), float(found.standard_error)


def ratio(p, error, paths=PATHS):
    return p * (1 - p) / paths / error**2


@pytest.mark.parametrize(
    ("kind", "least"), [("antithetic", 0.8), ("stratified", 25), ("sobol", 25)]
)
def test_blocks_even_out_what_is_no_rarer_than_a_stratum(kind, least):
    p = 1e-3
    estimate, error = chance(kind, p)
    assert abs(estimate - p) < ERRORS * error
    assert ratio(p, error) > least
    print(f"{kind:12} p {p:g} variance ratio {ratio(p, error):.3g}")


@pytest.mark.parametrize("p", [1e-3, 1e-4, 1e-5, 1e-6])
def test_weights_reach_what_is_rare(p):
    estimate, error = chance("importance", p)
    assert abs(estimate - p) < ERRORS * error
    # of the mixture: sum of w^2 over the event, by quadrature
    shift = norm.isf(p)
    z = np.linspace(shift, 6.28, 200_001)
    second = np.trapezoid(norm.pdf(z) ** 2 / (0.1 * norm.pdf(z) + 0.9 * norm.pdf(z - shift)), z)
    expected = p * (1 - p) / (second - p**2)
    assert ratio(p, error) == pytest.approx(expected, rel=0.03)
    print(f"importance   p {p:g} variance ratio {ratio(p, error):.4g}")


@pytest.mark.parametrize("power", [3, 4, 5, 6])
def test_populations_reach_what_is_rare_in_steps_of_ten(power):
    p, paths = 10.0**-power, 320
    overrides = (
        "sampling.kind=splitting",
        "sampling.variable=severity",
        f"sampling.levels={power - 1}",
        f"sampling.paths_per_level={paths}",
        "engine.tile_paths=32",
    )
    config = load_config(RARE_SEVERITY, overrides, REPLICATES * paths * power)
    ds = simulate(config)
    found = tail.probability(severity(ds), above=0.02 + 0.04 * float(norm.isf(p)))
    estimate, error = float(found.estimate), float(found.standard_error)
    assert abs(estimate - p) < ERRORS * error
    gain = ratio(p, error, ds.sizes["path"])
    # of independent paths in each population: 9 / paths a level in relative variance
    ideal = (1 - p) / p / (9 * power**2)
    assert 0.1 * ideal < gain < 1.5 * ideal
    print(f"splitting    p {p:g} variance ratio {gain:.3g}")


def severity(ds):
    """The severity as an outcome, with the weights and blocks of its paths."""
    return ds.severity.reset_coords(drop=True).assign_coords(
        log_weight=ds.log_weight, draw_block=ds.draw_block
    )


def test_strata_are_worth_little_beyond_them():
    p = 1e-4
    estimate, error = chance("stratified", p)
    assert abs(estimate - p) < ERRORS * error
    assert 0.6 < ratio(p, error) < 2.5  # 1.11 in theory, from 52 paths that hit
    print(f"stratified   p {p:g} variance ratio {ratio(p, error):.3g}")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variable", "side", "selection"),
    [
        ("bad_debt", "upper", "{}"),
        ("trough_price", "lower", "{market: exchange/USDe/spot}"),
    ],
)
def test_populations_on_the_day(variable, side, selection):
    shown = [
        "sampling.kind=splitting",
        f"sampling.variable={variable}",
        f"sampling.tail={side}",
        f"sampling.selection={selection}",
        "sampling.levels=3",
        "results.variables=[bad_debt, trough_price]",
    ]
    config = load_config(OCT10, ["policies={baseline: {}}", *shown], 24 * 4 * 320)
    assert list(config.entries) == ["baseline"]
    outcome = simulate(config)[variable].isel(policy=0)
    if variable == "trough_price":
        outcome = -outcome.sel(market="exchange/USDe/spot")
    for p in (1e-2, 1e-3, 1e-4):
        threshold = float(tail.quantile(outcome, 1 - p).estimate)
        found = tail.probability(outcome, above=threshold)
        gain = ratio(p, float(found.standard_error), outcome.sizes["path"])
        print(f"oct10 splitting: {variable} beyond {threshold:.4g}, p {p:g} ratio {gain:.3g}")
    # 4.9 and 5.1: worth it at last; a replicate in which another kind of path is met counts most
    assert gain > 1


@pytest.mark.slow
def test_weights_and_common_draws_on_the_day():
    shown = ["sampling.kind=importance", "sampling.shift=2.5", "results.variables=[bad_debt]"]
    config = load_config(OCT10, shown, 4096)
    config = config.model_copy(
        update={"policies": {k: config.policies[k] for k in ("baseline", "redemption_and_floor")}}
    )
    weighted = simulate(config).bad_debt
    threshold = float(tail.quantile(weighted[0], 0.999).estimate)
    found = tail.probability(weighted[0], above=threshold)
    p, error = float(found.estimate), float(found.standard_error)
    gain = ratio(p, error, 4096)
    print(f"oct10 importance: P(bad_debt > {threshold:.0f}m) = {p:.3g}, variance ratio {gain:.3g}")
    # 0.31, from two or three paths that hit: the worst bad debts come at middling severities
    assert 0.05 < gain < 3
    one, other = (tail.mean(weighted[i]) for i in (0, 1))
    independent = float(one.standard_error**2 + other.standard_error**2)
    paired = tail.difference(weighted, "redemption_and_floor", "baseline", "mean")
    common = independent / float(paired.standard_error) ** 2
    print(f"oct10 common draws: difference of mean bad debt, variance ratio {common:.3g}")
    assert common > 1
