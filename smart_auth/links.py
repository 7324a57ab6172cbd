"""Links that are mailed: good once, for a while, and kept as their SHA-256."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Literal, NamedTuple
from urllib.parse import urlencode

from smart_auth.refusal import Refused
from smart_auth.server import Auth, Document, digest, new_secret

Kind = Literal["confirm", "reset", "welcome", "address"]
LIFE: dict[Kind, timedelta] = {
    "confirm": timedelta(days=2),
    "reset": timedelta(minutes=15),
    "welcome": timedelta(days=7),
    "address": timedelta(days=1),
}
PAGES: dict[Kind, str] = {
    "confirm": "/confirm",
    "reset": "/reset/new",
    "welcome": "/reset/new",
    "address": "/account/email/confirm",
}
PASSWORD: tuple[Kind, ...] = ("reset", "welcome")  # by which one chooses a password


class Claimed(NamedTuple):
    """Whose link it is, what it brings (`password` as a hash, `name`, `email`), and the digest of an invitation."""

    user: str
    brought: Mapping[str, str]
    invitation: str | None


async def make(
    auth: Auth, kind: Kind, user: str, brings: Mapping[str, str | None] | None = None, invitation: str | None = None
) -> str:
    """A URL. Once it was followed, the `password` of that hash and the `name` are the account's, and the invitation
    of that digest is used."""
    secret = new_secret()
    link = {"_id": digest(secret), "kind": kind, "user": user, "invitation": invitation} | dict(brings or {})
    await auth["links"].insert_one(link | {"expires": auth.now() + LIFE[kind]})
    return f"{auth.issuer}{PAGES[kind]}?{urlencode({'code': secret})}"


async def look(auth: Auth, secret: str, *kinds: Kind) -> Claimed:
    """What the link is about, while it is good."""
    return _claimed(await auth["links"].find_one(_good(auth, secret, kinds)))


async def over(auth: Auth, secret: str, *kinds: Kind) -> Refused | None:
    """Why a link is good no more; None while it is good."""
    try:
        await look(auth, secret, *kinds)
    except Refused as refused:
        return refused
    return None


async def claim(auth: Auth, secret: str, *kinds: Kind) -> Claimed:
    """What the link is about, and from now on it is good no more."""
    return _claimed(await auth["links"].find_one_and_delete(_good(auth, secret, kinds)))


async def drop(auth: Auth, user: str) -> None:
    """The other links of a person, when one was used or the address changes."""
    await auth["links"].delete_many({"user": user})


def _good(auth: Auth, secret: str, kinds: tuple[Kind, ...]) -> Document:
    return {"_id": digest(secret), "kind": {"$in": [*kinds]}, "user": {"$ne": None}, "expires": {"$gt": auth.now()}}


def _claimed(document: dict[str, Any] | None) -> Claimed:
    if document is None:
        raise Refused("invalid_request", "this link was used before or is too old; ask for a new one")
    brought = {name: value for name in ("password", "name", "email") if (value := document.get(name)) is not None}
    return Claimed(document["user"], brought, document.get("invitation"))
