"""Commands that set policies against each other."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deleverage.cli.figures import require_matplotlib
from deleverage.cli.options import (
    AsJson,
    ConfigFile,
    Out,
    Overrides,
    Paths,
    RiskFigure,
    RunFolder,
    Workers,
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
    typer.echo(
        f"\n{len(changed)} of {len(rows)} differences are significant together at 5% (Holm), "
        f"{'paired on common draws' if rows and rows[0]['paired'] else 'independent samples'}"
    )


def frontier(
    folder: RunFolder,
    variable: Annotated[str, typer.Option(help="What risk is measured on.")] = "bad_debt",
    measure: Annotated[str, typer.Option(help="Its measure.")] = "expected_shortfall",
    q: Annotated[float, typer.Option(help="Level of the measure.")] = 0.99,
    figure: RiskFigure = None,
    as_json: AsJson = False,
) -> None:
    """Say which policies no other beats on risk and on every cost."""
    from deleverage.analysis.frontier import COSTS, frontier
    from deleverage.results import open_run

    require_matplotlib(figure)
    found = frontier(open_run(folder).outcomes, variable, measure, q)
    if figure is not None:
        from deleverage.report import frontier_figure

        frontier_figure(found).savefig(figure, dpi=150)
    numbers = ("risk", "risk_standard_error", *COSTS, "probability", "excess")
    rows = [
        {
            "policy": str(label),
            "on_front": bool(found.on_front.values[i]),
            **{name: float(found[name].values[i]) for name in numbers},
            "excess_standard_error": float(found.excess_standard_error.values[i]),
            "dominated_by": str(found.dominated_by.values[i]),
        }
        for i, label in enumerate(found.policy.values)
    ]
    if as_json:
        print_json({"variable": variable, "measure": measure, "q": q, "rows": rows})
        return
    typer.echo(as_columns(sorted(rows, key=lambda row: (not row["on_front"], row["risk"]))))


def search(
    file: ConfigFile,
    set_: Overrides = None,
    paths: Paths = None,
    workers: Workers = None,
    out: Out = "runs",
    figure: RiskFigure = None,
    as_json: AsJson = False,
) -> None:
    """Search the ranges of a config for policies that no other beats, or continue doing so."""
    from deleverage.analysis.columns import with_error
    from deleverage.config import load_config
    from deleverage.search import search
    from deleverage.search.answer import in_words, measured, table

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
    costs = found.front.attrs["costs"]
    shown = [
        {name: row[name] for name in ("policy", "round", "on_front")}
        | {
            name: with_error(row[name], row[f"{name}_standard_error"])
            for name in ("searched_risk", "risk")
        }
        | {name: row[name] for name in (*costs, "probability", "dominated_by")}
        for row in rows
    ]
    typer.echo(as_columns(shown))
    typer.echo(f"\n{in_words(found.front)}\nfolder: {found.folder}")
