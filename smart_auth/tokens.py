"""Access and refresh tokens: opaque, kept as their digests. All of one authorization live and end together.

A *grant* is what a user allowed an app, or what a backend service was given: `auth.grants`. Tokens, `auth.tokens`,
belong to one. To revoke is one write to the grant, so that no token can slip past it, nor one that is being issued
meanwhile.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import uuid4

from smart_auth import users
from smart_auth.known import Grant
from smart_auth.server import Auth, Document, digest, new_secret
from smart_auth.users import User

SECRET_LENGTH = 43
OFFLINE = re.compile(r"(^|\s)offline_access(\s|$)")  # in the scope of a grant
CHANGED = ("revoked", "roles", "disabled", "fhir_user", "patient", "proxy_for")  # of grants and accounts


class Issued(NamedTuple):
    access: str
    expires_in: int
    refresh: str | None


async def begin(
    auth: Auth,
    client: str,
    scope: str,
    lifetime: timedelta,
    *,
    user: str | None = None,
    session: str | None = None,
    device: str | None = None,
    context: Mapping[str, Any] | None = None,
    maker: str | None = None,
) -> str:
    """A new grant, by its id. It is forgotten after `lifetime` unless tokens are issued that live longer.

    `device` tells the person which it is of several of one app. `maker`: it stands while this account administers.
    `entrusted`: not the account names the patient as one whose record this person keeps, so the record has to.
    """
    id_, now = uuid4().hex, auth.now()
    context = context or {}
    person = await users.find(auth, user) if user else None
    entrusted = person is not None and not _keeps(person, context.get("patient"))
    grant: Document = {"_id": id_, "client": client, "user": user, "session": session, "device": device, "scope": scope}
    grant |= {"context": context, "entrusted": entrusted, "maker": maker}
    await auth["grants"].insert_one(grant | {"issued": now, "expires": now + lifetime, "revoked": None})
    return id_


async def issue(auth: Auth, grant: str, scope: str, lifetime: timedelta, refresh: timedelta | None) -> Issued:
    """Tokens of a grant: one for access, and where it may be refreshed, one to get the next with.

    `scope` is that of the access token; a refresh token has all that was granted.
    """
    now, access, more = auth.now(), new_secret(), new_secret()
    common = {"grant": grant, "issued": now}
    issued = [{"_id": digest(access), "kind": "access", "scope": scope, "expires": now + lifetime} | common]
    if refresh is not None:
        issued.append({"_id": digest(more), "kind": "refresh", "expires": now + refresh, "used": None} | common)
    await auth["grants"].update_one({"_id": grant}, {"$max": {"expires": now + max(lifetime, refresh or lifetime)}})
    await auth["tokens"].insert_many(issued)
    return Issued(access, int(lifetime.total_seconds()), None if refresh is None else more)


async def find(auth: Auth, secret: str) -> Grant | None:
    """What an access token allows now; None where it is unknown, expired or revoked."""
    if len(secret) != SECRET_LENGTH:
        return None
    token = digest(secret)
    grant = auth.known.get(token)
    if grant is None:
        epoch = auth.known.epoch
        grant = await _read(auth, token)
        if grant is None:
            return None
        auth.known.keep(grant, epoch)
    return grant if auth.now() < grant.expires else None


async def _read(auth: Auth, token: str) -> Grant | None:
    found = await auth["tokens"].find_one({"_id": token, "kind": "access"})
    return None if found is None else await granted(auth, found)


async def granted(auth: Auth, token: Document) -> Grant | None:
    """What a token, as it is stored, allows as part of its grant; None where that is over."""
    standing = await _standing(auth, token["grant"])
    if standing is None:
        return None
    grant, person = standing
    return Grant(
        id=grant["_id"],
        token=token["_id"],
        client=grant["client"],
        scope=token.get("scope") or grant["scope"],
        issued=token["issued"],
        expires=token["expires"],
        user=grant["user"],
        session=grant["session"],
        fhir_user=person.fhir_user if person else None,
        roles=person.roles if person else frozenset(),
        records=person.records if person else (),
        context=grant["context"],
        own=person.patient if person else None,
        purposes=frozenset() if grant["user"] else await _purposes(auth, grant["client"]),
    )


async def stands(auth: Auth, grant: str) -> bool:
    """Whether nobody took it back, and the account is in use, or who made it still an administrator."""
    return await _standing(auth, grant) is not None


async def _standing(auth: Auth, id_: str) -> tuple[Document, User | None] | None:
    """A grant, as it is stored, and whose it is; None where it is over."""
    grant = await auth["grants"].find_one({"_id": id_, "revoked": None})
    if grant is None:
        return None
    person = await users.find(auth, grant["user"]) if grant["user"] else None
    if grant["user"] and (person is None or not _stands(person, grant)):
        return None
    if grant.get("maker") and not await users.administers(auth, grant["maker"]):
        return None
    return grant, person


async def _purposes(auth: Auth, client: str) -> frozenset[str]:
    found = await auth["clients"].find_one({"_id": client}, {"purposes": 1})
    return frozenset(found.get("purposes", ()) if found else ())


def _stands(person: User, grant: Document) -> bool:
    """Whether the account is in use, and the patient is still one whose record this person may open an app with.

    Where the record entrusted it to them, each request asks the record whether it still does.
    """
    if person.disabled:
        return False
    return grant.get("entrusted", False) or _keeps(person, grant["context"].get("patient"))


def _keeps(person: User, patient: str | None) -> bool:
    return patient is None or person.looks_up or patient in person.records


async def renewable(auth: Auth, secret: str, *, again: bool = False) -> Grant | None:
    """What a refresh token could be used for; `again`: also one that was used before."""
    asked = {"_id": digest(secret), "kind": "refresh"} | ({} if again else {"used": None})
    token = await auth["tokens"].find_one(asked)
    return None if token is None or token["expires"] <= auth.now() else await granted(auth, token)


async def claim(auth: Auth, secret: str, grant: str) -> bool:
    """Use a refresh token. The second use is one too many: it, or the first, was a thief's, and the grant ends.

    https://www.rfc-editor.org/rfc/rfc9700#section-4.14.2
    """
    asked = {"_id": digest(secret), "kind": "refresh", "used": None}
    if await auth["tokens"].find_one_and_update(asked, {"$set": {"used": auth.now()}}) is not None:
        return True
    await revoke(auth, grant, "a refresh token was used again")
    return False


async def grant_of(auth: Auth, secret: str) -> Document | None:
    """The grant, as it is stored, that a token of whatever kind belongs to."""
    token = await auth["tokens"].find_one({"_id": digest(secret)})
    return None if token is None else await auth["grants"].find_one({"_id": token["grant"]})


async def revoke(auth: Auth, grant: str, reason: str) -> None:
    await revoke_all(auth, {"_id": grant}, reason)


async def revoke_all(auth: Auth, which: Mapping[str, Any], reason: str) -> int:
    """End grants: of a client, of a user, of a session. How many there were."""
    change = {"$set": {"revoked": auth.now(), "reason": reason}}
    ended = await auth["grants"].update_many({**which, "revoked": None}, change)
    auth.known.changed()
    return ended.modified_count


def changing(auth: Auth) -> tuple[Sequence[str], Document]:
    """What changes what tokens allow: collections, and which change events of these."""
    grants, accounts = (auth[name].name for name in ("grants", "users"))
    told = [{f"updateDescription.updatedFields.{name}": {"$exists": True}} for name in CHANGED]
    gone = {"operationType": "delete", "ns.coll": accounts}
    return (grants, accounts), {"$or": [*told, {"operationType": "replace"}, gone]}
