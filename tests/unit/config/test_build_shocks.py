"""Shocks of a config as the numbers of `World`."""

from pathlib import Path

import numpy as np
from scipy import stats

from deleverage.config import build, load_config
from deleverage.shocks.laws import student_t

SMOKE = Path(__file__).parents[3] / "configs" / "smoke.yaml"
MACRO = "scenario.shocks.macro"


def loaded(*overrides):
    return load_config(SMOKE, overrides)


def rebuilt(config, folder):
    """The world of the config that a run writes down."""
    path = folder / "resolved.yaml"
    path.write_text(config.resolved_yaml())
    return build(load_config(path)).world


def test_a_student_t_severity(tmp_path):
    text = f"{MACRO}.severity={{kind: student_t, centre: 5%, scale: 3%, degrees: 3, cap: 60%}}"
    config = loaded(text)
    macro = build(config).world.macro
    assert (macro.law, macro.a, macro.b, macro.c, macro.cap) == ("student_t", 0.05, 0.03, 3, 0.6)
    found = student_t(macro.a, macro.b * np.sqrt(3), macro.quantile, np.array([0.01]))
    np.testing.assert_allclose(found, 0.05 + 0.03 * stats.t.isf(0.01, 3), rtol=1e-5)
    np.testing.assert_array_equal(rebuilt(config, tmp_path).macro.quantile, macro.quantile)


def test_a_profile_of_the_arrival(tmp_path):
    config = loaded(f"{MACRO}.duration=0m", f"{MACRO}.profile=[[0s, 10%], [90s, 0.5], [8m, 1]]")
    expected = [[0.0, 1.5, 8.0], [0.1, 0.5, 1.0]]
    np.testing.assert_allclose(build(config).world.macro.profile, expected)
    np.testing.assert_allclose(rebuilt(config, tmp_path).macro.profile, expected)
    assert build(loaded()).world.macro.profile is None
