"""Apps and services that may ask for access."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from fhirserver.cli.running import (
    File,
    data_option,
    kept_settings,
    print_json,
    record_settings,
    refusals,
    tenant_option,
    with_context,
)
from fhirserver.context import Context
from fhirserver.fhir import json
from fhirserver.fhir.outcome import Outcome
from smart_auth import clients, registration


@click.group()
def client() -> None:
    """Apps and services that may ask for access: docs/smart.md."""


PROOFS = {  # how a client proves who it is
    "public": "none",
    "confidential": "client_secret_basic",
    "asymmetric": "private_key_jwt",
    "backend": "private_key_jwt",
}


@client.command(name="add")
@click.argument("name")
@click.option("--id", "id_", metavar="ID", help="client_id.  [default: a new one]")
@click.option("--public", "kind", flag_value="public", default="public", help="An app that keeps no secret (default).")
@click.option("--confidential", "kind", flag_value="confidential", help="An app with a secret, which is printed once.")
@click.option("--asymmetric", "kind", flag_value="asymmetric", help="An app that signs with a key.")
@click.option("--backend", "kind", flag_value="backend", help="A service without a person, which signs with a key.")
@click.option(
    "--redirect-uri", "redirect_uris", multiple=True, metavar="URL", help="Where people come back to the app."
)
@click.option("--jwks", type=File, help="File with its public keys, a JSON Web Key Set.")
@click.option("--jwks-uri", metavar="URL", help="Where it publishes them instead.")
@click.option("--scope", metavar="SCOPES", help="The most it may ask for.  [default: what people allow]")
@click.option(
    "--purpose",
    "purposes",
    multiple=True,
    metavar="CODE",
    help="What a service uses data for, a code of v3-PurposeOfUse (HRESCH, HPAYMT…): consents may be about that.",
)
@click.option("--launch-uri", metavar="URL", help="Where an EHR opens the app.")
@data_option
@tenant_option
def add_client(
    name: str, id_: str | None, kind: str, jwks: Path | None, data: Path | None, tenant: str | None, **more: Any
) -> None:
    """Register a client and print it as JSON."""
    metadata = {"client_name": name, "token_endpoint_auth_method": PROOFS[kind]} | more
    metadata["redirect_uris"], metadata["purposes"] = list(more["redirect_uris"]), list(more["purposes"])
    if kind == "backend":
        metadata["grant_types"] = [clients.BACKEND]
        if not more["scope"]:
            raise click.UsageError("a backend service has a --scope: the most it may ask for")

    async def run(ctx: Context) -> dict[str, Any]:
        added, secret = registration.described(ctx.auth, metadata, id_=id_, dynamic=False)
        await clients.add(ctx.auth, added)
        return clients.shown(added) | secret

    try:
        metadata["jwks"] = None if jwks is None else json.decode(jwks.read_bytes())
    except Outcome as error:
        raise click.ClickException(f"{jwks}: {error}") from error
    with refusals():
        print_json(with_context(record_settings(data, tenant), run))


@client.command(name="list")
@data_option
@tenant_option
def list_clients(data: Path | None, tenant: str | None) -> None:
    """Print all clients as JSON, without their secrets."""

    async def run(ctx: Context) -> list[dict[str, Any]]:
        return [clients.shown(each) for each in await clients.listed(ctx.auth)]

    print_json(with_context(kept_settings(data, tenant), run))


@client.command(name="remove")
@click.argument("id_", metavar="ID")
@data_option
@tenant_option
def remove_client(id_: str, data: Path | None, tenant: str | None) -> None:
    """Remove a client; the access it has ends."""
    if not with_context(kept_settings(data, tenant), lambda ctx: clients.remove(ctx.auth, id_)):
        click.echo(f"there is no client {id_}", err=True)
        sys.exit(1)
    click.echo(f"Removed {id_}; its tokens are revoked.")
