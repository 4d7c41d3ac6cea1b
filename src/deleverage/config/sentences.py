"""What pydantic found, as the one sentence a user reads."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, NoReturn

from pydantic import ValidationError

from deleverage.config.source import Key, Source

_TYPES = {
    "bool_type": ("true or false", "write true or false"),
    "bool_parsing": ("true or false", "write true or false"),
    "string_type": ("text", "write a name"),
    "dict_type": ("a mapping of keys to values", "indent `key: value` lines below it"),
    "model_type": ("a mapping of keys to values", "indent `key: value` lines below it"),
    "model_attributes_type": ("a mapping of keys to values", "write `key: value` lines below it"),
    "tuple_type": ("a list", "write [a, b]"),
    "list_type": ("a list", "write [a, b]"),
    "missing": ("a value", "add the key"),
    "too_short": ("at least one entry", "add one"),
}
_MISSING = {
    "anchor": (
        "an anchor for every pegged asset",
        "name the asset that its issuer redeems it for, such as `anchor: USDT`",
    ),
    "baseline": ("a policy `baseline`", "add `baseline: {}` under policies"),
}


def refuse(
    error: ValidationError,
    source: Source,
    root: type,
    prefix: Key = (),
    levers: Mapping[str, Key] | None = None,
    within: Key = (),
) -> NoReturn:
    """Raise the ConfigError of the first thing that pydantic found.

    Args:
        error: What pydantic says.
        source: The raw values and their places.
        root: The model that was read.
        prefix: Key path of that model's values.
        levers: Dotted levers that an entry was made from, and where each was written.
        within: Where that model stands in the entry.

    Raises:
        ConfigError: always.
    """
    # An unknown key explains a missing one, so it comes first; branches of a union come in turn.
    found = sorted(error.errors(), key=lambda item: item["type"] != "extra_forbidden")[0]
    if levers:
        key = _lever_key(levers, (*within, *found["loc"]))
    else:
        tag = ("kind",) if found["type"] == "union_tag_invalid" else ()
        key = source.trim((*prefix, *found["loc"], *tag))
    came, allowed, advice = _explain(found, root)
    source.refuse(key, came, allowed, advice)


def _lever_key(levers: Mapping[str, Key], loc: tuple) -> Key:
    path = [str(part) for part in loc]
    fits = [lever for lever in levers if path[: len(lever.split("."))] == lever.split(".")]
    shared = sorted(levers, key=lambda lever: -len(set(lever.split(".")) & set(path)))
    return levers[(fits or shared)[0]]


def _explain(found: Any, root: type) -> tuple[str, str, str]:
    kind, context = found["type"], found.get("ctx", {})
    name = str(found["loc"][-1]) if found["loc"] else ""
    came = "nothing" if found["input"] is None else repr(found["input"])
    if kind == "config":
        return context["came"], context["allowed"], context["advice"]
    if kind == "extra_forbidden":
        return _unknown(name, found["loc"], root)
    if kind == "missing" and name in _MISSING:
        allowed, advice = _MISSING[name]
        return f"`{name}` is missing", allowed, advice
    if kind == "missing":
        return f"`{name}` is missing", "a value for it", f"add `{name}:`"
    if kind == "union_tag_not_found":
        return "`kind` is missing", "a mapping with its `kind`", "add `kind:`"
    if kind == "union_tag_invalid":
        near = difflib.get_close_matches(context["tag"], context["expected_tags"].split("'"))
        advice = f"did you mean `{near[0]}`?" if near else "choose one of them"
        return f"the kind '{context['tag']}' came", context["expected_tags"], advice
    if kind == "literal_error":
        return f"{came} came", context["expected"], "choose one of them"
    if kind in _TYPES:
        allowed, advice = _TYPES[kind]
        return f"{came} came", allowed, advice
    message = found["msg"][0].lower() + found["msg"][1:]
    return f"{came} came", message.replace("input should be ", ""), "mend the value"


def _unknown(name: str, loc: tuple, root: type) -> tuple[str, str, str]:
    known = sorted(
        {
            field.alias or name
            for model in _models_along(root, loc[:-1])
            for name, field in model.model_fields.items()
        }
    )
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    advice = f"did you mean `{near[0]}`?" if near else "remove it or use one of these"
    return f"the key '{name}' is unknown", ", ".join(known), advice


def _models_along(root: type, loc: tuple) -> list[Any]:
    from typing import Annotated, get_args, get_origin

    from pydantic import BaseModel

    def leaves(annotation: Any) -> list[Any]:
        """The branches of an annotation."""
        origin = get_origin(annotation)
        if origin is Annotated:
            return leaves(get_args(annotation)[0])
        if origin in (dict, tuple, list) or not get_args(annotation):
            return [annotation]
        return [leaf for argument in get_args(annotation) for leaf in leaves(argument)]

    def is_model(leaf: Any) -> bool:
        return isinstance(leaf, type) and issubclass(leaf, BaseModel)

    current: list[Any] = [root]
    for part in loc:
        following: list[Any] = []
        for leaf in current:
            if is_model(leaf) and part in leaf.model_fields:
                following += leaves(leaf.model_fields[part].annotation)
            elif get_origin(leaf) is dict:
                following += leaves(get_args(leaf)[1])
            elif get_origin(leaf) in (tuple, list):
                following += leaves(get_args(leaf)[0])
        tagged = [
            leaf
            for leaf in current
            if is_model(leaf)
            and "kind" in leaf.model_fields
            and part in get_args(leaf.model_fields["kind"].annotation)
        ]
        named = [leaf for leaf in current if is_model(leaf) and leaf.__name__ == part]
        current = following or tagged or named or current
    return [leaf for leaf in current if is_model(leaf)]
