"""The empty dataset: every array, coordinate and attribute, made before the first unit runs."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deleverage.errors import ConfigError, RunError
from deleverage.results.chunks import CHECKSUM, LEVEL, METADATA
from deleverage.results.files import crc, replace_text, sync_all, sync_folder, sync_tree
from deleverage.results.labels import label_parts
from deleverage.results.plan import CONFIG_FILE, PLAN_FILE, STORE_FOLDER, Plan
from deleverage.results.schema import (
    DIMENSIONS,
    DRAW_BLOCK,
    SCHEMA_VERSION,
    STATUS_FLAGS,
    VARIABLES,
    Variable,
)

if TYPE_CHECKING:
    import zarr


def create_run(
    run_dir: Path,
    plan: Plan,
    config_yaml: str,
    policy_variables: Mapping[str, Any],
    policy_coords: Mapping[str, Sequence[Any]],
) -> Plan | None:
    """Make a run directory with its plan, config and empty dataset.

    It is built in a temporary folder beside and renamed, so it exists whole or not at all.

    Args:
        run_dir: The directory to make; it must not exist.
        plan: What it will hold.
        config_yaml: Text of `config.yaml`.
        policy_variables: Values known before simulation, `[policy]` by name.
        policy_coords: Values of the levers that vary, `[policy]` by name.

    Returns:
        The plan with the checksums of the metadata, or None if another driver made the directory
        meanwhile.

    Raises:
        ConfigError: The folder cannot be written.
    """
    temporary = run_dir.with_name(f".{run_dir.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        temporary.mkdir(parents=True)
    except OSError as error:
        raise ConfigError(
            f"the folder {run_dir.parent} cannot be written ({error.strerror}); name another one "
            "with `--out`."
        ) from None
    try:
        for name in ("done", "claims", "failed"):
            (temporary / name).mkdir()
        plan = write_template(temporary, plan, config_yaml, policy_variables, policy_coords)
        sync_tree(temporary)
        try:
            os.rename(temporary, run_dir)
        except OSError:
            if (run_dir / PLAN_FILE).exists():
                return None
            raise
        sync_folder(run_dir.parent)
    except OSError as error:
        raise ConfigError(
            f"the run directory {run_dir} cannot be made ({error}); free the disk or name another "
            "folder with `--out`."
        ) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return plan


def write_template(
    run_dir: Path,
    plan: Plan,
    config_yaml: str,
    policy_variables: Mapping[str, Any],
    policy_coords: Mapping[str, Sequence[Any]],
) -> Plan:
    """Make, or grow, the dataset of a run directory until it has the plan's shape.

    The plan is written last: after a crash the old plan stands and the same command repeats this.
    Chunks that are there keep their bytes.
    """
    import zarr

    zarr.open_group(run_dir / STORE_FOLDER, mode="a", zarr_format=3)
    # Consolidated metadata goes stale and would hide what is added.
    _write_root(run_dir, _attributes(plan, config_yaml, policy_coords))
    root = zarr.open_group(run_dir / STORE_FOLDER, mode="r+", zarr_format=3)
    for variable in plan.written:
        _write_outcome(root, plan, variable)
    write_array(root, "path", ("path",), np.arange(plan.paths, dtype=np.int64), "1")
    if plan.draw_block > 1:
        write_array(root, DRAW_BLOCK, ("path",), draw_blocks(plan), "1")
    for dim, labels in plan.labels.items():
        numeric = dim == "threshold"
        values = np.array(labels, dtype=np.float64 if numeric else object)
        write_array(root, dim, (dim,), values, "1" if numeric else None)
    for part in label_parts(plan.labels):
        values = np.array(part.values, dtype=object)
        write_array(root, part.name, (part.dim,), values, None, part.long_name)
    for name in plan.variables:
        if not VARIABLES[name].by_path:
            values = _policy_values(name, policy_variables, len(plan.policies))
            write_array(root, name, ("policy",), values, VARIABLES[name].unit)
    for name, values in policy_coords.items():
        write_array(root, name, ("policy",), _lever_values(values), None)
    replace_text(run_dir / CONFIG_FILE, config_yaml)
    plan = replace(plan, metadata=metadata_checksums(run_dir, plan))
    sync_all((run_dir / STORE_FOLDER).rglob(METADATA))
    replace_text(run_dir / PLAN_FILE, plan.to_json())
    return plan


def draw_blocks(plan: Plan) -> np.ndarray:
    """Block of each path that its draws belong to, `[path]`."""
    return np.arange(plan.paths, dtype=np.int64) // plan.draw_block


def _attributes(plan: Plan, config_yaml: str, levers: Iterable[str]) -> dict[str, Any]:
    coordinates = [name for name in plan.variables if VARIABLES[name].coordinate]
    coordinates += [part.name for part in label_parts(plan.labels)]
    coordinates += [DRAW_BLOCK] if plan.draw_block > 1 else []
    return {
        "title": plan.name,
        "schema_version": SCHEMA_VERSION,
        "config": config_yaml,
        "identity_hash": plan.identity_hash,
        "seed": plan.seed,
        "sampling": plan.sampling,
        "rng": plan.fingerprint.get("rng", "philox4x32"),
        "fingerprint": plan.fingerprint,
        "versions": plan.provenance.get("versions", {}),
        # How xarray learns which arrays besides the dimensions are coordinates.
        "coordinates": " ".join([*coordinates, *levers]),
        **({"stopping": plan.stopping} if plan.stopping else {}),
        **({"splitting": plan.splitting} if plan.splitting else {}),
        "complete": False,
    }


def _write_root(run_dir: Path, attributes: Mapping[str, Any]) -> None:
    path = run_dir / STORE_FOLDER / METADATA
    content = json.loads(path.read_text(encoding="utf-8"))
    content.pop("consolidated_metadata", None)
    content["attributes"] = dict(attributes)
    replace_text(path, json.dumps(content, indent=1))


def _write_outcome(root: zarr.Group, plan: Plan, variable: Variable) -> None:
    from zarr.codecs import ZstdCodec

    shape, chunks = plan.shape(variable), plan.chunks(variable)
    if variable.name in root:
        array: Any = root[variable.name]
        assert array.chunks == chunks, (variable.name, array.chunks, chunks)
        if array.shape != shape:
            array.resize(shape)
        return
    attributes: dict[str, Any] = {"units": variable.unit, "long_name": variable.long_name}
    if variable.name == "status":
        attributes["flag_masks"] = list(STATUS_FLAGS.values())
        attributes["flag_meanings"] = " ".join(STATUS_FLAGS)
    root.create_array(
        variable.name,
        shape=shape,
        chunks=chunks,
        dtype=variable.dtype,
        compressors=ZstdCodec(level=LEVEL, checksum=CHECKSUM),
        fill_value=variable.fill,
        dimension_names=variable.dims,
        attributes=attributes,
    )


def write_array(
    root: zarr.Group,
    name: str,
    dims: tuple[str, ...],
    values: np.ndarray,
    unit: str | None,
    long_name: str | None = None,
) -> None:
    """A coordinate or per-policy variable in one chunk, replaced whole when it grows."""
    from zarr.codecs import ZstdCodec

    if long_name is None:
        long_name = VARIABLES[name].long_name if name in VARIABLES else DIMENSIONS.get(name, name)
    attributes: dict[str, Any] = {"long_name": long_name} | (
        {} if unit is None else {"units": unit}
    )
    array = root.create_array(
        name,
        shape=values.shape,
        chunks=(max(len(values), 1),),
        dtype="string" if values.dtype == object else values.dtype,
        compressors=ZstdCodec(level=LEVEL, checksum=CHECKSUM),
        dimension_names=dims,
        attributes=attributes,
        overwrite=True,
        config={"write_empty_chunks": True},
    )
    array[...] = values


def _policy_values(name: str, given: Mapping[str, Any], policies: int) -> np.ndarray:
    values = np.asarray(given.get(name, np.full(policies, np.nan)), dtype=VARIABLES[name].dtype)
    if values.shape != (policies,):
        raise RunError(
            f"{name} came with shape {values.shape}, but it has one value a policy, "
            f"({policies},); this is a fault of the program, please report it."
        )
    return values


def _lever_values(values: Iterable[Any]) -> np.ndarray:
    """Lever values as numbers where they are numbers, else as text."""
    listed = np.asarray(values).tolist()
    if all(isinstance(value, int | float) for value in listed):
        return np.array(listed, dtype=np.float64)
    return np.array([str(value) for value in listed], dtype=object)


def metadata_checksums(run_dir: Path, plan: Plan) -> dict[str, int | None]:
    """crc32c of the metadata of each array that units write, None where it cannot be read."""
    found: dict[str, int | None] = {}
    for variable in plan.written:
        path = Path(run_dir) / STORE_FOLDER / variable.name / METADATA
        try:
            found[variable.name] = crc(path.read_bytes())
        except OSError:
            found[variable.name] = None
    return found
