"""A world in a file is the world that was built, readable with NumPy alone."""

import json
from dataclasses import replace

import jax
import numpy as np
import pytest
from worlds import full_world, random_world

from deleverage.config import build, load_config
from deleverage.engine import world_file
from deleverage.engine.simulator import Group
from deleverage.engine.world_file import ExportedWorld, load_world, save_world
from deleverage.errors import RunError


def exported(world, policy, own=None):
    count = policy.reporting.due_at_start.shape[-1]
    group = Group(world, policy, tuple(range(count)), own)
    labels = tuple(f"p{n}" for n in range(count))
    return ExportedWorld("mine", 2**32 - 1, "float32", 7, labels, (group,))


def assert_same(one, other):
    leaves, structure = jax.tree.flatten(one)
    expected, known = jax.tree.flatten(other)
    assert structure == known
    for found, right in zip(leaves, expected, strict=True):
        assert np.asarray(found).dtype == np.asarray(right).dtype
        np.testing.assert_array_equal(found, right)


@pytest.mark.parametrize("made", [random_world, full_world])
@pytest.mark.parametrize("seed", range(3))
def test_a_random_world_comes_back_as_it_was(made, seed, tmp_path):
    world, policy = made(seed)
    own = jax.tree.map(lambda leaf: np.stack([np.asarray(leaf)] * 3, axis=-1), world)
    wanted = exported(world, policy, own)
    save_world(tmp_path / "w.npz", wanted)
    assert_same(load_world(tmp_path / "w.npz"), wanted)
    assert hash(load_world(tmp_path / "w.npz").groups[0].world.layout) == hash(world.layout)


def test_the_main_job_comes_back_as_it_was(tmp_path):
    built = build(load_config("configs/oct10.yaml"))
    wanted = exported(*built.groups[0][:2])
    save_world(tmp_path / "w.npz", wanted)
    assert_same(load_world(tmp_path / "w.npz"), wanted)


def test_the_file_is_arrays_and_one_text_of_json(tmp_path):
    world, policy = random_world(1)
    save_world(tmp_path / "w.npz", exported(world, policy))
    with np.load(tmp_path / "w.npz", allow_pickle=False) as stored:
        header = json.loads(str(stored["header"]))
        np.testing.assert_array_equal(stored["groups/0/policy/books/cash"], policy.books.cash)
    assert (header["format"], header["version"]) == ("deleverage world", 1)
    assert header["groups"][0]["policy"]["books"]["cash"] == {"array": "groups/0/policy/books/cash"}
    assert header["groups"][0]["world"]["layout"]["steps"] == world.layout.steps


def test_another_kernel_is_refused(tmp_path, monkeypatch):
    file = tmp_path / "w.npz"
    save_world(file, exported(*random_world(1)))
    monkeypatch.setattr(world_file, "kernel_hash", lambda: "another")
    with pytest.raises(RunError, match=r"kernel .*, and this is another; write it with .* of the"):
        load_world(file)


def test_what_is_no_world_is_refused_in_one_sentence(tmp_path):
    file = tmp_path / "w.npz"
    with pytest.raises(RunError, match=r"There is no file .*export-world CONFIG OUT.npz`\."):
        load_world(file)
    file.write_text("name: smoke")
    with pytest.raises(RunError, match="holds no world"):
        load_world(file)
    np.savez(file, cash=np.zeros(3))
    with pytest.raises(RunError, match="holds no world"):
        load_world(file)
    np.savez(file, header=np.array(json.dumps({"format": "deleverage world", "version": 2})))
    with pytest.raises(RunError, match="'deleverage world' 2, and this version reads"):
        load_world(file)


def test_what_a_file_cannot_hold_is_refused_when_it_is_written(tmp_path):
    world, policy = random_world(1)
    odd = replace(world, drift=object())
    with pytest.raises(TypeError, match="groups/0/world/drift is a object"):
        save_world(tmp_path / "w.npz", exported(odd, policy))
    with pytest.raises(RunError, match=r"w\.zip came .* let it end in `\.npz`"):
        save_world(tmp_path / "w.zip", exported(world, policy))
