"""Chunks as zarr stores them, encoded and written without its event loop.

A unit is some forty chunks, each the whole of a file. Through zarr a chunk passes several threads,
which costs several times what compressing it does; the bytes are the same (tested).
"""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path
from typing import Any

import numpy as np
from numcodecs.zstd import Zstd  # which zarr depends on, and compresses by

from deleverage.errors import RunError
from deleverage.results.schema import Variable

METADATA = "zarr.json"
LEVEL, CHECKSUM = 1, True
"""Of zstd. Without the checksum a flipped bit would decode silently."""


MAY_LACK = ("storage_transformers",)
"""Metadata that need not be written where there is nothing to say."""


class ChunkWriter:
    """Writes whole chunks of one array.

    Args:
        folder: Of the array, with its metadata.
        variable: What it holds.
        shape: Shape that it is to have.
        chunks: Shape of a chunk that it is to have.
    """

    def __init__(
        self, folder: Path, variable: Variable, shape: tuple[int, ...], chunks: tuple[int, ...]
    ) -> None:
        """Read the metadata.

        Raises:
            RunError: They cannot be read, or are of another shape or encoding.
        """
        self._folder, self._variable, self._chunks = folder, variable, chunks
        self._codec = Zstd(level=LEVEL, checksum=CHECKSUM)
        again = "run the command again to repair the template."
        try:
            found = json.loads((folder / METADATA).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RunError(f"{folder / METADATA} cannot be read ({error}); {again}") from None
        for key, wanted in _metadata(variable, shape, chunks).items():
            if found.get(key, wanted if key in MAY_LACK else None) != wanted:
                raise RunError(
                    f"{folder / METADATA} has {key} {found.get(key)}, the plan says {wanted}; "
                    f"{again}"
                )

    def write(self, place: tuple[int, ...], values: np.ndarray) -> tuple[Path, bytes]:
        """Write a chunk whole or not at all; it is not flushed to disk.

        Args:
            place: Of the chunk in the grid of chunks.
            values: Its values; at the end of the array there may be fewer than a chunk holds.

        Returns:
            Its file, and what is in it.
        """
        kind = np.dtype(self._variable.dtype).newbyteorder("<")
        if values.shape != self._chunks:
            whole = np.full(self._chunks, self._variable.fill, kind)
            whole[tuple(map(slice, values.shape))] = values
            values = whole
        data = bytes(self._codec.encode(np.ascontiguousarray(values, kind)))
        path = self._folder.joinpath("c", *map(str, place))
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}.partial")
        try:
            partial.write_bytes(data)
            os.replace(partial, path)
        except BaseException:  # a signal too
            partial.unlink(missing_ok=True)
            raise
        return path, data


def _metadata(
    variable: Variable, shape: tuple[int, ...], chunks: tuple[int, ...]
) -> dict[str, Any]:
    """What the metadata of an array must say for its chunks to be written here."""
    order = {"configuration": {"endian": "little"}} if np.dtype(variable.dtype).itemsize > 1 else {}
    return {
        "zarr_format": 3,
        "shape": list(shape),
        "data_type": variable.dtype,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(chunks)}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "codecs": [
            {"name": "bytes", **order},
            {"name": "zstd", "configuration": {"level": LEVEL, "checksum": CHECKSUM}},
        ],
        "storage_transformers": [],
    }
