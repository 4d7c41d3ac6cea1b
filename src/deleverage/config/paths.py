"""How many paths a run has: a number, or as many as an error bar needs."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Tag, model_validator

from deleverage.config.base import Model
from deleverage.config.measure import MeasureSpec
from deleverage.config.quantities import PositiveShare, conflict, whole

TAIL_POINTS = 100
"""Paths beyond a level before its error is believed, where the config names no `at_least`."""

FEWEST = 1000
"""Paths before the error of a mean or of a probability is believed."""

Paths = Annotated[int, whole("a number of paths, at least 1", low=1, high=2**31 - 1)]


class Until(MeasureSpec):
    """The measure whose standard error, over its value, is to fall to `relative_error`."""

    relative_error: PositiveShare
    policies: Literal["all"] | tuple[str, ...] = "all"


class AdaptivePaths(Model):
    """As many paths as `until` needs, from `at_least` to `at_most`, in whole units."""

    at_most: Paths
    at_least: Paths | None = None
    until: Until

    @model_validator(mode="after")
    def _ordered(self) -> AdaptivePaths:
        if self.at_least is not None and self.at_least > self.at_most:
            raise conflict(
                f"at_least {self.at_least} with at_most {self.at_most}",
                "at_least up to at_most",
                "raise at_most or lower at_least",
            )
        return self

    @property
    def fewest(self) -> int:
        """Paths before the error is looked at."""
        until = self.until
        beyond = 1.0 if until.q is None else min(until.q, 1 - until.q)
        wanted = max(math.ceil(TAIL_POINTS / beyond - 1e-9), FEWEST)
        return min(wanted if self.at_least is None else self.at_least, self.at_most)


def _form(value: Any) -> str:
    # names in brackets, as pydantic's own "[key]", are none of the file's
    return "[rule]" if isinstance(value, dict | AdaptivePaths) else "[number]"


PathCount = Annotated[
    Annotated[Paths, Tag("[number]")] | Annotated[AdaptivePaths, Tag("[rule]")],
    Discriminator(_form),
]
