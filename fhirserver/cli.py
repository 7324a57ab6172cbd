"""The command line. Exit codes: 0 done, 1 something failed and was said, 2 refused: wrong usage, no usable database."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import click
from pydantic import ValidationError
from pymongo import AsyncMongoClient

from fhirserver import files, process, telemetry
from fhirserver.app import assemble
from fhirserver.context import Context
from fhirserver.fhir import json
from fhirserver.fhir.definitions import r4
from fhirserver.fhir.outcome import Outcome
from fhirserver.interactions import parameters
from fhirserver.interactions import reindex as reindexing
from fhirserver.interactions.capabilities import statement
from fhirserver.interactions.load import Receipt, load
from fhirserver.interactions.releases import forget_release, listed_releases, load_release
from fhirserver.process import PortTaken, database, operator, summary
from fhirserver.settings import PREFIX, ROLES, Settings, shown, unknown_variables
from fhirserver.store.check import findings
from fhirserver.store.connect import DatabaseRefused
from fhirserver.store.faults import refusal
from fhirserver.store.ledger import audit_key
from fhirserver.store.ledger import verify as verified
from smart_auth import administration, clients, events, launches, links, passwords, registration, tokens, users
from smart_auth.mail import checked_address
from smart_auth.refusal import Refused
from smart_auth.scopes import parse as parse_scope
from terminology.releases import releases
from terminology.releases.files import NotARelease
from terminology.releases.kinds import KINDS

RESOURCE_TYPES = 146  # https://hl7.org/fhir/R4/resourcelist.html
REASONS_SHOWN = 20
T = TypeVar("T")

File = click.Path(exists=True, dir_okay=False, path_type=Path)
data_option = click.option(
    "--data", type=click.Path(file_okay=False, path_type=Path), help="Folder of the embedded database."
)
tenant_option = click.option("--tenant", metavar="NAME", help="Whose record, where HEALTHMATE_TENANTS names tenants.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="healthmate", message="%(prog)s %(version)s")
def main() -> None:
    """HealthMate, a FHIR R4 server. Settings come from HEALTHMATE_* variables; see `healthmate settings`."""


@main.command()
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on.  [default: 8000]")
@data_option
@click.option("--demo", type=click.IntRange(0), metavar="N", help="Fill an empty database with N synthetic patients.")
@click.option("--open", is_flag=True, default=None, help="Answer without authorization; on loopback only.")
def serve(**options: Any) -> None:
    """Serve FHIR, with an embedded MongoDB unless HEALTHMATE_MONGODB_URL names another."""
    settings = _settings(**options)
    if settings.open:
        click.echo("Authorization is off: whoever can connect from this machine can read and change everything.")
    with _refusals():
        process.serve(settings, click.echo)


@main.command()
@data_option
def worker(data: Path | None) -> None:
    """Do the jobs of servers whose HEALTHMATE_BROKER_URL names the same Redis; run as many as are needed."""
    settings = _settings(data=data)
    if settings.broker_url is None:
        click.echo(f"{PREFIX}BROKER_URL is not set, so `healthmate serve` runs a worker of its own.", err=True)
        sys.exit(2)
    with _refusals():
        process.work(settings)


@main.command(name="load")
@click.argument("paths", nargs=-1, required=True, type=File, metavar="FILE...")
@data_option
@tenant_option
def load_files(paths: tuple[Path, ...], data: Path | None, tenant: str | None) -> None:
    """Store the resources of Bundles, NDJSON or single resources, plain or gzip, under the ids they have."""
    unread: list[files.Unread] = []

    def resources() -> Iterator[files.Resource]:
        for path in paths:
            source = files.opened(path)
            with source.raw, click.progressbar(length=source.size, label=path.name) as bar:
                for resource in files.resources(source, r4(), unread.append):
                    bar.update(source.raw.tell() - bar.pos)
                    yield resource
                bar.update(source.size - bar.pos)

    _finish(_load(_record(data, tenant), resources()), unread)


@main.command()
@click.argument("path", type=File, metavar="FILE.tgz")
@click.option("--examples", is_flag=True, help="Its examples, too.")
@data_option
@tenant_option
def load_package(path: Path, examples: bool, data: Path | None, tenant: str | None) -> None:
    """Store the profiles, value sets, search parameters… of a FHIR package, which count from then on.

    Run again, it stores nothing anew.
    """
    unread: list[files.Unread] = []
    described = files.described(path)
    if not described.is_r4:
        said = f"{described.name} {described.version} is for FHIR {', '.join(described.fhir_versions)}, and this is R4"
        raise click.ClickException(said)

    def part(label: str, *, examples: bool) -> Iterator[files.Resource]:
        source = files.opened(path)
        with source.raw, click.progressbar(length=source.size, label=label) as bar:
            for resource in files.package(source, r4(), unread.append, examples=examples):
                bar.update(source.raw.tell() - bar.pos)
                yield resource
            bar.update(source.size - bar.pos)

    async def run(ctx: Context) -> Receipt:
        receipt = await load(ctx, part(f"{described.name} {described.version}", examples=False))
        # when these come, the profiles that they may have to keep are known
        return receipt.and_(await load(ctx, part("its examples", examples=True))) if examples else receipt

    receipt = _with_context(_record(data, tenant), run)
    if described.needs:
        click.echo(
            f"{described.name} builds upon {', '.join(described.needs)}; what is missing of these is not checked."
        )
    _finish(receipt, unread)


@main.command()
@click.argument("kind", type=click.Choice(sorted(KINDS)))
@click.argument("path", type=click.Path(exists=True, path_type=Path), metavar="FILE")
@click.option("--version", help="What the release is called.  [default: as its files say]")
@data_option
@tenant_option
def load_terminology(kind: str, path: Path, version: str | None, data: Path | None, tenant: str | None) -> None:
    """Keep a release of a code system as its publisher gives it out: a zip, its folder, or a file.

    Cut off, it is run again and goes on. docs/terminology.md says where to get each, and what its licence asks.
    """
    with _Bars() as bars:
        try:
            receipt = _with_context(
                _record(data, tenant), lambda ctx: load_release(ctx, kind, path, version, bars.report)
            )
        except NotARelease as error:
            raise click.ClickException(str(error)) from error
    here = "was here already, unchanged; it is current now" if receipt.resumed is None else "is current now"
    after = f" ({receipt.resumed:,} of them by an earlier run)" if receipt.resumed else ""
    click.echo(f"{receipt.url}|{receipt.version} {here}: {receipt.concepts:,} concepts{after}.")
    if receipt.counted != receipt.concepts:
        click.echo(f"but the database holds {receipt.counted:,} of them, so it is not used; run it again", err=True)
        sys.exit(1)


@main.command()
@click.option("--remove", metavar="URL|VERSION", help="Remove this one, as the list names it.")
@data_option
@tenant_option
def terminology(remove: str | None, data: Path | None, tenant: str | None) -> None:
    """List the releases of code systems that are kept here."""
    record = _record(data, tenant)
    if remove is not None:
        url, _, version = remove.partition("|")
        if not _with_context(record, lambda ctx: forget_release(ctx, url, version)):
            raise click.ClickException(f"{remove} is not kept here")
    for each in _with_context(record, listed_releases):
        state = "" if each.current else ", an earlier one"
        if not each.ready:
            state = f", of which {each.written:,} are loaded: run its load again"
        click.echo(f"{each.url}|{each.version}: {each.name}, {each.concepts:,} concepts{state}")


class _Bars:
    """A progress bar for one thing after the other."""

    def __init__(self) -> None:
        self._shown = ExitStack()
        self._what = ""
        self._bar: Any = None

    def __enter__(self) -> _Bars:
        return self

    def __exit__(self, *_: object) -> None:
        self._shown.close()

    def report(self, what: str, done: int, total: int) -> None:
        if what != self._what:
            self._shown.close()
            self._what = what
            self._bar = self._shown.enter_context(click.progressbar(length=total, label=what))
        self._bar.update(done - self._bar.pos)


@main.command()
@data_option
@tenant_option
def reindex(data: Path | None, tenant: str | None) -> None:
    """Compute the index values of every stored resource again, beside a running server too."""
    receipts = _with_context(_record(data, tenant), _reindexed)
    failed = [item for receipt in receipts for item in receipt.failed.items()]
    click.echo(f"Reindexed {sum(receipt.done for receipt in receipts):,} resources.")
    for reference, reason in failed[:REASONS_SHOWN]:
        click.echo(f"not indexed: {reference}: {reason}", err=True)
    if failed:
        click.echo(f"{len(failed):,} were not indexed", err=True)
    sys.exit(1 if failed else 0)


async def _reindexed(ctx: Context) -> list[reindexing.Receipt]:
    return [await _reindexed_type(ctx, type_) for type_ in await ctx.store.types()]


async def _reindexed_type(ctx: Context, type_: str) -> reindexing.Receipt:
    with click.progressbar(length=0, label=type_) as bar:

        async def report(done: int, total: int | None = None, cursor: Any = None) -> None:
            bar.length = total or 0
            bar.update(done - bar.pos)

        return await reindexing.reindex(ctx, type_, report)


@main.command()
def capabilities() -> None:
    """Print the CapabilityStatement of this release."""
    settings = _settings()
    unconnected: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(connect=False)
    click.echo(json.pretty(json.encode(statement(assemble(settings, unconnected[settings.database], b"")))))


@main.command()
@data_option
@tenant_option
def check(data: Path | None, tenant: str | None) -> None:
    """Check the database, its indexes and the definitions; exit code 1 when something is wrong."""

    async def run(ctx: Context) -> list[tuple[bool, str]]:
        found = [finding async for finding in findings(ctx.store)]
        found += [finding async for finding in parameters.findings(ctx)]
        return found + [finding async for finding in releases.findings(ctx.store.database)]

    definitions = r4()
    results = [
        (len(definitions.resource_types) == 146, f"definitions: {len(definitions.resource_types)} resource types")
    ]
    results += _with_context(_record(data, tenant), run)
    for good, sentence in results:
        click.echo(f"{'ok  ' if good else 'FAIL'}  {sentence}")
    sys.exit(0 if all(good for good, _ in results) else 1)


@main.group()
def audit() -> None:
    """The ledger of audit events."""


@audit.command()
@data_option
@tenant_option
def verify(data: Path | None, tenant: str | None) -> None:
    """Check that no audit event was changed, taken out or put in; exit code 1 where one was.

    With the HEALTHMATE_SECRET that the server has; unset, it is kept in the database.
    """
    verdict = _with_context(_record(data, tenant), lambda ctx: verified(ctx.store, audit_key(ctx.secret)))
    for strand, number, reason in verdict.breaks[:REASONS_SHOWN]:
        click.echo(f"FAIL  event {number:,} of strand {strand} {reason}", err=True)
    click.echo(f"{verdict.lines:,} audit events in {verdict.strands:,} strands are as they were written.")
    sys.exit(1 if verdict.breaks else 0)


@main.command(name="settings")
def print_settings() -> None:
    """Print every setting, its value and what it decides; secrets are masked."""
    for variable, value, meaning in shown(_settings()):
        click.echo(f"{variable}={value}\n    {meaning}")


@main.group()
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
@click.option("--launch-uri", metavar="URL", help="Where an EHR opens the app.")
@data_option
@tenant_option
def add_client(
    name: str, id_: str | None, kind: str, jwks: Path | None, data: Path | None, tenant: str | None, **more: Any
) -> None:
    """Register a client and print it as JSON."""
    metadata = {"client_name": name, "token_endpoint_auth_method": PROOFS[kind]} | more
    metadata["redirect_uris"] = list(more["redirect_uris"])
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
        _print(_with_context(_record(data, tenant), run))
    except (Refused, Outcome) as refused:
        click.echo(str(refused), err=True)
        sys.exit(1)


@client.command(name="list")
@data_option
@tenant_option
def list_clients(data: Path | None, tenant: str | None) -> None:
    """Print all clients as JSON, without their secrets."""

    async def run(ctx: Context) -> list[dict[str, Any]]:
        return [clients.shown(each) for each in await clients.listed(ctx.auth)]

    _print(_with_context(_record(data, tenant), run))


@client.command(name="remove")
@click.argument("id_", metavar="ID")
@data_option
@tenant_option
def remove_client(id_: str, data: Path | None, tenant: str | None) -> None:
    """Remove a client; the access it has ends."""
    if not _with_context(_record(data, tenant), lambda ctx: clients.remove(ctx.auth, id_)):
        click.echo(f"there is no client {id_}", err=True)
        sys.exit(1)
    click.echo(f"Removed {id_}; its tokens are revoked.")


@main.command()
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
        person = await _person(ctx, user)
        secret = await launches.begin(ctx.auth, person.id, launches.checked(context))
        return await launches.opened(ctx.auth, secret, client_id)

    try:
        _print(_with_context(_record(data, tenant), run))
    except Refused as refused:
        click.echo(str(refused), err=True)
        sys.exit(1)


@main.command()
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
        person = None if user is None else (await _person(ctx, user)).id
        life, context = timedelta(minutes=minutes), launches.checked({"patient": patient})
        id_ = await tokens.begin(ctx.auth, "healthmate token", scope, life, user=person, context=context)
        await events.record(ctx.auth, "token-made", "operator", person or "", scope=scope)
        return (await tokens.issue(ctx.auth, id_, scope, life, None)).access

    unknown = [each for each in scope.split() if parse_scope(each) is None]
    if unknown:
        raise click.UsageError(f"{unknown[0]} is no scope; write system/*.rs, user/Observation.cruds, patient/*.rs")
    try:
        click.echo(_with_context(_record(data, tenant), run))
    except Refused as refused:
        click.echo(str(refused), err=True)
        sys.exit(1)


@main.group()
def user() -> None:
    """Accounts of people: docs/smart.md."""


role_option = click.option(
    "--role", "roles", multiple=True, type=click.Choice(ROLES), help="May be said more than once."
)
patient_option = click.option("--patient", metavar="ID", help="The person's own Patient.")
fhir_user_option = click.option("--fhir-user", "fhirUser", metavar="REFERENCE", help="Who they are: Practitioner/1.")
proxy_option = click.option("--proxy-for", "proxyFor", multiple=True, metavar="ID", help="A Patient they look after.")


@user.command(name="add")
@click.argument("login")
@click.option("--name", metavar="NAME", help="As apps and pages show it.")
@click.option("--email", metavar="ADDRESS", help="Where mail goes.  [default: the log-in name, if it is an address]")
@role_option
@patient_option
@fhir_user_option
@proxy_option
@click.option("--password-stdin", is_flag=True, help="Read the password; else print a link to choose it by.")
@data_option
@tenant_option
def add_user(
    login: str, password_stdin: bool, roles: tuple[str, ...], data: Path | None, tenant: str | None, **more: Any
) -> None:
    """Add an account and print it as JSON. The first administrator comes into being this way."""
    email = more["email"] or (login if "@" in login else None)
    password = sys.stdin.readline().rstrip("\r\n") if password_stdin else None

    async def run(ctx: Context) -> dict[str, Any]:
        auth = ctx.auth
        if password is not None:
            await passwords.check_new(auth, password, [login, more["name"] or ""])
        hash_ = None if password is None else await passwords.hashed(password)
        linked = _links(more)
        person = await users.create(
            auth,
            login,
            name=more["name"] or "",
            email=email and checked_address(email),
            password=hash_,
            roles=roles or ("patient",),
            verified=True,
            **linked,
        )
        await events.record(auth, "user-added", "operator", person.id, roles=sorted(person.roles))
        link = {} if hash_ else {"link": await links.make(auth, "welcome", person.id)}
        return administration.account(person) | link

    _account_command(_record(data, tenant), run)


@user.command(name="list")
@data_option
@tenant_option
def list_users(data: Path | None, tenant: str | None) -> None:
    """Print all accounts as JSON, without their secrets."""

    async def run(ctx: Context) -> list[dict[str, Any]]:
        return [administration.account(each) async for each in users.everyone(ctx.auth, count=0)]

    _print(_with_context(_record(data, tenant), run))


@user.command(name="change")
@click.argument("login")
@role_option
@patient_option
@fhir_user_option
@proxy_option
@click.option("--disable/--enable", "disabled", default=None, help="Whether they can log in.")
@data_option
@tenant_option
def change_user(
    login: str, roles: tuple[str, ...], disabled: bool | None, data: Path | None, tenant: str | None, **more: Any
) -> None:
    """Change what is said and print the account as JSON; whose access changes logs in again."""

    async def run(ctx: Context) -> dict[str, Any]:
        changes: dict[str, Any] = _links(more)
        changes |= {"roles": users.checked_roles(roles)} if roles else {}
        changes |= {} if disabled is None else {"disabled": disabled}
        person = await _person(ctx, login)
        return administration.account(await administration.change(ctx.auth, person, changes, "operator"))

    _account_command(_record(data, tenant), run)


@user.command(name="link")
@click.argument("login")
@data_option
@tenant_option
def link_user(login: str, data: Path | None, tenant: str | None) -> None:
    """Print a link by which a person chooses a password, good once and for a week."""

    async def run(ctx: Context) -> dict[str, Any]:
        return {"link": await links.make(ctx.auth, "welcome", (await _person(ctx, login)).id)}

    _account_command(_record(data, tenant), run)


@user.command(name="remove")
@click.argument("login")
@data_option
@tenant_option
def remove_user(login: str, data: Path | None, tenant: str | None) -> None:
    """Remove an account; the access it has ends."""

    async def run(ctx: Context) -> dict[str, Any]:
        await administration.remove(ctx.auth, await _person(ctx, login), "operator")
        return {"removed": login}

    _account_command(_record(data, tenant), run)


def _links(options: dict[str, Any]) -> dict[str, Any]:
    """What an account is linked to, as far as it was said."""
    said = {name: list(value) if isinstance(value, tuple) else value for name, value in options.items() if value}
    return administration.links_of(said)


async def _person(ctx: Context, login: str) -> users.User:
    person = await users.by_login(ctx.auth, login)
    if person is None:
        raise Refused("invalid_request", f"there is no account {login}")
    return person


def _account_command(settings: Settings, run: Callable[[Context], Coroutine[Any, Any, Any]]) -> None:
    try:
        _print(_with_context(settings, run))
    except Refused as refused:
        click.echo(str(refused), err=True)
        sys.exit(1)


# --- what the commands share -----------------------------------------------------------------------------------------


def _settings(**options: Any) -> Settings:
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


def _record(data: Path | None, tenant: str | None) -> Settings:
    """The settings of the one record that a command works on."""
    settings = _settings(data=data)
    found = settings.partitions().get(tenant or "")
    if found is None:
        known = f"one of {', '.join(settings.tenants)}" if settings.tenants else "left out: there are no tenants here"
        click.echo(f"--tenant must be {known}", err=True)
        sys.exit(2)
    return found


class _refusals:
    """Turns a refusal to work into its sentence and exit code 2, and a database that fails later into 1."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (DatabaseRefused, PortTaken)):
            click.echo(str(error), err=True)
            sys.exit(2)
        if isinstance(error, Exception) and (state := refusal(error)) is not None:
            click.echo(f"Stopped: {state}. What was done until then is kept; run it again to go on.", err=True)
            sys.exit(1)


def _print(value: Any) -> None:
    click.echo(json.pretty(json.encode(value)))


def _with_context(settings: Settings, run: Callable[[Context], Coroutine[Any, Any, T]]) -> T:
    async def inside(full: Settings) -> T:
        async with operator(full) as ctx:
            return await run(ctx)

    with _refusals(), process.stopping_in_order(), database(settings) as full:
        process.collect_seldom()
        return asyncio.run(inside(full))


def _load(settings: Settings, resources: Iterable[files.Resource]) -> Receipt:
    return _with_context(settings, lambda ctx: load(ctx, resources))


def _finish(receipt: Receipt, unread: list[files.Unread]) -> None:
    """Print the receipt: what was stored, counted again in the database, and what was not, with its reason."""
    failed = [(part.place, part.reason) for part in unread] + list(receipt.failed)
    click.echo(summary(receipt))
    for place, reason in failed[:REASONS_SHOWN]:
        click.echo(f"not stored: {place}: {reason}", err=True)
    if len(failed) > REASONS_SHOWN:
        click.echo(f"… and {len(failed) - REASONS_SHOWN:,} more", err=True)
    if receipt.missing:
        click.echo(f"{receipt.missing:,} were written but are not in the database", err=True)
    if failed:
        click.echo(f"{len(failed):,} were not stored", err=True)
    sys.exit(1 if failed or receipt.missing else 0)
