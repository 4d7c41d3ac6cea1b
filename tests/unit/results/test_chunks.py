"""Chunks are those that zarr would write, byte for byte."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import zarr
from zarr.codecs import ZstdCodec

from deleverage.errors import RunError
from deleverage.results.chunks import ChunkWriter
from deleverage.results.schema import HISTOGRAMS, VARIABLES, Variable

CASES = {
    "trough_price": ((3, 20, 2), (3, 8, 2)),
    "status": ((3, 20), (3, 8)),
    "severity": ((20,), (8,)),
    "timeline_units/equity": ((3, 2, 5, 4), (1, 2, 5, 4)),
}


def made(folder: Path, variable: Variable, shape, chunks) -> zarr.Array:
    with zarr.config.set({"array.write_empty_chunks": True}):
        return zarr.create_array(
            folder,
            shape=shape,
            chunks=chunks,
            dtype=variable.dtype,
            compressors=ZstdCodec(level=1, checksum=True),
            fill_value=variable.fill,
        )


def files(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("filled", [False, True])
def test_every_chunk_has_the_bytes_of_zarr(tmp_path, name, filled):
    variable, (shape, chunks) = {**VARIABLES, **HISTOGRAMS}[name], CASES[name]
    rng = np.random.default_rng(0)
    values = (rng.random(shape) * 100).astype(variable.dtype)
    if filled:
        values[...] = variable.fill
    by_zarr = made(tmp_path / "zarr", variable, shape, chunks)
    mine = made(tmp_path / "mine", variable, shape, chunks)
    writer = ChunkWriter(tmp_path / "mine", variable, shape, chunks)
    grid = [-(-size // chunk) for size, chunk in zip(shape, chunks, strict=True)]
    for place in np.ndindex(*grid):
        region = tuple(
            slice(i * chunk, min((i + 1) * chunk, size))
            for i, chunk, size in zip(place, chunks, shape, strict=True)
        )
        # neither the order in memory nor that of bytes is what is stored
        given = np.asfortranarray(values[region].astype(values.dtype.newbyteorder(">")))
        path, data = writer.write(place, given)
        assert path.read_bytes() == data
        by_zarr.set_block_selection(place, values[region])
    assert len(files(tmp_path / "mine")) == 1 + np.prod(grid)
    assert files(tmp_path / "mine") == files(tmp_path / "zarr")
    np.testing.assert_array_equal(mine[...], values)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("shape", [3, 21]),
        ("data_type", "float64"),
        ("chunk_grid", {"name": "regular", "configuration": {"chunk_shape": [3, 4]}}),
        ("codecs", [{"name": "bytes"}]),
    ],
)
def test_an_array_of_another_kind_is_refused(tmp_path, key, value):
    variable, shape, chunks = VARIABLES["bad_debt"], (3, 20), (3, 8)
    made(tmp_path / "a", variable, shape, chunks)
    path = tmp_path / "a" / "zarr.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(RunError, match=rf"zarr.json has {key} .*, the plan says .*run the command"):
        ChunkWriter(tmp_path / "a", variable, shape, chunks)
    path.write_text("no json")
    with pytest.raises(RunError, match="cannot be read"):
        ChunkWriter(tmp_path / "a", variable, shape, chunks)


def test_a_chunk_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    variable, shape, chunks = VARIABLES["bad_debt"], (3, 20), (3, 8)
    made(tmp_path / "a", variable, shape, chunks)
    writer = ChunkWriter(tmp_path / "a", variable, shape, chunks)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="No space"):
        writer.write((0, 1), np.ones((3, 8)))
    assert set(files(tmp_path / "a")) == {"zarr.json"}
