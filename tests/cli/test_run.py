"""The commands on a real, small sweep."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import xarray as xr

from deleverage import cli

SMOKE = Path(__file__).parents[2] / "configs" / "smoke.yaml"
SMALL = ("--paths", "48", "--set", "time.steps=4", "--set", "engine.tile_paths=16",
         "--set", "engine.unit_paths=16")  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A finished run of three units, made by the command line."""
    out = tmp_path_factory.mktemp("runs")
    with pytest.raises(SystemExit) as end:
        cli.main(["run", str(SMOKE), *SMALL, "--workers", "0", "--out", str(out)])
    assert not end.value.code
    (run,) = out.iterdir()
    return run


@pytest.fixture
def damaged(made) -> Iterator[Path]:
    """The run with one byte of one chunk flipped; put right again afterwards."""
    stored = (made / "results.zarr" / "bad_debt" / "c").rglob("*")
    chunk = next(path for path in stored if path.is_file())
    good = chunk.read_bytes()
    chunk.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    yield made
    chunk.write_bytes(good)


@pytest.fixture
def incomplete(made) -> Iterator[Path]:
    """The run without the marker of one unit; put right again afterwards."""
    marker = next(path for path in (made / "done").rglob("*") if path.is_file())
    kept = marker.read_bytes()
    marker.unlink()
    yield made
    marker.write_bytes(kept)


def test_check_lists_what_is_built_and_writes_nothing(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, _ = call("check", SMOKE)
    assert code == 0
    for word in ("exchange/BTC/perp", "exchange/USDe", "redemption_index", "open interest forgone"):
        assert word in out
    assert list(tmp_path.iterdir()) == []


def test_check_as_json_gives_the_cost_of_each_policy(call):
    account = json.loads(call("check", SMOKE, "--json")[1])
    assert account["policies"][0]["policy"] == "baseline"
    assert account["policies"][0]["open_interest_forgone"] == 0.0
    assert account["policies"][0]["open_interest"] == account["open_interest"] > 0


def test_plan_counts_units_and_writes_nothing(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    account = json.loads(call("plan", SMOKE, *SMALL, "--json")[1])
    assert account["paths"] == 48
    assert account["units"] == 3
    assert account["unit_paths"] == account["tile_paths"] == 16
    assert account["bytes"] > 0
    assert account["memory_bytes"] > 0
    assert account["seconds"] > 0
    assert "pilot_paths" not in account
    assert list(tmp_path.iterdir()) == []


def test_plan_counts_the_pilot_of_splitting(call):
    split = ("sampling.kind=splitting", "sampling.variable=bad_debt", "sampling.levels=1")
    sizes = ("sampling.paths_per_level=20", "sampling.share=0.5", "engine.tile_paths=16")
    words = [word for one in (*split, *sizes, "time.steps=4") for word in ("--set", one)]
    words = ["plan", SMOKE, *words, "--paths", 400, "--workers", 2]
    account = json.loads(call(*words, "--json")[1])
    assert (account["paths"], account["pilot_paths"]) == (400, 40)
    # ten replicates of two workers take five times one, and the pilot comes before
    replicate = account["policies"] * 40 / account["path_policies_per_second"]
    assert account["seconds"] > account["pilot_seconds"] + 5 * replicate > 0
    assert account["memory_bytes"] > 0


def test_a_run_prints_the_tail_table_and_its_dataset(call, made):
    out = made.parent
    code, said, _ = call("run", SMOKE, *SMALL, "--workers", "0", "--out", out, "--resume")
    assert code == 0
    for word in ("baseline", "redemption_index", "no_parity", "ES 99%", "48 paths a policy"):
        assert word in said
    assert said.endswith(f"dataset: {made / 'results.zarr'}\n")
    assert call("summary", made)[1] == said


def test_the_summary_is_kept_in_the_dataset(call, made):
    printed = json.loads(call("summary", made, "--json")[1])
    kept = xr.open_zarr(made / "results.zarr", group="summary")
    cell = printed["policies"][1]["bad_debt.mean"]
    assert printed["policies"][1]["policy"] == kept["policy"].values[1]
    stored = kept["estimate"].sel(quantity="bad_debt.mean").values[1]
    assert cell["estimate"] == pytest.approx(stored, rel=1e-12)


def test_a_complete_run_is_said_to_be(call, made):
    code, out, _ = call("status", made)
    assert code == 0
    assert "complete" in out
    assert "3 of 3 done" in out
    status = json.loads(call("status", made, "--json")[1])
    assert status["done"] == status["units"] == 3
    assert status["complete"] is True
    code, out, _ = call("verify", made)
    assert code == 0
    assert " 0 damaged, 0 units missing" in out
    assert call("finalize", made)[0] == 0


@pytest.mark.parametrize("command", ["status", "verify", "finalize", "summary"])
def test_missing_units_are_exit_code_3(call, incomplete, command):
    assert call(command, incomplete)[0] == 3


def test_a_damaged_object_is_named_and_can_be_repaired(call, damaged):
    code, out, _ = call("verify", damaged)
    assert code == 1
    assert "damaged: p0000-x" in out
    assert "bad_debt" in out
    assert "--repair" in out
    assert call("verify", damaged, "--repair")[0] == 1
    assert call("status", damaged)[0] == 3
    again = ("run", SMOKE, *SMALL, "--workers", "0", "--out", damaged.parent)
    assert call(*again)[0] == 0
    assert call("verify", damaged)[0] == 0


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--set", "scenario.markets.exchange/BTC/perp.depth_1pct=0"), "depth_1pct"),
        (("--set", "seed=4294967296"), "seed"),
        (("--set", "policies.baseline.colour=1"), "colour"),
        (("--set", "paths"), "paths"),
        (("--resume",), "resume"),
    ],
)
def test_bad_input_is_one_sentence_and_writes_nothing(call, tmp_path, words, named):
    out = tmp_path / "runs"
    code, said, error = call("run", SMOKE, *words, "--workers", "0", "--out", out)
    assert (code, said) == (2, "")
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert named in error
    assert not out.exists()


def test_a_folder_that_cannot_be_written_is_said_so(call, tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    code, said, error = call("run", SMOKE, *SMALL, "--workers", "0", "--out", file)
    assert (code, said) == (2, "")
    assert error.count("\n") == 1
    assert str(file) in error


def test_the_schema_describes_a_config(call):
    schema = json.loads(call("schema")[1])
    assert {"name", "seed", "paths", "scenario", "policies"} <= set(schema["properties"])
    venue = schema["$defs"]["Mark"]["properties"]["kind"]
    assert venue["enum"] == ["index", "last", "median"]  # the words of a choice


def test_presets_are_listed(call):
    listed = json.loads(call("presets", "--json")[1])["presets"]
    assert all(row["key"] and row["preset"] and row["source"] for row in listed)
    assert listed[0]["preset"] in call("presets")[1]


def test_devices_are_listed(call):
    listed = json.loads(call("devices", "--json")[1])
    assert listed["devices"][0]["platform"] == "cpu"
    assert "cpu" in call("devices")[1]
