"""How paths are drawn, and what is refused."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from deleverage.analysis.estimate import UnevenWeightsWarning
from deleverage.analysis.summary import as_text, summary, table
from deleverage.config import build, load_config
from deleverage.config.sampling import BLOCKS
from deleverage.errors import ConfigError
from deleverage.shocks import sampling as draws
from deleverage.sweep.plan import plan_run

CONFIG = Path(__file__).parents[3] / "configs" / "limits" / "rare_severity.yaml"


def load(*overrides, paths=4096):
    return load_config(CONFIG, overrides, paths)


@pytest.mark.parametrize("kind", BLOCKS)
def test_every_kind_reaches_the_world_and_the_plan(kind):
    config = load(f"sampling.kind={kind}", *(["sampling.shift=2"] if kind == "importance" else []))
    built = build(config)
    sampling = built.groups[0][0].sampling
    assert (sampling is None) if kind == "plain" else sampling.kind == kind
    if kind == "importance":
        assert (sampling.shift, sampling.plain_share) == (2, 0.1)
    plan = plan_run(config, built, {})
    assert plan.sampling == kind
    assert plan.draw_block == BLOCKS[kind]
    assert plan.identity["sampling"] == config.model_dump(mode="json")["sampling"]


def test_blocks_are_those_of_the_draws():
    assert BLOCKS["sobol"] == BLOCKS["stratified"] == draws.BLOCK


@pytest.mark.parametrize(
    ("overrides", "paths", "sentence"),
    [
        (["sampling.kind=sobol"], 3000, "3000 paths under sobol sampling.*multiples of 1024.*3072"),
        (["sampling.kind=stratified"], 1024, "at least 2048.*write 2048"),
        (
            ["sampling.kind=sobol"],
            "{at_most: 4096, until: {variable: bad_debt, measure: mean, relative_error: 5%}}",
            "a rule for the number of paths under sobol",
        ),
        (["sampling.kind=antithetic"], 4097, "multiples of 2.*write 4098"),
        (["sampling.kind=crude"], 4096, "sampling"),
        (["sampling.kind=importance"], 4096, "shift"),
        (["sampling.kind=importance", "sampling.shift=0"], 4096, r"\(0, 6\]"),
        (["sampling.kind=importance", "sampling.shift=7"], 4096, r"\(0, 6\]"),
        (["sampling.kind=sobol", "sampling.shift=1"], 4096, "shift"),
        (["sampling.kind=sobol", "results.timeline=true"], 4096, "timeline under sobol"),
        (
            ["sampling.kind=importance", "sampling.shift=1", "results.timeline=true"],
            4096,
            "timeline under importance",
        ),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(overrides, paths, sentence):
    with pytest.raises(ConfigError, match=sentence):
        load_config(CONFIG, [*overrides, f"paths={paths}"])


@pytest.mark.parametrize("kind", ["stratified", "importance"])
def test_a_severity_without_a_law_has_nothing_to_sample(kind):
    fixed = "scenario.shocks.macro.severity={kind: fixed, value: 5%}"
    more = ["sampling.shift=1"] if kind == "importance" else []
    with pytest.raises(ConfigError, match="the same on every path"):
        load(fixed, f"sampling.kind={kind}", *more)


def test_a_sweep_of_broken_blocks_is_refused_before_it_runs():
    config = load("sampling.kind=sobol")
    with pytest.raises(ConfigError, match="multiples of 1024"):
        plan_run(config.model_copy(update={"paths": 3000}), build(config), {})


def test_a_summary_of_uneven_weights_says_so():
    z = np.random.default_rng(1).standard_normal(4000) + 4
    x = xr.DataArray(
        (z > 4)[None] * 1.0,
        dims=("policy", "path"),
        coords={"policy": ["baseline"], "log_weight": ("path", 8 - 4 * z)},
        attrs={"units": "million USD"},
    )
    with pytest.warns(UnevenWeightsWarning, match="worth .* equal ones"):
        found = summary(xr.Dataset({"bad_debt": x}))
    weights = np.exp(8 - 4 * z)
    effective = weights.sum() ** 2 / (weights**2).sum()
    assert found.attrs["effective_paths"] == pytest.approx(effective)
    assert "Paths are weighted" in as_text(table(found))
    mixed = x.assign_coords(log_weight=("path", -np.log(0.1 + 0.9 * np.exp(4 * z - 8))))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UnevenWeightsWarning)
        summary(xr.Dataset({"bad_debt": mixed}))
