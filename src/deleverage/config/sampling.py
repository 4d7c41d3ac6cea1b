"""How paths are drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from deleverage.config.base import Model
from deleverage.config.paths import AdaptivePaths
from deleverage.config.quantities import conflict, quantity, whole

if TYPE_CHECKING:
    from deleverage.config.models import Config

BLOCKS = {"plain": 1, "antithetic": 2, "stratified": 1024, "sobol": 1024, "importance": 1}
"""Paths that are drawn together, by kind; blocks are independent of each other. Those of splitting
follow from its levels, see `SplittingSampling.block`."""

LEAST_BLOCKS = 2
"""Fewer blocks of paths have no error."""


class PlainSampling(Model):
    """Each path by itself."""

    kind: Literal["plain"] = "plain"


class AntitheticSampling(Model):
    """Pairs of paths that mirror each other in every draw."""

    kind: Literal["antithetic"]


class StratifiedSampling(Model):
    """One severity from each of 1,024 strata of equal probability."""

    kind: Literal["stratified"]


class SobolSampling(Model):
    """Scrambled Sobol points of 1,024 paths, for the draws that matter most."""

    kind: Literal["sobol"]


Shift = Annotated[
    float,
    quantity(
        {"": 1.0},
        "a shift of the severity's normal score in (0, 6], in standard deviations",
        "write 2 to sample the worst 2% of severities as often as the milder ones",
        low=0.0,
        high=6.0,
        open_low=True,
    ),
]
PlainShare = Annotated[
    float,
    quantity({"": 1.0, "%": 1e-2}, "a share in [0, 0.9]", "write 10%", low=0.0, high=0.9),
]


class ImportanceSampling(Model):
    """Bad severities more often than they come, each path with the weight that undoes it."""

    kind: Literal["importance"]
    shift: Shift
    plain_share: PlainShare = 0.1  # of paths without the shift, which bounds weights by its inverse


SplitShare = Annotated[
    float,
    quantity({"": 1.0, "%": 1e-2}, "a share in [1%, 50%]", "write 10%", low=0.01, high=0.5),
]


class SplittingSampling(Model):
    """Populations of paths ever further into one tail of an outcome (multilevel splitting).

    Attributes:
        variable: The outcome, or `severity`.
        selection: Labels of its further dimensions; those that none fixes are summed.
        tail: Which side is rare.
        policy: Under which the outcome is looked at.
        levels: Thresholds, and so populations beside the plain one.
        share: Of a population that is to lie beyond the next threshold.
        paths_per_level: Paths of a population.
    """

    kind: Literal["splitting"]
    variable: str
    selection: dict[str, str | float] = Field(default_factory=dict)
    tail: Literal["upper", "lower"] = "upper"
    policy: str = "baseline"
    levels: Annotated[int, whole("a number of levels", low=1, high=12)]
    share: SplitShare = 0.1
    paths_per_level: Annotated[int, whole("a number of paths", low=4, high=2**20)] = 320

    @model_validator(mode="after")
    def _whole(self) -> SplittingSampling:
        if abs(self.moves * self.share - 1) > 1e-9:
            raise conflict(
                f"a share of {self.share:g}",
                "one over a whole number, as each path beyond a threshold is moved so many times",
                f"write share: {1 / self.moves:g}",
            )
        if self.paths_per_level % self.moves or self.chains < 2:
            nearest = max(-(-self.paths_per_level // self.moves), 2) * self.moves
            raise conflict(
                f"{self.paths_per_level} paths_per_level of which {self.share:g} are to lie beyond",
                f"a multiple of {self.moves}, at least {2 * self.moves}",
                f"write paths_per_level: {nearest}",
            )
        return self

    @property
    def moves(self) -> int:
        """How many times each parent moves."""
        return round(1 / self.share)

    @property
    def chains(self) -> int:
        """Parents of a population."""
        return self.paths_per_level // self.moves

    @property
    def block(self) -> int:
        """Paths of all populations together: a replicate."""
        return self.paths_per_level * (self.levels + 1)


Sampling = Annotated[
    PlainSampling
    | AntitheticSampling
    | StratifiedSampling
    | SobolSampling
    | ImportanceSampling
    | SplittingSampling,
    Field(discriminator="kind"),
]


def block_of(sampling: Any) -> int:
    """Paths that are drawn together."""
    return sampling.block if sampling.kind == "splitting" else BLOCKS[sampling.kind]


def check_sampling(config: Config) -> None:
    """Refuse a scheme that the number of paths, the severity or the timeline does not allow.

    Raises:
        ConfigError: the first such place.
    """
    sampling, refuse = config.sampling, config.source.refuse
    severity = config.scenario.shocks.macro.severity
    if sampling.kind in ("stratified", "importance") and severity.kind == "fixed":
        refuse(
            ("sampling", "kind"),
            f"{sampling.kind} sampling of a severity that is the same on every path",
            "a severity with a law, or another kind of sampling",
            "give scenario.shocks.macro.severity a law, or write plain, antithetic or sobol",
        )
    if sampling.kind != "plain" and config.results.timeline is not None:
        refuse(
            ("results", "timeline"),
            f"a timeline under {sampling.kind} sampling",
            "a timeline of plain paths: its histograms count paths, and neither weigh them nor "
            "tell their blocks apart",
            "leave the timeline out, or write `sampling: {kind: plain}`",
        )
    if sampling.kind == "splitting" and sampling.policy not in config.entries:
        refuse(
            ("sampling", "policy"),
            f"the policy '{sampling.policy}' is unknown",
            ", ".join(config.entries),
            "name the one under which the outcome is to be rare",
        )
    if block_of(sampling) > 1 and config.search is not None:
        refuse(
            ("sampling", "kind"),
            f"a search under {sampling.kind} sampling",
            "plain or importance sampling, as a search spends its paths in any number",
            "write `sampling: {kind: plain}`",
        )
    require_blocks(config)


def require_blocks(config: Config) -> None:
    """Refuse a number of paths that is not whole blocks, or too few to have an error.

    Raises:
        ConfigError: It is.
    """
    sampling, paths = config.sampling, config.paths
    block = block_of(sampling)
    if block == 1:
        return
    if isinstance(paths, AdaptivePaths):
        config.source.refuse(
            ("paths",),
            f"a rule for the number of paths under {sampling.kind} sampling",
            "a number of paths, as they are drawn in blocks",
            f"write a multiple of {block}, or take plain or importance sampling",
        )
    if paths % block or paths < LEAST_BLOCKS * block:
        nearest = max(-(-paths // block), LEAST_BLOCKS) * block
        config.source.refuse(
            ("paths",),
            f"{paths} paths under {sampling.kind} sampling",
            f"multiples of {block}, at least {LEAST_BLOCKS * block}: paths are drawn in blocks, "
            "and errors come from how blocks differ",
            f"write {nearest}",
        )
