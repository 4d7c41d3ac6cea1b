"""Points that support a level, of plain and of weighted paths, and how their lack is said."""

import math
import warnings

import numpy as np
import pytest
import xarray as xr

from deleverage.analysis import systemic, tail
from deleverage.analysis.estimate import effective_number

COUNT = 2000


def outcome(values, weights=None):
    coords = {}
    if weights is not None:
        with np.errstate(divide="ignore"):
            coords["log_weight"] = ("path", np.log(weights))
    return xr.DataArray(values, dims="path", coords=coords)


def asked(x, q=0.9):
    """Every measure that counts points, of an outcome and, where one is needed, given itself."""
    return {
        "quantile": lambda: tail.quantile(x, q),
        "expected_shortfall": lambda: tail.expected_shortfall(x, q),
        "CoVaR": lambda: systemic.covar(x, x, q=0.5, p=q),
        "marginal expected shortfall": lambda: systemic.marginal_expected_shortfall(x, x, q=q),
    }


def test_the_effective_number_by_hand():
    assert effective_number(np.ones(7)) == 7
    assert effective_number(np.array([3.0, 1.0, 0.0])) == pytest.approx(16 / 10)
    assert effective_number(np.zeros(3)) == 0


def test_points_of_the_tail_are_counted_by_what_they_weigh():
    # the largest 200 weigh nothing but for 5 of them: no level of theirs rests on more than 5
    weights = np.r_[np.ones(COUNT - 200), np.zeros(195), np.full(5, 40.0)]
    values = np.random.default_rng(0).permutation(COUNT)
    x, plain = outcome(np.arange(1.0 * COUNT)[values], weights[values]), outcome(1.0 * values)
    for name, ask in asked(x).items():
        with pytest.warns(tail.ThinTailWarning, match=f"^{name} at level.* rests on ") as warned:
            found = ask()
        assert 2 <= found.attrs["tail_points"] <= 6, name
        words = str(warned[0].message).split(" points of the sample, ")[1]
        assert words == "fewer than 10; run more paths or take a level nearer the middle."
    for name, ask in asked(plain).items():
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            points = ask().attrs["tail_points"]
            assert points == pytest.approx(100 if name == "CoVaR" else 200), name


def test_paths_that_importance_puts_in_the_tail_support_it():
    # few plain paths lie so far out, and those of the middle that weigh most tell nothing of it
    z = np.random.default_rng(1).standard_normal(COUNT) + 3.0
    x = outcome(z, np.exp(4.5 - 3.0 * z))
    assert effective_number(np.exp(4.5 - 3.0 * z)) < 50
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for ask in asked(x, 0.999).values():
            assert ask().attrs["tail_points"] > 100


def test_peaks_are_counted_by_what_they_weigh():
    excesses = np.random.default_rng(2).exponential(size=COUNT)
    plain = tail.peaks_over_threshold(outcome(excesses), 0.99)
    assert plain.attrs["tail_points"] == pytest.approx(20)
    # every second one weighs nothing: as good as half as many
    halved = outcome(excesses, np.tile([2.0, 0.0], COUNT // 2))
    found = tail.peaks_over_threshold(halved, 0.99)
    assert found.attrs["tail_points"] == pytest.approx(10, rel=0.1)
    # one path in a hundred weighs almost everything: of 100 peaks one or two are left
    few = np.where(np.arange(COUNT) % 100 == 99, 99.0, 0.01)
    x = outcome(np.sort(excesses), few)
    with pytest.warns(tail.ThinTailWarning, match="rests on 0 points"):
        assert math.isnan(tail.peaks_over_threshold(x, 0.999).estimate.item())
    assert math.isnan(tail.tail_index(x).estimate.item())
    with pytest.warns(tail.ThinTailWarning, match="at no share"):
        assert not tail.threshold_diagnostics(x).peaks.any()


def test_offspring_of_few_ancestors_are_few_points():
    # of ten replicates of splitting one alone has gone beyond the level, with forty offspring
    count, size = 1000, 100
    blocks = ("draw_block", np.arange(count) // size)
    values = np.r_[np.zeros(count - 40), np.ones(40)] + 1e-6 * np.arange(count)
    weights = np.r_[np.full(count - 40, (count - 10) / (count - 40)), np.full(40, 0.25)]
    x = outcome(values, weights).assign_coords(draw_block=("path", blocks[1]))
    with pytest.warns(tail.ThinTailWarning, match="rests on 1 points"):
        tail.quantile(x, 0.99)
    # four in each replicate are as many as they weigh, with the one path at the quantile itself
    spread = outcome(*(row.reshape(size, -1).T.ravel() for row in (values, weights)))
    spread = spread.assign_coords(draw_block=("path", blocks[1]))
    own = (count - 10) / (count - 40)
    expected = (40 * 0.25 + own) ** 2 / (40 * 0.25**2 + own**2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        points = tail.quantile(spread, 0.99).attrs["tail_points"]
    assert points == pytest.approx(expected, rel=1e-9)
