"""Writing one unit: whole chunks of raw zarr arrays, on disk before anyone says they are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from deleverage.errors import RunError
from deleverage.results.chunks import ChunkWriter
from deleverage.results.files import crc, sync_all
from deleverage.results.plan import STORE_FOLDER, Plan, Unit
from deleverage.results.schema import BLOCK, Variable

MAX_CHUNK_BYTES = 64 * 2**20


def assert_aligned(plan: Plan) -> None:
    """Check that every unit owns whole chunks of every variable, none above 64 MiB.

    Two processes that write into one chunk lose each other's rows without any error.

    Raises:
        RunError: A unit's region begins or ends inside a chunk, or a chunk is too large.
    """
    for variable in plan.written:
        shape, chunks = plan.shape(variable), plan.chunks(variable)
        nbytes = int(np.prod(chunks, dtype=np.int64)) * np.dtype(variable.dtype).itemsize
        if nbytes > MAX_CHUNK_BYTES:
            if variable.by_block:
                raise RunError(
                    f"a chunk of {variable.name} would have {nbytes / 2**20:.0f} MiB, at most "
                    f"{MAX_CHUNK_BYTES // 2**20} are allowed; set results.timeline to fewer bins "
                    "or a longer `every`, or select fewer with results.markets."
                )
            raise RunError(
                f"a chunk of {variable.name} would have {nbytes / 2**20:.0f} MiB, at most "
                f"{MAX_CHUNK_BYTES // 2**20} are allowed; set engine.unit_paths lower than "
                f"{plan.path_block}, or select fewer with results.markets."
            )
        for unit in plan.units:
            for span, chunk, size in zip(plan.region(variable, unit), chunks, shape, strict=True):
                if span.start % chunk or (span.stop % chunk and span.stop != size):
                    raise RunError(
                        f"unit {unit.id} covers {span.start}:{span.stop} of {variable.name}, "
                        f"which is not whole chunks of {chunk}; units must be whole chunks."
                    )


class UnitWriter:
    """The arrays of a run; writes the outcomes of units into them.

    A chunk equal to its fill value is written too: its absence means "not done".
    """

    def __init__(self, run_dir: Path, plan: Plan) -> None:
        """Look at the arrays that units write.

        Raises:
            RunError: An array on disk is not as the plan says.
        """
        self._store = Path(run_dir) / STORE_FOLDER
        self._plan = plan
        self._arrays = {
            v.name: ChunkWriter(self._store / v.name, v, plan.shape(v), plan.chunks(v))
            for v in plan.written
        }

    def write(self, unit: Unit, outcomes: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
        """Write a unit's chunks and flush them and their folders to disk.

        Args:
            unit: The unit.
            outcomes: Arrays by variable with the schema's dims, as the simulator returns them.

        Returns:
            Length and crc32c of each stored object, by key below the store.

        Raises:
            RunError: A variable is missing or has another shape than the schema says.
        """
        values = {v.name: self._block(v, unit, outcomes) for v in self._plan.written_by(unit)}
        # a world without pegs has variables without a place: no chunk, and nothing to vouch for
        values = {name: block for name, block in values.items() if block.size}
        objects: dict[str, tuple[int, int]] = {}
        written: set[Path] = set()
        for variable in self._plan.written_by(unit):
            if variable.name not in values:
                continue
            block = chunk_index(variable, unit)
            path, data = self._arrays[variable.name].write(block, values[variable.name])
            objects[path.relative_to(self._store).as_posix()] = (len(data), crc(data))
            # any folder on the way may be new, to this process or to one beside it
            written |= {path, *path.parents[: len(block) + 1]}
        sync_all(written)
        return objects

    def _block(self, variable: Variable, unit: Unit, outcomes: Mapping[str, Any]) -> np.ndarray:
        """One variable's values of a unit, of the selected labels only."""
        if variable.name not in outcomes:
            raise RunError(
                f"the simulator returned no {variable.name} for unit {unit.id}, but the run "
                "stores it; leave it out of results.variables."
            )
        values = np.asarray(outcomes[variable.name])
        if variable.by_block:
            values = values[None] if _has_rows(variable) else values[None, :, :, 0]
        values = self._plan.kept(values, variable.dims)
        region = self._plan.region(variable, unit)
        expected = tuple(span.stop - span.start for span in region)
        if values.shape != expected:
            raise RunError(
                f"the simulator returned {variable.name} of unit {unit.id} with shape "
                f"{values.shape} instead of {expected} {variable.dims}."
            )
        return values.astype(variable.dtype, copy=False)


def _has_rows(variable: Variable) -> bool:
    """Whether a histogram has an axis besides block, policy, time and bin."""
    return len(variable.dims) > 4


def chunk_index(variable: Variable, unit: Unit) -> tuple[int, ...]:
    """Position of a unit's chunk in the chunk grid of a variable."""
    block = {"policy": unit.policy_block, "path": unit.path_block, BLOCK: unit.path_block}
    return tuple(block.get(dim, 0) for dim in variable.dims)
