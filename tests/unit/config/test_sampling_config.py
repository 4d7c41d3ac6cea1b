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
from deleverage.sweep.response import response_of

CONFIG = Path(__file__).parents[3] / "configs" / "limits" / "rare_severity.yaml"

SPLIT = ["sampling.kind=splitting", "sampling.variable=severity", "sampling.levels=3"]


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
        (SPLIT[:2], 4096, "levels"),
        ([*SPLIT, "sampling.share=30%"], 2560, r"one over a whole number.*write share: 0\.33"),
        ([*SPLIT, "sampling.paths_per_level=315"], 2520, "multiple of 10, at least 20.*320"),
        ([*SPLIT, "sampling.share=60%"], 2560, r"share in \[1%, 50%\]"),
        ([*SPLIT, "sampling.levels=0"], 2560, "number of levels"),
        ([*SPLIT, "sampling.policy=floor"], 2560, "policy 'floor' is unknown.*baseline"),
        (SPLIT, 2000, "2000 paths under splitting.*multiples of 1280, at least 2560.*write 2560"),
        (SPLIT, 1280, "at least 2560"),
        ([*SPLIT, "results.timeline=true"], 2560, "timeline under splitting"),
        (
            SPLIT,
            "{at_most: 4096, until: {variable: bad_debt, measure: mean, relative_error: 5%}}",
            "a rule for the number of paths under splitting",
        ),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(overrides, paths, sentence):
    with pytest.raises(ConfigError, match=sentence):
        load_config(CONFIG, [*overrides, f"paths={paths}"])


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("sampling.variable=bad_dept", "nothing that paths could be split on.*bad_debt"),
        ("sampling.variable=log_weight", "nothing that paths could be split on"),
        ("sampling.variable=fund_size", "nothing that paths could be split on"),
        ("sampling.selection={market: v/B/spot}", "no market 'v/B/spot'.*v/A/spot"),
        ("sampling.selection={venue: v}", "trough_price has no venue 'v'.*market"),
        ("engine.unit_paths=1920", r"multiples of the paths of a replicate \(1280\)"),
    ],
)
def test_what_paths_cannot_be_split_on_is_refused_before_it_runs(override, sentence):
    config = load(*SPLIT, "sampling.variable=trough_price", override, paths=3840)
    with pytest.raises(ConfigError, match=sentence):
        plan_run(config, build(config), {})


def test_units_of_splitting_are_whole_replicates():
    config = load(*SPLIT, paths=12800)
    built = build(config)
    plan = plan_run(config, built, {})
    assert built.groups[0][0].sampling is None
    assert (plan.sampling, plan.draw_block, plan.path_block) == ("splitting", 1280, 1280)
    assert config.sampling.chains == 32
    assert config.sampling.moves == 10


def test_a_response_picks_a_label_or_sums_and_turns_its_low_side_up():
    outcomes = {"trough_price": np.array([[[1, 2], [3, 4], [np.nan, 0]]], np.float32)}
    labels = {"policy": ["baseline"], "market": ["v/A/spot", "v/A/perp"]}
    chosen = "sampling.selection={market: v/A/perp}"
    for more, expected in (
        ((), [3, 7, -np.inf]),
        ((chosen,), [2, 4, 0]),
        ((chosen, "sampling.tail=lower"), [-2, -4, 0]),
    ):
        config = load(*SPLIT, "sampling.variable=trough_price", *more, paths=2560)
        found = response_of(config, labels).of(outcomes, range(1))
        np.testing.assert_array_equal(found, expected)


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
