"""Apps that register themselves, where the setting lets them: for what a person can allow, never for a system.

https://www.rfc-editor.org/rfc/rfc7591
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from fhirserver import egress
from fhirserver.settings import is_loopback
from smart_auth import clients, events, throttle
from smart_auth.clients import CODE, METHODS, REFRESH, Client, Method
from smart_auth.forms import document
from smart_auth.key_sets import imported, parsed
from smart_auth.refusal import NO_STORE, Refused, invalid_metadata
from smart_auth.scopes import parse
from smart_auth.server import Auth, digest, new_secret
from smart_auth.visits import Handler

PER_ADDRESS = 100  # registrations before the next has to wait
LONGEST = 4_000  # of a scope
PURPOSES = "v3-PurposeOfUse (https://terminology.hl7.org/ValueSet-v3-PurposeOfUse.html)"
JWK = ("kty", "kid", "n", "e", "crv", "x", "y", "alg", "use")
URIS = ("jwks_uri", "launch_uri", "client_uri", "logo_uri", "tos_uri", "policy_uri")


def is_open(auth: Auth) -> bool:
    settings = auth.settings
    shown = settings.registration == "demo" and bool(settings.demo or settings.open)
    return settings.registration == "open" or (shown and is_loopback(settings.host))


async def register(auth: Auth, request: Request) -> Response:
    """POST /register"""
    if not is_open(auth):
        raise Refused("access_denied", "apps are registered by who runs this server", 403)
    metadata = await document(request)
    await throttle.admit(auth, throttle.key("register", throttle.address(auth, request)), PER_ADDRESS)
    client, secret = described(auth, metadata)
    if client.scope and any(text.startswith("system/") for text in client.scope.split()):
        raise invalid_metadata("scopes of a system are registered by who runs this server")
    await clients.add(auth, client)
    origin = throttle.origin(auth, request)
    await events.record(auth, "client-registered", "", client.id, name=client.name, address=origin)
    return JSONResponse(clients.shown(client) | secret, 201, NO_STORE)


def described(
    auth: Auth, metadata: Mapping[str, Any], *, id_: str | None = None, dynamic: bool = True
) -> tuple[Client, dict[str, Any]]:
    """A client of what was sent, and the secret that is shown once. What RFC 7591 leaves open is left out."""
    default: Method = "client_secret_basic"
    method: Method = _one(metadata, "token_endpoint_auth_method", METHODS, default)
    secret = new_secret() if method.startswith("client_secret") else None
    client = Client(
        id=id_ or str(uuid4()),
        name=_text(metadata, "client_name") or "An app without a name",
        created=auth.now(),
        method=method,
        grant_types=_grant_types(metadata, dynamic),
        redirect_uris=tuple(_texts(metadata, "redirect_uris")),
        scope=_scope(metadata),
        secret=secret and digest(secret),
        jwks=_jwks(metadata),
        contacts=tuple(_texts(metadata, "contacts")),
        purposes=() if dynamic else _purposes(auth, metadata),
        dynamic=dynamic,
        **{name: _text(metadata, name) for name in URIS},
    )
    clients.check(client)
    if client.jwks_uri is not None:
        try:
            egress.check(client.jwks_uri, auth.settings.trusted_hosts)
        except egress.Unreachable as error:
            raise invalid_metadata(f"jwks_uri: {error}, so this server does not ask there", "jwks_uri") from error
    return client, {"client_secret": secret, "client_secret_expires_at": 0} if secret else {}


def _grant_types(metadata: Mapping[str, Any], dynamic: bool) -> tuple[str, ...]:
    asked = tuple(_texts(metadata, "grant_types")) or (CODE, REFRESH)
    if dynamic and not {*asked} <= {CODE, REFRESH}:
        raise invalid_metadata(f"who registers itself may have {CODE} and {REFRESH}")
    return tuple(dict.fromkeys(asked))


def _purposes(auth: Auth, metadata: Mapping[str, Any]) -> tuple[str, ...]:
    """What a service uses data for. One that nobody knows would be taken for any: consents would deny it more."""
    asked = tuple(dict.fromkeys(_texts(metadata, "purposes")))
    for code in asked:
        if not auth.is_purpose(code):
            raise invalid_metadata(f"purposes: {code[:40]!r} is no code of {PURPOSES}, as HRESCH is", "purposes")
    return asked


def _scope(metadata: Mapping[str, Any]) -> str:
    """As far as it is known here: the answer says what was taken."""
    scope = _text(metadata, "scope", LONGEST) or ""
    unread = [each for each in scope.split() if "/" in each and not each.startswith("launch") and parse(each) is None]
    if unread:
        raise invalid_metadata(f"{unread[0][:200]} is no scope of SMART", "scope")
    return " ".join(dict.fromkeys(scope.split()))


def _jwks(metadata: Mapping[str, Any]) -> dict[str, Any] | None:
    if metadata.get("jwks") is None:
        return None
    try:
        keys = parsed(metadata["jwks"])
    except ValueError as error:
        raise invalid_metadata(f"jwks is {error}") from error
    for number, key in enumerate(keys):
        if not all(isinstance(value, str) and value.isascii() for name, value in key.items() if name in JWK):
            raise invalid_metadata(f"jwks, keys[{number}]: {', '.join(JWK)} are texts")
        reason = "it has no kid" if not key.get("kid") else imported(key).reason
        if reason:
            raise invalid_metadata(f"jwks, keys[{number}]: {reason}")
    return {"keys": [{name: key[name] for name in JWK if name in key} for key in keys]}


def _one(metadata: Mapping[str, Any], name: str, known: tuple[Method, ...], default: Method) -> Method:
    asked = metadata.get(name, default)
    for each in known:
        if asked == each:
            return each
    raise invalid_metadata(f"{name} is one of {', '.join(known)}")


def _text(metadata: Mapping[str, Any], name: str, longest: int = 2_000) -> str | None:
    value = metadata.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not value.isprintable() or len(value) > longest:
        raise invalid_metadata(f"{name} is a text of at most {longest:,} characters", name)
    return value


def _texts(metadata: Mapping[str, Any], name: str) -> list[str]:
    values = metadata.get(name)
    if values is None:
        return []
    if not isinstance(values, list) or len(values) > clients.MOST_URIS:
        raise invalid_metadata(f"{name} is a list of at most {clients.MOST_URIS} texts", name)
    return [_text({name: value}, name) or "" for value in values]


ROUTES: dict[str, dict[str, Handler]] = {"/register": {"POST": register}}
