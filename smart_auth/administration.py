"""What administrators do with accounts: make them, link them to records, and end them. All of it is recorded.

What gives access asks for their password once more, as their own account does: who finds their browser open has none.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, TypeVar

from starlette.responses import JSONResponse, Response

from fhirserver.fhir.ids import ID
from fhirserver.settings import ROLES
from smart_auth import (
    events,
    invitations,
    links,
    login,
    mail,
    notices,
    passkeys,
    sessions,
    throttle,
    tokens,
    users,
    visits,
)
from smart_auth.mail import Mail
from smart_auth.refusal import NO_STORE, Refused, invalid_request
from smart_auth.server import Auth, Document
from smart_auth.users import User
from smart_auth.visits import Visit

T = TypeVar("T")
PAGE = 50
LINKS = ("patient", "fhirUser", "proxyFor")
OPERATOR = "operator"  # who runs the server, by a command: nobody takes that away
DECISIVE = ("roles", "fhir_user", "patient", "proxy_for")  # what access rests on: when it changes, one logs in again
_person = re.compile(r"(Patient|Practitioner|PractitionerRole|RelatedPerson|Person)/[A-Za-z0-9\-.]{1,64}", re.ASCII)


def administrator(visit: Visit) -> User:
    person = visit.person().user
    if "admin" not in person.roles:
        raise Refused("access_denied", "this is for administrators", 403)
    return person


async def _listed(visit: Visit, refused: Refused | None) -> Response:
    administrator(visit)
    after, text = visit.text("after", users.LONGEST_LOGIN), visit.text("text", 100)
    found = [each async for each in users.everyone(visit.auth, after, PAGE + 1, text)]
    more = found[PAGE - 1].login if len(found) > PAGE else None
    shown = found[:PAGE]
    if visit.json:
        return JSONResponse({"users": [account(each) for each in shown], "next": more}, headers=NO_STORE)
    failed = ("invite" if visit.request.url.path.endswith("/invitations") else "add") if refused else ""
    sent = visit.fields if refused else {}  # no link fills the form in
    form = {"roles": _boxes(sent) or ["patient"], "typed": visits.typed(sent), "failed": failed}
    return visit.page("users", refused, users=shown, more=more, text=text, every_role=ROLES, **form)


async def _add(visit: Visit) -> Response:
    """Who is added gets a mail by which they choose their password."""
    auth, admin = visit.auth, administrator(visit)
    visit.only("password", "login", "email", "name", "roles", *LINKS)
    email, linked = visit.text("email", 254), as_whom(links_of(visit.fields))
    roles = _roles(visit.fields) or ["patient"]
    await login.again(visit)
    person = await users.create(
        auth,
        visit.text("login", users.LONGEST_LOGIN) or email,
        name=visit.text("name"),
        email=mail.checked_address(email) if email else None,
        roles=roles,
        verified=True,
        **linked,
    )
    await events.record(auth, "user-added", admin.id, person.id, roles=sorted(person.roles))
    await _welcome(auth, person)
    return visit.done(await _whole(auth, person), f"/users/{person.id}")


async def _welcome(auth: Auth, person: User) -> None:
    if person.email is not None:
        link = await links.make(auth, "welcome", person.id)
        named = f" {person.name}" if person.verified else ""  # else anybody may have typed it
        text = f"Hello{named},\n\nyou have an account now. Choose your password here, within a week:\n\n{link}\n"
        mail.post(auth, Mail(person.email, "Your account", text))


async def _one(visit: Visit, refused: Refused | None) -> Response:
    administrator(visit)
    person = await _person_of(visit)
    values: Document = {
        "sessions": await sessions.listed(visit.auth, person.id),
        "passkeys": await passkeys.listed(visit.auth, person.id),
        "events": await events.about(visit.auth, person.id),
    }
    if visit.json:
        return JSONResponse(await _whole(visit.auth, person) | values, headers=NO_STORE)
    missing = await visit.auth.choices.missing(person.linked)
    by = await users.logins(visit.auth, {each["actor"] for each in values["events"]}) | {person.id: "self"}
    failed = _failed(visit) if refused else ""
    sent = visit.fields if failed == "save" else _as_sent(person)
    form = {"roles": _boxes(sent), "typed": visits.typed(sent), "every_role": ROLES, "failed": failed}
    return visit.page("user", refused, person=person, missing=missing, by=by, **form, **values)


def _failed(visit: Visit) -> str:
    """Which form of the page was refused: by where it was sent to, or by what it has."""
    if visit.request.url.path.endswith("/second-factor/remove"):
        return "second"
    return "save" if "whole" in visit.fields else "disable" if "disabled" in visit.fields else ""


def _as_sent(person: User) -> Mapping[str, str]:
    """An account as its form would send it."""
    links_ = {"fhirUser": person.fhir_user, "patient": person.patient, "proxyFor": " ".join(person.proxy_for)}
    said = {name: value for name, value in (links_ | {"email": person.email}).items() if value}
    return said | {f"role.{role}": "on" for role in person.roles}


async def _change(visit: Visit) -> Response:
    auth, admin = visit.auth, administrator(visit)
    visit.only("password", "email", "name", "roles", "disabled", *LINKS)
    person = await _person_of(visit)
    changes: Document = dict(links_of(visit.fields))
    if roles := _roles(visit.fields):
        changes["roles"] = roles
    if name := users.checked_name(visit.text("name")):
        changes["name"] = name
    if "email" in visit.fields:
        taken_away = visit.fields["email"] is None
        changes["email"] = None if taken_away else mail.checked_address(visit.text("email", 254))
    if "disabled" in visit.fields:
        changes["disabled"] = _flag(visit, "disabled")
    if person.id == admin.id and (changes.get("disabled") or "admin" not in changes.get("roles", ["admin"])):
        raise invalid_request("you cannot take your own administration away; another administrator can")
    await login.again(visit)
    changed = await change(auth, person, changes, admin.id)
    if needs_link(person, changed):
        await _welcome(auth, changed)
    return visit.done(await _whole(auth, changed), f"/users/{person.id}")


async def change(auth: Auth, person: User, changes: Mapping[str, Any], by: str) -> User:
    """Whose access is another now logs in again. Where nobody confirmed the address, anybody may have made the account
    and know its password: what it is linked to is for who gets a link to choose another."""
    changes = as_whom(changes, person)
    moves = "email" in changes and changes["email"] != person.email
    if not moves:
        changes.pop("email", None)
    unowned = not person.verified and (moves or _decides(person, changes))
    values = {
        **changes,
        **(users.with_address(person, changes["email"]) if moves else {}),
        **({"password": None} if unowned else {}),
    }
    changed = await _done(auth, by, partial(users.change, auth, person.id, values)) if changes else person
    if changed is None:
        raise Refused("not_found", "there is no such account", 404)
    if unowned or moves:
        await links.drop(auth, person.id)
    if moves:
        notices.send(auth, person, "address")  # to the one before
    if changed.disabled or any(getattr(changed, name) != getattr(person, name) for name in DECISIVE):
        await _out(auth, person.id)
    before: Document = {"rolesBefore": sorted(person.roles)} if "roles" in changes else {}
    await events.record(auth, "user-changed", by, person.id, **changes, **before)
    return changed


async def _done(auth: Auth, by: str, work: Callable[..., Awaitable[T]]) -> T:
    """With the `session` of a transaction, where it is an administrator who does it."""
    if by == OPERATOR:
        return await work()
    return await users.administering(auth, by, lambda session: work(session=session))


def _decides(person: User, changes: Mapping[str, Any]) -> bool:
    """Whether what access rests on becomes another."""
    kept: dict[str, Callable[[Any], Any]] = {"roles": frozenset, "proxy_for": tuple}
    said = {name: kept.get(name, lambda value: value)(changes[name]) for name in DECISIVE if name in changes}
    return any(value != getattr(person, name) for name, value in said.items())


def waits(person: User) -> bool:
    """Whether an account that somebody made with this address waits for who gets its mail to choose a password."""
    return not person.verified and person.password is None


def needs_link(before: User, person: User) -> bool:
    """Whether who owns the address has to be sent a link for their first password: none, or one elsewhere, has it."""
    moved = person.password is None and before.email != person.email
    return (waits(person) or moved) and not person.disabled


async def _remove(visit: Visit) -> Response:
    auth, admin = visit.auth, administrator(visit)
    person = await _person_of(visit)
    if person.id == admin.id:
        raise invalid_request("you cannot remove yourself; another administrator can")
    await remove(auth, person, admin.id)
    return visit.done({"removed": True}, "/users")


async def remove(auth: Auth, person: User, by: str) -> None:
    """An account with all that belongs to it; what happened to it stays recorded."""
    await _done(auth, by, partial(users.remove, auth, person.id))
    await _out(auth, person.id)
    await events.record(auth, "user-removed", by, person.id, login=person.login)


async def _log_out(visit: Visit) -> Response:
    admin, person = administrator(visit), await _person_of(visit)
    await _out(visit.auth, person.id)
    await events.record(visit.auth, "user-logged-out", admin.id, person.id)
    return visit.done({"ended": True}, f"/users/{person.id}")


async def _without_second_factor(visit: Visit) -> Response:
    visit.only("password")
    admin, person = administrator(visit), await _person_of(visit)
    if person.id == admin.id:
        raise invalid_request("you cannot take your own second step away; another administrator can")
    await login.again(visit)
    await without_second_factor(visit.auth, person, admin.id)
    return visit.done({"removed": True}, f"/users/{person.id}")


async def without_second_factor(auth: Auth, person: User, by: str) -> None:
    """For who lost it: the authenticator with its recovery codes, and the passkeys. Where a role has to have a second
    step the next log-in sets one up by the password alone, so whoever asks for it has to be known otherwise."""
    removed = {"$unset": {"totp": "", "totp_pending": "", "recovery": ""}}
    await auth["users"].update_one({"_id": person.id}, removed)
    await auth["passkeys"].delete_many({"user": person.id})
    await throttle.proved(auth, throttle.key("second", person.id))
    await _out(auth, person.id)
    await events.record(auth, "second-factor-removed", by, person.id)
    notices.send(auth, person, "second factor off")


async def _invite(visit: Visit) -> Response:
    """A code to hand to a person, shown this once."""
    auth, admin = visit.auth, administrator(visit)
    visit.only("password", "role", "patient", "fhirUser")
    linked = links_of(visit.fields)
    role = users.checked_roles([visit.text("role", 20) or "patient"])[0]
    await login.again(visit)
    code = await invitations.make(auth, role, linked.get("patient"), linked.get("fhir_user"), admin.id)
    await events.record(auth, "invitation-made", admin.id, linked.get("patient") or "", role=role)
    url = f"{auth.issuer}/signup?invitation={code}"
    patients = [linked["patient"]] if linked.get("patient") else []
    missing = await auth.choices.missing(users.references(patients, linked.get("fhir_user")))
    if visit.json:
        return visit.done({"code": code, "url": url, "missing": missing}, "")
    return visit.page("invitation", code=code, url=url, missing=missing)


def account(person: User) -> dict[str, Any]:
    """As JSON, without what is secret."""
    return {
        "id": person.id,
        "login": person.login,
        "name": person.name,
        "email": person.email,
        "roles": sorted(person.roles),
        "fhirUser": person.fhir_user,
        "patient": person.patient,
        "proxyFor": list(person.proxy_for),
        "verified": person.verified,
        "disabled": person.disabled,
        "secondFactor": person.totp is not None,
        "created": person.created.isoformat(timespec="seconds"),
    }


async def _whole(auth: Auth, person: User) -> dict[str, Any]:
    """An account, with what it is linked to and the record does not have (yet): a wrong id looks the same."""
    return account(person) | {"missing": await auth.choices.missing(person.linked)}


async def _person_of(visit: Visit) -> User:
    person = await users.find(visit.auth, visit.request.path_params["id"])
    if person is None:
        raise Refused("not_found", "there is no such account", 404)
    return person


async def _out(auth: Auth, user: str) -> None:
    await sessions.end_all(auth, user)
    await tokens.revoke_all(auth, {"user": user}, "by an administrator")


def _flag(visit: Visit, name: str) -> bool:
    """true or false, which are words in a form."""
    value = visit.fields[name] if visit.json else {"true": True, "false": False}.get(visit.fields[name])
    if not isinstance(value, bool):
        raise invalid_request(f"{name} is true or false")
    return value


def _boxes(fields: Mapping[str, Any]) -> list[str]:
    return [role for role in ROLES if fields.get(f"role.{role}") == "on"]


def _roles(fields: Mapping[str, Any]) -> list[str]:
    """A list in JSON; in a form, a box for each. Empty where nothing is said of them."""
    if "roles" not in fields:
        boxes = _boxes(fields)
        if fields.get("whole") == "on" and not boxes:
            raise invalid_request("an account has at least one role: disable it to let nobody in")
        return boxes
    roles = fields["roles"]
    if not isinstance(roles, list) or not all(isinstance(each, str) for each in roles) or not roles:
        raise invalid_request("roles is a list of at least one")
    return users.checked_roles(roles)


def links_of(fields: Mapping[str, Any]) -> dict[str, Any]:
    """What the account is linked to, as far as it is said; null takes it away, and so does an empty field of a page."""
    found: dict[str, Any] = {}
    if fields.get("whole") == "on":
        fields = {"patient": None, "fhirUser": None, "proxyFor": [], **fields}
    for name, field, shape, said in (
        ("patient", "patient", ID, "the id of a Patient, without Patient/ before it"),
        ("fhir_user", "fhirUser", _person, "like Practitioner/1"),
    ):
        if field in fields:
            value = fields[field]
            if value is not None and not (isinstance(value, str) and shape.fullmatch(value)):
                raise invalid_request(f"{field} is {said}", field)
            found[name] = value
    if "proxyFor" in fields:
        listed = fields["proxyFor"]
        ids = listed.replace(",", " ").split() if isinstance(listed, str) else listed
        if not isinstance(ids, list) or not all(isinstance(each, str) and ID.fullmatch(each) for each in ids):
            raise invalid_request("proxyFor are ids of Patients", "proxyFor")
        found["proxy_for"] = list(dict.fromkeys(ids))
    return found


def as_whom(linked: Mapping[str, Any], person: User | None = None) -> dict[str, Any]:
    """Who has a Patient of their own is that Patient to apps (`fhirUser`), unless it is said who else they are."""
    before, was = (person.patient, person.fhir_user) if person else (None, None)
    patient, is_ = linked.get("patient", before), linked.get("fhir_user", was)
    if patient != before and is_ == f"Patient/{before}":
        is_ = None
    is_ = is_ or (f"Patient/{patient}" if patient else None)
    return {**linked, **({"fhir_user": is_} if is_ != was or "fhir_user" in linked else {})}


_to_list = visits.shown(_listed)
_to_one = visits.shown(_one)
_back = visits.leads("/users/{id}")
ROUTES = {
    "/users": {"GET": _to_list, "POST": visits.submitted(_add, _listed)},
    "/users/{id}": {
        "GET": _to_one,
        "POST": visits.submitted(_change, _one),
        "PATCH": visits.submitted(_change),
        "DELETE": visits.submitted(_remove),
    },
    "/users/{id}/remove": {"GET": _back, "POST": visits.submitted(_remove, _one)},
    "/users/{id}/logout": {"GET": _back, "POST": visits.submitted(_log_out, _one)},
    "/users/{id}/second-factor/remove": {"GET": _back, "POST": visits.submitted(_without_second_factor, _one)},
    "/invitations": {"GET": visits.leads("/users"), "POST": visits.submitted(_invite, _listed)},
}
