"""What a run directory holds, decided before it runs: its units, their blocks, its identity."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deleverage.errors import RunError
from deleverage.results.schema import BLOCK, HISTOGRAMS, SCHEMA_VERSION, VARIABLES, Variable

if TYPE_CHECKING:
    import numpy as np

PLAN_FILE = "plan.json"
CONFIG_FILE = "config.yaml"
STORE_FOLDER = "results.zarr"


@dataclass(frozen=True)
class Unit:
    """A block of policies times a block of paths, owning whole chunks of every variable."""

    policy_block: int
    path_block: int
    policies: range
    paths: range

    @property
    def id(self) -> str:
        """Its name, the same however far the run has grown."""
        return f"p{self.policy_block:04d}-x{self.path_block:06d}"

    @property
    def size(self) -> int:
        """Path-policies it simulates."""
        return len(self.policies) * len(self.paths)


@dataclass(frozen=True)
class Plan:
    """The content of `plan.json`.

    Attributes:
        name: Name of the config.
        identity_hash: Hash over `identity`; its first eight digits name the run directory.
        identity: What a continued run must have in common with this one.
        policy_hashes: Hash of each policy by label, in the order of the dataset.
        seed: Seed of every draw.
        paths: Number of paths.
        policy_block: Policies in a unit and in a chunk.
        path_block: Paths in a unit and in a chunk, whole tiles.
        tile_paths: Paths in a compiled tile.
        labels: Labels of every stored dimension but `path`.
        select: Positions kept of a simulated dimension, where not all are.
        variables: Names of the stored variables.
        fingerprint: What fixes the bytes: backend, device, versions, instruction set, tile.
        provenance: Versions, git commit and time of planning, for the reader only.
        metadata: crc32c of the metadata of each stored array.
        timeline: Times in minutes, and the edges of the bins of each histogram by its name; empty
            where there is no timeline.
        splitting: Thresholds of the levels, and how far paths move beyond each, as a pilot found
            them; empty under any other sampling.
        stopping: The rule for the number of paths, and what was found where it ended the run;
            empty where the number is given.
    """

    name: str
    identity_hash: str
    identity: dict[str, Any]
    policy_hashes: dict[str, str]
    seed: int
    paths: int
    policy_block: int
    path_block: int
    tile_paths: int
    labels: dict[str, list[str]]
    select: dict[str, list[int]]
    variables: list[str]
    fingerprint: dict[str, Any]
    provenance: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, int | None] = field(default_factory=dict)
    timeline: dict[str, list[float]] = field(default_factory=dict)
    stopping: dict[str, Any] = field(default_factory=dict)
    splitting: dict[str, list[float]] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION

    @property
    def policies(self) -> list[str]:
        """Labels of the policies."""
        return self.labels["policy"]

    @property
    def draw_block(self) -> int:
        """Paths that are drawn together; 1 where each is drawn by itself."""
        from deleverage.config.sampling import BLOCKS

        if self.sampling == "splitting":
            given = self.identity["sampling"]
            return given["paths_per_level"] * (given["levels"] + 1)
        return BLOCKS[self.sampling]

    @property
    def sampling(self) -> str:
        """Kind of sampling."""
        return self.identity.get("sampling", {}).get("kind", "plain")

    @property
    def directory_name(self) -> str:
        """Name of the run directory."""
        return f"{self.name}-{self.identity_hash[:8]}"

    @property
    def decided(self) -> bool:
        """Whether the number of paths stands: given, or found by the rule."""
        return not self.stopping or "reached" in self.stopping

    @property
    def largest(self) -> Plan:
        """The plan with as many paths as its rule allows."""
        return self if self.decided else dataclasses.replace(self, paths=self.stopping["at_most"])

    @cached_property
    def units(self) -> tuple[Unit, ...]:
        """Every unit, the policy blocks of one path block next to each other."""
        policies, paths = len(self.policies), self.paths
        return tuple(
            Unit(
                row,
                column,
                range(row * self.policy_block, min((row + 1) * self.policy_block, policies)),
                range(column * self.path_block, min((column + 1) * self.path_block, paths)),
            )
            for column in range(math.ceil(paths / self.path_block))
            for row in range(math.ceil(policies / self.policy_block))
        )

    @cached_property
    def unit_by_id(self) -> dict[str, Unit]:
        """Units by name."""
        return {unit.id: unit for unit in self.units}

    @cached_property
    def written(self) -> tuple[Variable, ...]:
        """The variables that units write."""
        outcomes = [VARIABLES[name] for name in self.variables if VARIABLES[name].by_path]
        return (*outcomes, *self.histograms)

    @property
    def histograms(self) -> tuple[Variable, ...]:
        """The histograms of the timeline that units write."""
        return tuple(one for name, one in HISTOGRAMS.items() if name in self.timeline)

    def written_by(self, unit: Unit) -> tuple[Variable, ...]:
        """The variables that one unit writes: path-only ones belong to policy block 0."""
        return tuple(v for v in self.written if v.by_policy or unit.policy_block == 0)

    def kept(self, values: np.ndarray, dims: Sequence[str]) -> np.ndarray:
        """What is stored of simulated values, where not all of a dimension is."""
        for axis, dim in enumerate(dims):
            if dim in self.select:
                values = values.take(self.select[dim], axis=axis)
        return values

    def shape(self, variable: Variable) -> tuple[int, ...]:
        """Shape of a variable in the dataset."""
        return tuple(self._size(dim) for dim in variable.dims)

    def _size(self, dim: str) -> int:
        if dim == "path":
            return self.paths
        if dim == BLOCK:
            return math.ceil(self.paths / self.path_block)
        if dim == "time":
            return len(self.timeline["time"])
        if dim.endswith("_bin"):
            return len(self._edges(dim)) - 1
        return len(self.labels[dim])

    def _edges(self, dim: str) -> list[float]:
        (name,) = (one.name for one in self.histograms if dim in one.dims)
        return self.timeline[name]

    def chunks(self, variable: Variable) -> tuple[int, ...]:
        """Chunk of a variable: one unit's block, whole in its other dimensions."""
        block = {"policy": self.policy_block, "path": self.path_block, BLOCK: 1}
        return tuple(block.get(d) or max(self._size(d), 1) for d in variable.dims)

    def region(self, variable: Variable, unit: Unit) -> tuple[slice, ...]:
        """Where a unit's values of a variable belong."""
        block = range(unit.path_block, unit.path_block + 1)
        spans = {"policy": unit.policies, "path": unit.paths, BLOCK: block}
        return tuple(
            slice(spans[d].start, spans[d].stop) if d in spans else slice(0, self._size(d))
            for d in variable.dims
        )

    @property
    def nbytes(self) -> int:
        """Bytes of all outcomes before compression."""
        itemsize = {"float32": 4, "uint8": 1, "int64": 8}
        return sum(math.prod(self.shape(v)) * itemsize[v.dtype] for v in self.written)

    def to_json(self) -> str:
        """The text of `plan.json`; the list of units is there for readers in other languages."""
        content = dataclasses.asdict(self)
        content["units"] = [
            {
                "id": unit.id,
                "policies": [unit.policies.start, unit.policies.stop],
                "paths": [unit.paths.start, unit.paths.stop],
            }
            for unit in self.units
        ]
        return json.dumps(content, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """The plan a `plan.json` describes."""
        content = json.loads(text)
        content.pop("units", None)
        return cls(**content)


def plan_stamp(run_dir: Path) -> tuple[int, int, int]:
    """Tells the plan of a run directory from the one that replaces it, without reading either."""
    with open(Path(run_dir) / PLAN_FILE, "rb") as file:  # opening looks past a network's cache
        found = os.fstat(file.fileno())
    return found.st_ino, found.st_mtime_ns, found.st_size


def load_plan(run_dir: Path) -> Plan:
    """The plan of a run directory.

    Raises:
        RunError: The folder is no run directory, or was written under another schema.
    """
    path = Path(run_dir) / PLAN_FILE
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise RunError(
            f"{run_dir} is not a run directory: {path} cannot be read ({error.strerror}); name "
            "a folder that `deleverage run` made."
        ) from None
    try:
        plan = Plan.from_json(text)
    except (TypeError, ValueError) as error:
        raise RunError(f"{path} is not a readable plan ({error}); run again elsewhere.") from None
    if plan.schema_version != SCHEMA_VERSION:
        raise RunError(
            f"{path} has schema version {plan.schema_version}, this program reads "
            f"{SCHEMA_VERSION}; use the program version it names, or run again."
        )
    return plan
