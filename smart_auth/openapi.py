"""The JSON that pages' URLs speak, as an OpenAPI document. https://spec.openapis.org/oas/v3.1.0

The endpoints of OAuth and SMART are described by their own metadata documents.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from smart_auth import sessions
from smart_auth.server import Auth
from smart_auth.visits import Handler

Who = Literal["anyone", "person", "administrator"]
TEXT: Mapping[str, Any] = {"type": "string"}
LIST: Mapping[str, Any] = {"type": "array", "items": TEXT}
NULLABLE: Mapping[str, Any] = {"type": ["string", "null"]}
FLAG: Mapping[str, Any] = {"type": "boolean"}
OBJECT: Mapping[str, Any] = {"type": "object"}
LINKS = {"roles": LIST, "patient": NULLABLE, "fhirUser": NULLABLE, "proxyFor": LIST}


class Described(NamedTuple):
    """`needed` are the fields without which it is refused, `more` those that may be left out."""

    method: str
    path: str
    who: Who
    summary: str
    needed: Mapping[str, Mapping[str, Any]] = {}
    more: Mapping[str, Mapping[str, Any]] = {}


PASSWORD = {"password": TEXT}
ENDPOINTS = (
    Described("post", "/login", "anyone", "Log in by a password", {"login": TEXT, **PASSWORD}, {"next": TEXT}),
    Described("post", "/login/second", "anyone", "Show the second factor", {"code": TEXT}, {"next": TEXT}),
    Described("post", "/login/passkey/options", "anyone", "Ask for a challenge of WebAuthn"),
    Described("post", "/login/passkey", "anyone", "Log in by a passkey", {"credential": OBJECT}, {"next": TEXT}),
    Described("post", "/logout", "anyone", "End this session"),
    Described(
        "post", "/signup", "anyone", "Make an account", {"email": TEXT, **PASSWORD}, {"name": TEXT, "invitation": TEXT}
    ),
    Described("post", "/confirm", "anyone", "Confirm an address by the code of a mail", {"code": TEXT, **PASSWORD}),
    Described("post", "/reset", "anyone", "Have a link for a new password sent", {"login": TEXT}),
    Described(
        "post", "/reset/new", "anyone", "Choose a new password", {"code": TEXT, **PASSWORD}, {"keep_passkeys": LIST}
    ),
    Described("get", "/account", "person", "One's account, sessions, passkeys, apps, and what happened lately"),
    Described("post", "/account", "person", "Change one's name", {"name": TEXT}),
    Described(
        "post",
        "/account/password",
        "person",
        "Change the password; it ends other sessions and apps unless end_others is false",
        {**PASSWORD, "new_password": TEXT},
        {"end_others": FLAG},
    ),
    Described("post", "/account/email", "person", "Have a link sent to another address", {"email": TEXT, **PASSWORD}),
    Described(
        "post", "/account/email/confirm", "person", "Change the address by the code of that link", {"code": TEXT}
    ),
    Described("post", "/account/sessions/end", "person", "End a session, or all but this", more={"session": TEXT}),
    Described(
        "post",
        "/account/apps/end",
        "person",
        "Take back what an app may do, or with `grant` what it may do on one device",
        {"client": TEXT},
        {"grant": TEXT},
    ),
    Described("post", "/account/authenticator/new", "person", "A new key of an authenticator", PASSWORD),
    Described("post", "/account/authenticator", "person", "Turn the authenticator on", {"code": TEXT}),
    Described("post", "/account/authenticator/remove", "person", "Turn it off", PASSWORD),
    Described("post", "/account/recovery-codes", "person", "New recovery codes", PASSWORD),
    Described("post", "/account/passkeys/options", "person", "Ask for a challenge of WebAuthn", PASSWORD),
    Described("post", "/account/passkeys", "person", "Add a passkey", {"credential": OBJECT}, {"name": TEXT}),
    Described("post", "/account/passkeys/remove", "person", "Remove a passkey", {"passkey": TEXT, **PASSWORD}),
    Described("get", "/users", "administrator", "Accounts by their log-in names, fifty at a time"),
    Described(
        "post",
        "/users",
        "administrator",
        "Add an account, by an address or a log-in name",
        PASSWORD,
        {"email": TEXT, "login": TEXT, "name": TEXT, **LINKS},
    ),
    Described("get", "/users/{id}", "administrator", "An account, its sessions and what happened to it"),
    Described(
        "patch",
        "/users/{id}",
        "administrator",
        "Change an account",
        PASSWORD,
        more={"email": NULLABLE, "name": TEXT, "disabled": FLAG, **LINKS},
    ),
    Described("delete", "/users/{id}", "administrator", "Remove an account"),
    Described("post", "/users/{id}/logout", "administrator", "End the sessions and tokens of an account"),
    Described(
        "post", "/users/{id}/second-factor/remove", "administrator", "Take a second factor away that was lost", PASSWORD
    ),
    Described(
        "post",
        "/invitations",
        "administrator",
        "Make an invitation code",
        PASSWORD,
        more={"role": TEXT, "patient": TEXT, "fhirUser": TEXT},
    ),
    Described("get", "/api-keys", "administrator", "Keys of services"),
    Described(
        "post",
        "/api-keys",
        "administrator",
        "Make a key",
        {"name": TEXT, "scope": TEXT, **PASSWORD},
        {"days": {"type": "integer", "minimum": 1, "maximum": 400}},
    ),
    Described("post", "/api-keys/end", "administrator", "End a key", {"id": TEXT}),
    Described("get", "/grants", "administrator", "Access in force, the latest first"),
    Described("post", "/grants/end", "administrator", "End what an app or a service holds", {"grant": TEXT}),
    Described("get", "/statistics", "administrator", "How many there are of what, and what failed in the last day"),
    Described("get", "/clients", "administrator", "Registered apps and services"),
    Described(
        "post",
        "/clients",
        "administrator",
        "Register an app or a service by the metadata of RFC 7591",
        PASSWORD,
        {
            **dict.fromkeys(("client_id", "client_name", "token_endpoint_auth_method", "scope", "launch_uri"), TEXT),
            "redirect_uris": LIST,
            "grant_types": LIST,
            "jwks": OBJECT,
        },
    ),
    Described("post", "/clients/remove", "administrator", "Remove a client and end its access", {"client_id": TEXT}),
    Described(
        "post",
        "/launch",
        "person",
        "Begin a launch from an EHR",
        more={
            **dict.fromkeys(("patient", "encounter", "intent", "client_id", "smart_style_url"), TEXT),
            "need_patient_banner": FLAG,
            "fhirContext": {"type": "array", "items": OBJECT},
        },
    ),
)
QUERIES: Mapping[str, Mapping[str, str]] = {  # of what is read, by path
    "/users": {"text": "what the log-in name or the address begins with", "after": "`next` of the page before"},
    "/grants": {"user": "a log-in name or id", "client": "an app, by its id", "before": "`next` of the page before"},
}
REFUSALS = {
    "400": "it is not right as it is",
    "401": "nobody is logged in, or a password, a code or a passkey is wrong",
    "403": "it is not for this person, or another site sent it",
    "404": "there is no such thing",
    "409": "it is taken",
    "413": "the body is too long",
    "415": "the body is not JSON",
    "429": "wait for Retry-After",
    "503": "the server is busy; wait for Retry-After",
}
OF_ALL = ("400", "403", "429", "503")
OF_BODIES = ("413", "415")
ALSO = {  # by path, what is refused besides
    **dict.fromkeys(("/login", "/login/second", "/login/passkey"), ("401",)),
    **dict.fromkeys(("/account/email/confirm", "/account/passkeys", "/users", "/users/{id}"), ("409",)),
    **dict.fromkeys(("/account/sessions/end", "/account/apps/end", "/account/passkeys/remove"), ("404",)),
    **dict.fromkeys(("/api-keys/end", "/grants/end", "/clients/remove"), ("404",)),
}
MADE = ("/clients", "/launch")  # answered with 201
BODIES = ("post", "patch")
ERROR = {
    "type": "object",
    "properties": {"error": TEXT, "error_description": TEXT},
    "required": ["error", "error_description"],
}


async def document(auth: Auth, request: Request) -> Response:
    """GET /openapi.json"""
    paths: dict[str, dict[str, Any]] = {}
    for each in ENDPOINTS:
        paths.setdefault(each.path, {})[each.method] = _operation(each)
    name = sessions.cookie_name(auth)
    cookie = {"type": "apiKey", "in": "cookie", "name": name, "description": "Set by a log-in"}
    return JSONResponse(
        {
            "openapi": "3.1.0",
            "info": {"title": "HealthMate accounts", "version": "1"},
            "servers": [{"url": auth.issuer}],
            "paths": paths,
            "components": {"schemas": {"Error": ERROR}, "securitySchemes": {"session": cookie}},
        }
    )


def _operation(each: Described) -> dict[str, Any]:
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    done = {"description": "done", "content": {"application/json": {"schema": OBJECT}}}
    refused = {code: {"description": REFUSALS[code], "content": error} for code in _refusals(each)}
    operation: dict[str, Any] = {
        "summary": each.summary,
        "tags": [each.who],
        "security": [] if each.who == "anyone" else [{"session": []}],
        "responses": {"201" if each.method == "post" and each.path in MADE else "200": done} | refused,
    }
    if parameters := _parameters(each):
        operation["parameters"] = parameters
    if each.method in BODIES:
        schema = {"type": "object", "properties": {**each.needed, **each.more}, "required": [*each.needed]}
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return operation


def _refusals(each: Described) -> list[str]:
    guarded = () if each.who == "anyone" else ("401",)
    of_one = ("404",) if "{id}" in each.path else ()
    of_body = (*OF_BODIES, *ALSO.get(each.path, ())) if each.method in BODIES else ()
    return sorted({*OF_ALL, *guarded, *of_one, *of_body})


def _parameters(each: Described) -> list[dict[str, Any]]:
    asked = QUERIES.get(each.path, {}) if each.method == "get" else {}
    id_ = [{"name": "id", "in": "path", "required": True, "schema": TEXT}] if "{id}" in each.path else []
    return [*id_, *({"name": n, "in": "query", "description": said, "schema": TEXT} for n, said in asked.items())]


ROUTES: dict[str, dict[str, Handler]] = {"/openapi.json": {"GET": document}}
