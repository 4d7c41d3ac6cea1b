"""Read a config file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from deleverage.config.checks import check
from deleverage.config.models import Config
from deleverage.config.sentences import refuse
from deleverage.config.source import Source, override, read


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

    So a config that is written elsewhere, as a run does, still names the same series.
    """
    policies = source.value.get("policies")
    labels = policies if isinstance(policies, dict) else {}
    for above in ((), *(("policies", label) for label in labels)):
        key = (*above, "scenario", "shocks", "replay", "file")
        value: Any = source.value
        for part in key[:-1]:
            value = value.get(part) if isinstance(value, dict) else None
        if isinstance(value, dict) and isinstance(value.get("file"), str):
            written = source.place(key).file
            folder = Path() if written.startswith("--set") else Path(written).parent
            value["file"] = str((folder / value["file"]).resolve())
