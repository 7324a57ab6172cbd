"""What an app asks for at the authorization endpoint: parameters that fit together, or what is wrong and who is told.

https://hl7.org/fhir/smart-app-launch/app-launch.html#obtain-authorization-code
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from smart_auth import clients, codes, launches, pushed, reauthentication
from smart_auth.clients import CODE, REFRESH, Client
from smart_auth.grants import OFFLINE, ONLINE
from smart_auth.launches import Launch
from smart_auth.refusal import invalid_request, sayable
from smart_auth.scopes import SPOKEN, Scope, granted, parse
from smart_auth.server import Auth

ANYTHING = [Scope(level, "*", frozenset("cruds")) for level in ("patient", "user")]  # that a person can grant
LONGEST_STATE = 2_000
LONGEST_SCOPE = 4_000  # characters; what it comes to with the scopes of a client has its limit, too
MOST_SCOPES = 500
PROMPTS = frozenset(("none", "login", "consent", "select_account"))


class Asked(NamedTuple):
    """A request that is valid in itself; `launch` is the EHR's, when it comes from there.

    `waited` is since when a log-in is waited for, where the app wants a new one; `fields` are all of it.
    """

    client: Client
    redirect_uri: str
    state: str
    scopes: tuple[str, ...]
    challenge: str
    nonce: str | None
    prompt: frozenset[str]
    max_age: int | None
    waited: datetime | None
    launch: Launch | None
    fields: Mapping[str, str]

    def refused(self, error: str, description: str) -> Back:
        return Back(self.redirect_uri, self.state, error, description)


class Back(Exception):
    """A refusal that the app is told: https://www.rfc-editor.org/rfc/rfc6749#section-4.1.2.1"""

    def __init__(self, redirect_uri: str, state: str | None, error: str, description: str) -> None:
        super().__init__(description)
        self.redirect_uri = redirect_uri
        self.parameters = {"error": error, "error_description": sayable(description), "state": state}


async def addressed(auth: Auth, fields: Mapping[str, str]) -> tuple[Client, str]:
    """The app, and where it is told: until it is certain that redirect_uri is the client's, a refusal stays here."""
    client = await clients.find(auth, fields.get("client_id", ""))
    if client is None or CODE not in client.grant_types:
        raise invalid_request("no app is registered with this client_id")
    uri = fields.get("redirect_uri")
    if uri is None or not client.leads_back(uri):
        raise invalid_request("redirect_uri is not one of those that the app registered, letter by letter")
    return client, uri


async def parsed(auth: Auth, fields: Mapping[str, str]) -> Asked:
    """Raises what the app is told, or the person where it is not certain which app it is."""
    client, uri = await addressed(auth, fields)
    state = fields.get("state")

    def refused(error: str, description: str) -> Back:
        return Back(uri, state, error, description)

    for error, description in _faults(auth, fields):
        raise refused(error, description)
    scopes = grantable(client, fields.get("scope", ""))
    if len(scopes) > MOST_SCOPES:
        raise refused("invalid_scope", f"this comes to more than {MOST_SCOPES} scopes; ask for wider ones")
    if not scopes:
        raise refused("invalid_scope", _ungrantable(fields.get("scope", "")))
    launch = None
    if "launch" in scopes:
        launch = await launches.find(auth, fields.get("launch", ""), (client.id, fields["code_challenge"]))
        if launch is None:
            raise refused("invalid_request", "launch is no launch that waits: it is unknown, used, or over")
    return Asked(
        client=client,
        redirect_uri=uri,
        state=state or "",
        scopes=scopes,
        challenge=fields["code_challenge"],
        nonce=fields.get("nonce"),
        prompt=frozenset(fields.get("prompt", "").split()),
        max_age=int(fields["max_age"]) if "max_age" in fields else None,
        waited=reauthentication.after(auth, fields),
        launch=launch,
        fields=fields,
    )


def _faults(auth: Auth, fields: Mapping[str, str]) -> list[tuple[str, str]]:
    """What is wrong with a request of a known client, as errors of OAuth and OpenID."""
    prompt, max_age = fields.get("prompt", "").split(), fields.get("max_age", "0")
    audience = fields.get("aud", fields.get("resource", "")).rstrip("/")
    rules = (
        ("request" in fields, "request_not_supported", "request objects are not read here"),
        ("request_uri" in fields, "request_uri_not_supported", "request objects are not read here"),
        (fields.get("response_type") != "code", "unsupported_response_type", "response_type is code"),
        (fields.get("response_mode", "query") != "query", "invalid_request", "response_mode is query"),
        (fields.get("code_challenge_method") != "S256", "invalid_request", "code_challenge_method is S256 (PKCE)"),
        (
            not codes.CHALLENGE.fullmatch(fields.get("code_challenge", "")),
            "invalid_request",
            "code_challenge is the SHA-256 of the verifier in base64url: 43 characters",
        ),
        (audience != auth.fhir, "invalid_request", f"aud is the FHIR base of this server, {auth.fhir}"),
        (not 0 < len(fields.get("state", "")) <= LONGEST_STATE, "invalid_request", "state is missing or too long"),
        (len(fields.get("scope", "")) > LONGEST_SCOPE, "invalid_scope", f"scope has up to {LONGEST_SCOPE} characters"),
        (len(fields.get("nonce", "")) > LONGEST_STATE, "invalid_request", "nonce is too long"),
        (not {*prompt} <= PROMPTS, "invalid_request", f"prompt is of {', '.join(sorted(PROMPTS))}"),
        ("none" in prompt and len(prompt) > 1, "invalid_request", "prompt=none stands alone"),
        (not (max_age.isascii() and max_age.isdigit() and len(max_age) < 10), "invalid_request", "max_age is seconds"),
        (pushed.is_long(reauthentication.without(fields)), "invalid_request", pushed.TOO_LONG),
    )
    return [(error, description) for wrong, error, description in rules if wrong]


def grantable(client: Client, scope: str) -> tuple[str, ...]:
    """Of what is asked, what this app may be granted by a person; what we do not know is left out."""
    registered = client.scope.split()
    limits = [found for text in registered if (found := parse(text)) and found.level != "system"]
    renews = REFRESH in client.grant_types
    said = [text for text in scope.split() if text in SPOKEN and (not registered or text in registered)]
    said = [text for text in said if renews or text not in (OFFLINE, ONLINE)]
    return tuple(dict.fromkeys((*said, *granted(scope, limits if registered else ANYTHING))))


def _ungrantable(scope: str) -> str:
    """Why nothing of it can be granted, by the first of its scopes."""
    first = next(iter(scope.split()), None)
    if first is None:
        return "scope is missing"
    found = parse(first)
    if found is None and first not in SPOKEN:
        why = "is no scope that is known here"
    elif found is not None and found.level == "system":
        why = "is for services"
    else:
        why = "is not within what it is registered for"
    return f"nothing of what is asked for can be granted to this app: {first[:200]} {why}"
