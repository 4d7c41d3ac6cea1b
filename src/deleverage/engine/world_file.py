"""Worlds and policies in one `.npz` file that NumPy alone reads: what a kernel needs to run.

The file holds one array a number of the model, named by its place (`groups/0/policy/books/cash`),
and `header`, a text of JSON. In the header a class is `{"class": "Policy", field: value, ...}`, an
array `{"array": name}`, a tuple a list, and everything else itself; nothing is pickled. Beside the
groups it names `format`, `version`, `kernel` (hash of the sources that wrote it), `name`, `seed`,
`dtype`, `paths` and the labels of the policies.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from deleverage import policy, world
from deleverage.engine.device import kernel_hash
from deleverage.engine.simulator import Group
from deleverage.errors import RunError
from deleverage.policy import Policy
from deleverage.world import World

FORMAT, VERSION = "deleverage world", 1

KINDS: dict[str, type] = {
    name: kind
    for module in (world, policy)
    for name, kind in inspect.getmembers(module, dataclasses.is_dataclass)
}
"""Classes that a file may name."""


class ExportedWorld(NamedTuple):
    """What a file holds: a plan that a `Simulator` runs, without histograms."""

    name: str
    seed: int
    dtype: str
    paths: int
    policies: tuple[str, ...]
    groups: tuple[Group, ...]


def save_world(file: Path, exported: ExportedWorld) -> None:
    """Write a file.

    Args:
        file: Its name, ending in `.npz`.
        exported: What it will hold; leaves are NumPy arrays.

    Raises:
        RunError: The name has another ending, or the file cannot be written.
    """
    if file.suffix != ".npz":
        raise RunError(f"{file} came as a name for a world; let it end in `.npz`.")
    arrays: dict[str, np.ndarray] = {}
    groups = [
        {
            "world": _encoded(group.world, f"groups/{place}/world", arrays),
            "policy": _encoded(group.policy, f"groups/{place}/policy", arrays),
            "members": [int(member) for member in group.members],
            "own": _encoded(group.own, f"groups/{place}/own", arrays),
        }
        for place, group in enumerate(exported.groups)
    ]
    header = {
        "format": FORMAT,
        "version": VERSION,
        "kernel": kernel_hash(),
        **exported._replace(groups=groups)._asdict(),
    }
    try:
        with file.open("wb") as out:
            np.savez(out, header=np.array(json.dumps(header)), **arrays)
    except OSError as error:
        raise RunError(f"{file} cannot be written ({error.strerror}); name another.") from None


def load_world(file: Path) -> ExportedWorld:
    """Read a file.

    Raises:
        RunError: It is missing, no such file, or written by another version of the kernel.
    """
    again = "write it with `deleverage export-world CONFIG OUT.npz`"
    try:
        with np.load(file, allow_pickle=False) as stored:
            arrays = dict(stored)
        header = json.loads(str(arrays["header"]))
    except FileNotFoundError:
        raise RunError(f"There is no file {file}; {again}.") from None
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        raise RunError(f"{file} holds no world; {again}.") from None
    if (header.get("format"), header.get("version")) != (FORMAT, VERSION):
        raise RunError(
            f"{file} is {header.get('format')!r} {header.get('version')!r}, and this version "
            f"reads {FORMAT!r} {VERSION}; {again}."
        )
    if header["kernel"] != kernel_hash():
        raise RunError(
            f"{file} was written by kernel {header['kernel']}, and this is {kernel_hash()}; "
            f"{again} of the same commit."
        )
    groups = tuple(
        Group(
            _decoded(group["world"], arrays, World),
            _decoded(group["policy"], arrays, Policy),
            tuple(group["members"]),
            _decoded(group["own"], arrays, World | None),
        )
        for group in header["groups"]
    )
    fields = {name: header[name] for name in ("name", "seed", "dtype", "paths")}
    return ExportedWorld(**fields, policies=tuple(header["policies"]), groups=groups)


def _encoded(value: Any, place: str, arrays: dict[str, np.ndarray]) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.ndarray | np.generic):
        arrays[place] = np.asarray(value)
        return {"array": place}
    if isinstance(value, Sequence):
        return [_encoded(item, f"{place}/{n}", arrays) for n, item in enumerate(value)]
    kind = type(value).__name__
    if KINDS.get(kind) is not type(value):
        raise TypeError(f"{place} is a {kind}, which no file of a world can hold")
    fields = [field.name for field in dataclasses.fields(value)]
    return {"class": kind} | {
        name: _encoded(getattr(value, name), f"{place}/{name}", arrays) for name in fields
    }


def _decoded(value: Any, arrays: dict[str, np.ndarray], expected: Any = object) -> Any:
    if isinstance(value, list):
        found: Any = tuple(_decoded(item, arrays) for item in value)
    elif not isinstance(value, dict):
        found = value
    elif "array" in value:
        found = arrays[value["array"]]
    else:
        fields = {name: _decoded(one, arrays) for name, one in value.items() if name != "class"}
        found = KINDS[value["class"]](**fields)
    if not isinstance(found, expected):
        raise RunError(f"A world file has a {type(found).__name__} where {expected} belongs.")
    return found
