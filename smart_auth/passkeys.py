"""Passkeys: logging in by what a phone or a key holds and a finger or a face unlocks. https://www.w3.org/TR/webauthn-3/

The authenticator has verified its user, so that a passkey is two factors in one.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Any, Literal
from urllib.parse import urlsplit

import webauthn
from pymongo.asynchronous.client_session import AsyncClientSession as Session
from pymongo.errors import DuplicateKeyError
from starlette.responses import JSONResponse, Response
from webauthn.helpers import base64url_to_bytes, bytes_to_base64url
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from smart_auth import elsewhere, events, failures, login, notices, steps, throttle, users, visits
from smart_auth.refusal import NO_STORE, Refused, invalid_request
from smart_auth.server import Auth, Document, digest
from smart_auth.visits import Visit

Purpose = Literal["add", "log-in"]
Listed = dict[str, str]
LIFE = timedelta(minutes=5)
MOST = 20
YOUNG = timedelta(days=30)  # who had the password for a while may have added it
REQUIRED = UserVerificationRequirement.REQUIRED


async def listed(auth: Auth, user: str) -> list[Listed]:
    found = auth["passkeys"].find({"user": user}).sort("created", 1)
    return [
        {"id": each["_id"], "name": each["name"], "created": each["created"].isoformat(timespec="seconds")}
        async for each in found
    ]


def before(auth: Auth) -> str:
    """When a passkey was added that stays through a reset unless somebody says otherwise: before this."""
    return (auth.now() - YOUNG).isoformat(timespec="seconds")


async def remove_but(auth: Auth, user: str, keep: Collection[str] | None) -> list[str]:
    """At a reset: those of which nobody says to keep them, or where nothing is said the young ones. By their names."""
    old = before(auth)
    removed = [
        each
        for each in await listed(auth, user)
        if (each["created"] >= old if keep is None else each["id"] not in keep)
    ]
    await auth["passkeys"].delete_many({"user": user, "_id": {"$in": [each["id"] for each in removed]}})
    return [each["name"] for each in removed]


async def _add_options(visit: Visit) -> Response:
    auth, person = visit.auth, await login.again(visit)
    known = [base64url_to_bytes(each["id"]) for each in await listed(auth, person.id)]
    options = webauthn.generate_registration_options(
        rp_id=_host(auth),
        rp_name="HealthMate",
        user_id=person.id.encode(),
        user_name=person.login,
        user_display_name=person.name,
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.REQUIRED, user_verification=REQUIRED
        ),
        exclude_credentials=[PublicKeyCredentialDescriptor(id=id_) for id_ in known],
    )
    await _ask(auth, "add", options.challenge, person.id)
    return JSONResponse(json.loads(webauthn.options_to_json(options)), headers=NO_STORE)


async def _add(visit: Visit) -> Response:
    auth, person = visit.auth, visit.person().user
    credential = _credential(visit)
    challenge = await _answered(auth, "add", credential, person.id)
    try:
        proof = webauthn.verify_registration_response(
            credential=credential,
            expected_challenge=challenge,
            expected_rp_id=_host(auth),
            expected_origin=_origin(auth),
            require_user_verification=True,
        )
    except (WebAuthnException, ValueError, TypeError, KeyError) as error:
        raise invalid_request(f"this is no new passkey: {error}") from error
    if await auth["passkeys"].count_documents({"user": person.id}) >= MOST:
        raise invalid_request(f"an account has up to {MOST} passkeys")
    document: Document = {
        "_id": bytes_to_base64url(proof.credential_id),
        "user": person.id,
        "key": proof.credential_public_key,
        "count": proof.sign_count,
        "name": visit.text("name", 60).strip() or "Passkey",
        "created": auth.now(),
    }
    try:
        await auth["passkeys"].insert_one(document)
    except DuplicateKeyError as error:
        raise Refused("conflict", "this passkey is known already", 409) from error
    await elsewhere.end(auth, person.id, visit.person().id)
    await events.record(auth, "passkey-added", person.id, person.id)
    notices.send(auth, person, "passkey on")
    return visit.done({"id": document["_id"], "name": document["name"]}, "/account")


async def _remove_page(visit: Visit, refused: Refused | None) -> Response:
    id_, found = visit.text("passkey", 2000), await listed(visit.auth, visit.person().user.id)
    name = next((each["name"] for each in found if each["id"] == id_), None)
    return visit.page("passkey", refused, passkey=id_, name=name)


async def _remove(visit: Visit) -> Response:
    person, id_ = await login.again(visit), visit.text("passkey", 2000)
    last = steps.by_passkey_alone(visit.auth, person)

    async def removed(session: Session) -> None:
        found = visit.auth["passkeys"]
        done = await found.delete_one({"_id": id_, "user": person.id}, session=session)
        if not done.deleted_count:
            raise Refused("not_found", "there is no such passkey", 404)
        if last and await found.find_one({"user": person.id}, session=session) is None:
            raise Refused("access_denied", "your account must have a second step: add another one before", 403)

    await users.in_turn(visit.auth, {"_id": person.id}, removed)
    await elsewhere.end(visit.auth, person.id, visit.person().id)
    await events.record(visit.auth, "passkey-removed", person.id, person.id)
    notices.send(visit.auth, person, "passkey off")
    return visit.done({"removed": True}, "/account")


async def _log_in_options(visit: Visit) -> Response:
    await failures.admit(
        visit.auth, throttle.key("passkey", throttle.address(visit.auth, visit.request)), throttle.CEREMONIES
    )
    options = webauthn.generate_authentication_options(rp_id=_host(visit.auth), user_verification=REQUIRED)
    await _ask(visit.auth, "log-in", options.challenge, None)
    return JSONResponse(json.loads(webauthn.options_to_json(options)), headers=NO_STORE)


async def _log_in(visit: Visit) -> Response:
    auth, credential = visit.auth, _credential(visit)
    challenge = await _answered(auth, "log-in", credential, None)
    key = await auth["passkeys"].find_one({"_id": credential["id"]})
    person = await users.find(auth, key["user"]) if key else None
    if key is None or person is None or person.disabled:
        await failures.failed(auth, visit.request, "passkey-failed", person.id if person else None)
        raise _unknown()
    try:
        proof = webauthn.verify_authentication_response(
            credential=credential,
            expected_challenge=challenge,
            expected_rp_id=_host(auth),
            expected_origin=_origin(auth),
            credential_public_key=key["key"],
            credential_current_sign_count=key["count"],
            require_user_verification=True,
        )
    except (WebAuthnException, ValueError, TypeError, KeyError) as error:
        await failures.failed(auth, visit.request, "passkey-failed", person.id)
        raise _unknown() from error
    counted = {"$set": {"used": auth.now()}, "$max": {"count": proof.new_sign_count}}
    await auth["passkeys"].update_one({"_id": key["_id"]}, counted)
    await throttle.proved(auth, throttle.key("passkey", throttle.address(visit.auth, visit.request)))
    return await login.entered(visit, person, ["hwk", "user", "mfa"])


def _unknown() -> Refused:
    return Refused("access_denied", "this passkey opens no account here", 401, {"WWW-Authenticate": "Session"})


async def _ask(auth: Auth, purpose: Purpose, challenge: bytes, user: str | None) -> None:
    asked = {"_id": digest(bytes_to_base64url(challenge)), "purpose": purpose, "user": user}
    await auth["challenges"].insert_one(asked | {"expires": auth.now() + LIFE})


async def _answered(auth: Auth, purpose: Purpose, credential: Mapping[str, Any], user: str | None) -> bytes:
    """The challenge that is answered, which is used up by it."""
    try:
        said = json.loads(base64url_to_bytes(credential["response"]["clientDataJSON"]))
        text = str(said["challenge"])
        challenge = base64url_to_bytes(text)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise invalid_request("credential is no answer of an authenticator") from error
    asked = {"_id": digest(text), "purpose": purpose, "user": user, "expires": {"$gt": auth.now()}}
    if await auth["challenges"].find_one_and_delete(asked) is None:
        raise invalid_request("this was not asked for, was answered before, or took too long; try again")
    return challenge


def _credential(visit: Visit) -> dict[str, Any]:
    found = visit.fields.get("credential")
    id_ = found.get("id") if isinstance(found, dict) else None
    if not isinstance(found, dict) or not isinstance(id_, str) or not id_.isascii():
        raise invalid_request("credential is missing: the PublicKeyCredential as JSON, with its id in base64url")
    return found


def _host(auth: Auth) -> str:
    return urlsplit(auth.issuer).hostname or ""


def _origin(auth: Auth) -> str:
    url = urlsplit(auth.issuer)
    return f"{url.scheme}://{url.netloc}"


ROUTES = {
    "/account/passkeys/options": {"POST": visits.submitted(_add_options)},
    "/account/passkeys": {"POST": visits.submitted(_add)},
    "/account/passkeys/remove": {"GET": visits.shown(_remove_page), "POST": visits.submitted(_remove, _remove_page)},
    "/login/passkey/options": {"POST": visits.submitted(_log_in_options)},
    "/login/passkey": {"POST": visits.submitted(_log_in)},
}
