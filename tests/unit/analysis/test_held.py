"""What is measured many times is read once, and measured alike where it is too large for that."""

from __future__ import annotations

from collections import Counter

import dask.array
import numpy as np
import pytest
import xarray as xr

from deleverage.analysis import held as holding
from deleverage.analysis import summary as summarising
from deleverage.analysis.held import held
from deleverage.analysis.summary import observed_comparison, summary

PATHS, PIECES = 400, 4
LABELS = ["exchange/BTC/perp", "exchange/USDe/spot"]


@pytest.fixture
def reads() -> Counter[str]:
    """How often a piece of a variable was read, by its name."""
    return Counter()


@pytest.fixture
def outcomes(reads) -> xr.Dataset:
    """Outcomes and coordinates of paths, read in pieces when they are asked for."""
    rng = np.random.default_rng(0)
    sizes = {"policy": 2, "path": PATHS, "market": 2}

    def lazy(name, *dims, values=None):
        shape = tuple(sizes[dim] for dim in dims)
        values = rng.random(shape).astype(np.float32) if values is None else values
        chunks = tuple(PATHS // PIECES if dim == "path" else sizes[dim] for dim in dims)

        def piece(values):
            reads[name] += 1
            return values

        array = dask.array.from_array(values, chunks)
        # with `meta`, Dask need not call it to learn the type
        return (dims, array.map_blocks(piece, meta=np.empty((0,) * len(shape), values.dtype)))

    status = (rng.random((2, PATHS)) < 0.1).astype(np.uint8)
    return xr.Dataset(
        {
            "bad_debt": lazy("bad_debt", "policy", "path"),
            "liquidated_notional": lazy("liquidated_notional", "policy", "path"),
            "trough_price": lazy("trough_price", "policy", "path", "market"),
            "long_share": lazy("long_share", "policy", "path"),
        },
        coords={
            "policy": ["baseline", "floor"],
            "market": LABELS,
            "status": lazy("status", "policy", "path", values=status),
            "log_weight": lazy("log_weight", "path", values=np.zeros(PATHS)),
            "severity": lazy("severity", "path"),
            "fund": ("policy", [1.0, 2.0]),
        },
    )


FACTS = [
    {"label": label, "variable": "trough_price", "selection": {"market": label}, "observed": ""}
    | {"low": 0.0, "high": 1.0}
    for label in LABELS
]


def test_a_summary_reads_each_piece_once_and_nothing_that_it_does_not_need(outcomes, reads):
    found = summary(outcomes)
    assert found.sizes["quantity"] > 10
    names = ("bad_debt", "liquidated_notional", "trough_price", "status", "log_weight")
    assert reads == dict.fromkeys(names, PIECES)


def test_facts_are_read_once(outcomes, reads):
    rows = observed_comparison(outcomes, FACTS)
    assert [row["agrees"] for row in rows] == [True, True]
    assert reads == dict.fromkeys(("trough_price", "status", "log_weight"), PIECES)


def test_what_does_not_fit_gives_the_same_numbers(outcomes, monkeypatch):
    whole, rows = summary(outcomes), observed_comparison(outcomes, FACTS)
    assert whole.flagged.values.any()
    for limit in (0, outcomes.status.nbytes + outcomes.log_weight.nbytes):
        monkeypatch.setattr(holding, "IN_MEMORY_BYTES", limit)
        monkeypatch.setattr(summarising, "IN_MEMORY_BYTES", limit)
        assert held(outcomes, ["bad_debt"]).bad_debt.chunks is not None
        assert (held(outcomes, ["bad_debt"]).status.chunks is None) == (limit > 0)
        xr.testing.assert_identical(summary(outcomes), whole)
        assert observed_comparison(outcomes, FACTS) == rows


def test_a_run_is_read_in_pieces_only_where_it_is_large(tmp_path, monkeypatch):
    from fake_engine import FACTORY, FakeConfig

    from deleverage.results import open_run, opening
    from deleverage.sweep import run

    done = run(FakeConfig(), tmp_path, 0, progress=False, simulator_factory=FACTORY)
    small = open_run(done.path).outcomes
    assert small.bad_debt.chunks is None
    assert not small.bad_debt.variable._in_memory
    held(small, ["bad_debt"])
    assert small.bad_debt.variable._in_memory  # for whoever asks next
    monkeypatch.setattr(opening, "PIECES_ABOVE_BYTES", done.plan.nbytes - 1)
    monkeypatch.setattr(opening, "PIECE_PATHS", 128)
    large = open_run(done.path).outcomes
    assert large.bad_debt.chunks == ((2,), (128, 72))
    xr.testing.assert_identical(large.compute(), small.compute())
