"""Read a config file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pydantic import ValidationError

from deleverage.config.checks import check
from deleverage.config.models import Config
from deleverage.config.sentences import refuse
from deleverage.config.source import override, read


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
    try:
        config = Config.model_validate(source.value)
    except ValidationError as error:
        refuse(error, source, Config)
    config._source = source
    check(config)
    return config
