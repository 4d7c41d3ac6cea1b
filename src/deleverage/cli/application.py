"""The application: its commands, and how errors leave it."""

from __future__ import annotations

import sys
import tempfile
import traceback
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from deleverage.cli import causes, choices, configs, machine, runs
from deleverage.errors import DeleverageError

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Monte Carlo sweeps of a leveraged crash across collateral policies. "
    "Exit codes: 0 done, 1 failed, 2 bad usage or config, 3 incomplete, 130 interrupted.",
)


@app.callback()
def _common(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
) -> None:
    """Options of every command; `main` has taken `--debug` already, it stands here for the help."""


# In the order of the help: from a config to a run, from a run to answers, and what is left.
for command in (
    *(configs.check, configs.plan),
    *(runs.run, runs.status, runs.verify, runs.finalize, runs.summary),
    *(causes.attribute, causes.replay),
    *(choices.compare, choices.frontier, choices.search),
    *(configs.export_world, configs.schema, machine.presets, machine.devices),
):
    app.command(command.__name__.replace("_", "-"))(command)


def _fail(sentence: str, code: int) -> NoReturn:
    """One sentence on standard error, then out."""
    typer.echo(f"error: {sentence}", err=True)
    sys.exit(code)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; errors end as one sentence and an exit code, never as a traceback.

    Args:
        arguments: Words of the command line without the program's name, default `sys.argv[1:]`.
            `--debug` counts wherever it stands.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    try:
        app([word for word in words if word != "--debug"], prog_name="deleverage")
    except DeleverageError as error:
        if debug:
            traceback.print_exc()
        _fail(str(error), error.exit_code)
    except Exception as error:
        name = f"{type(error).__name__}: {error}"
        if debug:
            traceback.print_exc()
            _fail(f"unexpected {name}; the traceback stands above.", 1)
        with tempfile.NamedTemporaryFile(
            "w", prefix="deleverage-", suffix=".traceback", delete=False
        ) as file:
            traceback.print_exc(file=file)
        _fail(f"unexpected {name}; the traceback is in {file.name}, --debug prints it.", 1)
