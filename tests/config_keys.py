"""What the schema of a config can say, and what a config says: keys and the words they allow.

A key is `Model.field`, of the class that first has the field, so that a rule of a venue and the
lever of a policy on it are one. A word is `Model.field=word`. A model is a key of its own: two
kinds that have the same fields are two.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel

from deleverage.config.quantities import Reader


def keys_of_schema(model: type[BaseModel]) -> set[str]:
    """Every key and word that a model and the models in it have."""
    found: set[str] = set()
    left = [model]
    while left:
        one = left.pop()
        if one.__name__ in found:
            continue
        found.add(one.__name__)
        for name, (words, models) in _fields(one).items():
            key = f"{_owner(one, name)}.{name}"
            found |= {key, *(f"{key}={word}" for word in words)}
            left += models
    return found


def keys_of_value(value: BaseModel) -> set[str]:
    """The keys that are set in a model and those in it, and the words that hold, set or not."""
    found = {type(value).__name__}
    for name, (words, _) in _fields(type(value)).items():
        key = f"{_owner(type(value), name)}.{name}"
        if name in value.model_fields_set:
            found.add(key)
        for leaf in _leaves(getattr(value, name)):
            if isinstance(leaf, BaseModel):
                found |= keys_of_value(leaf)
            elif isinstance(leaf, str) and leaf in words:
                found.add(f"{key}={leaf}")
    return found


def _owner(model: type[BaseModel], name: str) -> str:
    """The class that a field is inherited from, or the model itself."""
    having = [c for c in model.__mro__ if name in getattr(c, "__annotations__", {})]
    return having[-1].__name__


def _fields(model: type[BaseModel]) -> dict[str, tuple[list[str], list[type[BaseModel]]]]:
    """The words and the models of each field."""
    fields = model.model_fields.items()
    return {name: _parts(Annotated[(one.annotation, *one.metadata, None)]) for name, one in fields}


def _parts(annotation: Any) -> tuple[list[str], list[type[BaseModel]]]:
    words: list[str] = []
    models: list[type[BaseModel]] = []
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        models.append(annotation)
    elif isinstance(annotation, Reader):
        words += annotation.words
    elif get_origin(annotation) is Literal:
        words += [word for word in get_args(annotation) if isinstance(word, str)]
    else:
        # of an Annotated type also what it is annotated with
        for part in get_args(annotation):
            more = _parts(part)
            words += more[0]
            models += more[1]
    return words, models


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        for child in value.values():
            yield from _leaves(child)
    elif isinstance(value, list | tuple):
        for child in value:
            yield from _leaves(child)
    else:
        yield value
