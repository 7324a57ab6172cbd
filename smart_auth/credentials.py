"""How a client proves who it is: by nothing (public), by a secret, or by what it signs with a private key.

https://www.rfc-editor.org/rfc/rfc6749#section-2.3, https://www.rfc-editor.org/rfc/rfc7523#section-2.2
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import unquote_plus

from joserfc import jws, jwt
from joserfc.errors import JoseError
from pymongo.errors import DuplicateKeyError
from starlette.requests import Request

from fhirserver.egress import Unreachable
from smart_auth import clients
from smart_auth.clients import Client
from smart_auth.forms import authorization
from smart_auth.key_sets import KTY, Key, choose
from smart_auth.refusal import invalid_client, invalid_request
from smart_auth.server import Auth, digest

ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ALGORITHMS = tuple(KTY)
LEEWAY = 30  # seconds that clocks may be apart: for what has expired, and for what is not valid yet
LONGEST = 300  # seconds from now to `exp`, strictly
LONGEST_JTI = 256
CREDENTIALS = ("client_secret", "client_assertion", "client_assertion_type")  # in a form
WRONG = "no client is registered with these credentials"


async def authenticate(auth: Auth, request: Request, form: Mapping[str, str], also: Sequence[str] = ()) -> Client:
    """The client that sends the form, by the way it registered for: a secret, in the header or in the form, or a key.

    An assertion is for the token endpoint, or for what it may `also` be for.
    """
    header = authorization(request)
    basic = header[:6].lower() == "basic "
    if header and not basic:
        raise invalid_client("a client authenticates with Basic, or in the form")
    if basic + ("client_secret" in form) + ("client_assertion" in form) > 1:
        raise invalid_request("the client authenticates in more than one way")
    if "client_assertion" in form:
        return await _by_assertion(auth, form, (auth.token_endpoint, *also))
    if basic:
        return await _by_secret(auth, *_basic(header[6:], form))
    if "client_secret" in form:
        return await _by_secret(auth, form.get("client_id", ""), form["client_secret"])
    client = await clients.find(auth, form.get("client_id", ""))
    if client is None or client.confidential:
        raise invalid_client(WRONG)
    return client


def _basic(encoded: str, form: Mapping[str, str]) -> tuple[str, str]:
    try:
        id_, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, ValueError) as error:
        raise invalid_client("Basic takes client_id:client_secret in base64") from error
    id_ = unquote_plus(id_)
    if form.get("client_id", id_) != id_:
        raise invalid_request("the form and the header name different clients")
    return id_, unquote_plus(secret)


async def _by_secret(auth: Auth, id_: str, secret: str) -> Client:
    client = await clients.find(auth, id_)
    known = client.secret if client is not None and client.method.startswith("client_secret") else None
    if not hmac.compare_digest(digest(secret), known or "") or client is None:
        raise invalid_client(WRONG)
    return client


async def _by_assertion(auth: Auth, form: Mapping[str, str], audiences: Sequence[str]) -> Client:
    if form.get("client_assertion_type") != ASSERTION:
        raise invalid_client(f"client_assertion_type is {ASSERTION}")
    assertion = form["client_assertion"]
    header, issuer = _unverified(assertion)
    if form.get("client_id", issuer) != issuer:
        raise invalid_client("client_id is not the issuer of the assertion")
    client = await clients.find(auth, issuer)
    if client is None or client.method != "private_key_jwt":
        raise invalid_client(WRONG)
    claims = _verified(assertion, await _key(auth, client, header))
    _check(auth, client, claims, audiences)
    await _once(auth, client, claims)
    return client


def _unverified(assertion: str) -> tuple[Mapping[str, Any], str]:
    """The header and the issuer as the assertion says them: they tell which key must have signed it."""
    try:
        token = jws.extract_compact(assertion.encode())
        header, claims = token.headers(), json.loads(token.payload)
    except (JoseError, ValueError, TypeError, RecursionError) as error:
        raise invalid_client("the assertion is not a signed JWT") from error
    if not isinstance(header, dict) or not isinstance(claims, dict) or not isinstance(claims.get("iss"), str):
        raise invalid_client("the assertion does not say its issuer")
    return header, claims["iss"]


async def _key(auth: Auth, client: Client, header: Mapping[str, Any]) -> Key:
    algorithm, kid = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise invalid_client(f"an assertion is signed with {' or '.join(ALGORITHMS)}")
    if not isinstance(kid, str) or not kid:
        raise invalid_client("the header of the assertion names no key (kid)")
    if "jku" in header and header["jku"] != client.jwks_uri:
        raise invalid_client("jku is not the jwks_uri that the client registered")
    if client.jwks_uri is None:
        keys = (client.jwks or {}).get("keys", ())
    else:
        try:
            keys = await auth.key_sets.keys(client.jwks_uri, kid, auth.settings.trusted_hosts)
        except (Unreachable, ValueError, RecursionError) as error:
            raise invalid_client(f"the keys of the client cannot be had: {error}") from error
    chosen = choose(keys, algorithm, kid)
    if chosen.key is None:
        raise invalid_client(chosen.reason)
    return chosen.key


def _verified(assertion: str, key: Key) -> Mapping[str, Any]:
    try:
        return jwt.decode(assertion, key, algorithms=ALGORITHMS).claims
    except (JoseError, ValueError, TypeError) as error:
        raise invalid_client("the signature of the assertion does not fit the key") from error


def _check(auth: Auth, client: Client, claims: Mapping[str, Any], audiences: Sequence[str]) -> None:
    """https://hl7.org/fhir/smart-app-launch/client-confidential-asymmetric.html#authenticating-to-the-token-endpoint"""
    now, jti = auth.now().timestamp(), claims.get("jti")
    expires, begins = _seconds(claims, "exp"), _seconds(claims, "nbf", 0)
    if claims.get("sub") != client.id:
        raise invalid_client("iss and sub of the assertion are both the client_id")
    if claims.get("aud") not in (*audiences, *([each] for each in audiences)):
        raise invalid_client(f"aud of the assertion is {' or '.join(audiences)}")
    if expires <= now - LEEWAY:
        raise invalid_client("the assertion expired")
    if not expires <= now + LONGEST:
        raise invalid_client(f"the assertion expires later than in {LONGEST} s by the clock of this server")
    if begins > now + LEEWAY:
        raise invalid_client("the assertion is not valid yet")
    if not isinstance(jti, str) or not 0 < len(jti) <= LONGEST_JTI:
        raise invalid_client(f"jti is a text of 1 to {LONGEST_JTI} characters")


def _seconds(claims: Mapping[str, Any], name: str, default: int | None = None) -> float:
    value = claims.get(name, default)
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise invalid_client(f"{name} is a number of seconds since 1970")
    return value


async def _once(auth: Auth, client: Client, claims: Mapping[str, Any]) -> None:
    """An assertion is used once: who replays one finds it here."""
    kept = auth.now() + timedelta(seconds=LONGEST + 3 * LEEWAY)
    used = digest(json.dumps([client.id, claims["jti"]]))
    try:
        await auth["assertions"].insert_one({"_id": used, "expires": kept})
    except DuplicateKeyError as error:
        raise invalid_client("this assertion (jti) was used before") from error
