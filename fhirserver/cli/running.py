"""How a command runs: with the settings that were typed, on the record they name, to an end that is said."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import click
from pydantic import ValidationError

from fhirserver import process, telemetry
from fhirserver.context import Context
from fhirserver.fhir import json
from fhirserver.fhir.outcome import Outcome
from fhirserver.process import PortTaken, as_served, database, operator
from fhirserver.settings import PREFIX, Settings, unknown_variables
from fhirserver.store.connect import DatabaseRefused
from fhirserver.store.faults import refusal
from smart_auth import users
from smart_auth.refusal import Refused

REASONS_SHOWN = 20
T = TypeVar("T")

File = click.Path(exists=True, dir_okay=False, path_type=Path)
data_option = click.option(
    "--data", type=click.Path(file_okay=False, path_type=Path), help="Folder of the embedded database."
)
tenant_option = click.option("--tenant", metavar="NAME", help="Whose record, where HEALTHMATE_TENANTS names tenants.")


def settings_with(**options: Any) -> Settings:
    """What was typed goes before the environment. A wrong value ends the command with a sentence and exit code 2."""
    try:
        settings = Settings(**{name: value for name, value in options.items() if value is not None})
    except ValidationError as error:
        for fault in error.errors(include_url=False, include_context=False, include_input=False):
            if fault["type"] != "default_factory_not_called":
                variable = "".join(f"{PREFIX}{part}: ".upper() for part in fault["loc"])
                click.echo(variable + fault["msg"].removeprefix("Value error, "), err=True)
        sys.exit(2)
    telemetry.configure(settings.log_level)
    for variable in unknown_variables(os.environ):
        click.echo(f"{variable} is not a setting, so it is ignored; `healthmate settings` lists them all.", err=True)
    return settings


def kept_settings(data: Path | None, tenant: str | None) -> Settings:
    """Those of a record for a command that looks for what is in it; where there is none, it makes none."""
    settings = record_settings(data, tenant)
    if not process.begun(settings):
        click.echo(f"There is no record in {settings.data}; `healthmate serve` begins one.", err=True)
        sys.exit(2)
    return settings


def record_settings(data: Path | None, tenant: str | None) -> Settings:
    """The settings of the one record that a command works on. It says itself what it did, so its log is of warnings."""
    settings = settings_with(data=data)
    if "log_level" not in settings.model_fields_set:
        telemetry.configure("warning")
    found = settings.partitions().get(tenant or "")
    if found is None:
        known = f"one of {', '.join(settings.tenants)}" if settings.tenants else "left out: there are no tenants here"
        click.echo(f"--tenant must be {known}", err=True)
        sys.exit(2)
    return found


class refusals:
    """Turns a refusal to work into its sentence and exit code 2; what is refused or fails later into 1."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (DatabaseRefused, PortTaken)):
            click.echo(str(error), err=True)
            sys.exit(2)
        if isinstance(error, (Outcome, Refused)):
            click.echo(str(error), err=True)
            sys.exit(1)
        if isinstance(error, Exception) and (state := refusal(error)) is not None:
            click.echo(f"Stopped: {state}. What was done until then is kept; run it again to go on.", err=True)
            sys.exit(1)


def print_json(value: Any) -> None:
    """What a command answers."""
    click.echo(json.pretty(json.encode(value)))


def with_context(settings: Settings, run: Callable[[Context], Coroutine[Any, Any, T]]) -> T:
    """Run a command's work with the database, as the operator, whom no scope binds."""

    async def inside(full: Settings) -> T:
        async with operator(await as_served(full)) as ctx:
            return await run(ctx)

    with refusals(), process.stopping_in_order(), database(settings) as full:
        process.collect_seldom()
        return asyncio.run(inside(full))


async def person_named(ctx: Context, login: str) -> users.User:
    """The account with that log-in name."""
    person = await users.by_login(ctx.auth, login)
    if person is None:
        raise Refused("invalid_request", f"there is no account {login}")
    return person
