"""Commands about what is installed here."""

from __future__ import annotations

import typer

from deleverage.cli.options import AsJson
from deleverage.printing import as_columns, print_json


def presets(as_json: AsJson = False) -> None:
    """List the order books and rules that a config may name."""
    from deleverage.config.presets import listed

    rows = listed()
    if as_json:
        print_json({"presets": rows})
        return
    typer.echo(as_columns(rows))


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
