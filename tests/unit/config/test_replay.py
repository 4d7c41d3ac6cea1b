"""Replayed series: by hand from CSV and zarr, part of what a run is, refused with a sentence."""

import csv
import gzip
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from deleverage.config import build, load_config
from deleverage.errors import ConfigError
from deleverage.shocks.exogenous import exogenous
from deleverage.state import Draws

SMOKE = Path(__file__).parents[3] / "configs" / "smoke.yaml"
STILL = ("scenario.assets.BTC.volatility=0", "scenario.shocks.macro.loadings={}")
# 12 minutes in steps of half a minute from 20:50 UTC; a row before the start, the last after it
ROWS = """time,btc_usd,other
2025-10-10T20:48Z,100,1
2025-10-10T20:50Z,120,1
2025-10-10T20:52Z,90,1
2025-10-10T20:56Z,90,
2025-10-10T21:02:30Z,60,1
"""
MINUTES, PRICES = [-2.0, 0.0, 2.0, 6.0, 12.5], [100.0, 120.0, 90.0, 90.0, 60.0]


def replayed(folder, rows=ROWS, *overrides, name="btc.csv", extra="", asset="{BTC: btc_usd}"):
    """The smoke config, written beside a series that BTC replays."""
    if rows is not None:
        (folder / name).write_text(rows)
    replay = f"    replay: {{file: {name}, assets: {asset}, longest_gap: 7m{extra}}}\n"
    text = SMOKE.read_text().replace("    outages:", f"{replay}    outages:")
    (folder / "config.yaml").write_text(text)
    return load_config(folder / "config.yaml", [*STILL, *overrides])


def expected():
    ends = np.arange(1, 25) * 0.5
    return np.interp(ends, MINUTES, np.log(PRICES)) - np.log(120.0)


def test_a_series_from_csv_by_hand(tmp_path):
    world = build(replayed(tmp_path)).world
    # USDT, BTC, USDe, which is pegged to USDT
    np.testing.assert_allclose(world.replay[:, 1], expected(), rtol=1e-12)
    assert not world.replay[:, [0, 2]].any()
    assert world.replay[3, 1] == pytest.approx(np.log(90 / 120))
    assert world.replay[1, 1] == pytest.approx(np.log(90 / 120) / 2)  # half way in the log


def test_the_same_series_in_minutes_and_from_zarr(tmp_path):
    table = {"time": MINUTES, "BTC": PRICES}
    rows = [table, *zip(*table.values(), strict=True)]
    plain = "\n".join(",".join(map(str, row)) for row in rows)
    from_csv = build(replayed(tmp_path, plain, asset="[BTC]")).world.replay
    np.testing.assert_allclose(from_csv[:, 1], expected(), rtol=1e-12)
    start = np.datetime64("2025-10-10T20:50")
    dates = start + (np.array(MINUTES) * 60).astype("timedelta64[s]")
    for number, time in enumerate((MINUTES, dates)):
        name = f"series{number}.zarr"
        group = xr.Dataset({"BTC": ("time", PRICES)}, {"time": time})
        group.to_zarr(tmp_path / name, zarr_format=3, consolidated=False)
        found = build(replayed(tmp_path, None, name=name, asset="[BTC]")).world.replay
        np.testing.assert_allclose(found, from_csv, rtol=1e-12)


def test_fundamentals_follow_the_series_on_every_path(tmp_path):
    world = build(replayed(tmp_path)).world
    rng = np.random.default_rng(1)
    draws = Draws(
        diffusion=rng.normal(size=(24, world.loading.shape[1], 3)),
        macro=rng.uniform(size=(2, 3)),
        jump_uniform=None,
        jump_normal=None,
        liquidity=rng.normal(size=3),
        outage=rng.uniform(size=(1, 2, 3)),
    )
    found = np.asarray(exogenous(world, draws, np.float32)[0].log_fundamental)
    np.testing.assert_allclose(found[:, 1], np.tile(expected()[:, None], 3), atol=1e-6)


def test_a_residual_diffusion_is_added(tmp_path):
    noisy = "scenario.assets.BTC.volatility=30%"
    config = replayed(tmp_path, ROWS, noisy, extra=", residual: true")
    world = build(config).world
    assert world.loading[1].any()
    np.testing.assert_allclose(world.replay[:, 1], expected(), rtol=1e-12)


def test_what_is_pegged_to_a_replayed_asset_follows_it(tmp_path):
    pegged = "scenario.assets.WBTC={kind: pegged, anchor: BTC}"
    world = build(replayed(tmp_path, ROWS, pegged)).world
    np.testing.assert_array_equal(world.replay[:, 3], world.replay[:, 1])


def test_a_run_is_its_series_wherever_that_lies(tmp_path):
    folders = [tmp_path / name for name in ("one", "two", "three")]
    for folder in folders:
        folder.mkdir()
    one, two = replayed(folders[0]), replayed(folders[1])
    other = replayed(folders[2], ROWS.replace("90", "91"))
    assert one.identity() == two.identity() != other.identity()
    assert "sha256" in one.identity()["scenario"]["shocks"]["replay"]
    # what a run writes down reads the same series from elsewhere
    (tmp_path / "resolved.yaml").write_text(one.resolved_yaml())
    again = load_config(tmp_path / "resolved.yaml")
    assert again.identity() == one.identity()
    np.testing.assert_array_equal(build(again).world.replay, build(one).world.replay)
    # and refuses another one in its place
    (folders[0] / "btc.csv").write_text(ROWS.replace("90", "91"))
    with pytest.raises(ConfigError, match=r"replay.*btc\.csv' with the hash .*restore the file"):
        load_config(tmp_path / "resolved.yaml")


def test_policies_may_replay_another_series_or_none(tmp_path):
    (tmp_path / "mild.csv").write_text(ROWS.replace("60,1", "80,1"))
    own = "{assets: {BTC: {volatility: 60%}}, shocks: {replay: null}}"
    built = build(
        replayed(
            tmp_path,
            ROWS,
            f"policies.mild={{scenario: {{shocks: {{replay: {{file: {tmp_path}/mild.csv}}}}}}}}",
            f"policies.drawn={{scenario: {own}}}",
        )
    )
    worlds = {place: own for _, _, places, own in built.groups for place in places}
    mild, drawn = (worlds[built.labels["policy"].index(name)] for name in ("mild", "drawn"))
    assert drawn.replay is None
    before = np.log(90 / 120)
    assert mild.replay[-1, 1, -1] == pytest.approx(before + np.log(80 / 90) * 6 / 6.5)


FORMS = {  # how a config beside its series may name them: entries, and the file of each
    "a lever": (
        "sweep: {grid: {scenario.shocks.replay: [{file: mild.csv, longest_gap: 7m}, null]}}",
        {"scenario.shocks.replay={file:mild.csv longest_gap:7m}": "mild.csv"},
    ),
    "a dotted lever": (
        "sweep: {grid: {scenario.shocks.replay.file: [mild.csv, deep/wild.csv]}}",
        {
            "scenario.shocks.replay.file=mild.csv": "mild.csv",
            "scenario.shocks.replay.file=wild.csv": "deep/wild.csv",
        },
    ),
    "a part of it in a list": (
        "sweep: {zip: {scenario.shocks: [{replay: {file: mild.csv}}]}}",
        {"scenario.shocks={replay:{file:mild.csv}}": "mild.csv"},
    ),
    "a cause": (
        "attribution: {causes: {wild: {scenario: {shocks: {replay: {file: mild.csv}}}}}}",
        {"none": "mild.csv"},
    ),
    "a policy": (
        "policies: {baseline: {}, x: {scenario: {shocks: {replay: {file: deep/wild.csv}}}}}",
        {"x": "deep/wild.csv"},
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_path_is_relative_to_the_file_that_names_it(tmp_path, monkeypatch, form):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    (tmp_path / "deep").mkdir()
    (tmp_path / "mild.csv").write_text(ROWS.replace("60,1", "80,1"))
    (tmp_path / "deep" / "wild.csv").write_text(ROWS.replace("60,1", "30,1"))
    text, files = FORMS[form]
    replayed(tmp_path)
    path = tmp_path / "config.yaml"
    kept = path.read_text().partition("policies:")[0]
    policies = "" if "policies" in text else "\npolicies: {baseline: {}}"
    path.write_text(f"{kept}{text}{policies}")
    still = [*STILL, "scenario.shocks.outages=[]"]
    config = load_config(path, still)
    for label, file in files.items():
        assert config.under(label).scenario.shocks.replay.file == str(tmp_path / file)
    # and the run's own config names the same entries, wherever it lies
    (tmp_path / "elsewhere" / "again.yaml").write_text(config.resolved_yaml())
    again = load_config(tmp_path / "elsewhere" / "again.yaml")
    assert again.policy_hashes() == config.policy_hashes()


def test_files_of_one_name_are_told_apart_by_their_folders(tmp_path):
    for folder, last in {"mild": "80,1", "wild": "30,1"}.items():
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "btc.csv").write_text(ROWS.replace("60,1", last))
    grid = f"[{tmp_path}/mild/btc.csv, {tmp_path}/wild/btc.csv]"
    config = replayed(tmp_path, ROWS, f"sweep.grid.scenario.shocks.replay.file={grid}")
    for folder in ("mild", "wild"):
        file = f"{tmp_path}/{folder}/btc.csv"
        label = f"scenario.shocks.replay.file={file}"
        assert config.under(label).scenario.shocks.replay.file == file


SENTENCES = {
    "a missing file": ({"rows": None}, r"replay: the file '.*btc\.csv' does not exist; .*mend"),
    "no row": ({"rows": "\n"}, r"replay: no column 'time' in btc\.csv; .*this one is empty"),
    "a column twice": (
        {"rows": ROWS.replace("other", "btc_usd")},
        r"assets.BTC: 2 columns 'btc_usd' in btc\.csv; .*each column once; rename",
    ),
    "a list of no names": ({"asset": "[[BTC]]"}, r"assets: \[\['BTC'\]\] came; .*a mapping"),
    "an unknown column": ({"asset": "{BTC: btc}"}, r"BTC: no column 'btc' in btc\.csv; .*other"),
    "no time": ({"rows": ROWS.replace("time,", "date,")}, r"replay: no column 'time'"),
    "a price that is none": (
        {"asset": "{BTC: other}"},
        r"assets.BTC: the price nan at 6m \(row 4\); .*above 0 in every row",
    ),
    "a price of nothing": (
        {"rows": ROWS.replace("60,1", "0,1")},
        r"the price 0 at 12.5m \(row 5\); .*above 0",
    ),
    "a time that is none": (
        {"rows": ROWS.replace("2025-10-10T20:52Z", "noon")},
        "file: 'noon' came; .*ISO dates",
    ),
    "times that fall": (
        {"rows": ROWS.replace("20:56", "20:51")},
        r"file: the time 1m after 2m \(row 4\); .*times that rise",
    ),
    "a gap": ({"gap": "6m"}, r"file: a gap of 6.5m after 6m \(row 4\); .*at most 6m apart"),
    "a series too short": (
        {"rows": ROWS.replace("21:02:30", "21:01:30")},
        "file: a series that covers -2m to 11.5m; .*the run, 0m to 12m",
    ),
    "a series too late": (
        {"rows": "\n".join([ROWS.splitlines()[0], *ROWS.splitlines()[3:]])},
        "file: a series that covers 2m to 12.5m; .*the run",
    ),
    "a pegged asset": (
        {"asset": "{USDe: btc_usd}"},
        "assets.USDe: 'USDe' is no risk asset of the scenario; .*BTC",
    ),
    "no asset": ({"asset": "{}"}, "replay: a replay of no asset; .*at least one"),
    "a shock besides": (
        {"set": "scenario.shocks.macro.loadings.BTC=1"},
        "macro.loadings.BTC: a shock of 'BTC', which replays a series; .*holds its shocks",
    ),
    "a volatility besides": (
        {"set": "scenario.assets.BTC.volatility=60%"},
        "BTC.volatility: a volatility of 60% beside a series, residual: False; .*residual: true",
    ),
    "a residual of nothing": (
        {"extra": ", residual: true"},
        "BTC.volatility: a volatility of 0% beside a series, residual: True; .*above 0 with it",
    ),
    "a drift besides": (
        {"set": "scenario.assets.BTC.drift=0.001"},
        "BTC.drift: a drift of 'BTC', which replays a series",
    ),
}


@pytest.mark.parametrize("case", SENTENCES)
def test_a_series_that_does_not_fit_is_one_sentence(case, tmp_path):
    change, said = SENTENCES[case]
    change = dict(change)
    overrides = [change.pop("set")] if "set" in change else []
    if "gap" in change:
        overrides.append(f"scenario.shocks.replay.longest_gap={change.pop('gap')}")
    rows = change.pop("rows", ROWS)
    with pytest.raises(ConfigError, match=said) as caught:
        replayed(tmp_path, rows, *overrides, **change)
    text = str(caught.value)
    assert "; allowed is " in text
    assert "\n" not in text
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (ROWS.encode("utf-16"), "it is not UTF-8 text"),
        (gzip.compress(ROWS.encode()), "it is not UTF-8 text"),
        (b"time,btc_usd\r0,100\r12,90\r\n" + b"x" * (csv.field_size_limit() + 1), "field larger"),
    ],
    ids=["UTF-16", "gzip", "no CSV"],
)
def test_a_file_that_is_no_csv_is_one_sentence(tmp_path, content, why):
    (tmp_path / "btc.csv").write_bytes(content)
    said = rf"replay\.file: btc\.csv, which cannot be read \({why}.*\); .* CSV file in UTF-8"
    with pytest.raises(ConfigError, match=said):
        replayed(tmp_path, None)


@pytest.mark.parametrize(
    ("prices", "came"),
    [
        (("time", list("abcde")), r"'BTC', .* of the shape \[5\]"),
        ((("time", "side"), np.ones((5, 2))), r"'BTC', float64 of the shape \[5, 2\]"),
        (("other", np.ones(4)), r"'BTC', float64 of the shape \[4\], beside times"),
        (100.0, r"'BTC', float64 of the shape \[\]"),
    ],
    ids=["text", "two columns", "another length", "one number"],
)
@pytest.mark.filterwarnings("ignore:The data type")  # of zarr, for text
def test_a_zarr_group_without_a_price_a_time_is_one_sentence(tmp_path, prices, came):
    group = xr.Dataset({"BTC": prices}, {"time": MINUTES})
    group.to_zarr(tmp_path / "s.zarr", zarr_format=3, consolidated=False)
    with pytest.raises(ConfigError, match=f"replay.file: {came}.*one number for each time"):
        replayed(tmp_path, None, name="s.zarr", asset="[BTC]")


def test_a_csv_file_as_excel_writes_it(tmp_path):
    (tmp_path / "btc.csv").write_bytes(b"\xef\xbb\xbf" + ROWS.encode())
    world = build(replayed(tmp_path, None)).world
    np.testing.assert_allclose(world.replay[:, 1], expected(), rtol=1e-12)


def test_without_a_limit_a_gap_is_twice_the_usual_spacing(tmp_path):
    rows = ["time,BTC", *(f"{m},100" for m in (0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12))]
    fine = "\n".join(rows)
    none = "scenario.shocks.replay.longest_gap=null"
    replayed(tmp_path, fine, none, asset="[BTC]")
    wide = fine.replace("\n10,100", "")
    replayed(tmp_path, wide, none, asset="[BTC]")
    with pytest.raises(ConfigError, match=r"a gap of 3m after 9m"):
        replayed(tmp_path, wide.replace("\n11,100", ""), none, asset="[BTC]")
