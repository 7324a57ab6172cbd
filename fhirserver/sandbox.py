"""What a developer finds after the first start: people who can log in, and an app that can be let in.

Passwords are made up once for each database and kept in it, so that every start can say them again: these people are
nobody. They come with demo patients alone.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from pymongo import ReturnDocument

from fhirserver.context import Context
from fhirserver.fhir import json
from fhirserver.interactions.choosing import called
from fhirserver.settings import ROLES
from fhirserver.store.schema import SERVER
from fhirserver.store.versions import Document
from smart_auth import clients, passwords, users
from smart_auth.clients import Client

SAMPLE = "sample-app"
_A_TO_J = (
    "amber",
    "birch",
    "cedar",
    "cloud",
    "coral",
    "delta",
    "ember",
    "fjord",
    "grove",
    "harbor",
    "island",
    "juniper",
)
_K_TO_S = ("kelp", "lagoon", "maple", "meadow", "nectar", "opal", "otter", "pebble", "quartz", "raven", "saffron")
_T_TO_Z = ("thistle", "tundra", "umber", "violet", "willow", "yarrow", "zephyr")
WORDS = (*_A_TO_J, *_K_TO_S, *_T_TO_Z)
Who = dict[str, Any]  # what an account is created with
READS = "launch launch/patient launch/encounter openid fhirUser patient/*.rs offline_access online_access"


class Login(NamedTuple):
    role: str
    login: str
    password: str


async def furnish(ctx: Context) -> list[Login]:
    """Make the accounts and the client where they are missing. The log-ins, as they were made."""
    kept: dict[str, Any] | None = await ctx.store.database[SERVER].find_one_and_update(
        {"_id": "sandbox"},
        {"$setOnInsert": {"passwords": {role: _password() for role in ROLES}}},
        upsert=True,
        return_document=ReturnDocument.AFTER,
    )
    if kept is None:
        raise RuntimeError("an upsert found nothing")
    logins = []
    for role, who_is in _WHO.items():
        password = kept["passwords"][role]
        if await users.by_login(ctx.auth, role) is None:
            who = await who_is(ctx)
            if who is None:
                continue
            hash_ = await passwords.hashed(password)
            await users.create(ctx.auth, role, roles=[role], password=hash_, verified=True, **who)
        logins.append(Login(role, role, password))
    await _register(ctx)
    return logins


async def _patient(ctx: Context) -> Who | None:
    """The patient with the most observations; those that name nobody, or somebody elsewhere, do not count."""
    busiest: list[Document] = [
        {"$match": {"deleted": None, "sort.patient": {"$regex": "^Patient/"}}},
        {"$group": {"_id": "$sort.patient", "n": {"$sum": 1}}},
        {"$sort": {"n": -1, "_id": 1}},
        {"$limit": 1},
    ]
    for found in await ctx.store.aggregate("Observation", busiest):
        id_ = found["_id"].partition("/")[2]
        return {"name": await _name(ctx, "Patient", id_), "patient": id_, "fhir_user": found["_id"]}
    return None


async def _practitioner(ctx: Context) -> Who | None:
    """Somebody who treats."""
    first: list[Document] = [
        {"$match": {"deleted": None}},
        {"$sort": {"_id": 1}},
        {"$limit": 1},
        {"$project": {"_id": 1}},
    ]
    for found in await ctx.store.aggregate("Practitioner", first):
        who = await _name(ctx, "Practitioner", found["_id"])
        return {"name": who, "fhir_user": f"Practitioner/{found['_id']}"}
    return None


async def _administrator(_: Context) -> Who | None:
    return {"name": "Administrator"}


_WHO = {"patient": _patient, "practitioner": _practitioner, "admin": _administrator}


async def _name(ctx: Context, type_: str, id_: str) -> str:
    found = await ctx.store.read(type_, id_)
    return called(json.resource(found.body).get("name", ())) if found and not found.deleted else type_


async def _register(ctx: Context) -> None:
    if await clients.find(ctx.auth, SAMPLE) is None:
        home = sample_url(ctx)
        app = Client(
            SAMPLE,
            "Sample SMART app",
            ctx.now(),
            redirect_uris=(home,),
            launch_uri=f"{home}launch.html",
            scope=READS,
        )
        await clients.add(ctx.auth, app)


def sample_url(ctx: Context) -> str:
    parts = urlsplit(ctx.base_url)
    return f"{parts.scheme}://{parts.netloc}/sample/"


def _password() -> str:
    return "-".join([*(secrets.choice(WORDS) for _ in range(4)), str(secrets.randbelow(90) + 10)])


def shown(ctx: Context, logins: list[Login]) -> Iterator[str]:
    yield f"Log-ins of this sandbox, at {ctx.auth.issuer}/login:"
    for each in logins:
        yield f"  {each.login:13} {each.password}"
    yield f"Sample SMART app at {sample_url(ctx)}; opened from an EHR at {ctx.auth.issuer}/open"
