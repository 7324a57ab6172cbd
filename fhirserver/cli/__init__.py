"""The command line. Exit codes: 0 done, 1 something failed and was said, 2 refused: wrong usage, no usable database."""

from __future__ import annotations

import click

from fhirserver.cli.about import capabilities, print_settings
from fhirserver.cli.clients import client
from fhirserver.cli.grants import launch_token, token
from fhirserver.cli.loading import load_files, load_package
from fhirserver.cli.releases import load_terminology, terminology
from fhirserver.cli.serving import serve, worker
from fhirserver.cli.upkeep import audit, check, reindex
from fhirserver.cli.users import user

COMMANDS: tuple[click.Command, ...] = (
    *(serve, worker),
    *(load_files, load_package),
    *(load_terminology, terminology),
    *(check, reindex, audit),
    *(capabilities, print_settings),
    *(client, launch_token, token, user),
)


@click.group(commands=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="healthmate", message="%(prog)s %(version)s")
def main() -> None:
    """HealthMate, a FHIR R4 server. Settings come from HEALTHMATE_* variables; see `healthmate settings`."""
