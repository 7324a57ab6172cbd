"""Accounts: who a person is here, what they may be, and whose record they may open."""

from __future__ import annotations

import unicodedata
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar
from uuid import uuid4

from pymongo import ReturnDocument
from pymongo.asynchronous.client_session import AsyncClientSession as Session
from pymongo.errors import DuplicateKeyError

from fhirserver.settings import ROLES
from smart_auth.refusal import Refused, invalid_request
from smart_auth.server import Auth, Document

T = TypeVar("T")
LONGEST_NAME = 120
LONGEST_LOGIN = 254  # of an e-mail address: https://www.rfc-editor.org/errata/eid1690
ANY: Mapping[str, Any] = {}
NEW = {"roles": ["patient"], "fhir_user": None, "patient": None, "proxy_for": []}  # as anybody makes an account


@dataclass(frozen=True, slots=True)
class User:
    """`fhir_user` is the resource that this person is (Practitioner/1, Patient/1, RelatedPerson/1).

    `patient` is the id of the person's own Patient, and `proxy_for` are those whose record they keep for them.
    `totp` is the key of an authenticator that was shown to work, as it is kept (`sealed`).
    """

    id: str
    login: str
    name: str
    email: str | None
    roles: frozenset[str]
    fhir_user: str | None
    patient: str | None
    proxy_for: tuple[str, ...]
    password: str | None
    verified: bool
    disabled: bool
    created: datetime
    totp: str | None = None
    recovery_left: int = 0

    @property
    def records(self) -> tuple[str, ...]:
        """The ids of the patients whose records this person keeps, their own and others'."""
        own = (self.patient,) if self.patient else ()
        return tuple(dict.fromkeys((*own, *self.proxy_for)))

    @property
    def linked(self) -> tuple[str, ...]:
        """The resources that this person is, or whose record they keep: `Patient/1`."""
        return references(self.records, self.fhir_user)

    @property
    def unlinked(self) -> bool:
        """Whether it is still as anybody makes an account: a patient without a record (`NEW`)."""
        return self.roles == {"patient"} and not self.linked

    @property
    def looks_up(self) -> bool:
        """Whether this person works with patients that they look up, instead of having a few of their own."""
        return not self.roles.isdisjoint(("practitioner", "admin"))


def references(patients: Collection[str], fhir_user: str | None) -> tuple[str, ...]:
    """What an account is linked to, or will be: each resource once."""
    named = (f"Patient/{each}" for each in patients)
    return tuple(dict.fromkeys((*named, *((fhir_user,) if fhir_user else ()))))


def user(document: Mapping[str, Any]) -> User:
    return User(
        id=document["_id"],
        login=document["login"],
        name=document["name"],
        email=document.get("email"),
        roles=frozenset(document["roles"]),
        fhir_user=document.get("fhir_user"),
        patient=document.get("patient"),
        proxy_for=tuple(document.get("proxy_for", ())),
        password=document.get("password"),
        verified=document["verified"],
        disabled=document["disabled"],
        created=document["created"],
        totp=document["totp"]["key"] if "totp" in document else None,
        recovery_left=len(document.get("recovery", ())),
    )


def folded(login: str) -> str:
    """One spelling of a log-in name: people do not remember the case of their e-mail address."""
    return unicodedata.normalize("NFKC", login.strip()).casefold()


def checked_login(login: str) -> str:
    name = folded(login)
    if not 1 <= len(name) <= LONGEST_LOGIN or not name.isprintable() or " " in name:
        raise invalid_request(f"a log-in name has 1 to {LONGEST_LOGIN} characters and no spaces", "login")
    return name


def checked_name(name: str) -> str:
    """How a person is called, in pages and mail: what anybody may type, so no lines and no links."""
    found = name.strip()
    if not found.isprintable() or len(found) > LONGEST_NAME or "//" in found or "www." in found.lower():
        raise invalid_request(f"a name has up to {LONGEST_NAME} characters that people can read, and no link", "name")
    return found


def checked_roles(roles: Collection[str]) -> list[str]:
    for role in roles:
        if role not in ROLES:
            raise invalid_request(f"{role!r} is no role: there are {', '.join(ROLES)}")
    return sorted(set(roles))


async def find(auth: Auth, id_: str) -> User | None:
    document = await auth["users"].find_one({"_id": id_})
    return user(document) if document else None


async def administers(auth: Auth, id_: str) -> bool:
    """Whether it is the account of an administrator, which is in use."""
    person = await find(auth, id_)
    return person is not None and not person.disabled and "admin" in person.roles


async def by_login(auth: Auth, login: str) -> User | None:
    """By the log-in name or the e-mail address."""
    document = await auth["users"].find_one({"names": folded(login)})
    return user(document) if document else None


def names(login: str, email: str | None) -> list[str]:
    """What an account is found by; no two accounts share one."""
    return list(dict.fromkeys((login, folded(email)) if email else (login,)))


def with_address(person: User, email: str | None) -> Document:
    """The fields of an account whose address becomes another. A log-in name that is the address goes along."""
    login = person.login
    if email is not None and person.email is not None and login == folded(person.email):
        login = folded(email)
    return {"email": email, "login": login, "names": names(login, email)}


async def logins(auth: Auth, ids: Collection[str]) -> dict[str, str]:
    """The log-in names of accounts, as far as they are there."""
    cursor = auth["users"].find({"_id": {"$in": [*ids]}}, {"login": 1})
    return {each["_id"]: each["login"] async for each in cursor}


async def create(
    auth: Auth,
    login: str,
    *,
    name: str = "",
    email: str | None = None,
    roles: Collection[str] = ("patient",),
    fhir_user: str | None = None,
    patient: str | None = None,
    proxy_for: Collection[str] = (),
    password: str | None = None,
    verified: bool = False,
) -> User:
    """A new account; `password` is a hash. 409 where the log-in name or the address is taken."""
    name_ = checked_login(login)
    document: Document = {
        "_id": str(uuid4()),
        "login": name_,
        "names": names(name_, email),
        "name": checked_name(name) or login,
        "email": email,
        "roles": checked_roles(roles),
        "fhir_user": fhir_user,
        "patient": patient,
        "proxy_for": list(proxy_for),
        "password": password,
        "verified": verified,
        "disabled": False,
        "created": auth.now(),
    }
    try:
        await auth["users"].insert_one(document)
    except DuplicateKeyError as error:
        raise taken() from error
    return user(document)


def taken() -> Refused:
    return Refused("conflict", "another account has this log-in name or address", 409)


async def change(
    auth: Auth, id_: str, values: Mapping[str, Any], where: Mapping[str, Any] = ANY, session: Session | None = None
) -> User | None:
    """Set fields of an account as they are stored; None where there is none of this id, or `where` it is otherwise."""
    try:
        document = await auth["users"].find_one_and_update(
            {"_id": id_, **where}, {"$set": values}, return_document=ReturnDocument.AFTER, session=session
        )
    except DuplicateKeyError as error:
        raise taken() from error
    auth.known.changed()
    return user(document) if document else None


async def remove(auth: Auth, id_: str, session: Session | None = None) -> None:
    """An account with all that belongs to it."""
    for name in ("passkeys", "approvals", "links"):
        await auth[name].delete_many({"user": id_}, session=session)
    await auth["users"].delete_one({"_id": id_}, session=session)
    auth.known.changed()


async def administering(auth: Auth, admin: str, work: Callable[[Session], Awaitable[T]]) -> T:
    """Work that an administrator does while they are one: of two who take it from each other, one does."""
    return await in_turn(auth, {"_id": admin, "roles": "admin", "disabled": False}, work)


async def in_turn(auth: Auth, who: Mapping[str, Any], work: Callable[[Session], Awaitable[T]]) -> T:
    """Work in a transaction, one at a time of an account; 403 where it is not as it has to be any more."""

    async def done(session: Session) -> T:
        acts = await auth["users"].update_one(who, {"$inc": {"acts": 1}}, session=session)  # a write, to conflict
        if not acts.matched_count:
            raise Refused("access_denied", "this account may not do this any more", 403)
        return await work(session)

    async with auth.database.client.start_session() as session:
        result = await session.with_transaction(done)
    auth.known.changed()  # before, others read what was
    return result


async def everyone(auth: Auth, after: str = "", count: int = 100, text: str = "") -> AsyncIterator[User]:
    """Accounts by their log-in name; those of which it, or the address, begins with a text, where there is one."""
    begun = {"$elemMatch": {"$gte": folded(text), "$lt": folded(text) + "\U0010ffff"}} if text else {"$exists": True}
    cursor = auth["users"].find({"login": {"$gt": after}, "names": begun}).sort("login", 1).limit(count)
    async for document in cursor:
        yield user(document)
