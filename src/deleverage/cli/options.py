"""Arguments and options that several commands share, and exit codes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]

FAILED = 1
INCOMPLETE = 3
