"""Registered clients: which apps and services there are, how each proves itself, and what it may ask for.

https://hl7.org/fhir/smart-app-launch/app-launch.html#register-app-with-ehr
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal
from urllib.parse import urlsplit

from pymongo.errors import DuplicateKeyError

from fhirserver.settings import is_loopback
from smart_auth.refusal import Refused, invalid_metadata
from smart_auth.server import Auth
from smart_auth.tokens import revoke_all

Method = Literal["none", "client_secret_basic", "client_secret_post", "private_key_jwt"]
METHODS: tuple[Method, ...] = ("none", "client_secret_basic", "client_secret_post", "private_key_jwt")
CODE, REFRESH, BACKEND = "authorization_code", "refresh_token", "client_credentials"
GRANT_TYPES = (CODE, REFRESH, BACKEND)
LISTS = ("grant_types", "redirect_uris", "contacts", "purposes")
MOST_URIS = 20
_id = re.compile(r"[A-Za-z0-9._\-]{1,100}")
_loopback = re.compile(r"(http://(?:127\.0\.0\.1|\[::1\]|localhost)):([1-9][0-9]{0,4})((?:[/?].*)?)")
_place = re.compile(r"(?:[A-Za-z0-9._\-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")  # a host and a port, and nobody's name
_private_use = re.compile(r"[a-z][a-z0-9+\-]*(\.[a-z0-9+\-]+)+")  # com.example.app: RFC 8252 §7.1


@dataclass(frozen=True, slots=True)
class Client:
    """`secret` is the digest of one; `scope` is the most it may ask for; `dynamic`: it registered itself.

    `purposes` are what a service uses data for, codes of v3-PurposeOfUse: people's consents may be about that.
    """

    id: str
    name: str
    created: datetime
    method: Method = "none"
    grant_types: tuple[str, ...] = (CODE, REFRESH)
    redirect_uris: tuple[str, ...] = ()
    scope: str = ""
    secret: str | None = None
    jwks: Mapping[str, Any] | None = None
    jwks_uri: str | None = None
    launch_uri: str | None = None
    client_uri: str | None = None
    logo_uri: str | None = None
    tos_uri: str | None = None
    policy_uri: str | None = None
    contacts: tuple[str, ...] = ()
    purposes: tuple[str, ...] = ()
    dynamic: bool = False

    @property
    def confidential(self) -> bool:
        return self.method != "none"

    def leads_back(self, uri: str) -> bool:
        """Whether a redirect URI is one of its own: letter by letter, but for the port of an app on a person's machine.

        It takes whatever port is free then, so it registers none: https://www.rfc-editor.org/rfc/rfc8252#section-7.3
        """
        if uri in self.redirect_uris:
            return True
        here = None if self.confidential else _loopback.fullmatch(uri)
        return here is not None and int(here[2]) < 65_536 and here[1] + here[3] in self.redirect_uris


async def find(auth: Auth, id_: str) -> Client | None:
    document = await auth["clients"].find_one({"_id": id_})
    return None if document is None else _client(document)


async def listed(auth: Auth) -> list[Client]:
    return [_client(document) async for document in auth["clients"].find().sort("_id")]


async def add(auth: Auth, client: Client) -> None:
    check(client)
    document = {("_id" if name == "id" else name): value for name, value in asdict(client).items()}
    try:
        await auth["clients"].insert_one(document)
    except DuplicateKeyError as error:
        raise invalid_metadata(f"there is a client {client.id} already") from error


async def remove(auth: Auth, id_: str) -> bool:
    """Whether there was one. What it holds ends with it, and the next of its name has to ask people anew."""
    if not _id.fullmatch(id_):  # an API key, say, which holds what it may by a name of this kind
        return False
    found = await auth["clients"].delete_one({"_id": id_})
    await auth["approvals"].delete_many({"client": id_})
    await revoke_all(auth, {"client": id_}, "client removed")
    return found.deleted_count == 1


def shown(client: Client) -> dict[str, Any]:
    """The metadata of RFC 7591, without secrets: https://www.rfc-editor.org/rfc/rfc7591#section-2"""
    out: dict[str, Any] = {
        "client_id": client.id,
        "client_id_issued_at": int(client.created.timestamp()),
        "client_name": client.name,
        "token_endpoint_auth_method": client.method,
        "grant_types": list(client.grant_types),
        "scope": client.scope,
    }
    if CODE in client.grant_types:
        out |= {"redirect_uris": list(client.redirect_uris), "response_types": ["code"]}
    more = ("jwks", "jwks_uri", "launch_uri", "client_uri", "logo_uri", "tos_uri", "policy_uri", "contacts", "purposes")
    return out | {name: value for name in more if (value := getattr(client, name))}


def check(client: Client) -> None:
    """Raise unless the client makes sense as a whole."""
    if not _id.fullmatch(client.id):
        raise invalid_metadata("client_id takes 1 to 100 letters, digits, '.', '_' and '-'")
    if not client.name or len(client.name) > 200 or not client.name.isprintable():
        raise invalid_metadata(
            "client_name is 1 to 200 printable characters: people read it before they agree", "client_name"
        )
    _check_way(client)
    if CODE in client.grant_types:
        if not 0 < len(client.redirect_uris) <= MOST_URIS:
            raise invalid_redirect(f"an app has 1 to {MOST_URIS} redirect_uris")
        for uri in client.redirect_uris:
            check_redirect(uri)
    for name in ("launch_uri", "client_uri", "logo_uri", "tos_uri", "policy_uri"):
        if (page := getattr(client, name)) is not None and not is_page(page):
            raise invalid_metadata(f"{name} is an https URL", name)


def _check_way(client: Client) -> None:
    if client.method not in METHODS:
        raise invalid_metadata(f"token_endpoint_auth_method is one of {', '.join(METHODS)}")
    if not client.grant_types or not {*client.grant_types} <= {*GRANT_TYPES}:
        raise invalid_metadata(f"grant_types are of {', '.join(GRANT_TYPES)}")
    if BACKEND in client.grant_types and client.method != "private_key_jwt":
        raise invalid_metadata("a backend service proves itself by private_key_jwt")
    if client.method == "private_key_jwt":
        if (client.jwks is None) == (client.jwks_uri is None):
            raise invalid_metadata("private_key_jwt needs either jwks or jwks_uri", "jwks_uri")
    elif client.jwks is not None or client.jwks_uri is not None:
        raise invalid_metadata("jwks and jwks_uri are for private_key_jwt", "jwks_uri")
    alone = BACKEND in client.grant_types and CODE not in client.grant_types
    if alone and (other := [each for each in client.scope.split() if each[:7] != "system/"]):
        raise invalid_metadata(f"{other[0]} is for people: a backend service has system/ scopes", "scope")
    if client.jwks_uri is not None and not is_page(client.jwks_uri):
        raise invalid_metadata("jwks_uri is an https URL", "jwks_uri")
    if client.method.startswith("client_secret") and client.secret is None:
        raise invalid_metadata(f"{client.method} needs a secret")


def check_redirect(uri: str) -> None:
    """https anywhere, http on the user's own machine, or a scheme that is the app's own."""
    try:
        parts = urlsplit(uri)
        _ = parts.port
    except ValueError as error:
        raise invalid_redirect(f"{uri[:200]!r} is not a URL") from error
    if "#" in uri or len(uri) > 2_000 or not uri.isascii() or not uri.isprintable() or " " in uri:
        raise invalid_redirect(f"{uri[:200]!r} has a fragment, or what does not belong into a URL")
    if not is_page(uri) and not _private_use.fullmatch(parts.scheme):
        raise invalid_redirect(
            f"{uri[:200]!r} is neither https, nor http on localhost, nor has it a scheme like com.example.app"
        )


def invalid_redirect(description: str) -> Refused:
    """https://www.rfc-editor.org/rfc/rfc7591#section-3.2.2"""
    return Refused("invalid_redirect_uri", description, field="redirect_uris")


def is_page(uri: str) -> bool:
    try:
        parts = urlsplit(uri)
    except ValueError:
        return False
    local = parts.scheme == "http" and is_loopback(parts.hostname or "")
    return (
        uri.isascii()
        and uri.isprintable()
        and "\\" not in uri  # to browsers a slash, here part of the name of a host
        and len(uri) <= 2_000
        and _place.fullmatch(parts.netloc) is not None
        and (parts.scheme == "https" or local)
    )


def _client(document: Mapping[str, Any]) -> Client:
    values: dict[str, Any] = {name: tuple(each) if name in LISTS else each for name, each in document.items()}
    values["id"] = values.pop("_id")
    return Client(**values)
