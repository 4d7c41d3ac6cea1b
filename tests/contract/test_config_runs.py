"""Every config that is shipped runs: parsed, built and simulated small.

The limits are run whole by tests/limits, which also checks that it leaves none out, and what the
benchmark runs by test_bench.
"""

from pathlib import Path

import numpy as np
import pytest

from deleverage.config import load_config
from deleverage.results.schema import NOT_FINITE, VARIABLES
from deleverage.sweep import simulate

CONFIGS = Path(__file__).parents[2] / "configs"
QUESTIONS = sorted(CONFIGS.glob("*.yaml"))
COMPILES_LONG = {"attribution", "frontier", "search"}  # several programs of the size of oct10


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, marks=[pytest.mark.slow] * (path.stem in COMPILES_LONG), id=path.stem)
        for path in QUESTIONS
    ],
)
def test_a_config_runs(path):
    config = load_config(path, ("time.steps=2", "results.variables=all"), paths=4)
    if config.search is not None:
        points = {f"point {i}": point for i, point in enumerate(config.search.first_points()[:4])}
        config = config.trying(points, config.name, config.paths, config.seed)
    ds = simulate(config)
    assert ds.sizes["policy"] == len(config.entries)
    assert ds.sizes["path"] == 4
    assert set(VARIABLES) <= {*ds.data_vars, *ds.coords}
    assert not np.any(ds.status.values & NOT_FINITE)
    # only ratios to nothing may be empty
    may_be_nan = {"long_share", "peak_window_share", "peak_time", "amplification", "outage_start"}
    issued = [
        name
        for name, asset in config.scenario.assets.items()
        if getattr(asset, "issuer", None) is not None
    ]
    for name, values in ds.data_vars.items():
        if name in ("least_backing", "units_redeemed"):
            told = np.isfinite(values) == values.asset.isin(issued)
            assert bool(told.all()), name
        elif name not in may_be_nan:
            assert np.all(np.isfinite(values.values)), name
    assert float(ds.trough_price.min()) > 0


def test_every_file_is_a_question_a_limit_a_benchmark_or_included():
    texts = "".join(path.read_text() for path in QUESTIONS)
    for path in CONFIGS.rglob("*.yaml"):
        folder = path.parent.relative_to(CONFIGS).as_posix()
        assert folder in (".", "bench", "limits") or f"include: {folder}/{path.name}" in texts, path
