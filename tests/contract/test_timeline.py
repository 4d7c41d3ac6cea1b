"""The timeline: what its histograms count, and that no way of working changes a byte of them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from kernel import rounding
from small_runs import SMALL, SMOKE, stored

from deleverage.config import build, load_config
from deleverage.engine import Simulator
from deleverage.errors import ConfigError, RunError
from deleverage.report.figures import timeline_figure
from deleverage.results import open_run, verify
from deleverage.sweep import execute, prepare_run, run
from deleverage.sweep.worker import engine

PATHS = 20
"""Not whole tiles: the last one has paths that must not be counted."""


def small(*texts: str, timeline: str = "true", paths: int = PATHS) -> Any:
    return load_config(SMOKE, (*SMALL, f"results.timeline={timeline}", *texts), paths=paths)


@pytest.fixture(scope="module")
def simulator() -> Simulator:
    return Simulator(build(small("results.variables=all")))


@pytest.fixture(scope="module")
def outcomes(simulator: Simulator) -> dict[str, np.ndarray]:
    return simulator.simulate(range(3), range(PATHS))


def counted(outcomes: dict[str, np.ndarray], name: str) -> np.ndarray:
    return outcomes[f"timeline_units/{name}"]


def test_every_path_is_counted_once_and_no_other(outcomes):
    for name in ("price", "index_price", "depth", "liquidations", "open_interest", "equity"):
        values = counted(outcomes, name)
        assert values.dtype == np.int64
        assert values.shape[:2] == (3, 12)
        assert (values.sum(axis=-1) == PATHS).all(), name


def test_prices_are_those_of_the_paths(simulator, outcomes):
    edges = np.linspace(0, 1.25, 65)
    for policy in (0, 1):
        records = [simulator.watch(policy, path)[1] for path in range(PATHS)]
        for name, series in (("price", "closing_price"), ("index_price", "index_price")):
            values = np.stack([record[series] for record in records])  # [path, time, row]
            for time in (0, 5, 11):
                for row in range(values.shape[-1]):
                    expected = np.histogram(values[:, time, row], edges)[0]
                    np.testing.assert_array_equal(
                        counted(outcomes, name)[policy, time, row], expected
                    )


def test_the_last_moment_is_what_is_stored_of_the_end(outcomes):
    expected = np.histogram(1 + outcomes["open_interest_change"][0], np.linspace(0, 1.25, 65))[0]
    np.testing.assert_array_equal(counted(outcomes, "open_interest")[0, -1, 0], expected)


def test_one_moment_holds_the_whole_run():
    """All liquidations over all minutes; equity is what was there less what was lost."""
    texts = ("scenario.venues.exchange.top_up.rate=0", "dtype=float64")
    built = build(small(*texts, timeline="{every: 6m, bins: 40, ratio: [0, 2]}"))
    found = Simulator(built).simulate(range(3), range(PATHS))
    pace = found["liquidated_notional"][0] / 6
    edges = np.append(0.0, np.geomspace(0.01, 1e5, 40))
    assert pace.max() > 0.01
    expected = np.histogram(pace, edges)[0]
    np.testing.assert_array_equal(counted(found, "liquidations")[0, 0, 0], expected)
    kept = built.account["own_funds"] - found["equity_lost"][0].sum(axis=-1)
    share = kept / built.account["own_funds"]
    assert rounding(built.world.layout) < np.abs(share[:, None] - np.arange(41) / 20).min()
    expected = np.histogram(share, np.linspace(0, 2, 41))[0]
    np.testing.assert_array_equal(counted(found, "equity")[0, 0, 0], expected)


def test_a_timeline_leaves_outcomes_as_they_are(outcomes):
    without = Simulator(build(small(timeline="false"))).simulate(range(3), range(PATHS))
    assert not [name for name in without if name.startswith("timeline")]
    for name in ("liquidated_notional", "trough_price", "bad_debt"):
        scale = np.abs(without[name]).max()
        np.testing.assert_allclose(outcomes[name], without[name], rtol=1e-5, atol=1e-5 * scale)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("whole")
    return run(small("engine.unit_paths=24"), out=folder, workers=0, progress=False)


def test_a_run_stores_the_sum_of_its_units(whole, outcomes):
    group = whole.group("timeline")
    assert group.price.dims == ("policy", "time", "market", "price_bin")
    np.testing.assert_array_equal(group.price.values, counted(outcomes, "price"))
    np.testing.assert_array_equal(group.liquidations, counted(outcomes, "liquidations")[:, :, 0])
    assert list(group.time.values) == [0.5 * step for step in range(1, 13)]
    assert "price" not in whole.outcomes


def test_units_workers_interruption_and_growth_change_no_byte(whole, tmp_path):
    config = small("engine.unit_paths=8")
    cut = run(config, out=tmp_path / "cut", workers=2, progress=False)
    run(small("engine.unit_paths=8", paths=12), out=tmp_path / "grown", workers=0, progress=False)
    grown = run(config, out=tmp_path / "grown", workers=0, progress=False)
    run_dir = prepare_run(engine(config), tmp_path / "stopped")
    first = [unit.id for unit in open_run(run_dir, allow_partial=True).plan.units][1:2]
    execute(run_dir, 0, order=first, progress=False)
    with pytest.raises(RunError, match=r"timeline of .* is summed over all units when"):
        open_run(run_dir, allow_partial=True).timeline  # noqa: B018
    stopped = run(config, out=tmp_path / "stopped", workers=0, progress=False)
    expected = stored(whole.path, "timeline")
    assert len(expected) > 10
    for other in (cut, grown, stopped):
        assert stored(other.path, "timeline") == expected
        assert verify(other.path).ok


def test_markers_vouch_for_histograms(whole, tmp_path):
    config = small("engine.unit_paths=8")
    damaged = run(config, out=tmp_path, workers=0, progress=False)
    marker = next(damaged.path.glob("done/*/p0000-x000001*.json"))
    assert "timeline_units/price/c/1/0/0/0/0" in json.loads(marker.read_text())["objects"]
    chunk = damaged.path / "results.zarr" / "timeline_units" / "price" / "c" / "1/0/0/0/0"
    chunk.write_bytes(chunk.read_bytes()[:-1] + b"\x00")
    assert [one.unit for one in verify(damaged.path, repair=True).damaged] == ["p0000-x000001"]
    mended = run(config, out=tmp_path, workers=0, progress=False)
    assert stored(mended.path, "timeline") == stored(whole.path, "timeline")


def test_quantiles_through_time(whole):
    timeline = whole.timeline
    price = timeline.price.sel(policy="baseline", market="exchange/BTC/spot")
    assert price.dims == ("time", "quantile")
    assert (np.diff(price.values, axis=1) >= 0).all()
    assert float(price.sel(quantile=0.5)[-1]) < 0.95  # it falls
    lower, upper = timeline.price_lower, timeline.price_upper
    assert ((lower <= timeline.price) & (timeline.price <= upper)).all()
    trough = whole.outcomes.trough_price.sel(policy="baseline", market="exchange/BTC/spot").load()
    assert float(price.sel(quantile=0.5).min()) >= float(trough.quantile(0.5)) - 1.25 / 64


def test_a_fan_chart(whole, tmp_path):
    figure = timeline_figure(
        whole.timeline, "exchange/BTC/spot", "exchange/USDe", ["baseline", "no_parity"]
    )
    figure.savefig(tmp_path / "fan.png")
    assert len(figure.axes) == 3
    assert [line.get_label() for line in figure.axes[0].lines] == ["baseline", "no_parity"]


@pytest.mark.parametrize(
    ("timeline", "said"),
    [
        ("{every: 45s}", r"results.timeline.every: every 0.75m in 12 steps .*write 0.5m"),
        ("{every: 2.5m}", r"results.timeline.every: every 2.5m in 12 steps"),
        ("{quantities: [prices]}", "the quantity 'prices' is unknown; .*mean 'price'"),
        ("{bins: 1}", "bins: 1 came; .*from 2 to 1000"),
        ("{ratio: [1, 0]}", "ratio: .*a low end below the high one"),
        ("{liquidations: [0, 1bn]}", "liquidations: .*a low end above 0"),
    ],
)
def test_a_wrong_timeline_is_one_sentence(timeline, said):
    with pytest.raises(ConfigError, match=said):
        small(timeline=timeline)


def test_long_runs_keep_at_most_60_moments():
    assert build(small("time.steps=240")).timeline.every == 4
    assert build(small("time.steps=241")).timeline.every == 241
