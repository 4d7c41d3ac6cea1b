"""The command line: parses, calls, prints; no maths.

Everything heavy is imported inside the command that needs it, so that `--help` answers at once.
"""

from __future__ import annotations

import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from deleverage.errors import DeleverageError
from deleverage.printing import as_columns, as_pairs, as_word, print_json, terminal_width

if TYPE_CHECKING:
    import xarray as xr

    from deleverage.results import Plan, Run

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Monte Carlo sweeps of a leveraged crash across collateral policies. "
    "Exit codes: 0 done, 1 failed, 2 bad usage or config, 3 incomplete, 130 interrupted.",
)

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


@app.callback()
def _common(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
) -> None:
    """Options of every command; `main` has taken `--debug` already, it stands here for the help."""


@app.command()
def check(file: ConfigFile, set_: Overrides = None, as_json: AsJson = False) -> None:
    """Say what a config builds, without running it."""
    from deleverage.config import build, load_config

    config = load_config(file, set_ or ())
    built = build(config)
    policies = [
        {
            "policy": label,
            **{name: float(values[i]) for name, values in built.policy_variables.items()},
            "levers": {name: str(value) for name, value in entry.levers().items()},
        }
        for i, (label, entry) in enumerate(config.entries.items())
    ]
    if as_json:
        print_json(
            {"name": config.name, "seed": config.seed, **built.account, "policies": policies}
        )
        return
    typer.echo(f"{config.name}, money in USD millions\n")
    sizes = {k: as_word(v) for k, v in built.account.items() if not isinstance(v, Mapping)}
    typer.echo(
        as_pairs(sizes | {"start": f"{built.start:%Y-%m-%d %H:%M} UTC", "seed": config.seed})
    )
    positions = [{"perp": label, **held} for label, held in built.account["positions"].items()]
    pledged = [{"pledged": at, "amount": amount} for at, amount in built.account["pledged"].items()]
    for row in policies:
        row["levers"] = " ".join(f"{name}={value}" for name, value in row["levers"].items())
    for rows in (positions, pledged, policies):
        typer.echo(f"\n{as_columns(rows)}")


@app.command()
def plan(
    file: ConfigFile,
    set_: Overrides = None,
    paths: Paths = None,
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Say what a run would take, by timing a few tiles."""
    from deleverage.config import build, load_config
    from deleverage.engine import Simulator
    from deleverage.sweep import plan_run
    from deleverage.sweep.estimate import estimate
    from deleverage.sweep.progress import duration

    config = load_config(file, set_ or (), paths)
    built = build(config)
    simulator = Simulator(built)
    planned = plan_run(config, built, simulator.fingerprint())
    largest = planned.largest
    expected = estimate(largest, simulator, workers)
    account = {
        "run": planned.directory_name,
        "policies": len(planned.policies),
        "paths": largest.paths,
        "units": len(largest.units),
        "unit_policies": planned.policy_block,
        "unit_paths": planned.path_block,
        "tile_paths": planned.tile_paths,
        "bytes": largest.nbytes,
        "memory_bytes": expected.memory_bytes,
        "workers": expected.workers,
        "path_policies_per_second": expected.rate,
        "seconds": expected.seconds,
        "device": planned.fingerprint["device"],
    }
    if as_json:
        print_json(account | ({"stopping": planned.stopping} if planned.stopping else {}))
        return
    shown = account | {
        **({"paths": _about_paths(planned)} if planned.stopping else {}),
        "bytes": f"{largest.nbytes / 1e6:,.1f} MB before compression",
        "memory_bytes": f"{expected.memory_bytes / 1e9:.1f} GB, all processes",
        "path_policies_per_second": f"{expected.rate:,.0f} in this process",
        "seconds": f"about {duration(expected.seconds)}, compilation included",
    }
    typer.echo(as_pairs(shown))


@app.command()
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
    from deleverage import sweep
    from deleverage.config import load_config

    config = load_config(file, set_ or (), paths)
    finished = sweep.run(config, out, workers=workers, resume=resume)
    _print_summary(finished, _keep_summary(finished), as_json)


@app.command()
def status(folder: RunFolder, as_json: AsJson = False) -> None:
    """Say how far a run is (exit code 3: incomplete)."""
    from deleverage import results
    from deleverage.sweep.progress import duration

    found = results.status(folder)
    planned = results.load_plan(folder)
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
                    **({"paths": _about_paths(planned)} if planned.stopping else {}),
                }
            )
        )
    if not found.complete:
        raise typer.Exit(INCOMPLETE)


@app.command()
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


@app.command()
def finalize(folder: RunFolder) -> None:
    """Close a run whose units are all done."""
    from deleverage import results

    results.finalize(folder)
    _keep_summary(results.open_run(folder))
    typer.echo(f"{folder} is complete")


@app.command()
def summary(folder: RunFolder, as_json: AsJson = False) -> None:
    """Print the tail table of a complete run."""
    from deleverage.analysis.summary import summary
    from deleverage.results import open_run

    opened = open_run(folder)
    _print_summary(opened, summary(opened.outcomes), as_json)


@app.command()
def attribute(
    target: Annotated[
        Path, typer.Argument(metavar="RUN|CONFIG", help="A run directory, or a config to run.")
    ],
    set_: Overrides = None,
    paths: Paths = None,
    workers: Workers = None,
    out: Out = Path("runs"),
    figure: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the shares into this file.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Split measures over the causes that a config names."""
    from deleverage import sweep
    from deleverage.analysis.attribution_table import as_text, attribute, required
    from deleverage.config import load_config
    from deleverage.results import open_run

    _require_matplotlib(figure)
    if target.is_dir():
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


@app.command()
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
    """Write out every step of stored paths, with an account of each."""
    from deleverage.analysis.chronicle import account, events
    from deleverage.errors import ConfigError
    from deleverage.results import open_run
    from deleverage.sweep.replay import Replayer, worst_paths

    if (path is None) == (worst is None) or (worst is None) != (by is None):
        raise ConfigError("name one path by `--path N`, or the worst by `--worst K --by VAR`.")
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
        figure = _figure_of_path(found, place)
        if as_json:
            happened = [event._asdict() for event in events(found)]
            made.append({"path": number, "dataset": f"{place}.zarr", "events": happened})
            continue
        typer.echo(account(found))
        typer.echo(f"dataset: {place}.zarr{f', figure: {figure}' if figure else ''}\n")
    if as_json:
        print_json({"run": opened.path, "policy": policy, "paths": made})


def _require_matplotlib(figure: Path | None) -> None:
    """Refuse a figure that could not be drawn, before anything is simulated for it."""
    from importlib.util import find_spec

    from deleverage.errors import ConfigError

    if figure is not None and find_spec("matplotlib") is None:
        raise ConfigError("--figure needs matplotlib; install deleverage[report].")


def _figure_of_path(found: xr.Dataset, place: Path) -> Path | None:
    """A figure of a replayed path beside its dataset, where matplotlib is installed."""
    from importlib.util import find_spec

    if find_spec("matplotlib") is None:
        return None
    from deleverage.report.trajectory import trajectory_figure

    file = place.with_name(f"{place.name}.png")
    trajectory_figure(found).savefig(file, dpi=120)
    return file


@app.command()
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


@app.command()
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

    _require_matplotlib(figure)
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


@app.command()
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

    _require_matplotlib(figure)
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


def _keep_summary(opened: Run) -> xr.Dataset:
    """Measure a run and keep the measures as its group `summary`."""
    from deleverage.analysis.summary import summary
    from deleverage.results import write_group

    measured = summary(opened.outcomes)
    write_group(opened.path, "summary", measured)
    return measured


def _print_summary(opened: Run, measured: xr.Dataset, as_json: bool) -> None:
    """Print the measures of a run, the baseline beside the observed day, and where the data is."""
    from deleverage.analysis.facts import observed_facts
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
        typer.echo(f"{_about_paths(opened.plan)}\n")
    if observed:
        typer.echo(comparison_as_text(observed, terminal_width()))
    typer.echo(f"dataset: {opened.path / 'results.zarr'}")


def _about_paths(planned: Plan) -> str:
    """What the rule for the number of paths has come to."""
    from deleverage.analysis.stopping import sentence

    return sentence(planned.stopping, planned.paths)


@app.command("export-world")
def export_world(
    file: ConfigFile,
    out: Annotated[Path, typer.Argument(metavar="OUT.npz", help="The file to write.")],
    set_: Overrides = None,
    paths: Paths = None,
    as_json: AsJson = False,
) -> None:
    """Write what a config builds as one file that the kernel runs from with NumPy and JAX alone."""
    from deleverage.config import build, load_config
    from deleverage.engine.simulator import Group
    from deleverage.engine.world_file import ExportedWorld, save_world

    config = load_config(file, set_ or (), paths)
    built = build(config)
    exported = ExportedWorld(
        name=config.name,
        seed=built.seed,
        dtype=built.dtype,
        paths=config.most_paths,
        policies=tuple(config.entries),
        groups=tuple(Group(*group) for group in built.groups),
    )
    save_world(out, exported)
    account = {
        "file": out,
        "bytes": out.stat().st_size,
        "policies": len(exported.policies),
        "programs": len(exported.groups),
    }
    if as_json:
        print_json(account)
        return
    typer.echo(as_pairs(account))
    typer.echo(f"\nscripts/bench/gpu {out} runs it on a machine with a GPU")


@app.command()
def schema() -> None:
    """Print the JSON Schema of a config, for editors."""
    from deleverage.config import Config

    print_json(Config.model_json_schema())


@app.command()
def presets(as_json: AsJson = False) -> None:
    """List the named order books and rules that a config may use, with their sources."""
    from deleverage.config.presets import listed

    rows = listed()
    if as_json:
        print_json({"presets": rows})
        return
    typer.echo(as_columns(rows))


@app.command()
def devices(as_json: AsJson = False) -> None:
    """List the devices that JAX would run on."""
    import jax

    rows = [
        {"device": device.id, "platform": device.platform, "kind": device.device_kind}
        for device in jax.devices()
    ]
    if as_json:
        print_json({"jax": jax.__version__, "devices": rows})
        return
    typer.echo(as_columns(rows))
    typer.echo(f"\njax {jax.__version__}")


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
