"""Shapley values, interactions and probabilities of causation against games worked by hand."""

import math
from itertools import combinations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import deleverage as dl
from deleverage.analysis import attribution
from deleverage.analysis.attribution import interaction_coefficients, share_coefficients
from deleverage.errors import ConfigError

COUNT = 50


def coalitions(causes):
    return [frozenset(one) for size in range(len(causes) + 1) for one in combinations(causes, size)]


def constant(game):
    """A game of numbers as outcomes that are the same on every path."""
    return {names: np.full(COUNT, value) for names, value in game.items()}


# The gloves game with a fine: a and b have left gloves, c the right one; b takes 0.1 when it is in.
GLOVES = {
    frozenset(): 0.0,
    frozenset("a"): 0.0,
    frozenset("b"): -0.1,
    frozenset("c"): 0.0,
    frozenset("ab"): -0.1,
    frozenset("ac"): 1.0,
    frozenset("bc"): 0.9,
    frozenset("abc"): 0.9,
}


def test_a_game_of_three_by_hand():
    # marginals of a over the six orders: abc 0, acb 0, bac 0, bca 0, cab 1, cba 0 -> 1/6
    # of b: -.1 always, and 1 where c is in and a is not: only cba -> 1/6 - .1
    # of c: 1 where a or b is in before: acb, abc, bac, bca -> 4/6
    found = attribution.shapley(constant(GLOVES))
    assert found.cause.values.tolist() == ["a", "b", "c"]
    np.testing.assert_allclose(found.share, [1 / 6, 1 / 6 - 0.1, 4 / 6], atol=1e-15)
    assert found.total.item() == pytest.approx(0.9, abs=1e-15)
    np.testing.assert_allclose(found.share_standard_error, 0, atol=1e-15)
    # of a and b: without c 0 - 0 - 0 + 0, with c 1 - 1 - 1 + 0 = -1 (the fine cancels) -> -1/2
    # of a and c: without b 1, with b 1 - 0 - 1 + 0 = 0 -> 1/2, as of b and c
    expected = [[math.nan, -0.5, 0.5], [-0.5, math.nan, 0.5], [0.5, 0.5, math.nan]]
    np.testing.assert_allclose(found.interaction, expected, atol=1e-15)


games = st.integers(1, 4).flatmap(
    lambda count: st.lists(st.floats(-10, 10), min_size=2**count, max_size=2**count)
)


@given(games)
def test_shares_add_up_to_the_total(values):
    count = len(values).bit_length() - 1
    shares = share_coefficients(count) @ np.array(values)
    assert shares.sum() == pytest.approx(values[-1] - values[0], abs=1e-12)


@given(games, st.data())
def test_causes_that_act_alike_have_equal_shares(values, data):
    count = len(values).bit_length() - 1
    if count < 2:
        return
    i, j = data.draw(st.sampled_from(list(combinations(range(count), 2))))

    def swapped(number):
        bits = (number >> i & 1, number >> j & 1)
        return number & ~(1 << i) & ~(1 << j) | bits[1] << i | bits[0] << j

    game = np.array([values[number] + values[swapped(number)] for number in range(2**count)])
    shares = share_coefficients(count) @ game
    assert shares[i] == pytest.approx(shares[j], abs=1e-12)


@given(games, st.data(), st.floats(-5, 5))
def test_a_cause_that_adds_the_same_to_all_has_that_share_and_no_interaction(values, data, own):
    count = len(values).bit_length() - 1
    i = data.draw(st.integers(0, count - 1))
    game = np.array([values[n & ~(1 << i)] + own * (n >> i & 1) for n in range(2**count)])
    assert (share_coefficients(count) @ game)[i] == pytest.approx(own, abs=1e-11)
    pairs = list(combinations(range(count), 2))
    for number, pair in zip(interaction_coefficients(count) @ game, pairs, strict=True):
        if i in pair:
            assert number == pytest.approx(0, abs=1e-11)


@given(games)
def test_shares_of_a_sum_are_sums_of_shares(values):
    game = np.array(values)
    coefficients = share_coefficients(len(values).bit_length() - 1)
    twice = coefficients @ (game + game[::-1])
    np.testing.assert_allclose(twice, coefficients @ game + coefficients @ game[::-1], atol=1e-11)


def drawn(rng, count=4000):
    """Outcomes that add a, b and their product, on common draws."""
    a, b, noise = rng.exponential(size=(3, count))
    return {
        frozenset(): noise,
        frozenset({"a"}): noise + a,
        frozenset({"b"}): noise + 2 * b,
        frozenset({"a", "b"}): noise + a + 2 * b + a * b,
    }


def test_error_of_a_share_is_that_of_its_paths():
    outcomes = drawn(np.random.default_rng(0), 1000)
    found = attribution.shapley(outcomes)
    # with the mean as measure, each path has a Shapley value of its own
    every = np.stack([outcomes[one] for one in coalitions(["a", "b"])])
    a = 0.5 * (every[1] - every[0] + every[3] - every[2])
    assert found.share.sel(cause="a").item() == pytest.approx(a.mean())
    error = a.std(ddof=1) / math.sqrt(a.size)
    assert found.share_standard_error.sel(cause="a").item() == pytest.approx(error)
    both = every[3] - every[2] - every[1] + every[0]
    assert found.interaction.values[0, 1] == pytest.approx(both.mean())
    assert found.interaction_standard_error.values[0, 1] == pytest.approx(
        both.std(ddof=1) / math.sqrt(a.size)
    )
    # the noise is common: it adds nothing to any error
    assert found.total_standard_error.item() < every[3].std() / math.sqrt(a.size)


@pytest.mark.parametrize(
    "arguments",
    [
        {"measure": "expected_shortfall", "q": 0.95},
        {"measure": "quantile", "q": 0.9},
        {"measure": "probability", "above": 4.0},
    ],
    ids=lambda one: one["measure"],
)
def test_any_measure_is_split_completely(arguments):
    outcomes = {
        names: xr.DataArray(values, dims="path", attrs={"units": "million USD"})
        for names, values in drawn(np.random.default_rng(1)).items()
    }
    found = attribution.shapley(outcomes, **arguments)
    every, none = found.estimate.values[-1], found.estimate.values[0]
    assert found.share.sum().item() == pytest.approx(every - none, abs=1e-12)
    assert found.total.item() == pytest.approx(every - none, abs=1e-12)
    assert found.with_all.item() == every
    name = arguments.pop("measure")
    alone = getattr(dl.tail, name)(outcomes[frozenset({"a", "b"})], **arguments)
    assert found.with_all.item() == alone.estimate.item()
    assert found.share.attrs.get("units") == (None if name == "probability" else "million USD")


def test_weights_and_missing_paths_are_honoured():
    # drawn with twice the mean, weights 2 exp(-x / 2)
    rng = np.random.default_rng(2)
    x = rng.exponential(2.0, 40_000)
    log_weight = math.log(2) - x / 2
    rows = {frozenset(): 0 * x, frozenset({"shock"}): x}
    rows[frozenset({"shock"})][7] = math.nan
    outcomes = {
        names: xr.DataArray(values, dims="path", coords={"log_weight": ("path", log_weight)})
        for names, values in rows.items()
    }
    found = attribution.shapley(outcomes)
    assert found.attrs["paths"] == 39_999
    assert abs(found.share.item() - 1) < 4 * found.share_standard_error.item() < 0.05
    chances = attribution.necessary_and_sufficient(outcomes, above=3.0)
    assert chances.necessary.item() == 1.0
    assert chances.sufficient.item() == pytest.approx(math.exp(-3), abs=0.01)
    assert chances.sufficient_standard_error.item() > 0


def test_necessary_and_sufficient_by_hand():
    # eight paths: what happens with none, with a, with b, with both
    with_none = [0, 0, 0, 0, 0, 0, 1, 1]
    with_a = [0, 0, 0, 1, 1, 1, 1, 1]
    with_b = [0, 0, 0, 0, 0, 1, 0, 1]
    with_both = [0, 1, 1, 1, 1, 1, 1, 0]
    outcomes = {
        frozenset(): np.array(with_none, float),
        frozenset({"a"}): np.array(with_a, float),
        frozenset({"b"}): np.array(with_b, float),
        frozenset({"a", "b"}): np.array(with_both, float),
    }
    found = attribution.necessary_and_sufficient(outcomes, above=0.5)
    # with both it happens on 1 to 6; there not without a on 1, 2, 3, 4, 6, not without b on 1, 2
    np.testing.assert_allclose(found.necessary, [5 / 6, 2 / 6])
    # it does not happen with none on 0..5; with a alone on 3, 4, 5, with b alone on 5
    np.testing.assert_allclose(found.sufficient, [3 / 6, 1 / 6])
    assert found.with_all.item() == 6 / 8
    assert found.with_none.item() == 2 / 8
    assert (found.necessary_lower < found.necessary).all()
    never = attribution.necessary_and_sufficient(outcomes, above=2.0)
    assert np.isnan(never.necessary).all()
    assert (never.sufficient == 0).all()
    assert (never.sufficient_upper > 0.3).all()  # eight paths prove little


def test_a_missing_combination_is_refused():
    outcomes = drawn(np.random.default_rng(0))
    del outcomes[frozenset({"a"})]
    with pytest.raises(ConfigError, match=r"exactly all 4 of a, b are needed; \['a'\] is missing"):
        attribution.shapley(outcomes)


def test_a_cause_that_changes_an_event_on_no_path_may_do_so_on_others():
    # b does nothing on 200 paths; a makes the event happen on all of them; neither does it alone
    never, always = np.zeros(200), np.ones(200)
    game = {frozenset(): never, frozenset("a"): always, frozenset("b"): never,
            frozenset("ab"): always}  # fmt: skip
    found = attribution.shapley(game, "probability", above=0.5)
    bound = 1 - 0.025 ** (1 / 200)
    assert found.share.values.tolist() == [1, 0]
    assert found.share_standard_error.values.tolist() == [0, 0]
    np.testing.assert_allclose(found.share_lower, [1 - 2 * bound, -bound], rtol=1e-9)
    np.testing.assert_allclose(found.share_upper, [1, bound], rtol=1e-9)
    assert (found.attrs["paths"], found.attrs["missing"], found.attrs["flagged"]) == (200, 0, 0)
    mean = attribution.shapley(game)
    assert (mean.share_lower.values[1], mean.share_upper.values[1]) == (0, 0)
    chances = attribution.necessary_and_sufficient(game, above=0.5)
    assert (chances.necessary_paths.item(), chances.sufficient_paths.item()) == (200, 200)
    assert chances.sufficient_upper.values[1] == pytest.approx(bound, rel=1e-9)
