"""A server, and the worker beside it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from fhirserver import process
from fhirserver.cli.running import data_option, refusals, settings_with
from fhirserver.settings import PREFIX


@click.command()
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on.  [default: 8000]")
@data_option
@click.option("--demo", type=click.IntRange(0), metavar="N", help="Fill an empty database with N synthetic patients.")
@click.option("--open", is_flag=True, default=None, help="Answer without authorization; on loopback only.")
def serve(**options: Any) -> None:
    """Serve FHIR, with an embedded MongoDB unless HEALTHMATE_MONGODB_URL names another."""
    settings = settings_with(**options)
    if settings.open:
        click.echo("Authorization is off: whoever can connect from this machine can read and change everything.")
    with refusals():
        process.serve(settings, click.echo)


@click.command()
@data_option
def worker(data: Path | None) -> None:
    """Do the jobs of servers whose HEALTHMATE_BROKER_URL names the same Redis; run as many as are needed."""
    settings = settings_with(data=data)
    if settings.broker_url is None:
        click.echo(f"{PREFIX}BROKER_URL is not set, so `healthmate serve` runs a worker of its own.", err=True)
        sys.exit(2)
    with refusals():
        process.work(settings)
