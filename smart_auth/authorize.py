"""The authorization endpoint: a person lets an app in, and the browser takes a code back to it.

https://hl7.org/fhir/smart-app-launch/app-launch.html#obtain-authorization-code
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from urllib.parse import urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from smart_auth import codes, consent, events, forms, launches, pushed, reauthentication, sessions, visits
from smart_auth.asked import Asked, Back, addressed, parsed
from smart_auth.consent import Asking, Decision
from smart_auth.credentials import CREDENTIALS, authenticate
from smart_auth.refusal import NO_STORE, Refused, invalid_request
from smart_auth.server import Auth
from smart_auth.sessions import Session, device
from smart_auth.tokens import begin
from smart_auth.visits import Visit

UNREDEEMED = timedelta(minutes=5)


async def authorize(auth: Auth, request: Request) -> Response:
    """GET and POST /authorize

    What another site posts comes without the cookie of the session (SameSite=Lax), so it is asked for again as a GET.
    """
    try:
        fields = await _fields(auth, request)
        if request.method == "POST" and not pushed.is_long(fields):
            return RedirectResponse(f"{auth.issuer}/authorize?{urlencode(_uncredentialed(fields))}", 303, NO_STORE)
        asked = await parsed(auth, await pushed.claimed(auth, fields))
        return await _answered(auth, asked, await sessions.current(auth, request))
    except Back as back:
        return _back(auth, back.redirect_uri, back.parameters)


async def _fields(auth: Auth, request: Request) -> Mapping[str, str]:
    """Each once. An app that sends one twice is told, where it is certain which app it is."""
    try:
        return await forms.form(request) if request.method == "POST" else forms.query(request)
    except forms.Twice as twice:
        if not {"client_id", "redirect_uri"} <= {*twice.once}:
            raise
        _, uri = await addressed(auth, twice.once)
        raise Back(uri, twice.once.get("state"), twice.error, twice.description) from twice


async def push(auth: Auth, request: Request) -> Response:
    """POST /par: the app sends the request itself, as the client that it is, and is told here what is wrong with it.

    https://www.rfc-editor.org/rfc/rfc9126#section-2
    """
    form = await forms.form(request)
    client = await authenticate(auth, request, form, also=(auth.issuer, f"{auth.issuer}/par"))
    asked = _uncredentialed(form) | {"client_id": client.id}
    if "request_uri" in asked:
        raise invalid_request("request_uri is what this endpoint answers, and no part of what is pushed")
    if pushed.is_long(asked):
        raise Refused("invalid_request", pushed.TOO_LONG, 413)
    try:
        await parsed(auth, asked)
    except Back as back:
        raise Refused(back.parameters["error"] or "", str(back)) from back
    uri = await pushed.put(auth, client, asked)
    return JSONResponse({"request_uri": uri, "expires_in": pushed.LIFE.seconds}, 201, NO_STORE)


def _uncredentialed(form: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in form.items() if name not in CREDENTIALS}


async def _answered(auth: Auth, asked: Asked, session: Session | None) -> Response:
    """The next step: to log in, to be asked, or back to the app with a code."""
    silent = "none" in asked.prompt
    if session is None or _is_stale(auth, asked, session):
        if silent:
            raise asked.refused("login_required", "nobody is logged in")
        return _to_log_in(auth, asked)
    _check_launch(asked, session)
    decision = None
    if "consent" not in asked.prompt:
        decision = await consent.remembered(auth, session, asking(asked))
    if decision is not None:
        return await _allow(auth, asked, session, decision)
    if silent:
        raise asked.refused("interaction_required", "the person has to be asked")
    if asked.max_age is not None and asked.waited is None:  # it is not over because they think about it
        fields = reauthentication.waiting(auth, asked.fields, session.at - reauthentication.TICK)
        asked = asked._replace(fields=fields)
    return RedirectResponse(consent.url(auth, asking(asked)), 303, NO_STORE)


async def _ask(visit: Visit, refused: Refused | None) -> Response:
    """GET /consent: the page that asks."""
    try:
        asked, session = await _carried(visit)
        if session is None:
            return _to_log_in(visit.auth, asked)
        return await consent.ask(visit, asking(asked), refused)
    except Back as back:
        return _back(visit.auth, back.redirect_uri, back.parameters)


async def _decide(visit: Visit) -> Response:
    """POST /consent: what the person answers."""
    try:
        asked, session = await _carried(visit)
        if session is None:
            return _to_log_in(visit.auth, asked)
        decision = await consent.decided(visit, asking(asked))
        if decision is None:
            raise asked.refused("access_denied", "the person does not want it")
        return await _allow(visit.auth, asked, session, decision)
    except Back as back:
        return _back(visit.auth, back.redirect_uri, back.parameters)


async def _carried(visit: Visit) -> tuple[Asked, Session | None]:
    """The request, as the pages carry it, and who is asked; None where they have to log in first."""
    query = visit.text("request", pushed.LONGEST + reauthentication.ROOM)
    asked = await parsed(visit.auth, forms.fields(query.encode("ascii", "replace")))
    session = visit.person() if visit.json else visit.session
    if session is None or _is_stale(visit.auth, asked, session):
        return asked, None
    _check_launch(asked, session)
    return asked, session


async def _allow(auth: Auth, asked: Asked, session: Session, decision: Decision) -> Response:
    """A grant, and the code that its tokens are had for."""
    context = {"patient": decision.patient, "encounter": decision.encounter}
    if asked.launch is not None:
        if not await launches.claim(auth, asked.launch, (asked.client.id, asked.challenge)):
            raise asked.refused("invalid_request", "this launch was used before, or is over")
        context |= asked.launch.context
    context = {name: value for name, value in context.items() if value is not None}
    if "patient" in context:
        context = launches.presented(auth, context)
    scope, client = " ".join(decision.scopes), asked.client.id
    who = {"user": session.user.id, "session": session.id, "device": device(session.agent)}
    grant = await begin(auth, client, scope, UNREDEEMED, context=context, **who)
    more = {"user": session.user.id, "scope": scope, "context": context, "nonce": asked.nonce, "at": session.at}
    code = await codes.put(auth, grant, client, asked.redirect_uri, asked.challenge, more)
    person, about = session.user, {"client": client, "scope": scope}
    patient = context.get("patient")
    await events.record(auth, "app-allowed", person.id, person.id, patient=patient, person=person.fhir_user, **about)
    return _back(auth, asked.redirect_uri, {"code": code, "state": asked.state})


def asking(asked: Asked) -> Asking:
    """What the person is shown."""
    to, launch = urlsplit(asked.redirect_uri), asked.launch
    return Asking(
        request=urlencode(asked.fields),
        client_id=asked.client.id,
        client_name=asked.client.name,
        client_uri=asked.client.client_uri,
        leads_to=to.netloc if to.scheme in ("http", "https") else to.scheme,  # an app's own URLs can name any host
        scopes=asked.scopes,
        patient=launch.patient if launch else None,
        encounter=launch.encounter if launch else None,
        recognised=asked.client.confidential or to.scheme == "https",
    )


def _is_stale(auth: Auth, asked: Asked, session: Session) -> bool:
    """Whether the app wants the person to log in again."""
    if asked.waited is not None and session.at > asked.waited:
        return False
    old = asked.max_age is not None and auth.now() - session.at >= timedelta(seconds=asked.max_age)
    return old or bool(asked.prompt & reauthentication.NEW)


def _to_log_in(auth: Auth, asked: Asked) -> Response:
    """Where to log in, and then back to this request."""
    fields = reauthentication.waiting(auth, asked.fields, auth.now())
    return RedirectResponse(sessions.log_in_url(auth, f"/authorize?{urlencode(fields)}"), 303, NO_STORE)


def _check_launch(asked: Asked, session: Session) -> None:
    if asked.launch is not None and not asked.launch.is_for(session.user.id, asked.client.id):
        raise asked.refused("access_denied", "this launch was begun by somebody else, or for another app")


def _back(auth: Auth, uri: str, parameters: Mapping[str, str | None]) -> Response:
    """To the app. `iss` tells it which server answers: https://www.rfc-editor.org/rfc/rfc9207"""
    said = {name: value for name, value in parameters.items() if value} | {"iss": auth.issuer}
    return RedirectResponse(f"{uri}{'&' if '?' in uri else '?'}{urlencode(said)}", 303, NO_STORE)


ROUTES: dict[str, dict[str, visits.Handler]] = {
    "/authorize": {"GET": authorize, "POST": authorize},
    "/par": {"POST": push},
    "/consent": {"GET": visits.shown(_ask), "POST": visits.submitted(_decide, _ask)},
}
