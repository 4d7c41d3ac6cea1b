"""What every part of a config shares: frozen models that know no other keys, and scoped values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationInfo, field_validator

from deleverage.config.quantities import refusal

T = TypeVar("T")

EVERYWHERE = "*"
"""The key of a scoped value that names no asset: it holds for all."""


class Model(BaseModel):
    """A frozen part of a config; a key that it does not know is an error."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, serialize_by_alias=True
    )


class Change(Model):
    """What a layer sets of the rules below it; a key that sets nothing is left out.

    Attributes:
        CLEARED: Keys of which null takes out what was there.
    """

    CLEARED: ClassVar[frozenset[str]] = frozenset()

    @field_validator("*", mode="before")
    @classmethod
    def _something(cls, value: Any, info: ValidationInfo) -> Any:
        if value is None and info.field_name not in cls.CLEARED:
            raise refusal(None, "a value, or no such key, which leaves it as it is", "remove it")
        return value


def _spread(value: Any) -> Any:
    return value if isinstance(value, dict) else {EVERYWHERE: value}


Scoped = Annotated[dict[str, T], BeforeValidator(_spread)]
"""A value for all, or a mapping from `ASSET` or `ASSET@VENUE` to values."""


def lookup(values: Mapping[str, T] | None, asset: str, venue: str) -> T | None:
    """The value for an asset on a venue: the most specific key that names it."""
    for key in (f"{asset}@{venue}", asset, EVERYWHERE):
        if values is not None and key in values:
            return values[key]
    return None


def laid_over(before: Mapping[str, T], after: Mapping[str, T]) -> dict[str, T]:
    """Scoped values of a later layer over those of an earlier one: what it covers is gone.

    So `ASSET` takes the place of `ASSET@VENUE`, and all assets that of both.
    """
    kept = {
        scope: value
        for scope, value in before.items()
        if not {EVERYWHERE, scope.partition("@")[0]} & after.keys()
    }
    return kept | dict(after)
