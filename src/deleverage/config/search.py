"""A search of the policies that stop most for least: levers, risk, costs and what it may spend."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from deleverage.config.base import Model
from deleverage.config.measure import MeasureSpec
from deleverage.config.policies import PolicySpec
from deleverage.config.quantities import conflict, whole
from deleverage.config.sentences import refuse
from deleverage.config.source import Key, Source
from deleverage.config.sweep import PointCount, Ranges, nested, sobol_points, written_at

Cost = Literal["open_interest_forgone", "credit_forgone", "fund_size"]


class Risk(MeasureSpec):
    """The measure that is to become low.

    Attributes:
        good: Which values of its variable are good, where the schema does not say.
    """

    good: Literal["low", "high"] | None = None

    @model_validator(mode="after")
    def _low_is_good(self) -> Risk:
        if self.tail == "lower":
            raise conflict(
                "a risk in the lower tail, where low is bad",
                "a risk of which less is better",
                "write a probability below a threshold instead",
            )
        return self


class Budget(Model):
    """What a search may spend before the policies that it found are simulated again."""

    policies: Annotated[int, whole("a number of policies, at least 1", low=1, high=2**16)]
    paths: Annotated[int, whole("a number of paths, at least 2", low=2, high=2**31 - 1)]


class Search(Model):
    """Where levers lie, what is good, and the budget.

    Attributes:
        levers: Ranges by dotted lever.
        risk: The measure that is to become low.
        costs: What a policy gives up, known before the first draw; low is good.
        budget: Policies that are tried, beside the listed ones, and the paths of each.
        sweep: How many of them are a Sobol sweep of the ranges, before refinement begins.
        seed: Of the points, not of the paths.
    """

    levers: Annotated[Ranges, Field(min_length=1)]
    risk: Risk
    costs: tuple[Cost, ...] = ("open_interest_forgone", "credit_forgone")
    budget: Budget
    sweep: PointCount
    seed: Annotated[int, whole("a whole number in [0, 2^32)", low=0, high=2**32 - 1)] = 0

    @model_validator(mode="after")
    def _fits(self) -> Search:
        if not self.costs or len(set(self.costs)) < len(self.costs):
            raise conflict(
                f"the costs [{', '.join(self.costs)}]",
                "a cost, each once",
                "write costs: [open_interest_forgone]",
            )
        if self.sweep > self.budget.policies:
            raise conflict(
                f"a sweep of {self.sweep} in a budget of {self.budget.policies} policies",
                "a sweep within the budget",
                "lower sweep or raise budget.policies",
            )
        least = len(self.levers) + 2
        if self.sweep < min(least, self.budget.policies):
            raise conflict(
                f"a sweep of {self.sweep} points over {len(self.levers)} lever(s)",
                f"at least {least} points before refinement begins",
                "raise sweep",
            )
        return self

    def first_points(self) -> list[dict[str, Any]]:
        """The sweep that it begins with, each a value for every lever."""
        return list(sobol_points(self.levers, self.sweep, self.seed))


def policies_of(points: Mapping[str, Mapping[str, Any]], source: Source) -> dict[str, PolicySpec]:
    """Points of a search as entries of the policy axis.

    Raises:
        ConfigError: A lever does not exist, or a value is not allowed.
    """
    made = {}
    part: Key = ("search", "levers")
    for label, row in points.items():
        levers = source.levers[part] = written_at({part: row}, source)
        try:
            made[label] = PolicySpec.model_validate(nested(row))
        except ValidationError as error:
            refuse(error, source, PolicySpec, levers=levers)
    return made
