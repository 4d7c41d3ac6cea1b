"""Issuers of pegged assets as the leaves of `IssuerRules`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from deleverage.config.issuers import IssuerSpec, Redemptions
from deleverage.config.quantities import NEVER
from deleverage.policy import IssuerRules


def build_issuers(
    specs: Sequence[IssuerSpec | None], entries: Sequence[Mapping[str, Redemptions]]
) -> IssuerRules | None:
    """Leaves of `IssuerRules`, `[pegged, policy]`; None where no issuer is modelled.

    Args:
        specs: Of all pegged assets; None: never short (A1), and nobody runs.
        entries: What issuers redeem under each policy, by asset.
    """
    if not any(specs):
        return None

    def leaf(of: Any, off: float) -> np.ndarray:
        numbers = [off if spec is None else of(spec) for spec in specs]
        return np.repeat(np.array(numbers, dtype=np.float64)[:, None], len(entries), axis=1)

    def of_run(of: Any) -> np.ndarray:
        return leaf(lambda spec: 0.0 if spec.run is None else of(spec.run, spec), 0.0)

    reserve = [[one.reserve for one in entry.values()] for entry in entries]
    return IssuerRules(
        backing=leaf(lambda spec: spec.backing * spec.supply / 1e6, NEVER),
        supply=leaf(lambda spec: spec.supply / 1e6, NEVER),
        reserve=np.where(np.array(reserve).T == NEVER, NEVER, np.array(reserve).T / 1e6),
        free_float=of_run(lambda run, spec: run.float_share * spec.supply / 1e6),
        run_rate=of_run(lambda run, _: run.rate),
        run_tolerance=of_run(lambda run, _: run.tolerance),
    )
