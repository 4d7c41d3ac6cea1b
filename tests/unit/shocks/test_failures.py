"""Halts, congestion, glitches and exogenous sellers, by hand on steps that end at 1, ..., 10."""

import dataclasses

import numpy as np
import pytest
from shock_worlds import layout, sample, world

from deleverage.shocks import draws
from deleverage.world import Congestion, Glitch, Halt, IndexEntry, LoadOutage, Market, Sale


def scheduled(start, length):
    return {"random": False, "start": start, "length": length, "rate": 0.0}


def series(paths=4, **failures):
    """Ten minutes of two venues, with an index of the asset on each and two order books."""
    shape = dataclasses.replace(
        layout(steps=10, step=1.0),
        markets=(Market(0, 0, "spot"), Market(1, 0, "spot")),
        indices=tuple(IndexEntry(v, 0, (v,), (), ()) for v in range(2)),
    )
    failures = {
        name: tuple(
            dataclasses.replace(
                one,
                **{
                    field.name: np.float64(getattr(one, field.name))
                    for field in dataclasses.fields(one)
                    if not field.metadata.get("static")
                },
            )
            for one in several
        )
        for name, several in failures.items()
    }
    return sample(dataclasses.replace(world(layout=shape), **failures), paths=paths)


def test_what_never_fails_is_not_there():
    drawn, inputs, _ = series()
    for name in ("engine_open", "capacity_left", "index_factor", "sales"):
        assert getattr(inputs, name) is None
    for name in ("halt", "congestion", "glitch"):
        assert getattr(drawn, name) is None


def test_a_halt_stops_one_venue_for_its_window():
    halts = (Halt(venue=1, **scheduled(2.0, 3.0)), Halt(venue=1, **scheduled(4.5, 1.0)))
    engine = series(halts=halts)[1].engine_open[..., 0]
    assert list(np.flatnonzero(engine[:, 1] == 0) + 1) == [3, 4, 5]
    assert np.all(engine[:, 0] == 1)


def test_a_random_halt_begins_after_an_exponential_time_for_an_exponential_length():
    halt = Halt(venue=0, random=True, start=1.0, length=2.0, rate=0.5)
    drawn, inputs, _ = series(64, halts=(halt,))
    start = 1.0 - np.log(drawn.halt[0, 0]) / 0.5
    end = start - 2.0 * np.log(drawn.halt[0, 1])
    time = np.arange(1.0, 11.0)[:, None]
    np.testing.assert_array_equal(inputs.engine_open[:, 0] == 0, (start < time) & (time <= end))
    assert 0 < inputs.engine_open[:, 0].mean() < 1


def test_of_congestions_at_once_the_worst_counts():
    jams = (
        Congestion(left=0.5, **scheduled(1.0, 5.0)),
        Congestion(left=0.2, **scheduled(3.0, 1.0)),
        Congestion(left=0.9, **scheduled(5.0, 2.0)),
    )
    left = series(congestions=jams)[1].capacity_left[:, 0]
    expected = [1, 0.5, 0.5, 0.2, 0.5, 0.5, 0.9, 1, 1, 1]
    np.testing.assert_allclose(left, expected, rtol=1e-6)


def test_glitches_at_once_multiply_on_their_entries_alone():
    wrong = (
        Glitch(indices=(0, 1), start=1.0, length=3.0, probability=1.0, factor=0.9),
        Glitch(indices=(1,), start=3.0, length=2.0, probability=1.0, factor=0.5),
    )
    factor = series(glitches=wrong)[1].index_factor[..., 0]
    np.testing.assert_allclose(factor[:5, 0], [1, 0.9, 0.9, 0.9, 1], rtol=1e-6)
    np.testing.assert_allclose(factor[:6, 1], [1, 0.9, 0.9, 0.45, 0.5, 1], rtol=1e-6)


def test_a_glitch_happens_on_its_share_of_paths():
    wrong = Glitch(indices=(0,), start=0.0, length=99.0, probability=0.3, factor=0.9)
    drawn, inputs, _ = series(4096, glitches=(wrong,))
    happens = np.any(inputs.index_factor[:, 0] != 1, axis=0)
    np.testing.assert_array_equal(happens, drawn.glitch[0] < 0.3)
    assert abs(happens.mean() - 0.3) < 4 * np.sqrt(0.3 * 0.7 / 4096)


@pytest.mark.parametrize(
    ("start", "duration", "expected"),
    [
        (2.0, 4.0, [0, 0, 3, 3, 3, 3, 0, 0, 0, 0]),
        (0.5, 2.0, [3, 6, 3, 0, 0, 0, 0, 0, 0, 0]),
        (4.25, 0.5, [0, 0, 0, 0, 12, 0, 0, 0, 0, 0]),
        (8.0, 8.0, [0, 0, 0, 0, 0, 0, 0, 0, 1.5, 1.5]),  # the run ends first
    ],
)
def test_a_seller_sells_evenly(start, duration, expected):
    sale = Sale(market=1, units=12.0, start=start, duration=duration)
    sold = series(sales=(sale, Sale(market=1, units=0.0, start=0.0, duration=1.0)))[1].sales
    np.testing.assert_allclose(sold[:, 1, 0], expected, atol=1e-6)
    assert not sold[:, 0].any()
    assert np.ptp(sold, axis=-1).max() == 0


def test_load_outages_take_an_exponential_hazard_and_length():
    fixed = LoadOutage(venue=1, random=False, start=2.0, threshold=7.0, rate=0.5, length=3.0)
    random = dataclasses.replace(fixed, venue=0, random=True)
    drawn, inputs, _ = series(load_outages=(fixed, random))
    assert inputs.load_venues == (1, 0)
    patience, length = -np.log(np.moveaxis(drawn.load, 1, 0).astype(float))
    for row, lengths in zip(inputs.load, (3.0 + 0 * length[0], 3.0 * length[1]), strict=True):
        start, threshold, rate, _, found = row
        for values, expected in ((start, 2.0), (threshold, 7.0), (rate, 0.5)):
            np.testing.assert_array_equal(values, expected)
        np.testing.assert_allclose(found, lengths, rtol=1e-5)
    np.testing.assert_allclose(inputs.load[:, 3], patience, rtol=1e-5)


def test_failures_draw_from_streams_of_their_own_and_change_no_other():
    halts = (Halt(venue=0, random=True, start=0.0, length=1.0, rate=1.0),) * 3
    jams = (Congestion(random=True, start=0.0, length=1.0, rate=1.0, left=0.5),) * 2
    wrong = (Glitch(indices=(0,), start=0.0, length=9.0, probability=0.5, factor=0.9),)
    plain = series()[0]
    alone, more = series(halts=halts[:1])[0], series(halts=halts)[0]
    every = series(halts=halts, congestions=jams, glitches=wrong)[0]
    for name in ("diffusion", "macro", "liquidity", "outage"):
        np.testing.assert_array_equal(getattr(plain, name), getattr(every, name))
    np.testing.assert_array_equal(alone.halt, more.halt[:1])
    np.testing.assert_array_equal(more.halt, every.halt)
    assert every.congestion.shape == (2, 2, 4)
    assert every.glitch.shape == (1, 4)
    numbers = [every.halt[0, 0], every.congestion[0, 0], every.glitch[0], every.macro[0]]
    assert len(np.unique(np.concatenate(numbers))) == 16
    streams = (draws.MACRO, draws.LIQUIDITY, draws.OUTAGE, draws.JUMP_UNIFORM, draws.JUMP_NORMAL)
    ours = (draws.HALT, draws.CONGESTION, draws.GLITCH, draws.LOAD)
    assert len({*streams, *ours}) == 9
    assert max(ours) < draws.DIFFUSION
