"""Errors and intervals of paths drawn by each scheme, over repeated samples of the engine's draws.

An outcome is the exponential of a normal that rests on the severity and on the diffusion, so that
every measure is known. Repeats are consecutive paths of one seed, each a whole number of blocks;
the share of 1,000 intervals of 95% that covers has a standard error of 0.7%.
"""

import math
from typing import NamedTuple

import numpy as np
import pytest
import xarray as xr
from scipy.special import ndtri
from scipy.stats import norm
from shock_worlds import macro, sample_draws, world

from deleverage.analysis import tail
from deleverage.analysis.measures import by_name
from deleverage.config.sampling import BLOCKS
from deleverage.world import Sampling

REPEATS = 1000
DRAWN = 2**15
"""Paths of one call: few enough for the processor's cache."""

PATHS = {"antithetic": 4096, "stratified": 8192, "sobol": 8192, "importance": 4096}
DEVIATION = {"a": 0.5, "b": 0.3}
SEVERITY = {"a": 0.6, "b": 0.8}
"""Correlation of the outcome's normal with that of the severity."""

MEASURES = {
    "mean": {},
    "probability": {"above": 1.6},
    "quantile": {"q": 0.95},
    "expected_shortfall": {"q": 0.95},
}
"""Wide enough into the sample that a normal law holds for the sums over blocks."""


class Drawn(NamedTuple):
    """Outcomes of both policies and log weights, `[policy, repeat, path]`, `[repeat, path]`."""

    kind: str
    outcomes: np.ndarray
    log_weight: np.ndarray | None


@pytest.fixture(scope="module", params=PATHS)
def drawn(request):
    kind = request.param
    tilt = (np.array(1.5), np.array(0.1)) if kind == "importance" else ()
    one = world(
        ((1.0,),), macro=macro(1, "normal", b=1.0), steps=1, sampling=Sampling(kind, *tilt)
    )
    shape = (REPEATS, PATHS[kind])
    firsts = range(0, math.prod(shape), DRAWN)
    made = [sample_draws(one, 20251010, first, DRAWN) for first in firsts]

    def field(of):
        joined = np.concatenate([of(draws) for draws in made])
        return joined[: math.prod(shape)].reshape(shape).astype(np.float64)

    severity = -ndtri(field(lambda draws: draws.macro[0]))
    diffusion = field(lambda draws: draws.diffusion[0, 0])
    outcomes = [
        np.exp(DEVIATION[p] * (r * severity + math.sqrt(1 - r**2) * diffusion))
        for p, r in SEVERITY.items()
    ]
    weighted = made[0].log_weight is not None
    return Drawn(kind, np.stack(outcomes), field(lambda d: d.log_weight) if weighted else None)


def truth(measure, deviation, q=None, above=None):
    """Of the exponential of a normal with mean 0."""
    if measure == "mean":
        return math.exp(deviation**2 / 2)
    if measure == "probability":
        return norm.sf(math.log(above) / deviation)
    if measure == "quantile":
        return math.exp(deviation * norm.ppf(q))
    return math.exp(deviation**2 / 2) * norm.sf(norm.ppf(q) - deviation) / (1 - q)


def measured(drawn, of):
    """What `of` makes of the outcomes; weights are a path's alone, so one repeat at a time."""
    size = BLOCKS[drawn.kind]
    coords = {"policy": ["a", "b"]}
    if size > 1:
        coords["draw_block"] = ("path", np.arange(PATHS[drawn.kind]) // size)
    if drawn.log_weight is None:
        return of(xr.DataArray(drawn.outcomes, dims=("policy", "repeat", "path"), coords=coords))
    rows = [
        of(
            xr.DataArray(
                drawn.outcomes[:, i],
                dims=("policy", "path"),
                coords={**coords, "log_weight": ("path", weight)},
            )
        )
        for i, weight in enumerate(drawn.log_weight)
    ]
    return xr.concat(rows, "repeat", combine_attrs="drop")


def coverage(found, value):
    assert found.sizes["repeat"] == REPEATS
    return float(((found.lower <= value) & (value <= found.upper)).mean())


@pytest.mark.parametrize("measure", MEASURES)
def test_intervals_cover_and_errors_are_the_spread(drawn, measure):
    what = by_name(measure, **MEASURES[measure])
    found = measured(drawn, lambda x: tail.measure(x.sel(policy="b"), what))
    assert 0.93 <= coverage(found, truth(measure, 0.3, **MEASURES[measure])) <= 0.97
    squares = found.standard_error**2
    spread, stated = float(found.estimate.std(ddof=1)), math.sqrt(float(squares.mean()))
    # relative errors of a standard deviation, and of the root of a mean of squares
    noise = 1 / (2 * (REPEATS - 1)) + float(squares.var()) / (4 * REPEATS * stated**4)
    assert stated == pytest.approx(spread, rel=4 * math.sqrt(noise))


@pytest.mark.parametrize("measure", MEASURES)
def test_paired_differences_cover(drawn, measure):
    arguments = MEASURES[measure]
    found = measured(drawn, lambda x: tail.difference(x, "a", "b", measure, **arguments))
    one, other = (truth(measure, DEVIATION[p], **arguments) for p in ("a", "b"))
    assert 0.93 <= coverage(found, one - other) <= 0.97


@pytest.mark.parametrize("hits", [3, 10])
def test_the_interval_of_a_share_covers_also_where_few_paths_are_hit(drawn, hits):
    share = hits / PATHS[drawn.kind]
    threshold = math.exp(0.3 * norm.isf(share))
    found = measured(drawn, lambda x: tail.probability(x.sel(policy="b"), above=threshold))
    # At least: it is that of a binomial share, which is conservative. A sum of weights that differ
    # is no binomial number, and the interval holds for it in the limit only.
    assert coverage(found, share) >= (0.943 if drawn.log_weight is None else 0.93)


@pytest.mark.parametrize("drawn", ["antithetic"], indirect=True)
def test_pairs_fix_a_median_but_for_the_gap_to_the_next_path(drawn):
    # Of two mirrored paths one lies below the median and one above, whatever was drawn, so that no
    # block differs from another: the error is 0, and the interval holds a few neighbours.
    found = measured(drawn, lambda x: tail.quantile(x.sel(policy="b"), 0.5))
    assert not found.standard_error.any()
    assert coverage(found, 1.0) == 1
    ordered = np.sort(drawn.outcomes[1], axis=-1)
    middle = PATHS["antithetic"] // 2
    np.testing.assert_array_equal(found.estimate, ordered[:, middle - 1])
    inside = (ordered >= found.lower.values[:, None]) & (ordered <= found.upper.values[:, None])
    assert inside.sum(axis=-1).max() < 0.2 * 2 * 1.96 * math.sqrt(PATHS["antithetic"]) / 2
    # A difference of two such medians is known as well, but its interval has no width.
    found = measured(drawn, lambda x: tail.difference(x, "a", "b", "quantile", q=0.5))
    gaps = np.diff(np.sort(drawn.outcomes, axis=-1)[..., middle - 1 : middle + 1]).sum((0, -1))
    assert (np.abs(found.estimate) <= gaps).all()
    assert float(found.standard_error.max()) < 1e-15  # rounding
