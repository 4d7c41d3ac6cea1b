"""Margin isolated by position: the same books, held one by one, and no other policy touched."""

import re
from pathlib import Path

import jax
import numpy as np
import pytest

from deleverage.config import build, load_config
from deleverage.errors import ConfigError

LIMIT = Path(__file__).parents[3] / "configs" / "limits" / "isolated_pair.yaml"
SMOKE = LIMIT.parents[1] / "smoke.yaml"
PAIRS = "{kind: perp, venue: v, perps: {A: 50%, B: -50%}, open_interest: 100M, leverage: 10"
ALONE = (
    "pairs-{0}: {{kind: perp, venue: v, perps: {0}, side: {1}, open_interest: 50M, leverage: 10,"
    " position_size: 25k}}"
)
BY_HAND = f"scenario.books={{{ALONE.format('A', 'long')}, {ALONE.format('B', 'short')}}}"


def group_of(built, label):
    """World and policy of one entry, leaves `[..., 1]`."""
    place = built.labels["policy"].index(label)
    world, policy, places, _ = next(group for group in built.groups if place in group[2])
    at = places.index(place)
    return world, jax.tree.map(lambda leaf: leaf[..., [at]], policy)


def assert_equal(one, other):
    (ours, structure), (theirs, expected) = jax.tree.flatten(one), jax.tree.flatten(other)
    assert structure == expected
    for mine, your in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(mine, your)


def test_isolated_positions_are_the_books_that_a_hand_would_write():
    by_hand = load_config(LIMIT, [BY_HAND, "policies={baseline: {}}"])
    expected = group_of(build(by_hand), "baseline")
    assert_equal(group_of(build(load_config(LIMIT)), "isolated"), expected)
    book = f"scenario.books.pairs={PAIRS}, position_size: 50k, margin: isolated}}"
    written = load_config(LIMIT, [book, "policies={baseline: {}}"])
    assert_equal(group_of(build(written), "baseline"), expected)
    back = "policies={baseline: {}, cross: {leverage: {margin: cross}}}"
    crossed = group_of(build(load_config(LIMIT, [book, back])), "cross")
    assert_equal(crossed, group_of(build(load_config(LIMIT)), "baseline"))


def test_other_policies_are_what_they_are_without_it():
    alone = group_of(build(load_config(LIMIT, ["policies={baseline: {}}"])), "baseline")
    assert_equal(group_of(build(load_config(LIMIT)), "baseline"), alone)


def test_what_is_held_is_the_same_in_all():
    oct10 = SMOKE.with_name("oct10.yaml")
    built = build(load_config(oct10, ["policies.x.leverage.margin=isolated"]))
    (_, cross), (world, isolated) = group_of(built, "baseline"), group_of(built, "x")
    assert len(world.layout.books) > cross.books.cash.shape[0]
    assert max(len(book.perps) for book in world.layout.books) == 1
    for name in ("collateral", "cash", "budget"):
        ours, theirs = getattr(isolated.books, name).sum(), getattr(cross.books, name).sum()
        assert ours == pytest.approx(theirs, rel=1e-12)
    size = np.abs(cross.books.position).sum()
    assert np.abs(isolated.books.position).sum() == pytest.approx(size, rel=1e-12)
    place = built.labels["policy"].index("x")
    assert built.policy_variables["open_interest_forgone"][place] == pytest.approx(0.0, abs=1e-6)


def test_the_lever_is_reached_by_a_sweep():
    config = load_config(LIMIT, ["sweep.grid.leverage.margin=[isolated]"])
    assert list(config.entries)[-1] == "leverage.margin=isolated"
    assert config.under("leverage.margin=isolated").scenario.books["pairs"].margin == "isolated"


@pytest.mark.parametrize(
    ("path", "change", "said"),
    [
        (SMOKE, "policies.x.leverage.margin=isolated", "policies.x.leverage.margin: isolated mar"),
        (LIMIT, "policies.x.leverage.margin=cross", "policies.x.leverage.margin: cross margin wh"),
        (LIMIT, "policies.x.leverage.margin=portfolio", "margin: 'portfolio' came; .*`isolated`"),
        (LIMIT, "policies.baseline.leverage.margin=isolated", "the baseline overrides the scen"),
        (
            SMOKE,
            "scenario.books.exchange_longs.margin=isolated",
            "exchange_longs.margin: isolated margin of 'exchange_longs', which holds one perp",
        ),
        (
            LIMIT,
            f"scenario.books={{pairs: {PAIRS}, margin: isolated}}, pairs-A: {PAIRS}}}}}",
            "books.pairs.margin: isolated margin of 'pairs' beside a book 'pairs-A'",
        ),
    ],
)
def test_margin_that_isolates_nothing_is_refused(path, change, said):
    with pytest.raises(ConfigError) as caught:
        load_config(path, [change])
    assert re.search(said, str(caught.value)), caught.value
