import numpy as np
import pytest
from small_runs import SMALL, SMOKE

from deleverage.config import build, load_config
from deleverage.engine import LANES
from deleverage.shocks import macro

OVERRIDE = "scenario: {shocks: {outages: []}}"
KINDS = "liquidation: {by_venue: {others: {kind: target, target: 2}}}"


def groups(*entries: str) -> list[tuple[list[int], bool]]:
    """Places of each program, and whether it has worlds of its own, of entries after the three."""
    texts = [f"policies.p{i}={{{entry}}}" for i, entry in enumerate(entries)]
    built = build(load_config(SMOKE, (*SMALL, *texts)))
    return [(places, own is not None) for _, _, places, own in built.groups]


def test_a_block_without_overrides_needs_no_worlds_of_its_own():
    same = [f"liquidation: {{pace: {50 + i}%}}" for i in range(LANES - 3)]
    override = groups(*same, *same[:2], OVERRIDE)
    assert override == [(list(range(LANES)), False), ([16, 17, 18], True)]


def test_entries_of_other_kinds_stay_apart_in_a_block():
    assert groups(KINDS, OVERRIDE, f"{KINDS}, {OVERRIDE}") == [([0, 1, 2, 4], True), ([3, 5], True)]
    other = "scenario: {shocks: {merton: {rate: 0.1, mean: 0, deviation: 1%, loadings: {BTC: 1}}}}"
    assert groups(other) == [([0, 1, 2], False), ([3], True)]


@pytest.mark.parametrize(
    "severity",
    [
        "{kind: normal, mean: 10%, deviation: 3%}",
        "{kind: lognormal, median: 10%, sigma: 0.3}",
        "{kind: generalised_pareto, threshold: 10%, scale: 3%, shape: 3}",
        "{kind: student_t, centre: 10%, scale: 3%, degrees: 3}",
    ],
)
def test_a_fixed_severity_shares_the_program_of_any_law_and_is_that_number(severity):
    fixed = "policies.fixed={scenario: {shocks: {macro: {severity: {kind: fixed, value: 7%}}}}}"
    replaced = f"scenario.shocks.macro={{severity: {severity}, loadings: {{BTC: 1}}}}"
    ((_, _, places, own),) = build(load_config(SMOKE, (replaced, fixed))).groups
    assert places == [0, 1, 2, 3]
    uniforms = np.array([2.0**-33, 0.3, 1 - 2.0**-24], np.float32)
    for place, expected in ((3, True), (0, False)):
        one = type(own.macro)(
            **{
                name: value if name == "law" or value is None else np.float32(value[..., place])
                for name, value in vars(own.macro).items()
            }
        )
        found = macro.severity(one, uniforms)
        assert bool((np.asarray(found) == np.float32(0.07)).all()) is expected
