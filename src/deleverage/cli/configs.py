"""Commands about a config that simulate no run of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from deleverage.cli.options import AsJson, ConfigFile, Overrides, Paths, Workers
from deleverage.printing import as_columns, as_pairs, as_word, print_json


def check(file: ConfigFile, set_: Overrides = None, as_json: AsJson = False) -> None:
    """Say what a config builds, without running it."""
    from deleverage.config import build, load_config
    from deleverage.results.schema import select_variables

    config = load_config(file, set_ or ())
    select_variables(config.results.variables)
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


def plan(
    file: ConfigFile,
    set_: Overrides = None,
    paths: Paths = None,
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Say what a run would take, by timing a few tiles."""
    from deleverage.analysis.stopping import sentence
    from deleverage.config import build, load_config
    from deleverage.engine import Simulator
    from deleverage.sweep import plan_run
    from deleverage.sweep.estimate import estimate
    from deleverage.sweep.progress import duration
    from deleverage.sweep.worker import Prepared

    config = load_config(file, set_ or (), paths)
    built = build(config)
    simulator = Simulator(built)
    planned = plan_run(config, built, simulator.fingerprint())
    largest = planned.largest
    expected = estimate(largest, Prepared(config, built, simulator), workers)
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
        **({"pilot_paths": expected.pilot_paths} if expected.pilot_paths else {}),
        **({"pilot_seconds": expected.pilot_seconds} if expected.pilot_paths else {}),
    }
    if as_json:
        print_json(account | ({"stopping": planned.stopping} if planned.stopping else {}))
        return
    shown = account | {
        **({"paths": sentence(planned.stopping, planned.paths)} if planned.stopping else {}),
        "bytes": f"{largest.nbytes / 1e6:,.1f} MB before compression",
        "memory_bytes": f"{expected.memory_bytes / 1e9:.1f} GB, all processes",
        "path_policies_per_second": f"{expected.rate:,.0f} in this process",
        "seconds": f"about {duration(expected.seconds)}, compilation included",
    }
    if expected.pilot_paths:
        del shown["pilot_seconds"]
        shown["pilot_paths"] = (
            f"{expected.pilot_paths:,} more under {config.sampling.policy}, which set the levels: "
            f"{duration(expected.pilot_seconds)} of the time, in one process"
        )
    typer.echo(as_pairs(shown))


def export_world(
    file: ConfigFile,
    out: Annotated[Path, typer.Argument(metavar="OUT.npz", help="The file to write.")],
    set_: Overrides = None,
    paths: Paths = None,
    as_json: AsJson = False,
) -> None:
    """Write what a config builds as one file, for a bare JAX."""
    from deleverage.config import build, load_config
    from deleverage.engine.simulator import Group
    from deleverage.engine.world_file import ExportedWorld, save_world

    config = load_config(file, set_ or (), paths)
    built = build(config)
    if config.sampling.kind == "splitting":
        config.source.refuse(
            ("sampling", "kind"),
            "splitting, whose paths follow from outcomes of others",
            "paths that follow from the world alone",
            "export it with `--set sampling={kind: plain}`",
        )
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


def schema() -> None:
    """Print the JSON Schema of a config, for editors."""
    from deleverage.config import Config

    print_json(Config.model_json_schema())
