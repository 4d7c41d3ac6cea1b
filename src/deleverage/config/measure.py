"""A measure of one stored variable, as a config names it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from deleverage.config.base import Model
from deleverage.config.quantities import Share, conflict


class MeasureSpec(Model):
    """A measure over paths of a variable; dims that no label of `selection` fixes are summed."""

    variable: str
    measure: Literal["mean", "quantile", "expected_shortfall", "probability"] = "mean"
    q: Share | None = None
    tail: Literal["upper", "lower"] = "upper"
    above: float | None = None
    below: float | None = None
    selection: dict[str, str | float] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _complete(self) -> MeasureSpec:
        if self.measure in ("quantile", "expected_shortfall") and not 0 < (self.q or 0) < 1:
            raise conflict(f"q {self.q}", "a level between 0 and 1", f"add q to {self.measure}")
        if self.measure == "probability" and (self.above is None) == (self.below is None):
            raise conflict(
                "a probability without one threshold", "above or below", "write above: 0"
            )
        return self
