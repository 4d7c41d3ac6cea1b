"""What a user reads, and a script gets as exit code, when a command cannot do what was asked."""

import re
from pathlib import Path

import pytest

from deleverage import results
from deleverage.errors import ConfigError, DeleverageError, IncompleteRunError, RunError
from deleverage.sweep import InterruptedRunError


@pytest.fixture
def status_raises(monkeypatch):
    """Make `deleverage status` raise an exception."""

    def replace(error: BaseException) -> None:
        def status(folder: Path) -> None:
            raise error

        monkeypatch.setattr(results, "status", status)

    return replace


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (DeleverageError, 1),
        (RunError, 1),
        (ConfigError, 2),
        (IncompleteRunError, 3),
        (InterruptedRunError, 130),
    ],
)
def test_an_error_on_purpose_is_one_sentence_and_its_exit_code(call, status_raises, kind, code):
    status_raises(kind("units are missing."))
    assert call("status", "runs/x") == (code, "", "error: units are missing.\n")


def test_debug_shows_the_traceback_of_an_error_on_purpose(call, status_raises):
    status_raises(RunError("units are missing."))
    code, _, said = call("status", "runs/x", "--debug")
    assert code == 1
    assert "Traceback" in said
    assert said.endswith("error: units are missing.\n")


def test_a_url_to_write_to_is_one_sentence(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    smoke = Path(__file__).parents[2] / "configs" / "smoke.yaml"
    code, out, said = call("run", str(smoke), "--paths", "8", "--out", "s3://bucket/runs")
    assert (code, out) == (2, "")
    assert said == (
        "error: out: 's3://bucket/runs' is a URL, but run directories are local folders; name a "
        "folder on a disk and copy the finished run.\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_an_unexpected_error_names_the_file_of_its_traceback(call, status_raises):
    status_raises(ZeroDivisionError("by zero"))
    code, _, said = call("status", "runs/x")
    assert code == 1
    assert said.count("\n") == 1
    file = re.search(r"error: unexpected ZeroDivisionError: by zero; .* in (\S+), --debug", said)
    assert file
    kept = Path(file[1])
    assert "in status\n" in kept.read_text()
    kept.unlink()


def test_debug_prints_the_traceback_of_an_unexpected_error(call, status_raises):
    status_raises(ZeroDivisionError("by zero"))
    code, _, said = call("--debug", "status", "runs/x")
    assert code == 1
    assert "Traceback" in said
    assert "above" in said


def test_an_interrupt_is_130(call, status_raises):
    status_raises(KeyboardInterrupt())
    assert call("status", "runs/x")[0] == 130


@pytest.mark.parametrize(
    "words",
    [
        ["walk"],
        ["run"],
        ["run", "x.yaml", "--workers", "many"],
        ["run", "x.yaml", "--workers", "-1"],
        ["run", "x.yaml", "--paths", "0"],
        ["run", "x.yaml", "--colour"],
    ],
)
def test_bad_usage_is_2(call, words):
    code, out, said = call(*words)
    assert (code, out) == (2, "")
    assert "Error: " in said


@pytest.mark.parametrize("command", ["check", "plan", "run"])
def test_a_missing_config_is_2_and_writes_nothing(call, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, said = call(command, "none.yaml")
    assert (code, out) == (2, "")
    assert said.startswith("error: none.yaml: the config cannot be read")
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["check", "plan", "run"])
def test_a_variable_that_is_not_stored_is_2_and_writes_nothing(
    call, command, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    smoke = Path(__file__).parents[2] / "configs" / "smoke.yaml"
    code, out, said = call(command, str(smoke), "--set", "results.variables=[bad_dept]")
    assert (code, out) == (2, "")
    assert said.startswith("error: results.variables: 'bad_dept' is not a stored variable; allow")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["status", "verify", "finalize", "summary"])
def test_a_folder_that_is_no_run_is_said_so(call, command, tmp_path):
    code, out, said = call(command, str(tmp_path))
    assert (code, out) == (1, "")
    assert said.startswith(f"error: {tmp_path} is not a run directory")
    assert said.count("\n") == 1


def test_paths_that_are_split_cannot_be_exported(call, tmp_path):
    rare = Path(__file__).parents[2] / "configs" / "limits" / "rare_passage.yaml"
    code, out, said = call("export-world", str(rare), str(tmp_path / "world.npz"))
    assert (code, out) == (2, "")
    assert "rare_passage.yaml:16: sampling.kind: splitting, whose paths follow from" in said
    assert said.endswith("export it with `--set sampling={kind: plain}`.\n")
    assert list(tmp_path.iterdir()) == []
