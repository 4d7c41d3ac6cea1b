"""Arguments and options that several commands share, and exit codes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deleverage.errors import ConfigError

ConfigFile = Annotated[Path, typer.Argument(metavar="CONFIG", help="A config file (YAML).")]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="a.b=c", help="Override one key; may be given several times."),
]
Paths = Annotated[int | None, typer.Option(metavar="N", min=1, help="Number of paths.")]
Workers = Annotated[
    int | None,
    typer.Option(metavar="N", min=0, help="Worker processes; 0: none, default: one a core."),
]
# as text: a path would make s3:/bucket of s3://bucket
Out = Annotated[str, typer.Option(metavar="DIR", help="Where run directories are made.")]
RiskFigure = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Draw risk against costs into this file.")
]
At = Annotated[
    list[str] | None,
    typer.Option("--at", metavar="DIM=LABEL", help="Of the variable; dims without one are summed."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]



def selected(at: list[str] | None) -> dict[str, str]:
    """Labels by dimension.

    Raises:
        ConfigError: A word is no `DIM=LABEL`, or a dimension comes twice.
    """
    found: dict[str, str] = {}
    for word in at or ():
        dim, equals, label = word.partition("=")
        if not (dim and equals and label) or dim in found:
            raise ConfigError(
                f"--at: '{word}' came; allowed is DIM=LABEL, once a dimension: write something "
                "like market=exchange/USDe/spot."
            )
        found[dim] = label
    return found


FAILED = 1
INCOMPLETE = 3
