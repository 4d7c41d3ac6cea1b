"""Sweeps: entries of the policy axis made from lists, or ranges, of lever values.

`grid` takes all products, `zip` reads lists side by side, `sobol` spreads points over ranges. Given
together they multiply: every product of the grid with every row of the lists with every point.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainSerializer, ValidationError, model_validator

from deleverage.config.base import Model
from deleverage.config.policies import PolicySpec
from deleverage.config.quantities import conflict, refusal, whole
from deleverage.config.sentences import refuse
from deleverage.config.shocks import SERIES
from deleverage.config.source import Key, Source, merge

_END = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*([A-Za-z%]*)")
DIGITS = 4
"""Significant digits of a Sobol point; what the label shows is what is simulated."""


def dotted_levers(value: Any) -> Any:
    """Nested levers as dotted ones, so that `--set sweep.grid.a.b=[1, 2]` reaches them."""
    if not isinstance(value, dict):
        return value
    flat: dict[str, Any] = {}
    for name, child in value.items():
        inner = dotted_levers(child) if isinstance(child, dict) else None
        within = {"": child} if inner is None else inner
        flat.update({f"{name}.{rest}" if rest else name: one for rest, one in within.items()})
    return flat


Lists = Annotated[dict[str, tuple[Any, ...]], BeforeValidator(dotted_levers)]


class Range(Model):
    """Where a lever lies: two ends in one unit."""

    low: float
    high: float
    unit: str

    def at(self, share: float) -> Any:
        """The value at a share of the way from low to high, as one would write it."""
        rounded = float(f"{self.low + share * (self.high - self.low):.{DIGITS}g}")
        return f"{rounded:g}{self.unit}" if self.unit else rounded

    def share_of(self, written: Any) -> float:
        """How far along a written value lies: 0 at low, 1 at high."""
        number = float(str(written).removesuffix(self.unit))
        return (number - self.low) / (self.high - self.low)


def _range(value: Any) -> Any:
    ends = [_END.fullmatch(str(end).strip()) for end in value] if _is_pair(value) else [None]
    if None in ends:
        raise refusal(value, "two numbers, `[low, high]`", "write [0, 20%]")
    numbers = [(float(end[1]), end[2]) for end in ends if end is not None]
    units = {unit for number, unit in numbers if number != 0 or unit}
    (low, _), (high, _) = numbers
    if len(units) > 1 or low >= high:
        raise refusal(
            value, "a low end below the high one, in one unit", "write both in the same unit"
        )
    return {"low": low, "high": high, "unit": units.pop() if units else ""}


def _is_pair(value: Any) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) == 2
        and not any(isinstance(end, bool) for end in value)
    )


def _ends(span: Range) -> list[Any]:
    return [f"{end!r}{span.unit}" if span.unit else end for end in (span.low, span.high)]


Span = Annotated[Range, BeforeValidator(_range), PlainSerializer(_ends, when_used="json")]


def _point_count(value: Any) -> Any:
    whole_number = isinstance(value, int) and not isinstance(value, bool)
    if not whole_number or value < 1 or value & (value - 1) or value > 2**16:
        raise refusal(
            value, "a power of two up to 65536, for which points are balanced", "write 16"
        )
    return value


Ranges = Annotated[dict[str, Span], BeforeValidator(dotted_levers)]
PointCount = Annotated[int, BeforeValidator(_point_count)]


class Sobol(Model):
    """Scrambled Sobol points; twice the count keeps the points of the half."""

    ranges: Ranges
    count: PointCount
    seed: Annotated[int, whole("a whole number in [0, 2^32)", low=0, high=2**32 - 1)] = 0

    def rows(self) -> Iterator[dict[str, Any]]:
        """The points, each a value for every lever."""
        return sobol_points(self.ranges, self.count, self.seed)


def sobol_points(ranges: Mapping[str, Range], count: int, seed: int) -> Iterator[dict[str, Any]]:
    """Scrambled Sobol points of some ranges, a power of two of them, as one would write them."""
    from scipy.stats import qmc

    sampler = qmc.Sobol(len(ranges), scramble=True, rng=seed)
    for point in sampler.random_base2(count.bit_length() - 1).tolist():
        yield {
            lever: span.at(share)
            for (lever, span), share in zip(ranges.items(), point, strict=True)
        }


class Sweep(Model):
    """Entries made from levers, each on top of the scenario's rules."""

    grid: Lists = Field(default_factory=dict)
    zip: Lists = Field(default_factory=dict)
    sobol: Sobol | None = None

    @model_validator(mode="after")
    def _fits(self) -> Sweep:
        levers = [*self.grid, *self.zip, *(self.sobol.ranges if self.sobol else ())]
        if not levers:
            raise conflict("no lever", "a grid, a zip or a sobol with levers", "name a lever")
        twice = next((lever for lever in levers if levers.count(lever) > 1), None)
        if twice is not None:
            raise conflict(
                f"the lever '{twice}' twice", "each lever in one of them", "remove one of the two"
            )
        for lever, values in (self.grid | self.zip).items():
            if not values:
                raise conflict(f"no value for '{lever}'", "lists with a value", "add one")
        lengths = {lever: len(values) for lever, values in self.zip.items()}
        if len(set(lengths.values())) > 1:
            came = ", ".join(f"{count} of '{lever}'" for lever, count in lengths.items())
            raise conflict(
                f"a zip of {came}",
                "lists of one length",
                "make the lists equally long, or use grid",
            )
        return self

    def rows(self) -> Iterator[dict[str, Any]]:
        """The entries, each a value for every lever."""
        products = itertools.product(*self.grid.values())
        side_by_side = zip(*self.zip.values(), strict=True) if self.zip else [()]
        points = self.sobol.rows() if self.sobol is not None else [{}]
        for product, row, point in itertools.product(products, side_by_side, points):
            listed = zip([*self.grid, *self.zip], [*product, *row], strict=True)
            yield dict(listed) | point


def expand(sweep: Sweep, listed: Mapping[str, PolicySpec], source: Source) -> dict[str, PolicySpec]:
    """The entries of a sweep: grid slowest, then zip, then sobol; the last lever fastest.

    Raises:
        ConfigError: a lever does not exist, a value is not allowed, or a label is taken.
    """
    made: dict[str, PolicySpec] = {}
    rows = list(sweep.rows())
    levers = source.levers["sweep",] = keys_of(sweep, source)
    whole = len({label_of(row) for row in rows}) < len(rows)  # files of one name
    for row in rows:
        label = label_of(row, whole)
        if label in listed or label in made:
            came = f"the entry '{label}' exists already"
            source.refuse(("sweep",), came, "each entry once", "remove one of the two")
        try:
            made[label] = PolicySpec.model_validate(nested(row))
        except ValidationError as error:
            refuse(error, source, PolicySpec, levers=levers)
    return made


def keys_of(sweep: Sweep, source: Source) -> dict[str, Key]:
    """The key path of each lever of a sweep, as it was written: in one piece or nested."""
    parts: dict[Key, Iterable[str]] = {("sweep", "grid"): sweep.grid, ("sweep", "zip"): sweep.zip}
    if sweep.sobol is not None:
        parts["sweep", "sobol", "ranges"] = sweep.sobol.ranges
    return written_at(parts, source)


def written_at(parts: Mapping[Key, Iterable[str]], source: Source) -> dict[str, Key]:
    """The key path of each lever, by the part of the config that lists it."""
    return {
        lever: (*part, lever) if (*part, lever) in source.places else (*part, *lever.split("."))
        for part, levers in parts.items()
        for lever in levers
    }


def label_of(row: Mapping[str, Any], whole: bool = False) -> str:
    """The label of an entry that is made from levers, with the names of files or all of a path."""
    return ",".join(f"{lever}={_shown(value, lever, whole)}" for lever, value in row.items())


def _shown(value: Any, lever: str, whole: bool) -> str:
    """A value as a label shows it: as written, mappings and lists without quotes or spaces."""
    if isinstance(value, dict):
        parts = (f"{name}:{_shown(v, f'{lever}.{name}', whole)}" for name, v in value.items())
        return "{" + " ".join(parts) + "}"
    if isinstance(value, list | tuple):
        return "[" + " ".join(_shown(one, lever, whole) for one in value) + "]"
    if isinstance(value, str) and lever.endswith(f".{SERIES}") and not whole:
        return Path(value).name
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


def nested(levers: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted levers as nested mappings."""
    values: dict[str, Any] = {}
    for lever, value in levers.items():
        one = value
        for part in reversed(lever.split(".")):
            one = {part: one}
        values = merge(values, one)
    return values
