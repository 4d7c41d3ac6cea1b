"""The scripts that set an environment up: which interpreter they take, and when they install."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def executable(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def fake_python(path: Path, version: str) -> None:
    """A real interpreter, called as `python -I -c CODE VERSION`, that says it is another one."""
    code = f"import sys; sys.version_info = ({version.replace('.', ', ')}, 0); "
    code += f"sys.executable = '{path}'; exec(sys.argv.pop(1))"
    executable(path, f'shift 2; exec {sys.executable} -c "{code}" "$@"')


def interpreter(folder: Path, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run scripts/interpreter with nothing but the system's tools and a folder on the PATH."""
    return subprocess.run(
        ["/bin/bash", str(ROOT / "scripts" / "interpreter"), *words],
        env={"PATH": str(folder), **settings},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_least_supported_version_is_preferred(tmp_path):
    fake_python(tmp_path / "python3.12", "3.12")
    fake_python(tmp_path / "python3.11", "3.11")
    assert interpreter(tmp_path).stdout == f"{tmp_path}/python3.11\n"


def test_python3_serves_when_it_is_new_enough(tmp_path):
    fake_python(tmp_path / "python3", "3.14")
    assert interpreter(tmp_path).stdout == f"{tmp_path}/python3\n"


def test_an_old_python3_is_refused_in_one_sentence(tmp_path):
    fake_python(tmp_path / "python3", "3.10")
    done = interpreter(tmp_path)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("error: no Python of at least 3.11 found")
    assert done.stderr.count("\n") == 1


def test_a_name_must_report_the_version_it_promises(tmp_path):
    fake_python(tmp_path / "python3.12", "3.13")
    done = interpreter(tmp_path, "python3.12")
    assert done.returncode == 1
    assert "'python3.12'" in done.stderr


def test_a_shim_that_refuses_is_passed_over_for_the_version_pyenv_installed(tmp_path):
    shims, root = tmp_path / "shims", tmp_path / "pyenv"
    executable(shims / "python3.12", "echo 'pyenv: python3.12: command not found' >&2; exit 127")
    executable(shims / "pyenv", f"echo {root}")
    fake_python(root / "versions" / "3.12.1" / "bin" / "python3.12", "3.12")
    expected = f"{root}/versions/3.12.1/bin/python3.12\n"
    assert interpreter(shims, PYTHON="python3.12").stdout == expected
    assert interpreter(shims).stdout == expected


def test_a_path_is_taken_as_it_is(tmp_path):
    fake_python(tmp_path / "mine", "3.13")
    assert interpreter(tmp_path, PYTHON=str(tmp_path / "mine")).stdout == f"{tmp_path}/mine\n"


def test_an_unknown_part_is_refused_before_anything_is_installed(tmp_path):
    done = subprocess.run(
        [ROOT / "scripts" / "test", "unti"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "no part 'unti'" in done.stderr
    assert "unit" in done.stderr


@pytest.fixture
def environment(tmp_path, monkeypatch):
    """scripts/environment.py on a checkout in a temporary folder; records what it would do."""
    spec = importlib.util.spec_from_file_location("environment", ROOT / "scripts/environment.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    folder = tmp_path / ".venv"
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "FOLDER", folder)
    monkeypatch.setattr(module, "PYTHON", folder / "bin" / "python")
    monkeypatch.setattr(module, "STAMP", folder / "installed.json")
    (tmp_path / "pyproject.toml").write_text("one")
    module.done = []

    def create() -> None:
        module.done.append("create")
        executable(module.PYTHON, "exit 0")

    monkeypatch.setattr(module, "create", create)
    monkeypatch.setattr(module, "install", lambda extras: module.done.append(extras))
    return module


def test_a_good_environment_is_left_alone(environment):
    environment.prepare(set())
    environment.prepare(set())
    assert environment.done == ["create", []]


def test_a_changed_project_is_installed_again_with_the_extras_it_had(environment):
    environment.prepare({"dev"})
    environment.prepare(set())
    (environment.ROOT / "pyproject.toml").write_text("two")
    environment.prepare(set())
    assert environment.done == ["create", ["dev"], ["dev"]]


def test_an_extra_is_added_to_what_is_there(environment):
    environment.prepare(set())
    environment.prepare({"dev"})
    assert environment.done == ["create", [], ["dev"]]


def test_an_interrupted_installation_is_thrown_away(environment, monkeypatch):
    environment.prepare(set())

    def interrupted(extras: list[str]) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(environment, "install", interrupted)
        with pytest.raises(KeyboardInterrupt):
            environment.prepare({"dev"})
    environment.prepare(set())
    assert environment.done == ["create", [], "create", []]


def test_a_moved_or_broken_environment_is_made_again(environment, monkeypatch):
    environment.prepare(set())
    environment.PYTHON.unlink()
    environment.prepare(set())
    moved = environment.ROOT / "moved"
    os.mkdir(moved)
    (moved / "pyproject.toml").write_text("one")
    monkeypatch.setattr(environment, "ROOT", moved)
    environment.prepare(set())
    assert environment.done == ["create", []] * 3
