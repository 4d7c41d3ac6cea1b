"""Commands that set policies against each other."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deleverage.cli.figures import require_matplotlib
from deleverage.cli.options import (
    AsJson,
    At,
    ConfigFile,
    Out,
    Overrides,
    Paths,
    RiskFigure,
    RunFolder,
    Workers,
    selected,
)
from deleverage.printing import as_columns, print_json


def compare(
    first: RunFolder,
    second: Annotated[
        Path | None, typer.Argument(metavar="RUN", help="Another run; else two policies of one.")
    ] = None,
    policy: Annotated[
        list[str] | None, typer.Option(metavar="P", help="A policy of the run; given twice.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what changed between two runs, or two policies of one."""
    from deleverage.analysis import compare
    from deleverage.errors import ConfigError
    from deleverage.results import open_run

    chosen = policy or []
    if (second is None) != (len(chosen) == 2) or (second is not None and chosen):
        raise ConfigError(
            f"{1 if second is None else 2} run(s) and {len(chosen)} policies came; name two runs, "
            "or one run and two policies by `--policy`."
        )
    one = open_run(first)
    if second is None:
        rows = compare.policies(one.outcomes, *chosen)
    else:
        rows = compare.runs(one, open_run(second))
    if as_json:
        print_json({"rows": rows})
        return
    changed = compare.as_text(rows)
    typer.echo(as_columns(changed))
    typer.echo(f"\n{compare.account(rows)}")


def frontier(
    folder: RunFolder,
    variable: Annotated[str, typer.Option(help="What risk is measured on.")] = "bad_debt",
    measure: Annotated[str, typer.Option(help="Its measure.")] = "expected_shortfall",
    q: Annotated[float, typer.Option(help="Level of a quantile or expected shortfall.")] = 0.99,
    above: Annotated[float | None, typer.Option(help="Threshold of a probability.")] = None,
    below: Annotated[float | None, typer.Option(help="Threshold of a probability.")] = None,
    good: Annotated[
        str | None, typer.Option(metavar="low|high", help="Which values of the variable are good.")
    ] = None,
    at: At = None,
    figure: RiskFigure = None,
    as_json: AsJson = False,
) -> None:
    """Say which policies no other beats on risk and on every cost."""
    from deleverage.analysis.frontier import frontier
    from deleverage.analysis.frontier_table import legend, shown, table
    from deleverage.results import open_run

    require_matplotlib(figure)
    selection = selected(at)
    outcomes = open_run(folder).outcomes
    found = frontier(
        outcomes, variable, measure, q, above=above, below=below, selection=selection, good=good
    )
    if figure is not None:
        from deleverage.report import frontier_figure

        frontier_figure(found).savefig(figure, dpi=150)
    rows = table(found)
    if as_json:
        print_json(
            {"variable": variable, "measure": measure, "q": q, "good": found.attrs["good"]}
            | {name: found.attrs[name] for name in ("selection", "summed")}
            | {"thin": "thin_tail" in found.attrs, "rows": rows}
        )
        return
    typer.echo(f"{as_columns(shown(found, rows))}\n\n{legend(found, rows)}")


def search(
    file: ConfigFile,
    set_: Overrides = None,
    paths: Paths = None,
    workers: Workers = None,
    out: Out = "runs",
    figure: RiskFigure = None,
    as_json: AsJson = False,
) -> None:
    """Search a config's ranges for policies that no other beats."""
    from deleverage.config import load_config
    from deleverage.search import search
    from deleverage.search.answer import in_words, measured, shown, table

    require_matplotlib(figure)
    config = load_config(file, set_ or (), paths)
    found = search(config, out, workers=workers)
    if figure is not None:
        from deleverage.report import frontier_figure

        tried = measured(found.tried.outcomes, config.search)
        frontier_figure(found.front, tried).savefig(figure, dpi=150)
    rows = table(found.front)
    if as_json:
        print_json({"folder": found.folder, **found.front.attrs, "rows": rows})
        return
    typer.echo(as_columns(shown(found.front, rows)))
    typer.echo(f"\n{in_words(found.front, rows)}\nfolder: {found.folder}")
