"""Order books: what their numbers stand for, and what is refused."""

import re
from pathlib import Path

import numpy as np
import pytest

from deleverage.config import build, load_config
from deleverage.config.order_books import MarketSpec, order_book
from deleverage.config.presets import listed, order_book_profiles
from deleverage.errors import ConfigError

SMOKE = Path(__file__).parents[3] / "configs" / "smoke.yaml"
PERP = "scenario.markets.exchange/BTC/perp"


def test_depth_within_1_percent_is_what_it_says_for_a_root():
    spec = MarketSpec(depth_1pct="30M", impact={"kind": "sqrt", "reach": "1%"})
    book = order_book(spec)
    assert book.depth == pytest.approx(2e9)
    assert book.depth * (0.01 + 0.01**2 / 0.02) == pytest.approx(30e6)
    assert book.nominal == pytest.approx(3e9)


def test_cumulative_usd_become_units():
    spec = MarketSpec(impact={"kind": "profile", "levels": [["2%", "10M"], ["50%", "58M"]]})
    book = order_book(spec)
    assert book.distance == pytest.approx([-np.log(0.98), -np.log(0.5)])
    first = 10e6 * -np.log(0.98) / 0.02
    second = 48e6 * (np.log(0.98) - np.log(0.5)) / 0.48
    assert book.units == pytest.approx([first, first + second])
    assert book.depth == pytest.approx(10e6 / 0.02)
    assert book.nominal == pytest.approx(book.depth)  # 1% lies in the first stretch


def test_curves_reach_the_kernel_and_scale_with_a_policy():
    built = build(
        load_config(
            SMOKE,
            [
                f"{PERP}={{impact: {{kind: profile, preset: btc_average_venue_2025_10}}}}",
                "scenario.markets.others/BTC/perp.impact={kind: sqrt, reach: 2%}",
                "policies.x={scenario: {depth_factor: {BTC@exchange: 2}}}",
            ],
        )
    )
    labels, impact = built.labels["market"], built.policy.impact
    perp, root = labels.index("exchange/BTC/perp"), labels.index("others/BTC/perp")
    kinds = [market.impact for market in built.world.layout.markets]
    assert (kinds[perp], kinds[root], kinds[0]) == ("profile", "sqrt", "linear")
    assert impact.distance[:, perp, 0] == pytest.approx(-np.log1p(-np.array([0.005, 0.01, 0.05])))
    assert impact.units[:, perp, 3] == pytest.approx(2 * impact.units[:, perp, 0])
    assert impact.reach[root, 0] == 0.02
    assert impact.depth[perp, 0] == pytest.approx(3100, rel=1e-2)


def test_thinning_reaches_the_kernel():
    spec = f"{PERP}.thinning={{strength: 3, volatility: 60%, half_life: 2m}}"
    built = build(load_config(SMOKE, [spec]))
    perp, rules = built.labels["market"].index("exchange/BTC/perp"), built.policy.thinning
    assert rules.strength[:, 0].tolist() == [3.0 if m == perp else 0.0 for m in range(6)]
    assert rules.normal[perp, 0] == pytest.approx(0.36 / 525600)
    assert rules.smoothing[perp, 0] == pytest.approx(1 - 2**-0.25)
    assert rules.least[:, 0].tolist() == [0.02 if m == perp else 1.0 for m in range(6)]
    assert build(load_config(SMOKE)).policy.thinning is None


def test_linear_books_have_no_curves():
    impact = build(load_config(SMOKE)).policy.impact
    assert impact.reach is None
    assert impact.distance is None
    assert impact.units is None


def test_every_preset_is_named_with_its_source():
    names = {row["preset"] for row in listed() if row["key"] == "impact"}
    assert names == set(order_book_profiles())
    assert all(row["source"] for row in listed())
    for levels in order_book_profiles().values():
        assert (np.diff(np.array(levels), axis=0) > 0).all()


CASES = {
    "an unknown kind": ("{kind: square}", "the kind 'square' came; .*'linear', 'sqrt', 'profile'"),
    "an unknown preset": (
        "{kind: profile, preset: btc_average}",
        "the order book 'btc_average' is unknown; .*did you mean 'btc_average_venue_2025_10'",
    ),
    "two books": (
        "{kind: profile, preset: btc_average_venue_2025_10, levels: [[1%, 2M]]}",
        "neither or both of levels and preset",
    ),
    "no rise": ("{kind: profile, levels: [[1%, 2M], [2%, 2M]]}", "cumulative USD above 0 that"),
    "a book to nothing": ("{kind: profile, levels: [[100%, 2M]]}", "below 100% of the price"),
    "no reach": ("{kind: sqrt, reach: 0}", r"0 came; .*a share in \(0, 1\]"),
    "a depth besides": (
        "{kind: profile, levels: [[1%, 2M]]}",
        "a depth besides the levels of a profile",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_refused(case):
    impact, said = CASES[case]
    spec = f"{PERP}={{impact: {impact}}}"
    if case in ("no reach", "a depth besides"):
        spec = f"{PERP}={{depth_1pct: 5M, impact: {impact}}}"
    with pytest.raises(ConfigError) as caught:
        load_config(SMOKE, [spec])
    assert re.search(said, str(caught.value)), str(caught.value)


@pytest.mark.parametrize("start", [0.06, -0.06])
def test_a_book_begins_within_its_levels(start):
    book = f"{PERP}={{impact: {{kind: profile, levels: [[5%, 20M]]}}, displacement: {{}}}}"
    load_config(SMOKE, [book.replace("{}", str(start / 2))])
    with pytest.raises(ConfigError) as caught:
        load_config(SMOKE, [book.replace("{}", str(start))])
    said = f"{PERP}.displacement: a start at {start}, beyond .* at most 0.05129 either way"
    assert re.search(said, str(caught.value)), str(caught.value)
