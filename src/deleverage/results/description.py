"""What a dataset says of itself, stored or in memory: attributes, labels, and what is known before.

One table for both, so that `simulate` and a run of the same config read alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from deleverage.errors import RunError
from deleverage.results.labels import label_parts
from deleverage.results.plan import Plan
from deleverage.results.schema import (
    DIMENSIONS,
    DRAW_BLOCK,
    SCHEMA_VERSION,
    STATUS_FLAGS,
    VARIABLES,
    Variable,
)


class Described(NamedTuple):
    """An array with its dimensions and attributes; text is of fixed width."""

    dims: tuple[str, ...]
    values: np.ndarray
    attributes: dict[str, Any]


def dataset_attributes(plan: Plan, config_yaml: str) -> dict[str, Any]:
    """Attributes of a dataset, apart from those of a run directory alone."""
    return {
        "title": plan.name,
        "schema_version": SCHEMA_VERSION,
        "config": config_yaml,
        "identity_hash": plan.identity_hash,
        "seed": plan.seed,
        "sampling": plan.sampling,
        "rng": plan.fingerprint.get("rng", "philox4x32"),
        **({"splitting": plan.splitting} if plan.splitting else {}),
    }


def outcome_attributes(variable: Variable) -> dict[str, Any]:
    """Attributes of what units write."""
    attributes: dict[str, Any] = {"units": variable.unit, "long_name": variable.long_name}
    if variable.name == "status":
        attributes["flag_masks"] = list(STATUS_FLAGS.values())
        attributes["flag_meanings"] = " ".join(STATUS_FLAGS)
    return attributes


def known_before(
    plan: Plan,
    policy_variables: Mapping[str, Any],
    policy_coords: Mapping[str, Sequence[Any]],
) -> dict[str, Described]:
    """Every array by name that no unit writes: labels, and what each policy fixes.

    Args:
        plan: The plan.
        policy_variables: Values known before simulation, `[policy]` by name.
        policy_coords: Values of the levers that vary, `[policy]` by name.

    Raises:
        RunError: One of `policy_variables` has not one value a policy.
    """
    paths = np.arange(plan.paths, dtype=np.int64)
    found = {"path": described("path", ("path",), paths, "1")}
    if plan.draw_block > 1:
        found[DRAW_BLOCK] = described(DRAW_BLOCK, ("path",), paths // plan.draw_block, "1")
    for dim, labels in plan.labels.items():
        numeric = dim == "threshold"
        values = np.array(labels, dtype=np.float64 if numeric else np.str_)
        found[dim] = described(dim, (dim,), values, "1" if numeric else None)
    for part in label_parts(plan.labels):
        values = np.array(part.values, dtype=np.str_)
        found[part.name] = described(part.name, (part.dim,), values, None, part.long_name)
    for name in plan.variables:
        if not VARIABLES[name].by_path:
            values = _policy_values(name, policy_variables, len(plan.policies))
            found[name] = described(name, ("policy",), values, VARIABLES[name].unit)
    for name, values in policy_coords.items():
        found[name] = described(name, ("policy",), _lever_values(values), None)
    return found


def coordinate_names(plan: Plan, levers: Iterable[str]) -> list[str]:
    """Names of the coordinates beside the dimensions."""
    names = [name for name in plan.variables if VARIABLES[name].coordinate]
    names += [part.name for part in label_parts(plan.labels)]
    names += [DRAW_BLOCK] if plan.draw_block > 1 else []
    return [*names, *levers]


def described(
    name: str,
    dims: tuple[str, ...],
    values: np.ndarray,
    unit: str | None,
    long_name: str | None = None,
) -> Described:
    """An array with its attributes: those of the schema, unless it is given a long name."""
    if long_name is None:
        long_name = VARIABLES[name].long_name if name in VARIABLES else DIMENSIONS.get(name, name)
    return Described(
        dims, values, {"long_name": long_name} | ({} if unit is None else {"units": unit})
    )


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
    return np.array([str(value) for value in listed], dtype=np.str_)
