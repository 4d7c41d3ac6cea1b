"""YAML 1.2 into plain values, with the file and line of every key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from deleverage.errors import ConfigError

Key = tuple[str | int, ...]


@dataclass(frozen=True)
class Place:
    """Where a value was written: a file and a line, or an override."""

    file: str
    line: int | None = None

    def __str__(self) -> str:
        is_line = self.line is not None and not self.file.startswith("--set ")
        return f"{self.file}:{self.line}" if is_line else self.file


def sentence(place: Place, key: Key, came: str, allowed: str, advice: str) -> str:
    """The one form of a config error: place, key, what came, what is allowed, what to do."""
    name = f"{dotted(key)}: " if key else ""
    end = "" if advice.endswith("?") else "."
    return f"{place}: {name}{came}; allowed is {allowed}; {advice}{end}"


def dotted(key: Key) -> str:
    """A key path as the user writes it after `--set`."""
    return ".".join(str(part) for part in key)


@dataclass
class Source:
    """Plain values (`dict`, `list`, scalars) and the place of every key path."""

    value: Any
    places: dict[Key, Place] = field(default_factory=dict)
    prefix: Key = ()  # where the scenario is written: an entry's override, else at the root
    levers: dict[Key, dict[str, Key]] = field(default_factory=dict)
    """Where each lever of entries that are made is written, by the part that makes them."""

    def place(self, key: Sequence[str | int]) -> Place:
        """The place of a key path, or of the nearest enclosing one that was written."""
        key = tuple(key)
        while key not in self.places and key:
            key = key[:-1]
        return self.places.get(key, Place("config"))

    def trim(self, loc: Sequence[str | int]) -> Key:
        """A location of pydantic's as a key path of the file: names of union branches left out."""
        key: Key = ()
        value = self.value
        for number, part in enumerate(loc):
            if isinstance(value, dict) and part in value:
                key, value = (*key, part), value[part]
            elif isinstance(value, list) and isinstance(part, int) and part < len(value):
                key, value = (*key, part), value[part]
            elif number == len(loc) - 1 and isinstance(value, dict) and str(part)[:1] != "[":
                key = (*key, part)
        return key

    def refuse(self, key: Sequence[str | int], came: str, allowed: str, advice: str) -> NoReturn:
        """Raise the ConfigError of a key path."""
        key = self.prefix + tuple(key) if key and key[0] == "scenario" else tuple(key)
        key = key if key in self.places else self._as_written(key)
        raise ConfigError(sentence(self.place(key), tuple(key), came, allowed, advice)) from None


    def _as_written(self, key: Key) -> Key:
        """A key of an entry that is made as that of the lever that it was made from."""
        for part, levers in self.levers.items():
            rest = key[len(part) :]
            if not rest or key[: len(part)] != part:
                continue
            for lever, written in levers.items():
                names = tuple(lever.split("."))
                shared = min(len(names), len(rest))
                if names[:shared] == rest[:shared]:
                    return (*written, *rest[shared:])
        return key


def read(path: Path, parents: tuple[Path, ...] = ()) -> Source:
    """Read a YAML file and what it includes.

    Raises:
        ConfigError: the file is missing, is not YAML, or names a key twice.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    name = str(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise ConfigError(
            f"{name}: the config cannot be read ({reason}); allowed is a readable YAML file; "
            "check the path."
        ) from None
    try:
        node = YAML(typ="safe", pure=True).compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(name, mark.line + 1 if mark else None)
        problem = " ".join(str(error.problem or error.context).split())
        raise ConfigError(
            sentence(place, (), f"this is not YAML ({problem})", "YAML 1.2", "mend the line")
        ) from None
    except YAMLError as error:
        problem = " ".join(str(error).split())
        raise ConfigError(
            sentence(Place(name), (), f"this is not YAML ({problem})", "YAML 1.2", "mend the file")
        ) from None
    source = Source(None, {(): Place(name, 1)})
    source.value = _value(node, (), source, path, (*parents, path.resolve()))
    return source


def _value(
    node: Any,
    key: Key,
    source: Source,
    path: Path,
    parents: tuple[Path, ...],
    around: tuple[Any, ...] = (),
) -> Any:
    """The plain value of a node, which stands within those around it."""
    from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode

    if node is None:
        return None
    if any(node is one for one in around):
        came = "an alias of what it stands in"
        source.refuse(key, came, "aliases of what stands elsewhere", "write it out")
    around = (*around, node)
    if isinstance(node, SequenceNode):
        values = []
        for number, child in enumerate(node.value):
            source.places[(*key, number)] = Place(str(path), child.start_mark.line + 1)
            values.append(_value(child, (*key, number), source, path, parents, around))
        return values
    if not isinstance(node, MappingNode):
        return _scalar(node.tag, node.value)
    mapping: dict[str, Any] = {}
    for name_node, child in node.value:
        place = Place(str(path), name_node.start_mark.line + 1)
        if not isinstance(name_node, ScalarNode):
            what = "a list" if isinstance(name_node, SequenceNode) else "a mapping"
            text = sentence(place, key, f"{what} as a key", "names as keys", "write `name: value`")
            raise ConfigError(text)
        # Names are text, also where YAML would see a number or a truth value.
        name = str(name_node.value)
        here = (*key, name)
        if name in mapping:
            first = source.places[here]
            what = "policy" if key == ("policies",) else "key"
            came = f"the {what} '{name}' is given twice (first on line {first.line})"
            text = sentence(place, here, came, "each name once", "rename or remove one of the two")
            raise ConfigError(text)
        source.places[here] = place
        mapping[name] = _value(child, here, source, path, parents, around)
    if "include" in mapping:
        return _included(mapping, key, source, path, parents)
    return mapping


def _included(
    mapping: dict[str, Any], key: Key, source: Source, path: Path, parents: tuple[Path, ...]
) -> dict[str, Any]:
    """The included mapping with the keys beside `include` laid over it."""
    name = mapping.pop("include")
    here = (*key, "include")
    if not isinstance(name, str):
        source.refuse(here, f"{name!r} came", "the path of a YAML file", "give a path")
    target = path.parent / name
    if not target.is_file():
        came = f"the file '{name}' does not exist (looked for {target})"
        source.refuse(here, came, "a file, its path relative to this one", "mend the path")
    if target.resolve() in parents:
        came = f"'{name}' includes itself"
        source.refuse(here, came, "files that do not include each other", "remove one include")
    inner = read(target, parents)
    if not isinstance(inner.value, dict):
        source.refuse(here, f"'{name}' holds no mapping", "a YAML mapping", "name its keys")
    for part, place in inner.places.items():
        source.places.setdefault((*key, *part), place)
    return merge(inner.value, mapping)


def _scalar(tag: str, text: str) -> Any:
    kind = str(tag).rsplit(":", 1)[-1]
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() == "true"
    try:
        if kind == "int":
            return int(text.replace("_", ""), 0) if text[:2] in ("0x", "0o") else int(text)
        if kind == "float":
            return float(text)
    except ValueError:
        return text
    return text


def merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`over` laid over `base`, mapping by mapping; anything else is replaced."""
    merged = dict(base)
    for name, value in over.items():
        old = merged.get(name)
        merged[name] = (
            merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
        )
    return merged


def lay_over(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """An override laid over a scenario: null takes a key out.

    Another `kind` or `preset` replaces the whole: what the scenario's preset wrote, or stood for,
    is not the other's.
    """
    merged = dict(base)
    for name, value in over.items():
        old = merged.get(name)
        if value is None:
            merged.pop(name, None)
        elif isinstance(old, dict) and isinstance(value, dict) and _same_kind(old, value):
            merged[name] = lay_over(old, value)
        else:
            merged[name] = value
    return merged


def _same_kind(old: dict[str, Any], new: dict[str, Any]) -> bool:
    return all(new[word] == old.get(word) for word in ("kind", "preset") if word in new)


def override(source: Source, text: str) -> None:
    """Apply one `--set a.b=c`: the value is YAML, missing mappings are made.

    A name that has dots itself, such as a lever of a sweep, is found where it stands.

    Raises:
        ConfigError: the text has no `=`, its value is not YAML, or its key leads into a scalar.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    place = Place(f"--set {text}")
    name, equals, raw = text.partition("=")
    if not equals or not name.strip():
        came = "there is no key and value"
        raise ConfigError(
            sentence(place, (), came, "key=value", "write it as --set time.steps=120")
        )
    try:
        node = YAML(typ="safe", pure=True).compose(raw)
    except YAMLError:
        raise ConfigError(
            sentence(place, (), f"{raw!r} is not YAML", "a YAML value", "quote it")
        ) from None
    rest = name.strip()
    target, key = source.value, ()
    while (part := _next_part(target, rest)) != rest:
        target, key = _enter(target, part, key, source, place)
        rest = rest[len(part) + 1 :]
    last: Any = rest
    if isinstance(target, list):
        last = _position(target, last, key, place)
    fresh = Source(None, {(*key, last): place})
    value = _value(node, (*key, last), fresh, Path(place.file), ())
    target[last] = value
    source.places[(*key, last)] = place
    source.places.update(dict.fromkeys(fresh.places, place))


def _next_part(target: Any, rest: str) -> str:
    """The first part of a dotted key: a name with dots of its own where the mapping has it."""
    known = target if isinstance(target, dict) else ()
    fits = [name for name in known if rest == name or rest.startswith(f"{name}.")]
    return max(fits, key=len, default=rest.partition(".")[0])


def _enter(target: Any, part: str, key: Key, source: Source, place: Place) -> tuple[Any, Key]:
    if isinstance(target, list):
        number = _position(target, part, key, place)
        child: Any = target[number]
        key = (*key, number)
    else:
        child = target.get(part)
        key = (*key, part)
        if child is None:
            child = target[part] = {}
            source.places[key] = place
    if not isinstance(child, dict | list):
        came = f"{child!r} stands at {dotted(key)}"
        raise ConfigError(sentence(place, key, came, "a mapping to go into", "shorten the key"))
    return child, key


def _position(target: list, part: str, key: Key, place: Place) -> int:
    if not part.isdigit() or int(part) >= len(target):
        came = f"'{part}' is no position in {dotted(key)}"
        allowed = f"a number from 0 to {len(target) - 1}"
        raise ConfigError(sentence(place, (*key, part), came, allowed, "give a position"))
    return int(part)
