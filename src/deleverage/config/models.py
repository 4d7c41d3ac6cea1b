"""The whole config."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    PlainSerializer,
    PrivateAttr,
    ValidationError,
    model_validator,
)

from deleverage.config.attribution import Attribution, coalitions
from deleverage.config.base import Model
from deleverage.config.paths import AdaptivePaths, PathCount, Paths
from deleverage.config.policies import PolicySpec
from deleverage.config.quantities import PositiveDuration, choice, conflict, refusal, whole
from deleverage.config.sampling import PlainSampling, Sampling
from deleverage.config.scenario import Scenario
from deleverage.config.search import Search, policies_of
from deleverage.config.sentences import refuse
from deleverage.config.source import Key, Source, lay_over
from deleverage.config.sweep import Sweep, expand
from deleverage.config.timeline import TimelineSpec, switch


def _utc(value: Any) -> datetime:
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise refusal(value, "an ISO date and time in UTC", "write 2025-10-10T20:50Z") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.astimezone(UTC)


Moment = Annotated[
    datetime,
    BeforeValidator(_utc),
    PlainSerializer(lambda value: value.strftime("%Y-%m-%dT%H:%M:%SZ"), when_used="json"),
]


Steps = Annotated[int, whole("a number of steps", low=1, high=1_000_000)]
Seed = Annotated[int, whole("a whole number in [0, 2^32)", low=0, high=2**32 - 1)]
Dtype = Annotated[str, choice("float32", "float64")]


class Time(Model):
    """The clock of a path."""

    start: Moment
    step: PositiveDuration = 0.5
    steps: Steps = 240
    draw_step: PositiveDuration | None = None  # the Brownian grid; None: `step`
    window: PositiveDuration = 10.0  # of `peak_window_share`

    @model_validator(mode="after")
    def _multiple(self) -> Time:
        ratio = self.step / (self.draw_step or self.step)
        if ratio < 1 - 1e-9 or abs(ratio - round(ratio)) > 1e-9 * ratio:
            raise conflict(
                f"step {self.step:g}m on draw_step {self.draw_step:g}m",
                "a step that is a multiple of draw_step",
                "make draw_step divide step",
            )
        return self


class Results(Model):
    """What is stored: names, or `default` (variables) and `all`."""

    variables: Literal["default", "all"] | tuple[str, ...] = "default"
    markets: Literal["all"] | tuple[str, ...] = "all"
    timeline: Annotated[TimelineSpec | None, BeforeValidator(switch)] = None


class Engine(Model):
    """Sizes of the compiled program and of a unit of the sweep."""

    tile_paths: Paths | None = None  # None: 128 to 512 on a CPU, else what the memory holds
    unit_paths: Paths | None = None
    driver: Literal["auto", "scan", "fused"] = "auto"  # auto: scan, until a GPU has been measured


class Config(Model):
    """A question: a scenario, the policies put to it, and how it is sampled."""

    name: str
    seed: Seed
    paths: PathCount
    dtype: Dtype = "float32"
    time: Time
    scenario: Scenario
    policies: dict[str, PolicySpec]
    sweep: Sweep | None = None
    attribution: Attribution | None = None
    search: Search | None = None
    sampling: Sampling = PlainSampling()
    results: Results = Results()
    engine: Engine = Engine()

    _source: Source = PrivateAttr(default_factory=lambda: Source({}))
    _tried: frozenset[str] = PrivateAttr(default_factory=frozenset)  # labels of a search's points

    @model_validator(mode="after")
    def _one_axis(self) -> Config:
        if self.search is not None and (self.sweep or self.attribution):
            raise conflict(
                f"a search beside {'a sweep' if self.sweep else 'an attribution'}",
                "one of them, as a search makes the policies that it tries",
                "remove one of the two",
            )
        return self

    @property
    def source(self) -> Source:
        """The raw values and where each was written."""
        return self._source

    @property
    def adaptive(self) -> AdaptivePaths | None:
        """How the number of paths follows from an error; None where it is a number."""
        return self.paths if isinstance(self.paths, AdaptivePaths) else None

    @property
    def most_paths(self) -> int:
        """The number of paths, or the most that there may be."""
        return self.paths.at_most if isinstance(self.paths, AdaptivePaths) else self.paths

    @cached_property
    def entries(self) -> Mapping[str, PolicySpec]:
        """The policy axis: the listed policies, combinations of causes, the sweep's products."""
        entries = dict(self.policies)
        entries.update(self._coalitions)
        if self.sweep is not None:
            entries.update(expand(self.sweep, entries, self._source))
        return entries

    @cached_property
    def _coalitions(self) -> Mapping[str, PolicySpec]:
        if self.attribution is None:
            return {}
        return coalitions(self.attribution, self.policies, self._source)

    def key_of(self, label: str) -> Key:
        """Where an entry of the policy axis was written."""
        if label in self._tried:
            return ("search", "levers")
        if label in self.policies:
            return ("policies", label)
        if label in self._coalitions:
            return ("attribution", "causes")
        return ("sweep",)

    def is_combination(self, label: str) -> bool:
        """Whether an entry combines causes of an attribution, of which one may idle another."""
        return label not in self.policies and label in self._coalitions

    def under(self, label: str) -> Config:
        """The config with the scenario of an entry: its overrides laid over the config's.

        Raises:
            ConfigError: An override is not one of a scenario, or changes nothing.
        """
        return self._variants.get(label, self)

    @cached_property
    def _variants(self) -> dict[str, Config]:
        """The configs of the entries that override the scenario."""
        variants = {}
        for label, entry in self.entries.items():
            margin, factors = entry.leverage.margin, entry.scenario.depth_factor
            if not entry.scenario.parts and margin is None and factors is None:
                continue
            written = self.scenario.model_dump(mode="json", exclude_unset=True)
            key = self.key_of(label)
            # of the scenario's file, not of one that an override names
            (written.get("shocks", {}).get("replay") or {}).pop("sha256", None)
            try:
                scenario = Scenario.model_validate(lay_over(written, entry.scenario.parts))
            except ValidationError as error:
                levers = self._source.levers.get(key)
                prefix = (*key, "scenario")
                refuse(error, self._source, Scenario, prefix, levers, within=("scenario",))
            is_listed = key[0] in ("policies", "attribution")  # else it is a point among others
            kinds = [margin] if is_listed else ["cross", "isolated"]
            if margin is not None and all(scenario.under_margin(k) == scenario for k in kinds):
                self._source.refuse(
                    (*key, "leverage", "margin"),
                    f"{margin} margin where no book of several perps has another",
                    "cross or isolated, other than what such a book has",
                    "remove it",
                )
            scenario = scenario.under_margin(margin).with_depths(factors)
            if scenario == self.scenario and (factors is not None or not is_listed):
                continue  # such as a factor of 1
            if scenario == self.scenario:
                self._source.refuse(
                    (*key, "scenario"),
                    "an override that leaves the scenario as it is",
                    "values that differ from the scenario's",
                    "remove it or change a value",
                )
            variant = self.model_copy(update={"scenario": scenario})
            variant._source = replace(self._source, prefix=key)
            variants[label] = variant
        return variants

    def trying(
        self, points: Mapping[str, Mapping[str, Any]], name: str, paths: PathCount, seed: int
    ) -> Config:
        """The run of a search that puts points to the scenario, beside the listed policies.

        Args:
            points: By label, a value for every lever, as written.
            name: Name of the run.
            paths: Its paths, or the rule that decides on them.
            seed: Its seed.

        Raises:
            ConfigError: A lever does not exist, or a value is not allowed.
        """
        policies = self.policies | policies_of(points, self._source)
        own = {"policies": policies, "name": name, "paths": paths, "seed": seed, "search": None}
        made = self.model_copy(update=own)
        for cached in ("entries", "_coalitions", "_variants"):
            made.__dict__.pop(cached, None)
        made._tried = frozenset(points)
        return made

    def resolved_yaml(self) -> str:
        """The config with its includes, overrides and defaults written out; it can be loaded."""
        from ruamel.yaml import YAML

        yaml = YAML(typ="safe", pure=True)
        yaml.default_flow_style = False
        yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
        yaml.width = 100
        values = self.model_dump(mode="json", exclude_none=True)
        _keep_nulls(values, self.model_dump(mode="json", exclude_unset=True))
        listed = {name: _plain(entry) for name, entry in self.policies.items()}
        text = io.StringIO()
        yaml.dump(values | {"policies": listed}, text)
        return text.getvalue()

    def identity(self) -> dict[str, Any]:
        """What a run directory stands for: all but the number of paths and the other policies."""
        axis = {"paths", "policies", "sweep", "attribution", "search"}
        values = self.model_dump(mode="json", exclude=axis)
        # a series is what it says, wherever it lies
        (values["scenario"]["shocks"]["replay"] or {}).pop("file", None)
        return values | {"baseline": _plain(self.policies["baseline"])}

    def policy_hashes(self) -> dict[str, str]:
        """A hash of each entry of the policy axis, by its label."""
        return {label: _digest(self._canonical(label)) for label in self.entries}

    def _canonical(self, label: str) -> dict[str, Any]:
        """What an entry stands for, however its override of the scenario is written."""
        values = _plain(self.entries[label])
        variant = self.under(label)
        if variant is not self:
            scenario = variant.scenario.model_dump(mode="json")
            (scenario["shocks"]["replay"] or {}).pop("file", None)
            values["scenario"] = {"is": scenario}
        return values


def _keep_nulls(values: dict[str, Any], said: Mapping[str, Any]) -> None:
    """Write out the nulls that were said, which may take out what a preset has."""
    for name, value in said.items():
        if value is None:
            values[name] = None
        elif isinstance(value, dict) and isinstance(values.get(name), dict):
            _keep_nulls(values[name], value)


def _plain(entry: PolicySpec) -> dict[str, Any]:
    """What an entry says, null included, which takes out what the scenario has."""
    return entry.model_dump(mode="json", exclude_unset=True)


def _digest(values: Any) -> str:
    text = json.dumps(values, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
