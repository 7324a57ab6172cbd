"""Launches from an EHR: who opens an app about whom, kept for some minutes under a secret that the app is opened with.

https://hl7.org/fhir/smart-app-launch/app-launch.html#launch-app-ehr-launch
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, NamedTuple
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from fhirserver.fhir.ids import ID
from smart_auth import clients, events, fhir_context, visits
from smart_auth.refusal import NO_STORE, Refused, invalid_request
from smart_auth.server import Auth, Document, digest, new_secret
from smart_auth.users import User
from smart_auth.visits import Visit

LIFE = timedelta(minutes=5)
STYLE = {  # https://hl7.org/fhir/smart-app-launch/scopes-and-launch-context.html#styling
    "color_background": "#ffffff",
    "color_error": "#b3261e",
    "color_highlight": "#0b6e6e",
    "color_modal_backdrop": "",
    "color_success": "#1e7b34",
    "color_text": "#1d2429",
    "dim_border_radius": "6px",
    "dim_font_size": "16px",
    "dim_spacing_size": "20px",
    "font_family_body": "system-ui, sans-serif",
    "font_family_heading": "system-ui, sans-serif",
}


class Launch(NamedTuple):
    """`context` is what the app is told beside patient and encounter; `client` is the app, where it was said which."""

    id: str
    user: str
    patient: str | None
    encounter: str | None
    context: Mapping[str, Any]
    client: str | None = None

    def is_for(self, user: str, client: str) -> bool:
        return self.user == user and self.client in (None, client)


async def begin(auth: Auth, user: str, context: Mapping[str, Any], client: str | None = None) -> str:
    """A launch, by the secret that the app is opened with: ?iss=…&launch=…"""
    secret, now = new_secret(), auth.now()
    launch = {"_id": digest(secret), "user": user, "client": client, "context": dict(context), "used": None}
    await auth["launches"].insert_one(launch | {"issued": now, "expires": now + LIFE})
    return secret


async def find(auth: Auth, secret: str, request: tuple[str, str]) -> Launch | None:
    """One that waits for its app, or that this very request used: people press a button twice."""
    found = await auth["launches"].find_one({"_id": digest(secret), **_open(request), "expires": {"$gt": auth.now()}})
    if found is None:
        return None
    context = found["context"]
    patient, encounter = context.get("patient"), context.get("encounter")
    return Launch(found["_id"], found["user"], patient, encounter, context, found.get("client"))


async def claim(auth: Auth, launch: Launch, request: tuple[str, str]) -> bool:
    """Whether it is the first request that uses it, which its client and code_challenge tell from others."""
    change = {"$set": {"used": auth.now(), "request": [*request]}}
    return await auth["launches"].find_one_and_update({"_id": launch.id, **_open(request)}, change) is not None


def _open(request: tuple[str, str]) -> Document:
    return {"$or": [{"used": None}, {"request": [*request]}]}


async def _launch(visit: Visit) -> Response:
    """POST /launch, by who is logged in. What it answers is what the app is opened with."""
    auth, user, context = visit.auth, visit.person().user, checked(visit.fields)
    visit.only(*_rules, "client_id")
    patient = context.get("patient")
    if (wrong := await about_others(auth, user, context)) is not None:
        raise Refused("access_denied", f"{wrong} you may open", 403)
    client = visit.text("client_id", 100)
    secret = await begin(auth, user.id, context, client or None)
    answer = await opened(auth, secret, client or None)
    await tell(auth, user, patient, client)
    return JSONResponse(answer, 201, NO_STORE)


async def about_others(auth: Auth, user: User, context: Mapping[str, Any]) -> str | None:
    """Why a person may not open an app about this, up to `… you may open`; None where they may."""
    patient, encounter = context.get("patient"), context.get("encounter")
    if patient is not None and await auth.choices.patient(user, patient) is None:
        return f"Patient/{patient} is not there, or not among those whose record"
    if encounter is not None and await auth.choices.encounter(user, str(patient), encounter) is None:
        return f"Encounter/{encounter} is not there, or not one of Patient/{patient} that"
    return None


async def tell(auth: Auth, user: User, patient: str | None, client: str, by: str | None = None) -> None:
    """The patient sees who opens an app about them. `by`: who does it in the place of that person."""
    more, person = {"client": client} if client else {}, user.fhir_user if by is None else None
    await events.record(auth, "launch", by or user.id, user.id, patient=patient, person=person, **more)


async def opened(auth: Auth, secret: str, client: str | None) -> dict[str, Any]:
    """What an app is opened with, and the URL that does it where a client with a launch_uri is named."""
    found = None if client is None else await clients.find(auth, client)
    if client is not None and (found is None or found.launch_uri is None):
        raise invalid_request(f"{client} is no client that registered a launch_uri")
    asked = {"iss": auth.fhir, "launch": secret}
    out: dict[str, Any] = asked | {"expires_in": int(LIFE.total_seconds())}
    if found is not None and found.launch_uri is not None:
        out["url"] = f"{found.launch_uri}{'&' if '?' in found.launch_uri else '?'}{urlencode(asked)}"
    return out


def checked(asked: Mapping[str, Any]) -> dict[str, Any]:
    """The context of a launch: https://hl7.org/fhir/smart-app-launch/scopes-and-launch-context.html#launch-context"""
    context = {name: asked[name] for name in _rules if asked.get(name) is not None}
    for name, value in context.items():
        wrong = _rules[name](value)
        if wrong:
            raise invalid_request(f"{name} {wrong}")
    if "encounter" in context and "patient" not in context:
        raise invalid_request("encounter is one of a patient; name the patient, too")
    return context


def _is_id(value: Any) -> str:
    return "" if isinstance(value, str) and ID.fullmatch(value) else "is the id of a resource"


def _is_text(value: Any) -> str:
    return "" if isinstance(value, str) and 0 < len(value) <= 200 and value.isprintable() else "is a short text"


def _is_flag(value: Any) -> str:
    return "" if isinstance(value, bool) else "is true or false"


def _is_style(value: Any) -> str:
    return "" if isinstance(value, str) and clients.is_page(value) else "is an https URL"


_rules = {
    "patient": _is_id,
    "encounter": _is_id,
    "intent": _is_text,
    "fhirContext": fhir_context.wrong,
    "need_patient_banner": _is_flag,
    "smart_style_url": _is_style,
}


def presented(auth: Auth, context: Mapping[str, Any]) -> dict[str, Any]:
    """How an app should look beside the rest, where a patient is open and the launch did not say."""
    return {"need_patient_banner": True, "smart_style_url": f"{auth.issuer}/smart-style.json"} | dict(context)


async def style(auth: Auth, request: Request) -> Response:
    """GET /smart-style.json"""
    return JSONResponse(STYLE, headers={"Cache-Control": "public, max-age=300"})


ROUTES: dict[str, dict[str, visits.Handler]] = {
    "/launch": {"POST": visits.submitted(_launch)},
    "/smart-style.json": {"GET": style},
}
