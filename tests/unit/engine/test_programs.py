"""A stored program runs without being traced, and anything wrong with it makes it anew."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from deleverage.engine import programs
from deleverage.engine.programs import arrays_of, compiled

# What a process does: compile or load `f` by a name, run it, print what came and how often it was
# traced.
PROCESS = """
import sys
from pathlib import Path
import jax
import jax.numpy as jnp
import numpy as np
from deleverage.engine.programs import arrays_of, compiled
folder = Path(sys.argv[1])
jax.config.update("jax_compilation_cache_dir", str(folder))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
traced = []
def f(scale, tree):
    traced.append(1)
    return {"y": jnp.sort(scale * jnp.sin(tree["x"]))}, {"none": None}
x = np.arange(8, dtype=np.float32) + np.float32(sys.argv[2])
arguments = (3, {"x": x})
out, _ = compiled(sys.argv[3], f, arguments, folder)(*arrays_of(arguments))
np.testing.assert_allclose(out["y"], np.sort(3 * np.sin(x)), rtol=1e-6)
print(len(traced), bytes(out["y"]).hex())
"""


def process(folder: Path, offset: float = 0.0, name: str = "f") -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROCESS, str(folder), str(offset), name],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


def test_the_second_process_traces_nothing_and_gives_the_same_bytes(tmp_path):
    traced, first = process(tmp_path)
    assert traced == "1"
    assert process(tmp_path) == ["0", first]
    again, other = process(tmp_path, 0.5)
    assert again == "0"
    assert other != first


def stored(folder: Path) -> set[Path]:
    return set((folder / "programs").glob("*.program"))


@pytest.mark.parametrize("damage", [lambda data: data[:-9], lambda data: b"", lambda data: b"no"])
def test_a_damaged_file_is_made_and_stored_again(tmp_path, damage):
    _, first = process(tmp_path)
    for file in stored(tmp_path):
        file.write_bytes(damage(file.read_bytes()))
    assert process(tmp_path)[1] == first
    assert process(tmp_path) == ["0", first]


def test_other_sources_of_the_same_program_are_not_compiled_again(tmp_path):
    _, first = process(tmp_path)
    before = stored(tmp_path)
    (file,) = (path for path in before if path.name == "f.program")
    content = file.stat().st_ino
    assert process(tmp_path, name="g") == ["1", first]
    (new,) = stored(tmp_path) - before
    assert (new.name, new.stat().st_ino) == ("g.program", content)  # a link to the same file
    assert process(tmp_path, name="g") == ["0", first]


def test_what_came_from_the_cache_of_jax_is_compiled_and_stored(tmp_path):
    _, first = process(tmp_path)
    for file in stored(tmp_path):
        file.unlink()
    assert list(tmp_path.glob("jit_program-*-cache"))
    assert process(tmp_path)[1] == first  # traced once more to be compiled by another name
    assert process(tmp_path) == ["0", first]


def test_nothing_is_left_behind_and_no_folder_is_needed(tmp_path):
    process(tmp_path)
    assert {path.suffix for path in (tmp_path / "programs").iterdir()} == {
        ".program", ".done", ".lock",
    }  # fmt: skip
    (tmp_path / "file").write_text("in the way")
    assert process(tmp_path / "file")[0] == "1"


def test_this_process_traces_once_for_all_of_one_name(monkeypatch):
    monkeypatch.setattr(programs, "_held", {})
    traced = []

    def double(x, times):
        traced.append(1)
        return times * x

    for value in (1.0, 2.0):
        arguments = (np.full(3, value), 2)
        found = compiled("double", double, arguments, None)(*arrays_of(arguments))
        assert np.array_equal(found, np.full(3, 2 * value))
    assert len(traced) == 1
    assert isinstance(found, jax.Array)


def test_processes_of_one_id_in_two_containers_do_not_write_into_one_file(tmp_path, monkeypatch):
    written, write = [], Path.write_bytes

    def noted(file: Path, content: bytes) -> int:
        written.append(file.name)
        return write(file, content)

    monkeypatch.setattr(Path, "write_bytes", noted)
    monkeypatch.setattr(programs, "serialize", lambda made: made)
    for _ in range(2):
        programs._store(tmp_path / "f.program", ("bytes",))
    assert len(set(written)) == 2
    assert [file.name for file in tmp_path.iterdir()] == ["f.program"]
