"""Values with units in the text: `30s`, `2h`, `15%`, `25bps`, `350M`.

A type of this module is used in a model's annotations. It reads text or a plain number, holds a
float (durations in minutes, money in USD, shares as fractions) and writes back what it can read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import PydanticCustomError, core_schema

NEVER = 1e30
"""Stands for no half-life, no band and no cap; finite also in float32."""

INFINITE_USD = 1e18
"""Depth of a book without impact: `world.INFINITE_DEPTH` in USD."""

_NUMBER = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*([A-Za-z%]*)\s*")
_TIME = {"s": 1 / 60, "m": 1.0, "min": 1.0, "h": 60.0, "d": 1440.0}
_MONEY = {"": 1.0, "k": 1e3, "M": 1e6, "bn": 1e9, "B": 1e9}
_SHARE = {"": 1.0, "%": 1e-2, "bps": 1e-4}


def refusal(came: object, allowed: str, advice: str) -> PydanticCustomError:
    """The error of a value, in the three parts that a config error's sentence needs."""
    text = "nothing" if came is None else repr(came)
    return conflict(f"{text} came", allowed, advice)


def conflict(came: str, allowed: str, advice: str) -> PydanticCustomError:
    """The error of values that do not go together; `came` is a phrase."""
    return PydanticCustomError(
        "config", "{came}", {"came": came, "allowed": allowed, "advice": advice}
    )


def _amount(value: Any, units: Mapping[str, float]) -> float | None:
    """The number that text or a number stands for, None where it stands for none."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        unitless = "" in units or value == 0
        return float(value) if unitless and math.isfinite(value) else None
    match = _NUMBER.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return None
    number = float(match[1])
    if match[2] not in units and not (match[2] == "" and number == 0):
        return None
    # Dividing keeps decimal text exact where multiplying by 0.01 would not: 15% is 0.15.
    scale = units.get(match[2], 1.0)
    result = number * scale if scale >= 1 else number / round(1 / scale)
    return result if math.isfinite(result) else None


@dataclass(frozen=True)
class Reader:
    """Metadata of an annotated type: how its values are read, and written as JSON."""

    read: Callable[[Any], Any]
    write: Callable[[Any], Any]
    words: tuple[str, ...] = ()  # all that it reads, where these are a few

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        """Pydantic's hook: read first, then pydantic's own check of the type."""
        return core_schema.no_info_before_validator_function(
            self.read,
            handler(source),
            serialization=core_schema.plain_serializer_function_ser_schema(
                self.write, when_used="json"
            ),
        )

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Pydantic's hook: an editor is told the words."""
        found = handler(schema)
        return found | {"enum": list(self.words)} if self.words else found


def quantity(
    units: Mapping[str, float],
    what: str,
    advice: str,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    open_low: bool = False,
    words: Mapping[str, float] | None = None,
    write: Callable[[float], Any] = float,
) -> Reader:
    """A float: units it reads, range it accepts, words that stand for a number."""
    words = words or {}
    names = {number: word for word, number in words.items()}

    def read(value: Any) -> float:
        if isinstance(value, str) and value.strip() in words:
            return words[value.strip()]
        number = _amount(value, units)
        inside = number is not None and (low < number if open_low else low <= number)
        if number is None or not inside or number > high:
            raise refusal(value, what, advice)
        return number

    def dump(value: float) -> Any:
        return names[value] if value in names else write(value)

    return Reader(read, dump)


def whole(what: str, *, low: int, high: int) -> Reader:
    """A whole number from `low` to `high`, both allowed."""

    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise refusal(value, what, f"give a whole number from {low} to {high}")
        return value

    return Reader(read, int)


def choice(*words: str) -> Reader:
    """One of a few words."""
    listed = ", ".join(f"`{word}`" for word in words)

    def read(value: Any) -> str:
        if value not in words:
            raise refusal(value, f"one of {listed}", "choose one of them")
        return value

    return Reader(read, str, words)


def _number(what: str, *, low: float = -math.inf, open_low: bool = False) -> Reader:
    return quantity({"": 1.0}, what, "give a number", low=low, open_low=open_low)


def _minutes(value: float) -> str:
    return f"{value!r}m"


_DURATION = "a duration with its unit (s, m, h or d)"
_AMOUNT = "an amount of USD, with k, M or bn"
_FRACTION = "a share in [0, 1], as a fraction, in % or in bps"

Duration = Annotated[
    float, quantity(_TIME, f"{_DURATION}, at least 0", "write 30s or 2h", low=0.0, write=_minutes)
]
PositiveDuration = Annotated[
    float,
    quantity(
        _TIME, f"{_DURATION}, above 0", "write 30s or 2h", low=0.0, open_low=True, write=_minutes
    ),
]
HalfLife = Annotated[
    float,
    quantity(
        _TIME,
        f"{_DURATION}, above 0, or `none`",
        "write 90s, or none to switch it off",
        low=0.0,
        open_low=True,
        words={"none": NEVER},
        write=_minutes,
    ),
]
Smoothing = Annotated[
    float,
    quantity(
        _TIME,
        f"{_DURATION}, or `none`",
        "write 90s, or none for no smoothing",
        low=0.0,
        words={"none": 0.0},
        write=_minutes,
    ),
]
Band = Annotated[
    float,
    quantity(
        _SHARE,
        "a share above 0, as a fraction, in % or in bps, or `none`",
        "write 3%, or none for no clamp",
        low=0.0,
        open_low=True,
        words={"none": NEVER},
    ),
]
Share = Annotated[float, quantity(_SHARE, _FRACTION, "write 15% or 0.15", low=0.0, high=1.0)]
PositiveShare = Annotated[
    float,
    quantity(
        _SHARE,
        "a share in (0, 1], as a fraction, in % or in bps",
        "write 15% or 0.15",
        low=0.0,
        high=1.0,
        open_low=True,
    ),
]
Ratio = Annotated[
    float, quantity(_SHARE, "a fraction, in % or in bps, at least 0", "write 80% or 0.8", low=0.0)
]
PositiveRatio = Annotated[
    float,
    quantity(
        _SHARE,
        "a fraction, in % or in bps, above 0",
        "write 80% or 0.8",
        low=0.0,
        open_low=True,
    ),
]
SignedRatio = Annotated[
    float, quantity(_SHARE, "a fraction, in % or in bps, of either sign", "write -5% or -0.05")
]
Money = Annotated[float, quantity(_MONEY, f"{_AMOUNT}, at least 0", "write 350M or 1.2bn", low=0.0)]
PositiveMoney = Annotated[
    float, quantity(_MONEY, f"{_AMOUNT}, above 0", "write 350M or 1.2bn", low=0.0, open_low=True)
]
MoneyOrNone = Annotated[
    float,
    quantity(
        _MONEY,
        f"{_AMOUNT}, above 0, or `none`",
        "write 350M, or none for no limit",
        low=0.0,
        open_low=True,
        words={"none": NEVER},
    ),
]
MATCH = -1.0
"""Stands for the open interest that a perp's other books leave unmatched."""

OpenInterest = Annotated[
    float,
    quantity(
        _MONEY,
        f"{_AMOUNT}, above 0, or `match`",
        "write 350M, or match for what the perp lacks",
        low=0.0,
        open_low=True,
        words={"match": MATCH},
    ),
]
Depth = Annotated[
    float,
    quantity(
        _MONEY,
        f"{_AMOUNT}, above 0, or `infinite`",
        "write 2.5bn, or infinite for a book without impact",
        low=0.0,
        open_low=True,
        words={"infinite": INFINITE_USD},
    ),
]
Positive = Annotated[float, _number("a number above 0", low=0.0, open_low=True)]
NonNegative = Annotated[float, _number("a number, at least 0", low=0.0)]
AtLeastOne = Annotated[float, _number("a number, at least 1", low=1.0)]
Real = Annotated[float, _number("a number")]
