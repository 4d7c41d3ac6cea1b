"""The run directory keeps its promises, with a simulator of nothing."""

import json
import os
import random
import re
import threading
import time
import warnings
from functools import cache
from importlib import import_module
from pathlib import Path

import fake_engine
import numpy as np
import pytest
import xarray as xr
from fake_engine import FACTORY, FakeConfig, prepare
from small_runs import stored

from deleverage.errors import ConfigError, IncompleteRunError, RunError
from deleverage.results import STATUS_FLAGS, finalize, open_run, status, verify, write_group
from deleverage.results.plan import load_plan
from deleverage.sweep import execute, memory, prepare_run, run, simulate

FEW = ["bad_debt", "trough_price", "depeg_minutes", "fund_size", "outage_start"]
MANY = {"baseline": 0, **{f"p{i}": i for i in range(17)}}


def few(**changes) -> FakeConfig:
    return FakeConfig(variables=FEW, **changes)


def go(config, out, **options):
    options = {"workers": 0, "progress": False, "simulator_factory": FACTORY, **options}
    return run(config, out, **options)


def chunks(run_dir: Path) -> dict[str, bytes]:
    """The stored objects of outcomes that units wrote."""
    listed = {}
    for marker in (run_dir / "done").glob("*/*.json"):
        listed |= json.loads(marker.read_text())["objects"]
    return {key: (run_dir / "results.zarr" / key).read_bytes() for key in listed}


OF_A_DIRECTORY = {"fingerprint", "versions", "complete"}


def assert_as_simulated(kept: xr.Dataset, simulated: xr.Dataset) -> None:
    """What is stored reads as what was held in memory, but for what a run directory alone has."""
    assert set(kept.attrs) - set(simulated.attrs) == OF_A_DIRECTORY
    attributes = {name: value for name, value in kept.attrs.items() if name not in OF_A_DIRECTORY}
    xr.testing.assert_identical(kept.drop_attrs(deep=False), simulated.drop_attrs(deep=False))
    assert attributes == simulated.attrs
    assert {name: x.dtype for name, x in kept.variables.items()} == {
        name: x.dtype for name, x in simulated.variables.items()
    }


def test_a_run_holds_what_the_simulator_gave(tmp_path):
    config = FakeConfig()
    opened = go(config, tmp_path)
    assert_as_simulated(opened.outcomes.load(), simulate(config, simulator_factory=FACTORY))
    assert set(os.listdir(opened.path)) == {
        "config.yaml", "plan.json", "results.zarr", "done", "claims", "failed", "log.jsonl",
    }  # fmt: skip
    assert os.listdir(opened.path / "claims") == []


def with_a_lever_in_words(config: FakeConfig):
    prepared = prepare(config)
    coords = prepared.built.policy_coords
    coords |= {"liquidation.order": ["pro rata", "largest"], "margin.mixed": ["none", 0.5]}
    return prepared


def test_levers_in_words_read_as_in_memory(tmp_path):
    opened = go(few(), tmp_path, simulator_factory=with_a_lever_in_words)
    found = opened.outcomes.load()
    assert_as_simulated(found, simulate(few(), simulator_factory=with_a_lever_in_words))
    assert found["margin.mixed"].values.tolist() == ["none", "0.5"]


def test_a_world_without_pegs_is_run_and_verified_too(tmp_path, monkeypatch):
    labels = fake_engine.labels_of
    monkeypatch.setattr(fake_engine, "labels_of", lambda config: labels(config) | {"peg": []})
    opened = go(few(), tmp_path)
    assert opened.outcomes.depeg_minutes.sizes["peg"] == 0
    assert opened.outcomes.bad_debt.notnull().all()
    found = verify(opened.path)
    assert found.ok
    assert not any(key.startswith("depeg_minutes") for key in chunks(opened.path))


def simulated(monkeypatch, spy, **changes):
    """A sweep in memory on three cores, whose simulator calls the spy at each unit."""
    prepared = prepare(few(**changes))
    simulate_unit = prepared.simulator.simulate

    def spied(policies, paths):
        spy(paths)
        return simulate_unit(policies, paths)

    prepared.simulator.simulate = spied
    monkeypatch.setattr(memory, "worker_count", lambda units: 3)
    return simulate(prepared.config, simulator_factory=lambda config: prepared)


def test_memory_uses_every_core(monkeypatch):
    together = threading.Barrier(3, timeout=20)  # breaks unless three units run at once
    found = simulated(monkeypatch, lambda paths: together.wait() if paths.start else None)
    xr.testing.assert_identical(found, simulate(few(), simulator_factory=FACTORY))


def test_an_accelerator_takes_one_unit_after_another(monkeypatch):
    running = threading.Lock()

    def alone(paths):
        assert running.acquire(blocking=False)
        time.sleep(0.02)
        running.release()

    simulated(monkeypatch, alone, backend="gpu")


def test_a_unit_that_fails_in_memory_says_why():
    with pytest.raises(ValueError, match="the number is not one"):
        simulate(few(fault="raise@70"), simulator_factory=FACTORY)


def test_the_dataset_is_labelled_without_our_help(tmp_path):
    opened = go(few(), tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset = xr.open_zarr(opened.path / "results.zarr")
    assert {"status", "severity", "shock_time", "log_weight", "liquidation.pace"} <= set(
        dataset.coords
    )
    assert dataset.bad_debt.sel(policy="floor").sizes == {"path": 200}
    assert dataset.bad_debt.attrs == {
        "units": "million USD",
        "long_name": "Deficits of bankrupt accounts",
    }
    assert dataset.bad_debt.dtype == np.float32
    assert dataset.status.dtype == np.uint8
    assert dataset.status.attrs["flag_meanings"].split() == list(STATUS_FLAGS)
    assert dataset.attrs["complete"]
    assert (dataset.unit_status == 1).all()


def test_stored_bytes_do_not_depend_on_the_order_of_units(tmp_path):
    config = few(policies=MANY)
    expected = go(config, tmp_path / "a").path
    run_dir = prepare_run(prepare(config), tmp_path / "b")
    order = [unit.id for unit in load_plan(run_dir).units]
    random.Random(0).shuffle(order)
    execute(run_dir, 0, simulator_factory=FACTORY, progress=False, order=order)
    finalize(run_dir)
    assert stored(run_dir) == stored(expected)


@pytest.mark.parametrize("workers", [1, 2])
def test_stored_bytes_do_not_depend_on_workers(tmp_path, workers):
    config = few(policies=MANY)
    expected = go(config, tmp_path / "a").path
    assert stored(go(config, tmp_path / "b", workers=workers).path) == stored(expected)


def test_a_larger_run_continues_a_smaller_one(tmp_path):
    small = go(few(paths=200), tmp_path).path
    before = chunks(small)
    times = {key: (small / "results.zarr" / key).stat().st_mtime_ns for key in before}
    large = go(few(paths=300), tmp_path)
    assert large.path == small
    expected = go(few(paths=300), tmp_path / "fresh")
    xr.testing.assert_identical(large.outcomes.load(), expected.outcomes.load())
    assert chunks(large.path) == chunks(expected.path)
    kept = [k for k in before if (small / "results.zarr" / k).stat().st_mtime_ns == times[k]]
    # Of the four path blocks the last was partial; only it is written again.
    assert len(kept) == len(before) * 3 // 4
    assert verify(large.path).ok


def test_a_sweep_ends_when_what_opens_it_is_imported(tmp_path, monkeypatch):
    imported = threading.Event()

    @cache
    def slowly() -> threading.Thread:
        thread = threading.Thread(target=lambda: (time.sleep(0.5), imported.set()))
        thread.start()
        return thread

    monkeypatch.setattr(import_module("deleverage.sweep.execute"), "_import_readers", slowly)
    run_dir = prepare_run(prepare(few()), tmp_path)
    execute(run_dir, 0, simulator_factory=FACTORY, progress=False)
    assert imported.is_set()


def test_appended_policies_continue_a_run(tmp_path):
    first = {label: MANY[label] for label in list(MANY)[:16]}
    old = go(few(policies=first), tmp_path).path
    before = chunks(old)
    times = {key: (old / "results.zarr" / key).stat().st_mtime_ns for key in before}
    grown = go(few(policies=MANY), tmp_path)
    assert grown.path == old
    assert all((old / "results.zarr" / k).stat().st_mtime_ns == t for k, t in times.items())
    expected = go(few(policies=MANY), tmp_path / "fresh")
    xr.testing.assert_identical(grown.outcomes.load(), expected.outcomes.load())
    assert chunks(grown.path) == chunks(expected.path)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_run_keeps_its_tile_when_more_policies_would_choose_another(tmp_path, workers):
    go(few(tile_paths=32, policies={"baseline": 0}), tmp_path)
    opened = go(few(tile_paths=8), tmp_path, workers=workers)
    assert opened.plan.tile_paths == opened.plan.fingerprint["tile"] == 32
    assert opened.plan.policies == ["baseline", "floor"]
    assert verify(opened.path).ok


def test_a_partial_policy_block_is_done_again(tmp_path):
    go(few(), tmp_path)
    policies = {"baseline": 0, "floor": 1, "more": 2}
    grown = go(few(policies=policies), tmp_path)
    expected = go(few(policies=policies), tmp_path / "fresh")
    xr.testing.assert_identical(grown.outcomes.load(), expected.outcomes.load())


def test_a_changed_policy_is_refused_and_nothing_changes(tmp_path):
    opened = go(few(), tmp_path)
    before = stored(opened.path)
    with pytest.raises(ConfigError, match="'floor' has changed"):
        go(few(policies={"baseline": 0, "floor": 9}), tmp_path)
    assert stored(opened.path) == before
    assert status(opened.path).complete


def test_the_directory_of_another_config_is_refused(tmp_path):
    opened = go(few(), tmp_path)
    other = few(scenario="storm")
    plan = json.loads((opened.path / "plan.json").read_text())
    (opened.path / "plan.json").write_text(json.dumps(plan | {"identity": {"seed": 7}}))
    with pytest.raises(ConfigError, match="belongs to another config"):
        go(few(), tmp_path)
    assert go(other, tmp_path).path != opened.path


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    name = go(few(), tmp_path / "a").path.name
    (tmp_path / name).mkdir()
    with pytest.raises(ConfigError, match="is not a run directory"):
        go(few(), tmp_path)
    with pytest.raises(RunError, match="is not a run directory"):
        open_run(tmp_path / name)


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"cannot be written \(Not a directory\)") as caught:
        go(few(), tmp_path / "file" / "runs")
    assert caught.value.exit_code == 2
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("out", ["s3://bucket/runs", Path("gs://bucket/runs"), "file:///tmp/runs"])
def test_a_url_is_refused(tmp_path, monkeypatch, out):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"^out: '(s3|gs|file):/.*runs' is a URL, but run dir"):
        go(few(), out)
    assert os.listdir(tmp_path) == []


def test_resume_insists_on_a_run(tmp_path):
    with pytest.raises(ConfigError, match="there is no run to resume"):
        go(few(), tmp_path, resume=True)
    assert os.listdir(tmp_path) == []


def some_chunk(run_dir: Path) -> tuple[Path, str]:
    return run_dir / "results.zarr/trough_price/c/0/2/0", "p0000-x000002"


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (flip, "other bytes"),
        (truncate, r"has \d+ bytes instead of \d+"),
        (Path.unlink, "cannot be read"),
    ],
)
def test_verify_names_the_damaged_unit_and_run_repairs_it(tmp_path, damage, reason):
    config = few()
    opened = go(config, tmp_path)
    before = stored(opened.path)
    path, unit = some_chunk(opened.path)
    damage(path)
    found = verify(opened.path)
    assert [item.unit for item in found.damaged] == [unit]
    assert re.search(reason, found.damaged[0].reason)
    assert verify(opened.path, repair=True).repaired == [unit]
    with pytest.raises(IncompleteRunError, match="1 of 4 units are missing"):
        open_run(opened.path)
    go(config, tmp_path)
    assert verify(opened.path).ok
    assert stored(opened.path) == before


def test_a_flipped_bit_is_never_read_silently(tmp_path):
    opened = go(few(), tmp_path)
    flip(some_chunk(opened.path)[0])
    with pytest.raises(Exception, match=r"(?i)zstd|checksum|corrupt"):
        opened.outcomes.trough_price.load()


def test_changed_metadata_is_found_and_repaired(tmp_path):
    opened = go(few(), tmp_path)
    path = opened.path / "results.zarr/bad_debt/zarr.json"
    before = path.read_text()
    path.write_text(before.replace("million USD", "USD"))
    assert [item.key for item in verify(opened.path).damaged] == ["bad_debt/zarr.json"]
    go(few(), tmp_path)
    assert path.read_text() == before
    assert verify(opened.path).ok


@pytest.mark.parametrize("damage", [Path.unlink, truncate, lambda path: path.write_text("{}")])
@pytest.mark.parametrize("missing", [0, 1])
def test_a_broken_root_is_told_and_a_run_writes_it_anew(tmp_path, damage, missing):
    run_dir = go(few(), tmp_path).path
    before = stored(run_dir)
    for marker in list((run_dir / "done").glob("*/*.json"))[:missing]:
        marker.unlink()
    damage(run_dir / "results.zarr/zarr.json")
    assert [item.key for item in verify(run_dir, repair=True).damaged] == ["zarr.json"]
    sentence = "cannot be read .*; run its config again, which writes that file anew"
    with pytest.raises(RunError, match=sentence):
        open_run(run_dir, allow_partial=True)
    with pytest.raises(RunError, match="1 of 4 units are missing" if missing else sentence):
        finalize(run_dir)
    assert go(few(), tmp_path).complete
    assert verify(run_dir).ok
    assert stored(run_dir) == before


def partial(tmp_path: Path) -> Path:
    """A run that lacks its second and last unit, though chunks of the second are there."""
    run_dir = prepare_run(prepare(few()), tmp_path)
    execute(run_dir, 0, simulator_factory=FACTORY, progress=False)
    for name in ("p0000-x000001", "p0000-x000003"):
        next((run_dir / "done").glob(f"*/{name}_*")).unlink()
    return run_dir


def test_an_incomplete_run_opens_only_when_asked_and_masks_what_is_missing(tmp_path):
    run_dir = partial(tmp_path)
    with pytest.raises(IncompleteRunError, match="2 of 4 units are missing"):
        open_run(run_dir)
    dataset = open_run(run_dir, allow_partial=True).outcomes.load()
    whole = go(few(), tmp_path / "whole").outcomes.load()
    there = (whole.path < 64) | ((whole.path >= 128) & (whole.path < 192))
    for name in ("bad_debt", "trough_price", "severity", "outage_start", "status"):
        np.testing.assert_array_equal(dataset[name], whole[name].where(there))
    np.testing.assert_array_equal(dataset.fund_size, whole.fund_size)


def test_status_counts_from_names(tmp_path):
    run_dir = partial(tmp_path)
    now = status(run_dir)
    assert (now.units, now.done, now.running, now.failed) == (4, 2, 0, 0)
    assert (now.path_policies, now.path_policies_done) == (400, 256)
    assert not now.complete
    with pytest.raises(IncompleteRunError, match="2 of 4 units are missing"):
        finalize(run_dir)


def test_all_nan_and_all_zero_blocks_are_stored(tmp_path):
    prepared = prepare(few())
    zeros = prepared.simulator.simulate

    def blank(policies, paths):
        filler = np.nan if paths.start else 0
        return {
            name: np.full_like(value, filler) if value.dtype == np.float32 else value * 0
            for name, value in zeros(policies, paths).items()
        }

    prepared.simulator.simulate = blank
    run_dir = prepare_run(prepared, tmp_path)
    execute(run_dir, 0, prepared=prepared, progress=False)
    assert len(list((run_dir / "results.zarr/bad_debt/c/0").iterdir())) == 4
    assert len(list((run_dir / "results.zarr/status/c/0").iterdir())) == 4


@pytest.mark.parametrize("plain", [False, True])
def test_joined_labels_have_their_parts_beside_them(tmp_path, plain):
    opened = go(few(), tmp_path)
    ds = xr.open_zarr(opened.path / "results.zarr") if plain else opened.outcomes
    assert list(ds.market_venue.values) == ["exchange", "exchange", "others"]
    assert list(ds.market_asset.values) == ["BTC", "BTC", "BTC"]
    assert list(ds.market_kind.values) == ["spot", "perp", "spot"]
    assert list(ds.index_venue.values) == ["exchange", "exchange"]
    assert list(ds.index_asset.values) == ["BTC", "USDe"]
    assert [*ds.peg_venue.values, *ds.peg_asset.values] == ["exchange", "USDe"]
    assert ds.market_kind.attrs["long_name"] == "Kind of the market"
    spot = ds.trough_price.sel(market=ds.market_kind == "spot")
    xr.testing.assert_identical(spot, ds.trough_price.isel(market=[0, 2]))
    pegged = ds.depeg_minutes.set_xindex(["peg_venue", "peg_asset"])
    assert pegged.sel(peg_venue="exchange", peg_asset="USDe").sizes["threshold"] == 2


def test_selected_markets_are_stored_alone(tmp_path):
    config = few(markets=["others/BTC/spot", "exchange/BTC/spot"])
    dataset = go(config, tmp_path).outcomes
    assert list(dataset.market.values) == ["exchange/BTC/spot", "others/BTC/spot"]
    assert list(dataset.market_venue.values) == ["exchange", "others"]
    whole = go(few(), tmp_path).outcomes.sel(market=dataset.market)
    np.testing.assert_array_equal(dataset.trough_price, whole.trough_price)


def test_a_simulator_that_returns_the_wrong_shape_is_named(tmp_path):
    prepared = prepare(few())
    simulate_well = prepared.simulator.simulate
    prepared.simulator.simulate = lambda policies, paths: {
        name: value[..., :1] for name, value in simulate_well(policies, paths).items()
    }
    run_dir = prepare_run(prepared, tmp_path)
    with pytest.raises(RunError, match=r"bad_debt of unit .* with shape \(2, 1\) instead of"):
        execute(run_dir, 0, prepared=prepared, progress=False)


def test_another_driver_at_work_blocks_growth_and_finalize(tmp_path):
    from deleverage.results.claims import Claims

    run_dir = go(few(), tmp_path).path
    with Claims(run_dir) as other:
        other.acquire("p0000-x000000")
        with pytest.raises(RunError, match="another process is working"):
            finalize(run_dir)
        with pytest.raises(RunError, match="another process is working"):
            go(few(paths=300), tmp_path)
    assert go(few(paths=300), tmp_path).outcomes.sizes["path"] == 300


def test_a_group_lies_beside_the_outcomes(tmp_path):
    opened = go(few(), tmp_path)
    for value in (1.0, 2.0):
        table = xr.Dataset({"mean": ("policy", [value, value])})
        write_group(opened.path, "summary", table)
        assert opened.group("summary")["mean"].values.tolist() == [value, value]
    xr.open_zarr(opened.path / "results.zarr", group="summary")
    with pytest.raises(RunError, match="no group 'timeline'"):
        opened.group("timeline")
