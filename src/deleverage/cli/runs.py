"""Commands that make a run directory or look after one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from deleverage.cli.options import (
    FAILED,
    INCOMPLETE,
    AsJson,
    ConfigFile,
    Out,
    Overrides,
    Paths,
    RunFolder,
    Workers,
)
from deleverage.printing import as_pairs, print_json, terminal_width

if TYPE_CHECKING:
    import xarray as xr

    from deleverage.results import Run


def run(
    file: ConfigFile,
    set_: Overrides = None,
    paths: Paths = None,
    workers: Workers = None,
    out: Out = "runs",
    resume: Annotated[bool, typer.Option("--resume", help="Insist on a run to continue.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run a config's sweep, or continue it."""
    from deleverage.sweep.pool import early_worker

    with early_worker(workers != 0) as started:
        from deleverage import sweep
        from deleverage.config import load_config

        config = load_config(file, set_ or (), paths)
        finished = sweep.run(config, out, workers=workers, resume=resume, started=started)
    _print_summary(finished, _keep_summary(finished), as_json)


def status(folder: RunFolder, as_json: AsJson = False) -> None:
    """Say how far a run is (exit code 3: incomplete)."""
    from deleverage import results
    from deleverage.analysis.stopping import sentence
    from deleverage.sweep.progress import duration

    found = results.status(folder)
    planned = results.load_plan(folder)
    rule = planned.stopping
    if as_json:
        print_json(found)
    else:
        state = "complete" if found.complete else "incomplete, run its config again to continue it"
        typer.echo(
            as_pairs(
                {
                    "run": f"{found.name}: {state}",
                    "units": f"{found.done} of {found.units} done, {found.running} running, "
                    f"{found.failed} failed",
                    "path-policies": f"{found.path_policies_done:,} of {found.path_policies:,}",
                    "work": f"{duration(found.seconds)} over all workers, "
                    f"{found.rate:,.0f} path-policies a second and worker",
                    "stored": f"{found.bytes / 1e6:,.1f} MB",
                    **({"paths": sentence(rule, planned.paths)} if rule else {}),
                }
            )
        )
    if not found.complete:
        raise typer.Exit(INCOMPLETE)


def verify(
    folder: RunFolder,
    repair: Annotated[
        bool, typer.Option("--repair", help="Have `run` do the damaged units again.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Read every stored object again and compare."""
    from deleverage import results

    found = results.verify(folder, repair=repair)
    if as_json:
        print_json(found)
    else:
        for damage in found.damaged:
            typer.echo(f"damaged: {damage.unit or 'metadata'} {damage.key} {damage.reason}")
        typer.echo(
            f"{found.objects:,} objects read, {len(found.damaged)} damaged, "
            f"{len(found.missing)} units missing, {len(found.repaired)} to be done again"
        )
        if found.damaged or found.repaired:
            typer.echo(
                "run its config again to mend it"
                if repair
                else "`deleverage verify --repair` marks the damaged units to be done again"
            )
    if found.damaged or found.missing:
        raise typer.Exit(FAILED if found.damaged else INCOMPLETE)


def finalize(folder: RunFolder) -> None:
    """Close a run whose units are all done."""
    from deleverage import results
    from deleverage.sweep.interruption import interruptible

    with interruptible(folder):
        results.finalize(folder)
    _keep_summary(results.open_run(folder))
    typer.echo(f"{folder} is complete")


def summary(folder: RunFolder, as_json: AsJson = False) -> None:
    """Print the tail table of a complete run."""
    from deleverage.analysis.summary import summary
    from deleverage.results import open_run

    opened = open_run(folder)
    _print_summary(opened, summary(opened.outcomes), as_json)


def _keep_summary(opened: Run) -> xr.Dataset:
    """Measure a run and keep the measures as its group `summary`."""
    from deleverage.analysis.summary import summary
    from deleverage.results import keep_group
    from deleverage.sweep.interruption import interruptible

    with interruptible(opened.path):
        measured = summary(opened.outcomes)
        keep_group(opened, "summary", measured)
    return measured


def _print_summary(opened: Run, measured: xr.Dataset, as_json: bool) -> None:
    """Print the measures of a run, the baseline beside the observed day, and where the data is."""
    from deleverage.analysis.facts import observed_facts
    from deleverage.analysis.stopping import sentence
    from deleverage.analysis.summary import (
        as_text,
        comparison_as_text,
        observed_comparison,
        table,
    )

    rows, stopping = table(measured), opened.plan.stopping
    observed = observed_comparison(opened.outcomes, observed_facts(opened.plan.name))
    if as_json:
        kept = {"stopping": stopping} if stopping else {}
        print_json({"run": opened.path, "policies": rows, "observed": observed, **kept})
        return
    typer.echo(as_text(rows, terminal_width()))
    if stopping:
        typer.echo(f"{sentence(stopping, opened.plan.paths)}\n")
    if observed:
        typer.echo(comparison_as_text(observed, terminal_width()))
    typer.echo(f"dataset: {opened.path / 'results.zarr'}")
