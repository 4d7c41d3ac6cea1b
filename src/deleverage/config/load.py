"""Read a config file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from deleverage.config.checks import check
from deleverage.config.models import Config
from deleverage.config.sentences import refuse
from deleverage.config.shocks import SERIES
from deleverage.config.source import Key, Source, override, read


def load_config(
    path: str | Path, overrides: Iterable[str] = (), paths: int | None = None
) -> Config:
    """Read, complete and check a config.

    Args:
        path: YAML 1.2 file.
        overrides: Texts `a.b=c`, applied after includes, in order.
        paths: Number of paths instead of the file's.

    Raises:
        ConfigError: one sentence with file, line, key, what came, what is allowed, what to do.
    """
    source = read(Path(path))
    if not isinstance(source.value, dict):
        source.refuse((), "the file holds no mapping", "a YAML mapping", "begin with `name:`")
    for text in overrides:
        override(source, text)
    if paths is not None:
        override(source, f"paths={paths}")
    _locate_series(source)
    try:
        config = Config.model_validate(source.value)
    except ValidationError as error:
        refuse(error, source, Config)
    config._source = source
    check(config)
    return config


def _locate_series(source: Source) -> None:
    """Make the paths of replayed series absolute, which are relative to the file that names them.

    So a config that is written elsewhere, as a run does, still names the same series. They stand
    where a key path ends in `shocks.replay.file`: of the scenario, an entry's, a cause's override
    of it, or a lever of a sweep, which may be dotted and lists values.
    """

    def absolute(value: Any, lever: str, key: Key) -> Any:
        if isinstance(value, dict):
            for name, one in value.items():
                value[name] = absolute(one, f"{lever}.{name}", (*key, name))
        elif isinstance(value, list):
            value[:] = [absolute(one, lever, (*key, place)) for place, one in enumerate(value)]
        elif isinstance(value, str) and lever.endswith(f".{SERIES}"):
            written = source.place(key).file
            folder = Path() if written.startswith("--set") else Path(written).parent
            return str((folder / value).resolve())
        return value

    absolute(source.value, "", ())
