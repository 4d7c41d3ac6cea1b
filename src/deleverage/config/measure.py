"""A measure of one stored variable, as a config names it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AllowInfNan, Field, model_validator

from deleverage.config.base import Model
from deleverage.config.quantities import Share, conflict

_USED = {
    "quantile": ("q",),
    "expected_shortfall": ("q", "tail"),
    "probability": ("above", "below"),
}


class MeasureSpec(Model):
    """A measure over paths of a variable; dims that no label of `selection` fixes are summed."""

    variable: str
    measure: Literal["mean", "quantile", "expected_shortfall", "probability"] = "mean"
    q: Share | None = None
    tail: Literal["upper", "lower"] = "upper"
    above: Annotated[float, AllowInfNan(False)] | None = None
    below: Annotated[float, AllowInfNan(False)] | None = None
    selection: dict[str, str | float] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _complete(self) -> MeasureSpec:
        if self.measure in ("quantile", "expected_shortfall") and not 0 < (self.q or 0) < 1:
            raise conflict(f"q {self.q}", "a level between 0 and 1", f"add q to {self.measure}")
        if self.measure == "probability" and (self.above is None) == (self.below is None):
            raise conflict(
                "a probability without one threshold", "above or below", "write above: 0"
            )
        used = _USED.get(self.measure, ())
        given = {"q": self.q, "above": self.above, "below": self.below}
        idle = [name for name, value in given.items() if value is not None and name not in used]
        idle += ["tail"] if self.tail != "upper" and "tail" not in used else []
        if idle:
            raise conflict(
                f"{idle[0]} beside `{self.measure}`",
                f"{self.measure} with {' or '.join(used) or 'none of q, tail, above and below'}",
                f"remove {idle[0]}, or name another measure",
            )
        return self
