"""Accounts of people."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from fhirserver.cli.running import (
    data_option,
    kept_settings,
    person_named,
    print_json,
    record_settings,
    tenant_option,
    with_context,
)
from fhirserver.context import Context
from fhirserver.interactions.choosing import Offered
from fhirserver.settings import ROLES
from smart_auth import administration, events, links, passwords, users
from smart_auth.mail import checked_address


@click.group()
def user() -> None:
    """Accounts of people: docs/accounts.md."""


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
        linked = administration.as_whom(_links(more))
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
        await _say_who_is_not_there(ctx, person)
        await events.record(auth, "user-added", administration.OPERATOR, person.id, roles=sorted(person.roles))
        link = {} if hash_ else {"link": await links.make(auth, "welcome", person.id)}
        return administration.account(person) | link

    print_json(with_context(record_settings(data, tenant), run))


@user.command(name="list")
@data_option
@tenant_option
def list_users(data: Path | None, tenant: str | None) -> None:
    """Print all accounts as JSON, without their secrets."""

    async def run(ctx: Context) -> list[dict[str, Any]]:
        return [administration.account(each) async for each in users.everyone(ctx.auth, count=0)]

    print_json(with_context(kept_settings(data, tenant), run))


@user.command(name="change")
@click.argument("login")
@role_option
@patient_option
@fhir_user_option
@proxy_option
@click.option("--email", metavar="ADDRESS", help="Where mail goes from now on.")
@click.option("--disable/--enable", "disabled", default=None, help="Whether they can log in.")
@data_option
@tenant_option
def change_user(
    login: str,
    roles: tuple[str, ...],
    email: str | None,
    disabled: bool | None,
    data: Path | None,
    tenant: str | None,
    **more: Any,
) -> None:
    """Change what is said and print the account as JSON; whose access changes logs in again.

    A link or an address that is said empty is taken away: --patient ''.
    """

    async def run(ctx: Context) -> dict[str, Any]:
        changes: dict[str, Any] = _links(more)
        changes |= {"roles": users.checked_roles(roles)} if roles else {}
        changes |= {} if email is None else {"email": checked_address(email) if email else None}
        changes |= {} if disabled is None else {"disabled": disabled}
        person = await person_named(ctx, login)
        if not changes:
            raise click.UsageError("say what to change: `healthmate user change --help` lists it")
        changed = await administration.change(ctx.auth, person, changes, administration.OPERATOR)
        await _say_who_is_not_there(ctx, changed)
        link = (
            {"link": await links.make(ctx.auth, "welcome", changed.id)}
            if administration.needs_link(person, changed)
            else {}
        )
        return administration.account(changed) | link

    print_json(with_context(kept_settings(data, tenant), run))


@user.command(name="link")
@click.argument("login")
@data_option
@tenant_option
def link_user(login: str, data: Path | None, tenant: str | None) -> None:
    """Print a link by which a person chooses a password, good once and for a week."""

    async def run(ctx: Context) -> dict[str, Any]:
        return {"link": await links.make(ctx.auth, "welcome", (await person_named(ctx, login)).id)}

    print_json(with_context(kept_settings(data, tenant), run))


@user.command(name="without-second-factor")
@click.argument("login")
@data_option
@tenant_option
def user_without_second_factor(login: str, data: Path | None, tenant: str | None) -> None:
    """Take a lost second step away: authenticator, recovery codes and passkeys."""

    async def run(ctx: Context) -> dict[str, Any]:
        person = await person_named(ctx, login)
        await administration.without_second_factor(ctx.auth, person, administration.OPERATOR)
        return {"removed": True}

    print_json(with_context(kept_settings(data, tenant), run))


@user.command(name="remove")
@click.argument("login")
@data_option
@tenant_option
def remove_user(login: str, data: Path | None, tenant: str | None) -> None:
    """Remove an account; the access it has ends."""

    async def run(ctx: Context) -> dict[str, Any]:
        await administration.remove(ctx.auth, await person_named(ctx, login), administration.OPERATOR)
        return {"removed": login}

    print_json(with_context(kept_settings(data, tenant), run))


async def _say_who_is_not_there(ctx: Context, person: users.User) -> None:
    for reference in await Offered(ctx).missing(person.linked):
        click.echo(f"{reference} is not in the record yet", err=True)


def _links(options: dict[str, Any]) -> dict[str, Any]:
    """What an account is linked to, as far as it was said; what is said empty is taken away."""
    lists = {
        name: [each for each in value if each] for name, value in options.items() if isinstance(value, tuple) and value
    }
    texts = {name: value or None for name, value in options.items() if isinstance(value, str)}
    return administration.links_of(lists | texts)
