"""Commands that say why: what caused an outcome, and how a path went."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deleverage.cli.figures import figure_of_path, require_matplotlib
from deleverage.cli.options import AsJson, Out, Overrides, Paths, RunFolder, Workers
from deleverage.printing import print_json, terminal_width

OF_A_CONFIG = {"set_": "--set", "paths": "--paths", "workers": "--workers", "out": "--out"}
"""Options that say how a config is run, by parameter."""


def attribute(
    context: typer.Context,
    target: Annotated[
        Path, typer.Argument(metavar="RUN|CONFIG", help="A run directory, or a config to run.")
    ],
    set_: Overrides = None,
    paths: Paths = None,
    workers: Workers = None,
    out: Out = "runs",
    figure: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the shares into this file.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Split measures over the causes that a config names."""
    from deleverage import sweep
    from deleverage.analysis.attribution_table import as_text, attribute, required
    from deleverage.config import load_config
    from deleverage.errors import ConfigError
    from deleverage.results import open_run

    require_matplotlib(figure)
    if target.is_dir():
        for name, option in OF_A_CONFIG.items():
            source = context.get_parameter_source(name)
            if source is not None and source.name != "DEFAULT":
                raise ConfigError(
                    f"{option} came with the run directory {target}, which is made already; "
                    f"allowed is {option} with a config; leave it out, or name the config."
                )
        opened = open_run(target)
        wanted = opened.config.attribution
    else:
        config = load_config(target, set_ or (), paths)
        wanted = required(config.attribution)
        opened = sweep.run(config, out, workers=workers)
    found = attribute(opened.outcomes, wanted)
    if figure is not None:
        from deleverage.report import attribution_figure

        attribution_figure(found["rows"]).savefig(figure, dpi=150)
    if as_json:
        print_json({"run": opened.path, **found})
        return
    typer.echo(as_text(found, terminal_width()))


def replay(
    folder: RunFolder,
    policy: Annotated[str, typer.Option(metavar="P", help="The policy.")] = "baseline",
    path: Annotated[int | None, typer.Option(metavar="N", min=0, help="Id of the path.")] = None,
    worst: Annotated[int | None, typer.Option(metavar="K", min=1, help="The K worst.")] = None,
    by: Annotated[str | None, typer.Option(metavar="VAR", help="Worst by this variable.")] = None,
    at: Annotated[str | None, typer.Option(metavar="LABEL", help="At this label of it.")] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where datasets go; default RUN/replays.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write out every step of stored paths and what happened."""
    from deleverage.analysis.chronicle import account, events
    from deleverage.errors import ConfigError
    from deleverage.results import open_run
    from deleverage.sweep.replay import Replayer, worst_paths

    is_ranked = worst is not None
    if (path is None) != is_ranked or is_ranked != (by is not None) or (at and not is_ranked):
        raise ConfigError(
            "name one path by `--path N`, or the worst by `--worst K --by VAR`, `--at LABEL` of it."
        )
    opened = open_run(folder)
    chosen = [path] if path is not None else []
    if worst is not None and by is not None:
        chosen = worst_paths(opened.outcomes, policy, by, worst, at)
    replayer = Replayer(opened)
    made = []
    for number in chosen:
        found = replayer.replay(policy, number)
        place = (out or opened.path / "replays") / f"{policy}-{number}"
        place.parent.mkdir(parents=True, exist_ok=True)
        found.to_zarr(f"{place}.zarr", mode="w", zarr_format=3, consolidated=False)
        figure = figure_of_path(found, place)
        if as_json:
            happened = [event._asdict() for event in events(found)]
            made.append({"path": number, "dataset": f"{place}.zarr", "events": happened})
            continue
        typer.echo(account(found))
        typer.echo(f"dataset: {place}.zarr{f', figure: {figure}' if figure else ''}\n")
    if as_json:
        print_json({"run": opened.path, "policy": policy, "paths": made})
