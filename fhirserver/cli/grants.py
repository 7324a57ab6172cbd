"""Access that the operator hands out: an EHR launch, a token for curl."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from fhirserver.cli.running import data_option, person_named, print_json, record_settings, tenant_option, with_context
from fhirserver.context import Context
from fhirserver.interactions.choosing import Offered
from fhirserver.process import is_known
from fhirserver.settings import Settings
from smart_auth import administration, events, launches, tokens
from smart_auth.scopes import parse as parse_scope


@click.command()
@click.option("--user", required=True, metavar="LOGIN", help="Who opens the app.")
@click.option("--patient", metavar="ID", help="Whose record is open.")
@click.option("--encounter", metavar="ID", help="Which visit is open.")
@click.option("--client", "client_id", metavar="ID", help="The app; its launch_uri makes a URL to open.")
@data_option
@tenant_option
def launch_token(
    user: str, client_id: str | None, data: Path | None, tenant: str | None, **context: str | None
) -> None:
    """Begin an EHR launch as a user and print what the app is opened with, as JSON; it waits for five minutes."""

    async def run(ctx: Context) -> dict[str, Any]:
        await _check_served(ctx, settings)
        person, checked = await person_named(ctx, user), launches.checked(context)
        offering = replace(ctx.auth, choices=Offered(ctx))
        if (wrong := await launches.about_others(offering, person, checked)) is not None:
            raise click.ClickException(f"{wrong} {user} may open")
        secret = await launches.begin(ctx.auth, person.id, checked, client_id)
        await launches.tell(ctx.auth, person, checked.get("patient"), client_id or "", by=administration.OPERATOR)
        return await launches.opened(ctx.auth, secret, client_id)

    settings = record_settings(data, tenant)
    print_json(with_context(settings, run))


@click.command()
@click.option("--user", metavar="LOGIN", help="On whose behalf.  [default: a service's, on nobody's]")
@click.option("--patient", metavar="ID", help="Whose record is open: patient/ scopes need one.")
@click.option("--scope", default="system/*.rs", show_default=True, metavar="SCOPES")
@click.option("--minutes", type=click.IntRange(1, 24 * 60), default=60, show_default=True)
@data_option
@tenant_option
def token(
    user: str | None, patient: str | None, scope: str, minutes: int, data: Path | None, tenant: str | None
) -> None:
    """Print an access token, for curl and scripts of who runs the server."""

    async def run(ctx: Context) -> str:
        await _check_served(ctx, settings)
        person = None if user is None else (await person_named(ctx, user)).id
        life, context = timedelta(minutes=minutes), launches.checked({"patient": patient})
        id_ = await tokens.begin(ctx.auth, "healthmate token", scope, life, user=person, context=context)
        await events.record(ctx.auth, "token-made", administration.OPERATOR, person or "", scope=scope)
        return (await tokens.issue(ctx.auth, id_, scope, life, None)).access

    for each in scope.split():
        found = parse_scope(each)
        if found is None:
            raise click.UsageError(f"{each} is no scope; write system/*.rs, user/Observation.cruds, patient/*.rs")
        if found.level == "patient" and patient is None:
            raise click.UsageError(f"{each} shows nothing without --patient, which says whose record is open")
        if found.level == "user" and user is None:
            raise click.UsageError(f"{each} shows nothing without --user, which says on whose behalf it is")
    if not scope.strip():
        raise click.UsageError("--scope is empty; write system/*.rs, user/Observation.cruds, patient/*.rs")
    settings = record_settings(data, tenant)
    click.echo(with_context(settings, run))


async def _check_served(ctx: Context, settings: Settings) -> None:
    """What is handed out for another record than the one that is served would be good nowhere."""
    if not await is_known(ctx):
        where = f" in {settings.data}" if settings.mongodb_url is None else ""
        said = f"no server has begun on the record{where}; start it first, or say --data where that of the server is"
        raise click.ClickException(said)
