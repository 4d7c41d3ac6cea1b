"""The lever `collateral.X.dynamic`: haircuts that rise with volatility."""

from pathlib import Path

import jax
import numpy as np
import pytest

from deleverage.config import build, load_config
from deleverage.errors import ConfigError

SMOKE = Path(__file__).parents[3] / "configs" / "smoke.yaml"
DYNAMIC = "dynamic: {review: 2m, reference: 20%, power: 2, cap: 50%, half_life: 1m}"


def built(collateral, *more):
    """The policy `no_parity` with this collateral, and its layout."""
    made = build(load_config(SMOKE, [f"policies.no_parity.collateral={collateral}", *more]))
    place = list(made.config.entries).index("no_parity")
    world, policies, places, _ = next(group for group in made.groups if place in group[2])
    number = places.index(place)
    policy = jax.tree.map(lambda leaf: leaf[..., number], policies)
    return policy, world.layout, policies


def test_the_lever_becomes_rules_of_its_index():
    policy, layout, policies = built(f"{{USDe@exchange: {{parity: false, {DYNAMIC}}}}}")
    for row, index in enumerate(layout.indices):
        on = (layout.venues[index.venue], layout.assets[index.asset]) == ("exchange", "USDe")
        # 20% a year of 525,600 minutes; 2m in steps of 30s; 2^(-1/2) of an average is left a step
        expected = [0.04 / 525600, 2, 0.5, 1 - 2**-0.5, 4] if on else [1, 0, 1, 1, 1]
        found = [leaf[row].item() for leaf in vars(policy.haircuts).values()]
        assert found == pytest.approx(expected)
    np.testing.assert_allclose(policy.margin.granted, 1.0)
    assert policy.baseline_margin.granted is None
    # those that share a program with it never raise theirs
    assert np.count_nonzero(policies.haircuts.power) == 1


def test_the_share_that_a_cap_grants_is_told():
    policy, _, _ = built(f"{{USDe: {{parity: false, cap: 50M, {DYNAMIC}}}}}")
    held = policy.books.collateral.sum(axis=2) > 0
    granted = policy.margin.granted[..., 0][held]
    assert granted.max() < 1.0
    np.testing.assert_allclose(policy.margin.ratio[:, 0, :, 0][held], 0.9 * granted)


def test_positions_at_the_start_answer_to_haircuts_as_written():
    still, _, _ = built("{USDe: {parity: false}}")
    moving, _, _ = built(f"{{USDe: {{parity: false, {DYNAMIC}}}}}")
    for name, leaf in vars(moving.books).items():
        np.testing.assert_array_equal(leaf, getattr(still.books, name))


def test_null_takes_it_out():
    venue = f"scenario.venues.exchange.collateral.USDe={{haircut: 10%, {DYNAMIC}}}"
    policy, _, _ = built("{USDe: {dynamic: null}}", venue)
    assert policy.haircuts.power.max() == 0.0
    policy, _, _ = built("{USDe: {haircut: 15%}}", venue)
    assert policy.haircuts.power.max() == 2.0
    assert built("{USDe: {parity: false}}")[0].haircuts is None


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        (f"{{{DYNAMIC}}}", "dynamic haircut of 'USDe' on 'exchange', which has parity.*null"),
        (f"{{haircut: 10%, parity: true, {DYNAMIC}}}", "which has parity with cash"),
        (f"{{haircut: 0, {DYNAMIC}}}", "'USDe' on 'exchange', whose haircut is 0.*add a haircut"),
        (f"{{tiers: [[0, 1], [1M, 1]], {DYNAMIC}}}", "whose haircut is 0"),
        (f"{{haircut: 50%, {DYNAMIC}}}", "a cap of 0.5 on haircuts .* that are 0.5 or more"),
        (
            "{haircut: 10%, dynamic: {review: 12m, reference: 20%, cap: 50%}}",
            "reviews every 12m in a run of 12m",
        ),
        (
            "{haircut: 10%, dynamic: {review: 0, reference: 20%, cap: 50%}}",
            "review: 0 came; allowed is a duration",
        ),
        (f"{{admitted: false, {DYNAMIC}}}", "admitted: false with dynamic"),
    ],
)
def test_what_would_change_nothing_is_refused(rule, sentence):
    with pytest.raises(ConfigError, match=sentence):
        built(f"{{USDe: {rule}}}")


def test_collateral_that_nobody_pledges_has_no_use_for_it():
    venue = "scenario.venues.others.collateral={USDe: {haircut: 10%}}"
    rule = f"parity: false, {DYNAMIC}"
    with pytest.raises(ConfigError, match="'USDe' on 'others', which no book pledges there"):
        built(f"{{USDe@others: {{{rule}}}}}", venue)
    # a key for all venues is of use on one
    assert built(f"{{USDe: {{{rule}}}}}", venue)[0].haircuts is not None
