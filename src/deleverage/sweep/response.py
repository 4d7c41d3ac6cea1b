"""The outcome on which the levels of splitting are set: one number a path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from deleverage.results.schema import VARIABLES, Variable

if TYPE_CHECKING:
    from deleverage.config import Config
    from deleverage.config.sampling import SplittingSampling


@dataclass(frozen=True)
class Response:
    """Where to find it.

    Attributes:
        variable: The outcome.
        policy: Place of the policy under which it is looked at.
        picked: Place in each further dimension, None where they are summed.
        sign: -1 where low is rare.
    """

    variable: Variable
    policy: int
    picked: tuple[int | None, ...]
    sign: float

    def of(self, outcomes: Mapping[str, np.ndarray], policies: range) -> np.ndarray:
        """The response of each path, high where rare, `[path]` float64; NaN reads as the lowest.

        Args:
            outcomes: Of a simulator, by name.
            policies: Whose they are.
        """
        values = np.asarray(outcomes[self.variable.name])
        if self.variable.by_policy:
            values = values[self.policy - policies.start]
        values = values[:, *(slice(None) if place is None else place for place in self.picked)]
        # path by path, so that no sum depends on how many there are
        rows = np.ascontiguousarray(values, np.float64).reshape(values.shape[0], -1)
        summed = self.sign * rows.sum(axis=1)
        return np.where(np.isnan(summed), -np.inf, summed)


def response_of(config: Config, labels: Mapping[str, Sequence[Any]]) -> Response:
    """The response that a config names.

    Args:
        config: With `sampling` of kind splitting.
        labels: Of every simulated dimension.

    Raises:
        ConfigError: There is no such outcome or label.
    """
    scheme: SplittingSampling = config.sampling  # type: ignore[assignment]
    named = VARIABLES.get(scheme.variable)
    known = [v.name for v in VARIABLES.values() if v.by_path and v.name not in _NO_RESPONSE]
    if named is None or named.name not in known:
        config.source.refuse(
            ("sampling", "variable"),
            f"'{scheme.variable}' is nothing that paths could be split on",
            ", ".join(known),
            "name one of them",
        )
    assert named is not None
    check_selection(config, ("sampling",), named, scheme.selection, labels)
    further = [dim for dim in named.dims if dim not in ("policy", "path")]
    texts = {dim: [str(label) for label in labels[dim]] for dim in further}
    return Response(
        named,
        list(labels["policy"]).index(scheme.policy) if named.by_policy else 0,
        tuple(
            texts[dim].index(str(scheme.selection[dim])) if dim in scheme.selection else None
            for dim in further
        ),
        -1.0 if scheme.tail == "lower" else 1.0,
    )


_NO_RESPONSE = ("status", "log_weight")


def check_selection(
    config: Config,
    key: tuple[str, ...],
    variable: Variable,
    selection: Mapping[str, str | float],
    labels: Mapping[str, Sequence[Any]],
) -> None:
    """Refuse a label that a variable does not have.

    Args:
        config: The config.
        key: Of what has the selection.
        variable: What it selects from.
        selection: Label by dimension.
        labels: Of every dimension.

    Raises:
        ConfigError: A dimension or a label is not there.
    """
    dims = [dim for dim in variable.dims if dim not in ("policy", "path")]
    for dim, label in selection.items():
        allowed = [str(one) for one in labels[dim]] if dim in dims else dims
        if dim not in dims or str(label) not in allowed:
            config.source.refuse(
                (*key, "selection", dim),
                f"{variable.name} has no {dim} {label!r}",
                ", ".join(allowed) or "no selection",
                "choose one of them, or leave it out to sum over all",
            )
