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

from deleverage.errors import ConfigError
from deleverage.results.chunks import CHECKSUM, LEVEL, METADATA
from deleverage.results.description import (
    Described,
    coordinate_names,
    dataset_attributes,
    known_before,
    outcome_attributes,
)
from deleverage.results.files import crc, replace_text, sync_all, sync_folder, sync_tree
from deleverage.results.plan import CONFIG_FILE, PLAN_FILE, STORE_FOLDER, Plan
from deleverage.results.schema import Variable

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
    for name, array in known_before(plan, policy_variables, policy_coords).items():
        write_array(root, name, array)
    replace_text(run_dir / CONFIG_FILE, config_yaml)
    plan = replace(plan, metadata=metadata_checksums(run_dir, plan))
    sync_all((run_dir / STORE_FOLDER).rglob(METADATA))
    replace_text(run_dir / PLAN_FILE, plan.to_json())
    return plan


def _attributes(plan: Plan, config_yaml: str, levers: Iterable[str]) -> dict[str, Any]:
    return {
        **dataset_attributes(plan, config_yaml),
        "fingerprint": plan.fingerprint,
        "versions": plan.provenance.get("versions", {}),
        # How xarray learns which arrays besides the dimensions are coordinates.
        "coordinates": " ".join(coordinate_names(plan, levers)),
        **({"stopping": plan.stopping} if plan.stopping else {}),
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
    root.create_array(
        variable.name,
        shape=shape,
        chunks=chunks,
        dtype=variable.dtype,
        compressors=ZstdCodec(level=LEVEL, checksum=CHECKSUM),
        fill_value=variable.fill,
        dimension_names=variable.dims,
        attributes=outcome_attributes(variable),
    )


def write_array(root: zarr.Group, name: str, described: Described) -> None:
    """A coordinate or per-policy variable in one chunk, replaced whole when it grows."""
    from zarr.codecs import ZstdCodec

    dims, values, attributes = described
    text = values.dtype.kind == "U"
    array = root.create_array(
        name,
        shape=values.shape,
        chunks=(max(len(values), 1),),
        dtype="string" if text else values.dtype,
        compressors=ZstdCodec(level=LEVEL, checksum=CHECKSUM),
        dimension_names=dims,
        attributes=attributes,
        overwrite=True,
        config={"write_empty_chunks": True},
    )
    array[...] = values.astype(object) if text else values


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
