"""What this release can do, and how it is set."""

from __future__ import annotations

from typing import Any

import click
from pymongo import AsyncMongoClient

from fhirserver.assembly import assemble
from fhirserver.cli.running import print_json, settings_with
from fhirserver.interactions.capabilities import statement
from fhirserver.settings import shown


@click.command()
def capabilities() -> None:
    """Print the CapabilityStatement of this release."""
    settings = settings_with()
    unconnected: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(connect=False)
    print_json(statement(assemble(settings, unconnected[settings.database], b"")))


@click.command(name="settings")
def print_settings() -> None:
    """Print every setting, its value and what it decides; secrets are masked."""
    for variable, value, meaning in shown(settings_with()):
        click.echo(f"{variable}={value}\n    {meaning}")
