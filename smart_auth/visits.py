"""One request by a person: from a page of ours, or from an app that speaks JSON. Both come to the same handlers.

A form carries a token that only a page of ours in this browser could show; JSON cannot be sent across origins without
our leave. https://cheatsheetseries.owasp.org/cheatsheets/Cross-Site_Request_Forgery_Prevention_Cheat_Sheet.html
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from smart_auth import forms, pages, sessions
from smart_auth.refusal import NO_STORE, Refused, invalid_request
from smart_auth.server import Auth, new_secret
from smart_auth.sessions import Session

JSON = "application/json"
LOG_IN = "login_required"


@dataclass(frozen=True, slots=True)
class Visit:
    """`fields` are what was sent, or asked in the query; `browser` is the secret of this browser's forms."""

    auth: Auth
    request: Request
    session: Session | None
    fields: Mapping[str, Any]
    json: bool
    browser: str
    fresh: bool = field(default=False)

    def text(self, name: str, longest: int = 500, *, needed: bool = False) -> str:
        """A field that is text; empty where it is missing."""
        value = self.fields.get(name, "")
        if not isinstance(value, str):
            raise invalid_request(f"{name} is no text", name)
        if len(value) > longest:
            raise invalid_request(f"{name} is longer than {longest} characters", name)
        if needed and not value:
            raise invalid_request(f"{name} is missing", name)
        return value

    def only(self, *known: str) -> None:
        """Refuse JSON with another field than these: one that is misspelt would change nothing, and seem to."""
        unknown = sorted({*self.fields} - {*known}) if self.json else []
        if unknown:
            raise invalid_request(f"{unknown[0][:100]} is no field of this; there are {', '.join(known)}")

    def person(self) -> Session:
        """Whose visit it is; 401 for who is not logged in."""
        if self.session is None:
            raise Refused(LOG_IN, "log in first", 401, {"WWW-Authenticate": "Session"})
        return self.session

    def page(self, template: str, refused: Refused | None = None, /, **values: Any) -> Response:
        """A page of ours, with what was refused on it. 406 for who takes nothing but JSON."""
        accepted = self.request.headers.get("accept", "")
        if self.json and not ("text/html" in accepted or "*/*" in accepted):
            raise Refused("invalid_request", "this is a page for people; /openapi.json says where JSON is spoken", 406)
        answer = pages.render(
            self.auth,
            template,
            refused.status if refused else 200,
            token=_token(self.browser),
            problem=refused.description if refused else None,
            about=partial(pages.about, refused.field if refused else None),
            session=self.session,
            **values,
        )
        if refused:
            answer.headers.update(refused.headers)
        if self.fresh:
            secure = self.auth.issuer.startswith("https:")
            cookie = _cookie_name(self.auth)
            answer.set_cookie(cookie, self.browser, path="/", secure=secure, httponly=True, samesite="lax")
        return answer

    def done(self, value: Mapping[str, Any], page: str) -> Response:
        """What was done: as JSON, or by going on to a page below the issuer."""
        if self.json:
            return JSONResponse(dict(value), headers=NO_STORE)
        return RedirectResponse(self.auth.issuer + page, 303, NO_STORE)


Show = Callable[[Visit, Refused | None], Awaitable[Response]]
Do = Callable[[Visit], Awaitable[Response]]
Handler = Callable[[Auth, Request], Awaitable[Response]]


def shown(show: Show) -> Handler:
    """A handler that answers with a page."""

    async def handler(auth: Auth, request: Request) -> Response:
        visit = await _visit(auth, request)
        try:
            return await show(visit, None)
        except Refused as refused:
            return _log_in(visit, refused)

    return handler


def typed(fields: Mapping[str, Any]) -> Callable[[str], str]:
    """What was typed into a field, for a form that is shown again."""
    return lambda name: str(fields.get(name, ""))


def leads(page: str) -> Handler:
    """For who loads again what a form was sent to: on to the page that has the form."""

    async def handler(auth: Auth, request: Request) -> Response:
        return RedirectResponse(auth.issuer + page.format(**request.path_params), 303, NO_STORE)

    return handler


def submitted(do: Do, show: Show | None = None) -> Handler:
    """A handler of what is sent; what it refuses is said on the page that `show` makes."""

    async def handler(auth: Auth, request: Request) -> Response:
        visit = await _visit(auth, request)
        try:
            return await do(visit)
        except Refused as refused:
            if visit.json or show is None or refused.error == LOG_IN:
                return _log_in(visit, refused)
            return await show(visit, refused)

    return handler


def _log_in(visit: Visit, refused: Refused) -> Response:
    """Who is not logged in goes and does so, and then comes back here; an app is told."""
    if visit.json or refused.error != LOG_IN:
        raise refused
    path = visit.request.scope["path"].removeprefix(visit.request.scope.get("root_path", ""))
    query = visit.request.url.query
    return RedirectResponse(sessions.log_in_url(visit.auth, f"{path}?{query}" if query else path), 303, NO_STORE)


async def _visit(auth: Auth, request: Request) -> Visit:
    reading = request.method in ("GET", "HEAD")
    json = request.method == "DELETE" or (not reading and forms.media(request) != forms.FORM)
    browser = request.cookies.get(_cookie_name(auth), "")
    fields: Mapping[str, Any]
    if reading:
        fields, json = forms.query(request), JSON in request.headers.get("accept", "")
    else:
        _same_origin(auth, request)
        fields = await _sent(request, json)
        if not json and not (
            browser and hmac.compare_digest(fields.get("token", "").encode(), _token(browser).encode())
        ):
            said = "this form is out of date, or another site sent it; load the page again"
            raise Refused("invalid_request", said, 403)
    session = await sessions.current(auth, request)
    return Visit(auth, request, session, fields, json, browser or new_secret(), fresh=not browser)


async def _sent(request: Request, json: bool) -> Mapping[str, Any]:
    """A DELETE says all by its path."""
    if request.method == "DELETE":
        return {}
    return await forms.document(request) if json else await forms.form(request)


def _same_origin(auth: Auth, request: Request) -> None:
    """Browsers say where a request comes from; apps say nothing."""
    own = urlsplit(auth.issuer)
    origin = request.headers.get("origin")
    if origin is not None and origin != f"{own.scheme}://{own.netloc}":
        raise Refused("invalid_request", f"this is for pages of {own.scheme}://{own.netloc} only", 403)


def _cookie_name(auth: Auth) -> str:
    return sessions.cookie_name(auth).replace("session", "forms", 1)


def _token(browser: str) -> str:
    """What a form shows of the browser's secret."""
    return hashlib.sha256(f"form:{browser}".encode()).hexdigest()
